"""How the claims of arXiv 2605.22591 are measured on the rows of a study.

Every function takes a study and returns a finding. Intervals of ranks, wins and costs are those that
`noisylib.analysis` gives the chapters on rankings and cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.bootstrap import bootstrap_ranks
from noisylib.analysis.cost import cost_curve, cost_growth
from noisylib.analysis.ranking import friedman, rank_table
from noisylib.analysis.scores import condition_scores
from noisylib.book.claims import published
from noisylib.book.claims.claim import (
    OVER_SEEDS,
    CannotTestError,
    Finding,
    Study,
    ends_text,
    grade,
    inside,
    interval,
)
from noisylib.book.tables import method_titles

if TYPE_CHECKING:
    import pandas as pd

CLEAN_RATE, HARD_RATE = 0.0, 0.4
# The criteria of claims about a number itself, "reproduced" and "partly".
DIGITS = (
    "the paper's value lies in our interval, and ours is between two thirds and one and a half times it",
    "ours is between half and twice the paper's",
)
HARD = f"asymmetric noise of {100 * HARD_RATE:g} %"


def size(study: Study) -> Finding:
    """Count conditions and runs."""
    blocks = study.blocks
    conditions, k = blocks.scores.shape
    runs = len(study.rows)
    whole = not blocks.left_out
    paper = (published.CONDITIONS, published.RUNS)
    note = (
        f"{k} methods, {blocks.seeds} seeds, {len(blocks.left_out)} conditions incomplete; a choice of ours"
    )
    verdict = grade(whole and (conditions, runs) == paper, whole)
    return Finding(verdict, f"{conditions} conditions, {runs:,} runs", note=note)


def _shares(scores: pd.DataFrame) -> pd.Series:
    """Return the share of conditions each method wins; rounded, since it sums thirds and the like."""
    return (rank_table(scores)["wins"] / len(scores)).round(9)


def _ranked(scores: pd.DataFrame, method: str, *ends: str) -> tuple[float, float] | None:
    """Return two columns of `bootstrap_ranks` of one method; None for a single data set."""
    if scores.index.get_level_values("dataset").nunique() < 2:
        return None
    low, high = bootstrap_ranks(scores).loc[method, list(ends)]
    return float(low), float(high)


def no_universal_winner(study: Study) -> Finding:
    """Measure the largest share of conditions that one method wins."""
    scores = study.compared()
    shares = _shares(scores)
    leaders = method_titles(list(shares.index[shares == shares.max()])).values()
    ends = interval(scores, lambda drawn: _shares(drawn).max())
    note = f"most wins: {' and '.join(leaders)}; the interval is that of whichever method leads a draw"
    verdict = grade(shares.max() < 0.5, shares.max() < 0.9)
    return Finding(verdict, f"{100 * shares.max():.0f} %", ends_text(ends, 0, 100), note)


def elr_wins_most(study: Study) -> Finding:
    """Count the wins of ELR and of the others."""
    scores = study.compared("elr")
    wins = rank_table(scores)["wins"].round(9)
    others = wins.drop("elr")
    ends = _ranked(scores, "elr", "wins_low", "wins_high")
    first = method_titles(list(others.index[others == others.max()])).values()
    verdict = grade(wins["elr"] > others.max(), (others > wins["elr"]).sum() < 2)
    note = f"the most wins of another method: {' and '.join(first)}, {others.max():.1f}"
    note += f"; by accuracy in place of balanced accuracy {_by_accuracy(study)['wins']['elr']:.1f}"
    return Finding(verdict, f"{wins['elr']:.1f} of {len(scores)}", ends_text(ends, 1), note)


def cufit_ranks_best(study: Study) -> Finding:
    """Measure the mean rank of CUFIT-head and how many methods have a better one."""
    scores = study.compared("cufit")
    ranks = rank_table(scores)["mean_rank"].round(9)
    better = ranks[ranks < ranks["cufit"]]
    ends = _ranked(scores, "cufit", "low", "high")
    note = f"place {len(better) + 1} of {len(ranks)}"
    if len(better):
        best = better.idxmin()
        note += f"; {method_titles([best])[best]} has the best mean rank, {better[best]:.2f}"
    note += f"; by accuracy in place of balanced accuracy {_by_accuracy(study)['mean_rank']['cufit']:.2f}"
    verdict = grade(better.empty, len(better) == 1)
    return Finding(verdict, f"{ranks['cufit']:.2f}", ends_text(ends, 2), note)


def _by_accuracy(study: Study) -> pd.DataFrame:
    """Return mean ranks and wins by accuracy: the abstract does not say which score it ranks by."""
    return rank_table(condition_scores(study.complete_rows(), score="accuracy"))


def _tested(study: Study) -> tuple[pd.DataFrame, str]:
    """Return the scores that a Friedman test can be made of, and a text that says how many."""
    scores = study.compared()
    m, k = scores.shape
    if k < 3 or m < 2:
        raise CannotTestError(
            f"the Friedman test needs three methods and two conditions, the rows have {k} and {m}"
        )
    return scores, f"k = {k}, {m} conditions"


def methods_differ(study: Study) -> Finding:
    """Test whether the methods differ at all."""
    scores, sizes = _tested(study)
    test = friedman(scores)
    p = f"p = {test.p_value:.2g}" if test.p_value > 0 else "p < 1e-300"
    verdict = grade(test.p_value < 0.001, test.p_value < 0.05)
    return Finding(verdict, f"χ² = {test.statistic:.1f}", note=f"{p} ({sizes})")


def order_is_shared(study: Study) -> Finding:
    """Measure how far the conditions agree on the order of the methods."""
    scores, sizes = _tested(study)
    w, paper = friedman(scores).kendall_w, published.KENDALL_W
    ends = interval(scores, lambda drawn: friedman(drawn).kendall_w)
    return Finding(_digits(w, paper, ends), f"W = {w:.2f}", ends_text(ends, 2), sizes)


def _digits(ours: float, paper: float, ends: tuple[float, float] | None) -> str:
    """Return the verdict on a number itself, as `DIGITS` states it: a wide interval alone is not enough."""
    near = paper / 1.5 <= ours <= 1.5 * paper
    return grade(inside(paper, ends) and near, paper / 2 <= ours <= 2 * paper)


def _regime(scores: pd.DataFrame, rate: float) -> tuple[str, float]:
    """Return the (noise type, rate) of the clean or the hard condition, as the scores spell it."""
    there = scores.index.droplevel(["dataset", "backbone", "head"]).unique()
    for noise_type, found in sorted(there):  # asymmetric comes first
        if np.isclose(found, rate) and (noise_type == "asymmetric" or rate == CLEAN_RATE):
            return noise_type, found
    raise CannotTestError(f"the rows have no {'clean condition' if rate == CLEAN_RATE else HARD}")


def cost_is(rate: float, paper: float) -> Callable[[Study], Finding]:
    """Return the measure of the mean cost at a rate, held against the paper's in percentage points."""

    def measure(study: Study) -> Finding:
        regime = _regime(study.compared(), rate)
        curve = cost_curve(study.complete_rows(), permutations=1)
        found = curve.set_index(["noise_type", "noise_rate"]).loc[regime]
        ends = _both(found["low"], found["high"])
        cost, count = 100 * found["mean"], int(found["n_conditions"])
        verdict = _digits(cost / 100, paper / 100, ends)
        return Finding(verdict, f"{cost:.1f} pp", ends_text(ends, 1, 100), f"mean of {count} conditions")

    return measure


