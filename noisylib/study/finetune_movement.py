"""How far fine-tuning moved a backbone: rows of a study that compare its features before and after."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from noisylib.analysis.movement import linear_cka, probe_accuracy, tsne_map
from noisylib.finetuning.diagnostics import block_features, parameter_change
from noisylib.seeding import numpy_generator
from noisylib.study.finetune_labels import TrainingLabels
from noisylib.study.finetune_source import FrozenFeatures, Opened, Source, opened

MAP_POINTS = 300
STAGES = ("before", "after FFT")  # a linear probe moves no feature, so "after LP" is "before"


def movement_rows(
    run: Mapping[str, Any],
    source: Source,
    now: Opened,
    labels: TrainingLabels,
    frozen: FrozenFeatures,
    tuned: Any,
    precision: str,
) -> list[dict[str, Any]]:
    """Return one row per block and one for the feature: CKA on test images, and the change of the weights.

    The row of the feature also has the balanced accuracies of linear probes on it: with the right labels of
    the training images, before and after, which says what the features hold; and with the observed ones.
    """
    test = now.pixels.rows("test")
    before = _frozen_blocks(source, now.pixels.name, run["backbone"], precision)
    after = block_features(tuned.classifier, now.pixels, test, now.backbone, precision=precision)
    change = parameter_change(now.backbone, tuned.classifier)
    moved, nothing = tuned.features(now.pixels, now.pixels.rows("train")), float("nan")
    known, right = labels.known, labels.y_true
    y_test, last = now.pixels.labels[test], len(after) - 1
    probes = {
        "probe_before": _probe(frozen.train[known], right[known], frozen.test, y_test),
        "probe_after": _probe(moved[known], right[known], after[last], y_test),
        "probe_noisy_after": _probe(moved, labels.y_noisy, after[last], y_test),
    }
    return [
        {
            **run,
            "block": block,
            "cka": linear_cka(before[block], after[block]) if len(test) > 3 else nothing,
            "relative_change": change.get(block, nothing),
            "last": block == last,
            **(probes if block == last else dict.fromkeys(probes, nothing)),
        }
        for block in range(len(after))
    ]


@lru_cache(maxsize=2)
def _frozen_blocks(source: Source, dataset: str, backbone: str, precision: str) -> list[np.ndarray]:
    now = opened(source, dataset, backbone)
    return block_features(now.backbone, now.pixels, now.pixels.rows("test"), precision=precision)


def _probe(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> float:
    if len(np.unique(y)) < 2:
        return float("nan")
    return probe_accuracy(X, y, X_test, y_test).balanced_accuracy


def map_rows(run: Mapping[str, Any], now: Opened, frozen: FrozenFeatures, tuned: Any) -> list[dict[str, Any]]:
    """Return the features of at most MAP_POINTS test images in the plane, before and after, a row each."""
    test = now.pixels.rows("test")
    generator = numpy_generator("map points", now.pixels.name, len(test))
    chosen = np.sort(generator.permutation(len(test))[:MAP_POINTS])
    features = (frozen.test[chosen], tuned.features(now.pixels, test[chosen]))
    points = tsne_map(dict(zip(STAGES, features, strict=True)))
    classes = now.pixels.labels[test[chosen]]
    return [
        {
            **run,
            "stage": stage,
            "point": i,
            "true_class": int(classes[i]),
            "x": float(points[stage][i, 0]),
            "y": float(points[stage][i, 1]),
        }
        for stage in STAGES
        for i in range(len(chosen))
    ]
