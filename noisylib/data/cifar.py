"""CIFAR-10 and CIFAR-100 through torchvision, with the human labels of CIFAR-N where present."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.human import CIFAR_N, read_human_labels
from noisylib.data.images import ImageArray, ImageSet, missing, warn_if_partial
from noisylib.errors import NoisylibError, require


def load_cifar(info: DatasetInfo, root: Path, *, download: bool = False) -> ImageSet:
    """Return CIFAR with its official train and test parts, train first.

    A file ``CIFAR-10_human.pt`` or ``CIFAR-100_human.pt`` under `root` (or in ``root/cifarN/``) fills
    ``human_labels``: aggregate, random1, random2, random3 and worst, or fine.

    Raises
    ------
    MissingDataError
        torchvision does not find the files, or they fail its own checksums.
    NoisylibError
        The clean labels stored with the human labels are not CIFAR's training labels in order.
    """
    datasets = require("torchvision.datasets", "backbones")
    official = {10: datasets.CIFAR10, 100: datasets.CIFAR100}[info.n_classes]
    try:
        parts = [official(str(root), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise missing(info, root, f"a complete {info.files[0]} (download=True fetches it)") from error
    if tuple(parts[0].classes) != info.classes:
        raise NoisylibError(f"{info.name}: the class names under {root} are not the official ones.")
    labels = np.concatenate([np.asarray(part.targets, np.int64) for part in parts])
    lengths = [len(part.targets) for part in parts]
    warn_if_partial(info, labels)
    return ImageSet(
        info=info,
        keys=tuple(
            f"{name}/{i}" for name, n in zip(("train", "test"), lengths, strict=True) for i in range(n)
        ),
        labels=labels,
        split=np.repeat(np.array([0, 2], np.uint8), lengths),
        groups=None,
        open=ImageArray(np.concatenate([part.data for part in parts])),
        human_labels=_find_human_labels(info, root, labels, lengths[0]),
        source=info.files[0],
    )


def _find_human_labels(
    info: DatasetInfo, root: Path, labels: np.ndarray, n_train: int
) -> dict[str, np.ndarray]:
    """Return name -> (N,) human labels, -1 on the test part; empty where there is no file."""
    file = f"CIFAR-{info.n_classes}_human.pt"
    path = next((path for path in (root / file, root / "cifarN" / file) if path.is_file()), None)
    if path is None:
        return {}
    padding = np.full(len(labels) - n_train, -1, np.int64)
    found = human_label_sets(info, path, labels[:n_train])
    return {name: np.concatenate([given, padding]) for name, given in found.items()}


def human_label_sets(info: DatasetInfo, path: Path, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return name -> (n,) int64 human labels of the training images from a CIFAR-N file.

    Parameters
    ----------
    info : of CIFAR-10 or CIFAR-100.
    labels : (n,) clean labels of the training images in their official order.

    Raises
    ------
    NoisylibError
        The file lacks a set, or its clean labels are not `labels`.
    """
    stored = read_human_labels(path)
    absent = sorted({"clean_label", *CIFAR_N[info.name].values()} - set(stored))
    if absent:
        raise NoisylibError(f"{path} has no {absent[0]!r}; it holds {', '.join(sorted(stored))}.")
    if not np.array_equal(stored["clean_label"], labels):
        raise NoisylibError(
            f"{path}: its clean labels are not the training labels of {info.title} in their order, so the "
            "human labels would go to the wrong images. Fetch both again."
        )
    return {name: stored[key] for name, key in CIFAR_N[info.name].items()}
