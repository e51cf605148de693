"""Why a choice cannot lose nothing: how much of the regret is luck, and how much there is to gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.advice import points
from noisylib.book.describe.advice_regret import FIXED, SHARE, TARGET, met
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

WHOLE = ["dataset", "backbone", "noise_type", "noise_rate"]


def seed_scores(rows: pd.DataFrame, score: str) -> np.ndarray:
    """Return (m, S, k) scores of the whole banks' conditions, seeds and methods; clean conditions once.

    Parameters
    ----------
    rows : one per run, with "candidate" or "method".
    """
    name = "candidate" if "candidate" in rows else "method"
    if "variant" in rows:
        rows = rows[rows["variant"] == ""]
    clean = rows["noise_rate"] == 0
    rows = rows.assign(noise_type=rows["noise_type"].astype(object).where(~clean, "clean"))
    keys = [*WHOLE, "seed", name]
    wide = rows.drop_duplicates(keys).set_index(keys)[score].unstack(["seed", name]).sort_index(axis=1)
    seeds = wide.columns.get_level_values(0).nunique()
    return wide.dropna().to_numpy(float).reshape(len(wide.dropna()), seeds, -1)


def other_seeds_regret(scores: np.ndarray) -> float:
    """Return the mean regret of who picks the best method by all seeds but one and is judged on that one.

    The pick knows the data set itself, all but the seed. What it loses against the best mean in hindsight
    is the luck of that best, and a little for picking by one seed less. NaN for a single seed.

    Parameters
    ----------
    scores : (m, S, k).
    """
    m, seeds, _ = scores.shape
    if seeds < 2:
        return float("nan")
    total, best = scores.sum(axis=1), scores.mean(axis=1).max(axis=1)
    reached = [scores[np.arange(m), s, (total - scores[:, s]).argmax(axis=1)] for s in range(seeds)]
    return float((best - np.mean(reached, axis=0)).mean())


def shares(lost: pd.DataFrame) -> pd.Series:
    """Return the share of conditions in which each candidate is the best one, largest first; ties share."""
    always = lost[[name for name in lost if name.startswith("always ")]]
    hit = always.round(9).eq(always.round(9).min(axis=1), axis=0)
    share = hit.div(hit.sum(axis=1), axis=0).mean()
    return share.rename(index=lambda name: name.removeprefix("always ")).sort_values(
        ascending=False, kind="stable"
    )


def reasons(lost: pd.DataFrame, table: pd.DataFrame, lucky: float, titles: Mapping[str, str]) -> str:
    """Return what stands between the selector and its target, or how it is reached, from the numbers.

    Parameters
    ----------
    lost : from `advice.lost`; `table` is its `selector_table`.
    lucky : from `other_seeds_regret`, as a fraction.
    """
    base, mean = table.at[FIXED, "mean"], table.at["selector", "mean"]
    share = shares(lost)
    text = (
        f"{titles[share.index[0]]} is the best candidate in {100 * share.iloc[0]:.0f}{NBSP}% of the "
        "conditions"
        + (f", {titles[share.index[1]]} in {100 * share.iloc[1]:.0f}{NBSP}%. " if len(share) > 1 else ". ")
    )
    text += (
        "All that a perfect choice could gain over the best fixed method is that method's own regret, "
        f"{points(base, 2)} points. "
    )
    if np.isnan(lucky):
        text += "With one seed, nobody can say how much of that is luck. "
    else:
        text += (
            f"Part of it is luck: the best of {len(share)} means over seeds is a little too good, and even "
            "who knows every candidate's scores on the other seeds of the same data loses "
            f"{points(lucky, 2)} points. "
        )
        if lucky >= base:
            text += "So what the best fixed method loses is no more than luck can make. "
        elif lucky > SHARE * base:
            text += "That alone is more than half of what the best fixed method loses. "
    if met(table):
        return text + "The selector reaches its target nevertheless."
    if mean < TARGET:
        return text + (
            f"The selector does lose less than {points(TARGET, 0)} point; what it misses is half of the best "
            f"fixed method's regret. The worst case costs {points(table.at['selector', 'max'])} points."
        )
    return text + _where(lost)


def _where(lost: pd.DataFrame) -> str:
    by_family = lost.groupby(level="family")["selector"].mean().sort_values(ascending=False)
    return (
        f"Most is lost where {by_family.index[0]} images were left out, {points(by_family.iloc[0], 2)} "
        f"points; least on {by_family.index[-1]}, {points(by_family.iloc[-1], 2)}."
    )
