"""The tables of a study of fine-tuning: their columns, and the rows of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from noisylib.analysis.detection import auroc
from noisylib.analysis.metrics import balanced_accuracy, dead_classes, recall_per_class
from noisylib.study.experiment_tables import Column
from noisylib.study.finetune_labels import TrainingLabels

TAUS = (0.4, 0.5, 0.6, 0.7, 0.8)  # thresholds that each selection is described at

# What every row of every table starts with.
RUN = {
    "dataset": Column("str"),
    "backbone": Column("str"),
    "image_size": Column("int"),
    "noise_type": Column("str"),
    "noise_rate": Column("float"),
    "realised_rate": Column("float", nan=True),
    "tuning": Column("str"),
    "method": Column("str"),
    "label": Column("str"),
    "seed": Column("int"),
    "class_map": Column("str"),  # of asymmetric noise; of human labels, the name of their set
}

MAIN = RUN | {
    "n_train": Column("int"),
    "n_test": Column("int"),
    "n_classes": Column("int"),
    "accuracy": Column("float"),
    "balanced_accuracy": Column("float"),
    "dead_classes": Column("int"),
    "recall": Column("floats", nan=True),
    "memorised": Column("float", nan=True),
    "train_accuracy_noisy": Column("float"),
    "train_accuracy_clean": Column("float", nan=True),
    "seconds": Column("float"),
    "cpu_seconds": Column("float"),
    "seconds_features": Column("float"),
    "seconds_probe": Column("float"),
    "seconds_cleaning": Column("float"),
    "flops": Column("float"),
    "steps": Column("int"),
    "images_seen": Column("int"),
    "parameters": Column("int"),
    # Per epoch of fine-tuning, empty for linear probes.
    "epoch_loss": Column("floats"),
    "epoch_agreement": Column("floats"),
    "epoch_gradient_norm": Column("floats"),
}

CLEANING = RUN | {
    "epoch": Column("int"),
    "run_tau": Column("float"),
    "balanced": Column("bool"),
    "tau": Column("float"),
    "n": Column("int"),
    "clean": Column("int"),
    "drawn": Column("int"),
    "lost": Column("float"),
    "purity": Column("float", nan=True),
    "purity_drawn": Column("float", nan=True),
    "recall_right": Column("float", nan=True),
    "clean_counts": Column("ints"),
    "observed_counts": Column("ints"),
    "right_counts": Column("ints"),
    "class_purity": Column("floats", nan=True),
    "auroc": Column("float", nan=True),
}

MOVEMENT = RUN | {
    "block": Column("int"),
    "cka": Column("float", nan=True),
    "relative_change": Column("float", nan=True),
    "last": Column("bool"),
    "probe_before": Column("float", nan=True),
    "probe_after": Column("float", nan=True),
    "probe_noisy_after": Column("float", nan=True),
}

MAP = RUN | {
    "stage": Column("str"),
    "point": Column("int"),
    "true_class": Column("int"),
    "x": Column("float"),
    "y": Column("float"),
}


def tables(name: str) -> dict[str, dict[str, Column]]:
    """Return the tables of a study by name, the main one first; the others are about some runs only."""
    return {name: MAIN, f"{name}_cleaning": CLEANING, f"{name}_movement": MOVEMENT, f"{name}_map": MAP}


def test_scores(logits: np.ndarray, y_test: np.ndarray, n_classes: int) -> dict[str, Any]:
    """Return what logits (M, K) of the test images score."""
    predicted = logits.argmax(-1)
    recall = recall_per_class(predicted, y_test, n_classes)
    return {
        "n_test": len(y_test),
        "accuracy": float((predicted == y_test).mean()),
        "balanced_accuracy": float(balanced_accuracy(recall)),
        "dead_classes": int(dead_classes(recall)),
        "recall": recall,
    }


def training_scores(logits: np.ndarray, labels: TrainingLabels) -> dict[str, Any]:
    """Return how logits (N, K) of the training images agree with the observed and the right labels.

    `memorised` is the share of the wrong labels that are predicted all the same; NaN if none is known.
    """
    predicted = logits.argmax(-1)
    return {
        "n_train": len(predicted),
        "memorised": _share(predicted == labels.y_noisy, labels.wrong),
        "train_accuracy_noisy": float((predicted == labels.y_noisy).mean()),
        "train_accuracy_clean": _share(predicted == labels.y_true, labels.known),
    }


def cleaning_rows(
    run: Mapping[str, Any],
    selections: Sequence[Any],
    labels: TrainingLabels,
    n_classes: int,
    *,
    tau: float,
    balanced: bool,
) -> list[dict[str, Any]]:
    """Return one row per epoch and threshold: how many samples are called clean, and how many of them are.

    For other thresholds than that of the run, it is counted what it would have called clean in the same
    epoch by the same losses, and how many samples would have been drawn; what was drawn is known for the
    run's own only.

    Parameters
    ----------
    run : the first columns.
    selections : per epoch, a `noisylib.finetuning.selection.Selection`.
    tau, balanced : of the run.
    """
    rows, y, K = [], labels.y_noisy, n_classes
    observed = np.bincount(y, minlength=K)
    for epoch, selection in enumerate(selections):
        separated = _auroc(selection.losses, labels)
        for threshold in sorted({*TAUS, tau}):
            own = threshold == tau
            clean = selection.clean if own else above_threshold(selection.posterior, y, K, threshold)
            counts = np.bincount(y[clean], minlength=K)
            n = int(counts[observed > 0].min())
            drawn = int(selection.drawn.sum()) if own else _drawn(counts, observed, n, balanced)
            rows.append(
                {
                    **run,
                    "epoch": epoch,
                    "run_tau": tau,
                    "balanced": balanced,
                    "tau": threshold,
                    "n": n,
                    "clean": int(clean.sum()),
                    "drawn": drawn,
                    "lost": 1 - drawn / int(clean.sum()),
                    "purity": _share(labels.right, clean & labels.known),
                    "purity_drawn": _share(labels.right, selection.drawn & labels.known) if own else np.nan,
                    "recall_right": _share(clean, labels.right),
                    "clean_counts": counts,
                    "observed_counts": observed,
                    "right_counts": np.bincount(y[labels.right], minlength=K),
                    "class_purity": [_share(labels.right, clean & labels.known & (y == c)) for c in range(K)],
                    "auroc": separated,
                }
            )
    return rows


def above_threshold(posterior: np.ndarray, y: np.ndarray, n_classes: int, tau: float) -> np.ndarray:
    """Return which samples (N,) TURN calls clean at a threshold: at least one of each observed class."""
    from noisylib.methods.turn import above

    values, labels = torch.as_tensor(posterior)[None], torch.as_tensor(y)[None]
    return above(values, labels, n_classes, tau)[0].numpy()


def _auroc(losses: np.ndarray, labels: TrainingLabels) -> float:
    """Return the probability that a wrong label has the higher loss; NaN without labels of both kinds."""
    if not (labels.right.any() and labels.wrong.any()):
        return float("nan")
    return float(auroc(-losses[labels.known], labels.wrong[labels.known]))


def _drawn(counts: np.ndarray, observed: np.ndarray, n: int, balanced: bool) -> int:
    return n * int((observed > 0).sum()) if balanced else int(counts.sum())


def _share(holds: np.ndarray, among: np.ndarray) -> float:
    """Return the share of `holds` among the samples of a mask; NaN if there are none."""
    return float(holds[among].mean()) if among.any() else float("nan")
