"""The optimisation settings of full fine-tuning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from noisylib.errors import NoisylibError, check_name

PRECISIONS = ("auto", "bfloat16", "float32", "float64")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class FinetuneRecipe:
    """AdamW with a smaller learning rate for the backbone than for its head; no model selection.

    The sources of TURN give 5 epochs of fine-tuning and no optimiser. The rest is what vision
    transformers are commonly fine-tuned with.

    Attributes
    ----------
    epochs : passes over the training samples, or over those that are called clean.
    batch_size : samples per optimiser step, over all processes; the last partial batch is kept.
    accumulate : parts that a batch goes through the network in. More parts need less memory, and the
        step stays the same.
    lr_backbone, lr_head : peak learning rates.
    weight_decay : decoupled, of matrices and kernels; gains, biases and embeddings of position have none.
    layer_decay : the learning rate of a block is this times that of the block after it, from 1 (all alike)
        downwards.
    warmup : fraction of the training in which the learning rate rises from 0.
    schedule : "cosine" falls to 0 at the end, "constant" stays at the peak.
    precision : of the forward pass: "auto" takes bfloat16 where the device computes in it. "float64" is
        for checks.
    augment : mirror and shift training images at random; losses and scores are always of plain ones.
    clip : largest norm of the gradient; 0 does not clip.
    """

    epochs: int = 5
    batch_size: int = 64
    accumulate: int = 1
    lr_backbone: float = 1e-5
    lr_head: float = 1e-4
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup: float = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["auto", "bfloat16", "float32", "float64"] = "auto"
    augment: bool = True
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise NoisylibError(f"finetune.{name}={value!r}: a whole number of at least 1 is needed.")
        for name, low, high in (
            ("lr_backbone", 0, 1),
            ("lr_head", 0, 1),
            ("weight_decay", 0, 10),
            ("warmup", 0, 0.9),
            ("clip", 0, 1e6),
        ):
            self._check(name, low, high)
        self._check("layer_decay", 0.01, 1)
        check_name("finetune.schedule", self.schedule, SCHEDULES)
        check_name("finetune.precision", self.precision, PRECISIONS)
        if not isinstance(self.augment, bool):
            raise NoisylibError(f"finetune.augment={self.augment!r}: true or false is needed.")
        if self.accumulate > self.batch_size:
            raise NoisylibError(
                f"finetune.accumulate={self.accumulate} is more than finetune.batch_size={self.batch_size}: "
                "a part of a batch has at least one image."
            )

    def _check(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise NoisylibError(
                f"finetune.{name}={value!r}: a number between {low} and {high} is needed. YAML reads 1e-5 as "
                "text; write 0.00001 or 1.0e-5."
            )

    def factor(self, epoch: int, step: int, steps: int) -> float:
        """Return by what the peak learning rates are multiplied at a step, in (0, 1].

        Time runs from 0 to 1 over all epochs and is taken in the middle of the step, so that neither the
        first step nor the last one is lost. Epochs may differ in their number of steps.
        """
        time = (epoch + (step + 0.5) / steps) / self.epochs
        if time < self.warmup:
            return time / self.warmup
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (time - self.warmup) / (1 - self.warmup)))
