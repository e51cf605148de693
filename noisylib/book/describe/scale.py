"""What the chapter on large studies says of time: the plans, the prices of work, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noisylib.analysis.cost_model import Costs
from noisylib.analysis.workload import KINDS, Workload, run_flops
from noisylib.book.describe.lp_fft_turn_cost import number
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.scale_parameters import ScaleParameters

SPANS = ((365.25 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min"), (1, "s"))
TITLES = {
    "products": "matrix products",
    "activation": "GELU and its gradient",
    "optimiser": "Adam",
    "loss": "gradient of the loss",
    "gather": "gathering batches",
    "fixed": "beginning operations, and between them",
    "scoring": "scoring test samples",
    "setup": "standardising features",
    "chunk": "the engine, per chunk",
}
UNITS = {
    "products": "operation",
    "activation": "value",
    "optimiser": "parameter",
    "loss": "logit",
    "gather": "number",
}
ADAM_BYTES, GATHER_BYTES = 28, 8  # seven passes of Adam over a parameter, read and write of a gathered number
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Plan:
    """A study on paper: all its runs on one matrix of features."""

    key: str
    title: str
    work: Workload


def plans(p: ScaleParameters) -> dict[str, Plan]:
    """Return the three plans: many runs on few samples, few runs on many samples, and many of both."""
    sizes = {
        "runs": (p.runs, p.few_samples),
        "samples": (p.few_runs, p.samples),
        "both": (p.runs, p.samples),
    }
    return {
        key: Plan(key, f"{runs:,} runs on {samples:,} samples", workload(p, runs, samples))
        for key, (runs, samples) in sizes.items()
    }


def workload(p: ScaleParameters, runs: int, samples: int) -> Workload:
    """Return a study of this chapter with other numbers of runs and samples."""
    return Workload(
        runs=runs,
        samples=samples,
        n_features=p.n_features,
        n_classes=p.n_classes,
        head=p.head,
        test_samples=round(p.test_share * samples),
    )


def facts(p: ScaleParameters, effort: float) -> dict[str, Any]:
    """Return what the text says of the plan."""
    return {
        "title_both": plans(p)["both"].title,
        "n_gpus": f"{p.n_gpus:,}",
        "runs_per_chunk": f"{p.runs_per_chunk:,}",
        "few_samples": f"{p.few_samples:,}",
        "n_methods": len(p.methods),
        "effort": effort,
        "n_features": f"{p.n_features:,}",
        "n_classes": f"{p.n_classes:,}",
        "head": p.head,
        "epochs": Workload.epochs,
        "low_share": f"{100 * p.low_share:g}",
        "high_share": f"{100 * p.high_share:g}",
        "price": f"{p.price:g}",
    }


def short_words(p: ScaleParameters, costs: Costs, effort: float, record: Mapping[str, Any]) -> str:
    """Return how long the three studies take with the most cores, in one sentence."""
    share, _ = core_share(record)
    most = max(p.cores)
    texts = []
    for plan in plans(p).values():
        seconds = costs.study_seconds(plan.work, runs_per_chunk=p.runs_per_chunk, effort=effort)
        wall = wall_seconds(seconds, most, chunks_of(p, plan.work.runs), share)
        texts.append(f"{span(wall)} for {plan.title}")
    return (
        f"With {p.head} heads on {p.n_features:,} features, {most:,} cores like the measured one would take "
        f"{', '.join(texts[:-1])}, and {texts[-1]}."
    )


def marked_runs(p: ScaleParameters) -> dict[int, str]:
    """Return the numbers of runs that the figure marks."""
    return {p.few_runs: f"{p.few_runs:,} runs", p.runs: f"{p.runs:,} runs"}


def chunks_of(p: ScaleParameters, runs: int) -> int:
    """Return the chunks of a study."""
    return math.ceil(runs / p.runs_per_chunk)


def span(seconds: float) -> str:
    """Return a time with two digits in the largest unit of which it is at least one."""
    for size, unit in SPANS:
        if seconds >= size:
            return f"{number(seconds / size)}{NBSP}{unit}"
    return f"{number(seconds)}{NBSP}s"


def between(low: float, high: float, write: Any = span) -> str:
    """Return two ends of a range as text, or one where both are written alike."""
    ends = [write(low), write(high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def power(value: float) -> str:
    """Return a large number as digits and a power of ten, in MyST."""
    exponent = math.floor(math.log10(value))
    digits = f"{value / 10**exponent:.1f}"
    if digits == "10.0":  # rounded up
        digits, exponent = "1.0", exponent + 1
    return f"{digits}{NBSP}{TIMES}{NBSP}10{{sup}}`{exponent}`"


def core_share(record: Mapping[str, Any]) -> tuple[float, str]:
    """Return what a second process is worth, as a share of a core's work, and where that was measured.

    1 and nothing where nobody measured it.
    """
    for key, what in (
        ("engine.speedup_two_processes", "a study in two processes"),
        ("heads.two_process_speedup", "two processes that train banks"),
    ):
        if record.get(key):
            return float(record[key]) / 2, what
    return 1.0, ""


def share_words(record: Mapping[str, Any]) -> str:
    """Return what is assumed of many cores."""
    share, what = core_share(record)
    if not what:
        return "Cores are assumed to work side by side without loss; the record does not measure it."
    return (
        f"Cores are assumed to lose together what {what} lost here: each is worth {100 * share:.0f}{NBSP}% "
        "of one that works alone. Whether that holds for more cores on one memory was not measured."
    )


def wall_seconds(core_seconds: float, cores: int, chunks: int, share: float) -> float:
    """Return the time that `cores` cores take; a chunk is the work of one, and one alone loses nothing."""
    busy = min(cores, chunks)
    return core_seconds / (busy * (share if busy > 1 else 1.0))


def time_table(p: ScaleParameters, costs: Costs, effort: float, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return per plan: operations, time of one core, and wall time of each number of cores."""
    import pandas as pd

    share, _ = core_share(record)
    rows = []
    for plan in plans(p).values():
        seconds = costs.study_seconds(plan.work, runs_per_chunk=p.runs_per_chunk, effort=effort)
        chunks = chunks_of(p, plan.work.runs)
        walls = {f"{n:,} core{'s' * (n > 1)}": span(wall_seconds(seconds, n, chunks, share)) for n in p.cores}
        operations = power(effort * plan.work.runs * run_flops(plan.work))
        rows.append({"Study": plan.title, "Operations": operations, "One core": span(seconds), **walls})
    return pd.DataFrame(rows)


