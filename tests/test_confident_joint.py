"""The confident joint against counts by hand and against cleanlab."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.confident_joint import asymmetry, confident_joint, share_wrong


def binary(*second: float) -> np.ndarray:
    return np.stack([1 - np.array(second), np.array(second)], 1)


def test_two_classes_by_hand() -> None:
    """Thresholds .65 and .6125: of label 0 three are a 0 and one a 1; of label 1 one is a 0 and two a 1.

    The last sample labelled 1, .45, is neither. Rows scaled to four samples each: [3, 1] and [4/3, 8/3].
    """
    P = binary(0.1, 0.2, 0.3, 0.8, 0.9, 0.8, 0.45, 0.3)
    joint = confident_joint(np.array([0, 0, 0, 0, 1, 1, 1, 1]), P)
    np.testing.assert_allclose(joint, np.array([[3, 1], [4 / 3, 8 / 3]]) / 8)
    assert share_wrong(joint) == pytest.approx((1 + 4 / 3) / 8)


def test_of_two_confident_classes_the_likelier_counts() -> None:
    """Thresholds .5, .3 and .2: the first sample is confidently of all three, and most of class 0."""
    P = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]])
    joint = confident_joint(np.array([0, 1, 2]), P)
    np.testing.assert_allclose(joint, np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]]) / [[3], [6], [6]])


@pytest.mark.parametrize("K", [2, 5])
def test_same_as_cleanlab_but_for_its_rounding_to_whole_samples(K: int) -> None:
    from cleanlab.count import estimate_joint

    g = np.random.default_rng(3)
    P = g.dirichlet(np.ones(K), 4000)
    y = np.where(g.random(4000) < 0.6, P.argmax(1), g.integers(0, K, 4000))
    np.testing.assert_allclose(confident_joint(y, P), estimate_joint(y, P), atol=1.01 / 4000)


def test_a_class_that_nobody_is_labelled_with_stays_empty() -> None:
    P = np.column_stack([binary(0.1, 0.2, 0.3, 0.8, 0.9, 0.8, 0.45, 0.3) / 2, np.full(8, 0.5)])
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    joint = confident_joint(y, P)
    np.testing.assert_allclose(joint[:2, :2], confident_joint(y, 2 * P[:, :2]), atol=1e-12)
    assert (joint[2] == 0).all()
    assert (joint[:, 2] == 0).all()


def test_asymmetry() -> None:
    """True class 0 loses .06 to 1 and .02 to 2; class 1 all to 2; class 2 nothing: mean of .75 and 1."""
    joint = np.array([[0.3, 0.0, 0.0], [0.06, 0.3, 0.0], [0.02, 0.1, 0.22]])
    assert asymmetry(joint) == pytest.approx((0.75 + 1) / 2)
    assert asymmetry(np.eye(4) / 4) == pytest.approx(1 / 3), "no wrong label prefers no class"
    assert asymmetry((1 + np.eye(4)) / 20) == pytest.approx(1 / 3)
    assert asymmetry(np.array([[0.4, 0.1], [0.1, 0.4]])) == 1
