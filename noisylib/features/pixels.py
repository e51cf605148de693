"""Decoded images in the shape a backbone takes, for training that has to see pixels in every epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from noisylib.data.limits import limited_rows
from noisylib.data.splits import SPLITS, split_counts
from noisylib.errors import NoisylibError, check_name
from noisylib.features.augment import SIDED
from noisylib.features.backbones import Backbone
from noisylib.features.pixel_cache import PixelCache, fingerprint
from noisylib.features.pixel_decoding import (
    Decoded,
    InMemory,
    OnDemand,
    Progress,
    checksum,
    decode_all,
    pixel_digests,
)

if TYPE_CHECKING:
    from noisylib.data import ImageSet

MEMORY_BYTES = 4 * 2**30  # "auto" keeps the pixels of smaller sets
logger = logging.getLogger(__name__)

Store = Callable[[np.ndarray], np.ndarray]  # rows (B,) -> pixels (B, 3, S, S) uint8


@dataclass(frozen=True, eq=False)
class PixelSet:
    """N labelled images of one size as uint8, in memory or decoded when asked for.

    Attributes
    ----------
    name : of the data set.
    class_names : K names; a label is a position among them.
    keys : N names of images, unique.
    labels : (N,) int64, the labels that the data set gives.
    split : (N,) uint8: 0 train, 1 val, 2 test.
    index : (N,) int64, row in the image set that the images were taken from.
    size : side of an image in pixels.
    skipped : images that could not be read and were left out, as "key: reason".
    sided : classes tell left from right, so that a mirrored image has another class.
    checksum : SHA-256 (hex) of pixels, keys, labels, split and class names; the same in memory and on demand.
    licence, citation : of the data set.
    """

    name: str
    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    labels: np.ndarray
    split: np.ndarray
    index: np.ndarray
    size: int
    skipped: tuple[str, ...]
    sided: bool
    checksum: str
    licence: str
    citation: str
    _store: Store = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    def take(self, rows: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Return the images of `rows` (B,) in their order, (B, 3, size, size) uint8, to change at will.

        Raises
        ------
        NoisylibError
            A row is not one of 0..N-1, or an image on demand cannot be read any more.
        """
        rows = np.asarray(rows)
        if rows.size == 0:
            return torch.zeros((0, 3, self.size, self.size), dtype=torch.uint8)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise NoisylibError(
                f"rows has shape {rows.shape} and dtype {rows.dtype}; give integers (B,). "
                "np.flatnonzero turns a mask into rows."
            )
        if rows.min() < 0 or rows.max() >= len(self):
            raise NoisylibError(
                f"rows range from {rows.min()} to {rows.max()}, must be within 0..{len(self) - 1}."
            )
        return torch.from_numpy(self._store(rows.astype(np.int64)))

    def rows(self, split: str) -> np.ndarray:
        """Return the rows (n,) int64 of "train", "val" or "test", in order."""
        check_name("split", split, SPLITS)
        return np.flatnonzero(self.split == SPLITS.index(split))


