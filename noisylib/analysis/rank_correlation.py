"""Rank correlation over conditions of several groups (data sets), overall and within them, with intervals.

Conditions of one data set share their images, so a correlation over all of them mixes two questions: which
data sets, and which conditions of a data set. Both are given. The interval redraws conditions within their
group, so it says how far the conditions fix the number, for these groups; how much a single group decides
is said by leaving out one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator

LEAST = 8  # conditions below which no correlation is given
LEAST_WITHIN = 4  # the same inside a group, where only the mean over groups is used


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of two measures over conditions, in [-1, 1].

    Attributes
    ----------
    value, low, high : over all conditions, with a 95 % bootstrap interval; NaN if a measure does not vary,
        or for fewer than eight conditions.
    within : mean over the groups of four conditions and more of the correlation inside; NaN if there is none.
    least, most : lowest and highest value with one group left out; NaN for a single group.
    n, groups : conditions, and groups.
    """

    value: float
    low: float
    high: float
    within: float
    least: float
    most: float
    n: int
    groups: int


def rank_correlation(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> RankCorrelation:
    """Return Spearman's correlation of two measures; conditions where one is NaN do not count.

    Parameters
    ----------
    x, y : (n,) measures.
    groups : (n,) names.
    draws : bootstrap samples; each has as many conditions of every group as there are.

    Raises
    ------
    NoisylibError
        Arrays of different length.
    """
    x, y, groups = np.asarray(x, float), np.asarray(y, float), np.asarray(groups)
    if not x.shape == y.shape == groups.shape or x.ndim != 1:
        raise NoisylibError(f"x, y and groups have shapes {x.shape}, {y.shape} and {groups.shape}: one (n,).")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y, groups = x[known], y[known], groups[known]
    members = [np.flatnonzero(groups == name) for name in dict.fromkeys(groups.tolist())]
    generator = numpy_generator("rank-correlation", len(x), int(seed))
    rows = np.concatenate(
        [part[generator.integers(len(part), size=(draws, len(part)))] for part in members]
        or [np.zeros((draws, 0), int)],
        axis=1,
    )
    drawn = _known(_spearman(x[rows], y[rows], LEAST))
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (np.nan, np.nan)
    inside = _known(np.array([_one(x[part], y[part], LEAST_WITHIN) for part in members]))
    without = _known(np.array([_one(np.delete(x, part), np.delete(y, part)) for part in members]))
    return RankCorrelation(
        value=_one(x, y),
        low=float(low),
        high=float(high),
        within=float(inside.mean()) if len(inside) else np.nan,
        least=float(without.min()) if len(without) else np.nan,
        most=float(without.max()) if len(without) else np.nan,
        n=len(x),
        groups=len(members),
    )


def _one(x: np.ndarray, y: np.ndarray, least: int = LEAST) -> float:
    return float(_spearman(x[None], y[None], least)[0])


def _spearman(x: np.ndarray, y: np.ndarray, least: int) -> np.ndarray:
    """Return the correlations (draws,) of the rows of two arrays (draws, n); NaN where one does not vary."""
    from scipy.stats import rankdata

    if x.shape[1] < least:
        return np.full(len(x), np.nan)
    a, b = (rankdata(values, axis=1) for values in (x, y))
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (a, b))
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), size, out=np.full(len(x), np.nan), where=size > 0)


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
