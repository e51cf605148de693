"""Rules that are a loss over one batch, with at most a small memory of each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import F64, ce, log_p
from reference.out_of_fold import mislabelled, out_of_fold, transition_from
from reference.run import Batch, Rule, Run
from torch import Tensor


@dataclass
class MeanLoss(Rule):
    """One network, and the mean over the batch of `sample_loss`."""

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        return ce(z, y)

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        each = [self.sample_loss(run.logits(0, run.X[i]), run.y[i], i) for i in batch.samples]
        return [sum(each) / len(each)]


@dataclass
class LabelSmoothing(MeanLoss):
    smoothing: float

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        a, K = self.smoothing, len(z)
        return sum(((1 - a) * (c == y) + a / K) * ce(z, c) for c in range(K))


@dataclass
class GCE(MeanLoss):
    q: float

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        return (1 - torch.exp(-ce(z, y)) ** self.q) / self.q


@dataclass
class TruncatedGCE(MeanLoss):
    """L_q of the samples above k at the last refresh, less the constant that the others would pay."""

    q: float
    k: float
    start_at: float
    refresh: int
    weights: list[float] = field(default_factory=list, init=False)

    def begin_epoch(self, run: Run, epoch: int) -> None:
        first = round(self.start_at * run.epochs)
        if epoch == 0:
            self.weights = [1.0] * run.N
        if epoch >= first and (epoch - first) % self.refresh == 0:
            p = [run.probabilities(0, x)[y].item() for x, y in zip(run.X, run.y, strict=True)]
            self.weights = [float(value > self.k) for value in p]

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        own = (1 - torch.exp(-ce(z, y)) ** self.q) / self.q
        return self.weights[i] * (own - (1 - self.k**self.q) / self.q)


@dataclass
class SCE(MeanLoss):
    """Cross entropy plus its reverse, where the logarithm of a zero target is a constant."""

    alpha: float
    beta: float
    log_zero: float

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        p = torch.exp(log_p(z))
        reverse = -sum(p[c] * (0.0 if c == y else self.log_zero) for c in range(len(z)))
        return self.alpha * ce(z, y) + self.beta * reverse


@dataclass
class ELR(MeanLoss):
    lam: float
    beta: float
    buffer: dict[int, Tensor] = field(default_factory=dict, init=False)

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        p = torch.softmax(z, 0).clamp(1e-4, 1 - 1e-4)
        t = self.buffer.get(i, torch.zeros(len(z), dtype=F64))
        t = self.buffer[i] = self.beta * t + (1 - self.beta) * (p / p.sum()).detach()
        return ce(z, y) + self.lam * torch.log(1 - (p * t).sum())


@dataclass
class ForwardOracle(MeanLoss):
    """-log of the probability of the observed label, sum_j p_j T[j, y]."""

    transition: np.ndarray

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        p = torch.exp(log_p(z))
        return -torch.log(sum(p[j] * float(self.transition[j, y]) for j in range(len(z))))


@dataclass
class Forward(MeanLoss):
    """The same with T read off out-of-fold probabilities."""

    percentile: float
    folds: int
    fold_epochs: int
    oracle: ForwardOracle | None = field(default=None, init=False)

    def prepare(self, run: Run) -> None:
        P = out_of_fold(run, self.folds, self.fold_epochs)
        self.oracle = ForwardOracle(transition_from(P, self.percentile))

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        return self.oracle.sample_loss(z, y, i)


@dataclass
class Backward(MeanLoss):
    """Row y of T^-1 times the vector of cross entropies to every class."""

    transition: np.ndarray

    def sample_loss(self, z: Tensor, y: int, i: int) -> Tensor:
        inverse = np.linalg.inv(self.transition)
        return sum(float(inverse[y, c]) * ce(z, c) for c in range(len(z)))


@dataclass
class ConfidentPrune(Rule):
    """Cross entropy on the samples that confident learning keeps."""

    folds: int
    fold_epochs: int
    issues: np.ndarray | None = field(default=None, init=False)

    def prepare(self, run: Run) -> None:
        self.issues = mislabelled(run.y, out_of_fold(run, self.folds, self.fold_epochs))

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        kept = [float(not self.issues[i]) for i in batch.samples]
        each = [ce(run.logits(0, run.X[i]), run.y[i]) for i in batch.samples]
        return [sum(w * one for w, one in zip(kept, each, strict=True)) / max(1, sum(kept))]


@dataclass
class CoTeaching(Rule):
    """Each network learns from the samples of the batch that the other finds easiest."""

    ramp_epochs: int
    exponent: float
    noise_rate: float

    def networks(self, kind: str) -> list[str]:
        return [kind, kind]

    def kept(self, epoch: int, B: int) -> int:
        last = self.noise_rate**self.exponent
        forget = np.linspace(0, last, self.ramp_epochs)
        rate = forget[epoch + 1] if epoch + 1 < self.ramp_epochs else last
        return max(1, math.floor((1 - rate) * B + 1e-9))

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        each = [[ce(run.logits(net, run.X[i]), run.y[i]) for i in batch.samples] for net in range(2)]
        easy = [smallest(each[net], self.kept(batch.epoch, len(batch.samples))) for net in range(2)]
        return [sum(each[net][j] for j in easy[1 - net]) / len(easy[1 - net]) for net in range(2)]


@dataclass
class JoCoR(CoTeaching):
    """Both networks learn from the samples where their joint loss is smallest."""

    lam: float

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        each = []
        for i in batch.samples:
            z = [run.logits(net, run.X[i]) for net in range(2)]
            own = ce(z[0], run.y[i]) + ce(z[1], run.y[i])
            agreement = divergence(z[0], z[1]) + divergence(z[1], z[0])
            each.append((1 - self.lam) * own + self.lam * agreement)
        easy = smallest(each, self.kept(batch.epoch, len(each)))
        return [sum(each[j] for j in easy) / len(easy)] * 2


@dataclass
class CUFIT(Rule):
    """Linear module, intermediate and last adapter: each picks the samples of the next."""

    def networks(self, kind: str) -> list[str]:
        return ["linear", kind, kind]

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        totals = [0.0, 0.0, 0.0]
        for i in batch.samples:
            z = [run.logits(net, run.X[i]) for net in range(3)]
            agrees = [float(int(z[net].argmax()) == run.y[i]) for net in range(2)]
            for net, mask in enumerate([1.0, *agrees]):
                totals[net] = totals[net] + mask * ce(z[net], run.y[i])
        return [total / len(batch.samples) for total in totals]

    def scores(self, run: Run, x: Tensor) -> Tensor:
        return run.logits(2, x)


def divergence(z: Tensor, other: Tensor) -> Tensor:
    """KL(p | p') of two networks' logits for one sample."""
    return (torch.exp(log_p(z)) * (log_p(z) - log_p(other))).sum()


def smallest(losses: list[Tensor], n: int) -> list[int]:
    """Positions of the n smallest losses; of equal ones the earlier."""
    return sorted(range(len(losses)), key=lambda j: (losses[j].item(), j))[:n]
