"""The parameters of the chapters on fine-tuning: digits, trained on live under one kind of noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty
from noisylib.errors import ConfigError

LIVE_CLASSES = 5  # digits that the small backbone has not been trained on


def noise_types() -> set[str]:
    """Return the kinds of noise that a chapter can make on images with clean labels."""
    return {*names.matrix_noise(), "instance"}


def tunings() -> set[str]:
    """Return the rows of the table of TURN: linear probes, full fine-tuning, and both."""
    from noisylib.study.finetune_methods import ROWS

    return set(ROWS)


@dataclass(frozen=True)
class TurnParameters:
    """One condition on images of digits: which labels are wrong, how many images, how long to fine-tune."""

    noise_type: str = field(
        default="symmetric",
        metadata=rules("symmetric, pairflip, asymmetric or instance", names=noise_types),
    )
    noise_rate: float = field(
        default=0.4, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    images: int = field(
        default=400,
        metadata=rules("training images, at most; there are no more than 537", low=50, high=537),
    )
    epochs: int = field(
        default=5, metadata=rules("passes of full fine-tuning over the training images", low=1, high=100)
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1],
        metadata=rules("one run per seed: noise, start and batch order", low=0),
    )

    def __post_init__(self) -> None:
        from noisylib.noise import check_rate

        check_not_empty(self, "seeds")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds} has one twice: give each once.")
        if self.noise_rate == 0:
            raise ConfigError("noise_rate=0 leaves no wrong label to be robust against: give a rate above 0.")
        check_rate(self.noise_type, self.noise_rate, LIVE_CLASSES)


@dataclass(frozen=True)
class LpFftTurnParameters(TurnParameters):
    """Which rows of the table of TURN are trained live, and which score is shown."""

    methods: list[str] = field(
        default_factory=lambda: [
            "lp-ce",
            "lp-gce",
            "lp-elr",
            "lp-dividemix",
            "lp-unicon",
            "fft-ce",
            "fft-gce",
            "fft-elr",
            "turn",
        ],
        metadata=rules("rows to train: a linear probe lp-*, full fine-tuning fft-*, or turn", names=tunings),
    )
    score: str = field(
        default="accuracy",
        metadata=rules(
            "score of the archived tables: accuracy (the paper's) or balanced_accuracy", names=names.metrics
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_empty(self, "methods")
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods={self.methods} has one twice: give each once.")
