"""Co-teaching: two networks, each trained on what the other finds easy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, softmax
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class CoTeaching(Method):
    """Each network steps on the (1 - R) B samples of smallest loss of its peer.

    R rises linearly from 0 to the noise rate, which the method is told, and then stays. Released
    schedule: ``linspace(0, tau^c, T_k)`` over epochs 0..T_k - 1, where epoch 0 only evaluates, so
    training starts at the second value. The mean is over the kept samples; the release divides by
    their number twice, which this does not. Predictions are those of the first network.

    Source: Han et al. 2018, algorithm 1; the schedule is that of the release.
    """

    name: ClassVar[str] = "coteaching"
    title: ClassVar[str] = "Co-teaching"
    citation: ClassVar[str] = "han2018coteaching"
    ranked: ClassVar[bool] = True
    told: ClassVar[tuple[str, ...]] = ("noise_rate",)
    ramp_epochs: int = hyper(
        10, "epochs T_k of the ramp", "Han et al. 2018, experiments", low=2, high=10_000, whole=True
    )
    exponent: float = hyper(1, "exponent c on the noise rate", "Han et al. 2018, release", low=0.1, high=10)

    def forget_rate(self, epoch: int, noise_rate: Tensor) -> Tensor:
        """Return R for training epoch `epoch` (from 0), shaped like `noise_rate`."""
        return noise_rate**self.exponent * min((epoch + 1) / (self.ramp_epochs - 1), 1.0)

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """Two networks."""
        return ((head, 2),)

    def start(self, training: Training) -> State:
        """Keep the told noise rate (S, H)."""
        return {"noise_rate": training.context.noise_rate}

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return each network's mean loss over its peer's selection; ties go to the earlier sample."""
        losses = cross_entropy(logits, targets)  # (2, S, H, B)
        kept = self._exchange(losses.detach(), targets, batch)
        return torch.where(batch.selected, losses, 0).sum(-1) / kept

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - e_y) / kept for the samples of each network's peer."""
        kept = self._exchange(cross_entropy(logits, targets), targets, batch)
        weight = batch.selected / kept.to(logits.dtype).unsqueeze(-1)
        return add_at_label(softmax(logits), targets, -1).mul_(weight.unsqueeze(-1))

    def easiest(self, losses: Tensor, targets: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return how many samples are kept, (S, H), and which each network finds easy, (2, S, H, B)."""
        return small_losses(losses, self.forget_rate(batch.epoch, batch.state["noise_rate"]))

    def _exchange(self, losses: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Select for each network what its peer (2, S, H, B) finds easy; return how many, (S, H)."""
        kept, easy = self.easiest(losses, targets, batch)
        batch.selected = easy.flip(0)
        return kept


def small_losses(losses: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many of B samples are kept, shaped like `forget`, and which, shaped like `losses`.

    They are the floor((1 - forget) B), at least one, of smallest loss; ties go to the earlier sample.
    """
    kept = ((1 - forget) * losses.shape[-1] + 1e-9).floor().clamp(min=1)  # 1e-9: 0.7 * 10 must floor to 7
    easiest = torch.arange(losses.shape[-1], device=losses.device) < kept.unsqueeze(-1)
    order = losses.argsort(dim=-1, stable=True)
    return kept, torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, easiest.expand_as(order))
