"""Small tables of features that come with scikit-learn: the smoke test of every study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.data.catalog import DatasetInfo, dataset_info
from noisylib.data.splits import holdout_split
from noisylib.errors import NoisylibError


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """N rows of features with labels and a fixed split.

    Attributes
    ----------
    info
        Catalogue row.
    X
        (N, D) float32, unscaled.
    labels
        (N,) int64, index into ``info.classes``.
    split
        (N,) uint8: 0 train, 1 val, 2 test.
    groups
        Always None: every row stands alone.
    """

    info: DatasetInfo
    X: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    groups: np.ndarray | None = None


def load_table(name: str, *, seed_split: int = 0) -> FeatureTable:
    """Return the features of ``breast_cancer`` or ``digits``, split 60/20/20 within each class.

    Raises
    ------
    UnknownNameError
        `name` is not in the catalogue.
    NoisylibError
        `name` is a set of images.
    """
    info = dataset_info(name)
    if info.kind != "features":
        raise NoisylibError(f"{name} holds images, not features: use load_images({name!r}, root).")
    from sklearn import datasets

    X, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    labels = labels.astype(np.int64)
    rows = [str(i) for i in range(len(labels))]
    split = holdout_split(name, labels, rows, seed_split=seed_split, val=0.2, test=0.2)
    return FeatureTable(info, X.astype(np.float32), labels, split)
