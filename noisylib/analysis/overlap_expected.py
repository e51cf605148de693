"""What each estimator of overlap gives on average, from distribution functions and sample sizes alone.

An estimator is a function of shares p of the clean and q of the flipped samples in some cells, and those
shares are random. The absolute difference of two random shares is too large on average (most so where the
shares are nearly equal), so their common part is too small. Differences of shares are taken as normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from noisylib.analysis.overlap_cells import N_BINS, N_QUANTILES, TAIL

PARABOLIC_MAXIMUM = 0.9961930  # mean of max W(t) - t^2/2 over all t, W a two-sided Brownian motion
KOLMOGOROV_MEAN = float(np.sqrt(np.pi / 2) * np.log(2))  # of sqrt(n) times the distance, equal distributions
STEPS, KERNEL_STEPS = 10_001, 1_501  # of the grids that stand for the line
HERMITE = 24  # nodes of the convolution with a Gaussian


@dataclass(frozen=True, eq=False)
class Law:
    """A distribution of log-loss: density and distribution function of arrays, and where its mass is."""

    pdf: Callable[[np.ndarray], np.ndarray]
    cdf: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TwoLaws:
    """Clean and flipped log-losses with their sample sizes; the means of the estimators of overlap."""

    clean: Law
    flipped: Law
    n_clean: int
    n_flipped: int

    def histogram(self) -> float:
        """Return the mean of the plain shared-bin histogram."""
        return self._shared_mass(self._edges(), 1)

    def histogram_corrected(self) -> float:
        """Return the mean of 2 * estimate - mean of bootstrap draws.

        A draw scatters around the shares of the sample as they scatter around the true ones: its difference
        of shares has twice the variance.
        """
        edges = self._edges()
        return 2 * self._shared_mass(edges, 1) - self._shared_mass(edges, 2)

    def quantile(self) -> float:
        """Return the mean of the estimate in cells with equally many samples."""
        return self._shared_mass(self._pooled(np.arange(1, N_QUANTILES) / N_QUANTILES), 1)

    def kde(self) -> float:
        """Return the mean of the overlap of two kernel density estimates with Silverman's bandwidths.

        A kernel turns a density f into its convolution with N(0, h^2) - a normal into a normal with variance
        s^2 + h^2 - and the estimate at one point has the variance (f * K^2 - (f * K)^2) / n.
        """
        y = np.linspace(*self._support(margin=0.1), KERNEL_STEPS)
        step = y[1] - y[0]
        mean, variance = [], []
        for law, n in ((self.clean, self.n_clean), (self.flipped, self.n_flipped)):
            mass = law.pdf(y) * step
            h = (0.75 * n) ** -0.2 * np.sqrt(mass @ y**2 - (mass @ y) ** 2)
            smooth = _convolve(law.pdf, y, h)
            squared = _convolve(law.pdf, y, h / np.sqrt(2)) / (2 * np.sqrt(np.pi) * h)
            mean.append(smooth)
            variance.append((squared - smooth**2) / n)
        return float(1 - mean_absolute(mean[0] - mean[1], sum(variance)).sum() * step / 2)

    def ks(self) -> float:
        """Return the mean of 1 minus the Kolmogorov-Smirnov distance of the samples.

        Around the place of the largest distance its estimate is a parabola of curvature c = |f' - g'| plus a
        Brownian motion of variance v = f/n_clean + g/n_flipped per unit, whose maximum is above the top of
        the parabola by `PARABOLIC_MAXIMUM` v^(2/3) c^(-1/3) on average.

        Source: Janson, Louchard & Martin-Loef 2010, "The maximum of Brownian motion with parabolic drift".
        """
        y = np.linspace(*self._support(), STEPS)
        gap = np.abs(self.clean.cdf(y) - self.flipped.cdf(y))
        top = int(gap.argmax())
        if gap[top] < 1e-12:
            return 1 - KOLMOGOROV_MEAN * float(np.sqrt(1 / self.n_clean + 1 / self.n_flipped))
        f, g = self.clean.pdf(y), self.flipped.pdf(y)
        curvature = abs(np.gradient(f - g, y)[top])
        variance = f[top] / self.n_clean + g[top] / self.n_flipped
        return float(1 - gap[top] - PARABOLIC_MAXIMUM * variance ** (2 / 3) * curvature ** (-1 / 3))

    def _shared_mass(self, edges: np.ndarray, spread: float) -> float:
        """Return the mean sum of smaller shares whose differences have `spread` times their variance."""
        p, q = (np.diff(np.r_[0.0, law.cdf(edges), 1.0]) for law in (self.clean, self.flipped))
        variance = p * (1 - p) / self.n_clean + q * (1 - q) / self.n_flipped
        return float(1 - mean_absolute(p - q, spread * variance).sum() / 2)

    def _edges(self) -> np.ndarray:
        """Return the edges of the headline histogram for infinitely many samples of both groups."""
        low, high = self._pooled(np.array([TAIL, 100 - TAIL]) / 100)
        return np.linspace(low, high, N_BINS + 1)

    def _pooled(self, fractions: np.ndarray) -> np.ndarray:
        """Return quantiles of both groups together."""
        y = np.linspace(*self._support(), STEPS)
        n = self.n_clean + self.n_flipped
        share = (self.n_clean * self.clean.cdf(y) + self.n_flipped * self.flipped.cdf(y)) / n
        return np.interp(fractions, share, y)

    def _support(self, margin: float = 0.0) -> tuple[float, float]:
        low, high = min(self.clean.low, self.flipped.low), max(self.clean.high, self.flipped.high)
        return low - margin * (high - low), high + margin * (high - low)


def mean_absolute(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return E|X| of normals X (the mean of a folded normal)."""
    from scipy.special import erf

    sd = np.sqrt(np.maximum(variance, 0))  # a difference of two equal numbers may be -1e-20
    ratio = np.divide(mean, sd * np.sqrt(2), out=np.full(np.shape(sd), np.inf), where=sd > 0)
    return sd * np.sqrt(2 / np.pi) * np.exp(-(ratio**2)) + np.abs(mean * erf(ratio))


