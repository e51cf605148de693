"""Fewer images of a set, class by class, and always the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from noisylib.data.splits import SPLITS
from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import derive_seed

LEAST = 2  # images of a class that is present: one alone has no spread


def limited_rows(
    name: str,
    keys: Sequence[str],
    labels: np.ndarray,
    split: np.ndarray,
    limit: Mapping[str, int] | None,
    seed: int = 0,
) -> np.ndarray:
    """Return the rows (n,) int64, in order, of a part of the set that keeps the shares of the classes.

    Within a split, class counts are proportional to those of the whole split (largest remainder), but a
    class keeps at least two images, or the one it has. Which images stay is decided by a hash of (name,
    seed, key): neither the order of the files nor the version of a random generator changes it, and a
    larger limit adds images to those of a smaller one.

    Parameters
    ----------
    name : of the data set, part of the hash.
    keys, labels, split : of N images: names, (N,) classes, (N,) codes 0 train, 1 val, 2 test.
    limit : split -> images at most; 0 leaves a split out, a split that is not named stays whole.
    seed : another seed takes other images.

    Raises
    ------
    NoisylibError
        A limit is no number of images, or too small for two images of each class.
    """
    kept = np.ones(len(labels), bool)
    for part, most in (limit or {}).items():
        check_name("limit", part, SPLITS)
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 0:
            raise NoisylibError(f"limit: {part}={most!r} must be a number of images, 0 or more.")
        rows = np.flatnonzero(split == SPLITS.index(part))
        counts = shares(np.bincount(labels[rows]), int(most), f"limit: {part}={most}")
        kept[rows] = False
        for c in np.flatnonzero(counts):
            members = rows[labels[rows] == c].tolist()
            members.sort(key=lambda row: (derive_seed("limit", name, seed, keys[row]), keys[row]))
            kept[members[: counts[c]]] = True
    return np.flatnonzero(kept)


def shares(available: np.ndarray, total: int, argument: str = "total") -> np.ndarray:
    """Return how many (K,) of the `available` samples of each class stay, `total` in all if there are more.

    Proportional by largest remainder (ties: the lower class first); at least two of each class that has
    them. A total of 0 takes none.
    """
    available = np.asarray(available, np.int64)
    if total >= available.sum() or total == 0:
        return available if total else np.zeros_like(available)
    least = np.minimum(available, LEAST)
    if total < least.sum():
        raise NoisylibError(
            f"{argument} is too small for {LEAST} images of each of {np.count_nonzero(available)} classes: "
            f"give at least {least.sum()}, or 0 for none."
        )
    counts, free = least.copy(), available > 0
    while True:
        # Classes whose share would be below the least keep the least; the others divide what is left.
        exact = np.where(free, available * (total - counts[~free].sum()) / max(available[free].sum(), 1), 0)
        small = free & (exact < least)
        if not small.any():
            break
        free &= ~small
    counts[free] = np.floor(exact[free] + 1e-9).astype(np.int64)
    rest = np.where(free, exact - counts, -1.0)
    order = np.argsort(-np.round(rest, 9), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts
