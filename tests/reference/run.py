"""One training run and what a rule must say about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from reference.heads import Adam, Head, learning_rate_at, logits_of, start_head
from torch import Tensor

from noisylib.seeding import torch_generator


@dataclass
class Run:
    """The data, settings, networks and optimisers of one run.

    `X` (N, D) and `views` (V, N, D) are standardised; `y` are the N observed labels.
    """

    X: Tensor
    y: list[int]
    K: int
    seed: int
    epochs: int
    batch_size: int
    lr: float
    decay: float
    decay_at: tuple[float, ...]
    width: int
    views: Tensor | None = None
    kinds: list[str] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    optimisers: list[Adam] = field(default_factory=list)

    @property
    def N(self) -> int:
        return len(self.y)

    def add_networks(self, kinds: list[str]) -> None:
        self.kinds = kinds
        self.heads = [
            start_head(kind, self.seed, net, self.X.shape[1], self.K, self.width)
            for net, kind in enumerate(kinds)
        ]
        self.optimisers = [Adam(head, self.decay) for head in self.heads]

    def logits(self, net: int, x: Tensor) -> Tensor:
        return logits_of(self.kinds[net], self.heads[net], x)

    @torch.no_grad()
    def probabilities(self, net: int, x: Tensor) -> Tensor:
        return torch.softmax(self.logits(net, x), 0)

    def step(self, losses: list[Tensor | None], epoch: int) -> None:
        """Each network steps on its own loss; one without a loss rests."""
        rate = learning_rate_at(epoch, self.epochs, self.lr, self.decay_at)
        gradients = [
            None if loss is None else torch.autograd.grad(loss, list(head.values()), retain_graph=True)
            for loss, head in zip(losses, self.heads, strict=True)
        ]
        for optimiser, gradient in zip(self.optimisers, gradients, strict=True):
            if gradient is not None:
                optimiser.step(gradient, rate)


@dataclass(frozen=True)
class Batch:
    """Where a step is, counted from 0, and the positions of its samples in the epoch's data."""

    epoch: int
    step: int
    n_steps: int
    samples: list[int]


@dataclass
class Rule:
    """A training rule. Subclasses hold its hyper-parameters and what it is told of the noise."""

    def networks(self, kind: str) -> list[str]:
        return [kind]

    def prepare(self, run: Run) -> None:
        """Prepare what is made once, before the first epoch."""

    def begin_epoch(self, run: Run, epoch: int) -> None:
        """Refresh what is made once per epoch."""

    def order(self, run: Run, epoch: int) -> list[int]:
        """Positions in the order in which the epoch visits them."""
        return torch.randperm(run.N, generator=torch_generator("batches", run.seed, epoch)).tolist()

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        """One loss per network."""
        raise NotImplementedError

    def scores(self, run: Run, x: Tensor) -> Tensor:
        """Scores (K,) of one sample; the prediction is their argmax."""
        return run.logits(0, x)
