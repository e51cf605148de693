"""Long-tailed splits and maps by frequency against counts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.features.longtail import (
    FREQUENCY_MAPS,
    by_frequency,
    common_total,
    frequency_map,
    largest_total,
    long_tailed,
    tail_counts,
)

# By frequency: class 1, class 2, class 0. At imbalance 4 they have shares 4/7, 2/7 and 1/7.
AVAILABLE = [100, 400, 300]
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], AVAILABLE))


def test_classes_by_frequency_and_ties_by_number() -> None:
    assert by_frequency([3, 9, 3, 10]).tolist() == [3, 1, 0, 2]
    assert by_frequency([5] * 40).tolist() == list(range(40))


@pytest.mark.parametrize(
    ("name", "K", "expected"),
    [
        ("equals", 6, {0: 1, 1: 0, 2: 3, 3: 2, 4: 5, 5: 4}),
        ("extremes", 6, {0: 5, 5: 0, 1: 4, 4: 1, 2: 3, 3: 2}),
        ("majority", 6, {0: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}),
        # Odd: the last three, or the middle three, go round.
        ("equals", 5, {0: 1, 1: 0, 2: 3, 3: 4, 4: 2}),
        ("extremes", 5, {0: 4, 4: 0, 1: 2, 2: 3, 3: 1}),
        ("equals", 3, {0: 1, 1: 2, 2: 0}),
        ("extremes", 3, {0: 1, 1: 2, 2: 0}),
        ("equals", 2, {0: 1, 1: 0}),
        ("extremes", 2, {0: 1, 1: 0}),
        ("majority", 2, {0: 1, 1: 0}),
    ],
)
def test_maps_of_sorted_classes_by_hand(name: str, K: int, expected: dict[int, int]) -> None:
    assert frequency_map(name, range(100, 100 - K, -1)) == expected


def test_maps_go_by_frequency_not_by_number() -> None:
    counts = [5, 50, 20, 40]  # by frequency: 1, 3, 2, 0
    assert frequency_map("equals", counts) == {1: 3, 3: 1, 2: 0, 0: 2}
    assert frequency_map("extremes", counts) == {1: 0, 0: 1, 3: 2, 2: 3}
    assert frequency_map("majority", counts) == {1: 3, 3: 1, 2: 1, 0: 1}


@pytest.mark.parametrize("name", FREQUENCY_MAPS)
@pytest.mark.parametrize("K", range(2, 10))
def test_every_class_is_mapped_to_another(name: str, K: int) -> None:
    targets = frequency_map(name, range(K))
    assert sorted(targets) == list(range(K))
    assert all(source != target for source, target in targets.items())
    assert name == "majority" or sorted(targets.values()) == list(range(K))


def test_bad_maps_are_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'equals'"):
        frequency_map("equal", [3, 2])
    with pytest.raises(NoisylibError, match="K=1 entries"):
        frequency_map("equals", [3])


def test_the_scarcest_class_sets_the_total() -> None:
    # 400 * 7 / 4 = 700, 300 * 7 / 2 = 1050 and 100 * 7 = 700; without a tail three times the smallest class.
    assert largest_total(AVAILABLE, 4) == 700
    assert largest_total(AVAILABLE, 1) == 300
    # Shares 16/21, 4/21, 1/21: 400 * 21 / 16 = 525.
    assert largest_total(AVAILABLE, 16) == 525
    assert common_total(AVAILABLE, (4, 16)) == 525
    assert common_total(AVAILABLE, (1, 4, 16)) == 300


@pytest.mark.parametrize(
    ("imbalance", "total", "expected"),
    [
        (4, 700, [100, 400, 200]),
        (4, 10, [1, 6, 3]),  # 5.71, 2.86 and 1.43: the two largest remainders are rounded up
        (16, 525, [25, 400, 100]),
        (1, 300, [100, 100, 100]),
        (1, 10, [3, 4, 3]),  # equal remainders: the most frequent class first
    ],
)
def test_counts_by_hand(imbalance: float, total: int, expected: list[int]) -> None:
    assert tail_counts(AVAILABLE, imbalance, total).tolist() == expected
    kept = long_tailed(LABELS, 3, imbalance, total=total)
    assert np.bincount(LABELS[kept], minlength=3).tolist() == expected
    assert (np.diff(kept) > 0).all()


def test_the_whole_of_what_fits_is_taken_by_default() -> None:
    assert np.bincount(LABELS[long_tailed(LABELS, 3, 4)]).tolist() == [100, 400, 200]


def test_smaller_shares_lie_in_larger_ones_and_seeds_differ() -> None:
    small, large = (set(long_tailed(LABELS, 3, ratio, total=300).tolist()) for ratio in (1, 4))
    # Of class 1 both take the first ones of one order: 100 of them, then 171.
    assert {i for i in small if LABELS[i] == 1} < {i for i in large if LABELS[i] == 1}
    assert {i for i in large if LABELS[i] == 0} < {i for i in small if LABELS[i] == 0}
    assert long_tailed(LABELS, 3, 4, total=300, seed=1).tolist() != sorted(large)
    assert long_tailed(LABELS, 3, 4, total=300, seed=0).tolist() == sorted(large)


def test_the_draw_is_uniform() -> None:
    hits = sum(np.isin(np.arange(800), long_tailed(LABELS, 3, 4, total=350, seed=s)) for s in range(300))
    # Half of class 1 is kept, so a sample of it in 150 of 300 draws, with deviation 8.7.
    assert (np.abs(hits[LABELS == 1] - 150) < 4.5 * 8.7).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total": 701}, "class 0 allows with its 100 samples: take at most 700|class 1 allows"),
        ({"total": 2}, "leaves class 0 without a sample"),
        ({"total": -1}, "without a sample"),
        ({"imbalance": 0.5}, "imbalance=0.5"),
        ({"imbalance": float("inf")}, "imbalance=inf"),
        ({"imbalance": float("nan")}, "imbalance=nan"),
        ({"n_classes": 4}, "at least one sample of each"),
        ({"n_classes": 2}, "labels holds 0 to 2"),
        ({"n_classes": 1, "labels": np.zeros(5, int)}, "at least 2 classes"),
        ({"labels": LABELS - 1}, "labels holds -1"),
        ({"labels": LABELS.astype(float)}, "integers"),
        ({"labels": np.array([], int)}, "integers"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        long_tailed(**{"labels": LABELS, "n_classes": 3, "imbalance": 4, **changes})


def test_no_ratio_has_no_common_total() -> None:
    with pytest.raises(NoisylibError, match="imbalances is empty"):
        common_total(AVAILABLE, ())
