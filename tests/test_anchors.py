"""Anchors of made evidence, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.anchors import Anchors, find_anchors


def certain(predicted: np.ndarray, confidence: np.ndarray, n_classes: int) -> np.ndarray:
    """Probabilities (N, K): `confidence` on the predicted class, the rest spread evenly."""
    rest = (1 - confidence) / (n_classes - 1)
    P = np.repeat(rest[:, None], n_classes, axis=1)
    P[np.arange(len(predicted)), predicted] = confidence
    return P


def made(contradicted: list[float], weights: list[float], overlap: list[float], **parts: object) -> Anchors:
    K = len(weights)
    fields = {"labels": np.eye(K), "counts": np.full(K, 30)} | parts
    return Anchors(
        weights=np.array(weights), contradicted=np.array(contradicted), overlap=np.array(overlap), **fields
    )


def test_the_most_confident_fifth_of_each_predicted_class_by_hand() -> None:
    """200 samples of class 0 and 110 of class 1: 40 and 22 anchors, the most confident ones.

    Of class 0, ten anchors are labelled 1: 10 / 40. Of class 1, none; the labels of the others are all
    contradicted, but do not count. Weights are 200 / 310 and 110 / 310.
    """
    predicted = np.repeat([0, 1], [200, 110])
    confidence = np.concatenate([np.linspace(0.99, 0.6, 200), np.linspace(0.6, 0.99, 110)])
    y = 1 - predicted
    y[:40], y[-22:] = 0, 1
    y[5:15] = 1
    neighbours = np.tile(np.arange(4), (310, 1))  # all of predicted class 0
    found = find_anchors(y, certain(predicted, confidence, 2), neighbours)
    assert found.counts.tolist() == [40, 22]
    np.testing.assert_allclose(found.labels, [[0.75, 0.25], [0, 1]])
    np.testing.assert_allclose(found.weights, [200 / 310, 110 / 310])
    mean = 200 / 310 * 0.25
    np.testing.assert_allclose(found.contradicted, [(10 + 5 * mean) / 45, 5 * mean / 27])
    np.testing.assert_allclose(found.overlap, [0, 1])


def test_a_class_predicted_less_than_twenty_times_has_no_anchors() -> None:
    predicted = np.repeat([0, 1], [60, 19])
    found = find_anchors(
        np.zeros(79, dtype=np.int64), certain(predicted, np.full(79, 0.9), 3), np.ones((79, 2), int)
    )
    assert found.counts.tolist() == [20, 0, 0]
    assert found.weights.tolist() == [1, 0, 0]
    assert found.disagreement == 0
    assert found.floor == 0


def test_few_samples_have_anchors_all_the_same() -> None:
    """Of seven samples the class predicted most often, five times, has five anchors."""
    predicted = np.array([0, 0, 1, 1, 1, 1, 1])
    y = np.array([0, 0, 1, 1, 1, 1, 0])
    found = find_anchors(y, certain(predicted, np.full(7, 0.8), 2), np.zeros((7, 1), int))
    assert found.counts.tolist() == [0, 5]
    assert found.disagreement == pytest.approx(0.2)


def test_the_floor_is_of_the_classes_that_hold_a_quarter_of_the_samples() -> None:
    """The lowest class holds .1 and counts .1, the next holds .5 and fills up the other .15."""
    found = made([0.4, 0.1, 0.2], [0.4, 0.1, 0.5], [0, 0, 0])
    assert found.floor == pytest.approx((0.1 * 0.1 + 0.15 * 0.2) / 0.25)
    assert found.disagreement == pytest.approx(0.16 + 0.01 + 0.1)


def test_excess_counts_less_where_anchors_overlap() -> None:
    """Above the floor of .1 lie .2 and .4; overlap of .1 leaves 1/e, of .2 leaves 1/e^2."""
    found = made([0.1, 0.3, 0.5], [0.5, 0.3, 0.2], [0.0, 0.1, 0.2])
    assert found.floor == pytest.approx(0.1)
    np.testing.assert_allclose(found.class_excess, [0, 0.2 / np.e, 0.4 / np.e**2], atol=1e-12)
    assert found.excess == pytest.approx(0.3 * 0.2 / np.e + 0.2 * 0.4 / np.e**2)
    assert found.mean_overlap == pytest.approx(0.03 + 0.04)
    np.testing.assert_allclose(found.flips, [0.1, 0.1 + 0.2 / np.e, 0.1 + 0.4 / np.e**2])


def test_flips_of_a_class_without_anchors_are_the_mean_of_the_others() -> None:
    found = made([0.1, 0.3, 0.0], [0.5, 0.5, 0.0], [0, 0, 0], counts=np.array([30, 30, 0]))
    assert found.floor == pytest.approx(0.1)
    np.testing.assert_allclose(found.flips, [0.1, 0.3, 0.2])
