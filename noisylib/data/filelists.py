"""Web-labelled sets that come as lists of files: Clothing1M and WebVision."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.images import ImageFiles, ImageSet, find_folder, missing
from noisylib.errors import NoisylibError

CLOTHING_LISTS = ("noisy_train_key_list.txt", "clean_val_key_list.txt", "clean_test_key_list.txt")
CLOTHING_LABELS = ("noisy_label_kv.txt", "clean_label_kv.txt")
WEBVISION_LISTS = ("info/train_filelist_google.txt", "info/val_filelist.txt")


def load_file_lists(info: DatasetInfo, root: Path) -> ImageSet:
    """Return Clothing1M or the mini part of WebVision with their official parts."""
    return {"clothing1m": _clothing1m, "webvision": _webvision}[info.name](info, root)


def _clothing1m(info: DatasetInfo, root: Path) -> ImageSet:
    """Read the key lists and label files, in `root` or in ``root/annotations``.

    ``labels`` are web labels in train and verified ones in val and test. ``human_labels`` has "web"
    and "verified" wherever each is known: images with both measure the noise.
    """
    lists = next((f for f in (root, root / "annotations") if (f / CLOTHING_LISTS[0]).is_file()), root)
    absent = [name for name in (*CLOTHING_LISTS, *CLOTHING_LABELS) if not (lists / name).is_file()]
    if absent:
        raise missing(info, root, ", ".join(absent))
    web, verified = (_pairs(lists / name, info.n_classes) for name in CLOTHING_LABELS)
    parts = [(lists / name).read_text().split() for name in CLOTHING_LISTS]
    held_out = {key for part in parts[1:] for key in part}
    parts[0] = [key for key in parts[0] if key not in held_out]  # never train on a test image
    keys = tuple(key for part in parts for key in part)
    unlabelled = [key for part, known in zip(parts, (web, verified, verified), strict=True)
                  for key in part if key not in known]  # fmt: skip
    if unlabelled:
        raise NoisylibError(f"{lists}: no label for {unlabelled[0]!r} in {' or '.join(CLOTHING_LABELS)}.")
    split = np.repeat(np.arange(3, dtype=np.uint8), [len(part) for part in parts])
    human = {
        name: np.array([known.get(key, -1) for key in keys], np.int64)
        for name, known in (("web", web), ("verified", verified))
    }
    _check_first(info, root, keys)
    return ImageSet(
        info=info,
        keys=keys,
        labels=np.where(split == 0, human["web"], human["verified"]),
        split=split,
        groups=None,
        open=ImageFiles(root, keys),
        human_labels=human,
        source=", ".join(CLOTHING_LISTS),
    )


def _webvision(info: DatasetInfo, root: Path) -> ImageSet:
    """Read the two file lists of WebVision 1.0 and keep the classes of the mini benchmark."""
    folder = find_folder(
        info,
        root,
        lambda f: all((f / name).is_file() for name in WEBVISION_LISTS),
        " or ".join(WEBVISION_LISTS),
    )
    train, test = (
        {key: label for key, label in _pairs(folder / name, 1000).items() if label < info.n_classes}
        for name in WEBVISION_LISTS
    )
    names = (*train, *(f"val_images_256/{key}" for key in test))
    labels = np.array([*train.values(), *test.values()], np.int64)
    _check_first(info, folder, names)
    return ImageSet(
        info=info,
        keys=names,
        labels=labels,
        split=np.repeat(np.array([0, 2], np.uint8), [len(train), len(test)]),
        groups=None,
        open=ImageFiles(folder, names),
        human_labels={"web": np.where(np.arange(len(names)) < len(train), labels, -1)},
        source=", ".join(WEBVISION_LISTS),
    )


def _pairs(path: Path, n_classes: int) -> dict[str, int]:
    """Return file name -> label from lines "name label", in the order of the file."""
    pairs = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not label.isdecimal() or int(label) >= n_classes:
            raise NoisylibError(
                f"{path}, line {number}: {line.strip()!r} must be a file name and a label "
                f"in 0..{n_classes - 1}."
            )
        pairs[name] = int(label)
    return pairs


def _check_first(info: DatasetInfo, folder: Path, names: tuple[str, ...]) -> None:
    """Look for the first image only: a million file look-ups would take minutes on a network disk."""
    if names and not (folder / names[0]).is_file():
        raise missing(info, folder, f"image {names[0]}")
