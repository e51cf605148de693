"""Labelled images: what every loader returns, and the pieces the loaders share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.splits import SPLITS
from noisylib.errors import MissingDataError, NoisylibError, require

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N labelled images with a fixed split; pixels are read one image at a time.

    Attributes
    ----------
    info
        Catalogue row.
    keys
        N names, unique and the same on every machine.
    labels
        (N,) int64, index into ``info.classes``.
    split
        (N,) uint8: 0 train, 1 val, 2 test.
    groups
        (N,) int64, images of one lesion or patient share a number; None where every image stands alone.
    human_labels
        Name -> (N,) int64 labels given by people or by the web, -1 where there is none.
    open
        Index -> PIL image, as stored.
    source
        Which files were read, for the record.
    """

    info: DatasetInfo
    keys: tuple[str, ...]
    labels: np.ndarray
    split: np.ndarray
    groups: np.ndarray | None
    open: Callable[[int], Image]
    human_labels: dict[str, np.ndarray] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        n, k = len(self.keys), self.info.n_classes
        arrays = {"labels": self.labels, "split": self.split, **self.human_labels}
        if self.groups is not None:
            arrays["groups"] = self.groups
        for name, array in arrays.items():
            if array.shape != (n,):
                raise NoisylibError(f"{self.info.name}: {name} has shape {array.shape}, must be ({n},).")
        if n == 0:
            raise NoisylibError(f"{self.info.name}: no images.")
        if self.labels.min() < 0 or self.labels.max() >= k:
            raise NoisylibError(
                f"{self.info.name}: labels range from {self.labels.min()} to {self.labels.max()}, "
                f"must be within 0..{k - 1}."
            )
        if self.split.max() >= len(SPLITS):
            raise NoisylibError(f"{self.info.name}: split holds {self.split.max()}, allowed: 0, 1, 2.")

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, i: int) -> Image:
        """Return image `i` in RGB."""
        return self.open(i).convert("RGB")


@dataclass(frozen=True)
class ImageFiles:
    """Opens image `i` from ``folder / names[i]``; can be sent to another process."""

    folder: Path
    names: tuple[str, ...]

    def __call__(self, i: int) -> Image:
        path = self.folder / self.names[i]
        try:
            with require("PIL.Image", "backbones").open(path) as image:
                image.load()
        except OSError as error:
            raise NoisylibError(f"cannot read image {path}: {error}. Fetch this file again.") from error
        return image


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Opens image `i` of a uint8 array, (N, H, W) grey or (N, H, W, 3) RGB."""

    pixels: np.ndarray

    def __call__(self, i: int) -> Image:
        return require("PIL.Image", "backbones").fromarray(self.pixels[i])


def missing(info: DatasetInfo, root: Path, what: str) -> MissingDataError:
    """Return the error for absent files: what, where it comes from, where to put it."""
    return MissingDataError(
        f"{info.title}: {what} not found under root={str(root)!r}. Expected there: {'; '.join(info.files)}. "
        f"Get the data from {info.url} (licence: {info.licence}) and put it into that folder, "
        "or pass the folder that has it as root."
    )


def find_folder(info: DatasetInfo, root: Path, has: Callable[[Path], bool], what: str) -> Path:
    """Return `root`, or the only folder directly below it, that satisfies `has`.

    Archives unpack into a folder of their own name, so both its parent and it are accepted.
    """
    if root.is_dir():
        if has(root):
            return root
        below = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and has(folder)]
        if len(below) == 1:
            return below[0]
        if below:
            raise NoisylibError(
                f"{info.title}: {what} found in several folders under root={str(root)!r}: "
                f"{', '.join(folder.name for folder in below)}. Pass one of them as root."
            )
    raise missing(info, root, what)


def locate(info: DatasetInfo, root: Path, folders: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return, for every file name, its path relative to `root`, looked up in `folders`.

    Raises
    ------
    MissingDataError
        Says how many files are absent and names the first.
    """
    where = {
        path.name: f"{folder}/{path.name}"
        for folder in folders
        if (root / folder).is_dir()
        for path in (root / folder).iterdir()
    }
    names = list(names)
    absent = [name for name in names if name not in where]
    if absent:
        raise missing(info, root, f"{len(absent)} of {len(names)} images (the first is {absent[0]})")
    return tuple(where[name] for name in names)


def warn_if_partial(info: DatasetInfo, labels: np.ndarray) -> None:
    """Log a warning if the class counts are not the official ones."""
    found = tuple(np.bincount(labels, minlength=info.n_classes).tolist())
    if info.class_counts is not None and found != info.class_counts:
        logger.warning("%s: class counts %s, official %s", info.name, found, info.class_counts)
