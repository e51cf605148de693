"""JoCoR: two networks that agree, trained together on the samples of small joint loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.coteaching import CoTeaching, small_losses
from noisylib.methods.losses import log_softmax, pick
from noisylib.methods.session import Batch


@dataclass(frozen=True)
class JoCoR(CoTeaching):
    """Both networks step on the samples of smallest (1 - lam)(CE1 + CE2) + lam (KL12 + KL21).

    Both directions of the divergence carry gradient to both networks. What is forgotten follows the
    schedule of Co-teaching, from the noise rate that the method is told.

    Source: Wei et al. 2020, equations 1 to 4; lam as tuned in the authors' release.
    """

    name: ClassVar[str] = "jocor"
    title: ClassVar[str] = "JoCoR"
    citation: ClassVar[str] = "wei2020jocor"
    ranked: ClassVar[bool] = False
    lam: float = hyper(
        0.9, "weight of the agreement", "Wei et al. 2020, release, CIFAR-10 at 20 and 50 %", low=0, high=1
    )

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return half the joint loss for each network, so that their sum is what both minimise."""
        log_p = log_softmax(logits)
        supervised = -pick(log_p, targets).sum(0)  # (S, H, B)
        # KL(p1 | p2) + KL(p2 | p1) = sum_k (p1 - p2) (log p1 - log p2)
        apart = ((log_p[0].exp() - log_p[1].exp()) * (log_p[0] - log_p[1])).sum(-1)
        joint = (1 - self.lam) * supervised + self.lam * apart
        kept, easy = small_losses(joint.detach(), self.forget_rate(batch.epoch, batch.state["noise_rate"]))
        batch.selected = easy.expand(2, *easy.shape)
        mean = torch.where(easy, joint, 0).sum(-1) / kept
        return torch.stack([mean, mean]) / 2

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Differentiate the joint loss."""
        return Method.gradient(self, logits, targets, batch)
