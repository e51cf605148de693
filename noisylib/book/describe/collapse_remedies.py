"""What the remedies for dead classes do, where, and at what price in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.collapse_sweep import MAPS, RATE
from noisylib.book.tables import method_titles
from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

SOURCES = {"bed": "Gaussian classes", "pbc": "PBC, long-tailed", "ham10000": "HAM10000"}
UNEQUAL = 10.0  # imbalance from which on an arm counts
SCORES = {"balanced_accuracy": "Balanced accuracy", "accuracy": "Accuracy", "dead_classes": "Dead classes"}
BASE, PLAIN, MADE = "coteaching", "ce", "bed"


def arm_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and method: source, map, method, runs and `SCORES`, accuracies in percent.

    An arm is a source and a map at full asymmetry and the rate of the sweep; a mean over seeds and over the
    imbalances of at least `UNEQUAL`.

    Raises
    ------
    NoisylibError
        An arm lacks a method that others have: means over unlike conditions would be compared.
    """
    chosen = (rows["asymmetry"] == 1) & (rows["noise_rate"].round(9) == RATE) & (rows["imbalance"] >= UNEQUAL)
    part = rows[chosen].assign(
        accuracy=100 * rows["accuracy"], balanced_accuracy=100 * rows["balanced_accuracy"]
    )
    grouped = part.groupby(["source", "map", "method"])
    runs = grouped.size().unstack("method")
    if runs.empty or runs.isna().any(axis=None) or (runs.nunique(axis=1) > 1).any():
        raise NoisylibError(
            "the arms of the remedies do not have the same runs of every method: finish them."
        )
    frame = grouped[list(SCORES)].mean().assign(runs=grouped.size()).reset_index()
    order = frame[["source", "map"]].apply(lambda c: c.map({n: i for i, n in enumerate((*SOURCES, *MAPS))}))
    return frame.loc[order.sort_values(["source", "map"], kind="stable").index].reset_index(drop=True)


def arm_title(source: str, name: str, sep: str = " ") -> str:
    """Return an arm in words."""
    return f"{SOURCES.get(source, source)}:{sep}{MAPS.get(name, name)}"


