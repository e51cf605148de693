"""From archived conditions to a selector: which rule it uses, what it knows, and how far to trust it.

The result holds plain numbers and words only. Every rule gives weights over archived conditions, so the table
of these, with descriptors and scores in percent, is most of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from noisylib.analysis.selector_cases import Cases, unscaled
from noisylib.analysis.selector_check import best_rule, held_out, judged, nested
from noisylib.analysis.selector_rules import Known, grow_tree, leaves

FORMAT = 1
# Candidates that take more than three times as long as cross-entropy; without them a choice is "cheap".
DEAR = ("dividemix",)
POOLS = ("all", "cheap")
TAILS = (0.1, 0.9)
# Distances to what is known are kept as these quantiles.
GRID = np.linspace(0, 1, 21)


def pool_candidates(candidates: tuple[str, ...], pool: str) -> tuple[str, ...]:
    """Return the candidates of a pool: all, or those that are not dear."""
    return tuple(name for name in candidates if pool == "all" or name not in DEAR)


def fit_selector(by_metric: Mapping[str, Cases]) -> dict[str, Any]:
    """Return the selector as plain numbers.

    Parameters
    ----------
    by_metric : the same conditions and candidates with the scores of each metric.
    """
    (first, *_) = by_metric.values()
    return {
        "format": FORMAT,
        "candidates": list(first.candidates),
        "inputs": list(first.inputs),
        "rules": {
            metric: {pool: _fit_pool(cases.among(pool_candidates(cases.candidates, pool))) for pool in POOLS}
            for metric, cases in by_metric.items()
        },
        "distances": _rounded(np.quantile(family_distances(first), GRID)),
        "conditions": _table(by_metric),
    }


def family_distances(cases: Cases) -> np.ndarray:
    """Return (draws,) how far each judged draw is from the nearest condition of another family."""
    found, test = [], judged(cases)
    for name in np.unique(test.family):
        others, seen = cases.only(cases.family != name), test.seen[test.family == name]
        queries = seen[np.isfinite(seen).all(axis=2)]
        found.append(Known(others.X, others.weights).distances(queries).min(axis=1))
    return np.concatenate(found)


def _fit_pool(cases: Cases) -> dict[str, Any]:
    """Return the rule of one pool and metric, what it lost on unseen families, and a tree to read."""
    rule, rows = best_rule(cases)
    lost, surprise = held_out(cases, rule, rows)
    test = judged(cases)
    weights = np.repeat(test.weights[:, None], surprise.shape[1], axis=1)
    low, high = (_quantile(surprise, weights, q) for q in TAILS)
    procedure, fixed = nested(cases)[0], held_out(cases, "fixed")[0]
    learned = cases.only(cases.learned(rows))
    return {
        "rule": rule,
        "rows": rows,
        "held_out_regret": {
            name: dict(zip(("mean", "p90", "max"), _rounded(_summary(values)), strict=True))
            for name, values in (("selector", procedure), ("this rule", lost), ("best fixed", fixed))
        },
        "regret_minus_expected": {
            name: _rounded([a, b]) for name, a, b in zip(cases.candidates, low, high, strict=True)
        },
        "level": _level(cases, rows),
        "tree": _readable(grow_tree(learned), learned),
    }


def _summary(lost: np.ndarray) -> list[float]:
    return [float(lost.mean()), float(np.quantile(lost, 0.9)), float(lost.max())]


def _quantile(values: np.ndarray, weights: np.ndarray, q: float) -> np.ndarray:
    """Return the weighted quantile over draws of values (m, S, k), each candidate for itself."""
    out = np.empty(values.shape[2])
    for j in range(len(out)):
        there = np.isfinite(values[..., j])
        order = np.argsort(values[..., j][there], kind="stable")
        mass = np.cumsum(weights[there][order])
        out[j] = values[..., j][there][order][np.searchsorted(mass, q * mass[-1])]
    return out


def _level(cases: Cases, rows: str) -> dict[str, float]:
    """Return the line from what a linear head scores on observed labels to the best score, and its error.

    The error is the mean absolute one in families that the line was not fitted to, families counting alike.
    """
    test, errors = judged(cases), []
    for name in np.unique(test.family):
        slope, start = _line(cases.only(cases.learned(rows) & (cases.family != name)))
        here = test.only(test.family == name)
        errors.append(np.abs(start + slope * here.head_score - here.scores.max(axis=1)).mean())
    slope, start = _line(cases.only(cases.learned(rows)))
    return {"slope": _rounded(slope), "intercept": _rounded(start), "error": _rounded(np.mean(errors))}


def _line(train: Cases) -> tuple[float, float]:
    """Return slope and intercept by least squares, families counting alike."""
    x, y, weights = train.head_score, train.scores.max(axis=1), train.weights
    gap = x - weights @ x
    spread = weights @ gap**2
    slope = float(weights @ (gap * y) / spread) if spread > 0 else 0.0
    return slope, float(weights @ y - slope * (weights @ x))


def _readable(tree: dict[str, Any], train: Cases) -> dict[str, Any]:
    """Return the tree with the names of inputs, and in each leaf the choice, its mean regret and its size."""
    where = leaves(tree, train.X)
    leaf = iter(range(int(where.max()) + 1))

    def node(part: dict[str, Any]) -> dict[str, Any]:
        if "input" in part:
            values = np.zeros(train.X.shape[1])
            values[part["input"]] = part["at_most"]
            return {
                "input": train.inputs[part["input"]],
                "at_most": _rounded(unscaled(values, train.inputs)[part["input"]], 6),
                "yes": node(part["yes"]),
                "no": node(part["no"]),
            }
        here = where == next(leaf)
        mean = train.weights[here] @ train.regret[here] / train.weights[here].sum()
        best = int(np.argmin(mean))
        return {
            "choose": train.candidates[best],
            "regret": _rounded(mean[best], 3),
            "conditions": int(here.sum()),
        }

    return node(tree)


def _table(by_metric: Mapping[str, Cases]) -> list[dict[str, Any]]:
    """Return one row per condition: which it is, its descriptors, and percent by metric."""
    (first, *_) = by_metric.values()
    values = unscaled(first.X, first.inputs)
    return [
        {
            "condition": list(condition),
            "family": str(first.family[i]),
            "inputs": _rounded(values[i]),
            **{metric: np.round(100 * cases.scores[i], 2).tolist() for metric, cases in by_metric.items()},
        }
        for i, condition in enumerate(first.conditions)
    ]


def _rounded(values: Any, digits: int = 4) -> Any:
    """Return numbers with few significant digits, lists as lists."""
    if np.ndim(values):
        return [_rounded(value, digits) for value in values]
    return float(f"{float(values):.{digits}g}")
