"""Rules that choose a method from descriptors: each says which archived conditions speak for a new one.

A rule gives weights over the conditions it learned from. The expected regret of every candidate is the
weighted mean of its regrets there, so that one rule serves any choice of candidates and either score:

- fixed: all conditions, every family alike. It ignores the descriptors and chooses the best fixed method.
- tree: the conditions in the same leaf of a tree with at most three questions.
- minimax: as nearest, of more conditions, but the choice is the candidate whose worst regret there is lowest.
- nearest: the five conditions whose descriptors are closest.
- ridge: penalised linear regression of regret on the descriptors; its weights may be negative.

Rules stand in the order of their simplicity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noisylib.analysis.selector_cases import Cases

NEIGHBOURS = 5
CAUTIOUS_NEIGHBOURS = 15
# Inputs have variance 1, so a direction that varies as one input alone is believed by half.
RIDGE = 1.0
TREE_DEPTH, LEAF_SHARE = 3, 0.1


@dataclass(frozen=True)
class Rule:
    """How descriptors become weights over known conditions.

    Attributes
    ----------
    weigh : (known, query (m, p), tree) -> (m, n) weights, each row summing to 1.
    worst : whether the choice looks at the worst regret among the weighed conditions, not at the mean.
    """

    title: str
    weigh: Callable[[Known, np.ndarray], np.ndarray]
    worst: bool = False
    grows: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """The conditions a rule has learned from.

    Attributes
    ----------
    X : (n, p) inputs, as `Cases.X`; `weights` (n,) as `Cases.weights`.
    mean, scale : (p,) weighted mean and deviation of the inputs; a constant input has scale 1.
    tree : questions of a grown tree, as nested dicts; empty for other rules.
    """

    X: np.ndarray
    weights: np.ndarray
    tree: dict[str, Any] = field(default_factory=dict)
    mean: np.ndarray = field(init=False)
    scale: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        mean = self.weights @ self.X
        scale = np.sqrt(self.weights @ (self.X - mean) ** 2)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "scale", np.where(scale > 1e-12, scale, 1.0))

    def standard(self, X: np.ndarray) -> np.ndarray:
        """Return inputs (m, p) with mean 0 and deviation 1 over the known conditions."""
        return (X - self.mean) / self.scale

    def distances(self, X: np.ndarray) -> np.ndarray:
        """Return (m, n) root mean square difference of the standardised inputs."""
        gaps = self.standard(X)[:, None] - self.standard(self.X)[None]
        return np.sqrt((gaps**2).mean(axis=2))


def learn(rule: str, train: Cases) -> Known:
    """Return what `rule` keeps of the conditions it learns from."""
    tree = grow_tree(train) if RULES[rule].grows else {}
    return Known(train.X, train.weights, tree)


def expected_regret(rule: str, known: Known, regret: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return (m, k) expected regret, >= 0, for queries X (m, p), from the regret (n, k) of the known."""
    return np.maximum(RULES[rule].weigh(known, X) @ regret, 0)


def choose(rule: str, known: Known, regret: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return (m,) the column of the chosen candidate for queries X (m, p); of equals the first."""
    return np.argmin(criterion(rule, known, regret, X), axis=1)


def criterion(rule: str, known: Known, regret: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return (m, k) what the choice makes small: expected regret, or the worst for a cautious rule."""
    if not RULES[rule].worst:
        return RULES[rule].weigh(known, X) @ regret
    near = RULES[rule].weigh(known, X) > 0  # (m, n)
    return np.where(near[:, :, None], regret, -np.inf).max(axis=1)


def _all(known: Known, X: np.ndarray) -> np.ndarray:
    return np.tile(known.weights, (len(X), 1))


def _nearest(count: int) -> Callable[[Known, np.ndarray], np.ndarray]:
    def weigh(known: Known, X: np.ndarray) -> np.ndarray:
        order = np.argsort(known.distances(X), axis=1, kind="stable")[:, :count]
        weights = np.zeros((len(X), len(known.X)))
        np.put_along_axis(weights, order, 1 / order.shape[1], axis=1)
        return weights

    return weigh


def _ridge(known: Known, X: np.ndarray) -> np.ndarray:
    """Weights of weighted ridge regression with a free intercept: prediction = weights @ outcome."""
    Z = known.standard(known.X)
    inner = Z.T @ (known.weights[:, None] * Z) + RIDGE * np.eye(Z.shape[1])
    return known.weights * (1 + known.standard(X) @ np.linalg.solve(inner, Z.T))


def _leaf(known: Known, X: np.ndarray) -> np.ndarray:
    same = leaves(known.tree, X)[:, None] == leaves(known.tree, known.X)[None]
    weights = same * known.weights
    return weights / weights.sum(axis=1, keepdims=True)


def leaves(tree: dict[str, Any], X: np.ndarray) -> np.ndarray:
    """Return (m,) the number of the leaf each row of X falls into, from left to right."""
    out = np.zeros(len(X), int)

    def walk(node: dict[str, Any], rows: np.ndarray, leaf: int) -> int:
        if "input" not in node:
            out[rows] = leaf
            return leaf + 1
        left = X[rows, node["input"]] <= node["at_most"]
        return walk(node["no"], rows[~left], walk(node["yes"], rows[left], leaf))

    walk(tree, np.arange(len(X)), 0)
    return out


def grow_tree(train: Cases) -> dict[str, Any]:
    """Return the tree of least squared error of all regrets; nested dicts of a question, "yes" and "no".

    At most three questions deep; a leaf keeps a tenth of the weight of all conditions or more. Thresholds
    lie between two known conditions. Source: Breiman et al. 1984, Classification and Regression Trees.
    """
    from sklearn.tree import DecisionTreeRegressor

    fitted = DecisionTreeRegressor(
        max_depth=TREE_DEPTH, min_weight_fraction_leaf=LEAF_SHARE, random_state=0
    ).fit(train.X, train.regret, sample_weight=train.weights)
    tree = fitted.tree_

    def node(i: int) -> dict[str, Any]:
        if tree.children_left[i] < 0:
            return {}
        return {
            "input": int(tree.feature[i]),
            "at_most": float(f"{tree.threshold[i]:.6g}"),
            "yes": node(tree.children_left[i]),
            "no": node(tree.children_right[i]),
        }

    return node(0)


RULES: dict[str, Rule] = {
    "fixed": Rule("best fixed method", _all),
    "tree": Rule("tree of three questions", _leaf, grows=True),
    "minimax": Rule("least worst regret nearby", _nearest(CAUTIOUS_NEIGHBOURS), worst=True),
    "nearest": Rule("nearest conditions", _nearest(NEIGHBOURS)),
    "ridge": Rule("ridge regression", _ridge),
}
