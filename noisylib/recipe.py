"""The optimisation settings that all methods share."""

from __future__ import annotations

from dataclasses import dataclass

from noisylib.errors import NoisylibError


@dataclass(frozen=True)
class Recipe:
    """Adam with coupled weight decay and a step schedule; no model selection.

    After Yu et al. 2024 (CUFIT, section 5.1), whose linear probes on frozen medical features are the
    closest published setting: Adam 1e-3, weight decay 1e-5, steps of x0.1, mean of the last 10 epochs.
    Half their epochs and four times their batch, for speed.

    Attributes
    ----------
    epochs : passes over the training split.
    batch_size : samples per step; the last partial batch is kept.
    learning_rate, weight_decay : of Adam; the decay is added to the gradient.
    decay_at : fractions of the epochs after which the learning rate is multiplied by 0.1.
    score_epochs : a run's score is the mean over this many last epochs.
    standardise : z-score each feature on the training split.
    width : hidden width of the head; None is the head's default.
    """

    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    decay_at: tuple[float, ...] = (0.5, 0.75, 0.9)
    score_epochs: int = 10
    standardise: bool = True
    width: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "score_epochs", "width"):
            value = getattr(self, name)
            if value is None and name == "width":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise NoisylibError(f"recipe.{name}={value!r}: a whole number of at least 1 is needed.")
        for name, low in (("learning_rate", 0), ("weight_decay", -1e-300)):
            value = getattr(self, name)
            if not _is_number(value) or not low < value < 10:
                raise NoisylibError(
                    f"recipe.{name}={value!r}: a number between 0 and 10 is needed. YAML reads 1e-3 as text; "
                    "write 0.001 or 1.0e-3."
                )
        fractions = self.decay_at
        if not isinstance(fractions, list | tuple) or not all(
            _is_number(f) and 0 < f <= 1 for f in fractions
        ):
            raise NoisylibError(
                f"recipe.decay_at={fractions!r}: a list of fractions of the epochs in (0, 1] is needed."
            )
        object.__setattr__(self, "decay_at", tuple(fractions))
        if not isinstance(self.standardise, bool):
            raise NoisylibError(f"recipe.standardise={self.standardise!r}: true or false is needed.")
        if self.score_epochs > self.epochs:
            raise NoisylibError(
                f"recipe.score_epochs={self.score_epochs} is more than recipe.epochs={self.epochs}: lower it."
            )

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of epoch `epoch`, counted from 0."""
        passed = sum(epoch >= round(fraction * self.epochs) for fraction in self.decay_at)
        return self.learning_rate * 0.1**passed


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
