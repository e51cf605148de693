"""Conditions x methods: the table that ranks, tests and costs start from, and the checks that guard it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from noisylib.errors import NoisylibError, check_name

if TYPE_CHECKING:
    import pandas as pd

CONDITION = ["dataset", "backbone", "head", "noise_type", "noise_rate"]
SEEDS = ["seed_noise", "seed_train"]
LISTED = 5


@dataclass(frozen=True)
class Blocks:
    """Scores of every method in every condition.

    Attributes
    ----------
    scores : (M, k) mean over seeds in [0, 1]; rows are conditions, indexed by `CONDITION` and sorted,
        columns are methods in registry order, then a study's own labels.
    left_out : the conditions that are not there, as text, each with the reason.
    seeds : runs in each cell.
    """

    scores: pd.DataFrame
    left_out: tuple[str, ...]
    seeds: int


def condition_scores(
    rows: pd.DataFrame, *, score: str = "balanced_accuracy", distinct: bool = False
) -> pd.DataFrame:
    """Return `condition_blocks(...).scores` of a complete table."""
    return condition_blocks(rows, score=score, distinct=distinct).scores


def condition_blocks(
    rows: pd.DataFrame,
    *,
    score: str = "balanced_accuracy",
    distinct: bool = False,
    incomplete: Literal["refuse", "leave_out"] = "refuse",
) -> Blocks:
    """Average a score over seeds and arrange it as conditions x methods.

    Parameters
    ----------
    rows : one row per run, with the columns `CONDITION`, `SEEDS`, method and `score`.
    distinct : count the clean condition once, not once under every noise type.
    incomplete : what to do with a condition where a method is absent, lacks a seed or has a score that
        is not a number: refuse the table, or leave the condition out for all methods and say so. Ranks
        over unequal sets of conditions mean nothing.

    Raises
    ------
    NoisylibError
        Rows are duplicated (always refused: nothing says which one to believe), conditions are
        incomplete, or no complete condition is left. Up to five are listed, and their number.
    """
    check_name("incomplete", incomplete, ["refuse", "leave_out"])
    _check_rows(rows, score)
    faults = _faults(rows, score)
    left_out = tuple(f"{_text(condition)}: {why}" for condition, why in faults.items())
    if faults and incomplete == "refuse":
        raise NoisylibError(
            f"Incomplete conditions: {len(faults)} of {len(_conditions(rows))}. {listed(left_out)} Finish "
            "the study with 'noisylib run', or pass incomplete='leave_out' to use the complete ones only."
        )
    scores = rows.groupby([*CONDITION, "method"])[score].mean().unstack("method")
    scores = scores[~scores.index.isin(list(faults))]
    if scores.empty:
        raise NoisylibError(f"No condition is complete. {listed(left_out)}")
    if distinct:
        types = scores.index.get_level_values("noise_type")
        same_run = scores.index.to_frame(index=False)
        clean = same_run["noise_rate"] == 0
        same_run.loc[clean, "noise_type"] = types[0]
        scores = scores[~same_run.duplicated().to_numpy()]
    seeds = len(rows[SEEDS].drop_duplicates())
    return Blocks(scores[_in_registry_order(scores.columns)], left_out, seeds)


def _check_rows(rows: pd.DataFrame, score: str) -> None:
    """Refuse a table in which runs cannot be told apart."""
    needed = [*CONDITION, "method", *SEEDS]
    absent = [column for column in [*needed, score] if column not in rows]
    if absent:
        raise NoisylibError(f"The rows lack the columns {', '.join(absent)}.")
    if rows.empty:
        raise NoisylibError("There are no rows: run the study with 'noisylib run'.")
    nameless = rows[needed].isna().any(axis=1)
    if nameless.any():
        raise NoisylibError(
            f"Rows that do not say which run they are: {nameless.sum()}. One of {', '.join(needed)} is "
            f"missing in {listed([f'row {place}' for place in np.flatnonzero(nameless)])}"
        )
    twice = rows.loc[rows.duplicated(needed), needed].drop_duplicates()
    if len(twice):
        raise NoisylibError(
            f"Runs that occur more than once: {len(twice)}. {listed(twice.itertuples(index=False))} Keep one "
            "row of each; rows of several studies may repeat a condition with other settings."
        )


def _faults(rows: pd.DataFrame, score: str) -> dict[tuple, str]:
    """Return condition -> what is wrong with it, for every condition that is not complete."""
    finite = np.isfinite(rows[score].to_numpy(float))
    counts = rows[finite].groupby([*CONDITION, "method"]).size().unstack("method")
    counts = counts.reindex(_conditions(rows), columns=rows["method"].unique(), fill_value=0).fillna(0)
    full = len(rows[SEEDS].drop_duplicates())
    broken = rows[~finite].groupby(CONDITION)["method"].unique()
    faults = {}
    for condition, row in counts[(counts < full).any(axis=1)].iterrows():
        bad = set(broken.get(condition, []))
        groups = {
            f"{score} is not a number for": [m for m in row.index if m in bad],
            "lacks": [m for m in row.index if m not in bad and row[m] == 0],
            f"fewer than {full} seeds for": [m for m in row.index if m not in bad and 0 < row[m] < full],
        }
        faults[condition] = "; ".join(f"{what} {', '.join(sorted(m))}" for what, m in groups.items() if m)
    return faults


def _conditions(rows: pd.DataFrame) -> pd.MultiIndex:
    """Return every condition of the rows once, sorted."""
    return rows.groupby(CONDITION).size().index


def _in_registry_order(names: Sequence[str]) -> list[str]:
    from noisylib.methods import METHODS

    order = list(METHODS)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _text(values: Sequence[object]) -> str:
    return " ".join(str(value) for value in values)


def listed(items: Iterable[object]) -> str:
    """Return up to `LISTED` texts or conditions as a sentence that says if there are more."""
    texts = [_text(item) if isinstance(item, tuple) else str(item) for item in items]
    more = f"; and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return "; ".join(texts[:LISTED]) + more + "."
