"""Images decoded by threads; what cannot be read is told apart from what went wrong otherwise."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import NoisylibError, require
from noisylib.features.backbones import Backbone

if TYPE_CHECKING:
    from noisylib.data import ImageSet

BLOCK = 256  # images between two reports of progress
Progress = Callable[[int, int], None]  # images done, of all


@dataclass
class Decoded:
    """What reading found out about n images.

    Attributes
    ----------
    digests : (n, 32) uint8, SHA-256 of each image's pixels; zeros where it could not be read.
    failed : position -> why the image could not be read.
    pixels : (n, 3, S, S) uint8, or None where they are not kept.
    """

    digests: np.ndarray
    failed: dict[int, str] = field(default_factory=dict)
    pixels: np.ndarray | None = None


def decode_all(
    images: ImageSet,
    backbone: Backbone,
    rows: np.ndarray,
    *,
    keep: bool,
    skip: bool,
    progress: Progress | None = None,
) -> Decoded:
    """Return the pixels (if `keep`) and digests of `rows`, and which of them cannot be read (if `skip`).

    Raises
    ------
    NoisylibError
        Without `skip`: an image cannot be read; the text names the file.
    """
    size = backbone.info.input_size
    found = Decoded(np.zeros((len(rows), 32), np.uint8))
    if keep:
        found.pixels = np.zeros((len(rows), 3, size, size), np.uint8)

    def read(position: int) -> None:
        try:
            pixels = decode(images, backbone, int(rows[position]))
        except NoisylibError as error:
            reason = unreadable(error)
            if reason is None:
                raise
            if not skip:
                raise NoisylibError(
                    f"{error} Or leave such images out, counted and listed, with corrupt='skip'."
                ) from error
            found.failed[position] = reason
            return
        found.digests[position] = np.frombuffer(hashlib.sha256(pixels.data).digest(), np.uint8)
        if found.pixels is not None:
            found.pixels[position] = pixels

    run_in_threads(read, images.split[rows], progress)
    return found


def decode(images: ImageSet, backbone: Backbone, row: int) -> np.ndarray:
    """Return one image as the backbone wants it, (3, S, S) uint8.

    Raises
    ------
    NoisylibError
        The image cannot be read; names the file, or the key where there is no file.
    """
    try:
        image = images.image(row)
    except read_errors() as error:
        raise NoisylibError(
            f"cannot read image {images.keys[row]!r} of {images.info.name}: {error}. Fetch it again."
        ) from error
    return np.ascontiguousarray(backbone.pixels(image).numpy())


def read_errors() -> tuple[type[Exception], ...]:
    """Return what Pillow raises about bytes that are no image; a broken PNG can be a syntax error to it."""
    return OSError, SyntaxError, require("PIL.Image", "backbones").DecompressionBombError


def unreadable(error: NoisylibError) -> str | None:
    """Return why the bytes of an image are not an image, or None if something else is wrong.

    A file that is absent, locked or on a failing disk carries the system's error number; leaving it out
    would hide that.
    """
    cause = error.__cause__
    if isinstance(cause, require("PIL", "backbones").UnidentifiedImageError):
        return "not an image"  # its own text has the whole path
    if isinstance(cause, OSError) and cause.errno is not None:
        return None
    return str(cause) if isinstance(cause, read_errors()) else None


def run_in_threads(read: Callable[[int], None], split: np.ndarray, progress: Progress | None = None) -> None:
    """Call `read` with each position of `split` (n,) on every core; the first error ends it.

    Pillow lets go of the interpreter lock while it decodes and resizes, so threads are enough. Some sets
    hold one split in memory at a time: positions of one split follow each other, and the first of them is
    read alone.
    """
    done = 0
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
    try:
        for code in np.unique(split):
            part = np.flatnonzero(split == code).tolist()
            read(part[0])
            for start in range(0, len(part), BLOCK):
                block = part[start : start + BLOCK]
                for _ in pool.map(read, block if start else block[1:]):
                    pass
                done += len(block)
                if progress:
                    progress(done, len(split))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Images that are decoded by threads each time they are asked for; row i is `index[i]` of the set."""

    images: ImageSet
    backbone: Backbone
    index: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        size = self.backbone.info.input_size
        pixels = np.empty((len(rows), 3, size, size), np.uint8)

        def read(position: int) -> None:
            pixels[position] = decode(self.images, self.backbone, int(self.index[rows[position]]))

        run_in_threads(read, self.images.split[self.index[rows]])
        return pixels


@dataclass(frozen=True, eq=False)
class InMemory:
    """Pixels (N, 3, S, S) uint8 in one array."""

    pixels: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self.pixels[rows]


def pixel_digests(pixels: np.ndarray) -> np.ndarray:
    """Return the SHA-256 (N, 32) uint8 of each image of (N, 3, S, S) uint8."""
    found = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in pixels]
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), 32)


def checksum(
    keys: Sequence[str],
    labels: np.ndarray,
    split: np.ndarray,
    class_names: Sequence[str],
    digests: np.ndarray,
) -> str:
    """Return the SHA-256 (hex) of a set of images, from the digests (N, 32) of their pixels."""
    named = [list(keys), list(class_names), labels.tolist(), split.tolist()]
    digest = hashlib.sha256(json.dumps(named).encode())
    digest.update(np.ascontiguousarray(digests, np.uint8).data)
    return digest.hexdigest()
