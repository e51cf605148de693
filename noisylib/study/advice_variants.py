"""Training sets of the experiments `advice` and `conditions`: shipped banks, parts of them, Gaussian beds.

A variant of a bank is a part of its training split; the test split stays. It makes small and long-tailed
sets of the same images, so that advice can learn what the number of samples and the imbalance change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from noisylib.analysis.families import family
from noisylib.data.catalog import dataset_info
from noisylib.data.simulate import GaussianBed
from noisylib.errors import NoisylibError
from noisylib.features.longtail import common_total, long_tailed
from noisylib.noise import NoisyLabels, inject
from noisylib.seeding import derive_seed, numpy_generator
from noisylib.study.experiment_tables import CONDITION, Column
from noisylib.study.inputs import cached_bank

SEEDS = (0, 1, 2)
BED = "bed"
Run = tuple[str, float, int]  # noise type, rate, seed
CLEAN = ("symmetric", 0.0)  # no noise has no type
KINDS = ("symmetric", "asymmetric")

# Without noise once, then every kind at every rate: what the archive has, and a part of it for variants.
ARCHIVED_NOISES = (CLEAN, *((kind, rate) for kind in KINDS for rate in (0.1, 0.2, 0.3, 0.4)))
VARIANT_NOISES = (CLEAN, *((kind, rate) for kind in KINDS for rate in (0.2, 0.4)))

SETS = ("breastmnist", "retinamnist", "pneumoniamnist", "ham10000", "pbc")
BACKBONES = ("deit_tiny", "mobilenetv2", "mobilenetv2_birds")
# Sets that are at least twice as large as the part taken of them.
SIZES = {"retinamnist": (500,), "pneumoniamnist": (500, 1500), "ham10000": (500, 1500), "pbc": (500, 1500)}
TAILS = {"pbc": (10.0, 30.0), "pneumoniamnist": (10.0,)}


@dataclass(frozen=True)
class Variant:
    """What part of a training split is used; all zero is the whole of it.

    Attributes
    ----------
    n_train : samples, by class in the proportions of the split; 0 keeps all.
    imbalance : samples of the largest class over those of the smallest, of a long tail; 0 leaves it.
    imbalances : those long tails that share one number of samples, the most that the hardest allows.
    """

    n_train: int = 0
    imbalance: float = 0.0
    imbalances: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Such as "n500" or "tail10"; empty for the whole split."""
        return f"n{self.n_train}" if self.n_train else f"tail{self.imbalance:g}" if self.imbalance else ""


@dataclass(frozen=True)
class Bed:
    """Gaussian classes at equal distances; the test samples have the priors of the training samples.

    Attributes
    ----------
    separation : distance of class means, in standard deviations.
    imbalance : prior of class 0 over that of the last class; each is a constant factor rarer than the one
        before it.
    """

    n_classes: int
    n_features: int
    n_train: int
    separation: float
    imbalance: float
    n_test: int = 6000
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as "k8-d256-n2000-s3-i50"."""
        shape = f"k{self.n_classes}-d{self.n_features}-n{self.n_train}"
        return f"{shape}-s{self.separation:g}-i{self.imbalance:g}"


# Few and many classes, features and samples, easy and hard, equal and unequal: no two of these go together.
BEDS = (
    Bed(2, 64, 500, 2.0, 1.0),
    Bed(2, 256, 2000, 1.5, 10.0),
    Bed(2, 64, 6000, 3.0, 10.0),
    Bed(5, 256, 500, 3.0, 1.0),
    Bed(5, 64, 2000, 2.0, 10.0),
    Bed(5, 64, 6000, 3.0, 50.0),
    Bed(8, 64, 500, 4.0, 10.0),
    Bed(8, 256, 2000, 3.0, 50.0),
    Bed(8, 256, 6000, 2.0, 1.0),
    Bed(20, 64, 2000, 4.0, 1.0),
    Bed(20, 256, 6000, 4.0, 10.0),
    Bed(20, 64, 6000, 3.0, 50.0),
)


@dataclass(frozen=True)
class Source:
    """A training set: a bank or a part of it, or a bed if there is no backbone."""

    dataset: str
    backbone: str
    part: Variant | Bed = Variant()

    @property
    def variant(self) -> str:
        """Name of the part; "" for a whole bank."""
        return self.part.name

    @property
    def name(self) -> str:
        """Unique among all, for people."""
        return "-".join(part for part in (self.dataset, self.backbone, self.variant) if part)

    @property
    def archived(self) -> bool:
        """Whether the archive has runs on it."""
        return not self.variant

    @property
    def noises(self) -> tuple[tuple[str, float], ...]:
        """Kind and rate of each label noise."""
        return ARCHIVED_NOISES if self.archived else VARIANT_NOISES


def sources() -> list[Source]:
    """Return all training sets: the banks of the archive, then parts of them, then beds."""
    pairs = [(dataset, backbone) for dataset in SETS for backbone in BACKBONES]
    whole = [Source(*pair) for pair in pairs]
    parts = [
        Source(dataset, backbone, part)
        for dataset, backbone in pairs
        for part in (
            *(Variant(n_train=n) for n in SIZES.get(dataset, ())),
            *(Variant(imbalance=i, imbalances=TAILS[dataset]) for i in TAILS.get(dataset, ())),
        )
    ]
    return [*whole, *parts, *(Source(BED, "", bed) for bed in BEDS)]


@dataclass(frozen=True, eq=False)
class Samples:
    """What is trained and scored on, with clean labels and the map that asymmetric noise follows."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    n_classes: int
    class_map: dict[int, int]
    map_name: str

    @property
    def class_counts(self) -> np.ndarray:
        """(K,) training samples per true class."""
        return np.bincount(self.y, minlength=self.n_classes)


