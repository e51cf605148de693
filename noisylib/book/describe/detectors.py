"""All detectors of clean samples in one table, and which choices move the published comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.detection import title
from noisylib.book.describe.drops import CELL, contest_frame, extent, points, seed_drops, unequal_rates
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.detectors import DETECTORS

if TYPE_CHECKING:
    import pandas as pd

RULES = {"matched": "matched m", "fixed": "fixed m"}
CONDITION = [*CELL, "noise_type"]
COLUMNS = [*RULES, "auroc", "wins_matched", "wins_fixed", "drop", "hard"]
# What a reader of the abstract must guess, and the columns of `contest_gaps` that hold the guess.
CHOICES = {
    "noise_rate": "noise rate",
    "contest": "origin of the signals",
    "head": "head of the classifier",
    "rule": "number kept",
    "backbone": "backbone",
}


def detector_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what every detector reaches on average over conditions, best at the matched m first.

    The two of the design "same model" come last: they keep another number than the rest.

    Returns
    -------
    Index detector: "matched", "fixed" (mean precision), "auroc", "wins_matched", "wins_fixed" (conditions
    in which it is best, ties shared), "drop" (mean fall of the matched precision from symmetric to
    asymmetric noise, where both make equally many labels wrong), "hard" (mean matched precision under the
    asymmetric noise of these). NaN where it does not take part: sets have one size, and who keeps another
    number than the rest is not compared with it.
    """
    import pandas as pd

    means: dict[str, pd.Series] = {"auroc": rows.groupby("detector")["auroc"].mean()}
    for rule in RULES:
        cells = precision_cells(rows, rule)
        best = cells.round(9).eq(cells.round(9).max(axis=1), axis=0)
        means[rule] = cells.mean()
        means[f"wins_{rule}"] = best.div(best.sum(axis=1), axis=0).sum()
    even = rows[~rows["dataset"].isin(unequal_rates(rows))]
    if len(even):
        hard = even[even["noise_type"] == "asymmetric"]
        means |= {"drop": seed_drops(even).mean(), "hard": precision_cells(hard, "matched").mean()}
    frame = pd.DataFrame(means).reindex(columns=COLUMNS)
    apart = [key for key in frame.index if DETECTORS[key].matched_to != "agreement"]
    frame.loc[apart, ["drop", "hard"]] = np.nan
    frame = frame.loc[[key for key in DETECTORS if key in frame.index]]
    frame = frame.sort_values("matched", ascending=False, kind="stable")  # those apart have none: last
    own = rows[rows["rule"] == "matched"].groupby("detector")["precision"].mean()
    frame.loc[apart, "matched"] = own[apart]
    return frame


