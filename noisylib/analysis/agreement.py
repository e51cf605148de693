"""How far two rankings of the same methods agree, when one thing between them was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.ranking import rank_matrix
from noisylib.analysis.scores import CONDITION, SEEDS, condition_scores
from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

MIN_CLUSTERS = 3  # with fewer, resampling them says nothing


@dataclass(frozen=True)
class Pair:
    """Scores of the same methods in the same conditions, before and after one change.

    Attributes
    ----------
    before, after : (M, k) fractions with equal rows (conditions) and columns (methods).
    halves : as `before`, from the first and from the last half of its seeds: what changes when nothing
        but the seeds does; None where there is one seed.
    """

    before: pd.DataFrame
    after: pd.DataFrame
    halves: tuple[pd.DataFrame, pd.DataFrame] | None = None


@dataclass(frozen=True)
class Agreement:
    """How far the ranking after a change agrees with the one before it.

    Attributes
    ----------
    tau : Kendall's rank correlation (tau-b) of the mean ranks, in [-1, 1]; NaN if all methods are tied.
    low, high : percentile interval over resampled clusters; NaN with fewer than `MIN_CLUSTERS`.
    ranks : index method, columns before, after and move (after minus before) of the mean rank.
    same_winner : fraction of conditions in which a best method stays one.
    conditions, clusters : how many there are.
    """

    tau: float
    low: float
    high: float
    ranks: pd.DataFrame
    same_winner: float
    conditions: int
    clusters: int


def matched(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    free: Sequence[str] = (),
    score: str = "balanced_accuracy",
) -> Pair | None:
    """Return the scores of two tables in the conditions and seeds of both; None if they share none.

    The clean condition counts once.

    Parameters
    ----------
    before, after : one row per run.
    free : columns of `CONDITION` that were changed: within each table they have one value per condition,
        and are left out of the comparison.

    Raises
    ------
    NoisylibError
        A table is incomplete or has duplicates (so if a free column has two values), or the methods differ.
    """
    freed = dict.fromkeys(free, "any")
    before, after = before.assign(**freed), after.assign(**freed)
    every = before
    # All seeds of the archive would make one side steadier than the other.
    before, after = _shared(before, after, SEEDS), _shared(after, before, SEEDS)
    if set(before["method"]) != set(after["method"]) and len(before) and len(after):
        only = sorted(set(before["method"]) ^ set(after["method"]))
        raise NoisylibError(
            f"Only one of the two tables has the methods {', '.join(only)}: compare equal ones."
        )
    before, after = _shared(before, after, CONDITION), _shared(after, before, CONDITION)
    if before.empty or after.empty:
        return None
    scores = [condition_scores(rows, score=score, distinct=True) for rows in (before, after)]
    every = _shared(every, before, CONDITION)
    return Pair(scores[0], scores[1], seed_halves(every, score=score))


def _shared(rows: pd.DataFrame, others: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the rows whose values in `columns` occur in `others`."""
    import pandas as pd

    keys = pd.MultiIndex.from_frame(others[columns])
    return rows[pd.MultiIndex.from_frame(rows[columns]).isin(keys)]


def seed_halves(
    rows: pd.DataFrame, *, score: str = "balanced_accuracy"
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return the scores of the first and of the last half of the seeds (by number); None for one seed."""
    seeds = sorted(rows["seed_train"].unique())
    if len(seeds) < 2:
        return None
    first = rows["seed_train"].isin(seeds[: (len(seeds) + 1) // 2])
    one, other = (condition_scores(part, score=score, distinct=True) for part in (rows[first], rows[~first]))
    return one, other


def rank_correlation(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """Return Kendall's tau-b of the methods' mean ranks in two tables of scores."""
    return _tau(rank_matrix(before).mean(), rank_matrix(after).mean())


def _tau(a: Sequence[float], b: Sequence[float]) -> float:
    from scipy.stats import kendalltau

    # Means that are equal on paper shall be tied.
    return float(kendalltau(np.round(a, 9), np.round(b, 9)).statistic)


def agreement(
    pair: Pair, *, n: int = 2000, seed: int = 0, level: float = 0.95, cluster: str = "dataset"
) -> Agreement:
    """Compare the two rankings of a pair.

    Parameters
    ----------
    n, seed : draws of the bootstrap, which resamples whole clusters, and their seed.
    level : coverage of the interval.
    cluster : level of the index whose conditions share images and are not independent.
    """
    import pandas as pd

    before, after = rank_matrix(pair.before), rank_matrix(pair.after)
    ranks = pd.DataFrame({"before": before.mean(), "after": after.mean()})
    ranks["move"] = ranks["after"] - ranks["before"]
    best = [ranked.eq(ranked.min(axis=1), axis=0).to_numpy() for ranked in (before, after)]
    low, high = _interval(before, after, n, seed, level, cluster)
    return Agreement(
        tau=_tau(ranks["before"], ranks["after"]),
        low=low,
        high=high,
        ranks=ranks,
        same_winner=float((best[0] & best[1]).any(axis=1).mean()),
        conditions=len(before),
        clusters=before.index.get_level_values(cluster).nunique(),
    )


def _interval(
    before: pd.DataFrame, after: pd.DataFrame, n: int, seed: int, level: float, cluster: str
) -> tuple[float, float]:
    """Return the percentiles of tau over draws of whole clusters."""
    groups = before.index.get_level_values(cluster)
    sums = [ranked.groupby(groups, sort=True).sum().to_numpy() for ranked in (before, after)]  # (C, k)
    clusters = len(sums[0])
    if clusters < MIN_CLUSTERS:
        return float("nan"), float("nan")
    generator = numpy_generator("agreement", seed)
    draws = generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=n)  # (n, C)
    # Few clusters have few distinct draws: five have 126.
    distinct, counts = np.unique(draws, axis=0, return_counts=True)
    taus = np.repeat([_tau(row @ sums[0], row @ sums[1]) for row in distinct], counts)
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(taus, [tail, 1 - tail])
    return float(low), float(high)


def winner_margins(rows: pd.DataFrame, *, score: str = "balanced_accuracy") -> pd.DataFrame:
    """Return how far the best method of each condition is ahead, one row per condition.

    Columns: `CONDITION`, best, second, margin (difference of their means over seeds), standard_error (of
    that difference, from the differences seed by seed, which share noise and start; NaN for one seed) and
    clear (the margin exceeds two standard errors).
    """
    import pandas as pd

    means = condition_scores(rows, score=score).round(9)  # refuses tables with holes
    runs = rows.pivot(index=[*CONDITION, *SEEDS], columns="method", values=score)
    records = []
    for condition, row in means.iterrows():
        best, second = row.sort_values(ascending=False, kind="stable").index[:2]
        gaps = (runs.loc[condition, best] - runs.loc[condition, second]).to_numpy()
        margin = float(gaps.mean().round(9))
        error = float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else float("nan")
        records.append((*condition, best, second, margin, error, margin > 2 * error))
    names = ["best", "second", "margin", "standard_error", "clear"]
    return pd.DataFrame(records, columns=[*CONDITION, *names])