@lru_cache(maxsize=2)
def samples_of(source: Source, banks: str | None = None) -> Samples:
    """Return the samples of a training set.

    Raises
    ------
    NoisylibError
        The bank is not there, or has too few samples for the part.
    """
    if isinstance(source.part, Bed):
        return _bed_samples(source.part)
    bank = cached_bank(source.dataset, source.backbone, banks)
    X, y = bank.part("train")
    if source.variant:
        kept = _part(y, bank.n_classes, source.part)
        X, y = X[kept], y[kept]
    class_map = dataset_info(source.dataset).map_indices("default", bank.class_names)
    return Samples(X, y, *bank.part("test"), bank.n_classes, class_map, "default")


def noisy_labels(source: Source, samples: Samples, noise_type: str, rate: float, seed: int) -> NoisyLabels:
    """Return noisy training labels; on a whole bank they are those of a study with the same seed."""
    return inject(
        samples.y,
        noise_type,
        rate,
        n_classes=samples.n_classes,
        seed=seed,
        dataset=source.dataset,
        class_map=samples.class_map if noise_type == "asymmetric" else None,
    )


# Of one group; every group's features are drawn anew, so that fewer and larger groups cost less.
HEADS_AT_ONCE = 32


def run_groups(
    noises: Sequence[tuple[str, float]], seeds: Sequence[int], networks: int = 2
) -> list[list[Run]]:
    """Return the runs that are computed at once: whole seeds, and few enough heads for a core's cache.

    Parameters
    ----------
    networks : of a run.
    """
    step = max(1, HEADS_AT_ONCE // (len(noises) * max(1, networks)))
    return [
        [(kind, rate, seed) for seed in seeds[first : first + step] for kind, rate in noises]
        for first in range(0, len(seeds), step)
    ]


# What the rows of both experiments start with.
SOURCE_COLUMNS = CONDITION | {"variant": Column("str"), "family": Column("str")}


def source_columns(
    source: Source, samples: Samples, noise: NoisyLabels, head: str, run: Run
) -> dict[str, object]:
    """Return the columns that say which training set, noise and seed a row is of."""
    kind, rate, seed = run
    return {
        "dataset": source.dataset,
        "backbone": source.backbone,
        "head": head,
        "noise_type": kind,
        "noise_rate": rate,
        "realised_rate": noise.realised_rate,
        "class_map": samples.map_name if kind == "asymmetric" else "",
        "seed": seed,
        "variant": source.variant,
        "family": family(source.dataset),
    }


def _bed_samples(bed: Bed) -> Samples:
    classes = GaussianBed.long_tailed(bed.n_classes, bed.n_features, bed.separation, bed.imbalance)
    test = classes.sample(bed.n_test, derive_seed("advice-test", bed.seed))
    train = classes.sample(bed.n_train, bed.seed)
    return Samples(*train, *test, bed.n_classes, _cyclic(bed.n_classes), "cyclic")


def _cyclic(n_classes: int) -> dict[int, int]:
    return {c: (c + 1) % n_classes for c in range(n_classes)}


def _part(y: np.ndarray, n_classes: int, part: Variant) -> np.ndarray:
    """Return positions, ascending, of the part of training labels `y`."""
    if part.n_train:
        return proportional(y, n_classes, part.n_train)
    total = common_total(np.bincount(y, minlength=n_classes), part.imbalances)
    return long_tailed(y, n_classes, part.imbalance, total=total)


def proportional(y: Sequence[int] | np.ndarray, n_classes: int, n: int, seed: int = 0) -> np.ndarray:
    """Return positions (n,) int64, ascending, of a part of labels with the classes in equal proportions.

    Class counts follow by largest remainder (ties: the lower class), but a class that is there keeps one
    sample. Of each class the first ones of a random order are taken: a smaller part lies in a larger one,
    but for the rounding.

    Raises
    ------
    NoisylibError
        `n` is larger than the number of labels, or smaller than the number of classes.
    """
    y = np.asarray(y)
    available = np.bincount(y, minlength=n_classes)
    if not np.count_nonzero(available) <= n <= len(y):
        raise NoisylibError(
            f"n={n} of {len(y)} samples: at least one of each class, and at most all, can be taken."
        )
    ideal = n * available / len(y)
    counts = np.maximum(np.floor(ideal).astype(np.int64), available > 0)
    while counts.sum() != n:  # too few by rounding down, or too many by keeping a sample of rare classes
        step = 1 if counts.sum() < n else -1
        changeable = counts < available if step > 0 else counts > 1
        counts[np.where(changeable, step * (ideal - counts), -np.inf).argmax()] += step
    kept = [
        numpy_generator("part", seed, c).permutation(np.flatnonzero(y == c))[: counts[c]]
        for c in range(n_classes)
    ]
    return np.sort(np.concatenate(kept))
