"""Features that do not fit into memory: read from where they lie, a few batches at a time.

The batches of an epoch are known before it begins. They are taken together in windows: the rows of a window
are read once and in the order of the file, z-scored and prepared, while the steps of the window before
are computed. A step then gathers its rows from the window as it would from all features. Nothing else of
the training differs, so results are those of features in memory up to the rounding of mean and deviation.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from noisylib.lanes import Lane, lane_to
from noisylib.mapped_rows import MappedRows

MOMENT_NUMBERS = 2**20  # of features in double precision at a time, while mean and deviation are found
WINDOW_BYTES = 2**23  # of prepared features, where memory allows more
CHUNK_ROWS = 128  # z-scored and prepared at once on a CPU: what stays in its cache
# Slots of a lane: two for windows, one for a batch out of turn, two for blocks of all rows.
WINDOWS, ALONE, BLOCKS = (0, 1), (2,), (3, 4)


class Source(Protocol):
    """Where features come from: `MappedRows` or `HeldRows`.

    Attributes
    ----------
    shape, stored, extent : shape, dtype there, and bytes of all files, of which rows may be a part.
    """

    shape: tuple[int, ...]
    stored: np.dtype
    extent: int

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return flat rows (n, D) as they are stored."""

    def release(self) -> None:
        """Let go of what was read."""

    def check_unchanged(self) -> None:
        """Raise if the file is another one by now."""


class HeldRows:
    """An array in memory, or a memory map of NumPy's, as a source."""

    def __init__(self, X: np.ndarray) -> None:
        self.shape, self.stored, self.extent = X.shape, X.dtype, X.nbytes
        self._flat = X.reshape(-1, X.shape[-1])
        innermost = X
        while isinstance(innermost.base, np.ndarray):
            innermost = innermost.base
        # Pages of a private map may hold what was written to them, which a file does not have.
        of_file = isinstance(innermost, np.memmap) and innermost.mode in ("r", "r+")
        self._map = innermost.base if of_file else None

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return flat rows (n, D) as they are stored."""
        return np.take(self._flat, rows, axis=0, out=out, mode="clip")

    def release(self) -> None:
        """Give back the pages of a memory map."""
        if isinstance(self._map, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def check_unchanged(self) -> None:
        """Nobody else writes to it."""


def source_of(X: np.ndarray | MappedRows) -> Source:
    """Return features as a source."""
    return X if isinstance(X, MappedRows) else HeldRows(X)


@dataclass
class Scale:
    """The z-score of features: mean and deviation (D,) float64, or None for features as they are."""

    mean: Tensor | None = None
    std: Tensor | None = None

    def __call__(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Return rows (n, D) of any float dtype as heads see them, in memory of their own."""
        if self.mean is None:
            return raw.to(dtype, copy=True)
        # Through float32, which holds all of float16 and is faster to get to.
        x = (raw.float() if raw.dtype == torch.float16 else raw).to(torch.float64, copy=True)
        return x.sub_(self.mean).div_(self.std).to(dtype)

    def to(self, device: torch.device) -> Scale:
        """Return the same on another device."""
        return self if self.mean is None else Scale(self.mean.to(device), self.std.to(device))


def as_tensor(block: np.ndarray) -> Tensor:
    """Return rows as a tensor of a float dtype that holds their values exactly where float64 does."""
    plain = block.dtype.isnative and block.dtype in (np.float16, np.float32, np.float64)
    return torch.from_numpy(block if plain else block.astype(np.float64))


