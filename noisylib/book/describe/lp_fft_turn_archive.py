"""Archived rows of linear probes, full fine-tuning and TURN: who is best, and by how much.

Scores are fractions in the rows and percent in what a reader sees, differences percentage points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims import published
from noisylib.book.claims import turn_rows as rows_of
from noisylib.book.claims.claim import Result, Study, find
from noisylib.book.claims.turn_rows import LABELS, NOISE, PROBES, SET, TUNED, TURN, Noise
from noisylib.book.claims.turn_tuned import PAPER_NOISES, paper_row, tuned_claims
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import DAGGER, daggers

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
# What TURN is held against: title, and the rows of which the best is picked on the other seeds.
RIVALS: dict[str, tuple[str, ...]] = {
    "the best linear probe": PROBES,
    "FFT-CE": ("FFT-CE",),
    "the best FFT": TUNED,
}


def set_title(dataset: str, backbone: str, image_size: int, several: bool = False) -> str:
    """Return the title of a data set; with several backbones or sizes, those too."""
    title = bank_title(dataset)
    return f"{title}, {backbone_title(backbone)}, {image_size} pixels" if several else title


def set_titles(rows: pd.DataFrame) -> dict[tuple[str, str, int], str]:
    """Return data set, backbone and image size -> title, in the order of the rows."""
    keys = list(rows[SET].drop_duplicates().itertuples(index=False, name=None))
    several = len({key[1:] for key in keys}) > 1
    return {key: set_title(*key, several) for key in keys}


def column_frame(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return mean and sd over seeds in percent: index `SET`, noise and label, columns mean, sd, seeds.

    The deviation has n - 1 in it and is NaN for a single seed.
    """
    table = rows_of.score_table(rows, score)
    long = table.stack().rename("score").rename_axis(index={None: "label"})
    grouped = long.groupby(level=[*SET, *NOISE, "label"], sort=False)
    return grouped.agg(mean="mean", sd="std", seeds="size")


def names_of(titles: Mapping[tuple[str, str, int], str]) -> dict[str, str]:
    """Return data set -> title for figures, which draw one backbone."""
    return {dataset: title for (dataset, *_), title in titles.items()}


def noise_headings(rows: pd.DataFrame) -> dict[Noise, str]:
    """Return noise -> heading, kind by kind."""
    table = rows_of.score_table(rows)
    return {noise: noise_words(*noise).capitalize() for noise in rows_of.noises_of(table)}


def chance(rows: pd.DataFrame) -> float:
    """Return the percent that guessing one of the classes gets on average."""
    return 100 / int(rows["n_classes"].iloc[0])


def shared_noises(rows: pd.DataFrame) -> dict[str, Noise]:
    """Return the noises of the paper that the rows have, its name -> ours."""
    there = rows_of.noises_of(rows_of.score_table(rows))
    return {name: noise for name, noise in PAPER_NOISES.items() if noise in there}


def paper_wins() -> dict[str, float]:
    """Return in how many columns of the printed CIFAR-100 table each row is best."""
    import pandas as pd

    printed = {label: np.ravel(published.CIFAR100[paper_row(label)]) for label in LABELS}
    return rows_of.wins(pd.DataFrame(printed)).sum().to_dict()


def verdicts(rows: pd.DataFrame, source: str = "") -> dict[str, list[Result]]:
    """Return the claims on tuned backbones measured on the rows, by score."""
    study = Study(rows_of.TABLE, rows, source)
    return {
        score: [Result(claim, {study.name: find(claim, study)}) for claim in tuned_claims(score)]
        for score in SCORES
    }


def gains(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return by how much TURN exceeds its `RIVALS` in every run: columns rival, `RUN` and lead (points)."""
    import pandas as pd

    table = rows_of.score_table(rows, score)
    parts = [
        rows_of.lead_over_picked(table, TURN, rivals).rename("lead").reset_index().assign(rival=title)
        for title, rivals in RIVALS.items()
    ]
    return pd.concat(parts, ignore_index=True)


def gains_by_set(found: pd.DataFrame) -> pd.DataFrame:
    """Return per rival and data set: mean lead over noises and seeds, its range over seeds, columns ahead.

    Parameters
    ----------
    found : from `gains`.

    Returns
    -------
    Columns rival, `SET`, mean, low, high (lowest and highest seed, means over noises), ahead and columns
    (noises whose mean over seeds is above 0, and all), worst (lowest mean of a noise) and its worst_noise.
    """
    import pandas as pd

    records = []
    for key, part in found.groupby(["rival", *SET], sort=False):
        seeds, noises = part.groupby("seed")["lead"].mean(), part.groupby(NOISE, sort=False)["lead"].mean()
        records.append(
            dict(zip(["rival", *SET], key, strict=True))
            | {"mean": part["lead"].mean(), "low": seeds.min(), "high": seeds.max()}
            | {"ahead": int((noises.round(9) > 0).sum()), "columns": len(noises)}
            | {"worst": noises.min(), "worst_noise": noise_words(*noises.idxmin())}
        )
    return pd.DataFrame(records)


def told_note(rows: pd.DataFrame) -> str:
    """Return the footnote on linear probes that are told of the noise; empty if none is."""
    return daggers(list(rows[rows["tuning"] == "lp"]["method"].unique()))


def shown(label: str) -> str:
    """Return a label as tables show it, with a dagger if its method is told of the noise."""
    from noisylib.methods import METHODS

    method = METHODS.get(label.partition("-")[2].lower()) if label in PROBES else None
    return label + (DAGGER if method is not None and method().told else "")
