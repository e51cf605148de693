"""What the claims on small loss leave open, and our numbers when one thing is changed at a time.

Every question starts from the headline that the claims are measured on (`claims_small_loss`). Its choices
are compared on the conditions and seeds that all of them have, so that nothing else changes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims.claim import CannotTestError, ends_text
from noisylib.book.claims.small_loss import (
    DEPLOYED,
    HEAD,
    NOISES,
    RATE,
    RULES,
    SKIN,
    drops_of,
    headline_detections,
    headline_overlaps,
    over_seeds,
    paired,
)
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.drops import contests_of, unequal_rates
from noisylib.book.describe.overlap_archive import VIEWS, with_view
from noisylib.book.describe.overlap_tables import ESTIMATOR_TITLES, noise_words
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

UNEVEN = "*"  # marks images on which the two noises make different shares of labels wrong
RUN = ["dataset", "backbone", "head", "noise_type", "noise_rate", "seed"]
NAMES: dict[str, Callable[[str], str]] = {"dataset": bank_title, "backbone": backbone_title, "head": str}


@dataclass(frozen=True)
class Question:
    """Something a paper does not say.

    Attributes
    ----------
    text : what is left open.
    choices : the runs under every choice, one row per run.
    free : the columns of `RUN` that the choices differ in.
    """

    text: str
    choices: Mapping[str, pd.DataFrame]
    free: tuple[str, ...] = ()

    def common(self) -> dict[str, pd.DataFrame]:
        """Return the runs that all choices have; nothing where fewer than two have runs in common."""
        there = {name: rows for name, rows in self.choices.items() if len(rows)}
        if len(there) < 2:
            return {}
        keys = [c for c in RUN if c not in self.free and c in next(iter(there.values()))]
        found = {name: rows.set_index(keys).index for name, rows in there.items()}
        shared = set.intersection(*map(set, found.values()))
        kept = {name: rows[found[name].isin(list(shared))] for name, rows in there.items()}
        return kept if shared else {}


def split(
    rows: pd.DataFrame,
    *columns: str,
    names: Callable[..., str] | None = None,
    order: Iterable[str] = (),
) -> dict[str, pd.DataFrame]:
    """Return the rows of every value of a column, or of several together, by what a reader calls it.

    Parameters
    ----------
    names : of values; default: as `NAMES` calls those of the column.
    order : names in the order that is wanted; default: as the rows come.
    """
    names = names or NAMES[columns[0]]
    found = {names(*key): part for key, part in rows.groupby(list(columns), sort=False)}
    return {name: found[name] for name in order if name in found} or found


def choice_frame(records: list[tuple], columns: Sequence[str]) -> pd.DataFrame:
    """Return a frame of choices, whose first two columns are "open" and "choice"."""
    import pandas as pd

    if not records:
        raise CannotTestError("the rows have one choice only of everything that is left open")
    return pd.DataFrame(records, columns=["open", "choice", *columns])


def overlap_questions(rows: pd.DataFrame) -> list[Question]:
    """Return what a reported overlap leaves open; the frames have a column "overlap", a fraction.

    Parameters
    ----------
    rows : of the table "overlap".
    """
    headline_overlaps(rows)  # or an error that says what is missing
    views = with_view(rows)
    plain = views.assign(overlap=views["value"])
    corrected = views.assign(overlap=views["corrected"])
    size = views.assign(overlap=views["equal_size"])

    def base(frame: pd.DataFrame, **other: object) -> pd.DataFrame:
        wanted = {"dataset": SKIN, "head": HEAD, "view": "last", "estimator": "histogram"} | other
        for column, value in wanted.items():
            if value is not None:
                frame = frame[frame[column] == value]
        return frame[[*RUN, "overlap"]].dropna()

    here = base(corrected)
    return [
        Question(
            "estimator, no correction",
            {title: base(plain, estimator=name) for name, title in ESTIMATOR_TITLES.items()},
        ),
        Question(
            "correction for finite samples",
            {"none": base(plain), "of the bias": here, "groups of one common size": base(size)},
        ),
        Question(
            "losses of which epoch and model", {title: base(corrected, view=v) for v, title in VIEWS.items()}
        ),
        Question("head", split(base(corrected, head=None), "head"), ("head",)),
        Question("backbone", split(here, "backbone"), ("backbone",)),
        Question(
            "kind and rate of noise",
            split(here, "noise_type", "noise_rate", names=noise_words),
            ("noise_type", "noise_rate"),
        ),
        Question("images", split(base(corrected, dataset=None), "dataset"), ("dataset",)),
    ]


def overlap_choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Return our overlap under every choice: open, choice, conditions, mean, low, high (of conditions)."""
    records = []
    for question in overlap_questions(rows):
        for choice, part in question.common().items():
            means = part.groupby(RUN[:-1])["overlap"].mean()
            records.append((question.text, choice, len(means), means.mean(), means.min(), means.max()))
    return choice_frame(records, ["conditions", "mean", "low", "high"])


