"""The file of a trained head: arrays and one JSON text, as safetensors, which can run no code."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import write_aside

FORMAT, VERSION = "noisylib-head", 1


def write_head(path: str | Path, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write facts (plain JSON values) and arrays to `path`; equal heads give equal files."""
    arrays = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    header = {"format": f"{FORMAT}-{VERSION}", "facts": text, "checksum": _digest(text, arrays)}
    with write_aside(path) as aside:
        # One entry: safetensors orders several at random.
        save_file(arrays, aside, metadata={"noisylib": json.dumps(header, sort_keys=True)})


def read_head(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return facts and arrays of the file that `write_head` wrote.

    Raises
    ------
    MissingDataError
        There is no such file.
    NoisylibError
        The file is damaged or altered, holds something else, or is of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no trained head at {path}.")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("noisylib", "{}"))
            _check_format(path, str(header.get("format")))
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        text = header["facts"]
        facts, intact = json.loads(text), header["checksum"] == _digest(text, arrays)
    except NoisylibError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise NoisylibError(
            f"{path} is not a readable head ({error}): take a fresh copy, or train it again."
        ) from error
    if not intact:
        raise NoisylibError(
            f"{path} was altered or damaged: its content does not have the checksum that it names. Take a "
            "fresh copy, or train it again."
        )
    return facts, arrays


def _check_format(path: Path, found: str) -> None:
    match = re.fullmatch(rf"{FORMAT}-(\d+)", found)
    if match is None:
        kind = "a feature bank" if found.startswith("noisylib-bank") else "something else"
        raise NoisylibError(f"{path} holds {kind}, not a trained head: 'noisylib train' writes one.")
    if int(match[1]) != VERSION:
        raise NoisylibError(
            f"{path} has format {found!r}, this version of noisylib reads '{FORMAT}-{VERSION}': upgrade "
            "noisylib, or train the head again."
        )


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    shapes = {name: [str(array.dtype), *array.shape] for name, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([text, shapes]).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
