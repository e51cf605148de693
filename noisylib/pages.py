"""Memory on large pages, for tensors that a training step goes through from end to end.

A step of a bank touches some ten megabytes. On pages of 4 kB these are more than the processor keeps
addresses of, and on a virtual machine each address it has to look up again is a walk through two tables.
"""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor

LARGE_PAGE = 2**21  # bytes, on x86-64 and most ARM systems
SMALLEST = 2**20  # below this, a large page would be mostly empty


def empty(*shape: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Return an uninitialised tensor, on large pages where the system grants them.

    Only the CPU's memory on Linux is asked for in that way; elsewhere this is ``torch.empty``.
    """
    device, items = torch.device(device), math.prod(shape)
    size = items * dtype.itemsize
    if device.type != "cpu" or size < SMALLEST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape, dtype=dtype, device=device)
    try:
        # One page more than is needed, because a mapping need not begin where a large page does.
        length = -(-size // LARGE_PAGE) * LARGE_PAGE + LARGE_PAGE
        # Private: what is shared with children gets no large pages, and children would write into it.
        memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # no memory left for it, or a kernel built without large pages
        return torch.empty(shape, dtype=dtype, device=device)
    flat = torch.frombuffer(memory, dtype=dtype)  # keeps the mapping as long as a view of it lives
    first = -flat.data_ptr() % LARGE_PAGE // dtype.itemsize
    return flat[first : first + items].view(shape)


def zeros(*shape: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Return a tensor of zeros, as `empty`."""
    return empty(*shape, dtype=dtype, device=device).zero_()


def copy(values: Tensor) -> Tensor:
    """Return the same values in memory got by `empty`; `values` itself where that would gain nothing."""
    if values.device.type != "cpu" or values.nbytes < SMALLEST:
        return values
    return empty(*values.shape, dtype=values.dtype).copy_(values)