def drop_questions(rows: pd.DataFrame) -> list[Question]:
    """Return what the two reported drops leave open; the frames are those of `claims_small_loss.paired`.

    Parameters
    ----------
    rows : of the table "detection".
    """
    here = rows[(rows["dataset"] == SKIN) & (rows["head"] == HEAD)]
    at_rate = headline_detections(rows)
    headline = drops_of(at_rate)
    deployed = paired(headline, DEPLOYED)
    heads = rows[(rows["dataset"] == SKIN) & np.isclose(rows["noise_rate"], RATE)]
    images = rows[(rows["head"] == HEAD) & np.isclose(rows["noise_rate"], RATE)]
    uneven = unequal_rates(images)
    titles = {name: bank_title(name) + UNEVEN * (name in uneven) for name in images["dataset"].unique()}
    return [
        Question(
            "which models give the two signals", {c.title: paired(headline, c) for c in contests_of(headline)}
        ),
        Question(
            "how many samples are kept",
            {title: paired(drops_of(at_rate, rule), DEPLOYED) for rule, title in RULES.items()},
        ),
        Question("drop of what, and from what", _measures(at_rate)),
        Question(
            "rate of noise",
            split(paired(drops_of(here), DEPLOYED), "noise_rate", names=lambda r: f"{100 * r:g}{NBSP}%"),
            ("noise_rate",),
        ),
        Question(
            "head", split(paired(drops_of(heads), DEPLOYED), "head", order=rows["head"].unique()), ("head",)
        ),
        Question("backbone", split(deployed, "backbone"), ("backbone",)),
        Question(
            "images",
            split(
                paired(drops_of(images), DEPLOYED),
                "dataset",
                names=titles.get,
                order=titles.values(),
            ),
            ("dataset",),
        ),
    ]


def _measures(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the drops of other numbers than precision, or from other labels than symmetric noise's."""
    per_class = rows["class_precision"].map(lambda values: np.nanmean(np.asarray(values, float)))
    above = rows["precision"] - rows["chance"]
    # Without wrong labels every precision is 1.
    clean = rows["precision"].where(rows["noise_type"] != NOISES[0], 1.0)
    measures = {
        "precision, from symmetric noise": rows["precision"],
        "precision above chance, from symmetric noise": above,
        "precision, mean of observed classes, from symmetric noise": per_class,
        "recall of right labels, from symmetric noise": rows["recall"],
        "precision, from clean labels": clean,
    }
    return {
        title: paired(drops_of(rows.assign(precision=values)), DEPLOYED) for title, values in measures.items()
    }


def drop_choices(rows: pd.DataFrame) -> pd.DataFrame:
    """Return both drops under every choice, means over conditions and seeds, as fractions.

    Returns
    -------
    Columns open, choice, conditions, loss, agreement, difference, and interval, a text in points.
    """
    records = []
    for question in drop_questions(rows):
        for choice, part in question.common().items():
            means = part[["loss", "agreement", "difference"]].mean()
            ends = over_seeds(part, "difference")[1]
            count = len(part[RUN[:3]].drop_duplicates())
            records.append((question.text, choice, count, *means, ends_text(ends, 1, 100)))
    return choice_frame(records, ["conditions", "loss", "agreement", "difference", "interval"])
