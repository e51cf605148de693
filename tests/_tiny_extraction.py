"""A tiny transformer and made-up images, so that extraction is tested in seconds and in subprocesses."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from noisylib.data import ImageSet
from noisylib.data.catalog import DatasetInfo
from noisylib.features.backbones import Backbone, BackboneInfo, load_backbone

TINY = BackboneInfo(
    name="test_vit",
    title="a test transformer",
    library="timm",
    model_id="test_vit.r160_in1k",
    hub_id="timm/test_vit.r160_in1k",
    hub_file="model.safetensors",
    n_features=64,
    output="class token",
    pretraining="none",
    licence="Apache-2.0",
    citation="none",
    parameters=0.3,
    input_size=32,
    kwargs={"img_size": 32},
)


def tiny_weights(path: Path, seed: int = 0) -> Path:
    """Save a seeded random checkpoint with a classifier, as a hub file has one."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = timm.create_model("test_vit", pretrained=False, img_size=32)
    save_file(model.state_dict(), path)
    return path


def tiny_backbone(folder: Path, seed: int = 0) -> Backbone:
    """Return the tiny transformer with seeded weights, stored in `folder`."""
    return load_backbone(TINY, tiny_weights(folder / "tiny.safetensors", seed))


def tiny_images(n: int = 20, seconds: float = 0.0, colour: int = 0) -> ImageSet:
    """Return n random images of 40 x 30 pixels in two classes; opening one takes `seconds`."""
    info = DatasetInfo(
        name="made",
        title="made up",
        kind="folders",
        classes=("a", "b"),
        counts={"all": n},
        class_counts=None,
        licence="CC0",
        citation="none",
        url="https://example.org",
        files=(),
        modality="noise",
    )

    def open_image(i: int) -> Image.Image:
        time.sleep(seconds)
        pixels = np.random.default_rng([colour, i]).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    labels = np.arange(n) % 2
    split = np.where(np.arange(n) < n // 2, 0, 2).astype(np.uint8)
    keys = tuple(f"image {i}" for i in range(n))
    return ImageSet(info, keys, labels, split, None, open_image)
