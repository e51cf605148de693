"""What a training rule is: hyper-parameters, what it needs, and a loss over a bank of logits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from noisylib.errors import NoisylibError, check_name


def hyper(default: float, doc: str, source: str, *, low: float, high: float) -> Any:
    """Declare a hyper-parameter: its default, what it means, where the default is from, its range."""
    return field(default=default, metadata={"doc": doc, "source": source, "low": low, "high": high})


@dataclass(frozen=True)
class BankContext:
    """What a method may know before training starts. Clean labels are not among it.

    Attributes
    ----------
    runs : (S, H), seeds and runs per seed; the `runs` axes of every tensor a method sees.
    n_samples, n_classes : N and K.
    noise_rate : (S, H) float64 realised overall rate, for methods that are told it; else None.
    """

    runs: tuple[int, int]
    n_samples: int
    n_classes: int
    noise_rate: Tensor | None
    dtype: torch.dtype
    device: torch.device


@dataclass
class Batch:
    """Where a step is in the training, and the per-sample state of the samples in it.

    Attributes
    ----------
    epoch : from 0.
    flat_index : (S, H, B) position of each sample of each run in a state tensor whose first axes
        (S, H, N) are flattened.
    state : what the method's `start` returned.
    selected : set by a method that trains on a part of the batch, (nets, S, H, B) bool.
    """

    epoch: int
    flat_index: Tensor
    state: dict[str, Tensor]
    selected: Tensor | None = None

    def take(self, name: str) -> Tensor:
        """Return the batch's rows (S, H, B, ...) of the state tensor `name`."""
        return self.state[name].flatten(0, 2)[self.flat_index]

    def put(self, name: str, rows: Tensor) -> None:
        """Write the batch's rows back into the state tensor `name`, in place."""
        flat = self.state[name].flatten(0, 2)
        flat.index_copy_(0, self.flat_index.flatten(), rows.flatten(0, 2))


@dataclass(frozen=True)
class Method:
    """Base of every method. Subclasses are frozen dataclasses of hyper-parameters.

    A method works on all runs of a bank at once: axes (nets, S, H, B, K) of the logits are networks
    of a run, seeds, runs per seed, samples of the batch, classes. It must treat runs independently.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    n_nets: ClassVar[int] = 1
    told_noise_rate: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise NoisylibError(
                    f"{f.name}={value!r} is not a valid option of method {self.name!r}: "
                    f"{f.metadata['doc']}; a number in [{low:g}, {high:g}] is needed."
                )

    @classmethod
    def from_options(cls, options: dict[str, float]) -> Method:
        """Build the method with some hyper-parameters changed; an unknown name is an error."""
        for key in options:
            check_name(f"option of method {cls.name!r}", key, [f.name for f in dataclasses.fields(cls)])
        return cls(**options)

    def start(self, context: BankContext) -> dict[str, Tensor]:
        """Return fresh state; per-sample tensors have axes (S, H, N, ...)."""
        return {}

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the training loss of every network, (nets, S, H), in nats.

        Parameters
        ----------
        logits : (nets, S, H, B, K), with gradient.
        targets : (S, H, B) observed labels.
        """
        raise NotImplementedError

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return d (sum of the losses) / d logits, (nets, S, H, B, K), and update state as `loss` does.

        Runs share no parameter, so the gradient of the sum trains each on its own loss. A rule whose
        gradient has a short closed form overrides this: differentiation is a tenth of a step.
        """
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(self.loss(logits, targets, batch).sum(), logits)[0]

    def scores(self, logits: Tensor) -> Tensor:
        """Return what is ranked at test time, (S, H, B, K): the first network's logits by default."""
        return logits[0]


def log_softmax(logits: Tensor) -> Tensor:
    """Return log probabilities over the last axis.

    Logits arrive as a transposed view; taken along its stored order the kernel is several times faster.
    """
    return logits.mT.log_softmax(-2).mT


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return per-sample cross entropy (nets, S, H, B) in nats."""
    return -pick(log_softmax(logits), targets)


def pick(values: Tensor, targets: Tensor) -> Tensor:
    """Return values[..., b, targets[..., b]], with targets broadcast over the networks."""
    return values.gather(-1, targets.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def softmax(logits: Tensor) -> Tensor:
    """Return fresh probabilities over the last axis, computed along the stored order."""
    return logits.mT.softmax(-2).mT


def add_at_label(values: Tensor, targets: Tensor, amount: float) -> Tensor:
    """Add `amount` to values[..., b, targets[..., b]] in place and return them."""
    where = targets.expand(values.shape[:-1]).unsqueeze(-1)
    return values.scatter_add_(-1, where, values.new_full((), amount).expand(where.shape))
