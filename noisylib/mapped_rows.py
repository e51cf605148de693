"""Rows of numbers that stay in files: memory-mapped, and copied a few at a time."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noisylib.errors import BankError

BLOCK_BYTES = 2**22  # read at once where all rows are gone through


@dataclass(frozen=True)
class Piece:
    """Consecutive rows in one file.

    Attributes
    ----------
    path, offset : the file, and where the first row begins in it, in bytes.
    rows : how many there are.
    stamp : size, time of change (ns) and number of the file when it was opened.
    """

    path: Path
    offset: int
    rows: int
    stamp: tuple[int, int, int] = field(compare=False)

    @classmethod
    def of(cls, path: Path, offset: int, rows: int) -> Piece:
        """Return the piece with the file's stamp of now."""
        return cls(Path(path), offset, rows, _stamp(path))


class MappedRows:
    """A read-only array (N, D), or (V, N, D), whose numbers lie in files.

    Indexing copies rows into memory, and so does ``numpy.asarray``, all of them. `take` and `astype` copy
    nothing: they say which rows are meant, and as what they are handed out.

    Parameters
    ----------
    pieces : the files, in the order of their rows.
    width : D.
    stored : dtype in the files.
    rows : positions in the files, all of them together, of the rows meant; None: all.
    lead : the axes before D; default (N,).
    dtype : as what rows are handed out; default `stored`.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        width: int,
        stored: np.dtype | type,
        *,
        rows: np.ndarray | None = None,
        lead: tuple[int, ...] | None = None,
        dtype: np.dtype | type | None = None,
    ) -> None:
        self.pieces, self.stored = tuple(pieces), np.dtype(stored)
        self.dtype = self.stored if dtype is None else np.dtype(dtype)
        self._ends = np.cumsum([piece.rows for piece in self.pieces])
        self._rows = rows
        count = int(self._ends[-1]) if rows is None else len(rows)
        self.shape = (*((count,) if lead is None else lead), width)
        self._maps: list[tuple[mmap.mmap, np.ndarray] | None] = [None] * len(self.pieces)
        self._bad: tuple[int, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open files behind: another process opens its own."""
        return self.__dict__ | {"_maps": [None] * len(self.pieces)}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all would take in memory."""
        return self.size * self.dtype.itemsize

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        out = np.empty(self.shape, dtype=self.dtype if dtype is None else dtype)
        flat = out.reshape(-1, self.shape[-1])
        for start, block in self.blocks():
            flat[start : start + len(block)] = block
        return out

    def __getitem__(self, key: Any) -> np.ndarray | MappedRows:
        """Return a copy of rows; of views (V, N, D), a number gives those of one view, which stay on disk."""
        if self.ndim == 3 and isinstance(key, int | np.integer):
            n = self.shape[1]
            at = range(self.shape[0])[key] * n
            return self.view(np.arange(at, at + n))
        where = self._flat(key)
        return self.read(where.reshape(-1)).astype(self.dtype).reshape(*where.shape, self.shape[-1])

    def _flat(self, key: Any) -> np.ndarray:
        """Return the flat rows that an index means."""
        if self.ndim == 2 and isinstance(key, slice):
            return np.arange(*key.indices(len(self)))
        return np.arange(math.prod(self.shape[:-1])).reshape(self.shape[:-1])[key]

    @property
    def extent(self) -> int:
        """Bytes in the files, rows that are not meant included."""
        return int(self._ends[-1]) * self.shape[-1] * self.stored.itemsize

    def astype(self, dtype: np.dtype | type, copy: bool = True) -> MappedRows:
        """Return the same rows, handed out as another dtype."""
        return self._like(self._rows, self.shape[:-1], dtype)

    def take(self, rows: np.ndarray) -> MappedRows:
        """Return the rows `rows` of an array (N, D), which stay on disk."""
        return self.view(np.asarray(rows))

    def view(self, rows: np.ndarray, lead: tuple[int, ...] | None = None) -> MappedRows:
        """Return flat rows `rows` (counted through all axes before D) with axes `lead` before D."""
        rows = np.asarray(rows, dtype=np.int64)
        return self._like(rows if self._rows is None else self._rows[rows], lead or (len(rows),), self.dtype)

    def _like(self, rows: np.ndarray | None, lead: tuple[int, ...], dtype: np.dtype | type) -> MappedRows:
        other = MappedRows(self.pieces, self.shape[-1], self.stored, rows=rows, lead=lead, dtype=dtype)
        other._maps = self._maps  # shared: a file is mapped once
        if self._bad == (0, -1):
            other._bad = self._bad
        return other

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return flat rows (n, D) as they are stored, in the order of `rows`; into `out` if it is given."""
        at = rows if self._rows is None else self._rows[rows]
        out = np.empty((len(at), self.shape[-1]), dtype=self.stored) if out is None else out
        if len(self.pieces) == 1:
            return np.take(self._file(0), at, axis=0, out=out, mode="clip")
        of = np.searchsorted(self._ends, at, side="right")
        for piece in np.unique(of).tolist():
            members = np.flatnonzero(of == piece)
            first = self._ends[piece] - self.pieces[piece].rows
            if members[-1] - members[0] + 1 == len(members):  # as of sorted rows: no second copy
                part = out[members[0] : members[-1] + 1]
                np.take(self._file(piece), at[members] - first, axis=0, out=part, mode="clip")
            else:
                out[members] = self._file(piece)[at[members] - first]
        return out

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first flat row and the rows (n, D), as stored, of blocks of `size` rows.

        What was read does not stay with this process.
        """
        size = size or max(1, BLOCK_BYTES // max(1, self.shape[-1] * self.stored.itemsize))
        count = math.prod(self.shape[:-1])
        for start in range(0, count, size):
            yield start, self.read(np.arange(start, min(start + size, count)))
            self.release()

    def feed(self, update: Callable[[Any], None]) -> None:
        """Call `update` with the bytes of all rows, in order; what is not finite is noted on the way."""

        def passed_on() -> Iterator[tuple[int, np.ndarray]]:
            for start, block in self.blocks():
                update(np.ascontiguousarray(block, dtype=self.dtype).data)
                yield start, block

        self._bad = _not_finite(passed_on())

    def bad_rows(self) -> tuple[int, int]:
        """Return how many rows have a value that is NaN or infinite, and the first; (0, -1) if none has."""
        if self._bad is None:
            self._bad = _not_finite(self.blocks())
        return self._bad

    def release(self) -> None:
        """Let go of the pages that were read; the system still has them in its cache while there is room."""
        for opened in self._maps:
            if opened is not None and hasattr(mmap, "MADV_DONTNEED"):
                opened[0].madvise(mmap.MADV_DONTNEED)

    def check_unchanged(self) -> None:
        """Raise BankError if a file is not the one that was opened, or was written to since."""
        for piece in self.pieces:
            try:
                now = _stamp(piece.path)
            except OSError:
                now = None
            if now != piece.stamp:
                what = "is gone" if now is None else "was changed"
                raise BankError(
                    f"{piece.path} {what} while it was read: results would mix two versions. Leave the files "
                    "of a bank alone while runs train on it, and start these runs again."
                )

    def _file(self, number: int) -> np.ndarray:
        opened = self._maps[number]
        if opened is None:
            opened = self._maps[number] = self._open(self.pieces[number])
        return opened[1]

    def _open(self, piece: Piece) -> tuple[mmap.mmap, np.ndarray]:
        width = self.shape[-1]
        needed = piece.offset + piece.rows * width * self.stored.itemsize
        try:
            with open(piece.path, "rb") as file:
                if os.fstat(file.fileno()).st_size < needed:
                    raise BankError(f"{piece.path} is cut off: {needed} bytes are needed. Take a fresh copy.")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BankError(f"{piece.path} cannot be read ({error.strerror}): put it back there.") from error
        numbers = np.frombuffer(mapped, self.stored, piece.rows * width, piece.offset)
        return mapped, numbers.reshape(piece.rows, width)


def bad_rows(X: np.ndarray | MappedRows) -> tuple[int, int]:
    """Return how many rows (..., D) have a NaN or infinite value, and the first; (0, -1) if none has."""
    if isinstance(X, MappedRows):
        return X.bad_rows()
    flat = X.reshape(-1, X.shape[-1])
    size = max(1, BLOCK_BYTES // (flat.itemsize * flat.shape[1]))
    return _not_finite((start, flat[start : start + size]) for start in range(0, len(flat), size))


def _not_finite(blocks: Iterable[tuple[int, np.ndarray]]) -> tuple[int, int]:
    bad, first = 0, -1
    for start, block in blocks:
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        first = start + int(wrong[0]) if first < 0 and wrong.size else first
        bad += wrong.size
    return bad, first


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ino
