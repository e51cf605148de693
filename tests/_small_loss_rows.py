"""Made rows of the tables "overlap" and "detection"; their numbers are nearly all equal."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from noisylib.detectors import DETECTORS

NOISES = (("symmetric", 0.2), ("symmetric", 0.4), ("asymmetric", 0.2), ("asymmetric", 0.4))
VIEWS = (("train", "last"), ("train", "best"), ("held_out", ""))
ESTIMATORS = ("histogram", "quantile", "kde", "ks")


def _runs(
    datasets: tuple[str, ...], backbones: tuple[str, ...], heads: tuple[str, ...], seeds: int
) -> list[dict[str, Any]]:
    return [
        {
            "dataset": dataset,
            "backbone": backbone,
            "head": head,
            "noise_type": noise_type,
            "noise_rate": rate,
            "realised_rate": rate,
            "class_map": "default" if noise_type == "asymmetric" else "",
            "seed": seed,
        }
        for dataset, backbone, head, (noise_type, rate), seed in product(
            datasets, backbones, heads, NOISES, range(seeds)
        )
    ]


def overlap_table(
    datasets: tuple[str, ...] = ("ham10000",),
    backbones: tuple[str, ...] = ("deit_tiny", "mobilenetv2"),
    heads: tuple[str, ...] = ("adapter", "linear"),
    seeds: int = 2,
    value: float = 0.57,
) -> pd.DataFrame:
    """Return rows of the table "overlap"; every estimate of seed s is `value` + s / 100."""
    records = []
    for run in _runs(datasets, backbones, heads, seeds):
        for (sample, epoch), estimator in product(VIEWS, ESTIMATORS):
            if epoch == "best" and estimator != "histogram":
                continue
            here = value + run["seed"] / 100
            rest = here if estimator == "histogram" else np.nan
            records.append(
                run
                | {"sample": sample, "epoch": epoch, "estimator": estimator}
                | {"value": here, "corrected": rest, "equal_size": rest}
                | {"test_error": 0.3, "test_balanced_error": 0.5}
            )
    return pd.DataFrame(records)


def detection_table(
    datasets: tuple[str, ...] = ("ham10000",),
    backbones: tuple[str, ...] = ("deit_tiny", "mobilenetv2"),
    heads: tuple[str, ...] = ("adapter", "linear"),
    seeds: int = 2,
) -> pd.DataFrame:
    """Return rows of the table "detection"; every precision is .9, and every recall .8."""
    records = []
    for run in _runs(datasets, backbones, heads, seeds):
        for key, detector in DETECTORS.items():
            for rule in ("matched",) if detector.is_set else ("matched", "fixed"):
                records.append(
                    run
                    | {"detector": key, "design": detector.design, "rule": rule}
                    | {"precision": 0.9, "recall": 0.8, "chance": 1 - run["noise_rate"]}
                    | {"class_precision": np.array([0.5, 0.7, np.nan])}
                )
    return pd.DataFrame(records)


def lose(rows: pd.DataFrame, points: float, *detectors: str, **where: Any) -> None:
    """Take points of precision from some detectors under asymmetric noise."""
    hit = (rows["noise_type"] == "asymmetric") & rows["detector"].isin(detectors)
    for column, value in where.items():
        hit &= rows[column] == value
    rows.loc[hit, "precision"] -= points / 100
