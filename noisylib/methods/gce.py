"""Generalised cross entropy: between cross entropy (q -> 0) and mean absolute error (q = 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, pick, softmax
from noisylib.methods.session import Batch


@dataclass(frozen=True)
class GeneralisedCrossEntropy(Method):
    """L_q = (1 - p[y]^q) / q. Its gradient is that of cross entropy times p[y]^q.

    Source: Zhang and Sabuncu 2018, the L_q loss.
    """

    name: ClassVar[str] = "gce"
    title: ClassVar[str] = "Generalised cross entropy"
    citation: ClassVar[str] = "zhang2018generalized"
    mean_of_samples: ClassVar[bool] = True
    ranked: ClassVar[bool] = True
    q: float = hyper(0.7, "exponent q in (0, 1]", "Zhang and Sabuncu 2018, experiments", low=1e-6, high=1)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return mean L_q of each network."""
        # expm1 of q log p keeps full precision where p is near 1 and where q is near 0.
        return (-torch.expm1(-self.q * cross_entropy(logits, targets)) / self.q).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return p[y]^q (p - e_y) / B."""
        p = softmax(logits)
        weight = pick(p, targets) ** self.q / targets.shape[-1]
        return add_at_label(p, targets, -1).mul_(weight.unsqueeze(-1))
