"""MedMNIST: one ``.npz`` of images, labels and official splits per set and size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisylib.data.catalog import DatasetInfo
from noisylib.data.images import ImageArray, ImageSet, missing
from noisylib.data.splits import SPLITS
from noisylib.errors import NoisylibError, require
from noisylib.files import file_digest

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = (28, 64, 128, 224)


@dataclass(eq=False)
class NpzImages:
    """Opens image `i` of the three splits stored in one ``.npz``; one split in memory at a time.

    The 224-pixel PathMNIST has 16 GB of pixels, so the splits are read when first asked for.
    """

    path: Path
    ends: tuple[int, ...]
    _held: tuple[int, ImageArray] | None = field(default=None, repr=False)

    def __call__(self, i: int) -> Image:
        part = int(np.searchsorted(self.ends, i, side="right"))
        held = self._held  # one look, for another thread may replace it in between
        if held is None or held[0] != part:
            held = self._held = None  # let go of the old split before the new one is read
            with np.load(self.path, allow_pickle=False) as stored:
                held = self._held = part, ImageArray(stored[f"{SPLITS[part]}_images"])
        return held[1](i - (self.ends[part - 1] if part else 0))

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "ends": self.ends, "_held": None}


def load_medmnist(
    info: DatasetInfo, root: Path, *, size: int | None = None, download: bool = False
) -> ImageSet:
    """Return a MedMNIST set read from ``root``, its MD5 compared with the medmnist package's table.

    Parameters
    ----------
    size
        28, 64, 128 or 224 pixels; None takes the largest file present.
    download
        Fetch the file (28 pixels unless `size` says otherwise) through medmnist where it is absent.

    Raises
    ------
    MissingDataError
        The file is absent, or the download failed.
    NoisylibError
        The file is not the official one.
    """
    if size is not None and size not in SIZES:
        raise NoisylibError(f"size={size!r} is not a MedMNIST size. Allowed: 28, 64, 128, 224.")
    path = _find(info, root, size)
    if path is None:
        if not download:
            raise missing(info, root, f"{_file(info, size or 28)} (download=True fetches it)")
        path = _download(info, root, size or 28)
    official = require("medmnist.info", "backbones").INFO[info.name]
    flag = path.stem.removeprefix(info.name)
    digest = file_digest(path, "md5")
    if digest != official[f"MD5{flag}"]:
        raise NoisylibError(
            f"{path} is not the official file: its MD5 is {digest}, must be {official[f'MD5{flag}']}. "
            f"Delete it and fetch it again from {official[f'url{flag}']}."
        )
    with np.load(path, allow_pickle=False) as stored:
        parts = [stored[f"{name}_labels"].reshape(-1).astype(np.int64) for name in SPLITS]
    lengths = [len(part) for part in parts]
    return ImageSet(
        info=info,
        keys=tuple(f"{name}/{i}" for name, n in zip(SPLITS, lengths, strict=True) for i in range(n)),
        labels=np.concatenate(parts),
        split=np.repeat(np.arange(3, dtype=np.uint8), lengths),
        groups=None,
        open=NpzImages(path, tuple(np.cumsum(lengths).tolist())),
        source=path.name,
    )


def _file(info: DatasetInfo, size: int) -> str:
    return f"{info.name}.npz" if size == 28 else f"{info.name}_{size}.npz"


def _find(info: DatasetInfo, root: Path, size: int | None) -> Path | None:
    for candidate in (size,) if size else reversed(SIZES):
        for folder in (root, root / "medmnist"):
            if (folder / _file(info, candidate)).is_file():
                return folder / _file(info, candidate)
    return None


def _download(info: DatasetInfo, root: Path, size: int) -> Path:
    """Fetch one file through the medmnist package and return where it is."""
    medmnist = require("medmnist", "backbones")
    root.mkdir(parents=True, exist_ok=True)
    dataset = getattr(medmnist, medmnist.INFO[info.name]["python_class"])
    try:
        dataset(split="train", root=str(root), download=True, size=size)
    except (RuntimeError, OSError) as error:
        raise missing(info, root, f"{_file(info, size)} (its download failed)") from error
    return root / _file(info, size)