def remedy_table(arms: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each method, means over the maps of a source; the best of a column in bold."""
    means = arms.groupby(["source", "method"])[list(SCORES)].mean()
    titles = method_titles(list(arms["method"].unique()))
    table = {"Method": list(titles.values())}
    for source in [name for name in SOURCES if name in set(arms["source"])]:
        for score, head in SCORES.items():
            values = means.loc[source].loc[list(titles), score].round(1)
            best = values.min() if score == "dead_classes" else values.max()
            cells = [f"**{v:.1f}**" if v == best and values.nunique() > 1 else f"{v:.1f}" for v in values]
            table[f"{SOURCES[source]}: {head.lower()}"] = cells
    import pandas as pd

    return pd.DataFrame(table)


def gain_frame(arms: pd.DataFrame) -> pd.DataFrame:
    """Return, per remedy, its gains over Co-teaching and over CE, means over arms.

    Index: methods but these two. Columns: arms; balanced, accuracy (points), dead (classes) against
    Co-teaching; wins, arms with more balanced accuracy than Co-teaching; plain, wins_plain against CE. The
    accuracy is over arms of images only: the test part of the made-up classes is balanced.
    """
    wide = {score: arms.pivot(index=["source", "map"], columns="method", values=score) for score in SCORES}
    names = [name for name in method_titles(list(arms["method"].unique())) if name not in (BASE, PLAIN)]
    balanced = wide["balanced_accuracy"][names]
    over, plain = (balanced.sub(wide["balanced_accuracy"][name], axis=0).round(1) for name in (BASE, PLAIN))
    frame = over.mean().rename("balanced").to_frame()
    accuracy = wide["accuracy"].drop(index=MADE, level="source", errors="ignore")
    frame["accuracy"] = accuracy[names].sub(accuracy[BASE], axis=0).mean()
    frame["dead"] = wide["dead_classes"][names].sub(wide["dead_classes"][BASE], axis=0).mean()
    frame["wins"], frame["wins_plain"] = (over > 0).sum(), (plain > 0).sum()
    frame["plain"] = plain.mean()
    return frame.assign(arms=len(over))


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Return `gain_frame` under readable headings, in points and classes."""
    import pandas as pd

    titles = method_titles(list(gains.index))
    part = gains.loc[list(titles)]
    arms = int(gains["arms"].iloc[0])
    return pd.DataFrame(
        {
            "Remedy": list(titles.values()),
            "Balanced accuracy (pp)": [f"{v:+.1f}" for v in part["balanced"]],
            f"higher in (of {arms})": [str(v) for v in part["wins"]],
            "Accuracy on images (pp)": [f"{v:+.1f}" for v in part["accuracy"]],
            "Dead classes": [f"{v:+.1f}" for v in part["dead"]],
            "Balanced accuracy against CE (pp)": [f"{v:+.1f}" for v in part["plain"]],
            f"higher than CE in (of {arms})": [str(v) for v in part["wins_plain"]],
        }
    )


def remedy_text(arms: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Say which remedy helps most, at what price, and who is best where."""
    titles = method_titles(list(arms["method"].unique()))
    best = gains["balanced"].idxmax()
    row, n = gains.loc[best], int(gains["arms"].iloc[0])
    if row["balanced"] <= 0:
        text = f"No remedy has more balanced accuracy than Co-teaching on average over the {n} arms."
    else:
        text = (
            f"Over the {n} arms {titles[best]} gains most on Co-teaching, {row['balanced']:+.1f} points of "
            f"balanced accuracy (higher in {int(row['wins'])} of {n}), {_price(row['accuracy'])}; "
            f"it has {_fewer(row['dead'])}."
        )
    per = arms.groupby(["source", "method"])["balanced_accuracy"].mean().unstack("method")
    tops = {SOURCES[name]: titles[per.loc[name].idxmax()] for name in SOURCES if name in per.index}
    where = "; ".join(f"{title} on {source}" for source, title in tops.items())
    if len(set(tops.values())) == 1:
        where = f"{next(iter(tops.values()))} on every data set"
    above = [titles[name] for name in gains.index if gains.at[name, "wins_plain"] == n]
    always = f" Above CE in every arm: {'; '.join(above)}." if above else ""
    return f"{text} The highest balanced accuracy is that of {where}.{always}"


def _price(change: float) -> str:
    if abs(change) < 0.05:
        return "at no price in accuracy on images"
    return f"and {'costs' if change < 0 else 'also gains'} {abs(change):.1f} points of accuracy on images"


def _fewer(change: float) -> str:
    if abs(change) < 0.05:
        return "as many dead classes"
    return f"{abs(change):.1f} {'fewer' if change < 0 else 'more'} dead classes per run"


def told_text(arms: pd.DataFrame) -> str:
    """Say how balanced softmax fares against CE: its prior is the observed frequency, not the true one."""
    wide = arms.pivot(index=["source", "map"], columns="method", values="balanced_accuracy")
    if not {"ce_balanced", PLAIN} <= set(wide.columns):
        return ""
    gap = (wide["ce_balanced"] - wide[PLAIN]).round(1)
    worst = gap.idxmin()
    tail = (
        "" if gap.min() >= 0 else f" Where it does worst, {arm_title(*worst)}, it is {gap.min():+.1f} points."
    )
    return (
        f"Balanced softmax on plain CE changes balanced accuracy by {gap.mean():+.1f} points on average, and "
        f"is higher in {int((gap > 0).sum())} of {len(gap)} arms.{tail}"
    )


def bayes_range(rows: pd.DataFrame) -> dict[str, float]:
    """Return the balanced accuracy of Bayes' rule on the made-up classes at both ends of the imbalance."""
    part = rows[np.isfinite(rows["bayes_balanced"])].groupby("imbalance")["bayes_balanced"].mean()
    return {
        "bayes_even": 100 * float(part.iloc[0]),
        "bayes_uneven": 100 * float(part.iloc[-1]),
        "even": float(part.index[0]),
        "uneven": float(part.index[-1]),
    }
