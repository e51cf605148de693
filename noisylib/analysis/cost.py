"""What the choice of a method costs: best minus worst score, and the part of it that is chance.

The largest of several noisy means exceeds the smallest even when all methods are equal, so the cost is
biased upwards. `cost_curve` sets four numbers against that: two floors, a score on seeds that had no part in
choosing, and a band over data sets. All scores and costs are fractions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.regret import REGIME
from noisylib.analysis.scores import CONDITION, SEEDS, condition_blocks
from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd


def choice_cost(scores: pd.DataFrame) -> pd.DataFrame:
    """Return best minus worst method of every condition: the columns `CONDITION` and cost.

    Parameters
    ----------
    scores : (M, k) from `scores.condition_scores`.
    """
    if scores.shape[1] < 2:
        raise NoisylibError(f"The cost of a choice needs two methods, the rows have {scores.shape[1]}.")
    return (scores.max(axis=1) - scores.min(axis=1)).rename("cost").reset_index()


def cost_curve(
    rows: pd.DataFrame,
    *,
    score: str = "balanced_accuracy",
    permutations: int = 200,
    bootstrap: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the cost per noise type and rate, beside what chance alone makes of it.

    Columns, besides `REGIME` and n_conditions:

    - mean, max: over the conditions (data set x backbone).
    - low, high: percentile band of the mean when whole data sets are drawn again, because the conditions of
      a data set share its images. NaN for a single data set.
    - floor: mean gap when the methods' names are shuffled within each condition and seed. If the methods
      differ, their differences widen the shuffled scores too, so it is conservative.
    - noise_floor: mean gap of equal methods with the seed noise of these, from contrasts of the seeds.
    - held_out: best and worst picked on all seeds but one and compared on that one, averaged over the one
      left out. Picking is no longer rewarded for luck, so it lies below the true gap on average.

    The last three are NaN for a single seed, which says nothing of its noise.

    Parameters
    ----------
    rows : one row per run.
    permutations : shuffles of the names, and contrasts of the seeds.
    bootstrap : draws of whole data sets; they are the same for every noise type and rate.
    level : coverage of the band.
    """
    import pandas as pd

    scores = condition_blocks(rows, score=score).scores
    cost = choice_cost(scores)
    values = _by_seed(rows, scores, score)
    cost["floor"] = _shuffled_gaps(values, permutations, seed)
    cost["noise_floor"] = _noise_gaps(values, permutations, seed)
    cost["held_out"] = _held_out_gaps(values)
    groups = cost.groupby(REGIME)
    table = groups["cost"].agg(["mean", "max"])
    draws = _drawn_means(cost, bootstrap, seed)
    tail = (1 - level) / 2
    table["low"], table["high"] = (draws.quantile(q) for q in (tail, 1 - tail))
    table = table.join(groups[["floor", "noise_floor", "held_out"]].mean())
    table["n_conditions"] = groups.size()
    return pd.DataFrame(table).reset_index()


def cost_growth(
    scores: pd.DataFrame,
    hard: tuple[str, float],
    easy: tuple[str, float],
    *,
    bootstrap: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Return how much the mean cost rises between two (noise type, rate): difference and ratio with bands.

    Both ends come from the same draws of data sets, so what a data set costs at either end stays together.
    A ratio to no cost is NaN.
    """
    cost = choice_cost(scores)
    means = cost.groupby(REGIME)["cost"].mean()
    draws = _drawn_means(cost, bootstrap, seed)
    found = {}
    for name, compare in (("difference", np.subtract), ("ratio", _ratio)):
        found[name] = float(compare(means[hard], means[easy]))
        drawn = compare(draws[hard].to_numpy(), draws[easy].to_numpy())
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        found[f"{name}_low"], found[f"{name}_high"] = float(low), float(high)
    return found


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=np.asarray(b) != 0)


def _by_seed(rows: pd.DataFrame, scores: pd.DataFrame, score: str) -> np.ndarray:
    """Return (M, S, k) scores in the order of `scores`; a method's runs stand at its seeds' places."""
    wide = rows.pivot(index=[*CONDITION, *SEEDS], columns="method", values=score)[list(scores.columns)]
    return wide.to_numpy(float).reshape(len(scores), -1, scores.shape[1])


def _shuffled_gaps(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return (M,) mean gap with the names of the methods shuffled in every condition and seed."""
    if values.shape[1] < 2:
        return np.full(len(values), np.nan)
    random = numpy_generator("cost: shuffled names", seed)
    return np.mean([_gap(random.permuted(values, axis=2).mean(1)) for _ in range(draws)], axis=0)


def _noise_gaps(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return (M,) mean gap of seed noise alone.

    The runs of each method are summed with random weights that sum to 0, so that what the method is worth
    cancels, and have squares that sum to 1 / S, so that the rest varies as a mean of S seeds does. This is
    exact for normal noise, where resampled residuals are not with few seeds. All methods share the weights:
    what a seed does to all of them alike moves no gap.

    Source: the rotation tests of Langsrud (2005), Statistics and Computing 15, 53-60.
    """
    n_seeds = values.shape[1]
    if n_seeds < 2:
        return np.full(len(values), np.nan)
    random = numpy_generator("cost: contrasts of seeds", seed)
    weights = random.normal(size=(draws, len(values), n_seeds))
    weights -= weights.mean(axis=2, keepdims=True)
    weights /= np.linalg.norm(weights, axis=2, keepdims=True) * np.sqrt(n_seeds)
    return np.mean([_gap(np.einsum("ms,msk->mk", w, values)) for w in weights], axis=0)


def _held_out_gaps(values: np.ndarray) -> np.ndarray:
    """Return (M,) best minus worst on one seed, picked on the others, averaged over the seed left out."""
    n_seeds = values.shape[1]
    if n_seeds < 2:
        return np.full(len(values), np.nan)
    gaps, condition = [], np.arange(len(values))
    for left in range(n_seeds):
        others = np.delete(values, left, axis=1).mean(axis=1)
        best, worst = others.argmax(axis=1), others.argmin(axis=1)
        gaps.append(values[condition, left, best] - values[condition, left, worst])
    return np.mean(gaps, axis=0)


def expected_range(k: int) -> float:
    """Return the mean of largest minus smallest of k standard normal numbers.

    The integral of 1 - F(x)^k - (1 - F(x))^k, F the normal distribution function.
    """
    from scipy.special import ndtr

    x = np.linspace(-9, 9, 3601)
    return float(np.trapezoid(1 - ndtr(x) ** k - ndtr(-x) ** k, x))


def _gap(values: np.ndarray) -> np.ndarray:
    return values.max(axis=-1) - values.min(axis=-1)


def _drawn_means(cost: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Return (draws, regimes) mean cost over data sets drawn with replacement; NaN for a single one."""
    import pandas as pd

    sums = cost.pivot_table(index="dataset", columns=REGIME, values="cost", aggfunc="sum", fill_value=0)
    counts = cost.pivot_table(index="dataset", columns=REGIME, values="cost", aggfunc="size", fill_value=0)
    n = len(sums)
    times = numpy_generator("cost: draws of data sets", seed).multinomial(n, np.full(n, 1 / n), size=draws)
    means = _ratio(times @ sums.to_numpy(float), times @ counts.to_numpy(float))
    means[:, (counts.to_numpy() > 0).sum(axis=0) < 2] = np.nan
    return pd.DataFrame(means, columns=sums.columns)
