"""A study of fine-tuning in miniature: every task, with made images and tiny networks of the same families.

It rehearses a study whose images and weights are not here: what fails in miniature would fail after days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from noisylib.data import dataset_info
from noisylib.errors import require
from noisylib.features.backbone_registry import backbone_info
from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet, made_pixels
from noisylib.features.sized import tiny_backbone
from noisylib.seeding import derive_seed, numpy_generator
from noisylib.study.finetune_config import FinetuneConfig, human_sets
from noisylib.study.finetune_source import Opened

SIZE, PATCH, WIDTH = 32, 8, 24
PER_CLASS, FEWEST = 3, 48
REFERENCE_WIDTH = 6


def miniature_of(config: FinetuneConfig, work: str | Path) -> tuple[FinetuneConfig, MadeSource]:
    """Return a study of the same data sets, networks, conditions and rows that takes minutes, and its source.

    Its tables are called ``<name>_miniature``. Seeds are cut to the first, trainings to two epochs; limits
    are those of the made images.
    """
    small = replace(
        config,
        name=f"{config.name}_miniature",
        description=f"{config.name} with made images and tiny random networks. Its numbers mean nothing.",
        image_size=SIZE,
        limit=(),
        seeds=config.seeds[:1],
        probe=replace(config.probe, epochs=2, score_epochs=1, batch_size=64),
        finetune=replace(config.finetune, epochs=2, batch_size=32, accumulate=1),
    )
    return small, MadeSource(Path(work) / "miniature", SIZE)


@dataclass(frozen=True)
class MadeSource:
    """Made images with the classes of real sets, and tiny random networks of the families of real ones."""

    work: Path
    image_size: int = SIZE
    device: str = "cpu"

    def open(self, dataset: str, backbone: str, progress: Callable[[int, int], None] | None = None) -> Opened:
        """Return images and network."""
        pixels = made_images(dataset, self.image_size)
        given = {name: _given(pixels, name) for name in human_sets(dataset_info(dataset))}
        return Opened(pixels, self.sketch(backbone), given)

    def reference(self, dataset: str, backbone: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Return random features of all images."""
        pixels = made_images(dataset, self.image_size)
        features = numpy_generator("miniature reference", dataset, backbone)
        return features.standard_normal((len(pixels), REFERENCE_WIDTH)), pixels.labels, "made"

    def size(self, dataset: str) -> tuple[int, int]:
        """Return the numbers of made images."""
        return made_counts(dataset_info(dataset).n_classes)

    def missing(self, dataset: str, backbone: str, reference: str, *, fetch: bool) -> list[str]:
        """Return nothing: all is made."""
        return []

    def ready(self, dataset: str, backbone: str) -> bool:
        """Return True."""
        return True

    def sketch(self, backbone: str) -> Backbone:
        """Return a tiny network of the family of a backbone."""
        return tiny_relative(backbone, self.image_size)


def made_counts(n_classes: int) -> tuple[int, int]:
    """Return the numbers of training and test images, the same of each class."""
    train, test = (max(least, -(-few // n_classes)) for least, few in ((PER_CLASS, FEWEST), (1, FEWEST // 2)))
    return train * n_classes, test * n_classes


def made_images(dataset: str, size: int) -> PixelSet:
    """Return noisy copies of one random pattern per class, at least three of each class for training."""
    info = dataset_info(dataset)
    K, generator = info.n_classes, numpy_generator("miniature images", dataset, size)
    counts = made_counts(K)
    split = np.repeat([0, 2], counts)
    labels = np.concatenate([np.arange(count) % K for count in counts])
    patterns = generator.integers(0, 256, (K, 3, 4, 4)).repeat(size // 4, axis=2).repeat(size // 4, axis=3)
    images = patterns[labels] + generator.normal(0, 40, (len(labels), 3, size, size))
    return made_pixels(images.clip(0, 255).astype(np.uint8), labels, split, info.classes, dataset)


def _given(pixels: PixelSet, name: str) -> np.ndarray:
    """Return labels "of the web", which are those of the set, or of people, who confuse every fifth."""
    if name == "web":
        return pixels.labels
    wrong = np.arange(len(pixels)) % 5 == 0
    return np.where(wrong, (pixels.labels + 1) % pixels.n_classes, pixels.labels)


def tiny_relative(backbone: str, size: int = SIZE) -> Backbone:
    """Return a tiny random network of the same family as a backbone of the registry, under its name."""
    info = backbone_info(backbone)
    template = tiny_backbone(size, PATCH, WIDTH, depth=2, heads=2, seed=0)
    build = _BUILDERS.get(_family(info.library, info.model_id))
    model, width = template.model, WIDTH
    if build is not None:
        # Libraries initialise from the global generator; it is put back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed("tiny relative", backbone))
            model, width = build(size)
    preprocessing = template.preprocessing | {"model": f"tiny {info.model_id}", "weights": "random"}
    info = replace(info, n_features=width, input_size=size)
    return replace(template, info=info, model=model.eval().requires_grad_(False), preprocessing=preprocessing)


def _family(library: str, model_id: str) -> str:
    return library if library == "open_clip" else model_id.partition("_")[0].rstrip("0123456789")


def _convnext(size: int) -> tuple[nn.Module, int]:
    models = require("timm.models.convnext", "backbones")
    dims = (8, 12, 16, WIDTH)
    return models.ConvNeXt(depths=(1, 1, 1, 1), dims=dims, num_classes=0), WIDTH


def _resnet(size: int) -> tuple[nn.Module, int]:
    models = require("timm.models.resnet", "backbones")
    channels = (8, 12, 16, WIDTH)
    network = models.ResNet(models.BasicBlock, (1, 1, 1, 1), num_classes=0, stem_width=8, channels=channels)
    return network, WIDTH


def _clip(size: int) -> tuple[nn.Module, int]:
    open_clip = require("open_clip", "backbones")
    vision = {"image_size": size, "patch_size": PATCH, "width": WIDTH, "layers": 2, "head_width": WIDTH // 2}
    text = {"width": 8, "heads": 1, "layers": 1, "vocab_size": 8, "context_length": 8}
    return open_clip.CLIP(WIDTH, vision_cfg=vision, text_cfg=text).visual, WIDTH


# Other families are stood in for by a vision transformer.
_BUILDERS = {"convnext": _convnext, "resnet": _resnet, "open_clip": _clip}
