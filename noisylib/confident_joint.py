"""The joint distribution of observed and true labels, as confident learning counts it."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-6  # a probability this little below a class's threshold still counts as confident


def confident_joint(y: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the estimated joint distribution Q (K, K) of observed labels (rows) and true ones (columns).

    A sample counts as confidently of class b if its probability of b reaches the mean probability of b
    among the samples labelled b; of several such classes the most probable counts. Counts are scaled to the
    observed labels of each row, and to sum 1. A class that nobody is labelled with has an empty row, and
    nothing is confidently of it. A class of which nothing is confident keeps its labels.

    Parameters
    ----------
    y : (N,) observed labels in 0..K-1.
    probabilities : (N, K) from models that did not see the sample's label.

    Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
    Journal of Artificial Intelligence Research 70, 2021, equations 1 and 2.
    """
    N, K = probabilities.shape
    sizes = np.bincount(y, minlength=K)
    totals = np.bincount(y, weights=probabilities[np.arange(N), y], minlength=K)
    thresholds = np.divide(totals, sizes, out=np.full(K, np.inf), where=sizes > 0)
    confident = probabilities >= thresholds - TOLERANCE
    guess = np.where(confident, probabilities, -1.0).argmax(1)
    seen = confident.any(1)
    counts = np.bincount(y[seen] * K + guess[seen], minlength=K * K).reshape(K, K).astype(np.float64)
    np.fill_diagonal(counts, np.where(sizes > 0, np.maximum(np.diag(counts), 1.0), 0.0))
    rows = counts.sum(1, keepdims=True)
    return np.divide(counts * sizes[:, None], rows, out=np.zeros((K, K)), where=rows > 0) / N


def share_wrong(joint: np.ndarray) -> float:
    """Return the share of wrong labels in a joint distribution (K, K), in [0, 1]."""
    return float(np.clip(1.0 - np.trace(joint), 0.0, 1.0))


def asymmetry(joint: np.ndarray) -> float:
    """Return how far wrong labels of a class prefer one class: 1 / (K - 1) if they do not, 1 if wholly.

    The largest share of one label among the wrong ones, a mean over the true classes that have any; 1 with
    two classes, and 1 / (K - 1) if no label looks wrong.
    """
    wrong = joint - np.diag(np.diag(joint))
    totals = wrong.sum(0)
    if not (totals > 0).any():
        return 1.0 / (len(joint) - 1)
    return float((wrong.max(0)[totals > 0] / totals[totals > 0]).mean())
