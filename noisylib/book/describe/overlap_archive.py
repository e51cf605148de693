"""Archived overlaps of all data sets: cells with intervals, and what they go with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.closed_forms import identical_overlap
from noisylib.book.claims import published

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = "histogram"
VIEWS = {
    "last": "in-sample, last epoch",
    "best": "in-sample, best epoch",
    "held_out": "out-of-fold",
}
CELL = ["dataset", "backbone", "head", "noise_type", "noise_rate"]
ERRORS = {"test_error": "1 - accuracy", "test_balanced_error": "1 - balanced accuracy"}
Z = 1.959964  # of a 95 % interval
LEFT_BY_CORRECTION = 2 - np.sqrt(2)  # of the bias of equal distributions, see OverlapEstimate.corrected
EXACT_BELOW = 2000  # samples, from which the formula for large counts is as good and much faster


def seed_interval(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of an overlap over seeds and its 95 % interval, clipped to [0, 1].

    Each seed draws its own wrong labels and start, so the variance between seeds is divided by their number.
    All seeds share the images, so the variance that the bootstrap over images finds is not. The bootstrap
    also redraws which images of a run are flipped, so a part of the noise draw counts twice: the interval is
    rather too wide than too narrow. One seed has no variance between seeds.

    Parameters
    ----------
    values, errors : (S,) estimate of each seed and its standard error from the bootstrap, fractions.
    """
    values, errors = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    between = values.var(ddof=1) if len(values) > 1 else 0.0
    reach = Z * np.sqrt(between / len(values) + (errors**2).mean())
    mean = values.mean()
    low, high = np.clip([mean - reach, mean + reach], 0, 1).tolist()
    return float(mean), low, high


def ceiling(clean: np.ndarray, flipped: np.ndarray) -> float:
    """Return what the corrected estimate gives on average if both groups have the pooled distribution.

    Parameters
    ----------
    clean, flipped : (B,) counts of a shared histogram, overflow included.
    """
    sizes = int(np.sum(clean)), int(np.sum(flipped))
    p = (np.asarray(clean) + np.asarray(flipped)) / sum(sizes)
    if sum(sizes) < EXACT_BELOW:
        plain = identical_overlap(p, *sizes)
    else:
        plain = 1 - np.sqrt(p * (1 - p) * (1 / sizes[0] + 1 / sizes[1]) / (2 * np.pi)).sum()
    return float(1 - LEFT_BY_CORRECTION * (1 - plain))


