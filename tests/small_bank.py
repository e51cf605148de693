"""A bank so small that every method trains in a blink, with its whole schedule in four epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from blobs import blobs

from noisylib.methods import METHODS, Method, TrainingFree, make_method
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.training import train_bank

K, D, N = 3, 5, 60
X, Y = blobs(N, K, D)
X_TEST, Y_TEST = blobs(30, K, D, seed=1)
SHORT = Recipe(epochs=4, batch_size=16, learning_rate=0.03, score_epochs=2, width=4)
OPTIONS: dict[str, dict[str, float]] = {
    "forward": {"folds": 3, "fold_epochs": 4},
    "coteaching": {"ramp_epochs": 3},
    "dividemix": {"warm_up": 0.25, "ramp_epochs": 2},
    "tgce": {"start_at": 0.5, "refresh": 1},
    "jocor": {"ramp_epochs": 3},
    "unicon": {"warm_up": 0.25, "ramp_epochs": 2},
    "rcal": {"neighbours": 7},
    "turn": {"probe": 0.5},
    "cl_prune": {"folds": 3, "fold_epochs": 4},
    "knn": {"k": 5},
    "ann": {"kmin": 3, "kmax": 9},
    "wann": {"kmin": 3, "kmax": 9},
    "coteaching_quota": {"ramp_epochs": 3},
    "coteaching_class_tau": {"ramp_epochs": 3},
    "coteaching_balanced": {"ramp_epochs": 3},
}
FREE = [name for name, cls in METHODS.items() if issubclass(cls, TrainingFree)]
TRAINED = [name for name in METHODS if name not in FREE]
CROSS_VALIDATED = ["forward", "cl_prune"]
TYPES = ["symmetric", "symmetric", "asymmetric", "pairflip", "instance"]


def small(name: str, **options: float) -> Method:
    """The method `name` with its whole schedule in four epochs."""
    return make_method(name, OPTIONS.get(name, {}) | options)


def noisy(runs: int, y: np.ndarray = Y, n_classes: int = K) -> np.ndarray:
    """Labels (runs, N) of which about a seventh is wrong."""
    rng = np.random.default_rng(5)
    return np.stack(
        [np.where(rng.random(len(y)) < 0.2, rng.integers(0, n_classes, len(y)), y) for _ in range(runs)]
    )


def few(left: int, label: int = 2) -> np.ndarray:
    """Labels (2, N) with only `left` samples of class `label`; the others are moved to the class before."""
    y = noisy(2)
    for labels in y:
        labels[np.flatnonzero(labels == label)[left:]] = label - 1
    return y


def facts(runs: int, n_classes: int = K) -> dict[str, Any]:
    """What methods may be told of each run; it differs from run to run."""
    run = np.arange(runs) % 5
    rates = np.array([0.1, 0.3, 0.4, 0.2, 0.25])[run]
    off = rates[:, None, None] / (n_classes - 1)
    T = off + (1 - n_classes * off) * np.eye(n_classes)
    T[:, 0, :2] += [-0.05, 0.05]  # not symmetric
    return {"noise_rates": rates, "noise_types": [TYPES[r] for r in run], "transitions": T}


def part(told: dict[str, Any], runs: list[int]) -> dict[str, Any]:
    """The facts of some of the runs."""
    return {name: [values[run] for run in runs] for name, values in told.items()}


def train(y: np.ndarray, method: str | Method = "ce", **changes: Any) -> RunResults:
    """Train the runs `y` on the small bank in float64; features, told facts and settings can be changed."""
    options = {"n_classes": K, "X": X, "X_test": X_TEST, "y_test": Y_TEST, "recipe": SHORT} | changes
    options = {"dtype": torch.float64, "device": "cpu"} | options
    options = facts(len(np.atleast_2d(y)), options["n_classes"]) | options
    arrays = (options.pop("X"), y, options.pop("X_test"), options.pop("y_test"))
    return train_bank(*arrays, method=small(method) if isinstance(method, str) else method, **options)
