"""The decision table as readers see it, and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisylib.book.describe.advice_regimes import CLASSES, CLOSE, FEATURES, NOISE
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd


def decision_table(frame: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Return the decision table as readers see it: percent and points."""
    import pandas as pd

    records = [
        {
            "Wrong labels": row["noise"],
            "Classes": row["classes"],
            "Features": row["features"],
            "Use": f"**{titles[row['use']]}**",
            "Score": f"{100 * row['score']:.0f}",
            "Regret": _range(row["regret"], row["low"], row["high"]),
            "Held out": f"{100 * row['held_out']:.1f}",
            "Next": f"{titles[row['other']]} ({100 * row['other_regret']:.1f})",
            "Rests on": f"{row['conditions']}{NBSP}({row['families']})",
        }
        for row in frame.to_dict("records")
    ]
    return pd.DataFrame(records)


def _range(value: float, low: float, high: float) -> str:
    value, low, high = (100 * number for number in (value, low, high))
    return f"{value:.1f}{NBSP}({low:.1f}{NBSP}to{NBSP}{high:.1f})"


def absent(frame: pd.DataFrame) -> str:
    """Return which regimes no condition is in, a sentence; empty if all are there."""
    total = len(NOISE) * len(CLASSES) * len(FEATURES)
    there = set(zip(frame["noise"], frame["classes"], frame["features"], strict=True))
    missing = [
        f"{noise} wrong labels, {classes} classes, {features} features"
        for noise in NOISE for classes in CLASSES for features in FEATURES
        if (noise, classes, features) not in there
    ]  # fmt: skip
    if not missing:
        return ""
    return f"Of the {total} regimes, no archived condition is in {len(missing)}: {'; '.join(missing)}."


def answer(frame: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return the table in a few sentences: whom it names, how often, and where that is close.

    Parameters
    ----------
    frame : from `regime_frame`.
    """
    counts, rows = frame["use"].value_counts(), len(frame)
    first = titles[counts.index[0]]
    if len(counts) == 1:
        text = f"The table names {first} in {'its only row' if rows == 1 else f'all its {rows} rows'}."
    else:
        others = ", ".join(f"{titles[key]} in {count}" for key, count in counts.iloc[1:].items())
        text = f"The table names {first} in {counts.iloc[0]} of {rows} rows, {others}."
    close = frame[(frame["other_regret"] - frame["regret"]).abs() < CLOSE]
    if len(close):
        text += f" In {len(close)} of them the next is within {100 * CLOSE:g} points: there either will do."
    lower = frame[frame["regret"] - frame["other_regret"] >= CLOSE]
    if len(lower):
        text += (
            f" In {len(lower)} the next one lost less, but on one kind of image only or not on all alike, "
            "which is no reason to expect it again."
        )
    alone = int((frame["families"] == 1).sum())
    if alone:
        text += f" {alone} of the {rows} rows {'is' if alone == 1 else 'are'} from one kind of image only."
    return text


def warning(judged: pd.DataFrame) -> str:
    """Return what the table is worth on kinds of images that it was not made from, a sentence.

    Parameters
    ----------
    judged : from `selector_check.selector_table`, with the row "table".
    """
    row = judged.loc["table"]
    gap, low, high = (row[name] for name in ("over_fixed", "over_fixed_low_family", "over_fixed_high_family"))
    if abs(gap) < 5e-5:
        against = "as much as fixing the best method"
    else:
        against = f"{100 * abs(gap):.2f} {'more' if gap > 0 else 'less'} than fixing the best method"
    if high < 0:
        advised = "so it is worth following"
    elif low > 0:
        advised = "so fix the method instead, and read the table for what to expect of it"
    else:
        advised = "no clear difference: read it for what to expect rather than for whom to choose"
    return (
        f"Followed on kinds of images that it was made without, the table loses {100 * row['mean']:.2f} "
        f"points on average, {against}, {advised}."
    )
