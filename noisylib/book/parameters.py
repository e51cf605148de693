"""The parameters of every chapter: frozen dataclasses whose fields say what they mean and allow.

They are the single source: the `parameters` cell of a notebook repeats their defaults (a test compares
them), and a notebook's second cell, ``noisylib book`` and plain papermill all check against them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from noisylib.book import parameter_names as names
from noisylib.book.parameter_rules import rules
from noisylib.errors import ConfigError, check_name

_BACKBONE = rules("backbone that made the features", names=names.backbones)
_STUDY = rules("study whose rows are shown: configs/<study>.yaml", names=names.studies)
_STUDY_HEAD = rules("head whose rows are shown", names=names.heads)


@dataclass(frozen=True)
class QuickstartParameters:
    """What the quickstart trains."""

    dataset: str = field(
        default="breastmnist", metadata=rules("feature bank to train on", names=names.datasets)
    )
    backbone: str = field(default="deit_tiny", metadata=_BACKBONE)
    noise_type: str = field(
        default="symmetric", metadata=rules("symmetric, pairflip or asymmetric", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.3, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    methods: list[str] = field(
        default_factory=lambda: ["ce", "ls", "gce", "elr", "coteaching"],
        metadata=rules("methods to compare", names=names.methods),
    )
    head: str = field(default="adapter", metadata=rules("linear, mlp or adapter", names=names.heads))
    epochs: int = field(default=50, metadata=rules("passes over the training set", low=1, high=1000))
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2],
        metadata=rules("one run per seed: noise, start and batch order", low=0),
    )

    def __post_init__(self) -> None:
        check_not_empty(self, "methods", "seeds")
        check_rates(self.dataset, self.noise_type, [self.noise_rate])

    def condition(self) -> dict[str, Any]:
        """Return the arguments of `comparison.compare_methods` after bank and methods."""
        from noisylib.book.describe.banks import class_map_of
        from noisylib.recipe import Recipe

        return {
            "noise_type": self.noise_type,
            "noise_rate": self.noise_rate,
            "class_map": class_map_of(self.dataset),
            "head": self.head,
            "seeds": self.seeds,
            "recipe": Recipe(epochs=self.epochs, score_epochs=min(10, self.epochs)),
        }


@dataclass(frozen=True)
class DatasetsParameters:
    """Which banks the datasets chapter describes."""

    datasets: list[str] = field(
        default_factory=lambda: ["breastmnist", "retinamnist", "pneumoniamnist", "ham10000", "pbc"],
        metadata=rules("feature banks to describe", names=names.datasets),
    )
    backbone: str = field(default="deit_tiny", metadata=_BACKBONE)
    projection: str = field(
        default="tsne", metadata=rules("2-D map of the features: tsne or pca", names=names.projections)
    )
    max_points: int = field(default=700, metadata=rules("training images drawn per set", low=50, high=20000))
    neighbours: int = field(default=11, metadata=rules("k of the k-nearest-neighbour check", low=1, high=500))
    seed: int = field(default=0, metadata=rules("which images are drawn, and the start of t-SNE", low=0))

    def __post_init__(self) -> None:
        check_not_empty(self, "datasets")


@dataclass(frozen=True)
class NoiseParameters:
    """Which labels the noise chapter corrupts, and how much."""

    dataset: str = field(
        default="ham10000", metadata=rules("feature bank whose labels are corrupted", names=names.datasets)
    )
    backbone: str = field(default="deit_tiny", metadata=_BACKBONE)
    class_map: str = field(default="default", metadata=rules("named map of the asymmetric noise"))
    noise_rate: float = field(
        default=0.4, metadata=rules("rate of the matrices and the purity table", low=0.0, high=1.0)
    )
    rates: list[float] = field(
        default_factory=lambda: [0.1, 0.2, 0.3, 0.4],
        metadata=rules("rates that are measured", low=0.0, high=1.0),
    )
    seed: int = field(default=0, metadata=rules("noise seed", low=0))

    def __post_init__(self) -> None:
        from noisylib.data.catalog import DATASETS

        check_not_empty(self, "rates")
        for noise_type in sorted(names.matrix_noise()):
            check_rates(self.dataset, noise_type, [self.noise_rate, *self.rates])
        if self.dataset in DATASETS:
            check_name("class_map", self.class_map, DATASETS[self.dataset].class_maps)


@dataclass(frozen=True)
class MethodsParameters:
    """The made classes on which the chapter on the methods trains each of them."""

    priors: list[float] = field(
        default_factory=lambda: [0.5, 0.3, 0.2],
        metadata=rules("share of each class; they are scaled to sum to 1", low=0.02, high=1.0),
    )
    separation: float = field(
        default=3.5,
        metadata=rules("distance between neighbouring classes in standard deviations", low=1.5, high=10.0),
    )
    noise_types: list[str] = field(
        default_factory=lambda: ["asymmetric", "symmetric"],
        metadata=rules("kinds of noise; the first one is drawn", names=names.matrix_noise),
    )
    noise_rate: float = field(
        default=0.4, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    samples: int = field(default=300, metadata=rules("training points", low=60, high=5000))
    head: str = field(default="mlp", metadata=rules("linear or mlp", names=names.bed_heads))
    epochs: int = field(default=60, metadata=rules("passes over the training points", low=1, high=1000))
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2, 3, 4],
        metadata=rules("one run per seed: noise, start and batch order; the first is drawn", low=0),
    )

    def __post_init__(self) -> None:
        from noisylib.noise import check_rate

        check_not_empty(self, "noise_types", "seeds")
        if not 2 <= len(self.priors) <= 8:
            raise ConfigError(f"priors={self.priors} makes {len(self.priors)} classes: give 2 to 8 shares.")
        for noise_type in self.noise_types:
            check_rate(noise_type, self.noise_rate, len(self.priors))


@dataclass(frozen=True)
class DynamicsParameters(QuickstartParameters):
    """What the chapter on training dynamics trains and watches."""

    dataset: str = field(default="ham10000", metadata=rules("feature bank to train on", names=names.datasets))
    noise_type: str = field(
        default="asymmetric", metadata=rules("symmetric, pairflip or asymmetric", names=names.matrix_noise)
    )
    noise_rate: float = field(
        default=0.4, metadata=rules("fraction of wrong training labels", low=0.0, high=1.0)
    )
    methods: list[str] = field(
        default_factory=lambda: ["ce", "gce", "coteaching", "dividemix", "elr", "cufit"],
        metadata=rules(
            "methods to watch, of those whose epoch is one pass over all samples", names=names.traced
        ),
    )
    epochs: int = field(default=50, metadata=rules("passes over the training set", low=2, high=1000))
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata=rules("one run per seed: noise, start and batch order", low=0),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_rate == 0:
            raise ConfigError("noise_rate=0 leaves no wrong label to watch: give a rate above 0.")


@dataclass(frozen=True)
class BenchmarkParameters:
    """Which rows of which study a benchmark page shows."""

    dataset: str = field(default="breastmnist", metadata=rules("data set of this page", names=names.datasets))
    backbone: str = field(default="deit_tiny", metadata=_BACKBONE)
    study: str = field(default="embedded", metadata=_STUDY)
    head: str = field(default="adapter", metadata=_STUDY_HEAD)
    methods: list[str] = field(
        default_factory=list,
        metadata=rules("methods to show; empty means all of the study", names=names.methods),
    )


@dataclass(frozen=True)
class OverviewParameters:
    """Which study the overview shows."""

    study: str = field(default="archive", metadata=_STUDY)
    head: str = field(default="adapter", metadata=_STUDY_HEAD)


@dataclass(frozen=True)
class RankingsParameters(OverviewParameters):
    """Which rows are ranked, and the levels of the tests."""

    alpha: float = field(
        default=0.05, metadata=rules("level of the critical difference and the tests", low=0.001, high=0.5)
    )
    rope: float = field(
        default=0.01,
        metadata=rules("difference in balanced accuracy that counts as none", low=0.0001, high=0.2),
    )
    bootstrap: int = field(default=2000, metadata=rules("draws of whole data sets", low=100, high=100000))
    seed: int = field(default=0, metadata=rules("seed of the draws", low=0))


@dataclass(frozen=True)
class CostParameters(OverviewParameters):
    """Which rows the cost of the choice is measured on."""

    permutations: int = field(
        default=200, metadata=rules("shuffles of the methods' names", low=10, high=10000)
    )
    bootstrap: int = field(default=2000, metadata=rules("draws of whole data sets", low=100, high=100000))
    seed: int = field(default=0, metadata=rules("seed of shuffles and draws", low=0))


@dataclass(frozen=True)
class SensitivityParameters(OverviewParameters):
    """Which study the arms are set beside."""


@dataclass(frozen=True)
class ClaimsParameters:
    """Which rows the claims are measured on."""

    studies: list[str] = field(
        default_factory=lambda: ["archive", "embedded"],
        metadata=rules("studies whose rows are measured: configs/<study>.yaml", names=names.studies),
    )
    head: str = field(default="adapter", metadata=_STUDY_HEAD)

    def __post_init__(self) -> None:
        check_not_empty(self, "studies")


def check_not_empty(parameters: Any, *names: str) -> None:
    """Raise ConfigError if one of the lists `names` is empty."""
    for name in names:
        if not getattr(parameters, name):
            raise ConfigError(f"{name}=[] is empty: give at least one entry.")


def check_rates(dataset: str, noise_type: str, rates: list[float]) -> None:
    """Raise if a rate is too high for the number of classes of a catalogued data set."""
    from noisylib.data.catalog import DATASETS
    from noisylib.noise import check_rate

    if dataset in DATASETS:
        for rate in rates:
            check_rate(noise_type, rate, DATASETS[dataset].n_classes)