def read_pixels(
    images: ImageSet,
    backbone: Backbone,
    *,
    limit: Mapping[str, int] | None = None,
    seed: int = 0,
    corrupt: Literal["stop", "skip"] = "stop",
    memory: Literal["auto", "keep", "demand"] = "auto",
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> PixelSet:
    """Return the images of a set, resized and cropped for `backbone`.

    Every image is read once at the beginning, also on demand: what cannot be read is known before training.

    Parameters
    ----------
    images, backbone : which images, for which network; its preprocessing says the size.
    limit : split -> images at most, with the natural shares of the classes and at least two of each; 0 leaves
        a split out, a split that is not named stays whole. See `noisylib.data.limits`.
    seed : another seed takes other images under a limit.
    corrupt : what to do about an image whose file is truncated or no image: "stop", or "skip" it, count it
        and list it in ``skipped``. Other failures (an absent file, a failing disk) always stop.
    memory : "keep" the pixels, decode them on "demand" each time, or "auto": keep up to 4 GiB.
    cache : ``.safetensors`` file that keeps the decoded images for the next time; without pixels if they are
        decoded on demand, it still saves reading every image once. Made anew when images or sizes differ.
    progress : called with (images done, of all) while images are read.

    Raises
    ------
    NoisylibError
        An image cannot be read, a class loses all its training images, a limit is too small, or `cache` is
        damaged or another kind of file.
    """
    check_name("corrupt", corrupt, ("stop", "skip"))
    check_name("memory", memory, ("auto", "keep", "demand"))
    rows = limited_rows(images.info.name, images.keys, images.labels, images.split, limit, seed)
    if not len(rows):
        raise NoisylibError(f"limit={dict(limit or {})} leaves no image of {images.info.name}.")
    size = backbone.info.input_size
    keep = memory == "keep" or (memory == "auto" and len(rows) * 3 * size**2 <= MEMORY_BYTES)
    store = PixelCache(Path(cache), fingerprint(images, backbone, rows)) if cache is not None else None
    found = store.read(keep) if store else None
    if found is None or (found.failed and corrupt == "stop"):  # the file may have been mended meanwhile
        found = decode_all(images, backbone, rows, keep=keep, skip=corrupt == "skip", progress=progress)
        if store:
            store.write(found)
    return _pixel_set(images, backbone, rows, found)


def _pixel_set(images: ImageSet, backbone: Backbone, rows: np.ndarray, found: Decoded) -> PixelSet:
    failed = np.array(sorted(found.failed), np.int64)
    skipped = tuple(f"{images.keys[rows[i]]}: {found.failed[i]}" for i in failed.tolist())
    _check_skipped(images, rows, failed, skipped)
    index, digests, pixels = rows, found.digests, found.pixels
    if len(failed):
        index, digests = np.delete(rows, failed), np.delete(digests, failed, axis=0)
        pixels = None if pixels is None else np.delete(pixels, failed, axis=0)
    keys, class_names = tuple(images.keys[row] for row in index), tuple(images.info.classes)
    labels, split = images.labels[index].astype(np.int64), images.split[index].astype(np.uint8)
    return PixelSet(
        name=images.info.name,
        class_names=class_names,
        keys=keys,
        labels=labels,
        split=split,
        index=index,
        size=backbone.info.input_size,
        skipped=skipped,
        sided=tells_sides(class_names),
        checksum=checksum(keys, labels, split, class_names, digests),
        licence=images.info.licence,
        citation=images.info.citation,
        _store=OnDemand(images, backbone, index) if pixels is None else InMemory(pixels),
    )


def _check_skipped(images: ImageSet, rows: np.ndarray, failed: np.ndarray, skipped: tuple[str, ...]) -> None:
    """Say which images are left out; without all training images of a class, nothing can be learned of it."""
    if not skipped:
        return
    name, K = images.info.name, images.info.n_classes
    first = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
    gone = rows[failed]
    before, lost = (split_counts(images.labels[part], images.split[part], K)[0] for part in (rows, gone))
    empty = [images.info.classes[c] for c in np.flatnonzero((lost == before) & (before > 0))]
    if empty:
        raise NoisylibError(
            f"{name}: none of the training images of {', '.join(map(repr, empty))} can be read ({first}). "
            "Fetch these files again, or leave the class out of the set."
        )
    logger.warning(
        "%s: left out %d of %d images that cannot be read: %s", name, len(skipped), len(rows), first
    )


def made_pixels(
    pixels: np.ndarray | Tensor,
    labels: np.ndarray,
    split: np.ndarray,
    class_names: Sequence[str],
    name: str = "made",
    *,
    keys: Sequence[str] | None = None,
    sided: bool | None = None,
    licence: str = "",
    citation: str = "",
) -> PixelSet:
    """Return a set of images that are in memory already.

    Parameters
    ----------
    pixels : (N, 3, S, S) uint8, already at the size of the backbone.
    labels, split : (N,) integers; split codes are 0 train, 1 val, 2 test.
    class_names : K names.
    name : of the set.
    keys : names of the images; by default ``name/0``, ``name/1``, ...
    sided : True where a mirrored image has another class; by default the class names decide.
    licence, citation : of the images.

    Raises
    ------
    NoisylibError
        An array has the wrong shape or dtype, or labels, splits or keys that cannot be.
    """
    pixels = np.ascontiguousarray(pixels)
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 4
        or pixels.shape[1] != 3
        or pixels.shape[2] != pixels.shape[3]
    ):
        raise NoisylibError(
            f"pixels has shape {pixels.shape} and dtype {pixels.dtype}; give (N, 3, S, S) uint8 with 0..255."
        )
    n, class_names = len(pixels), tuple(class_names)
    labels, split = _codes("labels", labels, n, len(class_names)), _codes("split", split, n, len(SPLITS))
    keys = tuple(f"{name}/{i}" for i in range(n)) if keys is None else tuple(keys)
    if len(keys) != n or len(set(keys)) != n:
        raise NoisylibError(f"keys holds {len(set(keys))} different names, needs one for each of {n} images.")
    split = split.astype(np.uint8)
    return PixelSet(
        name=name,
        class_names=class_names,
        keys=keys,
        labels=labels,
        split=split,
        index=np.arange(n),
        size=pixels.shape[2],
        skipped=(),
        sided=tells_sides(class_names) if sided is None else sided,
        checksum=checksum(keys, labels, split, class_names, pixel_digests(pixels)),
        licence=licence,
        citation=citation,
        _store=InMemory(pixels),
    )


def tells_sides(class_names: Sequence[str]) -> bool:
    """Return whether classes tell left from right, so that images must not be mirrored."""
    return any(SIDED.search(name) for name in class_names)


def _codes(name: str, values: np.ndarray, n: int, allowed: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise NoisylibError(
            f"{name} has shape {values.shape} and dtype {values.dtype}; give integers ({n},)."
        )
    if n and (values.min() < 0 or values.max() >= allowed):
        raise NoisylibError(
            f"{name} range from {values.min()} to {values.max()}, must be within 0..{allowed - 1}."
        )
    return values.astype(np.int64)
