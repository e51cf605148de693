"""The hashed split: whole groups, the asked share of each class, the same everywhere."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from noisylib.data import holdout_split, split_counts


def test_share_of_each_class_is_exact_for_single_samples():
    labels = np.repeat([0, 1, 2], [100, 10, 5])
    split = holdout_split("x", labels, [f"k{i}" for i in range(115)], val=0.1)
    assert split.dtype == np.uint8
    assert split_counts(labels, split, 3).tolist() == [[70, 7, 3], [10, 1, 1], [20, 2, 1]]


def test_groups_stay_whole_and_shares_hold():
    draw = np.random.default_rng(0)
    group_class = draw.choice(3, 400, p=[0.7, 0.25, 0.05])
    groups = np.repeat(np.arange(400), draw.integers(1, 7, 400))
    labels = group_class[groups]
    split = holdout_split("x", labels, [f"g{g}" for g in groups])
    assert all(len(set(split[groups == g])) == 1 for g in range(400))
    counts = split_counts(labels, split, 3)
    assert counts[2] / counts.sum(0) == pytest.approx(0.2, abs=0.02)


def test_split_depends_on_keys_not_on_their_order():
    labels = np.arange(50) % 2
    keys = [f"k{i}" for i in range(50)]
    split = dict(zip(keys, holdout_split("x", labels, keys), strict=True))
    order = np.random.default_rng(1).permutation(50)
    moved = holdout_split("x", labels[order], [keys[i] for i in order])
    assert [split[keys[i]] for i in order] == moved.tolist()


def test_split_follows_sha256_of_the_keys():
    """No random stream is involved, so the split holds for every machine and every version."""
    keys = [f"k{i}" for i in range(10)]
    digests = [sha256(f'["split","frozen",0,"{key}"]'.encode()).digest() for key in keys]
    split = holdout_split("frozen", np.zeros(10, np.int64), keys)
    assert set(np.flatnonzero(split == 2)) == {digests.index(digest) for digest in sorted(digests)[:2]}


def test_seed_and_name_change_the_split():
    labels, keys = np.zeros(200, np.int64), [f"k{i}" for i in range(200)]
    first = holdout_split("x", labels, keys)
    assert (first != holdout_split("x", labels, keys, seed_split=1)).any()
    assert (first != holdout_split("y", labels, keys)).any()


@pytest.mark.parametrize("sizes", [(1, 1), (5, 1), (3, 3), (1, 1, 1)])
def test_a_class_of_few_groups_is_in_train_and_in_test(sizes):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    split = holdout_split("x", np.zeros(len(groups), np.int64), [str(g) for g in groups])
    assert set(split) == {0, 2}


def test_a_class_of_one_group_stays_in_train():
    assert holdout_split("x", np.zeros(3, np.int64), ["a"] * 3).tolist() == [0, 0, 0]


def test_no_share_empties_train():
    assert holdout_split("x", np.zeros(4, np.int64), list("abcd"), test=1.0).tolist().count(0) == 1


def test_a_group_with_two_labels_counts_for_the_more_frequent():
    labels = np.array([0, 0, 1] + [0] * 5 + [1] * 10)
    keys = ["mixed"] * 3 + [str(i) for i in range(15)]
    split = holdout_split("x", labels, keys)
    assert len(set(split[:3])) == 1
    assert (split[8:] == 2).sum() == 2  # class 1 without the mixed group: 20 % of 10