def price_table(costs: Costs, work: Workload, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return what each kind of work costs, as a price and as a rate, and its share of one bank's time.

    Parameters
    ----------
    work : one bank, all its epochs.
    """
    import pandas as pd

    seconds = costs.bank_seconds(work)
    total = sum(seconds.values())
    rows = []
    for kind, title in TITLES.items():
        price = f"{number(1e9 * costs.unit[kind])}{NBSP}ns per {UNITS[kind]}" if kind in KINDS else ""
        if kind == "fixed":
            price = f"{number(1e6 * costs.fixed)}{NBSP}µs per step of a part"
        rows.append(
            {
                "Work": title,
                "Price": price,
                "That is": _rate(kind, costs, record),
                "Share of a bank's time": f"{100 * seconds[kind] / total:.1f}{NBSP}%",
            }
        )
    return pd.DataFrame(rows)


def _rate(kind: str, costs: Costs, record: Mapping[str, Any]) -> str:
    """Return the price of a kind as a rate of the machine; empty where there is none."""
    unit = costs.unit.get(kind)
    if not unit:
        return ""
    if kind == "products":
        rate, best = 1e-9 / unit, max(record.get("roofline.gemm", {}).values(), default=0)
        part = f", {100 * rate / best:.0f}{NBSP}% of the best square product" if best else ""
        return f"{number(rate)}{NBSP}GFLOP/s{part}"
    size = {"optimiser": ADAM_BYTES, "gather": GATHER_BYTES}.get(kind)
    return f"{number(1e-9 * size / unit)}{NBSP}GB/s" if size else ""


def time_frame(
    p: ScaleParameters, costs: Costs, effort: float, record: Mapping[str, Any], steps: int = 25
) -> pd.DataFrame:
    """Return wall time against the number of runs: columns runs, cores, seconds.

    Runs go from one chunk to ten times those of the large study, on the samples of a set of today.
    """
    import numpy as np
    import pandas as pd

    share, _ = core_share(record)
    rows = []
    for runs in np.unique(np.geomspace(p.runs_per_chunk, 10 * p.runs, steps).round().astype(int)):
        work = workload(p, int(runs), p.few_samples)
        seconds = costs.study_seconds(work, runs_per_chunk=p.runs_per_chunk, effort=effort)
        chunks = chunks_of(p, int(runs))
        rows += [(int(runs), cores, wall_seconds(seconds, cores, chunks, share)) for cores in p.cores]
    return pd.DataFrame(rows, columns=["runs", "cores", "seconds"])
