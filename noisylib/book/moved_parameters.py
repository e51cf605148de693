"""The parameters of the chapter on how far a backbone moves: digits, little and much noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty
from noisylib.book.turn_parameters import LIVE_CLASSES, noise_types
from noisylib.errors import ConfigError


@dataclass(frozen=True)
class MovedParameters:
    """Which labels are wrong, how long and with which learning rates the backbone is fine-tuned."""

    noise_type: str = field(
        default="symmetric",
        metadata=rules("symmetric, pairflip, asymmetric or instance", names=noise_types),
    )
    low_rate: float = field(
        default=0.2, metadata=rules("fraction of wrong labels where there is little noise", low=0.0, high=1.0)
    )
    high_rate: float = field(
        default=0.6, metadata=rules("fraction of wrong labels where there is much noise", low=0.0, high=1.0)
    )
    images: int = field(
        default=400,
        metadata=rules("training images, at most; the digits have no more than 600", low=50, high=600),
    )
    epochs: int = field(
        default=5, metadata=rules("passes of full fine-tuning over the training images", low=1, high=100)
    )
    learning_rates: list[float] = field(
        default_factory=lambda: [0.0, 0.002],
        metadata=rules(
            "learning rates of the backbone to try besides the usual one; 0 holds it still", low=0.0, high=1.0
        ),
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1],
        metadata=rules("one run per seed: noise, start and batch order", low=0),
    )
    dataset: str = field(
        default="pbc",
        metadata=rules("archived data set whose maps and blocks are drawn", names=names.datasets),
    )

    def __post_init__(self) -> None:
        from noisylib.noise import check_rate

        check_not_empty(self, "seeds", "learning_rates")
        for name in ("seeds", "learning_rates"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"{name}={values} has one twice: give each once.")
        if not 0 < self.low_rate < self.high_rate:
            raise ConfigError(
                f"low_rate={self.low_rate} and high_rate={self.high_rate}: the first must be above 0 and "
                "below the second."
            )
        for rate in (self.low_rate, self.high_rate):
            check_rate(self.noise_type, rate, LIVE_CLASSES)
