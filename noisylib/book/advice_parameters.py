"""The parameters of the chapters on data of one's own: which method, which labels, how noisy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.book.parameters import check_not_empty, check_rates
from noisylib.errors import ConfigError

_METRIC = rules("what the best method is best at: balanced_accuracy or accuracy", names=names.metrics)


@dataclass(frozen=True)
class AdviceParameters:
    """Which choices the chapter on the selector compares."""

    metric: str = field(default="balanced_accuracy", metadata=_METRIC)
    candidates: list[str] = field(
        default_factory=lambda: [
            "ce", "ls", "gce", "forward", "coteaching", "dividemix", "elr", "cufit", "turn",
        ],
        metadata=rules("methods to choose from", names=names.candidates),
    )  # fmt: skip
    draws: int = field(default=2000, metadata=rules("draws of the bootstrap intervals", low=100, high=100000))

    def __post_init__(self) -> None:
        check_not_empty(self, "candidates")
        if len(set(self.candidates)) < max(2, len(self.candidates)):
            raise ConfigError(
                f"candidates={self.candidates}: at least two different methods are needed to choose from."
            )


@dataclass(frozen=True)
class YourEmbeddingsParameters:
    """Which file the report is made for; without one, a feature bank with planted noise."""

    path: str = field(
        default="",
        metadata=rules("file of embeddings and labels (.npz, .safetensors, .parquet, .csv); empty: a bank"),
    )
    labels: str = field(default="", metadata=rules("column or key of the labels; empty: the usual names"))
    dataset: str = field(
        default="ham10000", metadata=rules("feature bank that stands in for a file", names=names.datasets)
    )
    backbone: str = field(
        default="deit_tiny", metadata=rules("backbone that made its features", names=names.backbones)
    )
    noise_type: str = field(
        default="asymmetric", metadata=rules("noise planted in its labels", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.3, metadata=rules("fraction of its labels that is made wrong", low=0.0, high=1.0)
    )
    metric: str = field(default="balanced_accuracy", metadata=_METRIC)
    method: str = field(
        default="auto",
        metadata=rules("method to train, or auto for the one recommended", names=names.choices),
    )
    epochs: int = field(default=50, metadata=rules("passes over the training set", low=2, high=1000))
    seed: int = field(default=0, metadata=rules("of the planted noise, the folds and the training", low=0))

    def __post_init__(self) -> None:
        if self.path:
            if not Path(self.path).is_file():
                raise ConfigError(
                    f"path={self.path!r} is no file: give the path from the folder where the notebook runs, "
                    "or an absolute one."
                )
            return
        check_rates(self.dataset, self.noise_type, [self.noise_rate])


@dataclass(frozen=True)
class BadLabelsParameters:
    """In which bank wrong labels are planted and looked for."""

    dataset: str = field(
        default="pbc", metadata=rules("feature bank whose labels are examined", names=names.datasets)
    )
    backbone: str = field(
        default="deit_tiny", metadata=rules("backbone that made the features", names=names.backbones)
    )
    noise_type: str = field(
        default="asymmetric", metadata=rules("symmetric, pairflip or asymmetric", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.2, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata=rules("of the planted noise and the folds", low=0)
    )
    rows: int = field(default=12, metadata=rules("most suspicious samples that are listed", low=1, high=1000))

    def __post_init__(self) -> None:
        check_not_empty(self, "seeds")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={self.seeds} has one twice: give each once.")
        if self.noise_rate == 0:
            raise ConfigError("noise_rate=0 leaves no wrong label to look for: give a rate above 0.")
        check_rates(self.dataset, self.noise_type, [self.noise_rate])
