"""Parts of a set keep its shares, by hand-made counts, and are the same whatever the order of the files."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.data.limits import limited_rows, shares
from noisylib.errors import NoisylibError


@pytest.mark.parametrize(
    ("available", "total", "expected"),
    [
        ([60, 30, 10], 10, [5, 3, 2]),  # the third keeps two; 8 * 2/3 = 5.33, 8 * 1/3 = 2.67
        ([60, 30, 10], 20, [12, 6, 2]),
        ([60, 30, 10], 100, [60, 30, 10]),
        ([60, 30, 10], 1000, [60, 30, 10]),
        ([60, 30, 10], 0, [0, 0, 0]),
        ([50, 50], 5, [3, 2]),  # equal remainders: the lower class first
        ([97, 1, 2], 10, [7, 1, 2]),  # one image is all there is
        ([90, 0, 10], 20, [18, 0, 2]),
        ([1000, 5, 3], 100, [96, 2, 2]),
    ],
)
def test_shares_by_hand(available, total, expected):
    assert shares(np.array(available), total).tolist() == expected


def test_too_few_for_every_class():
    with pytest.raises(
        NoisylibError, match=r"total is too small for 2 images of each of 3 classes.*at least 6"
    ):
        shares(np.array([60, 30, 10]), 5)


def made(n=200):
    generator = np.random.default_rng(0)
    keys = [f"image {i}" for i in range(n)]
    return keys, (generator.random(n) < 0.25).astype(np.int64), generator.integers(0, 3, n).astype(np.uint8)


def test_each_split_is_limited_on_its_own():
    keys, labels, split = made()
    rows = limited_rows("set", keys, labels, split, {"train": 20, "val": 0})
    counts = np.bincount(split[rows], minlength=3)
    assert counts[0] == 20
    assert counts[1] == 0
    assert counts[2] == (split == 2).sum()
    assert (np.diff(rows) > 0).all()
    train = labels[rows][split[rows] == 0]
    exact = 20 * labels[split == 0].mean()
    assert abs(train.sum() - exact) <= 0.5


def test_no_limit_keeps_all():
    keys, labels, split = made()
    assert limited_rows("set", keys, labels, split, None).tolist() == list(range(200))


def test_order_of_the_files_changes_nothing():
    keys, labels, split = made()
    order = np.random.default_rng(1).permutation(200)
    one = limited_rows("set", keys, labels, split, {"train": 20, "test": 10})
    other = limited_rows(
        "set", [keys[i] for i in order], labels[order], split[order], {"train": 20, "test": 10}
    )
    assert {keys[i] for i in one} == {keys[order[i]] for i in other}


def test_a_larger_limit_adds_images():
    keys, labels, split = made()
    small, large = (set(limited_rows("set", keys, labels, split, {"train": n}).tolist()) for n in (12, 30))
    assert small < large


def test_seed_and_name_take_others():
    keys, labels, split = made()
    taken = {
        tuple(limited_rows(name, keys, labels, split, {"train": 20}, seed))
        for name, seed in (("set", 0), ("set", 1), ("other", 0))
    }
    assert len(taken) == 3


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"training": 5}, "limit='training' is unknown.*train"),
        ({"train": -1}, "train=-1 must be a number of images"),
        ({"train": 2.5}, "train=2.5"),
        ({"train": True}, "train=True"),
        ({"train": 3}, "limit: train=3 is too small for 2 images of each of 2 classes: give at least 4"),
    ],
)
def test_limits_that_are_none(limit, message):
    with pytest.raises(NoisylibError, match=message):
        limited_rows("set", *made(), limit)
