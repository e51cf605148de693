"""The noisy labels of a study of fine-tuning, and what is known of the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from noisylib.data.catalog import dataset_info
from noisylib.errors import NoisylibError
from noisylib.noise import NoisyLabels, inject, told
from noisylib.study.finetune_config import Condition
from noisylib.study.finetune_source import Opened, Source


@dataclass(frozen=True, eq=False)
class TrainingLabels:
    """Labels of the training images.

    Attributes
    ----------
    y_noisy : (N,) what is trained on.
    y_true : (N,) the right ones, -1 where nobody knows them; for the evaluator alone.
    told : facts of the noise that methods may be told, of this one run, as arguments of `train_bank`.
    """

    y_noisy: np.ndarray
    y_true: np.ndarray
    told: dict[str, Any]

    @property
    def known(self) -> np.ndarray:
        """(N,) bool, where the right label is known."""
        return self.y_true >= 0

    @property
    def right(self) -> np.ndarray:
        """(N,) bool, labels that are known to be right."""
        return self.known & (self.y_noisy == self.y_true)

    @property
    def wrong(self) -> np.ndarray:
        """(N,) bool, labels that are known to be wrong."""
        return self.known & (self.y_noisy != self.y_true)

    @property
    def realised_rate(self) -> float:
        """Fraction of wrong labels among those that are known; NaN if none is."""
        return float(self.wrong.sum() / self.known.sum()) if self.known.any() else float("nan")


def training_labels(
    now: Opened, source: Source, condition: Condition, class_map: str, reference: str, seed: int
) -> TrainingLabels:
    """Return the labels of one condition and seed.

    Parameters
    ----------
    now : images; their labels are the right ones, unless they come from the web.
    class_map : named map that asymmetric noise follows.
    reference : backbone whose features make instance-dependent noise.

    Raises
    ------
    NoisylibError
        Noise that these labels cannot have, or reference features of other images.
    """
    pixels, rows = now.pixels, now.pixels.rows("train")
    dataset, y = pixels.name, pixels.labels[rows]
    if condition.noise_type == "human":
        return _given(now, condition.labels, rows)
    mapping = features = None
    if condition.noise_type == "asymmetric":
        mapping = dataset_info(dataset).map_indices(class_map, pixels.class_names)
    elif condition.noise_type == "instance":
        features = _reference(source, now, reference)[rows]
    noise = inject(
        y,
        condition.noise_type,
        condition.noise_rate,
        n_classes=pixels.n_classes,
        seed=seed,
        dataset=dataset,
        class_map=mapping,
        features=features,
    )
    return TrainingLabels(noise.y_noisy, y, told([noise]))


def _given(now: Opened, name: str, rows: np.ndarray) -> TrainingLabels:
    """Return labels that people or the web gave; "verified" ones are the right ones of a web set."""
    if name not in now.given:
        raise NoisylibError(
            f"{now.pixels.name} comes without the labels {name!r}, with {', '.join(now.given) or 'none'}: "
            "put their file beside the images."
        )
    y_noisy, K = now.given[name][rows], now.pixels.n_classes
    if (y_noisy < 0).any():
        raise NoisylibError(
            f"labels {name!r} of {now.pixels.name} lack some training images; use another set."
        )
    if np.array_equal(y_noisy, now.pixels.labels[rows]):  # a web set: its own labels are the noisy ones
        y_true = now.given["verified"][rows] if "verified" in now.given else np.full(len(rows), -1)
    else:
        y_true = now.pixels.labels[rows]
    known = y_true >= 0
    if not known.any():
        # Nobody knows the rate: 0 is what makes the rules that ask for it do what needs none.
        facts = {"noise_rates": [0.0], "noise_types": ["human"], "transitions": np.eye(K)[None]}
        return TrainingLabels(y_noisy, y_true, facts)
    noise: NoisyLabels = inject(y_true[known], "human", 0.0, n_classes=K, seed=0, y_human=y_noisy[known])
    return TrainingLabels(y_noisy, y_true, told([noise]))


def _reference(source: Source, now: Opened, reference: str) -> np.ndarray:
    """Return reference features (N, D), one row per image of the set."""
    features, labels, _ = source.reference(now.pixels.name, reference)
    index = now.pixels.index
    if index.max() >= len(labels) or not np.array_equal(labels[index], now.pixels.labels):
        raise NoisylibError(
            f"the features of {now.pixels.name} under {reference} are of other images than those in the "
            "folder: make them from the same files with 'noisylib features extract'."
        )
    return np.asarray(features)


def told_of(labels: Sequence[TrainingLabels]) -> dict[str, Any]:
    """Return what methods may be told of several runs, as arguments of `train_bank`."""
    return {
        "noise_rates": [rate for one in labels for rate in one.told["noise_rates"]],
        "noise_types": [name for one in labels for name in one.told["noise_types"]],
        "transitions": np.concatenate([one.told["transitions"] for one in labels]),
    }
