"""How many of the labels a classifier agrees with are right, computed from its clean confusion alone.

A sample is kept when the prediction equals its observed label. Let `priors[y]` be the class frequencies,
`T[y, j]` the probability that class y carries label j, and `C[y, j]` the probability that the classifier
answers j for a sample of class y. If, within a class, prediction and label are independent, then

- rate = sum over y, j of priors[y] T[y, j] C[y, j] is the share of samples that are kept;
- precision = sum over y of priors[y] T[y, y] C[y, y], divided by the rate, is the share of the kept that are
  right;
- kappa is how often the classifier makes the very mistake that the label makes: the mean of C[y, j] over
  the flips y -> j, in proportion to their number. For symmetric noise it is small, because the errors of
  the classifier spread over all wrong classes and the flips do too; if labels flip to the class that the
  classifier itself confuses with the true one, kappa is large and the kept set fills with wrong labels.

With noise rate r in every class and accuracy a the precision is (1 - r) a / ((1 - r) a + r kappa).

The independence holds for predictions on samples that were not trained on, with flips that do not look at
the features. A classifier that saw the wrong labels agrees with them more often than the forecast says;
instance-dependent and human noise break it too. What a measured precision lacks is the size of that effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.analysis.detection import as_labels
from noisylib.errors import NoisylibError


@dataclass(frozen=True)
class Forecast:
    """What agreement with a classifier keeps, see the text of the module.

    Attributes
    ----------
    rate : share of the samples whose observed label is the prediction, in [0, 1].
    precision : share of these whose label is right; NaN if the rate is 0.
    kappa : mean probability that the prediction is the wrong label, over the flips; NaN without flips.
    """

    rate: float
    precision: float
    kappa: float


@dataclass(frozen=True)
class DropParts:
    """Why the precision of agreement fell from one noise to another; fractions, positive is a loss.

    Attributes
    ----------
    total : the measured difference, the sum of the other three.
    harder_targets : forecast for the first classifier when only the flips change.
    biased_head : forecast of what follows when the classifier changes too, with the flips of the second.
    unexplained : the rest. The forecasts assume predictions that are independent of the flips, so this is
        how much more memorised labels cost under the second noise than under the first, plus sampling error.
    """

    total: float
    harder_targets: float
    biased_head: float
    unexplained: float


def confusion(predicted: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return (..., K, K) C[y, j], the share of the samples of class y that are predicted as j.

    Rows sum to 1; the row of a class without samples is NaN.

    Parameters
    ----------
    predicted : (..., N) int.
    y : (N,) or (..., N) int, the clean labels. For a forecast neither was part of the training.

    Raises
    ------
    NoisylibError
        A label is not in 0 .. K-1, or the shapes do not fit.
    """
    predicted, y = as_labels("predicted", predicted, n_classes), as_labels("y", y, n_classes)
    if predicted.shape[-1:] != y.shape[-1:] or predicted.ndim == 0:
        raise NoisylibError(
            f"predicted has shape {predicted.shape} and y {y.shape}: needs one prediction per label."
        )
    try:
        predicted, y = np.broadcast_arrays(predicted, y)
    except ValueError:
        raise NoisylibError(
            f"predicted has shape {predicted.shape} and y {y.shape}: the axes before the last do not fit."
        ) from None
    counts = np.zeros((*y.shape[:-1], n_classes, n_classes))
    for run in np.ndindex(y.shape[:-1]):
        cells = np.bincount(y[run] * n_classes + predicted[run], minlength=n_classes**2)
        counts[run] = cells.reshape(n_classes, n_classes)
    sums = counts.sum(-1, keepdims=True)
    return np.divide(counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)


