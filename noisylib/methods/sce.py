"""Symmetric cross entropy: cross entropy plus its reverse, which is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, pick, softmax
from noisylib.methods.session import Batch

_SOURCE = "Wang et al. 2019, CIFAR-10"


@dataclass(frozen=True)
class SymmetricCrossEntropy(Method):
    """alpha CE + beta RCE, where RCE = -sum_k p_k log q_k swaps prediction p and one-hot label q.

    The logarithm of zero is set to the constant A, so that RCE = -A (1 - p[y]).

    Source: Wang et al. 2019, equations 5 to 8.
    """

    name: ClassVar[str] = "sce"
    title: ClassVar[str] = "Symmetric cross entropy"
    citation: ClassVar[str] = "wang2019sce"
    mean_of_samples: ClassVar[bool] = True
    alpha: float = hyper(0.1, "weight of cross entropy", _SOURCE, low=0, high=100)
    beta: float = hyper(1.0, "weight of reverse cross entropy", _SOURCE, low=0, high=100)
    log_zero: float = hyper(-4.0, "stand-in A for log 0", _SOURCE, low=-100, high=-1e-6)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        ce = cross_entropy(logits, targets)
        return (self.alpha * ce - self.beta * self.log_zero * (1 - (-ce).exp())).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (alpha - beta A p[y]) (p - e_y) / B."""
        p = softmax(logits)
        weight = (self.alpha - self.beta * self.log_zero * pick(p, targets)) / targets.shape[-1]
        return add_at_label(p, targets, -1).mul_(weight.unsqueeze(-1))
