"""The file of a feature bank: its formats, its arrays in order, and their digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noisylib.errors import BankError
from noisylib.features.bank_rules import DTYPES, HUMAN, OPTIONAL
from noisylib.features.bank_shards import (
    SHARD_REFETCH,
    damaged_shard,
    mapped_array,
    read_shards,
    remove_others,
)
from noisylib.files import write_aside
from noisylib.mapped_rows import MappedRows
from noisylib.memory import free_memory

Mapped = bool | Literal["auto"]

# Views came with the second format, projections with the third, human labels with the fourth; a bank with
# none of them is still written in the first, byte for byte. The fifth is the index of a bank in shards.
FORMATS = ("noisylib-bank-1", "noisylib-bank-2", "noisylib-bank-3", "noisylib-bank-4", "noisylib-bank-5")
ON_DISK = ("features", "views")  # what may stay there
# Bytes that a number takes in all while heads train on it: as stored, as float32, and while it is z-scored.
IN_USE = 34
REFETCH = "Delete it and take a fresh copy, or extract it again with 'noisylib features extract'."


def read_arrays(path: Path, mapped: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays of a bank file, in the order that the digest goes by.

    Features and views stay on disk if `mapped` is True, or if they lie in shards.
    """
    with safe_open(path, framework="np") as file:
        header = json.loads((file.metadata() or {})["noisylib"])
        if header["format"] not in FORMATS:
            known = ", ".join(map(repr, FORMATS))
            raise ValueError(f"format {header['format']!r}, this version reads {known}")
        human = sorted(name for name in file.keys() if name.startswith(HUMAN))  # noqa: SIM118 (no dictionary)
        names = set(file.keys()) - set(human)
        sharded = header["format"] == FORMATS[4]
        names |= set(header["in_shards"]) if sharded else set()
        if names - OPTIONAL != set(DTYPES) - OPTIONAL:
            optional = ", ".join(sorted(OPTIONAL))
            raise ValueError(f"arrays {sorted(names)}, expected {sorted(DTYPES)} ({optional} optional)")
        if not sharded and header["format"] != format_of({*names, *human}):
            raise ValueError(f"format {header['format']!r} with arrays {sorted({*names, *human})}")
        apart = {}
        if sharded:
            apart = read_shards(path, header["shards"], views="views" in names)
        elif mapped:
            apart = {name: mapped_array(path, name) for name in ON_DISK if name in names}
        order = [*(name for name in DTYPES if name in names), *human]
        return header, {n: apart[n] if n in apart else file.get_tensor(n) for n in order}


def read_bank(
    path: Path, mapped: Mapped, memory_limit: int | None
) -> tuple[dict[str, Any], tuple[str, ...], dict[str, np.ndarray], str]:
    """Return the fields of BankMeta, the class names, the arrays and their digest, after comparing digests.

    Parameters and errors are those of `FeatureBank.load`.
    """
    try:
        mapped = _too_large(path, memory_limit) if mapped == "auto" else mapped
        header, arrays = read_arrays(path, mapped)
        if not mapped:
            arrays = {name: np.asarray(array) for name, array in arrays.items()}
        text, names = header["meta"], tuple(header["class_names"])
        meta = dict(json.loads(text))
        stored = (header["checksum"], header["meta_checksum"])
        found = (
            content_digest(arrays, meta["dataset"], meta["backbone"], names),
            hashlib.sha256(text.encode()).hexdigest(),
        )
    except BankError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BankError(f"{path} is not a readable feature bank ({error}). {REFETCH}") from error
    if stored == found:
        return meta, names, arrays, found[0]
    if (shard := damaged_shard(path, header.get("shards", ()))) is not None:
        raise BankError(f"shard {shard} of the bank {path.name} was altered or damaged. {SHARD_REFETCH}")
    raise BankError(
        f"{path}: the content has checksum {found[0][:12]}, the file says {str(stored[0])[:12]}: it was "
        f"altered or damaged. {REFETCH}"
    )


def _too_large(path: Path, memory_limit: int | None) -> bool:
    """Return whether features and views of a bank, read and in use, are more than memory allows."""
    allowed = memory_limit
    if allowed is None:
        free = free_memory()
        allowed = math.inf if free is None else free // 2
    return _numbers_apart(path) * IN_USE > allowed


def _numbers_apart(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        header = json.loads((file.metadata() or {})["noisylib"])
        there = [name for name in ON_DISK if name in file.keys()]  # noqa: SIM118 (no dictionary)
        in_file = sum(math.prod(file.get_slice(name).get_shape()) for name in there)
    return in_file + header.get("numbers_in_shards", 0)


def write_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    header: Mapping[str, Any],
    shards: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Write a bank's arrays and header (class names, meta as JSON, checksum), or the index of its shards.

    Raises
    ------
    WriteError
        The file cannot be written; what stood at `path` is untouched.
    """
    held = {n: a for n, a in arrays.items() if shards is None or n not in ON_DISK}
    apart = {n: a for n, a in arrays.items() if n not in held}
    header = {
        **header,
        "format": format_of(arrays) if shards is None else FORMATS[4],
        "meta_checksum": hashlib.sha256(header["meta"].encode()).hexdigest(),
    }
    if shards is not None:
        numbers = sum(array.size for array in apart.values())
        header |= {"shards": list(shards), "in_shards": list(apart), "numbers_in_shards": numbers}
    # One header entry: safetensors orders several at random, and equal banks shall be equal files.
    text = {"noisylib": json.dumps(header, sort_keys=True)}
    with write_aside(path) as aside:
        save_file({name: np.ascontiguousarray(array) for name, array in held.items()}, aside, metadata=text)
    if shards is not None:
        remove_others(path, shards)


def format_of(names: Collection[str]) -> str:
    """Return the oldest format that can hold arrays of these names."""
    if any(name.startswith(HUMAN) for name in names):
        return FORMATS[3]
    return FORMATS[2 if "projection" in names else 1 if "views" in names else 0]


def content_digest(
    arrays: Mapping[str, np.ndarray], dataset: str, backbone: str, class_names: Sequence[str]
) -> str:
    """Return the SHA-256 (hex) of arrays, in their order, and of what they are called."""
    shapes = {name: [str(array.dtype), *array.shape] for name, array in arrays.items()}
    text = json.dumps([dataset, backbone, list(class_names), shapes])
    digest = hashlib.sha256(text.encode())
    for array in arrays.values():
        if isinstance(array, MappedRows):
            array.feed(digest.update)
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
