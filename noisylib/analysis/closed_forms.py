"""What overlap, errors and agreement must be where they can be computed without drawing a sample.

The overlap of two densities f and g is the integral of min(f, g): 1 if they are the same, 0 if they never
meet, and 1 minus their total variation distance. No strictly monotone transform of the values changes it.

The functions named ``bed_...`` hold for Bayes' rule on a `GaussianBed`, which knows the priors, the means
and the covariance but neither the labels nor the noise. What a trained head shows beyond that is what it
failed to learn or learned by heart.

Everything is a Python float or a float64 array; rates and overlaps are fractions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.analysis.forecast import agreement_forecast
from noisylib.data.simulate import GaussianBed
from noisylib.errors import NoisylibError

REACH = 12.0  # standard deviations; what a normal has beyond them, 4e-33, does not show in a float64
STEPS = 961  # of the grid over -REACH .. REACH


def normal_overlap(d: float) -> float:
    """Return the overlap of two normals with equal variance whose means are `d` >= 0 deviations apart."""
    from scipy.special import ndtr

    if not d >= 0:
        raise NoisylibError(f"d={d}: a distance in standard deviations, >= 0, is needed.")
    return float(2 * ndtr(-d / 2))


def overlap_auc(overlap: float) -> float:
    """Return the AUC of telling two normals of equal variance apart that overlap by `overlap`, .5 to 1.

    The best threshold between them has a balanced accuracy of 1 - overlap / 2.
    """
    from scipy.special import ndtr, ndtri

    if not 0 <= overlap <= 1:
        raise NoisylibError(f"overlap={overlap}: a fraction in [0, 1] is needed, not percent.")
    return float(ndtr(-2 * ndtri(overlap / 2) / np.sqrt(2)))


def overlap_of_normals(mean_f: float, sd_f: float, mean_g: float, sd_g: float) -> float:
    """Return the overlap of two normals from the points, at most two, at which their densities cross."""
    from scipy.special import ndtr

    for name, value in (("mean_f", mean_f), ("mean_g", mean_g)):
        if not np.isfinite(value):
            raise NoisylibError(f"{name}={value}: a finite number is needed.")
    _check_positive("sd_f", sd_f)
    _check_positive("sd_g", sd_g)
    # In units of f: f is N(0, 1) and g N(d, s^2). They cross where (s^2 - 1) u^2 + 2 d u = d^2 + 2 s^2 ln s.
    d, s = (mean_g - mean_f) / sd_f, sd_g / sd_f
    if s == 1:
        return normal_overlap(abs(d))
    # The solution of larger size adds two terms of one sign; the other follows from their product without
    # the difference of nearly equal numbers that s near 1 would make of it.
    root = -(d + np.copysign(s * np.sqrt(d**2 + 2 * (s**2 - 1) * np.log(s)), d))
    crossings = np.sort([root / (s**2 - 1), -(d**2 + 2 * s**2 * np.log(s)) / root])
    return _overlap_between(crossings, ndtr, lambda u: ndtr((u - d) / s))


def exponential_overlap(rate_f: float, rate_g: float) -> float:
    """Return the overlap of two exponential distributions with rates `rate_f` and `rate_g`, both > 0."""
    _check_positive("rate_f", rate_f)
    _check_positive("rate_g", rate_g)
    low, high = sorted((rate_f, rate_g))
    if low == high:
        return 1.0
    crossing = np.log1p((high - low) / low) / (high - low)
    return float(1 + np.exp(-high * crossing) - np.exp(-low * crossing))


def identical_overlap(cell_probabilities: Sequence[float], n_clean: int, n_flipped: int) -> float:
    """Return the mean overlap of the histograms of two samples of one and the same distribution.

    The true overlap is 1. Two histograms differ by chance, so the estimate is lower on average, the more so
    the smaller the samples and the more cells there are: overlaps of samples of different size do not
    compare. For large counts it is 1 - sqrt(1/2pi) * sum of sqrt(p (1 - p) (1/n_clean + 1/n_flipped)).

    Parameters
    ----------
    cell_probabilities : (B,) probability of each cell of the histogram; they sum to 1.
    n_clean, n_flipped : sizes of the two samples, >= 1.
    """
    from scipy.special import bdtr

    p = np.asarray(cell_probabilities, np.float64)
    if p.ndim != 1 or not (p >= 0).all() or abs(p.sum() - 1) > 1e-6:
        raise NoisylibError("cell_probabilities must be fractions >= 0 that sum to 1, one per cell.")
    for name, n in (("n_clean", n_clean), ("n_flipped", n_flipped)):
        if not isinstance(n, int | np.integer) or n < 1:
            raise NoisylibError(f"{name}={n!r}: a whole number >= 1 is needed.")
    # The overlap is 1 minus what the shares A of one sample exceed the shares B of the other by, summed over
    # the cells. The mean of that excess is the integral of P(B <= x < A), where A and B are binomial / n and
    # independent: a step function.
    shares = [np.arange(n + 1) / n for n in (n_clean, n_flipped)]
    steps = np.union1d(*shares)
    below = [np.searchsorted(share, steps[:-1], side="right") - 1 for share in shares]
    excess = 0.0
    for cell, times in zip(*np.unique(p, return_counts=True), strict=True):
        A, B = (bdtr(k, n, cell) for k, n in zip(below, (n_clean, n_flipped), strict=True))
        excess += times * float((B * (1 - A)) @ np.diff(steps))
    return 1 - excess


def bed_confusion(bed: GaussianBed) -> np.ndarray:
    """Return (K, K) C[y, j], the probability that Bayes' rule answers j for a sample of class y.

    Exact to rounding for two classes and for more that are equally far from each other (a simplex), with
    any priors. Where means coincide, the answer is the class with the largest prior, the lowest of equals.

    Raises
    ------
    NoisylibError
        The distances between the means differ, so that there is no one-dimensional integral.
    """
    from scipy.special import ndtr

    n_classes = len(bed.priors)
    distance = _equal_distance(bed)
    if distance == 0:
        return np.tile(np.eye(n_classes)[bed.priors.argmax()], (n_classes, 1))
    # Equal distances allow coordinates in which mean c is `a` times the c-th unit vector. Divided by a, the
    # log-posteriors of a sample of class y are then independent normals with deviation 1 and these means,
    # and class j wins with probability: integral of phi(u - mean_j) times all Phi(u - mean_k), k != j.
    a = distance / np.sqrt(2)
    answers = np.flatnonzero(bed.priors)
    shift = np.log(bed.priors[answers]) / a
    # Equal steps integrate a smooth function that vanishes at both ends to rounding error.
    u = np.linspace(-REACH, REACH, STEPS)
    weight = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * (u[1] - u[0])
    C = np.zeros((n_classes, n_classes))
    for y in range(n_classes):
        means = shift + a * (answers == y)
        beaten = ndtr(u + (means[:, None] - means)[..., None])  # (answer j, rival k, u)
        beaten[np.arange(len(answers)), np.arange(len(answers))] = 1
        C[y, answers] = beaten.prod(1) @ weight
    return C


def bed_error(bed: GaussianBed) -> float:
    """Return the error of Bayes' rule, which no classifier beats; beds as in `bed_confusion`."""
    C = bed_confusion(bed)
    return float(bed.priors @ (C - np.diag(C.diagonal())).sum(1))


