"""How the time of a bank grows with runs, samples, width and classes, and its memory with runs.

Each curve changes one size of the base setting. What is timed is one epoch of the whole bank, the second of
two, every value of an axis once per round. A slope is that of the logarithm of the median seconds over the
logarithm of the size, by least squares: 1 is proportional, less is a cost that is shared. Small banks spend
their time on what does not grow, so the larger half of the values has a slope of its own.

Memory is the most that a fresh process held while it trained, less what it held just before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.heads import Case, in_rounds
from benchmarks.workload import Setting, Workload

BASE = Setting(seeds=1, runs_per_seed=10, n_samples=4000, repeats=5)
FIELDS = {"R": "runs", "N": "n_samples", "D": "n_features", "K": "n_classes"}
AXES = {
    "R": (1, 3, 10, 40, 160),
    "N": (500, 1000, 4000, 16000, 32000),
    "D": (48, 96, 192, 384, 768, 1536),
    "K": (2, 7, 32, 128),
}
MEMORY = (10, 40, 160, 320)
QUICK = replace(BASE, n_features=8, n_samples=64, batch_size=32, runs_per_seed=2, repeats=2)
QUICK_AXES = {"R": (1, 2, 4), "N": (32, 64), "D": (4, 8), "K": (2, 3)}
ROOT = Path(__file__).parents[1]


def with_size(base: Setting, axis: str, value: int) -> Setting:
    """Return the base setting with one size changed; more runs than a seed has are further seeds."""
    if axis != "R":
        return replace(base, **{FIELDS[axis]: value})
    per_seed = min(value, base.runs_per_seed)
    return replace(base, seeds=value // per_seed, runs_per_seed=per_seed)


def slope(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the least-squares slope of log seconds over log values."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


@dataclass(frozen=True)
class Curve:
    """Seconds of an epoch of the whole bank at each value of an axis."""

    cases: dict[int, Case]

    @classmethod
    def along(cls, axis: str, values: Sequence[int], base: Setting, device: torch.device) -> Curve:
        """Return the curve, still to be measured."""
        works = {value: Workload(with_size(base, axis, value), device) for value in values}
        return cls(
            {v: Case(f"{axis}={v}", 1, lambda w=w: w.train(range(w.setting.seeds))) for v, w in works.items()}
        )

    def record(self) -> dict[str, object]:
        """Return values, medians, slopes and all seconds."""
        values, seconds = list(self.cases), [case.median for case in self.cases.values()]
        upper = len(values) // 2
        return {
            "values": values,
            "seconds": seconds,
            "slope": slope(values, seconds),
            "slope_upper_half": slope(values[upper:], seconds[upper:]) if len(values) > 3 else None,
            "all": [case.seconds for case in self.cases.values()],
        }


def peak_memory(setting: Setting, device: torch.device) -> int:
    """Return the bytes that training one bank takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling", json.dumps(asdict(setting)), str(device)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process that measures memory failed:\n{done.stderr}")
    return int(done.stdout)


def measure_memory(setting: Setting, device: torch.device) -> int:
    """Return the bytes that training one bank takes beyond what this process has held so far."""
    work = Workload(setting, device)
    small = Workload(replace(setting, n_samples=setting.batch_size, n_features=8, seeds=1), device)
    small.train([0])  # what is loaded or built on first use is not the bank's
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work.train(range(setting.seeds))
        return torch.cuda.max_memory_allocated(device) - before
    before = _peak(reset=True)
    work.train(range(setting.seeds))
    return _peak() - before


def _peak(*, reset: bool = False) -> int:
    """Return the most memory in bytes that this process has held, since now if `reset`.

    What the system reports by `getrusage` may be the parent's peak, and never falls. Linux also keeps a peak
    of the process alone, which can be set back.
    """
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if status.is_file():
        if reset:
            clear.write_text("5")
        lines = status.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_line(runs: Sequence[int], peaks: Sequence[int]) -> dict[str, object]:
    """Return the straight line of peaks over runs: bytes per head, and bytes that do not depend on them."""
    per_head, fixed = np.polyfit(runs, peaks, 1)
    return {
        "R": list(runs),
        "peak_bytes": list(peaks),
        "bytes_per_head": float(per_head),
        "fixed_bytes": float(fixed),
    }


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``."""
    return measure(QUICK, QUICK_AXES, (2, 4), device) if quick else measure(BASE, AXES, MEMORY, device)


def measure(
    base: Setting, axes: dict[str, Sequence[int]], memory: Sequence[int], device: torch.device
) -> dict[str, object]:
    """Return curves, memory and setting, under keys that start with ``scaling.``."""
    curves = {}
    for axis, values in axes.items():
        curve = Curve.along(axis, values, base, device)
        for case in curve.cases.values():  # once for nothing: the first is slower
            case.run()
        in_rounds(curve.cases.values(), base.repeats)
        curves[axis] = curve.record()
    peaks = [peak_memory(with_size(base, "R", runs), device) for runs in memory]
    return {
        "scaling.curves": curves,
        "scaling.memory": memory_line(memory, peaks),
        "scaling.setting": {
            **asdict(base),
            "runs": base.runs,
            **{axis: getattr(base, name) for axis, name in FIELDS.items()},
        },
    }


def table(results: dict[str, object]) -> str:
    """Return the curves and the memory as text."""
    s, memory = results["scaling.setting"], results["scaling.memory"]
    base = ", ".join(f"{axis}={s[axis]}" for axis in FIELDS)
    lines = [
        f"seconds of an epoch of a bank of {s['head']} heads; {base}, batch {s['batch_size']} but for:",
        "",
    ]
    for axis, curve in results["scaling.curves"].items():
        points = "  ".join(
            f"{value}: {seconds:.3g}"
            for value, seconds in zip(curve["values"], curve["seconds"], strict=True)
        )
        half = curve["slope_upper_half"]
        upper = "" if half is None else f", {half:.2f} over the larger half"
        lines.append(f"{axis}  {points}   slope {curve['slope']:.2f}{upper}")
    points = "  ".join(
        f"{runs}: {peak / 2**20:.0f}" for runs, peak in zip(memory["R"], memory["peak_bytes"], strict=True)
    )
    lines += [
        "",
        f"peak memory in MiB by R  {points}   {memory['bytes_per_head'] / 2**20:.2f} MiB per head and "
        f"{memory['fixed_bytes'] / 2**20:.0f} MiB whatever R is",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    given, where = sys.argv[1:]
    torch.set_num_threads(1)
    sizes = json.loads(given)
    sizes["gemm_sizes"] = tuple(sizes["gemm_sizes"])
    print(measure_memory(Setting(**sizes), torch.device(where)))
