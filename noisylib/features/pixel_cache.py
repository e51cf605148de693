"""The file that keeps decoded images, so that a set is decoded once and not by every run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.pixel_decoding import Decoded, pixel_digests, read_errors
from noisylib.files import write_aside

if TYPE_CHECKING:
    from noisylib.data import ImageSet

FORMAT = "noisylib-pixels-1"
# What is done to an image before it is uint8; mean and standard deviation come later.
_RESIZE = ("input_size", "interpolation", "crop_pct", "crop_mode")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PixelCache:
    """One ``.safetensors`` file of decoded images and what they were made from.

    Attributes
    ----------
    path : the file.
    fingerprint : what decides the pixels, as plain JSON values.
    """

    path: Path
    fingerprint: Mapping[str, Any]

    def read(self, keep: bool) -> Decoded | None:
        """Return what an earlier run decoded; None if there is no file, or one of other images.

        Parameters
        ----------
        keep : pixels are wanted; a file without them is then of no use.

        Raises
        ------
        NoisylibError
            The file is damaged, or is not one of decoded images: it is not overwritten.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="np") as file:
                header = json.loads((file.metadata() or {})["noisylib"])
                if header["format"] != FORMAT:
                    raise ValueError(f"its format is {header['format']!r}")
                if header["fingerprint"] != self.fingerprint:
                    self._say_stale(header["fingerprint"])
                    return None
                names = file.keys()
                if keep and "pixels" not in names:
                    return None
                digests = file.get_tensor("digests")
                pixels = file.get_tensor("pixels") if keep else None
            failed = {int(position): why for position, why in header["failed"].items()}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._refuse(f"is no intact file of decoded images ({error})") from error
        if header["digest"] != _digest(digests):
            raise self._refuse("is damaged: the digests of its images have changed")
        if pixels is not None:
            self._check(pixels, digests, failed)
        return Decoded(digests, failed, pixels)

    def write(self, found: Decoded) -> None:
        """Keep what was decoded."""
        header = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "failed": {str(position): why for position, why in sorted(found.failed.items())},
            "digest": _digest(found.digests),
        }
        arrays = {"digests": found.digests}
        if found.pixels is not None:
            arrays["pixels"] = found.pixels
        with write_aside(self.path) as aside:
            save_file(arrays, aside, metadata={"noisylib": json.dumps(header)})

    def _check(self, pixels: np.ndarray, digests: np.ndarray, failed: Mapping[int, str]) -> None:
        kept = np.setdiff1d(np.arange(len(digests)), list(failed))
        side = self.fingerprint["pixels"]["input_size"]
        if pixels.shape != (len(digests), *side) or pixels.dtype != np.uint8:
            raise self._refuse(f"holds pixels of shape {pixels.shape} and dtype {pixels.dtype}")
        changed = (pixel_digests(pixels)[kept] != digests[kept]).any(axis=1)
        if changed.any():
            raise self._refuse(f"is damaged: {changed.sum()} of its {len(pixels)} images have changed")

    def _say_stale(self, theirs: Mapping[str, Any]) -> None:
        names = [name for name in self.fingerprint if theirs.get(name) != self.fingerprint[name]]
        logger.warning("%s holds other images (other %s): made anew", self.path.name, ", ".join(names))

    def _refuse(self, what: str) -> NoisylibError:
        return NoisylibError(
            f"cache={str(self.path)!r} {what}. Delete it, and the images are decoded again; "
            "or give another file, if it is something else."
        )


def fingerprint(images: ImageSet, backbone: Backbone, rows: np.ndarray) -> dict[str, Any]:
    """Return what decides the pixels of `rows`, as plain JSON values; decodes three images at most."""
    chosen = [images.keys[row] for row in rows]
    return {
        "dataset": images.info.name,
        "images": hashlib.sha256("\n".join(chosen).encode()).hexdigest(),
        "look": _look(images, rows),
        "pixels": {name: backbone.preprocessing.get(name) for name in _RESIZE},
    }


def _look(images: ImageSet, rows: np.ndarray) -> str:
    """Return a digest of three of the images as stored: equal names do not make equal pixels."""
    digest = hashlib.sha256()
    for position in sorted({0, len(rows) // 2, len(rows) - 1}):
        try:
            image = images.image(int(rows[position]))
        except (NoisylibError, *read_errors()):
            digest.update(b"unreadable")  # reading it in earnest says more
            continue
        digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()


def _digest(digests: np.ndarray) -> str:
    return hashlib.sha256(f"{digests.shape}".encode() + np.ascontiguousarray(digests).tobytes()).hexdigest()
