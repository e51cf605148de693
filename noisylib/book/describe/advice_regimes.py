"""The decision table: by estimated noise, unequal classes and quality of the features, which method to use.

A regime is what readers can see of their own data. The limits are round numbers that were not tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.selector_cases import KEY, Cases
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

RATES = (0.1, 0.3)  # of wrong labels, as estimated
UNEQUAL = 10.0  # samples of the largest observed class over those of the smallest
# What a held-out linear head gets right, over the share of labels that can be right.
GOOD = 0.8
NOISE = (f"below {100 * RATES[0]:g}{NBSP}%", f"{100 * RATES[0]:g} to {100 * RATES[1]:g}{NBSP}%",
         f"above {100 * RATES[1]:g}{NBSP}%")  # fmt: skip
CLASSES = ("balanced", "unequal")
FEATURES = ("good", "weak")
Regime = tuple[str, str, str]
PLACE = tuple(name for name in KEY if name != "head")
TAILS = (0.1, 0.9)
# A row names another method than the best of all only if that loses less by this and by one standard error.
CLOSE = 0.005


def regime(rate: float, imbalance: float, held_out_accuracy: float) -> Regime:
    """Return the regime of a data set with an estimated noise rate, from two of its descriptors."""
    noise = NOISE[int(rate >= RATES[0]) + int(rate > RATES[1])]
    right = held_out_accuracy / (1 - rate)
    return noise, CLASSES[int(imbalance > UNEQUAL)], FEATURES[int(right < GOOD)]


def regimes(found: Cases, conditions: pd.DataFrame) -> np.ndarray:
    """Return the regime of each of n conditions (n,), objects; descriptors are means over the draws.

    Parameters
    ----------
    conditions : descriptors per condition and seed, with `estimate`.
    """
    clean = conditions["noise_rate"] == 0
    kinds = conditions["noise_type"].astype(object).where(~clean, "clean")
    numbers = ["estimate", "imbalance", "held_out_accuracy"]
    means = conditions.assign(noise_type=kinds).groupby(list(PLACE))[numbers].mean()
    out = np.empty(len(found), dtype=object)
    for i, condition in enumerate(found.conditions):
        names = dict(zip(KEY, condition, strict=True))
        out[i] = regime(*means.loc[tuple(names[name] for name in PLACE)])
    return out


def same(labels: np.ndarray, wanted: Regime) -> np.ndarray:
    """Return (n,) bool, which of `regimes` are the one that is wanted."""
    return np.fromiter((label == wanted for label in labels), bool, len(labels))


def named(part: Cases, overall: int) -> int:
    """Return the column of the candidate that a row of the table names, from the row's own conditions.

    It is the best method on whole banks, unless the row's best one has a lower mean regret, families alike,
    by more than `CLOSE` and by more than one standard error over families. One family has no standard error,
    and leaves it at the best over all.
    """
    best = int(np.argmin(part.weights @ part.regret))
    gap = part.regret[:, overall] - part.regret[:, best]
    families, where = np.unique(part.family, return_inverse=True)
    if len(families) < 2:
        return overall
    gains = np.bincount(where, gap) / np.bincount(where)
    error = gains.std(ddof=1) / np.sqrt(len(families))
    return best if gains.mean() > max(CLOSE, error) else overall


def overall_best(found: Cases) -> int:
    """Return the column of the candidate of least mean regret on whole banks of images, families alike."""
    whole = found.only(found.real)
    return int(np.argmin(whole.weights @ whole.regret))


def table_regret(found: Cases, conditions: pd.DataFrame) -> np.ndarray:
    """Return (n,) what the decision table loses in each condition if its family had no part in the table.

    Rows are filled by `named` from conditions on images; a regime that no other family has gets the best
    method over all.
    """
    labels, images = regimes(found, conditions), found.learned("variants")
    out = np.empty(len(found))
    for i, label in enumerate(labels):
        others = images & (found.family != found.family[i])
        alike, column = others & same(labels, label), overall_best(found.only(others))
        if alike.any():
            column = named(found.only(alike), column)
        out[i] = found.regret[i, column]
    return out


def regime_frame(found: Cases, conditions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per regime that some condition on images is in, light noise first; fractions.

    Columns noise, classes, features, conditions, families, `use` (a candidate, from `named`), score, regret,
    low and high (10th and 90th percentile over conditions), held_out (mean of `table_regret`), `other` (the
    best of the other candidates) and other_regret, and one per candidate with its mean regret. Means count
    families alike.
    """
    import pandas as pd

    records, images = [], found.learned("variants")
    labels, unseen = regimes(found, conditions), table_regret(found, conditions)
    overall = overall_best(found)
    for wanted in ((a, b, c) for a in NOISE for b in CLASSES for c in FEATURES):
        here = images & same(labels, wanted)
        if not here.any():
            continue
        part = found.only(here)
        mean, use = part.weights @ part.regret, named(part, overall)
        other = next(int(j) for j in np.argsort(mean, kind="stable") if j != use)
        low, high = np.quantile(part.regret[:, use], TAILS)
        record = dict(zip(("noise", "classes", "features"), wanted, strict=True))
        record |= {"conditions": len(part), "families": len(set(part.family))}
        record |= {"use": part.candidates[use], "score": part.weights @ part.scores[:, use]}
        record |= {"regret": mean[use], "low": low, "high": high, "held_out": part.weights @ unseen[here]}
        record |= {"other": part.candidates[other], "other_regret": mean[other]}
        records.append(record | dict(zip(part.candidates, mean, strict=True)))
    return pd.DataFrame(records)