def precision_cells(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the precision, mean over seeds, conditions x detectors that keep equally many samples.

    Conditions in which one of them kept nothing are left out.
    """
    return _all_cells(rows, rule).dropna()


def _all_cells(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    compared = [key for key, detector in DETECTORS.items() if detector.matched_to == "agreement"]
    part = rows[(rows["rule"] == rule) & rows["detector"].isin(compared)]
    return part.groupby([*CONDITION, "detector"])["precision"].mean().unstack()


def left_out(rows: pd.DataFrame) -> str:
    """Return in words how many conditions lack a precision and are not averaged; empty if none does."""
    lost = max(int(_all_cells(rows, rule).isna().any(axis=1).sum()) for rule in RULES)
    if not lost:
        return ""
    whole = len(rows[CONDITION].drop_duplicates())
    return f"Left out are {lost} of {whole} conditions, in which a detector kept nothing."


def detector_table(means: pd.DataFrame) -> pd.DataFrame:
    """Return `detector_means` as a table in percent, the best of a column in bold."""
    import pandas as pd

    table = {
        "Detector": [title(key) for key in means.index],
        "Design": [DETECTORS[key].design for key in means.index],
    }
    heads = {"matched": "Precision, matched m", "fixed": "Precision, fixed m", "auroc": "AUROC"}
    heads |= {"wins_matched": "Best, matched", "wins_fixed": "Best, fixed", "drop": "Drop"}
    for column, head in heads.items():
        values = means[column] * (1 if column.startswith("wins") else 100)
        values = values.round(1)
        compared = values[means["wins_matched"].notna()]
        best = compared.min() if column == "drop" else compared.max()
        table[head] = [_cell(value, value == best and key in compared) for key, value in values.items()]
    return pd.DataFrame(table)


def _cell(value: float, bold: bool) -> str:
    if np.isnan(value):
        return ""
    return f"**{value:.1f}**" if bold else f"{value:.1f}"


def robust(means: pd.DataFrame) -> str:
    """Return in words which detector loses least to asymmetric noise, and whether it is also precise."""
    part = means.dropna(subset=["drop", "hard"])
    if part.empty:
        return "On no data set do both noises make equally many labels wrong, so no drop compares detectors."
    steady, good = part["drop"].idxmin(), part["hard"].idxmax()
    text = (
        f"The most robust detector, in the sense of the smallest mean drop at the matched m, is *"
        f"{DETECTORS[steady].title}* with {points(part.loc[steady, 'drop'])} points; "
    )
    if steady == good:
        return f"{text}it also has the highest precision under asymmetric noise, {_percent(part, good)}."
    return (
        f"{text}but its precision under asymmetric noise is {_percent(part, steady)}, below the "
        f"{_percent(part, good)} of *{DETECTORS[good].title}*, which drops by "
        f"{points(part.loc[good, 'drop'])} points. A detector with little to lose loses little: the drop "
        "alone ranks nothing."
    )


def _percent(means: pd.DataFrame, key: str) -> str:
    return f"{100 * means.loc[key, 'hard']:.1f}{NBSP}%"


def contest_gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of `contest_frame` and "rule", for all heads and both rules of one data set."""
    import pandas as pd

    frames = [contest_frame(seed_drops(rows, rule)).assign(rule=rule) for rule in RULES]
    return pd.concat(frames, ignore_index=True)


def choices_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return how far each unstated choice moves the gap between the two drops, the others held fixed.

    Parameters
    ----------
    gaps : from `contest_gaps`. Of a choice, those settings of the others count for which all its options were
        run. Contests that not every head has are left out, and a choice that is nowhere complete.
    """
    import pandas as pd

    heads = gaps.groupby("contest")["head"].nunique()
    part = gaps[gaps["contest"].isin(heads.index[heads == gaps["head"].nunique()])]
    records = []
    for column, choice in CHOICES.items():
        wide = part.pivot(
            index=[other for other in CHOICES if other != column], columns=column, values="mean"
        )
        wide = wide.dropna()
        if wide.empty:
            continue
        levels, spread = wide.mean().sort_values(), wide.max(axis=1) - wide.min(axis=1)
        ends = [f"{_level(column, level)} ({points(levels[level])})" for level in levels.index[[0, -1]]]
        records.append(
            {
                "Choice": choice,
                "Options": len(levels),
                "Settings": len(wide),
                "Smallest mean gap": ends[0],
                "Largest mean gap": ends[1],
                "Moves the gap by": points(spread.mean()),
                "at most": points(spread.max()),
            }
        )
    table = pd.DataFrame(records)
    return table.iloc[table["Moves the gap by"].astype(float).argsort(kind="stable")[::-1]]


def _level(column: str, level: str | float) -> str:
    if column == "noise_rate":
        return f"{100 * level:g}{NBSP}%"
    titles: Mapping[str, str] = {"backbone": backbone_title(str(level)), "rule": RULES.get(str(level), "")}
    return titles.get(column, str(level))


def gap_facts(gaps: pd.DataFrame) -> dict[str, object]:
    """Return smallest and largest gap between the two drops in points, and where they are."""
    facts: dict[str, object] = {"gaps": len(gaps), "gap_heads": gaps["head"].nunique()}
    for name, at in (("low", gaps["mean"].idxmin()), ("high", gaps["mean"].idxmax())):
        row = gaps.loc[at]
        facts[f"gap_{name}"] = 100 * float(row["mean"])
        facts[f"gap_{name}_at"] = (
            f"{row['contest']}, {row['head']} head, {backbone_title(row['backbone'])}, "
            f"{_level('noise_rate', row['noise_rate'])}, {RULES[row['rule']]}"
        )
    facts["gap_rates"], facts["gap_backbones"] = gaps["noise_rate"].nunique(), gaps["backbone"].nunique()
    facts["gap_positive"] = int((gaps["mean"] > 0).sum())
    facts["gap_dataset"] = " and ".join(bank_title(name) for name in _unique(gaps["dataset"]))
    return facts


def seeds_by_head(rows: pd.DataFrame) -> str:
    """Return how many backbones and seeds there are for each head, in words."""
    return "; ".join(
        f"{head}: {extent(part, 'backbone', 'seed')}" for head, part in rows.groupby("head", sort=False)
    )


def _unique(values: Collection[str]) -> list[str]:
    return list(dict.fromkeys(values))
