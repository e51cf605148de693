"""HAM10000 and ISIC 2019: a folder of photographs, a CSV of diagnoses, several images per lesion."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.images import ImageFiles, ImageSet, find_folder, locate, warn_if_partial
from noisylib.data.splits import holdout_split
from noisylib.errors import NoisylibError

HAM_METADATA = "HAM10000_metadata.csv"
HAM_FOLDERS = ("images", "HAM10000_images_part_1", "HAM10000_images_part_2")
ISIC_LABELS = "ISIC_2019_Training_GroundTruth.csv"
ISIC_METADATA = "ISIC_2019_Training_Metadata.csv"
ISIC_FOLDERS = ("ISIC_2019_Training_Input", "images")


def load_ham10000(info: DatasetInfo, root: Path, *, seed_split: int = 0) -> ImageSet:
    """Return HAM10000, sorted by image id, split 80/20 so that no lesion is in both parts."""
    folder = find_folder(info, root, lambda f: (f / HAM_METADATA).is_file(), HAM_METADATA)
    keys, labels, lesions = read_ham_labels(info, folder / HAM_METADATA)
    return _skin_set(info, folder, HAM_FOLDERS, keys, labels, lesions, seed_split)


def load_isic2019(info: DatasetInfo, root: Path, *, seed_split: int = 0) -> ImageSet:
    """Return the ISIC 2019 training set, sorted by image id, split 80/20 by lesion where known."""
    folder = find_folder(info, root, lambda f: (f / ISIC_LABELS).is_file(), ISIC_LABELS)
    keys, labels = read_isic_labels(info, folder / ISIC_LABELS)
    known = read_isic_lesions(folder / ISIC_METADATA) if (folder / ISIC_METADATA).is_file() else {}
    lesions = [known.get(key) or key for key in keys]
    return _skin_set(info, folder, ISIC_FOLDERS, keys, labels, lesions, seed_split)


def read_ham_labels(info: DatasetInfo, path: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """Return image ids (sorted), labels (N,) and lesion ids from the HAM10000 metadata CSV."""
    rows = sorted(_read_csv(path, ("image_id", "lesion_id", "dx")), key=lambda row: row["image_id"])
    index = {name: i for i, name in enumerate(info.classes)}
    unknown = sorted({row["dx"] for row in rows} - set(index))
    if unknown:
        raise NoisylibError(f"{path}: dx={unknown[0]!r} is unknown. Allowed: {', '.join(info.classes)}.")
    labels = np.array([index[row["dx"]] for row in rows], np.int64)
    return [row["image_id"] for row in rows], labels, [row["lesion_id"] for row in rows]


def read_isic_labels(info: DatasetInfo, path: Path) -> tuple[list[str], np.ndarray]:
    """Return image ids (sorted) and labels (N,) from the one-hot ground truth CSV.

    The column UNK ("none of the others") is empty in the training set; a row that uses it has no
    label among the eight classes and is dropped.
    """
    rows = sorted(_read_csv(path, ("image", *info.classes)), key=lambda row: row["image"])
    one_hot = np.array([[float(row[name]) for name in info.classes] for row in rows])
    unknown = np.array([float(row.get("UNK") or 0) for row in rows])
    wrong = np.flatnonzero((one_hot.sum(1) + unknown != 1) | ((one_hot != 0) & (one_hot != 1)).any(1))
    if len(wrong):
        raise NoisylibError(f"{path}: image {rows[wrong[0]]['image']} must have exactly one 1.0 in its row.")
    kept = np.flatnonzero(unknown == 0)
    return [rows[i]["image"] for i in kept], one_hot[kept].argmax(1).astype(np.int64)


def read_isic_lesions(path: Path) -> dict[str, str]:
    """Return image id -> lesion id from the ISIC 2019 metadata CSV; "" where it has none."""
    return {row["image"]: row["lesion_id"].strip() for row in _read_csv(path, ("image", "lesion_id"))}


def _read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV that must have `columns`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = [name for name in columns if name not in (reader.fieldnames or ())]
        if absent:
            raise NoisylibError(f"{path} has no column {absent[0]!r}; it needs {', '.join(columns)}.")
        return list(reader)


def _skin_set(
    info: DatasetInfo,
    folder: Path,
    image_folders: tuple[str, ...],
    keys: list[str],
    labels: np.ndarray,
    lesions: list[str],
    seed_split: int,
) -> ImageSet:
    names = locate(info, folder, image_folders, (f"{key}.jpg" for key in keys))
    warn_if_partial(info, labels)
    return ImageSet(
        info=info,
        keys=tuple(keys),
        labels=labels,
        split=holdout_split(info.name, labels, lesions, seed_split=seed_split),
        groups=np.unique(lesions, return_inverse=True)[1].astype(np.int64),
        open=ImageFiles(folder, names),
        source=f"{len(keys)} images, {len(set(lesions))} lesions",
    )
