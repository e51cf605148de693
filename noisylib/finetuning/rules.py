"""The losses of full fine-tuning: cross entropy, GCE and ELR of one network, for automatic differentiation.

They are the rules of `noisylib.methods` without the axes of a bank of heads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.methods.base import hyper
from noisylib.methods.elr import CLAMP


class Rule(Protocol):
    """A loss per sample, which may remember something of each sample."""

    name: ClassVar[str]
    title: ClassVar[str]

    def memory(self, n_samples: int, n_classes: int) -> Tensor | None:
        """Return what is remembered at the start, (N, K), or None."""

    def losses(
        self, logits: Tensor, targets: Tensor, remembered: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return losses (B,) of logits (B, K), and the new memory (B, K) of these samples."""


class _Forgetful:
    def memory(self, n_samples: int, n_classes: int) -> None:
        return None


@dataclass(frozen=True)
class CrossEntropyRule(_Forgetful):
    """Cross entropy."""

    name: ClassVar[str] = "ce"
    title: ClassVar[str] = "FFT-CE"

    def losses(self, logits: Tensor, targets: Tensor, remembered: Tensor | None) -> tuple[Tensor, None]:
        """Return -log p[y]."""
        return F.cross_entropy(logits, targets, reduction="none"), None


@dataclass(frozen=True)
class GCERule(_Forgetful):
    """L_q = (1 - p[y]^q) / q.

    Source: Zhang and Sabuncu 2018, the L_q loss.
    """

    name: ClassVar[str] = "gce"
    title: ClassVar[str] = "FFT-GCE"
    q: float = hyper(0.7, "exponent q in (0, 1]", "Zhang and Sabuncu 2018, experiments", low=1e-6, high=1)

    def __post_init__(self) -> None:
        check_options(self)

    def losses(self, logits: Tensor, targets: Tensor, remembered: Tensor | None) -> tuple[Tensor, None]:
        """Return L_q; expm1 keeps its precision where p is near 1."""
        return -torch.expm1(-self.q * F.cross_entropy(logits, targets, reduction="none")) / self.q, None


@dataclass(frozen=True)
class ELRRule:
    """CE + lam log(1 - <p, t>), with t the running average of each sample's predictions.

    Source: Liu et al. 2020, equation 7 and algorithm 1; the clamp is that of the authors' release.
    """

    name: ClassVar[str] = "elr"
    title: ClassVar[str] = "FFT-ELR"
    lam: float = hyper(
        3.0, "weight of the regulariser", "Liu et al. 2020, CIFAR-10 symmetric", low=0, high=100
    )
    beta: float = hyper(
        0.7, "momentum of the target", "Liu et al. 2020, CIFAR-10 symmetric", low=0, high=0.9999
    )

    def __post_init__(self) -> None:
        check_options(self)

    def memory(self, n_samples: int, n_classes: int) -> Tensor:
        """Return the zero targets."""
        return torch.zeros(n_samples, n_classes)

    def losses(self, logits: Tensor, targets: Tensor, remembered: Tensor | None) -> tuple[Tensor, Tensor]:
        """Update the targets of these samples, then return the regularised loss."""
        p = logits.softmax(-1).clamp(CLAMP, 1 - CLAMP)
        now = p.detach() / p.detach().sum(-1, keepdim=True)
        t = self.beta * remembered + (1 - self.beta) * now
        regulariser = torch.log(1 - (p * t).sum(-1))
        return F.cross_entropy(logits, targets, reduction="none") + self.lam * regulariser, t


def check_options(rule: object) -> None:
    """Raise NoisylibError if a hyper-parameter is out of the range that its field names."""
    for option in fields(rule):  # type: ignore[arg-type]
        if "low" not in option.metadata:
            continue
        value, low, high = getattr(rule, option.name), option.metadata["low"], option.metadata["high"]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise NoisylibError(
                f"{rule.name}.{option.name}={value!r}: a number between {low} and {high} is needed."  # type: ignore[attr-defined]
            )