def bed_balanced_error(bed: GaussianBed) -> float:
    """Return 1 minus the mean recall of Bayes' rule over classes with a prior; beds as in `bed_confusion`.

    Bayes' rule minimises the plain error. With unequal priors its balanced error is not the lowest possible.
    """
    C = bed_confusion(bed)
    return float((C - np.diag(C.diagonal())).sum(1)[bed.priors > 0].mean())


def bed_agreement(bed: GaussianBed, T: np.ndarray) -> tuple[float, float]:
    """Return how often Bayes' rule says the observed label, and how often that label then is right.

    Parameters
    ----------
    bed : as in `bed_confusion`.
    T : (K, K) P(observed j | true y); which sample of a class flips does not depend on its features.

    Returns
    -------
    rate, precision : fractions; the precision is NaN if the rate is 0.
    """
    forecast = agreement_forecast(bed.priors, T, bed_confusion(bed))
    return forecast.rate, forecast.precision


def bed_loss_overlap(bed: GaussianBed, T: np.ndarray) -> float:
    """Return the overlap of the losses of rightly and wrongly labelled samples under Bayes' rule, K = 2.

    The loss of a sample is -log P(observed label | x) with the true posterior of the clean classes. With
    equal priors the overlap is 2 Phi(-D/2) for any `T`, D being the Mahalanobis distance of the means: twice
    Bayes' error. It tells how separable the classes are, and nothing about the noise.

    Parameters
    ----------
    bed : two classes with different means and positive priors.
    T : (2, 2) P(observed j | true y), rows sum to 1; flips do not depend on the features given y.

    Raises
    ------
    NoisylibError
        Another bed, or a T that flips nothing or everything.
    """
    weights, centres = _margins(bed, T)
    crossings = _crossings(weights, centres)
    cdfs = [_mixture_cdf(w, m) for w, m in zip(weights, centres, strict=True)]
    return _overlap_between(crossings, *cdfs)


