"""Dead classes in the archived benchmark, and whether accuracy hides them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.collapse_text import PAIR, TIE
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP, method_titles
from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

DATASETS, RATES = ("ham10000", "pbc"), (0.2, 0.4)
CONDITION = ["dataset", "backbone", "noise_type", "noise_rate"]


def hard_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the two data sets at the two rates."""
    part = rows[rows["dataset"].isin(DATASETS) & rows["noise_rate"].round(9).isin(RATES)]
    if part.empty:
        raise NoisylibError(f"the rows have none of {DATASETS} at the rates {RATES}.")
    return part


def dead_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return dead classes per condition and method, 1 and more in bold, and Co-teaching minus CE in points.

    Parameters
    ----------
    rows : from `hard_rows`, with CE and Co-teaching among the methods.
    """
    means = rows.groupby([*CONDITION, "method"])["dead_classes"].mean().unstack("method")
    titles = method_titles(list(means.columns))
    gaps = gap_frame(rows).set_index(CONDITION)
    table = means[list(titles)].map(_count).rename(columns=titles)
    table["Accuracy, Co-teaching - CE"] = [f"{gap:+.1f}" for gap in gaps.loc[means.index, "accuracy"]]
    table["Balanced, Co-teaching - CE"] = [
        f"{gap:+.1f}" for gap in gaps.loc[means.index, "balanced_accuracy"]
    ]
    conditions = means.index.to_frame(index=False)
    table = table.reset_index(drop=True)
    noises = zip(conditions["noise_type"], conditions["noise_rate"], strict=True)
    table.insert(0, "Noise", [f"{kind} {100 * rate:g}{NBSP}%" for kind, rate in noises])
    table.insert(0, "Backbone", [backbone_title(name) for name in conditions["backbone"]])
    table.insert(0, "Data set", conditions["dataset"].map(bank_title))
    return table


def _count(value: float) -> str:
    return f"**{value:.1f}**" if value >= 1 else f"{value:.1f}"


def gap_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Co-teaching minus CE per condition: `CONDITION`, accuracy, balanced_accuracy (pp), dead_classes.

    dead_classes is the number that Co-teaching loses, not a difference.
    """
    scores = ["accuracy", "balanced_accuracy"]
    means = rows[rows["method"].isin(PAIR)].groupby([*CONDITION, "method"])[[*scores, "dead_classes"]].mean()
    plain, ours = (means.xs(name, level="method") for name in PAIR)
    gaps = 100 * (ours[scores] - plain[scores])
    return gaps.assign(dead_classes=ours["dead_classes"]).reset_index()


def archive_text(rows: pd.DataFrame) -> str:
    """Say per data set how often and where classes die, and who loses most."""
    parts = []
    for dataset, part in rows.groupby("dataset"):
        cells = part.groupby([*CONDITION[1:], "method"])["dead_classes"].mean().unstack("method")
        titles, mean = method_titles(list(cells.columns)), cells.mean()
        name, runs = bank_title(str(dataset)), part["dead_classes"] > 0
        if not runs.any():
            parts.append(f"On {name} no method loses a class in any of {len(part):,} runs.")
            continue
        worst, place = mean.idxmax(), cells.stack().idxmax()
        parts.append(
            f"On {name} a class is dead in {100 * runs.mean():.0f}{NBSP}% of the {len(part):,} runs. "
            f"{titles[worst]} loses most on average, {mean[worst]:.1f} classes; the most in one condition "
            f"are {cells.stack().max():.1f}, of {titles[place[-1]]} on {place[0]} under {place[1]} noise at "
            f"{100 * place[2]:g}{NBSP}%."
        )
    return " ".join(parts)


def gaps_text(gaps: pd.DataFrame) -> str:
    """Count in how many conditions accuracy and balanced accuracy disagree; gaps below `TIE` are none."""
    scores = gaps[["accuracy", "balanced_accuracy"]]
    signs = np.sign(scores).where(scores.abs() >= TIE, 0)
    hidden = (signs["accuracy"] > 0) & (signs["balanced_accuracy"] < 0)
    text = (
        f"Co-teaching has more accuracy than CE in {int((signs['accuracy'] > 0).sum())} of {len(gaps)} "
        f"conditions, and less balanced accuracy in {int((signs['balanced_accuracy'] < 0).sum())}; both at "
        f"once, so that accuracy hides the loss, in {int(hidden.sum())}"
    )
    if not hidden.any():
        return f"{text}."
    found = gaps[hidden]
    kinds = sorted(
        {f"{bank_title(d)}, {t}" for d, t in zip(found["dataset"], found["noise_type"], strict=True)}
    )
    return f"{text} ({'; '.join(kinds)})."
