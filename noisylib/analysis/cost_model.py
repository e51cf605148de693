"""How long a bank of heads trains: the operations of a step counted, each at the speed it was measured at.

A step is cut into the five kinds of work of `noisylib.analysis.workload`, each at a price per unit, and a
fixed time for all else: beginning each operation, and the interpreter between them. The prices are read from
the part ``roofline`` of the benchmarks' record, which times the classes of operations of one step. Nothing is
fitted to the curves of its part ``scaling``, so that these can say how wrong the model is. All times are
seconds of one core, or of one GPU if the record is of a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from noisylib.analysis.workload import (
    CPU_STEP_BYTES,
    EVALUATION_ROWS,
    HEADS,
    KINDS,
    Workload,
    scoring_work,
    step_work,
)
from noisylib.errors import MissingDataError, check_name

# Bytes moved per number of the features before the first step: copy to float64 (12), mean and deviation (16),
# two passes of the z-score (32) and the copy to float32 (12); the adapter's normalisation and join (24).
SETUP_BYTES = {"linear": 72, "mlp": 72, "adapter": 96}
AXES = {"R": "runs", "N": "samples", "D": "n_features", "K": "n_classes"}


@dataclass(frozen=True)
class Costs:
    """What work costs on one machine for one kind of head.

    Attributes
    ----------
    unit : seconds per unit of each of `KINDS`.
    fixed : seconds of a step of one part that do not depend on its size.
    bandwidth : bytes per second of passes over what no cache holds.
    chunk : seconds that the engine adds to each chunk.
    measured_head : the kind of head whose operations were timed.
    """

    unit: Mapping[str, float]
    fixed: float
    bandwidth: float
    chunk: float
    measured_head: str

    def step_seconds(self, work: Workload, rows: int) -> dict[str, float]:
        """Return the seconds of one step of all runs on `rows` samples, by kind, and "fixed"."""
        units = step_work(work, rows)
        return {kind: units[kind] * self.unit[kind] for kind in KINDS} | {"fixed": work.parts * self.fixed}

    def epoch_seconds(self, work: Workload) -> dict[str, float]:
        """Return the seconds of one epoch of all runs, by kind, and "fixed"; nothing is scored."""
        total = dict.fromkeys((*KINDS, "fixed"), 0.0)
        for count, rows in work.batches():
            for kind, seconds in self.step_seconds(work, rows).items():
                total[kind] += count * seconds
        return total

    def scoring_seconds(self, work: Workload) -> float:
        """Return the seconds in which all runs score the test samples once."""
        full, rest = divmod(work.test_samples, EVALUATION_ROWS)
        seconds = 0.0
        for count, rows in ((full, EVALUATION_ROWS), (1, rest)):
            if count and rows:
                units = scoring_work(work, rows)
                seconds += count * sum(units[kind] * self.unit[kind] for kind in KINDS)
        return seconds

    def setup_seconds(self, work: Workload) -> float:
        """Return the seconds in which the features of a bank are standardised and prepared."""
        numbers = (work.samples + work.test_samples) * work.n_features
        return numbers * SETUP_BYTES[work.head] / self.bandwidth

    def bank_seconds(self, work: Workload) -> dict[str, float]:
        """Return the seconds of one chunk: `KINDS`, "fixed", "scoring", "setup" and "chunk"."""
        training = {kind: work.epochs * seconds for kind, seconds in self.epoch_seconds(work).items()}
        return training | {
            "scoring": work.score_epochs * self.scoring_seconds(work),
            "setup": self.setup_seconds(work),
            "chunk": self.chunk,
        }

    def study_seconds(self, work: Workload, *, runs_per_chunk: int, effort: float = 1.0) -> float:
        """Return the core seconds of all runs, in chunks.

        Parameters
        ----------
        effort : cost of a run of the study's methods over one with cross-entropy; set-up and the engine's
            share of a chunk are not multiplied by it.
        """
        chunks, rest = divmod(work.runs, runs_per_chunk)
        total = 0.0
        for count, runs in ((chunks, runs_per_chunk), (1, rest)):
            if count and runs:
                seconds = self.bank_seconds(replace(work, runs=runs))
                once = seconds.pop("setup") + seconds.pop("chunk")
                total += count * (effort * sum(seconds.values()) + once)
        return total


def read_costs(record: Mapping[str, Any], head: str = "adapter") -> Costs:
    """Return the costs of a machine from the benchmarks' record.

    Adapter and linear heads are timed. An "mlp" gets the prices of the adapter, whose work is of the same
    kinds.

    Parameters
    ----------
    record : "<part>.<name>" -> value, as in ``benchmarks/results/cpu.json``.

    Raises
    ------
    MissingDataError
        The record lacks the part ``roofline``, or the operations of the head.
    UnknownNameError
        A class of operations is none of `KINDS`, nor the rest.
    """
    require_keys(
        record, [f"roofline.{key}" for key in ("operations", "bandwidth", "dispatch_seconds", "setting")]
    )
    measured = "linear" if check_name("head", head, HEADS) == "linear" else "adapter"
    classes = {row["name"]: row for row in record["roofline.operations"] if row["head"] == measured}
    if not classes:
        raise MissingDataError(
            f"the record has timed no operation of a {measured} head: run 'python -m benchmarks --roofline'."
        )
    setting = record["roofline.setting"]
    work = measured_workload({**setting, "head": measured, "n_features": setting["heads"][measured]})
    units, start = step_work(work, work.batch_size), float(record["roofline.dispatch_seconds"])
    unit, fixed = dict.fromkeys(KINDS, 0.0), 0.0
    for name, row in classes.items():
        if check_name("class of operations in roofline.operations", name, (*KINDS, "rest")) == "rest":
            fixed += row["seconds"]
            continue
        begin = min(row["calls"] * start, row["seconds"])
        fixed += begin
        unit[name] = (row["seconds"] - begin) / units[name] if units[name] else 0.0
    sizes = {float(size): float(rate) for size, rate in record["roofline.bandwidth"].items()}
    chunk = float(record.get("engine.overhead_per_chunk_seconds") or 0.0)
    return Costs(unit, fixed / work.parts, 1e9 * sizes[max(sizes)], chunk, measured)


def measured_workload(setting: Mapping[str, Any], cache: float | None = None) -> Workload:
    """Return the workload that a part of the record was measured with; `cache` as in `Workload`.

    Raises
    ------
    MissingDataError
        The setting does not say a size.
    """
    lacks = [name for name in ("n_features", "n_classes", "batch_size") if name not in setting]
    if lacks:
        raise MissingDataError(f"a setting of the record does not say {', '.join(lacks)}: measure it again.")
    runs = int(setting["runs"] if "runs" in setting else setting["seeds"] * setting["runs_per_seed"])
    return Workload(
        runs=runs,
        samples=int(setting.get("n_samples", setting["batch_size"])),
        n_features=int(setting["n_features"]),
        n_classes=int(setting["n_classes"]),
        head=setting.get("head", "adapter"),
        batch_size=int(setting["batch_size"]),
        runs_per_seed=int(setting.get("runs_per_seed", runs)),
        cache=cache,
    )


def cache_of(record: Mapping[str, Any]) -> float | None:
    """Return what `Workload.cache` is on the machine of a record: nothing on a GPU."""
    machines = [facts.get("machine", {}) for facts in record.get("measured", {}).values()]
    return None if any("gpu" in machine for machine in machines) else CPU_STEP_BYTES


def scaling_points(record: Mapping[str, Any], costs: Costs) -> list[dict[str, Any]]:
    """Return every point of the measured scaling curves beside what the model says of it.

    Returns
    -------
    One mapping per point: axis ("R", "N", "D" or "K"), value, measured and predicted seconds of one epoch of
    the whole bank, and ratio (predicted / measured).

    Raises
    ------
    MissingDataError
        The record has no scaling curves.
    """
    require_keys(record, ["scaling.curves", "scaling.setting"])
    base = measured_workload(record["scaling.setting"], cache_of(record))
    points = []
    for axis, curve in record["scaling.curves"].items():
        name = AXES[check_name("axis of scaling.curves", axis, AXES)]
        for value, seconds in zip(curve["values"], curve["seconds"], strict=True):
            predicted = sum(costs.epoch_seconds(replace(base, **{name: int(value)})).values())
            points.append(_point(axis, value, seconds, predicted))
    return points


def bank_points(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the banks that were timed as a whole beside what the model says of them, as `scaling_points`.

    Their axis is "bank" and their value the kind of head; a bank that was not measured is left out.
    """
    points = []
    for part, head in (("heads", "adapter"), ("linear", "linear")):
        times, setting = record.get(f"{part}.seconds_per_head_epoch"), record.get(f"{part}.setting")
        if times and setting:
            work = measured_workload({**setting, "head": head}, cache_of(record))
            predicted = sum(read_costs(record, head).epoch_seconds(work).values())
            points.append(_point("bank", head, times["bank"]["median"] * work.runs, predicted))
    return points


