"""The tables of the chapter on cleaning: shifts, archived selections, tau, draws and small classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.cleaning_archive import ALL, CELL, SCORES, TAU, at_own, changes, gains, t_interval
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

NONE = "not run"


def percent(value: float, digits: int = 0) -> str:
    """Return a fraction as a percentage; "none" for NaN."""
    return "none" if np.isnan(value) else f"{100 * value:.{digits}f}"


def signed(mean: float, low: float = np.nan, high: float = np.nan) -> str:
    """Return a difference of fractions in signed points, with its interval if it has one."""
    text = f"{100 * mean:+.1f}"
    return text if np.isnan(low) else f"{text} ({100 * low:+.1f} to {100 * high:+.1f})"


def span(mean: float, low: float, high: float) -> str:
    """Return a fraction in percent with its interval, cut to what a fraction can be, if it has one."""
    text = f"{100 * mean:.1f}"
    return text if np.isnan(low) else f"{text} ({100 * max(low, 0):.1f} to {100 * min(high, 1):.1f})"


def noise_words(noise_type: str, noise_rate: float) -> str:
    """Return a condition as text, such as "symmetric 40 %"."""
    return f"{noise_type} {100 * noise_rate:g}{NBSP}%"


def shift_table(shifts: pd.DataFrame) -> pd.DataFrame:
    """Return `cleaning_mixture.shift_frame` in percent of the samples."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Added (nats)": [f"{x:g}" for x in shifts["shift"]],
            "Per class: its own samples, most": [percent(x, 1) for x in shifts["per_class"]],
            "For all: its own samples": [percent(x, 1) for x in shifts["in_class"]],
            "For all: other samples": [percent(x, 1) for x in shifts["others"]],
        }
    )


def ends_table(ends: pd.DataFrame) -> pd.DataFrame:
    """Return one row per data set and noise: the selection before fine-tuning and in the last epoch."""
    import pandas as pd

    first, last = (ends[ends["when"] == when].set_index(CELL) for when in ("first", "last"))
    records = []
    for key, a in first.iterrows():
        b = last.loc[key]
        records.append(
            {
                "Data set": bank_title(key[0]),
                "Noise": noise_words(key[3], key[4]),
                "Right before": percent(a["right"]),
                "Purity": percent(a["purity"]),
                "... last epoch": percent(b["purity"]),
                "Right called clean": percent(a["recall_right"]),
                "... in the last": percent(b["recall_right"]),
                "n": f"{a['n']:.0f}",
                "... then": f"{b['n']:.0f}",
                "Purity of a draw": percent(a["purity_drawn"]),
                "Not drawn": percent(a["lost"]),
            }
        )
    table = pd.DataFrame(records)
    table.loc[table["Data set"].duplicated(), "Data set"] = ""
    return table


def tau_table(taus: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per tau: the selection before fine-tuning, and what the scores gain over tau = 0.6.

    Parameters
    ----------
    taus, found : from `cleaning_archive.by_tau` and `cleaning_archive.differences`. Means over data sets,
        each the mean over its conditions, with their 95 % intervals.
    """
    import pandas as pd

    known = found[found["tau"].notna()]
    records = []
    for tau in sorted(taus["tau"].unique()):
        part = taus[np.isclose(taus["tau"], tau)].groupby("dataset", sort=False)
        record = {"tau": f"{tau:g}"}
        for column, title in (("purity", "Purity"), ("recall_right", "Right called clean")):
            record[title] = span(*t_interval(part[column].mean()))
        record["Purity, change"] = (
            "0" if np.isclose(tau, TAU) else signed(*t_interval(changes(taus, "purity", "tau", TAU, tau)))
        )
        record["n"] = f"{part['n'].mean().mean():.0f}"
        for score, title in zip(SCORES, ("Accuracy", "Balanced accuracy"), strict=True):
            record[title] = _gain_at(known, tau, score)
        records.append(record)
    return pd.DataFrame(records)


def _gain_at(known: pd.DataFrame, tau: float, score: str) -> str:
    if np.isclose(tau, TAU):
        return "0"
    part = known[np.isclose(known["tau"], tau)]
    if part.empty:
        return NONE
    overall = gains(part, part["label"].iloc[0], score).iloc[-1]
    return signed(overall["mean"], overall["low"], overall["high"])


def draw_table(own: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per data set: what the draw leaves out, and what training on all of it gains.

    Parameters
    ----------
    own, found : from `cleaning_archive.selections` and `cleaning_archive.differences`. Counts and shares are
        of the first epoch, means over conditions and seeds.
    """
    import pandas as pd

    first = at_own(own).query("epoch == epoch.min()")
    gained = {score: gains(found, ALL, score).set_index("dataset") for score in SCORES}
    records = []
    for dataset, part in first.groupby("dataset", sort=False):
        ratio = [np.max(c) / np.min(np.asarray(c)[np.asarray(c) > 0]) for c in part["observed_counts"]]
        records.append(
            {
                "Data set": bank_title(dataset),
                "Labels: most / fewest": f"{np.mean(ratio):.1f}",
                "Clean": f"{part['clean'].mean():,.0f}",
                "n": f"{part['n'].min():.0f} to {part['n'].max():.0f}",
                "Not drawn": percent(part["lost"].mean()),
                "In some draw": percent(part["union"].mean()),
                "Purity": percent(part["purity"].mean()),
                "Purity of a draw": percent(part["purity_drawn"].mean()),
                "All: accuracy": _gain_of(gained["accuracy"], dataset),
                "All: balanced accuracy": _gain_of(gained["balanced_accuracy"], dataset),
            }
        )
    blank = dict.fromkeys(records[0], "")
    total = {"Data set": "all", "All: accuracy": _gain_of(gained["accuracy"], "")}
    total["All: balanced accuracy"] = _gain_of(gained["balanced_accuracy"], "")
    return pd.DataFrame([*records, blank | total])


def _gain_of(gained: pd.DataFrame, dataset: str) -> str:
    if dataset not in gained.index:
        return NONE
    row = gained.loc[dataset]
    return signed(row["mean"], row["low"], row["high"])


def small_table(small: pd.DataFrame) -> pd.DataFrame:
    """Return `cleaning_draw.small_frame` in percent and counts."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Samples left": [f"{size}" if size else "all" for size in small["size"]],
            "Classes and runs": [f"{n}" for n in small["classes"]],
            "Called clean (%)": [percent(x) for x in small["share"]],
            "Number called clean": [
                f"{low:.0f} to {high:.0f}" for low, high in zip(small["low"], small["high"], strict=True)
            ],
            "Right before (%)": [percent(x) for x in small["before"]],
            "Right among the clean (%)": [percent(x) for x in small["purity"]],
            "Kept by the floor (%)": [percent(x) for x in small["floor"]],
            "Drawn of all clean (%)": [percent(x, 1) for x in small["drawn"]],
        }
    )
