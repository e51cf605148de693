"""Recall per class, balanced accuracy and dead classes, for many runs at once."""

from __future__ import annotations

import numpy as np


def recall_per_class(predicted: np.ndarray, y_true: np.ndarray, n_classes: int) -> np.ndarray:
    """Return recall in [0, 1] per run and class, (..., K); NaN for a class absent from `y_true`.

    Parameters
    ----------
    predicted : (..., N) int, predicted labels of any number of runs.
    y_true : (N,) int, clean labels.
    """
    member = y_true[:, None] == np.arange(n_classes)  # (N, K)
    counts = member.sum(0)
    hits = (predicted == y_true).astype(np.float64) @ member
    return np.divide(hits, counts, out=np.full(hits.shape, np.nan), where=counts > 0)


def balanced_accuracy(recall: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that exist, in [0, 1]; chance is 1 / K."""
    return np.nanmean(recall, axis=-1)


def dead_classes(recall: np.ndarray) -> np.ndarray:
    """Return the number of classes with zero recall; classes absent from the test set do not count."""
    return (recall == 0).sum(-1)
