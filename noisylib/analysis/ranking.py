"""Ranks of methods over conditions, the Friedman test and what the Nemenyi test can tell apart.

All functions start from scores as `noisylib.analysis.scores.condition_scores` returns them: (M, k), one row
per condition, one column per method, higher is better. The tests take conditions as independent. Conditions
of one data set share images, so p-values are too small: `noisylib.analysis.bootstrap` resamples data sets.

References
----------
Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7.
Iman and Davenport (1980), Approximations of the critical region of the Friedman statistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.scores import listed
from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

DECIMALS = 9  # equal results that differ by rounding are ties


def checked(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores, rounded, if every condition occurs once and has a score of every method.

    Raises
    ------
    NoisylibError
        A score is not a finite number, or a condition or a method occurs twice. Up to five are listed.
    """
    bad = scores.index[~np.isfinite(scores.to_numpy(float)).all(axis=1)]
    if len(bad):
        raise NoisylibError(
            f"Conditions without a score of every method: {len(bad)} of {len(scores)}. {listed(bad)} Leave "
            "them out for all methods: condition_blocks(rows, incomplete='leave_out') does, and says which."
        )
    for axis in (scores.index, scores.columns):
        if not axis.is_unique:
            raise NoisylibError(f"Occurs more than once: {listed(axis[axis.duplicated()].unique())}")
    return scores.round(DECIMALS)


def rank_matrix(scores: pd.DataFrame) -> pd.DataFrame:
    """Return (M, k) ranks within each condition: 1 is the best, ties share their average."""
    return checked(scores).rank(axis=1, ascending=False)


def win_matrix(scores: pd.DataFrame) -> pd.DataFrame:
    """Return (M, k) wins within each condition: they sum to 1, and ties share it equally."""
    rounded = checked(scores)
    best = rounded.eq(rounded.max(axis=1), axis=0)
    return best.div(best.sum(axis=1), axis=0)


def rank_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank (1 is best) and number of wins of each method, best mean rank first."""
    import pandas as pd

    table = pd.DataFrame({"mean_rank": rank_matrix(scores).mean(), "wins": win_matrix(scores).sum()})
    return table.sort_values("mean_rank", kind="stable").rename_axis("method")


@dataclass(frozen=True)
class Friedman:
    """Whether the methods differ at all.

    Attributes
    ----------
    statistic, df, p_value : of Friedman's test, corrected for ties; chi-squared with df = k - 1.
    F, F_df, F_p_value : the less conservative form of Iman and Davenport, from the same statistic.
    kendall_w : agreement of the conditions on the order of the methods, 0 (none) to 1 (all the same).
    n_conditions, n_methods : M and k.
    """

    statistic: float
    df: int
    p_value: float
    F: float
    F_df: tuple[int, int]
    F_p_value: float
    kendall_w: float
    n_conditions: int
    n_methods: int


def friedman(scores: pd.DataFrame) -> Friedman:
    """Test whether all methods have the same distribution of ranks; all tied gives statistic 0 and p = 1.

    Raises
    ------
    NoisylibError
        There are fewer than three methods or two conditions.
    """
    from scipy import stats

    rounded = checked(scores)
    m, k = rounded.shape
    if k < 3 or m < 2:
        raise NoisylibError(
            f"The Friedman test needs at least 3 methods and 2 conditions, the scores have {k} and {m}."
        )
    tied = (rounded.max(axis=1) == rounded.min(axis=1)).all()  # 0 / 0 in the correction for ties
    statistic = 0.0 if tied else float(stats.friedmanchisquare(*rounded.to_numpy().T).statistic)
    left = m * (k - 1) - statistic
    identical = left < 1e-9 * m * k  # every condition orders the methods alike, up to rounding
    F = math.inf if identical else (m - 1) * statistic / left
    F_df = (k - 1, (k - 1) * (m - 1))
    return Friedman(
        statistic,
        k - 1,
        friedman_p(statistic, k),
        F,
        F_df,
        float(stats.f.sf(F, *F_df)),
        statistic / (m * (k - 1)),
        m,
        k,
    )


def friedman_p(statistic: float, k: int) -> float:
    """Return the p-value of Friedman's statistic for `k` methods: chi-squared, k - 1 degrees of freedom."""
    from scipy import stats

    return float(stats.chi2.sf(statistic, k - 1))


def critical_difference(k: int, m: int, alpha: float = 0.05) -> float:
    """Return by how much the mean ranks of two methods must differ in the Nemenyi test.

    ``q sqrt(k (k + 1) / (6 m))`` with q the quantile of the studentized range (infinite degrees of freedom)
    divided by sqrt(2) [Demšar 2006, section 3.2.2].

    Parameters
    ----------
    k, m : number of methods and of conditions.
    alpha : probability that any two of `k` equal methods differ by this much, in (0, 1).
    """
    from scipy import stats

    if k < 2 or m < 1 or not 0 < alpha < 1:
        raise NoisylibError(
            f"k={k}, m={m}, alpha={alpha}: needs at least 2 methods, 1 condition and alpha between 0 and 1."
        )
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(k * (k + 1) / (6 * m)))


def cliques(mean_ranks: pd.Series, cd: float) -> list[tuple[str, ...]]:
    """Return the maximal groups of two or more methods that do not differ, each best first.

    Two methods differ if their mean ranks are at least `cd` apart; these are the bars of a
    critical-difference diagram. A method in no group differs from all others.
    """
    ordered = mean_ranks.sort_values(kind="stable")
    values, names = ordered.to_numpy(), list(ordered.index)
    # The first place at or beyond the reach of each method: its group ends before it.
    ends = [int(np.sum(values - value < cd)) for value in values]
    return [
        tuple(names[start:end])
        for start, end in enumerate(ends)
        if end - start > 1 and (start == 0 or end > ends[start - 1])
    ]
