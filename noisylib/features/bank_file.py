"""The file of a feature bank: its formats, its arrays in order, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from noisylib.features.bank_rules import DTYPES, HUMAN, OPTIONAL

# Views came with the second format, projections with the third, human labels with the fourth; a bank with
# none of them is still written in the first, byte for byte.
FORMATS = ("noisylib-bank-1", "noisylib-bank-2", "noisylib-bank-3", "noisylib-bank-4")


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays of a bank file, in the order that the digest goes by."""
    with safe_open(path, framework="np") as file:
        header = json.loads((file.metadata() or {})["noisylib"])
        if header["format"] not in FORMATS:
            known = ", ".join(map(repr, FORMATS))
            raise ValueError(f"format {header['format']!r}, this version reads {known}")
        human = sorted(name for name in file.keys() if name.startswith(HUMAN))  # noqa: SIM118 (no dictionary)
        names = set(file.keys()) - set(human)
        if names - OPTIONAL != set(DTYPES) - OPTIONAL:
            optional = ", ".join(sorted(OPTIONAL))
            raise ValueError(f"arrays {sorted(names)}, expected {sorted(DTYPES)} ({optional} optional)")
        if header["format"] != format_of({*names, *human}):
            raise ValueError(f"format {header['format']!r} with arrays {sorted({*names, *human})}")
        order = [*(name for name in DTYPES if name in names), *human]
        return header, {name: file.get_tensor(name) for name in order}


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
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
