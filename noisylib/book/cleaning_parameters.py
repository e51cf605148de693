"""The parameters of the chapter on cleaning: which losses a mixture is fitted to, and how it selects."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty, check_rates
from noisylib.errors import ConfigError


@dataclass(frozen=True)
class CleaningParameters:
    """One condition that the chapter looks into, and the rates and thresholds that it goes through."""

    dataset: str = field(
        default="ham10000", metadata=rules("feature bank whose labels are cleaned", names=names.datasets)
    )
    backbone: str = field(
        default="deit_tiny", metadata=rules("backbone that made the features", names=names.backbones)
    )
    noise_type: str = field(
        default="symmetric", metadata=rules("symmetric, pairflip or asymmetric", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.4, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    rates: list[float] = field(
        default_factory=lambda: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        metadata=rules(
            "rates to go through; those that a kind of noise cannot have are left out", low=0.0, high=1.0
        ),
    )
    epochs: int = field(
        default=20, metadata=rules("passes of the linear probe over the training set", low=1, high=1000)
    )
    tau: float = field(
        default=0.6, metadata=rules("posterior above which a sample is clean", low=0.0, high=1.0)
    )
    taus: list[float] = field(
        default_factory=lambda: [0.4, 0.5, 0.6, 0.7, 0.8],
        metadata=rules("values of tau to go through", low=0.0, high=1.0),
    )
    redraws: int = field(
        default=5, metadata=rules("epochs of fine-tuning, each with a draw of its own", low=1, high=1000)
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2],
        metadata=rules("one run per seed: noise, start, batch order and draws", low=0),
    )

    def __post_init__(self) -> None:
        check_not_empty(self, "rates", "taus", "seeds")
        for name in ("rates", "taus", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"{name}={values} has one twice: give each once.")
        for name, values in (("noise_rate", [self.noise_rate]), ("rates", self.rates)):
            if 0 in values:
                raise ConfigError(
                    f"{name}={getattr(self, name)}: a rate of 0 leaves no wrong label to clean away: give "
                    "rates above 0."
                )
        check_rates(self.dataset, self.noise_type, [self.noise_rate])