def with_view(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a column "view", a key of `VIEWS`."""
    held_out = rows["sample"] == "held_out"
    return rows.assign(view=rows["epoch"].mask(held_out, "held_out"))


def cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition, head and view: the headline estimate over seeds.

    Columns CELL, view, corrected, low, high (`seed_interval`), and the means over seeds of value, equal_size,
    auroc, test_error, test_balanced_error, n_flipped; seeds is their number, and ceiling that of the first.

    Parameters
    ----------
    rows : of the table "overlap".
    """
    import pandas as pd

    means = ["value", "equal_size", "auroc", *ERRORS, "n_flipped"]
    records = []
    chosen = with_view(rows[rows["estimator"] == HEADLINE])
    for key, part in chosen.groupby([*CELL, "view"], sort=False):
        corrected, low, high = seed_interval(part["corrected"], part["se"])
        first = part.iloc[0]
        records.append(
            dict(zip([*CELL, "view"], key, strict=True))
            | {"corrected": corrected, "low": low, "high": high, "seeds": len(part)}
            | {"ceiling": ceiling(first["clean_counts"], first["flipped_counts"])}
            | part[means].mean().to_dict()
        )
    return pd.DataFrame(records)


def mean_density(part: pd.DataFrame, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the densities of log-loss of clean and of flipped samples at `points`, means over rows.

    Each row is a histogram of its own bins, a density that is constant in a bin. What lies in the overflow
    cells, a hundredth of the samples at most, is not in it.

    Parameters
    ----------
    part : rows with edges (101,), clean_counts and flipped_counts (102,).
    points : (P,) log-losses.
    """
    densities = []
    for edges, *groups in part[["edges", "clean_counts", "flipped_counts"]].itertuples(index=False):
        edges = np.asarray(edges, np.float64)
        width = edges[1] - edges[0]
        bins = np.searchsorted(edges, points, side="right")  # 0 and len(edges) are the overflow cells
        inside = (bins > 0) & (bins < len(edges))
        densities.append([np.where(inside, np.asarray(n)[bins] / (np.sum(n) * width), 0.0) for n in groups])
    clean, flipped = np.mean(densities, axis=0)
    return clean, flipped


def factor_shares(frame: pd.DataFrame, column: str) -> dict[str, float]:
    """Return how much of the variance of `column` over cells the means of each factor of CELL explain.

    In a complete design the shares of main effects add up to 1 at most; "together" is what is left to
    factors acting together. Kind and rate of noise count as one factor, "noise".
    """
    factors = {"dataset": ["dataset"], "backbone": ["backbone"], "head": ["head"], "noise": CELL[3:]}
    values = frame[column]
    total = ((values - values.mean()) ** 2).sum()
    if total == 0:
        return dict.fromkeys([*factors, "together"], float("nan"))
    shares = {
        name: float(((frame.groupby(keys)[column].transform("mean") - values.mean()) ** 2).sum() / total)
        for name, keys in factors.items()
    }
    return shares | {"together": 1 - sum(shares.values())}


def rank_correlations(frame: pd.DataFrame, error: str) -> dict[str, float]:
    """Return Spearman's correlation of overlap and clean test error over cells of one view.

    "all" over all cells; "low" and "high", the lowest and highest within one kind and rate of noise.
    NaN where either is constant.
    """

    def of(part: pd.DataFrame) -> float:
        from scipy.stats import spearmanr

        pair = part["corrected"].round(9), part[error].round(9)
        return float("nan") if min(x.nunique() for x in pair) < 2 else float(spearmanr(*pair).statistic)

    noises = [of(part) for _, part in frame.groupby(CELL[3:])]
    return {"all": of(frame), "low": float(np.min(noises)), "high": float(np.max(noises))}


@dataclass(frozen=True)
class Association:
    """What the overlaps of one view go with.

    Attributes
    ----------
    heads : those that were run in every combination of the other factors.
    shares : `factor_shares` over the cells of these heads.
    ranks : error -> `rank_correlations` over all cells.
    shifts : `noise_shifts` over all cells.
    """

    heads: tuple[str, ...]
    shares: Mapping[str, float]
    ranks: Mapping[str, Mapping[str, float]]
    shifts: Mapping[float, float]


def associations(cells: pd.DataFrame, views: Sequence[str] = ("last", "held_out")) -> dict[str, Association]:
    """Return the association of each view."""
    found = {}
    for view in views:
        part = cells[cells["view"] == view]
        counts = part["head"].value_counts(sort=False)
        heads = tuple(counts.index[counts == counts.max()])
        ranks = {error: rank_correlations(part, error) for error in ERRORS}
        shares = factor_shares(part[part["head"].isin(heads)], "corrected")
        found[view] = Association(heads, shares, ranks, noise_shifts(part))
    return found


def noise_shifts(frame: pd.DataFrame) -> dict[float, float]:
    """Return rate -> mean of asymmetric minus symmetric overlap of the same images, features and head.

    Empty if there is one kind of noise only; cells of one view.
    """
    same = ["dataset", "backbone", "head", "noise_rate"]
    wide = frame.pivot(index=same, columns="noise_type", values="corrected")
    if not {"asymmetric", "symmetric"} <= set(wide):
        return {}
    shift = (wide["asymmetric"] - wide["symmetric"]).dropna()
    return shift.groupby("noise_rate").mean().to_dict()


def head_gaps(cells: pd.DataFrame) -> pd.Series:
    """Return head -> mean of in-sample (last epoch) minus out-of-fold overlap over its cells."""
    wide = cells.pivot(index=CELL, columns="view", values="corrected")
    return (wide["last"] - wide["held_out"]).groupby("head", sort=False).mean()


def range_frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Return per view and head how the overlaps of its cells are spread.

    Columns view, head, cells, lowest, median, highest, and inside: cells whose overlap lies in the paper's
    range.
    """
    import pandas as pd

    low, high = (end / 100 for end in published.OVERLAP)
    records = []
    for (view, head), part in cells.groupby(["view", "head"], sort=False):
        values = part["corrected"]
        records.append(
            {
                "view": view,
                "head": head,
                "cells": len(values),
                "lowest": values.min(),
                "median": values.median(),
                "highest": values.max(),
                "inside": int(values.between(low, high).sum()),
            }
        )
    return pd.DataFrame(records)


def estimator_spread(rows: pd.DataFrame) -> float:
    """Return the median over runs and views of the largest difference between two plain estimates."""
    chosen = with_view(rows)
    chosen = chosen[chosen["view"] != "best"]  # of which only the headline is archived
    values = chosen.groupby([*CELL, "seed", "view"])["value"]
    return float((values.max() - values.min()).median())


def choice_spread(cells: pd.DataFrame) -> pd.Series:
    """Return how far apart the overlaps of one data set, backbone and noise are over views and heads."""
    values = cells.groupby([name for name in CELL if name != "head"], sort=False)["corrected"]
    return values.max() - values.min()
