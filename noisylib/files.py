"""Writing without half-written files, and checksums."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from noisylib.errors import WriteError


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it over `path` on success.

    If the body fails, or the disk is full, the temporary file is removed and whatever stood at
    `path` is untouched. A killed process leaves only a file that ends in ``.part``.

    Raises
    ------
    WriteError
        The folder cannot be made or written to, or the disk is full.
    """
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        aside = Path(name)
        yield aside
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        aside.chmod(0o644)
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(
            f"cannot write {path} ({reason}): free some space or choose another place. "
            "What stood there before is untouched."
        ) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