def cost_grows(study: Study) -> Finding:
    """Measure how many times the clean cost the cost at the hard condition is."""
    scores = study.compared()
    found = cost_growth(scores, _regime(scores, HARD_RATE), _regime(scores, CLEAN_RATE))
    ratio = found["ratio"]
    if np.isnan(ratio):
        raise CannotTestError("all methods are equal on clean labels, and nothing is a multiple of 0")
    ends = _both(found["ratio_low"], found["ratio_high"])
    note = f"{100 * found['difference']:+.1f} pp"
    return Finding(grade(ratio >= 3, ratio >= 1.5), f"{ratio:.1f} times", ends_text(ends, 1), note)


def _both(low: float, high: float) -> tuple[float, float] | None:
    """Return the ends of an interval; None where they are not numbers."""
    return None if np.isnan(low) or np.isnan(high) else (float(low), float(high))


def _hard_runs(study: Study, *methods: str) -> list[pd.DataFrame]:
    """Return the runs of each method on HAM10000 at the hard condition."""
    study.need(*methods)
    rows = study.rows
    hard = (rows["noise_type"] == "asymmetric") & np.isclose(rows["noise_rate"], HARD_RATE)
    found = [rows[hard & (rows["dataset"] == "ham10000") & (rows["method"] == m)] for m in methods]
    if any(part.empty for part in found):
        raise CannotTestError(f"the rows have no {HARD} on HAM10000")
    return found


def accuracy_hides(study: Study) -> Finding:
    """Measure by how much Co-teaching's accuracy exceeds its balanced accuracy, and compare with CE."""
    ours, plain = _hard_runs(study, "coteaching", "ce")
    accuracy, balanced = 100 * ours["accuracy"].mean(), 100 * ours["balanced_accuracy"].mean()
    baseline = 100 * plain["balanced_accuracy"].mean()
    gap = accuracy - balanced
    ends = interval(ours, lambda drawn: (drawn["accuracy"] - drawn["balanced_accuracy"]).mean(), OVER_SEEDS)
    wide, worse = gap >= 20, balanced < baseline
    note = (
        f"accuracy {accuracy:.1f} %, balanced accuracy {balanced:.1f} %; "
        f"balanced accuracy of cross entropy {baseline:.1f} %"
    )
    return Finding(grade(wide and worse, wide or worse), f"{gap:.1f} pp", ends_text(ends, 1, 100), note)


def classes_die(study: Study) -> Finding:
    """Count the classes that Co-teaching never predicts rightly."""
    (ours,) = _hard_runs(study, "coteaching")
    dead = ours["dead_classes"]
    ends = interval(ours, lambda drawn: drawn["dead_classes"].mean(), OVER_SEEDS)
    note = f"{int((dead > 0).sum())} of {len(dead)} runs lose a class, the most is {int(dead.max())}"
    return Finding(grade(dead.mean() >= 1, dead.max() > 0), f"{dead.mean():.1f}", ends_text(ends, 1), note)
