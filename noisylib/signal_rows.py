"""Rows of the tables of overlap and of detection: every run of some signals, measured.

The caller adds the columns that say which condition it was: data set, backbone, head and noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noisylib.analysis import metrics
from noisylib.analysis.detection import auroc, measure_detection, take_best
from noisylib.analysis.forecast import agreement_forecast, confusion
from noisylib.analysis.overlap import (
    ESTIMATORS,
    class_overlap,
    equal_size_overlap,
    loss_histogram,
    overlap,
)
from noisylib.analysis.overlap_bootstrap import bootstrap_overlap
from noisylib.detectors import DETECTORS, present
from noisylib.seeding import numpy_generator
from noisylib.signals import Signals, best_epoch

Row = dict[str, Any]
HEADLINE = "histogram"


def common_size(flipped: np.ndarray) -> int:
    """Return the smallest number of wrong or of right labels in any run of `flipped` (R, N).

    Overlaps of conditions compare at one size only; take it over all runs that are compared.
    """
    wrong = flipped.sum(-1)
    return int(np.minimum(wrong, flipped.shape[-1] - wrong).min())


def overlap_rows(signals: Signals, *, size: int | None = None, draws: int = 200, seed: int = 0) -> list[Row]:
    """Return how much the losses of right and of wrong labels overlap, some rows per run.

    Every run has the training loss after the last epoch and the out-of-fold loss under all estimators,
    and the training loss after its best epoch, an oracle, under the headline estimator.

    Parameters
    ----------
    size : samples per group of the column "equal_size", from `common_size`; None leaves it NaN.
    draws, seed : of the bootstrap over groups of images, for the headline estimator.

    Returns
    -------
    Columns: run (from 0), sample ("train", "held_out"), epoch ("last", "best", ""), epoch_number (from 1,
    of the classifier; epochs of a fold's head), estimator, value, corrected, se, low, high, n_clean,
    n_flipped, equal_size, auroc, class_overlap, edges, clean_counts, flipped_counts, test_error and
    test_balanced_error, in [0, 1], of the classifier after that epoch. What only the headline estimator
    has is NaN, or an empty list, in rows of the others.

    Raises
    ------
    NoisylibError
        A run has no wrong or no right label, or fewer than `size`.
    """
    best, last = best_epoch(signals), len(signals.losses) - 1
    losses, held_out = signals.losses, signals.held_out_losses
    rows = []
    for run in range(len(signals.noisy)):
        for sample, epoch, at, estimators, values in (
            ("train", "last", last, ESTIMATORS, losses[last, run]),
            ("train", "best", int(best[run]), (HEADLINE,), losses[best[run], run]),
            ("held_out", "", last, ESTIMATORS, held_out[run]),
        ):
            shared = {
                "run": run,
                "sample": sample,
                "epoch": epoch,
                "epoch_number": at + 1,
                **_facts(signals, run, at, values),
            }
            rows += [
                shared
                | {"estimator": estimator}
                | _estimate(signals, run, values, estimator, size, draws, seed)
                for estimator in estimators
            ]
    return rows


def _facts(signals: Signals, run: int, epoch: int, values: np.ndarray) -> Row:
    """Return what all estimators of one sample of losses share."""
    flipped, classifier = signals.flipped[run], signals.classifier
    return {
        "n_clean": int((~flipped).sum()),
        "n_flipped": int(flipped.sum()),
        "auroc": float(auroc(-values, flipped)),
        "test_error": 1 - float(classifier.accuracy_history[epoch, run]),
        "test_balanced_error": 1 - float(metrics.balanced_accuracy(classifier.recall_history[epoch, run])),
    }


def _estimate(
    signals: Signals, run: int, values: np.ndarray, estimator: str, size: int | None, draws: int, seed: int
) -> Row:
    """Return the overlap of one run under one estimator."""
    flipped, nan = signals.flipped[run], float("nan")
    if estimator != HEADLINE:
        none = dict.fromkeys(("corrected", "se", "low", "high", "equal_size"), nan)
        lists = {name: [] for name in ("class_overlap", "edges", "clean_counts", "flipped_counts")}
        return {"value": float(overlap(values, flipped, estimator)), **none, **lists}
    interval = bootstrap_overlap(
        values, flipped, estimator=estimator, groups=signals.groups, draws=draws, seed=seed
    )
    per_class = class_overlap(values, flipped, signals.y_noisy[run], signals.n_classes, estimator=estimator)
    counts = loss_histogram(values, flipped)
    at_size = (
        nan if size is None else equal_size_overlap(values, flipped, size, seed=seed, estimator=estimator)
    )
    return {
        **{name: float(getattr(interval, name)) for name in ("value", "corrected", "se", "low", "high")},
        "equal_size": float(at_size),
        "class_overlap": per_class.tolist(),
        "edges": counts.edges.tolist(),
        "clean_counts": counts.clean.tolist(),
        "flipped_counts": counts.flipped.tolist(),
    }


def detection_rows(signals: Signals) -> list[Row]:
    """Return how well every detector finds the right labels of every run, at comparable numbers kept.

    Rule "matched" cuts a ranking at the size of the set it is matched to, rule "fixed" at the number of
    right labels, floor((1 - realised rate) N), where precision equals recall. A set has a size of its
    own, hence one row, of rule "matched". Equal scores at the cut are drawn at random, in an order that
    depends on the run's training seed only: positions would favour whatever stands first in the bank.

    Returns
    -------
    Columns: run (from 0), detector, design, rule, m, precision, recall, auroc, chance, class_precision,
    class_recall, class_share, forecast_rate, forecast_precision, confusion, priors. The forecast and
    the confusion (K * K, rows true, after each other) are those of the model behind a set on the test
    split, and NaN and an empty list for rankings.

    Raises
    ------
    NoisylibError
        A run has no wrong or no right label, or an infinite loss, of which no mixture can be made.
    """
    scores = {detector.key: detector.scores(signals) for detector in present(signals)}
    sizes = {key: values.sum(1).astype(int) for key, values in scores.items() if DETECTORS[key].is_set}
    n_clean = (~signals.flipped).sum(1)
    rows = []
    for run in range(len(signals.noisy)):
        for key, values in scores.items():
            detector = DETECTORS[key]
            cuts = {"matched": sizes[detector.matched_to][run]}
            if not detector.is_set:
                cuts["fixed"] = n_clean[run]
            shared = {
                "run": run,
                "detector": key,
                "design": detector.design,
                "auroc": float(auroc(values[run], signals.flipped[run])),
                "chance": 1 - float(signals.realised_rate[run]),
                "priors": signals.priors.tolist(),
                **_forecast(signals, run, key),
            }
            rows += [
                shared | {"rule": rule} | _detection(signals, run, values[run], m) for rule, m in cuts.items()
            ]
    return rows


def cut(scores: np.ndarray, m: int, seed: int) -> np.ndarray:
    """Return (N,) bool, the `m` highest `scores` (N,); equal ones by a draw from `seed`."""
    order = numpy_generator("equal-scores", int(seed)).permutation(len(scores))
    kept = np.zeros(len(scores), dtype=bool)
    kept[order] = take_best(scores[order], m)
    return kept


def _detection(signals: Signals, run: int, scores: np.ndarray, m: int) -> Row:
    kept = cut(scores, m, signals.seeds[run])
    found = measure_detection(kept, signals.flipped[run], signals.y_noisy[run], signals.n_classes)
    return {
        "m": found.m,
        "precision": found.precision,
        "recall": found.recall,
        "class_precision": found.class_precision.tolist(),
        "class_recall": found.class_recall.tolist(),
        "class_share": found.class_share.tolist(),
    }


def _forecast(signals: Signals, run: int, key: str) -> Row:
    """Return what flips that are independent of the predictions would lead one to expect of a set."""
    predicted = {"agreement_same": signals.test_predicted, "agreement": signals.probe_test_predicted}
    if key not in predicted:
        return {"forecast_rate": float("nan"), "forecast_precision": float("nan"), "confusion": []}
    C = confusion(predicted[key][run], signals.y_test, signals.n_classes)
    forecast = agreement_forecast(signals.priors, signals.noisy[run].realised_T, C)
    return {
        "forecast_rate": forecast.rate,
        "forecast_precision": forecast.precision,
        "confusion": C.ravel().tolist(),
    }
