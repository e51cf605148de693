"""Co-teaching that chooses class by class, and balanced softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import ce
from reference.losses import CoTeaching, MeanLoss, smallest
from reference.run import Batch, Rule, Run
from torch import Tensor


def ramp(last: float, ramp_epochs: int, epoch: int) -> float:
    """Co-teaching's share to forget after `epoch` + 1 of its `ramp_epochs`."""
    return float(np.linspace(0, last, ramp_epochs)[epoch + 1]) if epoch + 1 < ramp_epochs else last


def exchange(losses: list[list[Tensor]], easy: list[list[int]]) -> list[Tensor | None]:
    """Each network's mean over what the other finds easy."""
    return [sum(losses[net][j] for j in easy[1 - net]) / len(easy[1 - net]) for net in range(2)]


@dataclass
class ByClass(Rule):
    """Each network learns from the samples of each class that the other finds easiest."""

    ramp_epochs: int
    exponent: float
    wrong: list[float] = field(default_factory=list, init=False)  # share of each observed class

    def networks(self, kind: str) -> list[str]:
        return [kind, kind]

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        each = [[ce(run.logits(net, run.X[i]), run.y[i]) for i in batch.samples] for net in range(2)]
        return exchange(each, [self.easy(run, batch, own) for own in each])

    def easy(self, run: Run, batch: Batch, own: list[Tensor]) -> list[int]:
        chosen = []
        for c in range(run.K):
            members = [j for j, i in enumerate(batch.samples) if run.y[i] == c]
            forget = ramp(self.wrong[c] ** self.exponent, self.ramp_epochs, batch.epoch)
            kept = max(1, math.ceil((1 - forget) * len(members) - 1e-9))
            chosen += [members[j] for j in smallest([own[j] for j in members], kept)]
        return chosen


@dataclass
class Quota(ByClass):
    """The same share of every class."""

    noise_rate: float

    def prepare(self, run: Run) -> None:
        self.wrong = [self.noise_rate] * run.K


@dataclass
class ClassTau(ByClass):
    """Of each class the share that is wrong in it, by Bayes' rule from T and the observed frequencies."""

    transition: np.ndarray

    def prepare(self, run: Run) -> None:
        observed = np.array([run.y.count(c) / run.N for c in range(run.K)])
        priors = np.maximum(0, np.linalg.inv(self.transition).T @ observed)
        priors = priors / sum(priors)
        for c in range(run.K):
            made = [priors[i] * self.transition[i, c] for i in range(run.K)]
            self.wrong.append(1 - made[c] / sum(made) if sum(made) > 0 else 0.0)


@dataclass
class Balanced(CoTeaching):
    """Co-teaching by the cross entropy of balanced softmax."""

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        kept = self.kept(batch.epoch, len(batch.samples))
        each = [[balanced(run, run.logits(net, run.X[i]), run.y[i]) for i in batch.samples] for net in (0, 1)]
        return exchange(each, [smallest(own, kept) for own in each])


@dataclass
class BalancedSoftmax(MeanLoss):
    """Its cross entropy alone."""

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        each = [balanced(run, run.logits(0, run.X[i]), run.y[i]) for i in batch.samples]
        return [sum(each) / len(each)]


def balanced(run: Run, z: Tensor, y: int) -> Tensor:
    """-log of n_y exp(z_y) / sum_k n_k exp(z_k); a class without a label counts as one sample."""
    n = [max(1, run.y.count(c)) for c in range(run.K)]
    odds = [n[c] * torch.exp(z[c] - z[y]) for c in range(run.K)]
    return -torch.log(n[y] / sum(odds))
