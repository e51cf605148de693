"""Early-learning regularisation: hold predictions near their own running average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import cross_entropy, log_softmax
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

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Update the batch's rows of the buffer, then return the regularised loss."""
        p = log_softmax(logits).exp().clamp(CLAMP, 1 - CLAMP)
        with torch.no_grad():
            now = p[0] / p[0].sum(-1, keepdim=True)
            t = self.beta * batch.take("target") + (1 - self.beta) * now
            batch.put("target", t)
        regulariser = torch.log(1 - (p * t).sum(-1))
        return (cross_entropy(logits, targets) + self.lam * regulariser).mean(-1)
