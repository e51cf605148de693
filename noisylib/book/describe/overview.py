"""What the overview says of the scores of a whole study: one row per condition and method, and facts.

Scores are fractions in [0, 1] in frames and percent in what a reader sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import TYPE_CHECKING

from noisylib.analysis.ranking import rank_matrix
from noisylib.analysis.scores import CONDITION, condition_scores
from noisylib.book.describe.banks import bank_title
from noisylib.book.tables import NBSP, method_titles, summarise
from noisylib.errors import check_name

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "ce"
CLOSE = 0.01  # a difference that a reader would call none, in accuracy and in balanced accuracy


def backbone_title(name: str) -> str:
    """Return the registry's title of a backbone, or the name of one that is not in it."""
    from noisylib.features.backbone_registry import BACKBONES

    return BACKBONES[name].title if name in BACKBONES else name


def titles_of(cells: pd.DataFrame) -> dict[str, str]:
    """Return the title of every data set, backbone and method of the cells, for figures and tables."""
    return {
        **{name: bank_title(name) for name in cells["dataset"].unique()},
        **{name: backbone_title(name) for name in cells["backbone"].unique()},
        **method_titles(list(cells["method"].unique())),
    }


def cells_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition and method: conditions in the order of the study, best method first.

    Columns: `CONDITION`, method, those of `tables.summarise`, rank (1 is best, ties share), and
    gap_to_best and over_reference, the differences in balanced accuracy to the best method of the
    condition (0 or less) and to cross entropy.

    Raises
    ------
    NoisylibError
        The rows are not complete, or cross entropy is not among their methods.
    """
    scores = condition_scores(rows)
    check_name("method of the rows", REFERENCE, scores.columns)
    cells = summarise(rows)
    columns = {
        "rank": rank_matrix(scores),
        "gap_to_best": scores.sub(scores.max(axis=1), axis=0),
        "over_reference": scores.sub(scores[REFERENCE], axis=0),
    }
    for name, table in columns.items():
        tidy = table.rename_axis(columns="method").stack().rename(name)
        cells = cells.join(tidy, on=[*CONDITION, "method"])
    places = {
        name: {value: i for i, value in enumerate(rows[name].unique())}
        for name in ("dataset", "backbone", "noise_type")
    }
    order = [*CONDITION, "rank"]
    cells = cells.sort_values(order, key=lambda c: c.map(places.get(c.name, lambda v: v)), kind="stable")
    return cells.reset_index(drop=True)


def overview_facts(rows: pd.DataFrame, cells: pd.DataFrame) -> dict[str, int | float | str]:
    """Return the counts that the text names, and how the methods stand to cross entropy.

    ``helped`` and ``hurt`` are the percent of the cells of other methods on noisy labels that differ from
    cross entropy by more than one point; ``most`` and ``least`` the extreme differences in points.
    """
    conditions = cells[CONDITION].drop_duplicates()
    clean = conditions["noise_rate"] == 0
    same = [name for name in CONDITION if name != "noise_type"]
    noisy = cells[(cells["noise_rate"] > 0) & (cells["method"] != REFERENCE)]
    best = cells[cells["gap_to_best"].round(9) == 0]
    facts: dict[str, int | float | str] = {
        "runs": f"{len(rows):,}",
        "seeds": rows["seed_train"].nunique(),
        "cells": f"{len(cells):,}",
        "datasets": cells["dataset"].nunique(),
        "backbones": cells["backbone"].nunique(),
        "kinds": cells["noise_type"].nunique(),
        "rates": cells["noise_rate"].nunique(),
        "methods": cells["method"].nunique(),
        "conditions": len(conditions),
        "distinct": int((~clean).sum()) + len(conditions.loc[clean, same].drop_duplicates()),
        "winners": best["method"].nunique(),
        "reference_best": int((best["method"] == REFERENCE).sum()),
        "helped": 100 * float((noisy["over_reference"] > CLOSE).mean()),
        "hurt": 100 * float((noisy["over_reference"] < -CLOSE).mean()),
        "dead_cells": int((cells["dead_classes_mean"] > 0).sum()),
        "dead_share": 100 * float((cells["dead_classes_mean"] > 0).mean()),
    }
    difference = cells.loc[cells["method"] != REFERENCE, "over_reference"]
    for name, at in (("most", difference.idxmax()), ("least", difference.idxmin())):
        cell = cells.loc[at]
        facts[name] = 100 * float(cell["over_reference"])
        facts[f"{name}_method"] = titles_of(cells)[cell["method"]]
        facts[f"{name}_where"] = condition_text(cell)
    return facts


def condition_text(cell: pd.Series) -> str:
    """Return a condition in words, such as "HAM10000 under DeiT-Ti at 40 % asymmetric noise"."""
    noise = f"{100 * cell['noise_rate']:g}{NBSP}% {cell['noise_type']} noise"
    return f"{bank_title(cell['dataset'])} under {backbone_title(cell['backbone'])} at {noise}"


def accuracy_note(cells: pd.DataFrame) -> str:
    """Return how often accuracy and balanced accuracy name different winners, and where they part most.

    The pair of methods that is named has about the same accuracy in one condition, and the largest
    difference in balanced accuracy of all such pairs.
    """
    groups = [group for _, group in cells.groupby(CONDITION, sort=False)]
    apart = sum(not _leads(group["accuracy_mean"]) & _leads(group["gap_to_best"]) for group in groups)
    text = f"In {apart} of {len(groups)} conditions, accuracy and balanced accuracy name different winners."
    pairs = [
        (cells.at[a, "balanced_accuracy_mean"] - cells.at[b, "balanced_accuracy_mean"], a, b)
        for group in groups
        for a, b in permutations(group.index, 2)
        if abs(cells.at[a, "accuracy_mean"] - cells.at[b, "accuracy_mean"]) <= CLOSE
    ]
    if not pairs:
        return text
    _, a, b = max(pairs)
    return f"{text} {_pair_text(cells.loc[a], cells.loc[b], titles_of(cells))}"


def _leads(scores: pd.Series) -> set[int]:
    """Return where the highest score is; scores that differ by rounding are equal."""
    rounded = scores.round(9)
    return set(rounded.index[rounded == rounded.max()])


def _pair_text(high: pd.Series, low: pd.Series, titles: Mapping[str, str]) -> str:
    def score(cell: pd.Series) -> str:
        accuracy, balanced = 100 * cell["accuracy_mean"], 100 * cell["balanced_accuracy_mean"]
        dead = f"{cell['dead_classes_mean']:.1f} dead classes"
        return f"accuracy {accuracy:.1f}{NBSP}%, balanced {balanced:.1f}{NBSP}%, {dead}"

    return (
        f"Least alike in spite of nearly equal accuracy, on {condition_text(high)}, are "
        f"{titles[high['method']]} ({score(high)}) and {titles[low['method']]} ({score(low)})."
    )
