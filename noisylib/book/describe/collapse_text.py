"""What the chapter on dead classes says in words and tables of scores, dead classes and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.collapse import percent
from noisylib.book.tables import NBSP, comparison_table, method_titles

if TYPE_CHECKING:
    import pandas as pd

PAIR = ("ce", "coteaching")  # what the source compares
TIE = 0.5  # points: a smaller difference of mean scores is called none


def live_table(rows: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return scores in percent and, of each method, the classes that died and in how many runs."""
    table = comparison_table(rows)
    lost = lost_classes(rows, class_names)
    table["Which"] = [lost[name] or "none" for name in method_titles(list(rows["method"].unique()))]
    return table


def lost_classes(rows: pd.DataFrame, class_names: Sequence[str]) -> dict[str, str]:
    """Return method -> its dead classes as text, with the number of runs; "" if there is none."""
    found = {}
    for method, part in rows.groupby("method"):
        times = (np.stack(list(part["recall"])) == 0).sum(0)
        names = [f"{class_names[c]} ({times[c]} of {len(part)})" for c in np.argsort(-times, kind="stable")]
        found[method] = ", ".join(names[: np.count_nonzero(times)])
    return found


def scores_text(rows: pd.DataFrame) -> str:
    """Say which method leads by either score, and what the scores say of Co-teaching against CE."""
    means = 100 * rows.groupby("method")[["accuracy", "balanced_accuracy"]].mean()
    titles = method_titles(list(means.index))
    tops = [means[score].idxmax() for score in means]
    best = [f"{means.at[name, score]:.1f}{NBSP}%" for name, score in zip(tops, means, strict=True)]
    if tops[0] == tops[1]:
        text = f"{titles[tops[0]]} leads by both, {best[0]} accuracy and {best[1]} balanced accuracy."
    else:
        text = (
            f"{titles[tops[0]]} has the highest accuracy, {best[0]}; {titles[tops[1]]} has the highest "
            f"balanced accuracy, {best[1]}."
        )
    if not set(PAIR) <= set(means.index):
        return text
    plain, ours = (means.loc[name] for name in PAIR)
    gaps = ours - plain
    return (
        f"{text} Against {titles['ce']}, {titles['coteaching']} has {gaps['accuracy']:+.1f} points of "
        f"accuracy and {gaps['balanced_accuracy']:+.1f} of balanced accuracy: {verdict(*gaps)}."
    )


def verdict(accuracy: float, balanced: float) -> str:
    """Say in words what its gains in points of accuracy and of balanced accuracy make of a method."""
    signs = tuple(0 if abs(gap) < TIE else int(np.sign(gap)) for gap in (accuracy, balanced))
    if 0 in signs:
        return f"{'one of them sees no' if any(signs) else 'neither sees a'} difference to speak of"
    words = {
        (1, -1): "accuracy calls it the better one, balanced accuracy the worse one",
        (-1, 1): "accuracy calls it the worse one, balanced accuracy the better one",
        (1, 1): "both call it the better one",
        (-1, -1): "both call it the worse one",
    }
    return words[signs]


def lost_text(rows: pd.DataFrame, class_names: Sequence[str]) -> str:
    """Say which method loses which classes."""
    lost = lost_classes(rows, class_names)
    titles = method_titles(list(lost))
    losers = [f"{title}: {lost[name]}" for name, title in titles.items() if lost[name]]
    if not losers:
        return "No method loses a class in any run."
    spared = [title for name, title in titles.items() if not lost[name]]
    rest = f" No dead class: {'; '.join(spared)}." if spared else ""
    return f"Dead classes, and in how many runs: {'; '.join(losers)}.{rest}"


def kept_text(kept: pd.DataFrame, names: Mapping[int, str], method: str) -> str:
    """Say of which class a method keeps fewest right labels, and whether what is kept goes with recall."""
    from scipy.stats import spearmanr

    own = kept[kept["method"] == method].dropna(subset=["kept", "recall"])
    title = method_titles([method])[method]
    if own.empty:
        return f"{title} selects nothing."
    least = own.loc[own["kept"].idxmin()]
    text = (
        f"Of the right labels of {names[int(least['class'])]}, {title} keeps "
        f"{percent(least['kept'])}{NBSP}%, the least of all classes; the recall of that class is "
        f"{percent(least['recall'])}{NBSP}%."
    )
    if len(own) < 3 or min(own["kept"].nunique(), own["recall"].nunique()) < 2:
        return text
    rank = float(spearmanr(own["kept"], own["recall"]).statistic)
    word = (
        "go together"
        if rank > 0.5
        else "hardly go together"
        if abs(rank) <= 0.5
        else "run against each other"
    )
    return (
        f"{text} Over the {len(own)} classes what is kept and what is recognised {word} "
        f"(Spearman {rank:.2f})."
    )


def prior_text(classes: pd.DataFrame) -> str:
    """Say of which class the observed frequency is farthest from the true one; `classes` as `class_frame`."""
    part = classes[(classes["images"] > 0) & (classes["observed"] > 0)]
    ratio = np.log(part["observed"] / part["images"])
    if not (ratio.abs() > 1e-9).any():
        return "Here the observed frequencies of the classes are the true ones."
    row = part.loc[ratio.abs().idxmax()]
    return (
        f"Here {row['name']} has {row['images']:,} training images and "
        f"{row['observed']:,.0f} are labelled so: the observed frequency is "
        f"{row['observed'] / row['images']:.2f} times the true one."
    )