def scale_of(source: Source, moments: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Scale:
    """Return mean and deviation of all rows, in one pass; a deviation of 0 counts as 1.

    Features that are few enough to be looked at together get what `moments` says. Otherwise the moments
    of blocks are joined, as Chan, Golub and LeVeque 1983 do, of values relative to the first row: their sums
    of squares are exact where a feature is constant, and lose no digits where it is far from zero.
    """
    N, D = source.shape
    size = max(1, MOMENT_NUMBERS // D)
    if size >= N:
        return Scale(*moments(as_tensor(source.read(np.arange(N))).double()))
    origin = as_tensor(source.read(np.arange(1))).double()
    count, mean, squares = 0, torch.zeros(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
    for start in range(0, N, size):
        x = as_tensor(source.read(np.arange(start, min(start + size, N)))).double().sub_(origin)
        source.release()
        n, own = len(x), x.mean(0)
        apart = own - mean
        squares += x.sub_(own).square_().sum(0) + apart.square() * (count * n / (count + n))
        mean += apart * (n / (count + n))
        count += n
    std = (squares / N).sqrt_()
    std[std == 0] = 1
    return Scale(mean + origin[0], std)


class SeenRows:
    """Features on disk as heads see them, (..., D): z-scored, and on the device once they are read.

    Attributes
    ----------
    shape, dtype, device : as of the tensor that they stand for.
    """

    def __init__(
        self, source: Source, scale: Scale, device: torch.device, dtype: torch.dtype, budget: int
    ) -> None:
        self.source, self.shape, self.dtype, self.device = source, torch.Size(source.shape), dtype, device
        self.scale, self.budget = scale.to(device), budget

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: np.ndarray, heads: Any, lane: Lane, slot: int) -> Tensor:
        """Return flat rows (n, D) as heads take them, (n, F), on the device; they may still be on the way."""
        buffer = lane.buffer(slot, (len(rows), self.shape[-1]), self.source.stored)
        raw = lane.send(slot, self._read(rows, buffer))
        out = lane.room(slot, (len(rows), heads.n_inputs), self.dtype)
        chunk = CHUNK_ROWS if raw.device.type == "cpu" else max(1, len(raw))
        for part, to in zip(raw.split(chunk), out.split(chunk), strict=True):
            to.copy_(heads.prepare(self.scale(part, self.dtype)))
        return out

    def __getitem__(self, key: Any) -> Tensor:
        """Return a copy of rows, by one index tensor for each axis before D."""
        keys = [k.cpu().numpy() for k in (key if isinstance(key, tuple) else (key,))]
        where = np.ravel_multi_index(np.broadcast_arrays(*keys), self.shape[:-1])
        rows, place = np.unique(where, return_inverse=True)
        raw = self._read(rows, np.empty((len(rows), self.shape[-1]), dtype=self.source.stored))
        seen = self.scale(raw.to(self.device), self.dtype)
        return seen[torch.as_tensor(place.reshape(where.shape)).to(self.device)]

    def to(self, dtype: torch.dtype) -> SeenRows:
        """Return the same features in another dtype."""
        return SeenRows(self.source, self.scale, self.device, dtype, self.budget)

    def prepared(self, heads: Any) -> Windows:
        """Return these features as `heads` (a bank of heads, or networks) take them."""
        return Windows(self, heads)

    def _read(self, rows: np.ndarray, out: np.ndarray) -> Tensor:
        """Return flat rows as they are stored, never mapping more of the file than the limit allows.

        The system maps up to 2 MB around a row. The rows are in the order of the file, so it is read in
        stretches, and each is let go before the next.
        """
        if not len(rows) or self.source.extent <= self.budget // 2:
            return as_tensor(self.source.read(rows, out))
        per_row = self.source.extent / math.prod(self.shape[:-1])
        stretch = rows // max(1, int(self.budget / 4 / per_row))
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(stretch)) + 1):
            self.source.read(rows[part], out[part[0] : part[-1] + 1])
            self.source.release()
        return as_tensor(out)


@dataclass
class _Window:
    """Prepared rows (n, F), and where the rows of each of its batches are among them, (S, B)."""

    rows: Tensor
    places: tuple[Tensor, ...] = ()


