"""What a training rule is: hyper-parameters, what it needs, and a loss over a bank of logits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError, check_name
from noisylib.methods.session import Batch, State, Training


def hyper(
    default: float | None, doc: str, source: str, *, low: float, high: float, whole: bool = False
) -> Any:
    """Declare a hyper-parameter: its default, what it means, where the default is from, its range.

    A default of None stands for a rule that the method documents; numbers are accepted in its place.
    """
    facts = {"doc": doc, "source": source, "low": low, "high": high, "whole": whole}
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Method:
    """Base of every method. Subclasses are frozen dataclasses of hyper-parameters.

    A method works on all runs of a bank at once: axes (nets, S, H, B, K) of the logits are networks
    of a run, seeds, runs per seed, samples of the batch, classes. It must treat runs independently.

    Class attributes
    ----------------
    name, title, citation : registry name, what people read, BibTeX key.
    ranked : one of the eight methods of the benchmark.
    told : facts of the noise it is told, keys of ``TOLD``.
    keeps_state : whether it remembers something about each sample.
    n_views : augmented versions of each sample that a step needs.
    own_batches : whether a run's batches depend on its labels, so that runs share none.
    mean_of_samples : whether each network's loss is a mean over the batch of terms of one sample each, so
        that samples can be weighted; such a method keeps the `step` of this class.
    whole_features : whether it looks at all training features at once, so that they must fit into memory;
        others get the rows of a batch, wherever they lie.
    step_cost : time of a step per network, relative to cross entropy, as benchmarks/ measure it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    ranked: ClassVar[bool] = False
    told: ClassVar[tuple[str, ...]] = ()
    keeps_state: ClassVar[bool] = False
    n_views: ClassVar[int] = 0
    own_batches: ClassVar[bool] = False
    mean_of_samples: ClassVar[bool] = False
    whole_features: ClassVar[bool] = False
    step_cost: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, low, high = getattr(self, f.name), f.metadata["low"], f.metadata["high"]
            kind, what = (int, "whole number") if f.metadata["whole"] else (int | float, "number")
            if value is None and f.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                raise NoisylibError(
                    f"{f.name}={value!r} is not a valid option of method {self.name!r}: "
                    f"{f.metadata['doc']}; a {what} in [{low:g}, {high:g}] is needed."
                )

    @classmethod
    def from_options(cls, options: dict[str, float]) -> Method:
        """Build the method with some hyper-parameters changed; an unknown name is an error."""
        for key in options:
            check_name(f"option of method {cls.name!r}", key, [f.name for f in dataclasses.fields(cls)])
        return cls(**options)

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """Return kind and number of the networks of a run, in order, when the study's head is `head`."""
        return ((head, 1),)

    @property
    def n_nets(self) -> int:
        """Networks per run."""
        return sum(count for _, count in self.head_kinds("adapter"))

    def check_labels(self, y_noisy: np.ndarray, n_classes: int) -> None:
        """Raise NoisylibError if the observed labels (R, N) do not suffice; asked before any training."""

    def start(self, training: Training) -> State:
        """Return fresh state; per-sample tensors have axes (S, H, N, ...)."""
        return {}

    def begin_epoch(self, training: Training, epoch: int, state: State) -> None:
        """Do what an epoch needs before its first step, such as dividing the training set."""

    def order(self, training: Training, epoch: int, state: State) -> Tensor | None:
        """Return the samples an epoch goes through, (S, L), or None for the order all methods share."""
        return None

    def step(self, training: Training, batch: Batch) -> None:
        """Train all networks on one batch."""
        x = training.rows(batch.index)
        logits = training.forward(x)
        gradient = self.gradient(logits, training.labels(batch), batch)
        training.backward(x, training.weigh(gradient, batch))
        training.step()

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

    def scores(self, logits: Tensor, state: State) -> Tensor:
        """Return what is ranked at test time, (S, H, B, K): the first network's logits by default."""
        return logits[0]


@dataclass(frozen=True)
class TrainingFree(Method):
    """Base of the methods that vote with the training samples and train no head."""

    whole_features: ClassVar[bool] = True

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """No network at all."""
        return ()

    def predict(self, X: Tensor, y: Tensor, X_test: Tensor, n_classes: int) -> Tensor:
        """Return votes (S, H, M, K) for the samples `X_test` (M, D); equal votes go to the lowest class.

        Parameters
        ----------
        X : (N, D) training features, standardised if the recipe says so; X_test likewise.
        y : (S, H, N) observed labels.
        """
        raise NotImplementedError