def _margins(bed: GaussianBed, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and means (2 groups: clean, flipped; 2 true classes) of normals with deviation 1.

    They are the distributions of the margin, the log-odds of the observed against the other label in
    units of their deviation D. The loss is log(1 + exp(-D margin)): a falling function, so the overlap of
    the margins is that of the losses. The log-odds of class 1 are N(-D^2/2, D^2) in class 0 and
    N(D^2/2, D^2) in class 1, both shifted by the log-ratio of the priors.
    """
    if len(bed.priors) != 2:
        raise NoisylibError(
            f"A bed of {len(bed.priors)} classes has no closed form for the overlap of losses, two classes "
            "have: measure it on a large sample with noisylib.analysis.overlap and bed.posterior."
        )
    T = np.asarray(T, np.float64)
    if T.shape != (2, 2) or not (T >= 0).all() or not np.allclose(T.sum(1), 1, rtol=0, atol=1e-6):
        raise NoisylibError(f"T={T.tolist()}: (2, 2) probabilities P(observed j | true y) are needed.")
    D = _equal_distance(bed)
    if D == 0 or not (bed.priors > 0).all():
        raise NoisylibError(
            f"The means are {D:g} apart and priors={bed.priors.tolist()}: the loss has a density only if "
            "distance and priors are positive."
        )
    lean = np.log(bed.priors[1] / bed.priors[0]) / D
    clean, flipped = bed.priors * T.diagonal(), bed.priors * (1 - T.diagonal())
    if clean.sum() == 0 or flipped.sum() == 0:
        raise NoisylibError(f"T={T.tolist()} flips nothing or everything: an overlap needs both groups.")
    weights = np.stack([clean / clean.sum(), flipped / flipped.sum()])
    # The true class y is the observed one in the first row and the other one in the second.
    return weights, np.array([[D / 2 - lean, D / 2 + lean], [-D / 2 + lean, -D / 2 - lean]])


def _crossings(weights: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the sorted points at which the two mixtures (rows) of normals are equally dense."""
    from scipy.optimize import brentq
    from scipy.special import logsumexp

    def log_ratio(t: np.ndarray) -> np.ndarray:
        apart = -((np.asarray(t)[..., None, None] - centres) ** 2) / 2
        f, g = np.moveaxis(logsumexp(apart, axis=-1, b=weights), -1, 0)
        return f - g

    grid = np.unique(centres[..., None] + np.linspace(-REACH, REACH, STEPS))
    sides = log_ratio(grid) > 0
    changes = np.flatnonzero(sides[1:] != sides[:-1])
    return np.array([brentq(log_ratio, grid[i], grid[i + 1], xtol=1e-14) for i in changes])


def _mixture_cdf(weights: np.ndarray, centres: np.ndarray):
    from scipy.special import ndtr

    return lambda t: ndtr(t[:, None] - centres) @ weights


def _overlap_between(crossings: np.ndarray, F, G) -> float:
    """Return the overlap of two distribution functions whose densities cross at sorted points and only there.

    Between two crossings one density is below the other, so its mass there is the integral of the minimum.
    """
    masses = [np.diff(np.r_[0.0, cdf(crossings), 1.0]) for cdf in (F, G)]
    return float(np.minimum(*masses).sum())


def _equal_distance(bed: GaussianBed) -> float:
    """Return the Mahalanobis distance between any two means, or raise where they differ."""
    apart = np.sqrt(bed.squared_distances(bed.means))[np.triu_indices(len(bed.priors), 1)]
    if np.ptp(apart) > 1e-6 * apart.max():
        raise NoisylibError(
            f"The means of the bed are {apart.min():.4g} to {apart.max():.4g} standard deviations apart: a "
            "closed form needs two classes, or equal distances as in GaussianBed.simplex. Measure it on a "
            "large sample with bed.bayes_predict."
        )
    return float(apart.mean())


def _check_positive(argument: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise NoisylibError(f"{argument}={value}: a finite number > 0 is needed.")
