"""How far mean ranks and wins would move with other data sets.

Conditions of one data set share images, so a test that takes M conditions as independent is too sure of
itself. Whole data sets are therefore resampled, with all their conditions. With a handful of data sets the
intervals are rough, and rather too narrow than too wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.ranking import rank_matrix, rank_table, win_matrix
from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd


def bootstrap_ranks(
    scores: pd.DataFrame, n: int = 2000, seed: int = 0, level: float = 0.95, cluster: str = "dataset"
) -> pd.DataFrame:
    """Return mean ranks and wins with percentile intervals, and how often each method comes out best.

    Parameters
    ----------
    scores : (M, k), from `noisylib.analysis.scores.condition_scores`.
    n : number of resamples.
    level : share of the resamples inside an interval, in (0, 1).
    cluster : level of the index whose values are drawn with replacement, as many as there are.

    Returns
    -------
    One row per method, best mean rank first: mean_rank, low, high; wins, wins_low, wins_high, of M conditions
    in every resample, whatever the sizes of the data sets in it; p_best, the share of resamples in which the
    method has the best mean rank (ties share).

    Raises
    ------
    NoisylibError
        There is one data set only: its resamples are all the same, and would look certain.
    """
    check_name("cluster", cluster, [name for name in scores.index.names if name])
    if n < 1 or not 0 < level < 1:
        raise NoisylibError(f"n={n}, level={level}: needs at least 1 resample and a level between 0 and 1.")
    ranks = rank_matrix(scores).groupby(level=cluster).sum()  # (C, k)
    wins = win_matrix(scores).groupby(level=cluster).sum()  # (C, k)
    sizes = scores.groupby(level=cluster).size().to_numpy()  # (C,)
    if len(sizes) < 2:
        raise NoisylibError(f"A bootstrap over {cluster} needs two of them, the scores have {len(sizes)}.")
    generator = numpy_generator("bootstrap", cluster, seed)
    times = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=n)  # (n, C)
    drawn = (times @ sizes)[:, None]  # conditions in each resample
    mean_ranks = times @ ranks.to_numpy() / drawn  # (n, k)
    n_wins = times @ wins.to_numpy() / drawn * len(scores)
    best = np.isclose(mean_ranks, mean_ranks.min(axis=1, keepdims=True), rtol=0, atol=1e-9)

    table = rank_table(scores)
    tails = [(1 - level) / 2, (1 + level) / 2]
    order = ranks.columns.get_indexer(table.index)
    low, high = np.quantile(mean_ranks[:, order], tails, axis=0)
    wins_low, wins_high = np.quantile(n_wins[:, order], tails, axis=0)
    p_best = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)[order]
    table.insert(1, "low", low)
    table.insert(2, "high", high)
    return table.assign(wins_low=wins_low, wins_high=wins_high, p_best=p_best)
