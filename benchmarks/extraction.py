"""How much of the bare forward pass the extraction keeps: images/s of both, measured in turn.

python -m benchmarks.extraction DATASET --data FOLDER [--weights FILE] [--backbone deit_tiny]
Without --data it makes JPEGs of its own, and without --weights it draws random ones.

The whole is what `noisylib features extract` does once images and network are found: decoding, forward
passes, digests, shards and the bank on disk, with torch on every core, as it is unless told otherwise.
A CPU decodes a batch between two forward passes, a GPU gets it decoded ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import usable_cores
from noisylib.data import DATASETS, ImageSet, load_images
from noisylib.data.images import ImageFiles
from noisylib.features.backbones import Backbone, load_backbone
from noisylib.features.extract import (
    BATCH_SIZE,
    SHARD_IMAGES,
    extract_features,
    forward,
    read_batches,
    resolve_precision,
)
from noisylib.seeding import numpy_generator

ROUNDS = 3
FILES = 64


def made_images(folder: Path, n: int, size: tuple[int, int] = (600, 450)) -> ImageSet:
    """Return n JPEGs of HAM10000's official size and classes; `folder` gets up to 64 files, read in turn.

    Smooth colours with grain on top: without the grain a JPEG decodes faster than a photograph.
    """
    from PIL import Image

    random, info = numpy_generator("benchmark", "extraction"), DATASETS["ham10000"]
    names = [f"{i:02d}.jpg" for i in range(min(n, FILES))]
    for name in names:
        coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize(size)
        grain = random.normal(0, 6, (size[1], size[0], 3))
        pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name, quality=95)
    labels = np.arange(n) % info.n_classes
    files = ImageFiles(folder, tuple(names[i % len(names)] for i in range(n)))
    return ImageSet(info, tuple(map(str, range(n))), labels, np.ones(n, np.uint8), None, files)


def first_images(images: ImageSet, n: int) -> ImageSet:
    """Return the first n images, all in the validation split, which may lack classes."""
    n = min(n, len(images))
    part = {"keys": images.keys[:n], "labels": images.labels[:n], "split": np.ones(n, np.uint8)}
    return replace(images, **part, groups=None, human_labels={})


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Give torch `n` threads inside the block, whatever OMP_NUM_THREADS says."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(
    images: ImageSet,
    backbone: Backbone,
    *,
    batch_size: int = BATCH_SIZE,
    rounds: int = ROUNDS,
    threads: int | None = None,
) -> dict[str, object]:
    """Return images/s of the bare forward pass and of the whole extraction, their ratio, the setting.

    Every round times both, and the order alternates. `threads` of torch: by default every core.
    """
    threads = threads or usable_cores()
    precision, n = resolve_precision("auto", backbone.device.type), len(images)
    rows = [range(i, min(i + batch_size, n)) for i in range(0, n, batch_size)]
    with torch_threads(threads):
        batches = [pixels.to(backbone.device) for pixels, _ in read_batches(images, backbone, rows)]

        def bare() -> float:
            start = time.perf_counter()
            for pixels in batches:
                forward(backbone, pixels, precision)
            return time.perf_counter() - start

        def whole() -> float:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "bank.safetensors"
                start = time.perf_counter()
                extract_features(
                    images, backbone, out=out, batch_size=batch_size, precision=precision, progress=False
                )
                return time.perf_counter() - start

        for pixels in {len(p): p for p in batches}.values():
            forward(backbone, pixels, precision)  # warm, also for the size of a last partial batch
        seconds: dict[str, list[float]] = {"bare": [], "whole": []}
        for turn in range(rounds):
            for name, run in (("bare", bare), ("whole", whole))[:: -1 if turn % 2 else 1]:
                seconds[name].append(run())
    paired = zip(seconds["bare"], seconds["whole"], strict=True)
    return {
        "extraction.forward_images_per_s": n / statistics.median(seconds["bare"]),
        "extraction.images_per_s": n / statistics.median(seconds["whole"]),
        # Paired rounds, so that a machine that slows down slows both.
        "extraction.fraction_of_forward": statistics.median(b / w for b, w in paired),
        "extraction.seconds": seconds,
        "extraction.setting": {
            "what": "extract_features: decoding, forward passes, digests, shards and the bank on disk",
            "backbone": backbone.info.name,
            "device": backbone.device.type,
            "precision": precision,
            "images": n,
            "image_size": list(images.image(0).size),
            "batch_size": batch_size,
            "shard_images": SHARD_IMAGES,
            "torch_threads": threads,
            "decoding_threads": os.cpu_count(),
            "rounds": rounds,
        },
    }


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``: made images, a DeiT-Ti of random weights."""
    backbone = load_backbone("deit_tiny", None, pretrained=False, device=device)
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            return measure(made_images(Path(folder), 8), backbone, batch_size=4, rounds=1)
        return measure(made_images(Path(folder), SHARD_IMAGES), backbone)


def table(results: dict[str, object]) -> str:
    """Return the measurements as text."""
    keys = ("images_per_s", "fraction_of_forward", "forward_images_per_s", "setting")
    rate, fraction, bare, setting = (results[f"extraction.{key}"] for key in keys)
    return (
        f"extraction: {rate:.1f} images/s, {100 * fraction:.0f} % of the bare forward pass "
        f"({bare:.1f} images/s), {setting['torch_threads']} torch threads"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", default="ham10000")
    parser.add_argument("--data")
    parser.add_argument("--backbone", default="deit_tiny")
    parser.add_argument("--weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--images", type=int, default=SHARD_IMAGES, help="of the set, from its first")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, help="torch threads; by default every core")
    args = parser.parse_args()
    pretrained = args.weights is not None
    backbone = load_backbone(args.backbone, args.weights, pretrained=pretrained, device=args.device)
    with tempfile.TemporaryDirectory() as folder:
        if args.data:
            images = first_images(load_images(args.dataset, args.data), args.images)
        else:
            images = made_images(Path(folder), args.images)
        rates = measure(
            images, backbone, batch_size=args.batch_size, rounds=args.rounds, threads=args.threads
        )
    print(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
