"""Samples and noises of the experiment `collapse`: one training set per imbalance, many noises on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from noisylib.analysis.closed_forms import bed_balanced_error
from noisylib.data.catalog import dataset_info
from noisylib.data.simulate import GaussianBed
from noisylib.features.longtail import common_total, frequency_map, long_tailed
from noisylib.noise import NoisyLabels, blend, inject_matrix, transition_matrix
from noisylib.recipe import Recipe
from noisylib.seeding import derive_seed
from noisylib.study.experiments import Task
from noisylib.study.inputs import cached_bank

SEEDS = (0, 1, 2)
# Maps of the catalogue by their names in the table: "majority" is the rule by frequency there.
CATALOGUE_MAPS = {"default": "default", "catalogue_majority": "majority"}


@dataclass(frozen=True)
class Bed:
    """Gaussian classes at equal distances, with long-tailed training and balanced test samples.

    At a separation of 3 standard deviations, Bayes' rule for six balanced classes has a balanced accuracy
    of .79; for priors 100 : 1 it answers the rare classes less often and has .65.
    """

    n_classes: int = 6
    n_features: int = 16
    separation: float = 3.0
    n_train: int = 4000
    n_test: int = 6000
    seed: int = 0


@dataclass(frozen=True)
class Arm:
    """A noise: the map that wrong labels follow, to what part (the rest is symmetric), and the rate."""

    map: str
    asymmetry: float
    noise_rate: float = 0.4


@dataclass(frozen=True)
class Condition:
    """One method on one training set under many noises; all of it is one bank of heads.

    Attributes
    ----------
    seeds : each sets the noise draw, the start of the heads and the batch order; the samples are the same.
    imbalance : samples of the largest class over those of the smallest; 0 leaves the training set as it is.
    imbalances : those that share one number of training samples, the most that the hardest of them allows.
    """

    method: str
    head: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = SEEDS
    imbalance: float = 0.0
    imbalances: tuple[float, ...] = ()
    bed: Bed = Bed()
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True, eq=False)
class Samples:
    """What a task trains and is scored on, with clean labels; `bayes_balanced` is NaN where it is unknown."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    imbalance: float
    bayes_balanced: float

    @property
    def class_counts(self) -> np.ndarray:
        """(K,) training samples per true class."""
        return np.bincount(self.y, minlength=len(self.class_names))


def samples_of(task: Task, banks: str | None = None) -> Samples:
    """Return the samples of a task; those of all methods at one imbalance are the same.

    Raises
    ------
    NoisylibError
        The bank is not there, or has too few samples for the imbalance.
    """
    condition = task.condition
    if not task.backbone:
        return _bed_samples(condition.bed, condition.imbalance)
    bank = cached_bank(task.dataset, task.backbone, banks)
    X, y = bank.part("train")
    if condition.imbalance:
        total = common_total(np.bincount(y, minlength=bank.n_classes), condition.imbalances)
        kept = long_tailed(y, bank.n_classes, condition.imbalance, total=total)
        X, y = X[kept], y[kept]
    counts = np.bincount(y, minlength=bank.n_classes)
    imbalance = condition.imbalance or counts.max() / counts.min()
    return Samples(X, y, *bank.part("test"), bank.class_names, float(imbalance), np.nan)


def _bed_samples(size: Bed, imbalance: float) -> Samples:
    shape = (size.n_classes, size.n_features, size.separation)
    bed = GaussianBed.long_tailed(*shape, imbalance)
    test = GaussianBed.simplex(*shape).sample(size.n_test, derive_seed("collapse-test", size.seed))
    names = tuple(f"class {c}" for c in range(size.n_classes))
    train = bed.sample(size.n_train, size.seed)
    return Samples(*train, *test, names, imbalance, 1 - bed_balanced_error(bed))


def class_map(name: str, dataset: str, class_names: Sequence[str], counts: Sequence[int]) -> dict[int, int]:
    """Return a map {true class: wrong label} by its name in the table.

    Parameters
    ----------
    name : one of FREQUENCY_MAPS, "cyclic" (class c to the next), "default" or "catalogue_majority" (the
        maps "default" and "majority" of the catalogue).
    counts : (K,) training samples per class, whose order the maps by frequency follow.
    """
    if name == "cyclic":
        return {c: (c + 1) % len(counts) for c in range(len(counts))}
    if name in CATALOGUE_MAPS:
        return dataset_info(dataset).map_indices(CATALOGUE_MAPS[name], class_names)
    return frequency_map(name, counts)


def arm_noise(arm: Arm, dataset: str, samples: Samples, seed: int) -> NoisyLabels:
    """Return the noisy labels of an arm.

    T is ``asymmetry * T_map + (1 - asymmetry) * T_symmetric``, both at the arm's rate. Asymmetry 0 has no
    map: it is one draw under all of them.
    """
    K = len(samples.class_names)
    T = transition_matrix("symmetric", arm.noise_rate, K)
    if arm.asymmetry:
        targets = class_map(arm.map, dataset, samples.class_names, samples.class_counts)
        T = blend(transition_matrix("asymmetric", arm.noise_rate, K, targets), T, arm.asymmetry)
    return inject_matrix(
        samples.y, T, seed=seed, dataset=dataset, noise_rate=arm.noise_rate,
        noise_type="asymmetric" if arm.asymmetry else "symmetric",
    )  # fmt: skip
