"""Rates, directions and coincidence of errors, by hand on a few labels and against draws."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.analysis import label_noise as ln
from noisylib.noise import transition_matrix

# Ten of each class; 0 loses 1 to 1 and 1 to 2, 1 loses 4 to 0, 2 is right.
COUNTS = np.array([[8, 1, 1], [4, 6, 0], [0, 0, 10]])


def test_counts_and_transition_have_the_true_class_down():
    counts = ln.count_labels(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    assert counts.tolist() == [[1, 1], [0, 1]]
    assert ln.transition(counts).tolist() == [[0.5, 0.5], [0, 1]]


def test_shape_of_noise_by_hand():
    shape = ln.noise_shape(COUNTS)
    assert shape["rate"] == pytest.approx(6 / 30)
    assert shape["class_rate"] == pytest.approx([0.2, 0.4, 0])
    assert shape["purity"] == pytest.approx([8 / 12, 6 / 7, 10 / 11])
    assert shape["top_target"].tolist()[:2] == [1, 0]
    np.testing.assert_allclose(shape["top_share"], [0.5, 1, np.nan])
    assert shape["mean_top_share"] == pytest.approx(0.75)
    # Symmetric noise of 20 % has rows 8 1 1, 1 8 1, 1 1 8: 6 of 30 labels have to move.
    assert shape["to_symmetric"] == pytest.approx((0 + 3 + 2) / 30)
    # Each class into the next: 8 2 0, 0 8 2, 2 0 8.
    assert shape["to_pairflip"] == pytest.approx((1 + 4 + 2) / 30)


def test_noise_of_a_kind_is_at_no_distance_from_it():
    n = 900
    symmetric = n * transition_matrix("symmetric", 0.4, 3)
    assert ln.distance(symmetric, ln.spread_evenly(symmetric)) == pytest.approx(0)
    flips = n * transition_matrix("pairflip", 0.4, 3)
    shape = ln.noise_shape(flips.round().astype(int))
    assert shape["to_pairflip"] == shape["to_map"] == pytest.approx(0)
    assert shape["mean_top_share"] == 1
    # All of the wrong 40 % lie in one cell of two: half of them have to move.
    assert shape["to_symmetric"] == pytest.approx(0.2)


def test_chance_is_what_symmetric_noise_shows():
    rng = np.random.default_rng(3)
    T = transition_matrix("symmetric", 0.3, 6)
    shapes = [ln.noise_shape(np.stack([rng.multinomial(200, row) for row in T]), seed=s) for s in range(60)]
    own = np.array([[s["to_symmetric"], s["mean_top_share"]] for s in shapes])
    chance = np.array([[s["chance_to_symmetric"], s["chance_top_share"]] for s in shapes])
    np.testing.assert_allclose(own.mean(0), chance.mean(0), rtol=0.05)
    assert chance.min() > 0.02


def test_clean_labels_have_no_direction():
    shape = ln.noise_shape(np.diag([5, 5]))
    assert (shape["rate"], shape["mean_top_share"], shape["to_symmetric"]) == (0, 0, 0)


def test_errors_that_coincide_exceed_what_the_class_explains():
    y = np.repeat([0, 1], 100)
    a = np.where(np.arange(200) % 100 < 20, 1 - y, y)
    assert ln.both_wrong(y, a, a, 2) == pytest.approx((0.2, 0.04))
    # Half of the second one's errors fall on those of the first, in each class.
    b = np.where((np.arange(200) % 100 >= 10) & (np.arange(200) % 100 < 30), 1 - y, y)
    assert ln.both_wrong(y, a, b, 2) == pytest.approx((0.1, 0.04))
    # A class that nobody errs on cannot make errors coincide: 0.4 * 0.4 in one half.
    c = np.where((y == 0) & (np.arange(200) < 40), 1, y)
    assert ln.both_wrong(y, c, c, 2) == pytest.approx((0.2, 0.08))


def test_right_votes_of_independent_people_are_as_expected():
    # Two people with one error in two and one in four: all four combinations in their proportions.
    y = np.zeros(8, np.int64)
    a, b = np.array([1, 1, 1, 1, 0, 0, 0, 0]), np.array([1, 0, 0, 0, 1, 0, 0, 0])
    found, expected = ln.right_votes(y, [a, b])
    assert found.tolist() == [1, 4, 3]
    assert expected == pytest.approx([1, 4, 3])
    same, expected = ln.right_votes(y, [a, a])
    assert same.tolist() == [4, 0, 4]
    assert expected == pytest.approx([2, 4, 2])


def test_different_labels_are_counted():
    votes = [np.array([0, 0, 0, 1]), np.array([0, 1, 1, 2]), np.array([0, 0, 2, 0])]
    assert ln.different_labels(votes).tolist() == [1, 1, 2]
