"""The parameters of the chapters on why small loss fails: one condition, trained live."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty, check_rates
from noisylib.errors import ConfigError


@dataclass(frozen=True)
class CaseParameters:
    """One condition that a chapter trains and looks into."""

    dataset: str = field(default="ham10000", metadata=rules("feature bank to train on", names=names.datasets))
    backbone: str = field(
        default="deit_tiny", metadata=rules("backbone that made the features", names=names.backbones)
    )
    noise_type: str = field(
        default="asymmetric", metadata=rules("symmetric, pairflip or asymmetric", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.4, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    head: str = field(default="adapter", metadata=rules("linear, mlp or adapter", names=names.heads))
    epochs: int = field(default=50, metadata=rules("passes over the training set", low=2, high=1000))
    seeds: list[int] = field(
        default_factory=lambda: [0, 1],
        metadata=rules("one run per seed: noise, start and batch order", low=0),
    )

    def __post_init__(self) -> None:
        check_not_empty(self, "seeds")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds} has one twice: give each once.")
        if self.noise_rate == 0:
            raise ConfigError("noise_rate=0 leaves no wrong label to look for: give a rate above 0.")
        check_rates(self.dataset, self.noise_type, [self.noise_rate])


@dataclass(frozen=True)
class OverlapParameters(CaseParameters):
    """Which losses the chapter on overlap lays over each other."""


@dataclass(frozen=True)
class DetectionParameters(CaseParameters):
    """Where the chapter on detection looks for clean samples."""


@dataclass(frozen=True)
class CollapseParameters(CaseParameters):
    """What the chapter on dead classes trains."""

    methods: list[str] = field(
        default_factory=lambda: [
            "ce",
            "coteaching",
            "coteaching_quota",
            "coteaching_class_tau",
            "coteaching_balanced",
            "ce_balanced",
        ],
        metadata=rules(
            "methods to compare, of those whose epoch is one pass over all samples", names=names.traced
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_empty(self, "methods")


MADE = "made"  # features that need no file


def _human_sets() -> set[str]:
    return {MADE, *names.datasets()}


@dataclass(frozen=True)
class HumanParameters:
    """Which labels the chapter on human labels trains on, and how."""

    dataset: str = field(
        default=MADE,
        metadata=rules("made (classes drawn at random) or a bank that has human labels", names=_human_sets),
    )
    backbone: str = field(
        default="deit_tiny",
        metadata=rules("backbone that made the features of a bank", names=names.backbones),
    )
    labels: list[str] = field(
        default_factory=lambda: ["aggregate", "worst"],
        metadata=rules("sets of human labels to train on"),
    )
    methods: list[str] = field(
        default_factory=lambda: ["ce", "gce", "forward", "coteaching", "elr", "cufit"],
        metadata=rules("methods to compare", names=names.methods),
    )
    head: str = field(default="adapter", metadata=rules("linear, mlp or adapter", names=names.heads))
    epochs: int = field(default=50, metadata=rules("passes over the training set", low=1, high=1000))
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2],
        metadata=rules("one run per seed: made noise, start and batch order", low=0),
    )
    samples: int = field(default=2000, metadata=rules("made training samples", low=200, high=100000))
    separation: float = field(
        default=4.0,
        metadata=rules("distance of made classes in standard deviations", low=1.0, high=20.0),
    )

    def __post_init__(self) -> None:
        from noisylib.data.human import CIFAR_N

        check_not_empty(self, "labels", "methods", "seeds")
        for name in ("labels", "methods", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ConfigError(f"{name}={values} has one twice: give each once.")
        own = CIFAR_N.get("cifar10" if self.dataset == MADE else self.dataset)
        if own is not None and (other := sorted(set(self.labels) - set(own))):
            raise ConfigError(
                f"labels={self.labels}: {', '.join(other)} are none of dataset={self.dataset!r}, which has "
                f"{', '.join(own)}."
            )
