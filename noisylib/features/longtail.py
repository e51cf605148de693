"""Imbalance on purpose: training splits with geometric class counts, and class maps by class frequency.

In a long-tailed split each class has a constant factor fewer samples than the next more frequent one, so that
the largest of K classes has `imbalance` times the samples of the smallest. Classes keep the order of
frequency that they have in the data; equally frequent ones go by their number.

Source: the exponential profile of long-tailed CIFAR (Cui et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import numpy_generator

FREQUENCY_MAPS = ("equals", "extremes", "majority")


def by_frequency(class_counts: Sequence[int]) -> np.ndarray:
    """Return the classes (K,) from the most to the least frequent; ties: the lower number first."""
    return np.argsort(-np.asarray(class_counts, np.int64), kind="stable")


def frequency_map(name: str, class_counts: Sequence[int]) -> dict[int, int]:
    """Return a map {true class: wrong label} that goes by the frequency of the classes; it covers all.

    Parameters
    ----------
    name : "equals" swaps the first class with the second by frequency, the third with the fourth, and
        so on: what flows into a class is about as large as the class. "extremes" swaps the first with
        the last, the second with the last but one, and so on: rare classes drown. If K is odd, the
        class without a partner joins the pair before it in a cycle of three, in order of frequency
        (equals: the last three classes, extremes: the middle three), so that every class still gets
        the flips of exactly one other. "majority" sends every class into the first, and that into the
        second: all other labels stay pure.
    class_counts : (K,) samples per class, K >= 2.

    Raises
    ------
    NoisylibError
        There are fewer than two classes, or no map of that name.
    """
    check_name("map", name, FREQUENCY_MAPS)
    order = by_frequency(class_counts).tolist()
    K = len(order)
    if K < 2:
        raise NoisylibError(f"class_counts has K={K} entries: a map needs at least 2 classes.")
    if name == "majority":
        return {order[0]: order[1]} | dict.fromkeys(order[1:], order[0])
    half = K // 2
    if name == "equals":
        groups = [order[i : i + 2] for i in range(0, 2 * half, 2)]
        alone = order[2 * half :]
    else:
        groups = [[order[i], order[K - 1 - i]] for i in range(half)]
        alone = order[half : K - half]
    if alone:
        last = {*groups[-1], *alone}
        groups[-1] = [c for c in order if c in last]
    return {group[i - 1]: c for group in groups for i, c in enumerate(group)}


def largest_total(available: Sequence[int], imbalance: float) -> int:
    """Return the most samples that a long-tailed split can have.

    Parameters
    ----------
    available : (K,) samples there are of each class, all positive.
    imbalance : samples of the largest over those of the smallest class, >= 1.
    """
    available, shares = _shares(available, imbalance)
    return int(np.floor(np.round(available / shares, 6)).min())


def common_total(available: Sequence[int], imbalances: Sequence[float]) -> int:
    """Return the most samples that splits of all `imbalances` can have: the hardest ratio sets it."""
    if not len(imbalances):
        raise NoisylibError("imbalances is empty: give at least one ratio.")
    return min(largest_total(available, imbalance) for imbalance in imbalances)


def tail_counts(available: Sequence[int], imbalance: float, total: int) -> np.ndarray:
    """Return the samples (K,) of each class in a long-tailed split, by largest remainder.

    Raises
    ------
    NoisylibError
        `imbalance` is below 1, a class has too few samples, or `total` is so small that one gets none.
    """
    available, shares = _shares(available, imbalance)
    most = largest_total(available, imbalance)
    if total > most:
        short = int((available / shares).argmin())
        raise NoisylibError(
            f"total={total} at imbalance={imbalance:g} is more than class {short} allows with its "
            f"{available[short]} samples: take at most {most}."
        )
    ideal = np.round(total * shares, 9)  # remainders that are equal on paper shall be equal here
    counts = np.floor(ideal).astype(np.int64)
    order = by_frequency(available)
    order = order[np.argsort((counts - ideal)[order], kind="stable")]
    counts[order[: total - counts.sum()]] += 1
    if counts.min() < 1:
        raise NoisylibError(
            f"total={total} at imbalance={imbalance:g} leaves class {int(counts.argmin())} without a sample: "
            f"take more (up to {most} here) or a smaller ratio."
        )
    return counts


def long_tailed(
    labels: np.ndarray, n_classes: int, imbalance: float, *, total: int | None = None, seed: int = 0
) -> np.ndarray:
    """Return positions (n,) int64, ascending, of a long-tailed part of some training samples.

    Of each class the first ones of a random order are taken, which depends on `seed`, the class and how
    many samples it has: of two splits, the smaller share of a class is inside the larger one.

    Parameters
    ----------
    labels : (N,) true labels in 0..K-1 of a training split. Leave the test split as it is.
    imbalance : samples of the largest over those of the smallest class, >= 1; met but for rounding.
    total : n; by default `largest_total`. For splits to be compared take `common_total` of their ratios.

    Raises
    ------
    NoisylibError
        As `tail_counts`, or a class has no sample at all.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise NoisylibError(
            f"labels has shape {labels.shape}, dtype {labels.dtype}: integers (N,) are needed."
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise NoisylibError(
            f"labels holds {labels.min()} to {labels.max()}: K={n_classes} allows 0 to K - 1."
        )
    available = np.bincount(labels, minlength=n_classes)
    counts = tail_counts(
        available, imbalance, largest_total(available, imbalance) if total is None else total
    )
    kept = [
        numpy_generator("long-tail", seed, c).permutation(np.flatnonzero(labels == c))[: counts[c]]
        for c in range(n_classes)
    ]
    return np.sort(np.concatenate(kept))


def _shares(available: Sequence[int], imbalance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return `available` (K,) as an array and the share (K,) of each class in the split."""
    available = np.asarray(available, np.int64)
    if available.ndim != 1 or len(available) < 2 or available.min() < 1:
        raise NoisylibError(
            f"available={available.tolist()}: at least one sample of each of at least 2 classes is needed."
        )
    if not 1 <= imbalance < np.inf:
        raise NoisylibError(f"imbalance={imbalance}: largest over smallest class, a finite number >= 1.")
    shares = np.empty(len(available))
    shares[by_frequency(available)] = float(imbalance) ** (-np.arange(len(available)) / (len(available) - 1))
    return available, shares / shares.sum()
