"""Splits a training step into classes of operations: what they compute and move, and how long they take.

An epoch is trained under a dispatch mode of torch, which sees every operation. What the mode itself adds to
an operation is measured with one on a single number and taken off. The rest is what an epoch takes without
the mode, less all classes: the interpreter, views, the order of the samples, and operations of no class.

Counting is by convention. A product of (m, k) and (k, n) has 2 m n k floating-point operations, an element
of anything else as many as ``NOMINAL`` says. Every argument that is read and every result that is written
moves once, also where it lies in a cache; of what is gathered from, only the rows that are taken.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.workload import clock

# Kernels by class. A name without a class is part of the rest.
KINDS = {
    "products": ("mm", "bmm", "addmm", "addbmm", "baddbmm"),
    "activation": ("gelu", "gelu_backward"),
    "optimiser": ("_fused_adam", "_fused_adamw"),
    "gather": ("index_select", "index", "embedding"),
    "loss": (
        *("_softmax", "_log_softmax", "gather", "scatter_add", "scatter", "exp", "div", "logsumexp"),
        *("add", "sum", "clone"),  # of biases: the same logits
    ),
}
TITLES = {
    "products": "matrix products",
    "activation": "activation and its gradient",
    "optimiser": "optimiser",
    "gather": "gather of rows",
    "loss": "biases and gradient of the loss",
    "rest": "the rest",
}
CLASS_OF = {kernel: kind for kind, kernels in KINDS.items() for kernel in kernels}
NOMINAL = {"gelu": 15, "gelu_backward": 20, "_fused_adam": 16, "_fused_adamw": 16, "_softmax": 10}
ROWS_TAKEN = ("index_select", "index", "embedding", "gather")


@dataclass
class Tally:
    """What one class of operations does in one step."""

    flops: float = 0.0
    bytes: float = 0.0
    calls: float = 0.0
    seconds: float = 0.0


def kernel_of(function: torch._ops.OpOverload) -> str:
    """Return the name of an operation, the same for its in-place form."""
    name = function.overloadpacket.__name__
    return name.rstrip("_")


class Counting(TorchDispatchMode):
    """Adds up operations and bytes by class."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies: dict[str, Tally] = defaultdict(Tally)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run the operation and count it."""
        result = function(*args, **(kwargs or {}))
        if function.is_view:
            return result
        kernel = kernel_of(function)
        tally = self.tallies[CLASS_OF.get(kernel, "rest")]
        tally.calls += 1
        tally.bytes += moved(function, args, kwargs or {}, result)
        tally.flops += flops(kernel, args, result)
        return result


class Timing(TorchDispatchMode):
    """Adds up seconds and calls by class, and does nothing else."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self.tallies: dict[str, Tally] = defaultdict(Tally)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run the operation and time it."""
        kwargs = kwargs or {}
        start = clock(self._device)
        result = function(*args, **kwargs)
        seconds = clock(self._device) - start
        tally = self.tallies[CLASS_OF.get(kernel_of(function), "rest")]
        tally.calls += 1
        tally.seconds += seconds
        return result


def flops(kernel: str, args: tuple, result: object) -> float:
    """Return the floating-point operations of one call."""
    if CLASS_OF.get(kernel) == "products":
        left = args[-2]  # whatever is added to comes before the two factors
        return 2.0 * left.shape[-1] * result.numel()
    if kernel.startswith("_fused_adam"):
        return float(NOMINAL[kernel] * sum(p.numel() for p in args[0]))
    made = sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
    return float(NOMINAL.get(kernel, 1) * made)


def moved(function: torch._ops.OpOverload, args: tuple, kwargs: dict, result: object) -> float:
    """Return the bytes that one call reads and writes."""
    total, written, taken = 0, set(), kernel_of(function) in ROWS_TAKEN
    for argument, value in _bound(function, args, kwargs):
        for tensor in (leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)):
            size, alias = _distinct_bytes(tensor), argument.alias_info
            if alias is not None and alias.is_write:
                written.add(tensor.data_ptr())
                total += size if argument.is_out else 2 * size
            elif not (taken and argument.name in ("self", "weight")):
                total += size
    for tensor in (leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)):
        size = _distinct_bytes(tensor)
        total += size * ((tensor.data_ptr() not in written) + taken)
    return float(total)


def _bound(function: torch._ops.OpOverload, args: tuple, kwargs: dict) -> list[tuple[object, object]]:
    """Return every argument given, with its description in the schema."""
    described = function._schema.arguments
    pairs = list(zip(described, args, strict=False))
    return pairs + [(argument, kwargs[argument.name]) for argument in described if argument.name in kwargs]


def _distinct_bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor, what is expanded counted once."""
    sizes = [n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return math.prod(sizes) * tensor.element_size()


def split_step(
    epoch: Callable[[], None], steps: int, device: torch.device, *, rounds: int, dispatch: float
) -> tuple[dict[str, Tally], list[float]]:
    """Return what each class does per step, and the seconds per step without the mode, one per round.

    Parameters
    ----------
    epoch : trains one epoch of `steps` steps.
    dispatch : seconds of an operation on one number, as `dispatch_seconds` measures it.
    """
    epoch()  # warm
    with Counting() as counting:
        epoch()
    bare, seen = [], []
    for _ in range(rounds):
        start = clock(device)
        epoch()
        bare.append((clock(device) - start) / steps)
        added = mode_seconds(device) - dispatch
        with Timing(device) as timing:
            epoch()
        seen.append(
            {name: max(0.0, t.seconds - t.calls * added) / steps for name, t in timing.tallies.items()}
        )
    parts = {}
    for name in TITLES:
        counted = counting.tallies[name]
        seconds = statistics.median(times.get(name, 0.0) for times in seen)
        parts[name] = Tally(counted.flops / steps, counted.bytes / steps, counted.calls / steps, seconds)
    others = sum(part.seconds for name, part in parts.items() if name != "rest")
    parts["rest"].seconds = max(0.0, statistics.median(bare) - others)
    return {name: part for name, part in parts.items() if part.calls or name == "rest"}, bare


CALLS = 2000


def dispatch_seconds(device: torch.device) -> float:
    """Return the seconds of an operation on one number, one of many that are queued."""
    number = torch.zeros(1, device=device)
    start = clock(device)
    for _ in range(CALLS):
        number.add_(1.0)
    return (clock(device) - start) / CALLS


def mode_seconds(device: torch.device) -> float:
    """Return the seconds that the mode measures for an operation on one number."""
    number = torch.zeros(1, device=device)
    with Timing(device) as timing:
        for _ in range(CALLS):
            number.add_(1.0)
    return timing.tallies["rest"].seconds / CALLS
