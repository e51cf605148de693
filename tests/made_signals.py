"""Signals written down by hand: two runs of four samples and three classes, unless told otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from noisylib.noise import NoisyLabels
from noisylib.signals import Signals

Y = np.array([0, 1, 2, 0])
Y_NOISY = np.array([[0, 1, 1, 0], [1, 1, 2, 0]])


def labels(y: np.ndarray, y_noisy: np.ndarray, n_classes: int) -> NoisyLabels:
    """What `inject` would report of these labels."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (y, y_noisy), 1)
    totals = counts.sum(1, keepdims=True)
    realised = np.where(totals > 0, counts / np.maximum(totals, 1), np.eye(n_classes))
    asked_for = np.full((n_classes, n_classes), 1 / n_classes)  # another one, so that a mix-up shows
    return NoisyLabels(y_noisy, y_noisy != y, asked_for, realised, counts, "symmetric", 0.25)


def results(
    losses: np.ndarray,
    predicted: np.ndarray,
    test_predicted: np.ndarray,
    n_classes: int,
    accuracy: np.ndarray,
    recall: np.ndarray,
) -> SimpleNamespace:
    """Traced results: losses and predicted (E, R, N), accuracy (E, R) and recall (E, R, K)."""
    return SimpleNamespace(
        trace={"loss": losses[:, None], "predicted": predicted[:, None]},
        test_logits=np.eye(n_classes)[test_predicted],
        accuracy_history=accuracy,
        recall_history=recall,
    )


def signals_of(
    y: np.ndarray = Y, y_noisy: np.ndarray = Y_NOISY, n_classes: int = 3, **changes: Any
) -> Signals:
    """Signals in which nothing is known, with some of it set.

    `losses`, `predicted`, `test_predicted`, and the same with "probe_" before them, are of the two models;
    `accuracy` and `recall` are the classifier's test scores.
    """
    R, N = y_noisy.shape
    epochs = len(changes.get("losses", changes.get("predicted", changes.get("probe_predicted", [0]))))
    y_test = changes.pop("y_test", np.arange(n_classes))
    models = {}
    for name, prefix in (("classifier", ""), ("probe", "probe_")):
        models[name] = results(
            changes.pop(f"{prefix}losses", np.ones((epochs, R, N), dtype=np.float32)),
            changes.pop(f"{prefix}predicted", np.zeros((epochs, R, N), dtype=np.int16)),
            changes.pop(f"{prefix}test_predicted", np.tile(y_test, (R, 1))),
            n_classes,
            changes.pop("accuracy", np.ones((epochs, R))),
            changes.pop("recall", np.ones((epochs, R, n_classes))),
        )
    unknown = {
        "seeds": tuple(range(R)),
        "groups": None,
        "peer_losses": None,
        "held_out": np.full((R, N, n_classes), 1 / n_classes),
        "neighbours": np.ones((R, N)),
        "confirming": np.full((R, N), 11),
    }
    noisy = tuple(labels(y, row, n_classes) for row in y_noisy)
    return Signals(y=y, noisy=noisy, n_classes=n_classes, y_test=y_test, **models, **unknown | changes)
