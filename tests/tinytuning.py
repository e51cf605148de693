"""Made images and a transformer of two blocks: whole networks are fine-tuned in a fraction of a second."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import numpy as np
from torch import nn

from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet, made_pixels
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning import FinetuneRecipe, finetune

K, SIZE, WIDTH = 3, 8, 12
CLASSES = ("red", "green", "blue")


def tiny(seed: int = 0) -> Backbone:
    """A transformer of four patches with random weights, whose features hardly tell the classes."""
    return tiny_backbone(size=SIZE, patch=4, width=WIDTH, depth=2, heads=2, seed=seed)


@functools.cache
def taught() -> Backbone:
    """The same after fine-tuning on other images with right labels: its features tell the classes."""
    pixels, backbone = made_images(60, seed=9), tiny()
    rows = pixels.rows("train")
    tuned = finetune(
        pixels,
        rows,
        pixels.labels[rows],
        backbone,
        n_classes=K,
        method="ce",
        recipe=recipe(epochs=6),
        device="cpu",
    )
    model = copy.deepcopy(tuned.classifier.backbone).requires_grad_(False)
    return replace(backbone, model=model, preprocessing={**backbone.preprocessing, "weights": "taught"})


def forgetful() -> Backbone:
    """The taught network with dropout after it."""
    backbone = taught()
    return replace(backbone, model=nn.Sequential(backbone.model, nn.Dropout(0.5)).eval())


def made_images(n: int = 40, n_test: int = 30, seed: int = 0) -> PixelSet:
    """Grey noise with a tint, which is the class; the last `n_test` are the test split."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(n + n_test) % K)
    pixels = generator.integers(60, 140, (n + n_test, 3, SIZE, SIZE))
    for image, c in zip(pixels, labels, strict=True):
        image[c] += 60
    split = np.where(np.arange(n + n_test) < n, 0, 2)
    return made_pixels(pixels.astype(np.uint8), labels, split, CLASSES)


def noisy(labels: np.ndarray, every: int = 4) -> np.ndarray:
    """Labels of which each `every`-th is the next class."""
    return np.where(np.arange(len(labels)) % every == 0, (labels + 1) % K, labels)


def recipe(**options: object) -> FinetuneRecipe:
    """Three epochs with rates under which a tiny network learns, in float32 and without augmentation."""
    given = {"epochs": 3, "batch_size": 8, "precision": "float32", "lr_backbone": 2e-3, "lr_head": 2e-2}
    return FinetuneRecipe(**{**given, "augment": False, **options})
