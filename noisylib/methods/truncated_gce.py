"""Truncated generalised cross entropy: samples that stay improbable are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, pick, softmax
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class TruncatedGCE(Method):
    """Sum of w (L_q(p[y]) - L_q(k)) over the batch, divided by its size, with w in {0, 1} per sample.

    All w start at 1. From a third of the training on, every ten epochs, a sample is kept if
    p[y] > k under the present head. The authors take the best head so far by validation accuracy;
    nothing is selected here, so the present one is taken.

    Source: Zhang and Sabuncu 2018, the truncated loss and its alternating optimisation.
    """

    name: ClassVar[str] = "tgce"
    title: ClassVar[str] = "Truncated GCE"
    citation: ClassVar[str] = "zhang2018generalized"
    mean_of_samples: ClassVar[bool] = True
    keeps_state: ClassVar[bool] = True
    q: float = hyper(0.7, "exponent q in (0, 1]", "Zhang and Sabuncu 2018, experiments", low=1e-6, high=1)
    k: float = hyper(
        0.5, "probability below which a sample is left out", "Zhang and Sabuncu 2018, experiments",
        low=1e-6, high=1 - 1e-6,
    )  # fmt: skip
    start_at: float = hyper(
        1 / 3, "fraction of the epochs before the first pruning",
        "Zhang and Sabuncu 2018, epoch 40 of 120 on CIFAR-10", low=0, high=1,
    )  # fmt: skip
    refresh: int = hyper(
        10, "epochs between prunings", "Zhang and Sabuncu 2018, experiments", low=1, high=10_000, whole=True
    )

    def start(self, training: Training) -> State:
        """Keep every sample, (S, H, N)."""
        context = training.context
        kept = torch.ones((*context.runs, context.n_samples), dtype=context.dtype, device=context.device)
        return {"kept": kept}

    def begin_epoch(self, training: Training, epoch: int, state: State) -> None:
        """Prune again where the schedule says so."""
        since = epoch - round(self.start_at * training.context.epochs)
        if since >= 0 and since % self.refresh == 0:
            probability = (-training.losses()[0]).exp()
            state["kept"] = (probability > self.k).to(training.context.dtype)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the truncated loss of each network."""
        kept = batch.take("kept")
        batch.selected = kept[None] > 0
        # (L_q(p) - L_q(k)) = (k^q - p^q) / q
        above = (self.k**self.q - torch.exp(-self.q * cross_entropy(logits, targets))) / self.q
        return (kept * above).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return w p[y]^q (p - e_y) / B."""
        kept = batch.take("kept")
        batch.selected = kept[None] > 0
        p = softmax(logits)
        weight = kept * pick(p, targets) ** self.q / targets.shape[-1]
        return add_at_label(p, targets, -1).mul_(weight.unsqueeze(-1))
