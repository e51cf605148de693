"""Splits where none is official: stratified, grouped, and the same on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from noisylib.seeding import derive_seed

SPLITS = ("train", "val", "test")


def holdout_split(
    name: str,
    labels: np.ndarray,
    group_keys: Sequence[str],
    *,
    seed_split: int = 0,
    val: float = 0.0,
    test: float = 0.2,
) -> np.ndarray:
    """Return split codes (N,) uint8 (0 train, 1 val, 2 test) that keep every group whole.

    Groups of one class are visited in the order of a hash of (dataset, seed, group key) and fill the
    test part until the class has its share, then the validation part. No random number stream is
    involved, so the split depends on neither the versions of NumPy and scikit-learn nor the order in
    which a file system lists files. A class of at least two groups is present in train and in test.

    Parameters
    ----------
    name
        Dataset name; part of the hash.
    labels
        (N,) true labels, to stratify by.
    group_keys
        N names; samples with the same name (lesion, patient) stay together. A group with several
        labels counts for its most frequent one.
    seed_split
        Another seed gives another split.
    val, test
        Fractions of each class.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(group_keys):
        members[key].append(i)
    by_class: dict[int, list[str]] = defaultdict(list)
    for key, indices in members.items():
        by_class[int(np.bincount(labels[indices]).argmax())].append(key)

    split = np.zeros(len(labels), np.uint8)
    for keys in by_class.values():
        order = sorted(keys, key=lambda key: (derive_seed("split", name, seed_split, key), key))
        sizes = {key: len(members[key]) for key in order}
        total = sum(sizes.values())
        for code, fraction in ((2, test), (1, val)):
            taken = _take(order, sizes, round(fraction * total), at_least_one=fraction > 0)
            for key in taken:
                split[members[key]] = code
            order = [key for key in order if key not in taken]
    return split


def _take(order: list[str], sizes: dict[str, int], room: int, *, at_least_one: bool) -> set[str]:
    """Return the groups, first come first served, that fit into `room` samples; never all of them."""
    taken = set()
    for key in order[:-1]:
        if sizes[key] <= room:
            taken.add(key)
            room -= sizes[key]
    if not taken and at_least_one and len(order) > 1:
        taken = {min(order, key=sizes.__getitem__)}  # a class of few, large groups
    return taken


def split_counts(labels: np.ndarray, split: np.ndarray, n_classes: int) -> np.ndarray:
    """Return (3, K) int64 numbers of samples: rows train, val and test, columns classes."""
    counts = np.zeros((len(SPLITS), n_classes), np.int64)
    np.add.at(counts, (split, labels), 1)
    return counts
