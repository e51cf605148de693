"""What the chapter on large studies says of GPUs: what is assumed, and the range that follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from noisylib.analysis.bank_memory import gpu_memory, head_bytes
from noisylib.analysis.cost_model import read_costs
from noisylib.analysis.machines import GPUS, Gpu, filling_heads, run_seconds, waits_for_memory
from noisylib.analysis.workload import Workload
from noisylib.book.benchmark_record import Record, benchmark_root, read_record
from noisylib.book.describe.lp_fft_turn_cost import number
from noisylib.book.describe.scale import Plan, between, plans, span
from noisylib.book.describe.scale_memory import chunk
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.scale_parameters import ScaleParameters

LAUNCH, LAUNCHES = 5e-6, 30  # assumed: seconds to begin an operation on a GPU, and operations of a step


def as_one(work: Workload) -> Workload:
    """Return a workload whose runs are all one part, as on a GPU."""
    return replace(work, cache=None)


def gpu_seconds(p: ScaleParameters, plan: Plan, gpu: Gpu, effort: float) -> tuple[float, float]:
    """Return least and most seconds of one GPU for all runs, at the largest and the least assumed share."""
    work = as_one(plan.work)
    low, high = (run_seconds(work, gpu, share) for share in (p.high_share, p.low_share))
    return effort * work.runs * low, effort * work.runs * high


def title(p: ScaleParameters) -> str:
    """Return the name of the GPU of the figure."""
    return GPUS[p.gpu].title


def measured_record() -> Record | None:
    """Return the record of a GPU, if one was measured."""
    return read_record("cuda") if (benchmark_root() / "cuda.json").is_file() else None


def stated_table(p: ScaleParameters) -> pd.DataFrame:
    """Return what is stated of each GPU, and where."""
    import pandas as pd

    rows = [
        {
            "GPU": gpu.title,
            "float32, TFLOP/s": f"{gpu.tflops['float32']:g}",
            "tf32, TFLOP/s": f"{gpu.tflops['tf32']:g}",
            "Memory": f"{gpu.memory / 1e9:g}{NBSP}GB",
            "Bandwidth": f"{gpu.bandwidth / 1e12:g}{NBSP}TB/s",
            "Source": gpu.source,
        }
        for gpu in (GPUS[name] for name in p.gpus)
    ]
    return pd.DataFrame(rows)


def gpu_table(p: ScaleParameters, effort: float) -> pd.DataFrame:
    """Return per plan and GPU: time of all GPUs together, GPU hours and cost, each from least to most."""
    import pandas as pd

    rows = []
    for plan in plans(p).values():
        for name in p.gpus:
            gpu = GPUS[name]
            low, high = gpu_seconds(p, plan, gpu, effort)
            rows.append(
                {
                    "Study": plan.title,
                    "GPU": gpu.title,
                    f"{p.n_gpus:,} GPUs": between(low / p.n_gpus, high / p.n_gpus),
                    "GPU hours": between(low / 3600, high / 3600, number),
                    "USD": between(p.price * low / 3600, p.price * high / 3600, number),
                }
            )
    return pd.DataFrame(rows)


def range_words(p: ScaleParameters, effort: float) -> str:
    """Return the range of the large study on the chosen GPU, in one sentence."""
    plan, gpu = plans(p)["both"], GPUS[p.gpu]
    seconds = gpu_seconds(p, plan, gpu, effort)
    hours = [each / 3600 for each in seconds]
    wall = between(*(each / p.n_gpus for each in seconds))
    cost = between(*(p.price * each for each in hours), number)
    return (
        f"{plan.title} would take {p.n_gpus:,} {gpu.title} {wall}, that is {between(*hours, number)} GPU "
        f"hours, or {cost} USD at an assumed {p.price:g} USD per hour, if matrix products reach "
        f"{100 * p.low_share:g} to {100 * p.high_share:g}{NBSP}% of the stated rate (assumed as well)."
    )


def bound_words(p: ScaleParameters) -> str:
    """Return which of the GPUs wait for memory rather than for arithmetic at the largest assumed share."""
    work = as_one(chunk(p, p.few_samples))
    waiting = [GPUS[name].title for name in p.gpus if waits_for_memory(work, GPUS[name], p.high_share)]
    if not waiting:
        return "At neither end of the range does any of them wait for its memory."
    return (
        f"At the upper end of the range {' and '.join(waiting)} would wait for memory, if no cache keeps "
        "anything between two operations, and more arithmetic would gain nothing."
    )


def width_words(p: ScaleParameters) -> str:
    """Return how many heads a GPU needs at a time to hide the beginnings of operations, and how many fit."""
    gpu, work = GPUS[p.gpu], as_one(chunk(p, p.samples))
    low, high = (
        filling_heads(work, gpu, share, launches=LAUNCHES, launch=LAUNCH)
        for share in (p.low_share, p.high_share)
    )
    left = gpu.memory - gpu_memory(replace(work, runs=1)).features
    each = head_bytes(work) + 8 * work.samples
    text = (
        f"A step has some {LAUNCHES} operations. If beginning one takes {LAUNCH * 1e6:g}{NBSP}µs, another "
        f"assumption, {gpu.title} needs {between(low, high, number)} heads at a time before the work of a "
        "step takes as long as beginning it; CUDA graphs would lower that. "
    )
    if left < each:
        return text + "The features of the large set alone do not leave room for one head."
    return text + f"Beside the features of the large set its memory has room for {number(left / each)} heads."


def measured_words(p: ScaleParameters, record: Record | None, effort: float) -> str:
    """Return what a measured GPU says, or that none was measured."""
    if record is None or not record.has("roofline.operations"):
        return (
            "No GPU has been measured: everything in this section is computed from stated peaks and "
            "assumptions. `python -m benchmarks --device cuda --roofline --scaling` measures one."
        )
    costs, plan = read_costs(record.values, p.head), plans(p)["both"]
    seconds = costs.study_seconds(as_one(plan.work), runs_per_chunk=p.runs_per_chunk, effort=effort)
    machine = record.values["measured"]["roofline"]["machine"]
    return (
        f"One GPU has been measured, {machine.get('gpu', 'of unknown name')}. By the model made from its "
        f"record, {plan.title} would take {p.n_gpus:,} of them {span(seconds / p.n_gpus)}, "
        f"{number(seconds / 3600)} GPU hours."
    )


def gpu_frame(p: ScaleParameters, effort: float, runs: Any) -> pd.DataFrame:
    """Return the range of the chosen GPU against the number of runs: columns runs, gpus, low, high (seconds).

    Parameters
    ----------
    runs : numbers of runs, on the samples of a set of today. Those too few to keep every GPU busy are left
        out: with fewer heads at a time, beginning operations takes longer than their work.
    """
    import pandas as pd

    gpu, work = GPUS[p.gpu], as_one(plans(p)["runs"].work)
    busy = filling_heads(work, gpu, p.high_share, launches=LAUNCHES, launch=LAUNCH)
    rows = []
    for n in runs:
        low, high = gpu_seconds(p, Plan("", "", replace(work, runs=int(n))), gpu, effort)
        counts = [count for count in dict.fromkeys((1, p.n_gpus)) if n >= busy * count]
        rows += [(int(n), count, low / count, high / count) for count in counts]
    return pd.DataFrame(rows, columns=["runs", "gpus", "low", "high"])