def agreement_forecast(priors: np.ndarray, T: np.ndarray, confusion: np.ndarray) -> Forecast:
    """Return rate and precision of agreement between predictions and observed labels.

    Parameters
    ----------
    priors : (K,) frequencies of the true classes; sum to 1.
    T : (K, K) P(observed j | true y); rows sum to 1.
    confusion : (K, K) P(predicted j | true y) on samples outside the training, from `confusion`; rows sum
        to 1. Rows of `T` and `confusion` do not matter where the prior is 0, and may be NaN there.

    Raises
    ------
    NoisylibError
        Shapes do not fit, a row is no distribution, or a class with a prior has no confusion.
    """
    priors = _priors(priors)
    T, C = _rows("T", T, priors), _rows("confusion", confusion, priors)
    joint = priors[:, None] * T  # (K, K) P(true y, observed j)
    kept = joint * C
    rate, right = kept.sum(), np.trace(kept)
    off = ~np.eye(len(priors), dtype=bool)
    flips, wrong = joint[off].sum(), kept[off].sum()
    return Forecast(
        rate=float(rate),
        precision=float(right / rate) if rate > 0 else float("nan"),
        kappa=float(wrong / flips) if flips > 0 else float("nan"),
    )


def split_drop(
    priors: np.ndarray,
    T_from: np.ndarray,
    C_from: np.ndarray,
    T_to: np.ndarray,
    C_to: np.ndarray,
    measured_from: float,
    measured_to: float,
) -> DropParts:
    """Split the fall of a measured precision between two noises into its causes.

    The causes are changed one after the other, the flips first. The other order gives the two explained
    parts other sizes when both change at once, but the same sum.

    Parameters
    ----------
    priors : (K,) frequencies of the true classes, common to both.
    T_from, T_to : (K, K) transition matrices, for instance of symmetric and of asymmetric noise.
    C_from, C_to : (K, K) clean confusion of the classifier trained under each.
    measured_from, measured_to : precision of the two agreement sets, in [0, 1]; NaN for an empty set.

    Returns
    -------
    The three parts add up to the total. What rests on an undefined precision (nothing agrees) is NaN.

    Raises
    ------
    NoisylibError
        As `agreement_forecast`, or a measured precision is not in [0, 1].
    """
    for name, value in (("measured_from", measured_from), ("measured_to", measured_to)):
        if value < 0 or value > 1:
            raise NoisylibError(f"{name}={value}: a precision is a fraction in [0, 1], not percent.")
    first = agreement_forecast(priors, T_from, C_from).precision
    between = agreement_forecast(priors, T_to, C_from).precision
    last = agreement_forecast(priors, T_to, C_to).precision
    total = float(measured_from) - float(measured_to)
    return DropParts(
        total=total,
        harder_targets=first - between,
        biased_head=between - last,
        unexplained=total - (first - last),
    )


def _priors(priors: np.ndarray) -> np.ndarray:
    """Return (K,) priors if they are a distribution."""
    priors = np.asarray(priors, float)
    if priors.ndim != 1 or not (priors >= 0).all() or not np.isclose(priors.sum(), 1, rtol=0, atol=1e-6):
        raise NoisylibError(
            f"priors={priors.tolist()}: needs one frequency per class, none negative, that sum to 1."
        )
    return priors


def _rows(name: str, matrix: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Return (K, K) with zeros where the prior is 0; every other row must be a distribution."""
    matrix = np.asarray(matrix, float)
    n_classes = len(priors)
    if matrix.shape != (n_classes, n_classes):
        raise NoisylibError(
            f"{name} has shape {matrix.shape}: the {n_classes} priors need ({n_classes}, {n_classes})."
        )
    bad = ~((matrix >= 0).all(1) & np.isclose(matrix.sum(1), 1, rtol=0, atol=1e-6)) & (priors > 0)
    if bad.any():
        y = int(np.flatnonzero(bad)[0])
        why = "has no samples (NaN)" if np.isnan(matrix[y]).any() else f"is {matrix[y].tolist()}"
        raise NoisylibError(
            f"Row {y} of {name} {why}, but class {y} has the prior {priors[y]:.4g}: needs a row that sums "
            "to 1. Measure it on a split that holds every class, or set the prior to 0."
        )
    return np.where(priors[:, None] > 0, matrix, 0.0)
