"""Label noise: transition matrices, exact-count sampling, and what was really injected.

``T[i, j] = P(noisy = j | true = i)``; rows sum to 1 (cleanlab's matrix is the transpose).
"Symmetric" excludes the true class, so the nominal rate is the probability of a wrong label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from noisylib.errors import NoisylibError, check_name
from noisylib.instance_noise import check_reference, instance_labels
from noisylib.seeding import numpy_generator

NOISE_TYPES = ("symmetric", "pairflip", "asymmetric", "instance", "human")


@dataclass(frozen=True)
class NoisyLabels:
    """Observed labels and everything known about how they were corrupted.

    Attributes
    ----------
    y_noisy : (N,) int64, the labels a method may see.
    flipped : (N,) bool, True where the observed label is wrong.
    T : (K, K) nominal transition matrix (for instance and human noise: the realised one).
    realised_T : (K, K) measured transition matrix; the row of an absent class is its nominal row.
    class_counts : (K, K) int64, samples of true class i that carry label j.
    noise_type, noise_rate : the condition asked for.
    """

    y_noisy: np.ndarray
    flipped: np.ndarray
    T: np.ndarray
    realised_T: np.ndarray
    class_counts: np.ndarray
    noise_type: str
    noise_rate: float

    @property
    def realised_rate(self) -> float:
        """Fraction of all samples whose label is wrong, in [0, 1]."""
        return float(self.flipped.mean())

    @property
    def purity(self) -> np.ndarray:
        """(K,) P(true = c | noisy = c); NaN for a class that nobody was labelled with.

        Below 0.5 most samples that carry the label are wrong, and no rule that trusts the
        majority inside a noisy class can recover it.
        """
        labelled = self.class_counts.sum(0)
        return np.divide(
            np.diag(self.class_counts), labelled, out=np.full(len(labelled), np.nan), where=labelled > 0
        )

    def purity_table(self, class_names: tuple[str, ...]) -> list[dict[str, object]]:
        """Return one row per class: counts before and after, flips out and in, and purity."""
        counts, kept = self.class_counts, np.diag(self.class_counts)
        return [
            {
                "class": name,
                "true": int(counts[c].sum()),
                "labelled": int(counts[:, c].sum()),
                "flipped_out": int(counts[c].sum() - kept[c]),
                "flipped_in": int(counts[:, c].sum() - kept[c]),
                "purity": float(self.purity[c]),
            }
            for c, name in enumerate(class_names)
        ]


def told(noise: Sequence[NoisyLabels]) -> dict[str, Any]:
    """Return what methods may be told of the noise of some runs, as arguments of `train_bank`.

    These are the realised rate, the type and the realised transition matrix of each run. No noise has no
    type: runs without a flip are called symmetric, so that equal labels mean equal training.
    """
    return {
        "noise_rates": [labels.realised_rate for labels in noise],
        "noise_types": [labels.noise_type if labels.flipped.any() else "symmetric" for labels in noise],
        "transitions": np.stack([labels.realised_T for labels in noise]),
    }


def max_rate(noise_type: str, n_classes: int) -> float:
    """Return the rate that `noise_rate` must stay below for the clean label to stay the likeliest."""
    return (n_classes - 1) / n_classes if noise_type in ("symmetric", "instance") else 0.5


def check_rate(noise_type: str, noise_rate: float, n_classes: int) -> None:
    """Raise unless `noise_type` is known and 0 <= `noise_rate` < its bound for K classes."""
    check_name("noise_type", noise_type, NOISE_TYPES)
    if n_classes < 2:
        raise NoisylibError(f"n_classes={n_classes}: label noise needs at least 2 classes.")
    bound = max_rate(noise_type, n_classes)
    if not 0 <= noise_rate < bound:
        raise NoisylibError(
            f"noise_rate={noise_rate} is outside [0, {bound:g}) for {noise_type} noise with "
            f"K={n_classes} classes: above it a wrong label is at least as likely as the right one. "
            "Rates are fractions, so 40 % is 0.4."
        )


def transition_matrix(
    noise_type: str, noise_rate: float, n_classes: int, class_map: Mapping[int, int] | None = None
) -> np.ndarray:
    """Return the nominal (K, K) matrix of a class-conditional noise type.

    Parameters
    ----------
    noise_type : "symmetric" (uniform over the other K - 1 classes), "pairflip" (class c to
        c + 1 modulo K) or "asymmetric" (class c to ``class_map[c]``; unmapped classes stay clean).
    noise_rate : probability that a sample of an affected class is flipped, in [0, max_rate).
    class_map : true class -> noisy class; needed by "asymmetric" only.

    Source: Patrini et al. 2017 (symmetric, asymmetric); Han et al. 2018 (pair flip).
    """
    check_rate(noise_type, noise_rate, n_classes)
    if noise_type == "symmetric":
        T = np.full((n_classes, n_classes), noise_rate / (n_classes - 1))
        np.fill_diagonal(T, 1 - noise_rate)
        return T
    if noise_type == "pairflip":
        class_map = {c: (c + 1) % n_classes for c in range(n_classes)}
    elif noise_type != "asymmetric":
        raise NoisylibError(
            f"noise_type={noise_type!r} has no transition matrix that is known beforehand: it depends on "
            "the sample. Use inject(), which measures one."
        )
    if not class_map:
        raise NoisylibError(
            "class_map is empty: asymmetric noise needs a map {true class: noisy class}. Take one from "
            "noisylib.data.dataset_info(name).map_indices() or write your own."
        )
    T = np.eye(n_classes)
    for source, target in class_map.items():
        if source == target or not (0 <= source < n_classes and 0 <= target < n_classes):
            raise NoisylibError(
                f"class_map sends {source} to {target}: both must be different classes in 0..{n_classes - 1}."
            )
        T[source, source], T[source, target] = 1 - noise_rate, noise_rate
    return T


def blend(T_a: np.ndarray, T_b: np.ndarray, share: float) -> np.ndarray:
    """Return the (K, K) matrix ``share * T_a + (1 - share) * T_b``.

    Where both flip each class at one rate, so does every blend of them: only the targets change.

    Raises
    ------
    NoisylibError
        A matrix is not row-stochastic, their shapes differ, or `share` is not in [0, 1].
    """
    T_a, T_b = _check_matrix(T_a, "T_a"), _check_matrix(T_b, "T_b")
    if T_a.shape != T_b.shape:
        raise NoisylibError(f"T_a has shape {T_a.shape} and T_b {T_b.shape}: both need the same K classes.")
    if not 0 <= share <= 1:
        raise NoisylibError(f"share={share}: the part of T_a must be a fraction in [0, 1].")
    return share * T_a + (1 - share) * T_b


def _check_matrix(T: np.ndarray, argument: str) -> np.ndarray:
    T = np.asarray(T, dtype=np.float64)
    if T.ndim != 2 or T.shape[0] != T.shape[1] or len(T) < 2:
        raise NoisylibError(f"{argument} has shape {T.shape}: (K, K) with K >= 2 classes is needed.")
    if not ((T >= 0).all() and np.allclose(T.sum(1), 1, rtol=0, atol=1e-9)):  # NaN is not >= 0
        raise NoisylibError(
            f"{argument} must hold probabilities whose rows sum to 1: T[i, j] = P(noisy = j | true = i). "
            "A matrix whose columns sum to 1 is the transpose."
        )
    return T


def check_labels(y: np.ndarray, n_classes: int, argument: str = "y_true") -> np.ndarray:
    """Return `y` as (N,) int64, or raise if it is empty, not integral or out of range."""
    y = np.asarray(y)
    if y.ndim != 1 or y.size == 0 or not np.issubdtype(y.dtype, np.integer):
        raise NoisylibError(
            f"{argument} has shape {y.shape} and dtype {y.dtype}: "
            "one integer label per sample, (N,), is needed."
        )
    if y.min() < 0 or y.max() >= n_classes:
        bad = int(np.flatnonzero((y < 0) | (y >= n_classes))[0])
        raise NoisylibError(
            f"{argument}[{bad}]={int(y[bad])} is outside 0..{n_classes - 1} (K={n_classes} classes)."
        )
    return y.astype(np.int64)


def exact_counts(n: int, probabilities: np.ndarray, own: int, generator: np.random.Generator) -> np.ndarray:
    """Split `n` samples of class `own` over K labels by largest remainder.

    A tie goes to the true label, so that the number of flips never depends on the draw, and otherwise
    to a random label, so that symmetric noise on a tiny class does not always land on the first ones.
    """
    ideal = np.round(n * probabilities, 9)  # remainders that are equal on paper shall be equal here
    counts = np.floor(ideal).astype(np.int64)
    chance = generator.random(len(probabilities))
    chance[own] = -1
    order = np.lexsort((chance, counts - ideal))
    counts[order[: n - counts.sum()]] += 1
    return counts


def _sample_exact(y_true: np.ndarray, T: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    y_noisy = y_true.copy()
    for c in range(len(T)):
        members = generator.permutation(np.flatnonzero(y_true == c))
        y_noisy[members] = np.repeat(np.arange(len(T)), exact_counts(len(members), T[c], c, generator))
    return y_noisy


def inject(
    y_true: np.ndarray,
    noise_type: str,
    noise_rate: float,
    *,
    n_classes: int,
    seed: int,
    dataset: str = "",
    class_map: Mapping[int, int] | None = None,
    features: np.ndarray | None = None,
    temperature: float = 1.0,
    y_human: np.ndarray | None = None,
) -> NoisyLabels:
    """Corrupt labels and report what was done.

    Class-conditional types use exact counts: of the n_i samples of class i, T_ij n_i (rounded by
    largest remainder) become class j, so the rate does not jitter between seeds. The draw depends
    on (`dataset`, `noise_type`, `noise_rate`, `seed`) and the clean labels only.

    Parameters
    ----------
    y_true : (N,) int, clean labels in 0..K-1.
    noise_type : one of NOISE_TYPES.
    noise_rate : nominal rate, a fraction in [0, max_rate(noise_type, n_classes)). For human labels
        it is what you call the set (0 if unknown); the measured rate is `realised_rate`.
    seed : the noise seed, `seed_noise`.
    class_map : for "asymmetric".
    features, temperature : for "instance": (N, D) reference features, scaled to unit length and
        multiplied by `temperature`. Do not use the features that are evaluated.
    y_human : for "human": (N,) labels given by people.

    Raises
    ------
    NoisylibError
        For labels, rates, maps or features outside what is described here.
    """
    y_true = check_labels(y_true, n_classes)
    if noise_type == "human":
        y_noisy = _check_human(y_human, y_true, n_classes)
    elif noise_type == "instance":
        check_rate(noise_type, noise_rate, n_classes)
        features = check_reference(features, len(y_true))
        rng = numpy_generator("noise", dataset, noise_type, float(noise_rate), seed)
        y_noisy = y_true.copy()
        if noise_rate > 0:
            y_noisy = instance_labels(y_true, noise_rate, n_classes, features, temperature, rng)
    else:
        T = transition_matrix(noise_type, noise_rate, n_classes, class_map)
        return inject_matrix(
            y_true, T, seed=seed, dataset=dataset, noise_type=noise_type, noise_rate=noise_rate
        )
    return _measured(y_true, y_noisy, None, n_classes, noise_type, noise_rate)


def inject_matrix(
    y_true: np.ndarray,
    T: np.ndarray,
    *,
    seed: int,
    dataset: str = "",
    noise_type: str = "asymmetric",
    noise_rate: float | None = None,
) -> NoisyLabels:
    """Corrupt labels by any transition matrix, with exact counts, and report what was done.

    Of the n_i samples of class i, T_ij n_i (rounded by largest remainder) become class j. Two matrices
    with one diagonal flip the same number of each class, but for rounding: by at most one sample.

    Parameters
    ----------
    y_true : (N,) int, clean labels in 0..K-1.
    T : (K, K), rows sum to 1. Nothing bounds its rates: a wrong label may be the likeliest one.
    seed, dataset : as `inject`. The draw depends on both, `noise_type`, `noise_rate` and the labels; with
        the matrix of `transition_matrix` and its type and rate, it is that of `inject`.
    noise_type : what methods are told: "symmetric", "pairflip" or "asymmetric".
    noise_rate : nominal rate; by default the fraction of `y_true` that T flips.

    Raises
    ------
    NoisylibError
        Labels or T outside what is described here.
    """
    T = _check_matrix(T, "T")
    y_true = check_labels(y_true, len(T))
    check_name("noise_type", noise_type, NOISE_TYPES[:3])
    if noise_rate is None:
        noise_rate = round(1 - float(np.diag(T)[y_true].mean()), 9)
    generator = numpy_generator("noise", dataset, noise_type, float(noise_rate), seed)
    y_noisy = _sample_exact(y_true, T, generator)
    return _measured(y_true, y_noisy, T, len(T), noise_type, noise_rate)


def _measured(
    y_true: np.ndarray, y_noisy: np.ndarray, T: np.ndarray | None, K: int, noise_type: str, noise_rate: float
) -> NoisyLabels:
    """Count what became of the labels; without a nominal T the realised one stands for it."""
    counts = np.zeros((K, K), dtype=np.int64)
    np.add.at(counts, (y_true, y_noisy), 1)
    totals = counts.sum(1, keepdims=True)
    realised = np.where(totals > 0, counts / np.maximum(totals, 1), np.eye(K) if T is None else T)
    nominal = realised if T is None else T
    return NoisyLabels(y_noisy, y_noisy != y_true, nominal, realised, counts, noise_type, float(noise_rate))


def _check_human(y_human: np.ndarray | None, y_true: np.ndarray, n_classes: int) -> np.ndarray:
    if y_human is None:
        raise NoisylibError("y_human is missing: noise_type='human' needs the (N,) labels people gave.")
    y_human = check_labels(y_human, n_classes, "y_human")
    if len(y_human) != len(y_true):
        raise NoisylibError(f"y_human has {len(y_human)} labels for N={len(y_true)} samples: give one each.")
    return y_human
