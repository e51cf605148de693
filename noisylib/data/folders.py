"""Trees with one folder per class: PBC, and a user's own pictures."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.images import ImageFiles, ImageSet, find_folder, missing, warn_if_partial
from noisylib.data.splits import holdout_split
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
logger = logging.getLogger(__name__)


def load_class_folders(info: DatasetInfo, root: Path, *, seed_split: int = 0) -> ImageSet:
    """Return the images of ``root/<class>/``, duplicates dropped, split 80/20 within each class."""
    folder = find_folder(
        info, root, lambda f: all((f / name).is_dir() for name in info.classes), "the class folders"
    )
    return _read_tree(info, folder, seed_split)


def load_folder(root: str | Path, name: str = "mine", *, seed_split: int = 0) -> ImageSet:
    """Return your own pictures from a tree ``root/<class>/<image>``.

    Classes are the folder names in alphabetical order. Byte-identical files are reduced to one, and
    dropped altogether where their classes differ; the rest is split 80/20 within each class.

    Parameters
    ----------
    name
        What to call the set; also part of the split's hash.

    Raises
    ------
    MissingDataError
        There is no such folder, or it has fewer than two class folders with images.
    """
    root = Path(root).expanduser()
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    classes = tuple(path.name for path in folders if _images(path))
    if len(classes) < 2:
        raise MissingDataError(
            f"root={str(root)!r} has {len(classes)} class folders with images, needs at least 2. "
            f"Put the images into root/<class>/, as one of {', '.join(SUFFIXES)}."
        )
    counts = tuple(len(_images(root / label)) for label in classes)
    info = DatasetInfo(
        name=name,
        title=name,
        kind="folders",
        classes=classes,
        counts={"all": sum(counts)},
        class_counts=counts,
        licence="your own",
        citation="",
        url=str(root),
        files=tuple(f"{label}/" for label in classes),
        modality="images",
        splits="Stratified 80/20 train/test after dropping byte-identical files.",
    )
    return _read_tree(info, root, seed_split)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_tree(info: DatasetInfo, folder: Path, seed_split: int) -> ImageSet:
    found = {
        f"{label}/{path.name}": i for i, label in enumerate(info.classes) for path in _images(folder / label)
    }
    empty = set(range(info.n_classes)) - set(found.values())
    if empty:
        raise missing(info, folder, f"images of class {info.classes[min(empty)]!r}")
    warn_if_partial(info, np.array(list(found.values())))
    keys = distinct(folder, found)
    if len(keys) < len(found):
        logger.info("%s: %d duplicate files left out", info.name, len(found) - len(keys))
    labels = np.array([found[key] for key in keys], np.int64)
    return ImageSet(
        info=info,
        keys=keys,
        labels=labels,
        split=holdout_split(info.name, labels, keys, seed_split=seed_split),
        groups=None,
        open=ImageFiles(folder, keys),
        source=f"{len(keys)} images, {len(found) - len(keys)} duplicate files left out",
    )


def distinct(folder: Path, labels: dict[str, int]) -> tuple[str, ...]:
    """Return the sorted keys without duplicates by content.

    Of files with the same bytes the first key stays. If their labels differ none stays: nothing says
    which label is right, and a copy in train and one in test would leak.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for key in sorted(labels):
        same[file_digest(folder / key)].append(key)
    kept = [keys[0] for keys in same.values() if len({labels[key] for key in keys}) == 1]
    if not kept:
        raise NoisylibError(f"{folder}: all files are copies of each other under different classes.")
    return tuple(sorted(kept))
