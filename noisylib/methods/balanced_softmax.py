"""Balanced softmax: logits that answer for balanced classes, trained on labels that are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from noisylib.methods.base import Method
from noisylib.methods.ce import CrossEntropy
from noisylib.methods.coteaching import CoTeaching
from noisylib.methods.coteaching_by_class import label_counts
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class BalancedSoftmax(Method):
    """Mixin: the method that follows in the bases sees logits + log n_c / N instead of the logits.

    n_c is how often class c is observed among the N training labels, as they are, noise included. What
    is ranked at test time are the plain logits, without the frequencies. A class that nobody is labelled
    with counts as one sample: at a frequency of 0 nothing would ever push its logit down, and it would
    be predicted by the luck of its start.

    Source: Ren et al. 2020, theorem 1 and equation 4; with cross entropy it is the logit-adjusted loss of
    Menon et al. 2021 at tau = 1.
    """

    citation: ClassVar[str] = "ren2020balanced"
    ranked: ClassVar[bool] = False

    def start(self, training: Training) -> State:
        """Add log frequencies (S, H, 1, K) to the state of the method."""
        counts = label_counts(training.y, training.context.n_classes).clamp(min=1)
        frequencies = counts.double() / training.y.shape[-1]
        adjustment = frequencies.log().to(training.context.dtype).unsqueeze(-2)
        return {**super().start(training), "log_frequency": adjustment}

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the method on the shifted logits."""
        return super().loss(logits + batch.state["log_frequency"], targets, batch)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the gradient of the method there: the shift is a constant."""
        return super().gradient(logits + batch.state["log_frequency"], targets, batch)


@dataclass(frozen=True)
class BalancedCrossEntropy(BalancedSoftmax, CrossEntropy):
    """Mean of -log q[y_noisy] over the batch, with q_c = n_c exp(z_c) / sum_k n_k exp(z_k).

    n_c is how often class c is observed, at least 1. Predictions are those of the plain logits z, which
    learn the ratio of the posterior to the frequency of the class, so that a rare class is not drowned
    by a frequent one.

    Source: Ren et al. 2020, theorem 1 and equation 4.
    """

    name: ClassVar[str] = "ce_balanced"
    title: ClassVar[str] = "Balanced softmax"


@dataclass(frozen=True)
class BalancedCoTeaching(BalancedSoftmax, CoTeaching):
    """Co-teaching on the cross entropy of balanced softmax, for choosing samples as well as for training.

    That loss is -log of n_y exp(z_y) / sum_k n_k exp(z_k), with n_c how often class c is observed, at
    least 1. Predictions are those of the plain logits z of the first network. The choice is still made
    from the whole batch, with one rate for all classes, which the method is told; while the logits are
    equal, the samples of frequent classes have the smaller loss and are chosen.

    Source: Ren et al. 2020, theorem 1 and equation 4, in the algorithm of Han et al. 2018.
    """

    name: ClassVar[str] = "coteaching_balanced"
    title: ClassVar[str] = "Co-teaching, balanced softmax"