def _convolve(pdf: Callable[[np.ndarray], np.ndarray], y: np.ndarray, h: float) -> np.ndarray:
    """Return the density of Y + h Z at `y`, Z standard normal, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE)
    return sum(w * pdf(y - h * z) for z, w in zip(nodes, weights / weights.sum(), strict=True))


def normal_law(mean: float, sd: float) -> Law:
    """Return the law of log-losses that are normal."""
    return margin_law([1.0], [mean], sd, lambda y: y, np.ones_like, mean - 9 * sd, mean + 9 * sd)


def exponential_law(rate: float) -> Law:
    """Return the law of the logarithm of losses that are exponentially distributed."""
    return Law(
        lambda y: rate * np.exp(y - rate * np.exp(np.minimum(y, 50))),
        lambda y: -np.expm1(-rate * np.exp(np.minimum(y, 50))),
        -20.0 - np.log(rate),
        4.0 - np.log(rate),
    )


def bed_law(weights: list[float], means: list[float], sd: float) -> Law:
    """Return the law of log-loss y if the log-odds m of the observed label are a mixture of normals.

    The loss is log(1 + exp(-m)), so m = -log(exp(e^y) - 1), which falls as y rises.
    """

    def to_margin(y: np.ndarray) -> np.ndarray:
        u = np.exp(np.minimum(y, 50))
        return u + np.log(-np.expm1(-u))

    def slope(y: np.ndarray) -> np.ndarray:
        u = np.exp(np.minimum(y, 50))
        return u / -np.expm1(-u)

    low, high = (np.log(np.logaddexp(0, -m)) for m in (max(means) + 7 * sd, min(means) - 7 * sd))
    return margin_law(weights, [-m for m in means], sd, to_margin, slope, low, high)


def margin_law(
    weights: list[float],
    means: list[float],
    sd: float,
    transform: Callable[[np.ndarray], np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
) -> Law:
    """Return the law of Y if transform(Y), rising with derivative `slope`, is a mixture of normals."""
    from scipy.special import ndtr

    parts = list(zip(weights, means, strict=True))

    def pdf(y: np.ndarray) -> np.ndarray:
        z = [(w, (transform(y) - m) / sd) for w, m in parts]
        return slope(y) / (sd * np.sqrt(2 * np.pi)) * sum(w * np.exp(-(u**2) / 2) for w, u in z)

    def cdf(y: np.ndarray) -> np.ndarray:
        return sum(w * ndtr((transform(y) - m) / sd) for w, m in parts)

    return Law(pdf, cdf, low, high)
