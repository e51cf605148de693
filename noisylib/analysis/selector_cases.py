"""What a selector learns from and is judged on: conditions with descriptors, and the scores reached there.

Descriptors belong to one draw of the labels (one seed), scores are means over seeds. A `Cases` holds both,
because a selector sees one draw and is judged by what its choice gives on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.families import family
from noisylib.errors import NoisylibError, check_name
from noisylib.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

# Not the head: descriptors come from linear heads, scores from others.
KEY = ["dataset", "backbone", "variant", "noise_type", "noise_rate"]
# What the choice may depend on: scale-free descriptors. The number of samples, features and classes alone
# would only name the data set, so of the first two the ratio is used.
INPUTS = (
    "neighbour_agreement",
    "neighbour_agreement_min",
    "held_out_accuracy",
    "confident_rate",
    "confident_asymmetry",
    "imbalance",
    "separation",
    "samples_per_feature",
    "n_classes",
)
# The descriptor that measures the same thing as each score, on observed labels.
HEAD_SCORE = {"balanced_accuracy": "held_out_balanced_accuracy", "accuracy": "held_out_accuracy"}
# What a rule may learn from, simplest first: whole banks, parts of banks too, made-up classes too.
TRAINING = ("archived", "variants", "made")
LOGGED = ("imbalance", "samples_per_feature", "n_classes")  # ratios and counts count by their logarithm


@dataclass(frozen=True, eq=False)
class Cases:
    """n conditions, each seen in S draws of its labels.

    Attributes
    ----------
    conditions : (n,) rows of `KEY`, as tuples; `family` (n,) names the kind of image.
    candidates : (k,) names, in the order of the columns of `scores`.
    scores : (n, k) mean over seeds, fractions.
    seen : (n, S, p) inputs of each draw, on the scale of `scaled`; NaN where a draw is not there.
    inputs : (p,) names of the descriptors.
    head_score : (n,) the score a linear head reaches on observed labels that it did not see, mean over the
        draws; empty where it is not known.
    """

    conditions: tuple[tuple, ...]
    family: np.ndarray
    candidates: tuple[str, ...]
    scores: np.ndarray
    seen: np.ndarray
    inputs: tuple[str, ...] = INPUTS
    head_score: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.conditions)

    @cached_property
    def X(self) -> np.ndarray:
        """(n, p) mean of the inputs over the draws."""
        return np.nanmean(self.seen, axis=1)

    @cached_property
    def regret(self) -> np.ndarray:
        """(n, k) best score minus that of each candidate, >= 0; the best is known in hindsight only."""
        return self.scores.max(axis=1, keepdims=True) - self.scores

    @cached_property
    def weights(self) -> np.ndarray:
        """(n,) the same total for every family, summing to 1."""
        names, where = np.unique(self.family, return_inverse=True)
        return 1 / (len(names) * np.bincount(where)[where])

    @cached_property
    def bank(self) -> np.ndarray:
        """(n,) data set and backbone as one name."""
        return np.array([f"{condition[0]} {condition[1]}" for condition in self.conditions])

    def only(self, mask: np.ndarray) -> Cases:
        """Return the conditions where `mask` (n,) holds."""
        kept = tuple(c for c, keep in zip(self.conditions, mask, strict=True) if keep)
        head = self.head_score[mask] if len(self.head_score) else self.head_score
        return Cases(
            kept, self.family[mask], self.candidates, self.scores[mask], self.seen[mask], self.inputs, head
        )

    def among(self, candidates: Sequence[str]) -> Cases:
        """Return the same conditions with fewer candidates: regret is then against the best of these."""
        unknown = [name for name in candidates if name not in self.candidates]
        if unknown or not len(candidates):
            raise NoisylibError(
                f"candidates={list(candidates)}: at least one is needed, all of {', '.join(self.candidates)}."
            )
        columns = [self.candidates.index(name) for name in candidates]
        return replace(self, candidates=tuple(candidates), scores=self.scores[:, columns])

    @cached_property
    def training_sets(self) -> tuple[str, ...]:
        """Those names of `TRAINING` that stand for different conditions here, simplest first."""
        sizes = [int(self.learned(name).sum()) for name in TRAINING]
        return tuple(name for i, name in enumerate(TRAINING) if sizes[i] not in sizes[:i])

    def learned(self, rows: str) -> np.ndarray:
        """Return (n,) bool, what a rule may learn from under one of the names of `TRAINING`."""
        check_name("rows", rows, TRAINING)
        return {"archived": self.real, "variants": self.family != "made"}.get(rows, np.ones(len(self), bool))

    @cached_property
    def real(self) -> np.ndarray:
        """(n,) bool: whole banks of images; neither cut to fewer samples nor made from distributions."""
        variant = KEY.index("variant")
        whole = np.array([condition[variant] == "" for condition in self.conditions])
        return whole & (self.family != "made")


def unscaled(values: np.ndarray, inputs: Sequence[str] = INPUTS) -> np.ndarray:
    """Return what `scaled` made, as it was."""
    logged = np.isin(inputs, LOGGED)
    return np.where(logged, np.exp(np.where(logged, values, 0.0)), values)


def scaled(values: np.ndarray, inputs: Sequence[str] = INPUTS) -> np.ndarray:
    """Return descriptors (..., p) with those named in `LOGGED` by their natural logarithm."""
    logged = np.isin(inputs, LOGGED)
    return np.where(logged, np.log(np.where(logged, values, 1.0)), values)


def cases(
    rows: pd.DataFrame,
    conditions: pd.DataFrame,
    *,
    score: str = "balanced_accuracy",
    inputs: Sequence[str] = INPUTS,
) -> Cases:
    """Join scores and descriptors to the conditions that have both, sorted by `KEY`.

    Parameters
    ----------
    rows : one row per run: `KEY` (variant may be absent: whole banks), seed, "candidate" or "method", and
        `score` in [0, 1].
    score : one of `HEAD_SCORE`.
    conditions : one row per condition and seed: `KEY` and seed, every one of `inputs`, and what the score
        has in `HEAD_SCORE`.

    Raises
    ------
    NoisylibError
        Columns are absent, a run or a draw is there twice, no condition has all candidates and a
        descriptor, or a number is not finite.
    """
    check_name("score", score, HEAD_SCORE)
    name = "candidate" if "candidate" in rows else "method"
    rows = _checked(rows, "rows", [name], [score])
    head = HEAD_SCORE[score]
    conditions = _checked(conditions, "conditions", [], [*inputs, head])
    scores = rows.groupby([*KEY, name])[score].mean().unstack(name).dropna()
    scores = scores[[c for c in METHODS if c in scores] + sorted(set(scores) - {*METHODS})]
    draws = conditions.set_index([*KEY, "seed"])[list(inputs)].astype(float)
    both = scores.index.intersection(draws.index.droplevel("seed").unique()).sort_values()
    if not len(both):
        raise NoisylibError("No condition has the scores of all candidates and descriptors.")
    seeds = sorted(conditions["seed"].unique())
    seen = np.stack(
        [draws.xs(seed, level="seed").reindex(both).to_numpy() for seed in seeds], axis=1
    )  # (n, S, p)
    return Cases(
        conditions=tuple(both),
        family=np.array([family(condition[0]) for condition in both]),
        candidates=tuple(scores.columns),
        scores=scores.loc[both].to_numpy(float),
        seen=scaled(seen, inputs),
        inputs=tuple(inputs),
        head_score=conditions.groupby(KEY)[head].mean().loc[both].to_numpy(float),
    )


def _checked(table: pd.DataFrame, name: str, more: list[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Return a table with a variant for every row and each clean condition once, under the type "clean"."""
    table = table if "variant" in table else table.assign(variant="")
    key = [*KEY, "seed", *more]
    absent = [column for column in (*key, *numbers) if column not in table]
    if absent:
        raise NoisylibError(f"{name} lacks the columns {', '.join(absent)}.")
    if table.duplicated(key).any():
        raise NoisylibError(f"{name} has {int(table.duplicated(key).sum())} rows twice, by {', '.join(key)}.")
    bad = [column for column in numbers if not np.isfinite(table[column].to_numpy(float)).all()]
    if bad:
        raise NoisylibError(f"{name} has values that are no finite number in {', '.join(bad)}.")
    clean = table["noise_rate"] == 0
    table = table.assign(noise_type=table["noise_type"].astype(object).where(~clean, "clean"))
    # A clean run is archived under every noise type that starts from it.
    return table[~(clean & table.duplicated(key))]
