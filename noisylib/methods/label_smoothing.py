"""Label smoothing: cross entropy against a target mixed with the uniform distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, cross_entropy, log_softmax, softmax
from noisylib.methods.session import Batch


@dataclass(frozen=True)
class LabelSmoothing(Method):
    """Cross entropy with target (1 - a) e_y + a / K; the smoothed mass includes class y.

    Source: Szegedy et al. 2016, section 7; Mueller et al. 2019, section 1.
    """

    name: ClassVar[str] = "ls"
    title: ClassVar[str] = "Label smoothing"
    citation: ClassVar[str] = "mueller2019label"
    mean_of_samples: ClassVar[bool] = True
    ranked: ClassVar[bool] = True
    smoothing: float = hyper(
        0.1, "share a of the uniform distribution", "usual value, Mueller et al. 2019", low=0, high=1
    )

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (1 - a) CE(y) + a mean_c CE(c), averaged over the batch."""
        # a = 0 takes the same arithmetic path as plain cross entropy, so the two agree bit for bit.
        uniform = -log_softmax(logits).mean(-1)
        return ((1 - self.smoothing) * cross_entropy(logits, targets) + self.smoothing * uniform).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - (1 - a) e_y - a / K) / B."""
        p = softmax(logits).sub_(self.smoothing / logits.shape[-1])
        return add_at_label(p, targets, self.smoothing - 1).div_(targets.shape[-1])
