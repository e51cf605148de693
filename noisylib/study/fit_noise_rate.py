"""Fits the rule of the noise rate to conditions whose rate is known, and measures it on kinds left out.

Every family of data sets weighs the same, however many conditions it has. What is reported of the rule, and
the interval it gives, come from fits that left the family in question out. Made data is never fitted to:
its classes overlap everywhere, which no rule can tell from noise; it shows what the rule is worth there.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.families import family
from noisylib.errors import NoisylibError
from noisylib.noise_rate import FORMAT, RateRule

if TYPE_CHECKING:
    import pandas as pd

FEATURES = ("anchor_floor", "anchor_excess", "anchor_overlap")
PENALTY = 0.01  # of the squared weights, in units of the mean squared error of z-scored descriptors
DIGITS = 9  # significant digits in the file, the same on every machine
INTERVAL = (0.05, 0.95)
KINDS = ("clean", "symmetric", "asymmetric")
MADE = "made"  # family of simulated data


def fit_noise_rate(conditions: pd.DataFrame) -> dict[str, object]:
    """Return the content of the file of the rule, and what it is worth, as a dict of plain values.

    Parameters
    ----------
    conditions : a row per condition, with the descriptors, `n_classes`, `n_samples`, `realised_rate`,
        `noise_type`, and `family` or else `dataset`; `variant` is "" for whole data sets, and missing if
        all are. The order of the rows does not count.

    Returns
    -------
    The constants that `noisylib.noise_rate.rule_of` reads; "families" and "rows" they were fitted to, and
    "source", a digest of what was read of these; "errors": mean absolute errors of the rate, in fractions, of
    the rule fitted without the family in question ("held_out") and with it ("resubstituted"), as a mean
    over families, per kind of noise and per family; "whole_held_out", the first on whole data sets only;
    "made", of the rule on made data, if there is any; and "coverage": how often the 90 % interval held the
    rate, when neither the rule nor the interval knew the family.

    Raises
    ------
    NoisylibError
        If a column is missing, or there are fewer than three families.
    """
    table = _canonical(conditions)
    made = table[table["family"] == MADE]
    rows = table[table["family"] != MADE].reset_index(drop=True)
    families = sorted(set(rows["family"]))
    if len(families) < 3:
        raise NoisylibError(
            f"conditions holds the families {families}: at least 3 are needed to fit and to check the rule."
        )
    everything = np.ones(len(rows), dtype=bool)
    rule, held_out = _fit(rows, everything), _held_out(rows, everything)
    below, above = _interval(rows, held_out, everything)
    whole = (rows["variant"] == "").to_numpy()
    names = [{"name": name} for name in rule.names]
    for key in ("mean", "scale", "weight", "lowest", "highest"):
        for row, value in zip(names, getattr(rule, key), strict=True):
            row[key] = _short(value)
    return {
        "format": FORMAT,
        "what": "noise rate = intercept + sum of weight * (descriptor within its range - mean) / scale",
        "descriptors": names,
        "intercept": _short(rule.intercept),
        "below": _short(below),
        "above": _short(above),
        "per_class": _short((rows["n_samples"] / rows["n_classes"]).min()),
        "families": families,
        "rows": len(rows),
        "source": _digest(rows),
        "errors": {
            "held_out": errors(rows, held_out),
            "resubstituted": errors(rows, rule.rate(*_inputs(rows))),
            "whole_held_out": errors(rows[whole], held_out[whole]),
            **({"made": errors(made, rule.rate(*_inputs(made)))} if len(made) else {}),
        },
        "coverage": _short(_coverage(rows)),
    }


def errors(rows: pd.DataFrame, estimate: np.ndarray) -> dict[str, object]:
    """Return mean absolute errors of rates: a mean over families, the same per kind, and per family."""
    table = rows.assign(error=np.abs(estimate - rows["realised_rate"]), kind=_kinds(rows))
    by_family = table.groupby("family")["error"].mean()
    by_kind = table.groupby(["kind", "family"])["error"].mean().groupby("kind").mean()
    return {
        "all": _short(by_family.mean()),
        "kinds": {kind: _short(by_kind[kind]) for kind in KINDS if kind in by_kind},
        "families": {name: _short(value) for name, value in by_family.items()},
    }


def held_out_rates(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions, ordered, with `estimate`: their rate by a rule that did not see their family.

    Made data is left out.
    """
    rows = _canonical(conditions)
    rows = rows[rows["family"] != MADE].reset_index(drop=True)
    return rows.assign(estimate=_held_out(rows, np.ones(len(rows), dtype=bool)))


