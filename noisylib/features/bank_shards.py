"""Banks whose features lie in several files: an index, and shards that together hold the rows in order.

``<dataset>-<backbone>.safetensors`` is the index. It holds all that a bank has but features and views, and
its header, format noisylib-bank-5, lists the shards with their rows and digests. A shard, in the folder
``<dataset>-<backbone>.shards``, is a safetensors file with ``features`` (n, D) float16 and, in a bank with
views, ``views`` (n_train, V, D) float16 of the training samples among its n. Such a bank has the same
content, and so the same checksum, as one in a single file. Copy the index and the folder together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noisylib.errors import BankError
from noisylib.features.bank_rules import SPLITS, as_half
from noisylib.files import write_aside
from noisylib.mapped_rows import MappedRows, Piece

if TYPE_CHECKING:
    from noisylib.features.bank import FeatureBank

SHARD_REFETCH = "Take a fresh copy of it, or of the whole bank, or extract the bank again."


def shard_folder(index: Path) -> Path:
    """Return the folder of the shards that belong to an index."""
    return index.with_name(f"{index.stem}.shards")


def pieces_of(path: Path, name: str) -> tuple[Piece, tuple[int, ...]]:
    """Return where the float16 array `name` lies in a safetensors file, rows counted along its last axis.

    Raises
    ------
    SafetensorError, ValueError, KeyError
        The file is cut off, is none, or has no such array of float16.
    """
    with safe_open(path, framework="np"):  # says whether header and length of the file agree
        pass
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(length))[name]
    if found["dtype"] != "F16" or len(found["shape"]) < 2:
        raise ValueError(f"{name} has dtype {found['dtype']} and shape {found['shape']}")
    shape = tuple(found["shape"])
    rows = int(np.prod(shape[:-1]))
    return Piece.of(path, 8 + length + found["data_offsets"][0], rows), shape


def mapped_array(path: Path, name: str) -> MappedRows:
    """Return an array of a bank in one file, left on disk."""
    piece, shape = pieces_of(path, name)
    return MappedRows([piece], shape[-1], np.float16, lead=shape[:-1])


def read_shards(index: Path, shards: Sequence[dict[str, Any]], views: bool) -> dict[str, MappedRows]:
    """Return features (N, D) and, if there are any, views (V, N_train, D), left on disk.

    Raises
    ------
    BankError
        A shard is missing, cut off or not of this bank; the text names it.
    """
    names = ("features", "views") if views else ("features",)
    found: dict[str, list[tuple[Piece, tuple[int, ...]]]] = {name: [] for name in names}
    for shard in shards:
        path = shard_folder(index) / shard["file"]
        if not path.is_file():
            raise BankError(
                f"shard {path} of the bank {index.name} is not there: copy the folder {path.parent.name} "
                "with the index, or extract the bank again."
            )
        try:
            for name in names:
                found[name].append(pieces_of(path, name))
        except (SafetensorError, ValueError, KeyError) as error:
            raise BankError(f"shard {path} cannot be read ({error}). {SHARD_REFETCH}") from error
        _check_shape(path, shard, [found[name][-1][1] for name in names], found["features"][0][1])
    pieces = [piece for piece, _ in found["features"]]
    arrays = {"features": MappedRows(pieces, found["features"][0][1][-1], np.float16)}
    if views:
        V, D = found["views"][0][1][1:]
        n = sum(shape[0] for _, shape in found["views"])
        # Stored by sample, and asked for by view.
        rows = (np.arange(n) * V + np.arange(V)[:, None]).reshape(-1)
        pieces = [piece for piece, _ in found["views"] if piece.rows]
        arrays["views"] = MappedRows(pieces, D, np.float16, rows=rows, lead=(V, n))
    return arrays


def has_views(index: Path, shards: Sequence[dict[str, Any]]) -> bool:
    """Return whether the first shard holds views."""
    with safe_open(shard_folder(index) / shards[0]["file"], framework="np") as file:
        return "views" in file.keys()  # noqa: SIM118 (no dictionary)


def _check_shape(
    path: Path, shard: dict[str, Any], shapes: Sequence[tuple[int, ...]], first: tuple[int, ...]
) -> None:
    features, *views = shapes
    if features != (shard["rows"], first[-1]) or (views and views[0][2:] != features[1:]):
        raise BankError(
            f"shard {path} has features of shape {features}, the index says {(shard['rows'], first[-1])}: it "
            f"is of another bank. {SHARD_REFETCH}"
        )


def damaged_shard(index: Path, shards: Sequence[dict[str, Any]]) -> Path | None:
    """Return the first shard whose content is not what the index says, or None."""
    for shard in shards:
        path = shard_folder(index) / shard["file"]
        if _digest(path) != shard["sha256"]:
            return path
    return None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_shards(index: Path, blocks: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> list[dict[str, Any]]:
    """Write a shard for each block of features (n, D) and views (n_train, V, D) or None; return their list.

    A shard's name has a part of its digest, so that those of a bank that stands are not written over.
    """
    shards = []
    for number, (features, views) in enumerate(blocks):
        arrays = {"features": as_half("features", features)}
        if views is not None:
            arrays["views"] = as_half("views", views)
        content = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
        path = shard_folder(index) / f"{number:05d}-{content[:12]}.safetensors"
        with write_aside(path) as aside:
            save_file(arrays, aside)
        shards.append({"file": path.name, "rows": len(features), "sha256": _digest(path)})
    return shards


def remove_others(index: Path, shards: Sequence[dict[str, Any]]) -> None:
    """Delete shards of a bank that stood at `index` before."""
    keep = {shard["file"] for shard in shards}
    for path in shard_folder(index).glob("*.safetensors"):
        if path.name not in keep:
            path.unlink()


def blocks_of(bank: FeatureBank, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield features and views of a bank in blocks of so many samples."""
    training = bank.split == SPLITS.index("train")
    before = np.concatenate([[0], np.cumsum(training)])
    for start in range(0, bank.n_samples, rows):
        stop, views = min(start + rows, bank.n_samples), None
        if bank.views is not None:
            part = np.arange(before[start], before[stop])
            kept = [np.asarray(bank.views[v][part]) for v in range(len(bank.views))]
            views = np.stack(kept, axis=1)
        yield np.asarray(bank.features[start:stop]), views
