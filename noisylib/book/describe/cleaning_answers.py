"""What the chapter on cleaning says of archived runs, and its conclusions: words that follow the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.cleaning_archive import ALL, CELL, SCORES, TAU, at_own, changes, gains, t_interval
from noisylib.book.describe.cleaning_tables import noise_words, percent, signed
from noisylib.book.describe.cleaning_text import verdict
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

OVER_SETS = f"95{NBSP}% interval over data sets"
TITLES = dict(zip(SCORES, ("accuracy", "balanced accuracy"), strict=True))


def archive_facts(own: pd.DataFrame, source: str, arms_source: str) -> dict[str, Any]:
    """Return what captions say of the archived rows."""
    return {
        "archive": f"{source}.",
        "arms": f"{arms_source}." if arms_source else "The variants of TURN have not been run.",
        "n_datasets": own["dataset"].nunique(),
        "n_conditions": len(own[["noise_type", "noise_rate"]].drop_duplicates()),
        "last_epoch": int(own["epoch"].max()) + 1,
        "archived_backbones": ", ".join(sorted(own["backbone"].unique())),
    }


def dataset_titles(own: pd.DataFrame) -> dict[str, str]:
    """Return data set -> title, in the order of the rows."""
    return {name: bank_title(name) for name in own["dataset"].unique()}


def ends_reading(ends: pd.DataFrame) -> str:
    """Say whether clean sets are purer than the data, how pure, and what fine-tuning changes."""
    first, last = (ends[ends["when"] == when].set_index(CELL) for when in ("first", "last"))
    purer = (first["purity"] > first["right"]).sum()
    best, worst = ((first["purity"] - first["right"]).agg(way) for way in ("idxmax", "idxmin"))
    gained = {key: first.loc[key, "purity"] - first.loc[key, "right"] for key in (best, worst)}
    text = (
        f"Before fine-tuning the clean set is purer than the data in {purer} of {len(first)} conditions. It "
        f"gains most on {_condition(best)}, {signed(gained[best])} points, and least on {_condition(worst)}, "
        f"{signed(gained[worst])}. "
    )
    mean = {}
    for column in ("purity", "recall_right", "share"):
        mean[column] = t_interval(changes(ends, column, "when", "first", "last"))
    lean = verdict(
        *mean["purity"][1:], "becomes purer", "becomes less pure", "does not clearly change its purity"
    )
    return text + (
        f"From the first to the last epoch of fine-tuning the clean set {lean}: {signed(*mean['purity'])} "
        f"points. The right labels that are called clean change by {signed(*mean['recall_right'])} points, "
        f"and the share of all samples that is called clean by {signed(*mean['share'])} ({OVER_SETS}). In "
        f"{(last['purity'] < 0.5).sum()} of {len(last)} conditions most of the last clean set is wrong."
    )


def _condition(key: tuple) -> str:
    return f"{bank_title(key[0])} with {noise_words(key[3], key[4])} noise"


def tau_reading(taus: pd.DataFrame, found: pd.DataFrame) -> str:
    """Say what tau moves in the archived selections and, where it was run, in the scores."""
    values = sorted(taus["tau"].unique())
    low, high = values[0], values[-1]
    moved = {name: t_interval(changes(taus, name, "tau", low, high)) for name in ("purity", "recall_right")}
    text = (
        f"From tau {low:g} to {high:g} the purity of archived clean sets changes by "
        f"{signed(*moved['purity'])} points and the right labels that are called clean by "
        f"{signed(*moved['recall_right'])} ({OVER_SETS}, before fine-tuning). "
    )
    known = found[found["tau"].notna()]
    if known.empty:
        return text + "Nobody has fine-tuned with another tau, so this says nothing of scores."
    clear, widest = [], 0.0
    for label, part in known.groupby("label", sort=False):
        row = gains(part, label, "balanced_accuracy").iloc[-1]
        widest = max(widest, abs(row["mean"]))
        if row["low"] > 0 or row["high"] < 0:
            gain = signed(row["mean"], row["low"], row["high"])
            clear.append(f"tau {part['tau'].iloc[0]:g} by {gain}")
    tail = (
        f"clearly so with {' and '.join(clear)}"
        if clear
        else f"and no other tau is clearly better or worse than {TAU:g}"
    )
    return text + f"Balanced accuracy moves by at most {100 * widest:.1f} points on average, {tail}."


def all_reading(found: pd.DataFrame) -> str:
    """Say whether training on all clean samples beats the balanced draw, by either score."""
    if not (found["label"] == ALL).any():
        return "Nobody has fine-tuned on all clean samples, so what the draw costs in scores is not known."
    parts = []
    for score, title in TITLES.items():
        *sets, total = gains(found, ALL, score).itertuples()
        lean = verdict(total.low, total.high, "a clear gain", "a clear loss", "no clear change")
        parts.append(
            f"changes {title} by {signed(total.mean, total.low, total.high)} points, {lean}, and raises it "
            f"in {sum(row.mean > 0 for row in sets)} of {len(sets)} data sets"
        )
    return (
        f"Fine-tuning on all clean samples instead of a balanced draw {'; it '.join(parts)} ({OVER_SETS}). "
        "Both start from the same probe and labels, but an epoch of all clean samples has more steps."
    )


def floor_reading(facts: Mapping[str, int], fewest: int) -> str:
    """Say how often archived runs had classes too small for a mixture."""
    return (
        f"Of the {facts['classes']:,} classes in all archived epochs, {facts['tiny']} had fewer than "
        f"{fewest} samples and {facts['ones']} had one clean sample; the smallest n was {facts['smallest']}."
    )


def in_short(
    facts: Mapping[str, Any],
    ends: pd.DataFrame,
    taus: pd.DataFrame,
    found: pd.DataFrame,
    own: pd.DataFrame,
) -> str:
    """Return the chapter's conclusions as a list."""
    first = ends[ends["when"] == "first"]
    gain = t_interval((first["purity"] - first["right"]).groupby(first["dataset"]).mean())
    lean = verdict(
        *gain[1:], "purer than the data", "less pure than the data", "not clearly purer than the data"
    )
    right = t_interval(first.groupby("dataset")["recall_right"].mean())
    lines = [
        f"On {facts['condition']} and a frozen backbone, {percent(facts['live_share'])}{NBSP}% of the "
        f"samples are called clean. Of them {percent(facts['live_purity'])}{NBSP}% are right, before "
        f"cleaning {percent(facts['live_right'])}{NBSP}%.",
        f"Over {first['dataset'].nunique()} data sets the clean set that fine-tuning starts from is {lean}, "
        f"by {signed(*gain)} points, and {percent(right[0])}{NBSP}% of the right labels are in it "
        f"({OVER_SETS}).",
        tau_reading(taus, found),
        _draw_line(own),
        all_reading(found),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _draw_line(own: pd.DataFrame) -> str:
    """Say what a balanced draw leaves out, and whether it is as pure as the set it is from."""
    at = at_own(own).query("epoch == epoch.min()")
    lost = at.groupby("dataset")["lost"].mean()
    drawn = t_interval((at["purity_drawn"] - at["purity"]).groupby(at["dataset"]).mean())
    lean = verdict(*drawn[1:], "purer than", "less pure than", "not clearly purer or less pure than")
    return (
        f"A balanced draw leaves {percent(lost.min())} ({bank_title(lost.idxmin())}) to "
        f"{percent(lost.max())}{NBSP}% ({bank_title(lost.idxmax())}) of the clean samples out of an epoch, "
        f"and is {lean} the clean set it is from, by {signed(*drawn)} points."
    )
