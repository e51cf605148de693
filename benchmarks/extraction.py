"""How much of the bare forward pass the extraction keeps: images/s of both, measured in turn.

python benchmarks/extraction.py DATASET --data FOLDER [--weights FILE] [--backbone deit_tiny]
Without --data it makes JPEG-like images of its own, and without --weights it draws random ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from noisylib.data import DATASETS, ImageSet, load_images
from noisylib.data.images import ImageFiles
from noisylib.features.backbones import Backbone, load_backbone
from noisylib.features.extract import forward, read_batches, resolve_precision
from noisylib.seeding import numpy_generator


def made_images(folder: Path, n: int) -> ImageSet:
    """Return n smooth random 200 x 150 JPEGs, stored in `folder`, under HAM10000's classes."""
    from PIL import Image

    random = numpy_generator("benchmark", "extraction")
    info = DATASETS["ham10000"]
    names = tuple(f"{i:05d}.jpg" for i in range(n))
    for name in names:
        coarse = random.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((200, 150)).save(folder / name, quality=90)
    zeros = np.zeros(n, np.int64)
    return ImageSet(info, names, zeros, zeros.astype(np.uint8), None, ImageFiles(folder, names))


def measure(
    images: ImageSet, backbone: Backbone, *, batch_size: int, batches: int, rounds: int
) -> dict[str, float]:
    """Return images/s of the bare forward pass and of the whole extraction, and their ratio."""
    precision = resolve_precision("auto", backbone.device.type)
    rows = [range(i * batch_size, (i + 1) * batch_size) for i in range(batches)]
    pixels = [batch.to(backbone.device) for batch, _ in read_batches(images, backbone, rows)]
    forward(backbone, pixels[0], precision)
    bare, whole = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        for batch in pixels:
            forward(backbone, batch, precision)
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        for batch, _ in read_batches(images, backbone, rows):
            forward(backbone, batch.to(backbone.device), precision)
        whole.append(time.perf_counter() - start)
    n = batch_size * batches
    return {
        "extraction.forward_images_per_s": n / statistics.median(bare),
        "extraction.images_per_s": n / statistics.median(whole),
        # Paired rounds, so that a machine that slows down slows both.
        "extraction.fraction_of_forward": statistics.median(b / w for b, w in zip(bare, whole, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", default="ham10000")
    parser.add_argument("--data")
    parser.add_argument("--backbone", default="deit_tiny")
    parser.add_argument("--weights")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = load_backbone(args.backbone, args.weights, pretrained=args.weights is not None, device=device)
    with tempfile.TemporaryDirectory() as folder:
        n = args.batch_size * args.batches
        images = load_images(args.dataset, args.data) if args.data else made_images(Path(folder), n)
        rates = measure(
            images, backbone, batch_size=args.batch_size, batches=args.batches, rounds=args.rounds
        )
    print(json.dumps({name: round(value, 3) for name, value in rates.items()}, indent=1))


if __name__ == "__main__":
    main()
