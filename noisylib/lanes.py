"""How rows that were read get to the device: as they are on a CPU, by a stream of its own to a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from noisylib import pages

SENDABLE = (np.float16, np.float32, np.float64)


class Lane(Protocol):
    """Carries rows to the device by two slots, so that one is filled while the other is on its way."""

    def buffer(self, slot: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """Return an array of this shape to read into, once what lay in it has been sent."""

    def send(self, slot: int, raw: Tensor) -> Tensor:
        """Return the rows on the device, where they may not have arrived."""

    def room(self, slot: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return a tensor on the device for what is made of the rows."""

    def open(self, slot: int) -> contextmanager:
        """Let what the body computes on the device follow on what is sent."""

    def arrived(self, slot: int, tensors: Iterable[Tensor]) -> None:
        """Let what the caller computes next wait for what was made of the slot's rows."""


class HostLane:
    """A CPU: nothing to send. The buffers are kept, because fresh memory costs more than filling it."""

    def __init__(self) -> None:
        self._kept: dict[int, np.ndarray] = {}
        self._rooms: dict[int, Tensor] = {}

    def buffer(self, slot: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """Return an array of this shape to read into."""
        size, kept = math.prod(shape), self._kept.get(slot)
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = self._kept[slot] = self._new(size, dtype)
        return kept[:size].reshape(shape)

    def _new(self, size: int, dtype: np.dtype) -> np.ndarray:
        return np.empty(size, dtype=dtype)

    def send(self, slot: int, raw: Tensor) -> Tensor:
        """Return the rows."""
        return raw

    def room(self, slot: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return the slot's tensor, whose content of before is void."""
        size, kept = math.prod(shape), self._rooms.get(slot)
        if kept is None or kept.numel() < size or kept.dtype != dtype:
            kept = self._rooms[slot] = pages.empty(size, dtype=dtype)
        return kept[:size].view(shape)

    @contextmanager
    def open(self, slot: int) -> Iterator[None]:
        """Nothing to open."""
        yield

    def arrived(self, slot: int, tensors: Iterable[Tensor]) -> None:
        """Nothing to wait for."""


class CudaLane(HostLane):
    """A GPU: rows go from pinned memory by a stream of their own, beside what the GPU computes.

    A slot is filled again only when its last rows have left it, and the caller's stream waits, on the GPU,
    for what was made of them. `cuda` is torch.cuda, or what stands for it in a test.
    """

    def __init__(self, device: torch.device, cuda=torch.cuda) -> None:
        super().__init__()
        self._device, self._cuda = device, cuda
        self._stream = cuda.Stream(device)
        self._sent, self._done = {}, {}

    def _new(self, size: int, dtype: np.dtype) -> np.ndarray:
        if dtype not in SENDABLE:  # converted on the host before it is sent
            return np.empty(size, dtype=dtype)
        like = torch.from_numpy(np.empty(0, dtype=dtype)).dtype
        return torch.empty(size, dtype=like, pin_memory=self._cuda.is_available()).numpy()

    def buffer(self, slot: int, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """Return a pinned array to read into, once its last rows have left."""
        if slot in self._sent:
            self._sent.pop(slot).synchronize()
        return super().buffer(slot, shape, dtype)

    def send(self, slot: int, raw: Tensor) -> Tensor:
        """Return the rows on the GPU, where they may not have arrived."""
        there = raw.to(self._device, non_blocking=True)
        self._sent[slot] = self._cuda.Event()
        self._sent[slot].record(self._stream)
        return there

    def room(self, slot: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Return a new tensor: steps that read the last one may not have run yet."""
        return torch.empty(shape, dtype=dtype, device=self._device)

    @contextmanager
    def open(self, slot: int) -> Iterator[None]:
        """Let what the body computes go by the lane's stream."""
        with self._cuda.stream(self._stream):
            yield
            self._done[slot] = self._cuda.Event()
            self._done[slot].record(self._stream)

    def arrived(self, slot: int, tensors: Iterable[Tensor]) -> None:
        """Let the caller's stream wait for the slot's rows, and keep their memory until it is done."""
        current = self._cuda.current_stream(self._device)
        current.wait_event(self._done[slot])
        for tensor in tensors:
            tensor.record_stream(current)


def lane_to(device: torch.device) -> Lane:
    """Return the lane to a device."""
    return CudaLane(device) if device.type == "cuda" else HostLane()
