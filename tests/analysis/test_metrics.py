"""Recall, balanced accuracy and dead classes by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from noisylib.analysis.metrics import balanced_accuracy, dead_classes, recall_per_class

Y = np.array([0, 0, 0, 0, 1, 1, 2])


def test_by_hand() -> None:
    predicted = np.array([[0, 0, 0, 1, 1, 0, 0], [0] * 7])
    recall = recall_per_class(predicted, Y, 3)
    np.testing.assert_allclose(recall, [[3 / 4, 1 / 2, 0], [1, 0, 0]])
    np.testing.assert_allclose(balanced_accuracy(recall), [(3 / 4 + 1 / 2) / 3, 1 / 3])
    assert dead_classes(recall).tolist() == [1, 2]


def test_an_absent_class_is_left_out() -> None:
    recall = recall_per_class(np.array([0, 1, 1]), np.array([0, 1, 0]), 3)
    assert np.isnan(recall[2])
    assert balanced_accuracy(recall) == pytest.approx((1 / 2 + 1) / 2)
    assert dead_classes(recall) == 0


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 5, 200), rng.integers(0, 5, (3, 200))
    recall = recall_per_class(predicted, y, 5)
    for run in range(3):
        np.testing.assert_allclose(recall[run], recall_score(y, predicted[run], average=None))
        assert balanced_accuracy(recall[run]) == pytest.approx(balanced_accuracy_score(y, predicted[run]))
