"""Labelled images and tables: the catalogue of datasets and one loader per official layout."""

from __future__ import annotations

from pathlib import Path

from noisylib.data.catalog import DATASETS, DatasetInfo, dataset_info
from noisylib.data.cifar import load_cifar
from noisylib.data.filelists import load_file_lists
from noisylib.data.folders import load_class_folders, load_folder
from noisylib.data.human import read_human_labels
from noisylib.data.images import ImageSet
from noisylib.data.medmnist import load_medmnist
from noisylib.data.skin import load_ham10000, load_isic2019
from noisylib.data.splits import SPLITS, holdout_split, split_counts
from noisylib.data.tables import FeatureTable, load_table
from noisylib.errors import NoisylibError

__all__ = [
    "DATASETS",
    "SPLITS",
    "DatasetInfo",
    "FeatureTable",
    "ImageSet",
    "dataset_info",
    "holdout_split",
    "load_folder",
    "load_images",
    "load_table",
    "read_human_labels",
    "split_counts",
]

_LOADERS = {
    "medmnist": load_medmnist,
    "ham10000": load_ham10000,
    "isic2019": load_isic2019,
    "folders": load_class_folders,
    "cifar": load_cifar,
    "filelist": load_file_lists,
}


def load_images(
    name: str, root: str | Path, *, seed_split: int = 0, size: int | None = None, download: bool = False
) -> ImageSet:
    """Return dataset `name` read from its official files under `root`.

    Parameters
    ----------
    seed_split
        Seed of the split where no split is official; 0 is what the shipped feature banks use.
    size
        MedMNIST only: 28, 64, 128 or 224 pixels; None takes the largest file present.
    download
        MedMNIST and CIFAR only: fetch files that are absent. Off by default.

    Raises
    ------
    UnknownNameError
        `name` is not in the catalogue.
    MissingDataError
        Files are absent; the text says where they come from and where to put them.
    NoisylibError
        A file is not the official one, or an option does not apply to this set.
    """
    info = dataset_info(name)
    options: dict[str, int | bool | None] = {}
    if info.kind in ("ham10000", "isic2019", "folders"):
        options["seed_split"] = seed_split
    if info.kind == "medmnist":
        options["size"] = size
    elif size is not None:
        raise NoisylibError(f"size={size} does not apply to {name}: only MedMNIST comes in several sizes.")
    if info.kind in ("medmnist", "cifar"):
        options["download"] = download
    elif download:
        raise NoisylibError(f"download=True does not apply to {name}: fetch it by hand from {info.url}.")
    if info.kind not in _LOADERS:
        raise NoisylibError(f"{name} holds features, not images: use load_table({name!r}).")
    return _LOADERS[info.kind](info, Path(root).expanduser(), **options)
