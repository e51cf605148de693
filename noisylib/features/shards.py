"""Finished pieces of an extraction, kept beside its output so that a killed run goes on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from noisylib.errors import ConfigError
from noisylib.files import write_aside

logger = logging.getLogger(__name__)


class ShardFolder:
    """Shards of ``<out>.partial/``: one file per `size` rows, and the fingerprint they belong to.

    Parameters
    ----------
    out : the file that the extraction will write; the folder stands beside it.
    fingerprint : what decides the numbers (images, backbone, preprocessing, batch size), plain JSON values.
    n, size : rows in all, rows per shard.
    resume : False throws earlier shards away.

    Raises
    ------
    ConfigError
        Shards of another image set, backbone or setting lie there; the text says what differs.
    """

    def __init__(self, out: Path, fingerprint: Mapping[str, Any], n: int, size: int, resume: bool) -> None:
        self.folder = out.with_name(f"{out.name}.partial")
        self.n, self.size = n, size
        if not resume and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Through JSON, so that tuples and lists compare equal.
        mine = json.loads(json.dumps({**fingerprint, "shard": size}))
        note = self.folder / "fingerprint.json"
        if note.exists():
            self._compare(json.loads(note.read_text()), mine)
        else:
            with write_aside(note) as aside:
                aside.write_text(json.dumps(mine, indent=1, sort_keys=True))

    def starts(self) -> range:
        """Return the first row of every shard."""
        return range(0, self.n, self.size)

    def missing(self) -> list[int]:
        """Return the first rows of the shards that are not there or cannot be read."""
        return [start for start in self.starts() if self._read(start) is None]

    def write(self, start: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep the rows that begin at `start`."""
        with write_aside(self._path(start)) as aside:
            save_file(arrays, aside)

    def collect(self) -> dict[str, np.ndarray]:
        """Return all rows of every array, in order; every shard must be there."""
        shards = [load_file(self._path(start)) for start in self.starts()]
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}

    def remove(self) -> None:
        """Delete the folder, once the output stands."""
        shutil.rmtree(self.folder)

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08d}.safetensors"

    def _read(self, start: int) -> dict[str, np.ndarray] | None:
        path = self._path(start)
        if not path.exists():
            return None
        try:
            arrays = load_file(path)
        except (SafetensorError, OSError) as error:
            logger.warning("%s is damaged (%s) and will be made again", path.name, error)
            return None
        rows = min(self.size, self.n - start)
        return arrays if all(len(array) == rows for array in arrays.values()) else None

    def _compare(self, there: dict[str, Any], mine: dict[str, Any]) -> None:
        differs = [
            f"{name}: there {old!r}, now {new!r}"
            for name, old, new in _flat_difference(there, mine)
            if name != "weights"  # the file's name; its content is in weights_sha256
        ]
        if differs:
            raise ConfigError(
                f"{self.folder} holds a started extraction with other settings ({'; '.join(differs)}). "
                "Give the same settings to go on with it, another --out, or --no-resume to start anew."
            )


def _flat_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _flat_difference(a, b)
        elif a != b:
            yield name, a, b
