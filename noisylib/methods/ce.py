"""Cross entropy: the plain linear-probing baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from noisylib.methods.base import Method
from noisylib.methods.losses import add_at_label, cross_entropy, softmax
from noisylib.methods.session import Batch


@dataclass(frozen=True)
class CrossEntropy(Method):
    """Mean of -log p[y_noisy] over the batch.

    Source: the linear-probing baseline of Yu et al. 2024 (CUFIT), section 5.1.
    """

    name: ClassVar[str] = "ce"
    title: ClassVar[str] = "Cross entropy"
    citation: ClassVar[str] = "yu2024cufit"
    mean_of_samples: ClassVar[bool] = True
    ranked: ClassVar[bool] = True

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross entropy of each network."""
        return cross_entropy(logits, targets).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - e_y) / B."""
        return add_at_label(softmax(logits), targets, -1).div_(targets.shape[-1])
