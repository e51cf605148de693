"""Real images without a download: scikit-learn's handwritten digits, made larger and in three channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.splits import holdout_split
from noisylib.data.tables import load_table
from noisylib.errors import NoisylibError, require

SIDE = 8  # pixels of an image as it comes
INK = 16  # its largest value
TEST = 0.4  # share of each class; the sets are small, and a test set must tell a few percent apart

# One half to prepare a network on with right labels, the other for the task with wrong ones.
PRETRAINING_CLASSES = (0, 1, 2, 3, 4)
TASK_CLASSES = (5, 6, 7, 8, 9)


@dataclass(frozen=True, eq=False)
class DigitImages:
    """N images of some of the ten digits.

    Attributes
    ----------
    info : the catalogue's row, of all ten digits.
    pixels : (N, 3, S, S) uint8, white on black.
    labels : (N,) int64, position in `class_names`.
    split : (N,) uint8: 0 train, 2 test.
    class_names : K digits as text.
    keys : N names, the same under every choice of classes.
    """

    info: DatasetInfo
    pixels: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    class_names: tuple[str, ...]
    keys: tuple[str, ...]


def digit_images(
    size: int = 16, classes: Sequence[int] = TASK_CLASSES, *, test: float = TEST, seed_split: int = 0
) -> DigitImages:
    """Return scikit-learn's images of the digits `classes`, enlarged from 8 x 8 to `size` x `size` pixels.

    Parameters
    ----------
    size : side of an image in pixels, at least 8; enlarged by bilinear interpolation.
    classes : digits, in the order of the labels: the label of ``classes[c]`` is c.
    test : share of each class that is kept for testing.
    seed_split : another seed gives another split.

    Raises
    ------
    NoisylibError
        An image would be made smaller, a digit is none or named twice, or the share is not in (0, 1).

    References
    ----------
    E. Alpaydin and C. Kaynak. Optical recognition of handwritten digits. UCI repository, 1998.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < SIDE:
        raise NoisylibError(
            f"size={size!r} must be an integer, at least {SIDE}: the images have {SIDE} x {SIDE}."
        )
    classes = tuple(classes)
    if len(classes) < 2 or len(set(classes)) != len(classes) or not set(classes) <= set(range(10)):
        raise NoisylibError(f"classes={classes} must be at least two different digits from 0 to 9.")
    if not 0 < test < 1:
        raise NoisylibError(f"test={test} must be a share between 0 and 1.")
    table = load_table("digits")
    keys = [f"digits/{i}" for i in range(len(table.labels))]
    split = holdout_split("digit images", table.labels, keys, seed_split=seed_split, test=test)
    rows = np.flatnonzero(np.isin(table.labels, classes))
    position = np.full(10, -1)
    position[list(classes)] = np.arange(len(classes))
    return DigitImages(
        info=table.info,
        pixels=enlarged(table.X[rows].reshape(-1, SIDE, SIDE) / INK, size),
        labels=position[table.labels[rows]].astype(np.int64),
        split=split[rows],
        class_names=tuple(table.info.classes[c] for c in classes),
        keys=tuple(keys[row] for row in rows),
    )


def enlarged(grey: np.ndarray, size: int) -> np.ndarray:
    """Return grey images (N, H, H) in [0, 1] as (N, 3, size, size) uint8, three equal channels."""
    image = require("PIL.Image", "finetuning")
    codes = np.round(255 * grey).astype(np.uint8)
    large = [
        np.asarray(image.fromarray(one).resize((size, size), image.Resampling.BILINEAR)) for one in codes
    ]
    return np.repeat(np.stack(large)[:, None], 3, axis=1)
