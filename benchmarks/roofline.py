"""The machine's ceilings, and how far below them each class of operations of a training step stays.

The ceilings are measured: the rate of square float32 products by size, the bandwidth of a triad, a = b + 3
c, by the bytes of its three arrays, and what it takes to dispatch an operation on one number, which is
taken off the time of a triad. The bandwidth counts two reads and a write per element, and not that a
processor may read what it then overwrites.

A class of operations cannot take less than its floating-point operations at the best rate, nor less than
its bytes at the bandwidth of a working set of that size. Whichever is longer is its bound, unless the
number of its calls times the dispatch is longer still.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.heads import Case, gemm_case, in_rounds
from benchmarks.operations import NOMINAL, TITLES, Tally, dispatch_seconds, split_step
from benchmarks.workload import clock
from noisylib.methods import make_method
from noisylib.recipe import Recipe
from noisylib.seeding import numpy_generator
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

MB = 2**20


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes
    ----------
    gemm_sizes : edges of the square products.
    working_sets : bytes of the three arrays of a triad together.
    heads : kind of head -> width D of its features.
    runs : R heads of one seed, a bank as a study trains it on one core.
    steps : of an epoch.
    """

    gemm_sizes: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    working_sets: tuple[int, ...] = (MB // 4, MB // 2, 2 * MB, 8 * MB, 16 * MB, 64 * MB, 256 * MB)
    heads: Mapping[str, int] = None
    runs: int = 10
    batch_size: int = 128
    n_classes: int = 7
    steps: int = 60
    rounds: int = 7

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", dict(self.heads or {"adapter": 192, "linear": 768}))


QUICK = Setting(
    gemm_sizes=(32, 64),
    working_sets=(MB // 8, MB // 4),
    heads={"adapter": 16, "linear": 24},
    runs=3,
    batch_size=32,
    steps=4,
    rounds=2,
)
GPU_SIZES = {
    "gemm_sizes": (256, 1024, 4096, 8192),
    "working_sets": (2 * MB, 16 * MB, 64 * MB, 256 * MB, 1024 * MB),
}


def triad_case(size: int, device: torch.device) -> Case:
    """One pass of a triad whose three arrays take `size` bytes; a pass is the unit."""
    n = size // 12
    a, b, c = torch.ones(3, n, device=device)
    passes = max(3, round(2e8 / size))

    def run() -> float:
        torch.add(b, c, alpha=3.0, out=a)  # warm
        start = clock(device)
        for _ in range(passes):
            torch.add(b, c, alpha=3.0, out=a)
        return clock(device) - start

    return Case(f"triad of {size} bytes", passes, run)


def bandwidth_of(size: int, seconds: float, dispatch: float) -> float:
    """Return bytes per second of a pass that took `seconds`, of which at most half goes to the dispatch."""
    return size / (seconds - min(dispatch, seconds / 2))


def epoch_of(head: str, n_features: int, setting: Setting, device: torch.device) -> Callable[[], None]:
    """Return what trains one epoch of a bank with cross entropy."""
    s, random = setting, numpy_generator("benchmark", "roofline", head)
    n = s.steps * s.batch_size
    X = random.standard_normal((n, n_features)).astype(np.float32)
    Y = random.integers(0, s.n_classes, (s.runs, n))
    rule, classes = make_method("ce"), np.arange(s.n_classes)
    inputs = check_bank_inputs(X, Y, X[: s.n_classes], classes, s.n_classes, rule)
    recipe = Recipe(batch_size=s.batch_size, standardise=False)
    bank = BankInTraining(inputs, rule, head, recipe, device, torch.float32)
    return lambda: bank.train_epoch(0, None)


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do: flops per second, bytes per second by working set, seconds to dispatch."""

    rate: float
    bandwidth: Mapping[int, float]
    dispatch: float

    def bandwidth_at(self, size: float) -> float:
        """Return the bandwidth of the smallest measured working set that holds `size` bytes."""
        larger = [working_set for working_set in self.bandwidth if working_set >= size]
        return self.bandwidth[min(larger, default=max(self.bandwidth))]

    def bound(self, part: Tally) -> tuple[str, float]:
        """Return what bounds a class of operations, and the seconds it can be done in."""
        arithmetic, memory = part.flops / self.rate, part.bytes / self.bandwidth_at(part.bytes)
        reachable = max(arithmetic, memory)
        if part.calls * self.dispatch > reachable:
            return "dispatch", reachable
        return ("arithmetic" if arithmetic >= memory else "memory"), reachable


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``."""
    sizes = {} if device.type == "cpu" else GPU_SIZES
    return measure(QUICK if quick else Setting(**sizes), device)


def measure(setting: Setting, device: torch.device) -> dict[str, object]:
    """Return ceilings, operations and setting, under keys that start with ``roofline.``."""
    gemms = {n: gemm_case(n, device) for n in setting.gemm_sizes}
    triads = {size: triad_case(size, device) for size in setting.working_sets}
    dispatch = Case("an operation on one number", 1, lambda: dispatch_seconds(device))
    in_rounds([*gemms.values(), *triads.values(), dispatch], setting.rounds)
    rates = {n: 2 * n**3 / case.median for n, case in gemms.items()}
    bandwidths = {size: bandwidth_of(size, case.median, dispatch.median) for size, case in triads.items()}
    ceilings = Ceilings(max(rates.values()), bandwidths, dispatch.median)
    operations, steps = [], {}
    for head, n_features in setting.heads.items():
        epoch = epoch_of(head, n_features, setting, device)
        parts, bare = split_step(
            epoch, setting.steps, device, rounds=setting.rounds, dispatch=dispatch.median
        )
        rows = [_row(name, head, part, ceilings) for name, part in parts.items()]
        operations += rows
        steps[head] = {
            **{key: sum(row[key] for row in rows) for key in ("flops", "bytes", "reachable_seconds")},
            "seconds": statistics.median(bare),
            "all": bare,
        }
    return {
        "roofline.gemm": {str(n): rate / 1e9 for n, rate in rates.items()},
        "roofline.bandwidth": {str(size): rate / 1e9 for size, rate in bandwidths.items()},
        "roofline.dispatch_seconds": dispatch.median,
        "roofline.operations": operations,
        "roofline.steps": steps,
        "roofline.seconds_per_product": {str(n): case.summary() for n, case in gemms.items()},
        "roofline.seconds_per_triad": {str(size): case.summary() for size, case in triads.items()},
        "roofline.setting": {
            **asdict(setting),
            **{head: {"n_features": n_features} for head, n_features in setting.heads.items()},
            "seeds": 1,
            "runs_per_seed": setting.runs,
            "n_samples": setting.steps * setting.batch_size,
            "nominal_flops": NOMINAL,
        },
    }


def _row(name: str, head: str, part: Tally, ceilings: Ceilings) -> dict[str, object]:
    bound, reachable = ceilings.bound(part)
    return {
        "head": head,
        "name": name,
        "title": TITLES[name],
        **asdict(part),
        "bound": bound,
        "reachable_seconds": reachable,
    }


def table(results: dict[str, object]) -> str:
    """Return ceilings and operations as text."""
    s = results["roofline.setting"]
    gemm, bandwidth = results["roofline.gemm"], results["roofline.bandwidth"]
    lines = [
        "GFLOP/s of square products: " + ", ".join(f"{n}: {rate:.1f}" for n, rate in gemm.items()),
        "GB/s of a triad by working set: "
        + ", ".join(f"{int(size) / MB:g} MB: {rate:.1f}" for size, rate in bandwidth.items()),
        f"an operation on one number: {results['roofline.dispatch_seconds'] * 1e6:.2f} microseconds",
    ]
    for head, step in results["roofline.steps"].items():
        lines += [
            "",
            f"a step of {s['runs']} {head} heads, D={s['heads'][head]}, batch {s['batch_size']}: "
            f"{step['seconds'] * 1e6:.0f} microseconds, {step['reachable_seconds'] * 1e6:.0f} at the bounds",
            f"{'':33}{'Mflop':>9}{'MB':>8}{'calls':>7}{'us':>9}{'reachable':>11}  bound",
        ]
        for row in results["roofline.operations"]:
            if row["head"] == head:
                lines.append(
                    f"{row['title']:33}{row['flops'] / 1e6:9.2f}{row['bytes'] / 1e6:8.2f}{row['calls']:7.1f}"
                    f"{row['seconds'] * 1e6:9.1f}{row['reachable_seconds'] * 1e6:11.1f}  {row['bound']}"
                )
    return "\n".join(lines)
