"""What fine-tuning checks before it starts, and what a checkpoint is known by."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from noisylib.devices import pick_device
from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.bank_rules import SPLITS
from noisylib.features.pixels import PixelSet
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.finetuning.rules import Rule
from noisylib.noise import check_labels


def check_inputs(
    pixels: PixelSet,
    rows: np.ndarray,
    y_noisy: np.ndarray,
    n_classes: int,
    features: np.ndarray | None,
    backbone: Backbone,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rows, y_noisy = np.asarray(rows), check_labels(y_noisy, n_classes, "y_noisy")
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
        raise NoisylibError(
            f"rows has shape {rows.shape} and type {rows.dtype}: (N,) whole numbers are needed."
        )
    if rows.min() < 0 or rows.max() >= len(pixels) or len(np.unique(rows)) < len(rows):
        raise NoisylibError(
            f"rows goes from {rows.min()} to {rows.max()}: each must be one of the {len(pixels)} images, "
            "named once."
        )
    if held_out := int((pixels.split[rows] == SPLITS.index("test")).sum()):
        raise NoisylibError(
            f"rows has {held_out} images of the test split: train on pixels.rows('train'), so that scores "
            "mean something."
        )
    if y_noisy.shape != rows.shape:
        raise NoisylibError(f"y_noisy has shape {y_noisy.shape}, must have one label per row, {rows.shape}.")
    if len(np.unique(y_noisy)) < 2:
        raise NoisylibError("y_noisy holds one class only: there is nothing to tell apart.")
    size = backbone.preprocessing["input_size"][-1]
    if size != pixels.size:
        raise NoisylibError(
            f"pixels are of size {pixels.size}, backbone {backbone.info.name!r} was built for {size}: "
            "use one size."
        )
    if features is not None and np.shape(features) != (len(rows), backbone.n_features):
        raise NoisylibError(
            f"features has shape {np.shape(features)}, must be ({len(rows)}, {backbone.n_features}): one row "
            "of the frozen backbone per training image."
        )
    features = None if features is None else np.asarray(features, dtype=np.float32)
    if features is not None and not np.isfinite(features).all():
        raise NoisylibError("features holds NaN or infinity: extract them again.")
    return rows.astype(np.int64), y_noisy, features


def check_device(device: str, checkpoint_every: int) -> torch.device:
    """Return the device, after checking the settings that do not change the result."""
    if isinstance(checkpoint_every, bool) or not isinstance(checkpoint_every, int) or checkpoint_every < 1:
        raise NoisylibError(f"checkpoint_every={checkpoint_every!r}: a whole number of at least 1 is needed.")
    if ":" in device:
        raise NoisylibError(
            f"device={device!r}: accelerate gives each process its GPU. Say 'cuda', and choose the GPU by "
            "the environment variable CUDA_VISIBLE_DEVICES."
        )
    return pick_device(device)


def fingerprint(
    pixels: PixelSet,
    rows: np.ndarray,
    y_noisy: np.ndarray,
    backbone: Backbone,
    n_classes: int,
    rule: Rule,
    seed: int,
    recipe: FinetuneRecipe,
    precision: str,
) -> dict[str, Any]:
    """Return what a training is of, in plain values.

    In how many parts a batch goes through the network is not part of it, so that a training that ran out of
    memory can go on with more of them.
    """
    settings = asdict(recipe) | {"precision": precision}
    del settings["accumulate"]
    return {
        "backbone": backbone.info.name,
        "weights": digest_of(*(value.cpu().numpy() for value in backbone.model.state_dict().values())),
        "image_size": pixels.size,
        "n_classes": n_classes,
        "images": pixels.checksum,
        "rows": digest_of(rows),
        "labels": digest_of(y_noisy.astype(np.int64)),
        "method": rule.name,
        **{f"method.{name}": value for name, value in asdict(rule).items()},
        "seed": seed,
        **{f"recipe.{name}": value for name, value in settings.items()},
    }


def digest_of(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
