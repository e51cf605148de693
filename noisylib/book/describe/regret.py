"""What the chapter on the cost of the choice says of fixed methods: regrets, extremes and advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.cost import choice_cost
from noisylib.analysis.regret import RANDOM, REGIME, regret_summary
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.cost import in_order, points, regime_title, untold
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import method_titles

if TYPE_CHECKING:
    import pandas as pd

CHANCE = "one at random"


def regret_matrix(lost: pd.DataFrame) -> pd.DataFrame:
    """Return the mean regret in points, methods (keys; "random" last) x noise type and rate."""
    wide = 100 * lost.groupby(level=REGIME).mean().T
    return wide[in_order(wide.columns)]


def regret_table(lost: pd.DataFrame, scores: pd.DataFrame, hard: tuple[str, float]) -> pd.DataFrame:
    """Return mean, 90th percentile and highest regret of every method in points, lowest mean first.

    Parameters
    ----------
    lost : from `regret.regret`.
    scores : what `lost` was made of; the last column is the mean cost at `hard` without the method.
    """
    import pandas as pd

    summary = 100 * regret_summary(lost)
    titles = method_titles([name for name in summary.index if name != RANDOM])
    worst = lost.idxmax()
    without = {name: _cost_without(scores, name, hard) for name in titles}
    return pd.DataFrame(
        {
            "Always": titles.get(name, f"*{CHANCE}*"),
            "Mean": f"{row['mean']:.1f}",
            "90th percentile": f"{row['p90']:.1f}",
            "Highest": f"{row['max']:.1f}",
            "Highest at": _place(worst[name]),
            "Cost without it": points(without.get(name, np.nan)),
        }
        for name, row in summary.iterrows()
    )


def _place(condition: tuple) -> str:
    dataset, backbone, _, noise_type, rate = condition
    return f"{bank_title(dataset)}, {backbone_title(backbone)}, {regime_title(noise_type, rate).lower()}"


def _cost_without(scores: pd.DataFrame, method: str, hard: tuple[str, float]) -> float:
    """Return the mean cost in points at one noise type and rate if `method` were not among the choices."""
    if scores.shape[1] < 3:
        return float("nan")
    cost = choice_cost(scores.drop(columns=method)).groupby(REGIME)["cost"].mean()
    return 100 * float(cost[hard])


def equal_when_clean(scores: pd.DataFrame) -> str:
    """Return which methods are the same training on clean labels, a sentence; empty where none are."""
    clean = scores[scores.index.get_level_values("noise_rate") == 0].round(9)
    groups: dict[tuple[float, ...], list[str]] = {}
    for name in clean:
        groups.setdefault(tuple(clean[name]), []).append(name)
    same = [method_titles(names) for names in groups.values() if len(names) > 1] if len(clean) else []
    return " ".join(
        f"{' and '.join(titles.values())} have equal scores in every clean condition, and share their places "
        "there."
        for titles in same
    )


def extremes_facts(counts: pd.DataFrame) -> dict[str, object]:
    """Return how many methods are best somewhere, worst somewhere and both, and who is most often which."""
    total = counts.groupby("method", sort=False)[["best", "worst"]].sum()
    titles = method_titles(list(total.index))
    conditions = float(total["best"].sum())
    facts: dict[str, object] = {"n_both": int(((total["best"] > 0) & (total["worst"] > 0)).sum())}
    for which in ("best", "worst"):
        facts[f"n_{which}"] = int((total[which] > 0).sum())
        facts[f"most_{which}"] = titles[total[which].idxmax()]
        facts[f"share_{which}"] = 100 * float(total[which].max()) / conditions
    return facts


def regret_facts(lost: pd.DataFrame) -> dict[str, object]:
    """Return which method to fix: lowest mean and lowest highest regret, of all and of those told nothing."""
    summary = 100 * regret_summary(lost)
    names = [name for name in lost if name != RANDOM]
    titles = method_titles(names)
    facts: dict[str, object] = {"random_mean": float(summary.at[RANDOM, "mean"])}
    for key, group in (("fixed", names), ("free", untold(names))):
        for rule, column in (("mean", "mean"), ("safe", "max")):
            best = summary.loc[group, column].idxmin() if group else RANDOM
            facts[f"{key}_{rule}"] = titles.get(best, "None")
            facts[f"{key}_{rule}_mean"] = float(summary.at[best, "mean"])
            facts[f"{key}_{rule}_max"] = float(summary.at[best, "max"])
    return facts


def advice(lost: pd.DataFrame) -> str:
    """Return in a few sentences what a reader who must fix one method can take from the regrets."""
    facts = regret_facts(lost)
    text = (
        f"Always choosing **{facts['fixed_mean']}** loses least on average, {facts['fixed_mean_mean']:.1f} "
        f"points, and at most {facts['fixed_mean_max']:.1f}; a method drawn by lot loses "
        f"{facts['random_mean']:.1f} on average."
    )
    if facts["fixed_safe"] != facts["fixed_mean"]:
        text += (
            f" {facts['fixed_safe']} has the smallest highest loss, {facts['fixed_safe_max']:.1f} points, "
            f"and loses {facts['fixed_safe_mean']:.1f} on average."
        )
    if facts["free_mean"] != facts["fixed_mean"] and facts["free_mean"] != "None":
        text += (
            f" {facts['fixed_mean']} is told of the noise that was injected, which nobody knows of their own "
            f"labels. Of the methods that are told nothing, always choosing **{facts['free_mean']}** loses "
            f"least on average, {facts['free_mean_mean']:.1f} points against the best of all methods, and at "
            f"most {facts['free_mean_max']:.1f}."
        )
    if "ce" in lost:
        text += (
            f" Doing nothing against the noise, cross entropy, loses {100 * lost['ce'].mean():.1f} points on "
            f"average and at most {100 * lost['ce'].max():.1f}."
        )
    return text
