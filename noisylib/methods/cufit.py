"""CUFIT-head: a linear probe teaches an adapter which labels to trust, and that one a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.methods.base import Method
from noisylib.methods.losses import add_at_label, cross_entropy, softmax
from noisylib.methods.session import Batch, State


@dataclass(frozen=True)
class CUFITHead(Method):
    """Three modules on the same batches; each but the first trains where its teacher agrees.

    The linear probing module (LPM) trains on all samples; the intermediate adapter module (IAM) on
    those whose label the LPM predicts; the last adapter module (LAM) on those whose label the IAM
    predicts. Masks come from the same forward pass and carry no gradient; each loss is a sum over the
    kept samples divided by the size of the whole batch. Predictions are those of the LAM.

    On frozen features the adapters cannot sit inside the backbone's blocks, as they do in the paper:
    IAM and LAM are heads of the study's kind on the cached features, hence the name.

    Source: Yu et al. 2024, equations 5 to 7.
    """

    name: ClassVar[str] = "cufit"
    title: ClassVar[str] = "CUFIT-head"
    citation: ClassVar[str] = "yu2024cufit"
    mean_of_samples: ClassVar[bool] = True
    ranked: ClassVar[bool] = True

    def head_kinds(self, head: str) -> tuple[tuple[str, int], ...]:
        """LPM; IAM and LAM."""
        return (("linear", 1), (head, 2))

    def _masks(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return what each module trains on, (3, S, H, B) bool."""
        agrees = logits.detach()[:2].argmax(-1) == targets
        return torch.cat([torch.ones_like(agrees[:1]), agrees])

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the masked cross entropy of each module."""
        batch.selected = self._masks(logits, targets)
        return torch.where(batch.selected, cross_entropy(logits, targets), 0).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return mask (p - e_y) / B."""
        batch.selected = self._masks(logits, targets)
        weight = batch.selected.to(logits.dtype).unsqueeze(-1) / targets.shape[-1]
        return add_at_label(softmax(logits), targets, -1).mul_(weight)

    def scores(self, logits: Tensor, state: State) -> Tensor:
        """Return the logits of the LAM."""
        return logits[2]