class Windows:
    """Prepared features (N, F) that are read as they are needed; stands for the tensor of all of them.

    Parameters
    ----------
    seen : the features.
    heads : with ``prepare``, ``gather`` and ``n_inputs``.
    lane : how rows get to the device.
    """

    def __init__(self, seen: SeenRows, heads: Any, lane: Lane | None = None) -> None:
        self._seen, self._heads = seen, heads
        self._lane = lane_to(seen.device) if lane is None else lane
        self._reader: ThreadPoolExecutor | None = None
        self._forget()

    def __len__(self) -> int:
        return len(self._seen)

    def begin(self, indices: Sequence[Tensor]) -> None:
        """Take the batches of an epoch, samples (S, B) each, in the order in which they will be gathered."""
        self._seen.source.check_unchanged()
        self._forget()
        if not indices:
            return
        host = torch.cat(list(indices), dim=1).cpu().split([index.shape[1] for index in indices], dim=1)
        step = self._batches_of_a_window(indices[0].numel())
        self._indices = indices  # kept, because ids are those of living objects
        self._at = {id(index): divmod(i, step) for i, index in enumerate(indices)}
        groups = [host[first : first + step] for first in range(0, len(host), step)]
        self._windows = self._ahead([partial(self._read, group) for group in groups], WINDOWS)

    def _forget(self) -> None:
        self._indices: Sequence[Tensor] = ()
        self._at: dict[int, tuple[int, int]] = {}  # id of a batch's index -> window, batch of it
        self._windows: Iterator[_Window] = iter(())
        self._number, self._current = -1, None

    def gather(self, index: Tensor) -> Tensor:
        """Return prepared features (S, B, F) of the samples `index` (S, B), in a buffer that is kept."""
        rows, place = self._find(index)
        return self._heads.gather(rows, place)

    def plain(self, index: Tensor) -> Tensor:
        """Return features (S, B, D) before heads prepare them, a copy."""
        rows, place = self._find(index)
        # Prepared features begin with those they are made from.
        plain = rows[:, : self._seen.shape[-1]].index_select(0, place.flatten())
        return plain.view(*place.shape, -1)

    def split(self, rows: int) -> Iterator[Tensor]:
        """Yield prepared features in blocks of so many rows."""
        self._seen.source.check_unchanged()
        N = len(self)
        parts = [np.arange(start, min(start + rows, N)) for start in range(0, N, rows)]
        for window in self._ahead([partial(self._prepare, part) for part in parts], BLOCKS):
            yield window.rows

    def _find(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return a window's rows, and where the samples `index` (S, B) are among them."""
        number, place = self._at.get(id(index), (-1, 0))
        if number < self._number or number < 0:  # no batch of this epoch, or one that has passed
            window = next(self._ahead([partial(self._read, [index.cpu()])], ALONE))
            return window.rows, window.places[0]
        while self._number < number:
            self._current = None
            self._current, self._number = next(self._windows), self._number + 1
        return self._current.rows, self._current.places[place]

    def _batches_of_a_window(self, samples: int) -> int:
        width = self._seen.shape[-1] * self._seen.source.stored.itemsize
        width += self._heads.n_inputs * self._seen.dtype.itemsize
        # Two windows exist at a time.
        return max(1, min(WINDOW_BYTES, self._seen.budget // 4) // max(1, samples * width))

    def _read(self, indices: Sequence[Tensor], slot: int) -> _Window:
        """Return the window of batches, each (S, B) on the host."""
        wanted = torch.cat([index.flatten() for index in indices]).numpy()
        rows, place = np.unique(wanted, return_inverse=True)
        window = self._prepare(rows, slot)
        parts = torch.from_numpy(place.reshape(-1)).to(self._seen.device).split([i.numel() for i in indices])
        window.places = tuple(p.view(i.shape) for p, i in zip(parts, indices, strict=True))
        return window

    def _prepare(self, rows: np.ndarray, slot: int) -> _Window:
        return _Window(self._seen.read(rows, self._heads, self._lane, slot))

    def _ahead(self, jobs: Sequence[Callable[[int], _Window]], slots: Sequence[int]) -> Iterator[_Window]:
        """Yield what each job makes; a thread is at work on the next one while one is being used.

        What was yielded is void once the next one is asked for.
        """
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="features")
        threads = torch.get_num_threads()
        turns = [slots[number % len(slots)] for number in range(len(jobs))]
        coming = self._reader.submit(self._work, jobs[0], turns[0], threads)
        for number, slot in enumerate(turns):
            window = coming.result()
            if number + 1 < len(jobs):
                coming = self._reader.submit(self._work, jobs[number + 1], turns[number + 1], threads)
            self._lane.arrived(slot, (window.rows, *window.places))
            yield window

    def _work(self, job: Callable[[int], _Window], slot: int, threads: int) -> _Window:
        torch.set_num_threads(threads)  # OpenMP counts them for each thread that calls it
        with self._lane.open(slot):
            return job(slot)
