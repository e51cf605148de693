"""The four estimators of overlap as one thing: cells fixed from the data, and a measure of what is in them.

An estimate needs the weight of the clean and of the flipped samples in each cell and nothing else, so a
bootstrap only has to count again. Cells come from the data of both groups and never from the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]

TAIL = 0.5  # percent of all samples beyond the equal-width bins, on either side
N_BINS, N_QUANTILES = 100, 50
STEPS_PER_BANDWIDTH, MAX_STEPS, MARGIN = 20, 2**16, 8.0  # of the grid of the kernel density estimate


@dataclass(frozen=True)
class Cells:
    """Which cell each sample is in, and the overlap of two groups given their weight per cell.

    Attributes
    ----------
    code : (N,) int64 in 0..size - 1.
    size : number of cells C.
    measure : of the weights of clean and of flipped samples, both (..., C), not normalised -> (...) in
        [0, 1]; NaN where a group has no weight.
    """

    code: np.ndarray
    size: int
    measure: Measure

    def counts(self, weights: np.ndarray) -> np.ndarray:
        """Return the weight in each cell, (C,), of samples that weigh `weights` (N,)."""
        return np.bincount(self.code, weights, minlength=self.size)


def log_losses(losses: np.ndarray) -> np.ndarray:
    """Return the logarithm of losses in nats, float64; -inf of a loss of zero."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(losses, np.float64))


def bin_edges(x: np.ndarray, bins: int) -> np.ndarray:
    """Return the edges (bins + 1,) of equal bins between two percentiles of the finite log-losses `x`."""
    finite = x[np.isfinite(x)]
    low, high = np.percentile(finite, [TAIL, 100 - TAIL]) if len(finite) else (0.0, 0.0)
    return np.linspace(low, high, bins + 1)


def bin_codes(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the cell of each log-loss: 0 below the edges, len(edges) above; the last bin is closed.

    If all edges are one number, the cells are below it, on it and above it.
    """
    code = np.searchsorted(edges, x, side="right")
    code[x == edges[-1]] = len(edges) - 1
    return code


def histogram_cells(losses: np.ndarray, flipped: np.ndarray) -> Cells:
    """Return 100 equal-width bins of log-loss with an overflow cell at either end."""
    x = log_losses(losses)
    return Cells(bin_codes(x, bin_edges(x, N_BINS)), N_BINS + 2, shared_mass)


def quantile_cells(losses: np.ndarray, flipped: np.ndarray) -> Cells:
    """Return 50 cells with the same number of samples; equal losses are never separated.

    Edges are losses that occur, not values between two of them, so that any strictly increasing map of
    the losses leaves every sample in its cell.
    """
    last = np.ceil(np.arange(1, N_QUANTILES) * len(losses) / N_QUANTILES).astype(int) - 1
    return Cells(np.searchsorted(np.sort(losses)[last], losses, side="left"), N_QUANTILES, shared_mass)


def ks_cells(losses: np.ndarray, flipped: np.ndarray) -> Cells:
    """Return one cell per distinct loss, in order."""
    values, code = np.unique(losses, return_inverse=True)
    return Cells(code, len(values), one_minus_ks)


def kde_cells(losses: np.ndarray, flipped: np.ndarray) -> Cells:
    """Return a grid over the log-losses, whose measure smooths each group with its own Gaussian kernel.

    The grid has twenty steps per bandwidth (of the narrower kernel), which widens a kernel by one part in
    ten thousand. Bandwidths below a step, which happen if one group is 65,536 times narrower than all
    losses together, count as one step. Infinite log-losses are put at the nearest finite one. A group
    without spread has no bandwidth of its own and takes that of the other; if neither has one, the cells
    are the distinct losses.
    """
    x = log_losses(losses)
    finite = x[np.isfinite(x)]
    x = np.clip(x, finite.min(), finite.max()) if len(finite) else np.zeros(len(x))
    widths = [silverman(x[~flipped]), silverman(x[flipped])]
    if not any(widths):
        values, code = np.unique(x, return_inverse=True)
        return Cells(code, len(values), shared_mass)
    widths = [width or max(widths) for width in widths]
    start, end = x.min() - MARGIN * max(widths), x.max() + MARGIN * max(widths)
    step = max(min(widths) / STEPS_PER_BANDWIDTH, (end - start) / MAX_STEPS)
    size = int(np.ceil((end - start) / step)) + 1
    code = np.rint((x - start) / step).astype(np.int64)
    return Cells(code, size, _SmoothedMass([max(width / step, 1.0) for width in widths]))


def silverman(x: np.ndarray) -> float:
    """Return the bandwidth (3 n / 4)^(-1/5) s of a Gaussian kernel; 0 for a sample without spread.

    s is the standard deviation with n - 1, as `scipy.stats.gaussian_kde` takes it.
    """
    if x.min() == x.max():
        return 0.0
    return float((0.75 * len(x)) ** -0.2 * x.std(ddof=1))


def shared_mass(clean: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return the sum over cells of the smaller share; weights (..., C) -> (...).

    One division at the end: with whole weights, equal shares then give exactly 1.
    """
    n_clean, n_flipped = clean.sum(-1), flipped.sum(-1)
    smaller = np.minimum(clean * n_flipped[..., None], flipped * n_clean[..., None]).sum(-1)
    return _ratio(smaller, n_clean * n_flipped)


def one_minus_ks(clean: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return 1 minus the largest distance between the distribution functions; weights (..., C) -> (...)."""
    n_clean, n_flipped = clean.sum(-1), flipped.sum(-1)
    gap = np.cumsum(clean, -1) * n_flipped[..., None] - np.cumsum(flipped, -1) * n_clean[..., None]
    product = n_clean * n_flipped
    return _ratio(product - np.abs(gap).max(-1), product)


@dataclass(frozen=True)
class _SmoothedMass:
    """`shared_mass` after a Gaussian kernel: its bandwidths for clean and flipped, in steps of the grid."""

    widths: list[float]

    def __call__(self, clean: np.ndarray, flipped: np.ndarray) -> np.ndarray:
        smooth = [self._smooth(c, width) for c, width in zip((clean, flipped), self.widths, strict=True)]
        return shared_mass(*smooth)

    def _smooth(self, counts: np.ndarray, width: float) -> np.ndarray:
        """Convolve `counts` (..., C) with a Gaussian, by Fourier transform; the margin takes tails."""
        frequency = np.fft.rfftfreq(counts.shape[-1])
        kernel = np.exp(-0.5 * (2 * np.pi * frequency * width) ** 2)
        smooth = np.fft.irfft(np.fft.rfft(counts) * kernel, counts.shape[-1])
        return np.maximum(smooth, 0)  # rounding leaves -1e-17 where there is nothing


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole within [0, 1]; NaN where whole is 0."""
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return np.clip(out, 0, 1)


CELLS: dict[str, Callable[[np.ndarray, np.ndarray], Cells]] = {
    "histogram": histogram_cells,
    "quantile": quantile_cells,
    "kde": kde_cells,
    "ks": ks_cells,
}
