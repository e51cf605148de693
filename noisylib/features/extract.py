"""From images to a feature bank: batched, resumable, and no slower than the network itself."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from noisylib.devices import pick_device
from noisylib.errors import NoisylibError, check_name
from noisylib.features.backbones import Backbone, load_backbone
from noisylib.features.bank import BankMeta, FeatureBank, bank_path
from noisylib.features.shards import ShardFolder

if TYPE_CHECKING:
    from noisylib.data import ImageSet

Precision = Literal["auto", "bfloat16", "float32"]
BATCH_SIZE = 64
SHARD_IMAGES = 512


def extract_bank(
    dataset: str,
    root: str | Path,
    backbone: str = "deit_tiny",
    *,
    weights: str | Path | None = None,
    pretrained: bool = True,
    name: str | None = None,
    out: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    precision: Precision = "auto",
    resume: bool = True,
    download: bool = False,
    progress: bool = True,
) -> FeatureBank:
    """Return the features of a catalogued image set, after writing them to `out`.

    Parameters
    ----------
    dataset, root : name in the catalogue, and the folder with its official files.
    backbone, weights : name in the registry, and a local checkpoint to use in place of the hub's.
    pretrained : False extracts with seeded random weights, as a floor to compare with.
    name : what the bank calls its backbone, if not by its registry name (other weights, other name).
    out : bank file; by default ``<dataset>-<name>.safetensors`` in the folder of the banks.
    batch_size : images per forward pass.
    device : "cpu", "cuda", ... or "auto", the GPU if there is one.
    precision : "bfloat16" or "float32" forward pass; "auto" takes bfloat16 where the processor has it.
    resume : go on with the shards of a killed run; False starts anew.
    download : MedMNIST and CIFAR only: fetch files of the set that are absent.
    progress : show a bar with the time left on stderr.

    Raises
    ------
    UnknownNameError, MissingDataError, NoisylibError
        A name, file or setting cannot be used; nothing half-written remains at `out`.
    ConfigError
        A started extraction with other settings lies beside `out`.
    """
    from noisylib.data import dataset_info, load_images

    dataset_info(dataset)  # a slip in the name is said before weights are looked for
    device = str(pick_device(device))
    precision = resolve_precision(precision, device)
    network = load_backbone(backbone, weights, pretrained, device)
    images = load_images(dataset, root, download=download)
    name = name or (backbone if pretrained else f"{backbone}_random")
    command = ["noisylib features extract", dataset, "--backbone", backbone]
    command += ["--data", f"DATA/{Path(root).resolve().name}"]
    command += ["--weights", Path(weights).name] if weights else []
    command += [] if pretrained else ["--random-weights"]
    command += ["--name", name] if name not in (backbone, f"{backbone}_random") else []
    command += ["--batch-size", str(batch_size), "--precision", precision]
    return extract_features(
        images,
        network,
        out=out or bank_path(dataset, name),
        name=name,
        batch_size=batch_size,
        precision=precision,
        resume=resume,
        progress=progress,
        command=" ".join(command),
    )


def extract_features(
    images: ImageSet,
    backbone: Backbone,
    *,
    out: str | Path,
    name: str | None = None,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "auto",
    resume: bool = True,
    progress: bool = True,
    command: str = "",
    shard_images: int = SHARD_IMAGES,
) -> FeatureBank:
    """Return the features of any image set under a loaded backbone, after writing them to `out`.

    Shards of about `shard_images` images are kept in ``<out>.partial/`` until the bank stands, so
    a killed run loses at most one of them. Batches are cut at the same places in a resumed run,
    and its bank is bit-equal to that of an uninterrupted one. Other arguments as in `extract_bank`.
    """
    if batch_size < 1:
        raise NoisylibError(f"batch_size={batch_size} must be at least 1.")
    out = Path(out)
    precision = resolve_precision(precision, backbone.device.type)
    preprocessing = {**backbone.preprocessing, "precision": precision}
    name = name or backbone.info.name
    fingerprint = {
        "dataset": images.info.name,
        "images": _images_digest(images),
        "n_images": len(images),
        "backbone": name,
        "batch_size": batch_size,
        "preprocessing": preprocessing,
    }
    meta = BankMeta(
        dataset=images.info.name,
        backbone=name,
        preprocessing=preprocessing,
        licence=images.info.licence,
        citation=images.info.citation,
        command=command,
        source=images.info.url,
    )
    # Names, labels and splits that no bank may have are refused now, not after hours of extraction.
    _bank(np.zeros((len(images), 1)), images, meta)
    size = batch_size * max(1, shard_images // batch_size)
    shards = ShardFolder(out, fingerprint, len(images), size, resume)
    _fill(shards, images, backbone, batch_size, precision, progress)
    arrays = shards.collect()
    bank = _bank(arrays["features"], images, replace(meta, notes=_describe_sizes(arrays["sizes"])))
    bank.save(out)
    shards.remove()
    return bank


def resolve_precision(precision: str, device: str) -> Precision:
    """Return "bfloat16" or "float32"; "auto" takes bfloat16 where the processor computes in it."""
    check_name("precision", precision, ("auto", "bfloat16", "float32"))
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities() if device == "cpu" else {}
        # Without these units, bfloat16 on a CPU is emulated and slower than float32.
        native = any(found.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return "bfloat16" if native else "float32"


def forward(backbone: Backbone, pixels: Tensor, precision: Precision) -> np.ndarray:
    """Return the features (B, D) float16 of uint8 images (B, 3, H, W) on the backbone's device."""
    with torch.inference_mode(), _autocast(backbone.device.type, precision):
        features = backbone.model(backbone.normalise(pixels))
    return features.float().cpu().numpy().astype(np.float16)


