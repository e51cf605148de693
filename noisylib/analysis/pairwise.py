"""Every pair of methods: Wilcoxon's signed-rank test with Holm's correction, and its Bayesian form.

Scores are (M, k) as `noisylib.analysis.scores.condition_scores` returns them. Both tests take the conditions
as independent; conditions of one data set are not, so they are surer than they should be.

References
----------
Benavoli, Corani, Demšar and Zaffalon (2017), Time for a change: a tutorial for comparing multiple classifiers
through Bayesian analysis, JMLR 18.
Kerby (2014), The simple difference formula (rank-biserial correlation).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.ranking import DECIMALS, checked
from noisylib.errors import NoisylibError, require
from noisylib.seeding import derive_seed

if TYPE_CHECKING:
    import pandas as pd


def wilcoxon_holm(scores: pd.DataFrame) -> pd.DataFrame:
    """Test every pair of methods, two-sided; conditions where the two are equal do not count.

    Returns
    -------
    One row per pair, in the order of the columns: a, b; mean_difference and median_difference of a minus b,
    in the unit of the scores; statistic, the smaller of the two sums of signed ranks; p_value and p_holm;
    effect, the matched-pairs rank-biserial correlation: 1 if a is better wherever they differ, -1 if b is.
    """
    import pandas as pd

    holm = require("statsmodels.stats.multitest", "statistics").multipletests
    records = []
    for a, b, difference in _differences(scores):
        statistic, p_value, effect = _signed_rank(difference)
        records.append(
            {
                "a": a,
                "b": b,
                "mean_difference": float(difference.mean()),
                "median_difference": float(np.median(difference)),
                "statistic": statistic,
                "p_value": p_value,
                "effect": effect,
            }
        )
    table = pd.DataFrame(records)
    table.insert(6, "p_holm", holm(table["p_value"], method="holm")[1])
    return table


def bayesian_signed_rank(
    scores: pd.DataFrame, rope: float = 0.01, seed: int = 0, draws: int = 5000
) -> pd.DataFrame:
    """Return how probable it is that one method of a pair is better, or that they are as good as equal.

    Parameters
    ----------
    rope : a smaller difference counts as none; in the unit of the scores, positive.
    draws : from the posterior; the probabilities have a standard error of at most 0.5 / sqrt(draws).

    Returns
    -------
    One row per pair, in the order of the columns: a, b, p_a_better, p_equivalent, p_b_better, which sum to 1.
    """
    import pandas as pd

    if rope <= 0:
        raise NoisylibError(f"rope={rope}: the region of equivalence must be wider than 0.")
    baycomp = require("baycomp", "statistics")
    records = []
    for a, b, difference in _differences(scores):
        # One seed per pair: a result does not depend on which other methods are there.
        state = derive_seed("bayesian signed rank", a, b, seed) % 2**32
        # With scores of 0 for b, baycomp sees exactly the rounded differences.
        better, equivalent, worse = baycomp.SignedRankTest.probs(
            difference, np.zeros_like(difference), rope, nsamples=draws, random_state=state
        )
        records.append(
            {"a": a, "b": b, "p_a_better": better, "p_equivalent": equivalent, "p_b_better": worse}
        )
    return pd.DataFrame(records)


def _differences(scores: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Return every pair of methods with a minus b in each condition, (M,)."""
    rounded = checked(scores)
    if rounded.shape[1] < 2:
        raise NoisylibError(f"A pair needs two methods, the scores have {list(rounded.columns)}.")
    # Rounded again: a difference of two rounded scores is not itself exact, and equal ones must tie.
    return [
        (a, b, (rounded[a] - rounded[b]).round(DECIMALS).to_numpy())
        for a, b in combinations(rounded.columns, 2)
    ]


def _signed_rank(difference: np.ndarray) -> tuple[float, float, float]:
    """Return statistic, p-value and rank-biserial correlation of differences (M,)."""
    from scipy import stats

    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 0.0, 1.0, 0.0
    test = stats.wilcoxon(nonzero)
    ranks = stats.rankdata(np.abs(nonzero))
    effect = (ranks * np.sign(nonzero)).sum() / ranks.sum()
    return float(test.statistic), float(test.pvalue), float(effect)
