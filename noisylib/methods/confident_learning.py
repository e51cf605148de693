"""Confident learning: prune the labels that out-of-fold predictions contradict, then train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from noisylib.methods.losses import add_at_label, cross_entropy, softmax
from noisylib.methods.out_of_fold import CrossValidated
from noisylib.methods.session import Batch, State, Training


@dataclass(frozen=True)
class ConfidentLearningPruning(CrossValidated):
    """Cross entropy on the samples that confident learning keeps; the mask is made once.

    Out-of-fold probabilities of a linear probe give, through cleanlab, the joint distribution of observed
    and true labels; of each pair of classes as many samples are pruned as that joint says are wrong. A
    batch's loss is the mean over its kept samples.

    Source: Northcutt et al. 2021, section 3 (prune by noise rate).
    """

    name: ClassVar[str] = "cl_prune"
    title: ClassVar[str] = "Confident-learning pruning"
    citation: ClassVar[str] = "northcutt2021confident"
    keeps_state: ClassVar[bool] = True

    def start(self, training: Training) -> State:
        """Find what to keep, (S, H, N)."""
        from noisylib.confident import keep_mask

        kept = keep_mask(training.y, self.probabilities(training))
        return {"kept": kept.to(training.context.device, training.context.dtype)}

    def _weights(self, batch: Batch) -> Tensor:
        """Return 1 / (number kept) for kept samples of the batch, else 0, (S, H, B)."""
        kept = batch.take("kept")
        batch.selected = kept[None] > 0
        return kept / kept.sum(-1, keepdim=True).clamp(min=1)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross entropy of the kept samples."""
        return (self._weights(batch) * cross_entropy(logits, targets)).sum(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - e_y) times the weight of the sample."""
        return add_at_label(softmax(logits), targets, -1).mul_(self._weights(batch).unsqueeze(-1))