def _canonical(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are read, rows in an order that does not depend on how they came."""
    needed = [*FEATURES, "n_classes", "n_samples", "realised_rate", "noise_type"]
    missing = [name for name in needed if name not in conditions]
    if not {"family", "dataset"} & set(conditions):
        missing.append("family")
    if missing:
        raise NoisylibError(f"conditions lacks the columns {missing}: pass the table of the experiment.")
    rows = conditions[needed].copy()
    rows["variant"] = conditions.get("variant", "")
    rows["family"] = conditions["family"] if "family" in conditions else conditions["dataset"].map(family)
    return rows.sort_values(list(rows), ignore_index=True)


def _inputs(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return rows[list(FEATURES)].to_numpy(np.float64), rows["n_classes"].to_numpy(np.float64)


def _weights(rows: pd.DataFrame) -> np.ndarray:
    """Return weights (M,) that sum to 1, each family's to the same."""
    weights = 1.0 / rows.groupby("family")["family"].transform("size").to_numpy(np.float64)
    return weights / weights.sum()


def _fit(rows: pd.DataFrame, kept: np.ndarray) -> RateRule:
    """Return the ridge regression on the rows that are `kept` (M,)."""
    part = rows[kept]
    (X, _), y, w = _inputs(part), part["realised_rate"].to_numpy(np.float64), _weights(part)
    mean = w @ X
    scale = np.sqrt(w @ (X - mean) ** 2)
    scale = np.where(scale > 0, scale, 1.0)
    Z, intercept = (X - mean) / scale, float(w @ y)
    gram = Z.T @ (w[:, None] * Z) + PENALTY * np.eye(len(FEATURES))
    weight = np.linalg.solve(gram, Z.T @ (w * (y - intercept)))
    return RateRule(FEATURES, mean, scale, weight, X.min(0), X.max(0), intercept)


def _held_out(rows: pd.DataFrame, kept: np.ndarray) -> np.ndarray:
    """Return rates (M,), each by the rule fitted to the `kept` rows of all other families."""
    estimate, names = np.full(len(rows), np.nan), rows["family"].to_numpy()
    X, K = _inputs(rows)
    for name in sorted(set(names[kept])):
        own = names == name
        estimate[own] = _fit(rows, kept & ~own).rate(X[own], K[own])
    return estimate


def _interval(rows: pd.DataFrame, estimate: np.ndarray, kept: np.ndarray) -> tuple[float, float]:
    """Return the 5th and 95th percentile of true less estimated rate, families weighing the same."""
    residual = (rows["realised_rate"].to_numpy() - estimate)[kept]
    order = np.argsort(residual, kind="stable")
    cumulated = np.cumsum(_weights(rows[kept])[order])
    low, high = (residual[order][min(np.searchsorted(cumulated, q), len(order) - 1)] for q in INTERVAL)
    return min(float(low), 0.0), max(float(high), 0.0)


def _coverage(rows: pd.DataFrame) -> float:
    """Return how often an interval made without a family holds its rates, a mean over families."""
    names, shares = rows["family"].to_numpy(), []
    (X, K), truth = _inputs(rows), rows["realised_rate"].to_numpy()
    for name in sorted(set(names)):
        others, own = names != name, names == name
        rate = _fit(rows, others).rate(X[own], K[own])
        below, above = _interval(rows, _held_out(rows, others), others)
        shares.append(float(((truth[own] >= rate + below) & (truth[own] <= rate + above)).mean()))
    return float(np.mean(shares))


def _kinds(rows: pd.DataFrame) -> np.ndarray:
    return np.where(rows["realised_rate"] == 0, "clean", rows["noise_type"])


def _short(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def _digest(rows: pd.DataFrame) -> str:
    """Return a digest of what the fit reads, rounded as the file is."""
    values = [[_short(v) if isinstance(v, float) else v for v in row] for row in rows.to_numpy().tolist()]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
