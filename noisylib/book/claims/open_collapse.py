"""What the claims on Co-teaching's collapse leave open, and our numbers under every choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims.claim import CannotTestError, Study
from noisylib.book.claims.open import RUN, Question, choice_frame, split
from noisylib.book.claims.small_loss import HEAD, RATE, SKIN
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

OURS, PLAIN = "coteaching", "ce"
DEFAULT = "look-alikes (default)"
# By noise type and class map of the studies.
MAPS = {
    ("asymmetric", "default"): DEFAULT,
    ("asymmetric", "majority"): "into nevi, nevi stay clean",
    ("pairflip", ""): "into the next class",
}
# Maps of the experiment "collapse".
SWEPT = {
    "default": DEFAULT,
    "majority": "into nevi, nevi into the second class",
    "cyclic": "into the next class",
    "catalogue_majority": "into nevi, nevi stay clean",
}
FORGET = {OURS: "one for all classes", "coteaching_class_tau": "one per class"}
SCORES = ["accuracy", "balanced_accuracy", "dead_classes"]


def collapse_choices(study: Study, arms: Study, table: Study | None) -> pd.DataFrame:
    """Return Co-teaching's scores on HAM10000 at asymmetric 40 % under every choice.

    Parameters
    ----------
    study : the study of the headline.
    arms : its rows and those of the arms, told apart by their column "study".
    table : rows of the table "collapse"; None if there are none.

    Returns
    -------
    Columns open, choice, runs, accuracy, balanced_accuracy, dead_classes, and plain, the balanced accuracy of
    CE on the same labels; means over the runs, fractions and numbers of classes.

    Raises
    ------
    CannotTestError
        The rows do not have the condition, or have one choice only of everything.
    """
    records = []
    for question in collapse_questions(study, arms, table):
        for choice, part in question.common().items():
            records.append((question.text, choice, len(part), *part[[*SCORES, "plain"]].mean()))
    return choice_frame(records, ["runs", *SCORES, "plain"])


def collapse_questions(study: Study, arms: Study, table: Study | None) -> list[Question]:
    """Return what is left open; the runs have the balanced accuracy of CE beside them, as "plain"."""
    study.need(OURS, PLAIN)
    rows = arms.rows
    if "class_map" not in rows:
        raise CannotTestError("the rows do not say their class_map")
    rows = rows.assign(seed=rows["seed_train"], map=_maps(rows))
    ours = _beside(_at_source(rows).dropna(subset="map"), "study", "map")
    default = ours[ours["map"] == DEFAULT]
    here = default[default["study"].isin(set(study.rows["study"]))]
    if here.empty:
        raise CannotTestError("the rows have no asymmetric noise of 40 % on HAM10000")
    found = [
        Question(
            "class map",
            split(ours[ours["head"] == HEAD], "map", names=str, order=MAPS.values()),
            ("noise_type",),
        ),
        Question("head", split(default, "head"), ("head",)),
        Question("backbone", split(here, "backbone"), ("backbone",)),
    ]
    return found if table is None else [*found, *_swept_questions(table.rows)]


def _swept_questions(rows: pd.DataFrame) -> list[Question]:
    """Return the questions that the controlled sweep answers."""
    rows = _at_source(rows)
    rows = rows[rows["asymmetry"] > 0]  # the source says that the noise is asymmetric
    rows = rows.assign(map=rows["map"].map(SWEPT))
    ours = _beside(rows, "map", "asymmetry", methods=tuple(FORGET))
    default, full = ours["map"] == DEFAULT, ours["asymmetry"] == 1
    peer = ours["method"] == OURS
    return [
        Question(
            "class map, one backbone",
            split(ours[full & peer], "map", names=str, order=SWEPT.values()),
            ("noise_type",),
        ),
        Question(
            "share of wrong labels that follow the map",
            split(ours[default & peer], "asymmetry", names=lambda part: f"{100 * part:g}{NBSP}%"),
            ("noise_type",),
        ),
        Question("rate of forgetting", split(ours[default & full], "method", names=FORGET.get)),
    ]


def _maps(rows: pd.DataFrame) -> list[str | None]:
    """Return the map of every row as a reader calls it; None for noises without one of `MAPS`."""
    kinds = zip(rows["noise_type"], rows["class_map"], strict=True)
    return [MAPS.get((noise, "" if noise == "pairflip" else name)) for noise, name in kinds]


def _at_source(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the runs on the stand-in for the source's images, at its rate."""
    return rows[(rows["dataset"] == SKIN) & np.isclose(rows["noise_rate"], RATE)]


def _beside(rows: pd.DataFrame, *more: str, methods: Sequence[str] = (OURS,)) -> pd.DataFrame:
    """Return the runs of some methods that CE has too, with its balanced accuracy as the column "plain"."""
    keys = [*RUN, *more]
    plain = rows[rows["method"] == PLAIN][[*keys, "balanced_accuracy"]]
    plain = plain.rename(columns={"balanced_accuracy": "plain"})
    return rows[rows["method"].isin(methods)].merge(plain, on=keys, validate="many_to_one")