def read_batches(
    images: ImageSet, backbone: Backbone, batches: Sequence[range], workers: int | None = None
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield (pixels (B, 3, H, W) uint8, sizes (B, 2) int32) per batch, decoded by threads on every core.

    Pillow lets go of the interpreter lock while it decodes and resizes, so threads are enough, and
    nothing has to be copied between processes. A GPU gets its batches decoded ahead. On a CPU a batch is
    decoded between two forward passes: beside one, it would hold up torch's threads at every step.
    """
    ahead_of_use = 0 if backbone.device.type == "cpu" else 2

    def read(row: int) -> tuple[Tensor, tuple[int, int]]:
        image = images.image(row)
        return backbone.pixels(image), image.size

    def batch(futures: list[Future[tuple[Tensor, tuple[int, int]]]]) -> tuple[Tensor, np.ndarray]:
        pixels, sizes = zip(*(future.result() for future in futures), strict=True)
        return torch.stack(pixels), np.array(sizes, dtype=np.int32)

    ahead: deque[list[Future[tuple[Tensor, tuple[int, int]]]]] = deque()
    pool = ThreadPoolExecutor(workers or os.cpu_count(), thread_name_prefix="decode")
    try:
        for rows in batches:
            ahead.append([pool.submit(read, row) for row in rows])
            if len(ahead) > ahead_of_use:
                yield batch(ahead.popleft())
        while ahead:
            yield batch(ahead.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fill(
    shards: ShardFolder,
    images: ImageSet,
    backbone: Backbone,
    batch_size: int,
    precision: Precision,
    progress: bool,
) -> None:
    from tqdm import tqdm

    todo = shards.missing()
    rows = {start: range(start, min(start + shards.size, len(images))) for start in todo}
    batches = [part[i : i + batch_size] for part in rows.values() for i in range(0, len(part), batch_size)]
    done = len(images) - sum(map(len, rows.values()))
    bar = tqdm(
        total=len(images),
        initial=done,
        desc=f"{images.info.name} {backbone.info.name}",
        unit="image",
        file=sys.stderr,
        disable=not progress,
    )
    # Closing the stream ends the decoding threads, also when a forward pass fails.
    with bar, closing(read_batches(images, backbone, batches)) as stream:
        for start, part in rows.items():
            features, sizes = [], []
            for _ in range(0, len(part), batch_size):
                pixels, size = next(stream)
                features.append(forward(backbone, pixels.to(backbone.device), precision))
                sizes.append(size)
                bar.update(len(size))
            shards.write(start, {"features": np.concatenate(features), "sizes": np.concatenate(sizes)})


def _bank(features: np.ndarray, images: ImageSet, meta: BankMeta) -> FeatureBank:
    return FeatureBank.from_arrays(
        features, images.labels, images.split, images.info.classes, meta, images.groups
    )


def _autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, torch.bfloat16)


def _images_digest(images: ImageSet) -> str:
    digest = hashlib.sha256("\n".join(images.keys).encode())
    # Equal names do not make equal pixels: a look at three images tells a resized copy.
    for row in (0, len(images) // 2, len(images) - 1):
        image = images.image(row)
        digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()


def _describe_sizes(sizes: np.ndarray) -> str:
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    if (low == high).all():
        return f"Images as read: {low[0]} x {low[1]} pixels."
    return f"Images as read: {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels."
