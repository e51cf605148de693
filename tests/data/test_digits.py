"""The digits as images: scikit-learn's own values, larger, with labels by position."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.data.digits import PRETRAINING_CLASSES, TASK_CLASSES, digit_images, enlarged
from noisylib.errors import NoisylibError


def test_smallest_images_are_scikit_learns():
    from sklearn.datasets import load_digits

    found, theirs = digit_images(8, range(10)), load_digits()
    # 0 is black and 16 is white; 255 / 16 = 15.94 per step.
    assert found.pixels.shape == (1797, 3, 8, 8)
    assert np.array_equal(found.pixels[:, 0], np.round(theirs.images * 255 / 16))
    assert np.array_equal(found.labels, theirs.target)
    assert (found.pixels == found.pixels[:, :1]).all()


def test_labels_are_positions_among_the_classes():
    from sklearn.datasets import load_digits

    found = digit_images(8, (7, 3))
    target = load_digits().target
    rows = [int(key.partition("/")[2]) for key in found.keys]
    assert rows == np.flatnonzero((target == 7) | (target == 3)).tolist()
    assert found.class_names == ("7", "3")
    assert np.array_equal(np.array([7, 3])[found.labels], target[rows])


def test_enlarged_keeps_the_range_and_the_place():
    grey = np.zeros((1, 8, 8))
    grey[0, :, 4:] = 1
    found = enlarged(grey, 16)
    assert found.dtype == np.uint8
    assert (found[0, :, :, :7] == 0).all()
    assert (found[0, :, :, 9:] == 255).all()
    # Between the middles of the two columns of the edge, a quarter and three quarters of the way.
    assert found[0, 0, 0, 7:9].tolist() == [64, 191]


def test_split_keeps_the_shares_and_does_not_depend_on_the_choice():
    task, all_ten = digit_images(8), digit_images(8, range(10))
    for c in range(5):
        assert (task.split[task.labels == c] == 2).mean() == pytest.approx(0.4, abs=0.01)
    where = dict(zip(all_ten.keys, all_ten.split.tolist(), strict=True))
    assert task.split.tolist() == [where[key] for key in task.keys]
    assert set(task.split.tolist()) == {0, 2}


def test_both_halves_share_no_image():
    one, other = digit_images(8, PRETRAINING_CLASSES), digit_images(8, TASK_CLASSES)
    assert not set(one.keys) & set(other.keys)
    assert len(one.keys) + len(other.keys) == 1797


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 7}, "size=7 must be an integer, at least 8"),
        ({"size": 16.0}, "size=16.0"),
        ({"classes": (3,)}, r"classes=\(3,\) must be at least two"),
        ({"classes": (3, 3)}, "different digits"),
        ({"classes": (3, 10)}, "from 0 to 9"),
        ({"test": 1.0}, "test=1.0 must be a share"),
    ],
)
def test_digits_that_are_none(options, message):
    with pytest.raises(NoisylibError, match=message):
        digit_images(**options)