def _point(axis: str, value: object, measured: float, predicted: float) -> dict[str, Any]:
    point = {"axis": axis, "value": value, "measured": measured, "predicted": predicted}
    return {**point, "ratio": predicted / measured}


def errors(points: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return median and worst ratio predicted / measured, and the factor by which the worst one is off.

    The median is that of the logarithms; worst is farthest from 1 in either direction.
    """
    logs = sorted(math.log(point["ratio"]) for point in points)
    middle = len(logs) // 2
    median = logs[middle] if len(logs) % 2 else (logs[middle - 1] + logs[middle]) / 2
    worst = max(logs, key=abs)
    return {"median": math.exp(median), "worst": math.exp(worst), "off": math.exp(abs(worst))}


def effort(record: Mapping[str, Any], methods: Iterable[str]) -> float:
    """Return the mean cost of a run with `methods` over one with cross-entropy, as measured.

    Raises
    ------
    MissingDataError
        The record has no costs of methods, or lacks one of them.
    """
    require_keys(record, ["methods.costs"])
    costs = record["methods.costs"]
    lacks = [name for name in methods if name not in costs]
    if lacks:
        raise MissingDataError(
            f"the record has no cost of {', '.join(lacks)}: measure with 'python -m benchmarks --methods'."
        )
    values = [costs[name]["per_run"] for name in methods]
    return sum(values) / len(values)


def require_keys(record: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise MissingDataError, with the command, if the record lacks one of `keys`."""
    lacks = [key for key in keys if record.get(key) in (None, {}, [])]
    if lacks:
        flags = " ".join(dict.fromkeys(f"--{key.partition('.')[0]}" for key in lacks))
        raise MissingDataError(
            f"the record of the benchmarks lacks {', '.join(lacks)}: measure with "
            f"'python -m benchmarks {flags}'."
        )
