"""What a method and the training loop share: the facts of a bank, a batch, and what a step can ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from noisylib.networks import Networks
    from noisylib.recipe import Recipe

# What a method may be told of the noise, beyond the observed labels.
TOLD = {
    "noise_rate": "the noise rate",
    "noise_type": "the type of the noise",
    "transition": "the transition matrix",
}
State = dict[str, Any]


@dataclass(frozen=True)
class BankContext:
    """What a method may know before training starts. Clean labels are not among it.

    Attributes
    ----------
    runs : (S, H), seeds and runs per seed; the `runs` axes of every tensor a method sees.
    seeds : S training seeds, for `noisylib.seeding`.
    n_samples, n_classes, epochs : N, K and E.
    noise_rate : (S, H) float64 realised overall rate, for methods that are told it; else None.
    asymmetric : (S, H) bool, whether flips depend on the class, for methods told the type; else None.
    transition : (S, H, K, K) float64 realised transition matrix, for methods told it; else None.
    """

    runs: tuple[int, int]
    seeds: tuple[int, ...]
    n_samples: int
    n_classes: int
    epochs: int
    noise_rate: Tensor | None
    asymmetric: Tensor | None
    transition: Tensor | None
    dtype: torch.dtype
    device: torch.device


@dataclass
class Batch:
    """Where a step is in the training, and the per-sample state of the samples in it.

    Attributes
    ----------
    epoch, step, n_steps : counted from 0; steps of this epoch.
    index : (S, B) position of each sample in the training set.
    flat_index : (S, H, B) position of each sample of each run in a state tensor whose first axes
        (S, H, N) are flattened.
    state : what the method's `start` returned.
    selected : set by a method that trains on a part of the batch, (nets, S, H, B) bool.
    observed : labels (S, H, B) of the samples, where they were looked up already; see `Training.labels`.
    """

    epoch: int
    step: int
    n_steps: int
    index: Tensor
    flat_index: Tensor
    state: State
    selected: Tensor | None = None
    observed: Tensor | None = None

    def take(self, name: str) -> Tensor:
        """Return the batch's rows (S, H, B, ...) of the state tensor `name`."""
        return self.state[name].flatten(0, 2)[self.flat_index]

    def take_nets(self, name: str) -> Tensor:
        """Return the batch's entries (nets, S, H, B) of a state tensor (nets, S, H, N)."""
        return self.state[name].flatten(1)[:, self.flat_index]

    def put(self, name: str, rows: Tensor) -> None:
        """Write the batch's rows back into the state tensor `name`, in place."""
        flat = self.state[name].flatten(0, 2)
        flat.index_copy_(0, self.flat_index.flatten(), rows.flatten(0, 2))


class Training(Protocol):
    """What a method sees of a bank in training.

    Attributes
    ----------
    X : (N, D) features as the heads get them, standardised if the recipe says so.
    y : (S, H, N) observed labels.
    networks : the heads; a method with several kinds of head may train one kind at a time.
    """

    context: BankContext
    recipe: Recipe
    networks: Networks
    X: Tensor
    y: Tensor

    def rows(self, index: Tensor) -> Tensor:
        """Return prepared features (S, B, F) of the samples `index` (S, B)."""

    def views(self, batch: Batch, drops: Sequence[float]) -> Tensor:
        """Return one augmented version per entry of `drops`, (V, S, B, D), of the batch's features."""

    def prepare(self, x: Tensor) -> Tensor:
        """Return features (..., D) as the heads take them, (..., F)."""

    def labels(self, batch: Batch) -> Tensor:
        """Return the observed labels (S, H, B) of the batch."""

    def weigh(self, gradient: Tensor, batch: Batch) -> Tensor:
        """Return d loss / d logits (nets, S, H, B, K) with each sample's part multiplied by its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (nets, S, H, B, K) in a buffer that the next call overwrites."""

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Set the gradients of all heads from d loss / d logits of the last `forward(x)`."""

    def step(self) -> None:
        """Take one step of the optimiser."""

    def sweep(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield positions and logits (nets, S, H, rows, K) of all training samples, in blocks."""

    def losses(self) -> Tensor:
        """Return the cross entropy (nets, S, H, N) float64 of every sample on its observed label."""
