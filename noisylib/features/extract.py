"""From images to a feature bank: batched, resumable, and no slower than the network itself."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from noisylib.devices import pick_device
from noisylib.errors import NoisylibError, check_name
from noisylib.features.augment import Augmentation, check_views
from noisylib.features.backbones import Backbone, load_backbone
from noisylib.features.bank import BankMeta, FeatureBank, bank_path
from noisylib.features.bank_rules import SPLITS
from noisylib.features.reading import read_batches
from noisylib.features.reduce import check_components, reduce_bank
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
    views: int = 0,
    components: int = 0,
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
    views : augmented versions of each training image whose features the bank holds as well, 0 or >= 2;
        what is done to them is in `noisylib.features.augment` and in the bank's record.
    components : keep this many principal components of the training split's features in place of the
        features, see `noisylib.features.reduce`; 0 keeps the features.
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

    # A slip is said before weights are looked for.
    dataset_info(dataset)
    check_views(views)
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
    command += ["--views", str(views)] if views else []
    command += ["--components", str(components)] if components else []
    command += ["--batch-size", str(batch_size), "--precision", precision]
    return extract_features(
        images,
        network,
        out=out or bank_path(dataset, name),
        name=name,
        views=views,
        components=components,
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
    views: int = 0,
    components: int = 0,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "auto",
    resume: bool = True,
    progress: bool = True,
    command: str = "",
    shard_images: int = SHARD_IMAGES,
) -> FeatureBank:
    """Return the features of any image set under a loaded backbone, after writing them to `out`.

    Shards of about `shard_images` images, views counted, are kept in ``<out>.partial/`` until the
    bank stands, so a killed run loses at most one of them. Batches are cut at the same places in a
    resumed run, and its bank is bit-equal to that of an uninterrupted one. Plain features are the same
    with and without views. Other arguments as in `extract_bank`.
    """
    if batch_size < 1:
        raise NoisylibError(f"batch_size={batch_size} must be at least 1.")
    augmentation = Augmentation.of(images, backbone, views) if check_views(views) else None
    out = Path(out)
    precision = resolve_precision(precision, backbone.device.type)
    preprocessing = {**backbone.preprocessing, "precision": precision}
    if augmentation:
        preprocessing |= augmentation.recipe()
    name = name or backbone.info.name
    fingerprint = _fingerprint(images, name, batch_size, preprocessing, views)
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
    empty = {"features": np.zeros((len(images), 1))}
    if augmentation:
        empty["views"] = np.zeros((len(images), views, 1))
    _bank(empty, images, meta)
    if components:
        n_train = int((images.split == SPLITS.index("train")).sum())
        check_components(components, n_train, backbone.n_features)
    size = batch_size * max(1, shard_images // (batch_size * (1 + views)))
    shards = ShardFolder(out, fingerprint, len(images), size, resume)
    _fill(shards, images, backbone, augmentation, batch_size, precision, progress)
    arrays = shards.collect()
    bank = _bank(arrays, images, replace(meta, notes=_describe_sizes(arrays["sizes"])))
    bank = reduce_bank(bank, components) if components else bank
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
        images = backbone.normalise(pixels).contiguous(memory_format=torch.channels_last)
        features = backbone.model(images)
    return features.float().cpu().numpy().astype(np.float16)


def _fill(
    shards: ShardFolder,
    images: ImageSet,
    backbone: Backbone,
    augmentation: Augmentation | None,
    batch_size: int,
    precision: Precision,
    progress: bool,
) -> None:
    from tqdm import tqdm

    todo = shards.missing()
    rows = {start: range(start, min(start + shards.size, len(images))) for start in todo}
    batches = [part[i : i + batch_size] for part in rows.values() for i in range(0, len(part), batch_size)]
    training = images.split == SPLITS.index("train")
    n_views = augmentation.n_views if augmentation else 0
    work = 1 + n_views * training  # forward passes per image
    bar = tqdm(
        total=int(work.sum()),
        initial=int(work.sum() - sum(work[part].sum() for part in rows.values())),
        desc=f"{images.info.name} {backbone.info.name}",
        unit="image",
        file=sys.stderr,
        disable=not progress,
    )
    # Closing the stream ends the decoding threads, also when a forward pass fails.
    with bar, closing(read_batches(images, backbone, batches, augmentation=augmentation)) as stream:
        for start, part in rows.items():
            found: dict[str, list[np.ndarray]] = {"features": [], "views": [], "sizes": []}
            for _ in range(0, len(part), batch_size):
                pixels, sizes = next(stream)
                for kind, chunk in _chunks(pixels, len(sizes), batch_size):
                    found[kind].append(forward(backbone, chunk.to(backbone.device), precision))
                    bar.update(len(chunk))
                found["sizes"].append(sizes)
            arrays = {kind: np.concatenate(parts) for kind, parts in found.items() if parts}
            if augmentation:
                arrays["views"] = _spread(arrays.get("views"), training[part], n_views, backbone.n_features)
            shards.write(start, arrays)


def _chunks(pixels: Tensor, n_plain: int, batch_size: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the parts of a batch that go through the network at once: plain ones exactly as without views."""
    yield "features", pixels[:n_plain]
    for start in range(n_plain, len(pixels), batch_size):
        yield "views", pixels[start : start + batch_size]


def _spread(views: np.ndarray | None, training: np.ndarray, n_views: int, n_features: int) -> np.ndarray:
    """Return (B, V, D) with zeros outside the training split: an array of a shard has a row per image."""
    spread = np.zeros((len(training), n_views, n_features), dtype=np.float16)
    if views is not None:
        spread[training] = views.reshape(-1, n_views, n_features)
    return spread


def _bank(arrays: dict[str, np.ndarray], images: ImageSet, meta: BankMeta) -> FeatureBank:
    views = arrays.get("views")
    if views is not None:
        views = views[images.split == SPLITS.index("train")].swapaxes(0, 1)  # (V, N_train, D)
    return FeatureBank.from_arrays(
        arrays["features"],
        images.labels,
        images.split,
        images.info.classes,
        meta,
        images.groups,
        views,
        human_labels=_human_labels(images),
    )


def _human_labels(images: ImageSet) -> dict[str, np.ndarray]:
    """Return the labels that people gave to every training image, unless they are the set's own labels."""
    train = images.split == SPLITS.index("train")
    return {
        name: np.where(train, labels, -1)
        for name, labels in images.human_labels.items()
        if (labels[train] >= 0).all() and (labels != images.labels)[train].any()
    }


def _fingerprint(
    images: ImageSet, name: str, batch_size: int, preprocessing: dict[str, Any], views: int
) -> dict[str, Any]:
    fingerprint = {
        "dataset": images.info.name,
        "images": _images_digest(images),
        "n_images": len(images),
        "backbone": name,
        "batch_size": batch_size,
        "preprocessing": preprocessing,
    }
    if views:  # without them, the split changes no number
        fingerprint["split"] = hashlib.sha256(images.split.tobytes()).hexdigest()
    return fingerprint


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
