"""How much precision detectors lose from symmetric to asymmetric noise: drops, contests and their tables.

A drop is the precision under symmetric noise minus that under asymmetric noise at the same nominal rate, seed
by seed. Rows are those of `noisylib.signal_rows.detection_rows`, archived or live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import NBSP
from noisylib.detectors import DEPLOYED, DETECTORS, REPEATED, SAME

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95  # of the intervals
SAME_RATE = 0.01  # realised rates that differ by less are called equal
CELL = ["dataset", "backbone", "head", "noise_rate"]


@dataclass(frozen=True)
class Contest:
    """A small-loss ranking and an agreement signal that keep equally many samples.

    Attributes
    ----------
    title : the design, and what tells the contest from others of it.
    design : what the two come from, one of the designs of `noisylib.detectors`.
    loss, agreement : keys of the two detectors.
    """

    title: str
    design: str
    loss: str
    agreement: str


CONTESTS = (
    Contest(SAME, SAME, "loss_same", "agreement_same"),
    Contest(DEPLOYED, DEPLOYED, "loss", "agreement"),
    Contest(f"{DEPLOYED}: Co-teaching", DEPLOYED, "peer_loss", "agreement"),
    *(
        Contest(f"{REPEATED}: {name}", REPEATED, "loss", f"agreement_{name}")
        for name in ("epochs", "folds", "neighbours")
    ),
)


def at_rule(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the rows of a rule; a set, which has one size only, is in both."""
    sets = [key for key, detector in DETECTORS.items() if detector.is_set]
    return rows[(rows["rule"] == rule) | rows["detector"].isin(sets)]


def seed_drops(rows: pd.DataFrame, rule: str = "matched", hard: str = "asymmetric") -> pd.DataFrame:
    """Return the drop of every detector as a fraction, one row per condition and seed.

    Returns
    -------
    Index dataset, backbone, head, noise_rate, seed; a column per detector, NaN where it was not trained or
    kept nothing.
    """
    part = at_rule(rows, rule)
    wide = part.pivot(index=[*CELL, "seed"], columns=["noise_type", "detector"], values="precision")
    drops = wide["symmetric"] - wide[hard]
    return drops[[key for key in DETECTORS if key in drops]]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and ends of the t interval of some seeds; NaN ends for fewer than two of them."""
    from scipy.stats import t

    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return (float("nan"),) * 3
    mean = float(values.mean())
    if len(values) == 1:
        return mean, float("nan"), float("nan")
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return mean, mean - float(half), mean + float(half)


def drop_frame(drops: pd.DataFrame) -> pd.DataFrame:
    """Return mean, low and high of the drop of each detector in each condition, tidy.

    Parameters
    ----------
    drops : from `seed_drops`.
    """
    import pandas as pd

    records = [
        (*cell, key, *interval(part[key]))
        for cell, part in drops.groupby(level=CELL, sort=False)
        for key in part
        if part[key].notna().any()
    ]
    return pd.DataFrame(records, columns=[*CELL, "detector", "mean", "low", "high"])


def contest_frame(drops: pd.DataFrame) -> pd.DataFrame:
    """Return, for each contest and condition, both drops and the paired difference loss minus agreement.

    Returns
    -------
    Columns of CELL, contest (a title), design, loss, agreement (mean drops), mean, low, high (of the
    difference), as fractions. Contests with a detector that was not trained are left out.
    """
    import pandas as pd

    records = []
    for contest in contests_of(drops):
        for cell, part in drops.groupby(level=CELL, sort=False):
            both = part[[contest.loss, contest.agreement]].dropna()
            if len(both):
                difference = interval(both[contest.loss] - both[contest.agreement])
                records.append((*cell, contest.title, contest.design, *both.mean(), *difference))
    columns = [*CELL, "contest", "design", "loss", "agreement", "mean", "low", "high"]
    return pd.DataFrame(records, columns=columns)


def contests_of(drops: pd.DataFrame) -> list[Contest]:
    """Return the contests of which both detectors were trained."""
    return [contest for contest in CONTESTS if {contest.loss, contest.agreement} <= set(drops)]


def unequal_rates(rows: pd.DataFrame) -> list[str]:
    """Return the data sets on which the two noises make different shares of labels wrong."""
    rates = rows.groupby(["dataset", "noise_rate", "noise_type"])["realised_rate"].mean().unstack()
    apart = (rates.max(axis=1) - rates.min(axis=1)).groupby(level="dataset").max() > SAME_RATE
    return list(apart.index[apart])


def points(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """Return a fraction in points with its interval, without breaking spaces and without "-0.0"."""
    mean, *ends = (f"{round(100 * number, 1) + 0.0:.1f}" for number in (value, low, high))
    return mean if np.isnan(low) else f"{mean}{NBSP}[{ends[0]},{NBSP}{ends[1]}]"


def extent(rows: pd.DataFrame, *columns: str) -> str:
    """Return how many data sets, backbones, rates and seeds there are in some rows, as a list in words.

    Parameters
    ----------
    columns : of "dataset", "backbone", "noise_rate" and "seed"; all of them by default.
    """
    nouns = {"dataset": "data set", "backbone": "backbone", "noise_rate": "rate", "seed": "seed"}
    counts = {column: rows[column].nunique() for column in columns or nouns}
    parts = [f"{n} {nouns[column]}{'' if n == 1 else 's'}" for column, n in counts.items()]
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
