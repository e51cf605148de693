"""TURN-head: a robust linear probe, per-class loss mixtures, and a balanced clean draw every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.methods.base import Method, hyper
from noisylib.methods.ce import CrossEntropy
from noisylib.methods.gce import GeneralisedCrossEntropy
from noisylib.methods.losses import cross_entropy
from noisylib.methods.session import Batch, State, Training
from noisylib.mixtures import low_posterior, scale_to_unit
from noisylib.seeding import torch_generator

FEWEST = 4  # samples of a class below which a mixture says nothing


@dataclass(frozen=True)
class TURNHead(Method):
    """Phase I trains a linear head with GCE. Phase II goes on from it with a larger head, on clean draws.

    Each epoch of phase II takes the loss of every sample, fits a mixture of two Gaussians per observed
    class, and calls samples clean whose posterior of the low-loss part exceeds tau. Of every class the
    same number is then drawn, that of the class with fewest clean samples. A class of fewer than four
    samples, or whose losses are all equal, is clean as a whole, and every class gives at least one.

    The paper fine-tunes the backbone in phase II; on frozen features a head of the study's kind, with
    the linear layer of phase I as its start, takes its place. One draw is gone through as often as the
    steps of an ordinary epoch allow, so that all methods take the same number of steps.

    Source: Ahn et al. 2024, algorithm 1.
    """

    name: ClassVar[str] = "turn"
    title: ClassVar[str] = "TURN-head"
    citation: ClassVar[str] = "ahn2024turn"
    keeps_state: ClassVar[bool] = True
    own_batches: ClassVar[bool] = True
    q: float = hyper(
        0.7, "exponent of GCE in phase I", "Zhang and Sabuncu 2018, experiments", low=1e-6, high=1
    )
    probe: float = hyper(
        0.4, "fraction of the epochs in phase I", "20 epochs as Ahn et al. 2024, of 50", low=1e-6, high=1
    )
    tau: float = hyper(0.6, "posterior above which a sample is clean", "Ahn et al. 2024", low=0, high=1)

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """The linear head of phase I and the head of phase II."""
        if head == "mlp":
            raise NoisylibError(
                "head='mlp' does not fit method 'turn': its phase II starts from a linear head, which an MLP "
                "has no place for. Use head 'adapter' or 'linear'."
            )
        return (("linear", 1), (head, 1))

    def start(self, training: Training) -> State:
        """Begin in phase I."""
        return {"phase": 0}

    def begin_epoch(self, training: Training, epoch: int, state: State) -> None:
        """Switch the phase when its time has come; in phase II, find the clean samples anew."""
        probe_epochs = max(1, round(self.probe * training.context.epochs))
        networks = training.networks
        if epoch == probe_epochs:
            state["phase"] = 1
            for name in ("W", "b"):
                networks.banks[1].parameters[name].copy_(networks.banks[0].parameters[name])
        networks.train_only([state["phase"]])
        if state["phase"]:
            y, K = training.y[:, 0], training.context.n_classes
            state["clean"] = clean_by_class(training.losses()[1, :, 0], y, K, self.tau)

    def order(self, training: Training, epoch: int, state: State) -> Tensor | None:
        """Return the epoch's balanced draw over and over, (S, N)."""
        if not state["phase"]:
            return None
        y, clean, N = training.y[:, 0], state["clean"], training.context.n_samples
        keys, orders = [], []
        for seed in training.context.seeds:
            generator = torch_generator("redraw", seed, epoch)
            keys.append(torch.rand(N, generator=generator, dtype=torch.float64))
            orders.append(torch.randperm(N, generator=generator))
        keys, orders = (torch.stack(values).to(y.device) for values in (keys, orders))
        drawn = balanced_draw(clean, y, training.context.n_classes, keys)
        # The drawn samples first, in the order given, then repeated from the start.
        first = (~drawn.gather(1, orders)).to(torch.int8).argsort(dim=1, stable=True)
        position = torch.arange(N, device=y.device) % drawn.sum(1, keepdim=True)
        return orders.gather(1, first).gather(1, position)

    def step(self, training: Training, batch: Batch) -> None:
        """Train the head of this phase."""
        phase = batch.state["phase"]
        x = training.rows(batch.index)
        bank = training.networks.banks[phase]
        x = x[..., : bank.n_inputs]
        rule = CrossEntropy() if phase else GeneralisedCrossEntropy(q=self.q)
        bank.backward(x, rule.gradient(bank.forward(x), training.labels(batch), batch))
        training.step()
        batch.selected = torch.zeros(
            (2, *batch.flat_index.shape), dtype=torch.bool, device=batch.index.device
        )
        batch.selected[phase] = True

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return phase I's GCE for the linear head, phase II's cross entropy for the other."""
        robust = GeneralisedCrossEntropy(q=self.q).loss(logits[:1], targets, batch)
        return torch.cat([robust, cross_entropy(logits[1:], targets).mean(-1)])

    def scores(self, logits: Tensor, state: State) -> Tensor:
        """Return the logits of the present phase's head."""
        return logits[state["phase"]]


def class_posteriors(losses: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Return each sample's probability (R, N) to be clean, by one mixture per run and observed class.

    It is that of the component of lower loss, and 1 in classes of fewer than four samples or of equal losses.
    """
    member = torch.nn.functional.one_hot(y, n_classes).mT.bool()  # (R, K, N)
    per_class = losses.unsqueeze(1).expand(member.shape)
    posterior = low_posterior(scale_to_unit(per_class, member), member)
    posterior = torch.where(member.sum(-1, keepdim=True) < FEWEST, 1.0, posterior)
    return posterior.gather(1, y.unsqueeze(1)).squeeze(1)


def above(posterior: Tensor, y: Tensor, n_classes: int, tau: float) -> Tensor:
    """Return which samples (R, N) are clean: those above tau, and the likeliest of each observed class."""
    member = torch.nn.functional.one_hot(y, n_classes).mT.bool()
    likeliest = torch.where(member, posterior.unsqueeze(1), -1).argmax(-1)  # (R, K), first on ties
    observed = member.any(-1).long()
    best = torch.zeros_like(y).scatter_add_(1, likeliest, observed) > 0
    return (posterior > tau) | best  # where a class has clean samples, its best is one of them


def clean_by_class(losses: Tensor, y: Tensor, n_classes: int, tau: float) -> Tensor:
    """Return which samples (R, N) are clean, by one mixture per run and observed class.

    Every class that is observed has at least one.
    """
    return above(class_posteriors(losses, y, n_classes), y, n_classes, tau)


def balanced_draw(clean: Tensor, y: Tensor, n_classes: int, keys: Tensor) -> Tensor:
    """Return as many clean samples (R, N) of each observed class as the poorest has: the smallest keys."""
    member = torch.nn.functional.one_hot(y, n_classes)
    counts = (member * clean.unsqueeze(-1)).sum(1)  # (R, K)
    n = torch.where(member.any(1), counts, counts.amax()).amin(1, keepdim=True).clamp(min=1)
    order = torch.where(clean, keys, 2.0).argsort(dim=1, stable=True)
    one_hot = torch.nn.functional.one_hot(y.gather(1, order), n_classes)
    place = (one_hot.cumsum(1) * one_hot).sum(-1)
    first = torch.zeros_like(order).scatter_(1, order, (place <= n).long()).bool()
    return first & clean
