"""Early-learning regularisation: hold predictions near their own running average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, log_softmax, softmax
from noisylib.methods.session import Batch, State, Training

CLAMP = 1e-4


@dataclass(frozen=True)
class EarlyLearningRegularisation(Method):
    """CE + lam log(1 - <p, t>), with t the running average of each sample's predictions.

    The buffer is updated first and then used, so it already contains the present prediction. It
    carries no gradient; the prediction inside the inner product does. Probabilities are clamped to
    [1e-4, 1 - 1e-4] as in the authors' release, and renormalised for the buffer only.

    Source: Liu et al. 2020, equation 7 and algorithm 1; the clamp is that of the authors' release.
    """

    name: ClassVar[str] = "elr"
    title: ClassVar[str] = "ELR"
    citation: ClassVar[str] = "liu2020elr"
    mean_of_samples: ClassVar[bool] = True
    ranked: ClassVar[bool] = True
    keeps_state: ClassVar[bool] = True
    lam: float = hyper(
        3.0, "weight of the regulariser", "Liu et al. 2020, CIFAR-10 symmetric", low=0, high=100
    )
    beta: float = hyper(
        0.7, "momentum of the target", "Liu et al. 2020, CIFAR-10 symmetric", low=0, high=0.9999
    )

    def start(self, training: Training) -> State:
        """Return the zero buffer t (S, H, N, K), indexed by training-set position."""
        context = training.context
        shape = (*context.runs, context.n_samples, context.n_classes)
        return {"target": torch.zeros(shape, dtype=context.dtype, device=context.device)}

    def _remember(self, p: Tensor, batch: Batch) -> Tensor:
        """Update the batch's rows of the buffer from clamped probabilities (1, S, H, B, K); return them."""
        now = p[0] / p[0].sum(-1, keepdim=True)
        t = now.mul_(1 - self.beta).add_(batch.take("target"), alpha=self.beta)
        batch.put("target", t)
        return t

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Update the batch's rows of the buffer, then return the regularised loss."""
        p = log_softmax(logits).exp().clamp(CLAMP, 1 - CLAMP)
        t = self._remember(p.detach(), batch)
        regulariser = torch.log(1 - (p * t).sum(-1))
        return (cross_entropy(logits, targets) + self.lam * regulariser).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - e_y + p (g - <p, g>)) / B, with g = -lam t / (1 - <p, t>) where nothing is clamped."""
        p = softmax(logits)
        clamped = p.clamp(CLAMP, 1 - CLAMP)
        t = self._remember(clamped, batch)
        g = torch.where(p == clamped, t, 0) * (-self.lam / (1 - (clamped * t).sum(-1, keepdim=True)))
        pull = p * (g - (p * g).sum(-1, keepdim=True))
        return add_at_label(p, targets, -1).add_(pull).div_(targets.shape[-1])
