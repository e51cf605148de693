"""How much the losses of clean and of mislabelled samples overlap: the integral of min(f, g).

f is the density of the loss over clean samples, g over flipped ones, the loss that of the observed label.
The overlap is 1 if the two are equal and 0 if some split tells them apart without an error; it is 1 minus
their total variation distance, and no strictly monotone map of the losses changes it. It mostly says how
separable the classes are, so read it next to the error on clean test labels.

Of the estimators, the histogram is the headline:

histogram  100 equal-width bins of log-loss between the 0.5 and 99.5 percentiles of the finite losses > 0, and
           one overflow cell at either end. Sampling makes it too small, coarse bins too large.
quantile   50 cells with equally many samples. The same two errors; exactly invariant under monotone maps.
kde        Gaussian kernel density estimates of log-loss, bandwidth by Silverman's rule in each group. A
           kernel widens both groups, which mostly makes the overlap too large.
ks         1 minus the Kolmogorov-Smirnov distance: equal to the overlap where the densities cross once, and
           an upper bound of it otherwise.

A loss of zero is below every other one and an infinite loss above: in the overflow cells, or, for kernels,
at the smallest and the largest of the others. (In float32 a loss below 1.2e-7 becomes zero, and a number put
in its place would stretch the bins to it.) Constant losses overlap entirely, 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.analysis.overlap_cells import CELLS, N_BINS, bin_codes, bin_edges, log_losses
from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import numpy_generator

ESTIMATORS = tuple(CELLS)


def overlap(
    losses: np.ndarray,
    flipped: np.ndarray,
    estimator: str = "histogram",
    *,
    weights: np.ndarray | None = None,
) -> float:
    """Return the overlap of clean and flipped losses, in [0, 1]; 0 means perfectly separable.

    Parameters
    ----------
    losses : (N,) nats, >= 0; infinity is allowed.
    flipped : (N,) bool, whether the observed label differs from the true one.
    estimator : one of `ESTIMATORS`.
    weights : (N,) >= 0, how often each sample counts. Bins and bandwidths do not depend on them.

    Raises
    ------
    NoisylibError
        No clean or no flipped sample (or none with a weight), NaN or negative losses, shapes that differ.
    """
    check_name("estimator", estimator, ESTIMATORS)
    losses, flipped = check_losses(losses, flipped)
    cells = CELLS[estimator](losses, flipped)
    weights = np.ones(len(losses)) if weights is None else _check_weights(weights, flipped)
    return float(cells.measure(cells.counts(weights * ~flipped), cells.counts(weights * flipped)))


@dataclass(frozen=True, eq=False)
class LossHistogram:
    """The bins of the headline estimator with their counts.

    Attributes
    ----------
    edges : (bins + 1,) of log-loss in log nats, increasing; all equal if the percentiles are.
    clean, flipped : (bins + 2,) int64 counts; the first and the last cell hold what lies beyond the edges.
    """

    edges: np.ndarray
    clean: np.ndarray
    flipped: np.ndarray


def loss_histogram(losses: np.ndarray, flipped: np.ndarray, *, bins: int = N_BINS) -> LossHistogram:
    """Return the shared histogram of log-loss; arguments and errors as in `overlap`."""
    losses, flipped = check_losses(losses, flipped)
    _check_whole("bins", bins, 1)
    x = log_losses(losses)
    edges = bin_edges(x, bins)
    code = bin_codes(x, edges)
    clean, noisy = (np.bincount(code[group], minlength=bins + 2) for group in (~flipped, flipped))
    return LossHistogram(edges, clean, noisy)


def equal_size_overlap(
    losses: np.ndarray,
    flipped: np.ndarray,
    size: int,
    *,
    repeats: int = 20,
    seed: int = 0,
    estimator: str = "histogram",
) -> float:
    """Return the overlap of `size` clean and `size` flipped samples, mean over random subsets.

    Small samples look less overlapping than large ones, so conditions with different numbers of flips are
    only comparable at a common size. Each subset is drawn without replacement and gets bins of its own.

    Raises
    ------
    NoisylibError
        As in `overlap`, and for a size above the number of clean or flipped samples.
    """
    losses, flipped = check_losses(losses, flipped)
    _check_whole("size", size, 1)
    _check_whole("repeats", repeats, 1)
    groups = [np.flatnonzero(~flipped), np.flatnonzero(flipped)]
    if size > min(map(len, groups)):
        raise NoisylibError(
            f"size={size} is more than there is: {len(groups[0])} clean and {len(groups[1])} flipped "
            "samples. Choose the smallest group of all conditions that are compared."
        )
    generator = numpy_generator("overlap-equal-size", int(size), int(seed))
    values = []
    for _ in range(repeats):
        rows = np.concatenate([generator.choice(group, size, replace=False) for group in groups])
        values.append(overlap(losses[rows], flipped[rows], estimator))
    return float(np.mean(values))


def class_overlap(
    losses: np.ndarray,
    flipped: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    min_size: int = 20,
    estimator: str = "histogram",
) -> np.ndarray:
    """Return the overlap among the samples of each observed label, (K,).

    NaN for a class with fewer than `min_size` clean or flipped samples; bins are those of the class.

    Parameters
    ----------
    labels : (N,) int, observed labels in 0..n_classes - 1.
    """
    check_name("estimator", estimator, ESTIMATORS)
    losses, flipped = check_losses(losses, flipped)
    _check_whole("min_size", min_size, 1)
    _check_whole("n_classes", n_classes, 1)
    labels = np.asarray(labels)
    if labels.shape != losses.shape or labels.dtype.kind not in "iu":
        raise NoisylibError(
            f"labels has shape {labels.shape} and dtype {labels.dtype}: whole numbers, one per loss, of "
            f"shape {losses.shape} are needed."
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise NoisylibError(
            f"labels go from {labels.min()} to {labels.max()}: they must be in 0..{n_classes - 1}."
        )
    values = np.full(n_classes, np.nan)
    for c in range(n_classes):
        members = labels == c
        n_flipped = np.count_nonzero(flipped & members)
        if min(n_flipped, np.count_nonzero(members) - n_flipped) >= min_size:
            values[c] = overlap(losses[members], flipped[members], estimator)
    return values


def check_losses(losses: np.ndarray, flipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return losses as float64 and flipped as bool, both (N,), or raise NoisylibError."""
    losses, flipped = np.asarray(losses), np.asarray(flipped)
    if losses.ndim != 1 or losses.dtype.kind not in "iuf":
        raise NoisylibError(
            f"losses has shape {losses.shape} and dtype {losses.dtype}: numbers of shape (N,) are needed."
        )
    if flipped.shape != losses.shape or flipped.dtype != bool:
        raise NoisylibError(
            f"flipped has shape {flipped.shape} and dtype {flipped.dtype}: booleans, one per loss, of "
            f"shape {losses.shape} are needed (y_noisy != y_true)."
        )
    bad = ~(losses >= 0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise NoisylibError(
            f"losses[{first}]={losses[first]}: {int(bad.sum())} losses are NaN or negative. Losses in "
            "nats are >= 0 (infinity is allowed): pass -log p of the observed label, not log p or a score."
        )
    n_flipped = np.count_nonzero(flipped)
    if n_flipped in (0, len(flipped)):
        raise NoisylibError(
            f"flipped marks {n_flipped} of {len(flipped)} samples: an overlap needs clean and flipped "
            "samples. There is none to measure without label noise."
        )
    return losses.astype(np.float64), flipped


def _check_weights(weights: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if weights.shape != flipped.shape or not (np.isfinite(weights) & (weights >= 0)).all():
        raise NoisylibError(
            f"weights has shape {weights.shape}: finite numbers >= 0 of shape {flipped.shape} are needed."
        )
    if not (weights[flipped].any() and weights[~flipped].any()):
        raise NoisylibError("weights are all 0 in the clean or in the flipped samples: nothing to compare.")
    return weights


def _check_whole(argument: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise NoisylibError(f"{argument}={value!r}: a whole number >= {least} is needed.")
