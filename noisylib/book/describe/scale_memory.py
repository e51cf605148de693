"""What the chapter on large studies says of memory: what a chunk takes, and what fits where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from noisylib.analysis.bank_memory import (
    Memory,
    bank_memory,
    fitting_samples,
    gpu_memory,
    head_bytes,
)
from noisylib.analysis.cost_model import cache_of, measured_workload
from noisylib.analysis.machines import GPUS
from noisylib.analysis.workload import HEADS, Workload
from noisylib.book.describe.lp_fft_turn_cost import number
from noisylib.book.describe.scale import workload
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.scale_parameters import ScaleParameters

SIZES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
PARTS = {
    "features": "features while heads train",
    "preparing": "features while they are standardised",
    "labels": "labels and batch orders",
    "heads": "heads, optimiser and buffers",
    "scores": "scores of the test samples",
    "peak": "**most at any time**",
}


def size(n_bytes: float) -> str:
    """Return bytes with two digits, in powers of 1,000."""
    for scale, unit in SIZES:
        if n_bytes >= scale:
            return f"{number(n_bytes / scale)}{NBSP}{unit}"
    return f"{n_bytes:.0f}{NBSP}bytes"


def chunk(p: ScaleParameters, samples: int) -> Workload:
    """Return one chunk of the study on this many samples."""
    return workload(p, p.runs_per_chunk, samples)


def memory_table(p: ScaleParameters) -> pd.DataFrame:
    """Return the bytes of one chunk by part: on a processor and on a GPU, with few and with many samples."""
    import pandas as pd

    columns: dict[str, Memory] = {}
    for samples in (p.few_samples, p.samples):
        columns[f"Processor, {samples:,} samples"] = bank_memory(chunk(p, samples))
        columns[f"GPU, {samples:,} samples"] = gpu_memory(chunk(p, samples))
    rows = [
        {"Part": title, **{name: size(getattr(memory, part)) for name, memory in columns.items()}}
        for part, title in PARTS.items()
    ]
    return pd.DataFrame(rows)


def places(p: ScaleParameters) -> dict[str, tuple[float, bool]]:
    """Return the memories of the plan, smallest first: title -> (bytes, whether it is a GPU's)."""
    hosts = {f"host, {gb:,}{NBSP}GB": (1e9 * gb, False) for gb in sorted(p.memories)}
    sizes = sorted({GPUS[name].memory for name in p.gpus})
    return hosts | {f"GPU, {n_bytes / 1e9:,.0f}{NBSP}GB": (n_bytes, True) for n_bytes in sizes}


def fit_table(p: ScaleParameters) -> pd.DataFrame:
    """Return per memory: the most samples that fit for each kind of head, and what the large set needs."""
    import pandas as pd

    rows = []
    for title, (memory, gpu) in places(p).items():
        row: dict[str, object] = {"Memory": title}
        for head in HEADS:
            work = replace(chunk(p, 1), head=head)
            most = fitting_samples(work, memory, gpu=gpu, test_share=p.test_share)
            row[f"Most samples, {head}"] = f"{_floor(most):,}"
        peak = (gpu_memory if gpu else bank_memory)(chunk(p, p.samples)).peak
        row["The large set"] = "fits" if peak <= memory else f"{number(peak / memory)} times too large"
        rows.append(row)
    return pd.DataFrame(rows)


def _floor(samples: int) -> int:
    """Return a number cut to two digits: what it promises still fits."""
    step = 10 ** max(0, len(str(samples)) - 2)
    return samples // step * step


def short_words(p: ScaleParameters) -> str:
    """Return what a chunk of the large set takes and where it fits, in one sentence."""
    peak, fits = bank_memory(chunk(p, p.samples)).peak, _hosts_that_fit(p)
    where = f"fits into {' and '.join(fits)}" if fits else "fits into no host considered here"
    return f"A chunk of {p.runs_per_chunk:,} runs on {p.samples:,} samples takes {size(peak)} and {where}."


def _hosts_that_fit(p: ScaleParameters) -> list[str]:
    """Return the hosts that hold a chunk of the large set."""
    peak = bank_memory(chunk(p, p.samples)).peak
    return [title for title, (memory, gpu) in places(p).items() if not gpu and peak <= memory]


def fit_words(p: ScaleParameters) -> str:
    """Return what a chunk of the large set takes, which hosts it fits into, and where features must leave."""
    peak, few = (bank_memory(chunk(p, samples)).peak for samples in (p.samples, p.few_samples))
    hosts = {title: memory for title, (memory, gpu) in places(p).items() if not gpu}
    fits = _hosts_that_fit(p)
    text = (
        f"A chunk of {p.runs_per_chunk:,} runs on {p.samples:,} samples of {p.n_features:,} features takes "
        f"{size(peak)} on a processor, against {size(few)} on {p.few_samples:,} samples. "
    )
    if len(fits) == len(hosts):
        return text + "That fits into every host considered here."
    text += (
        f"That fits into {' and '.join(fits)} only. " if fits else "That fits into no host considered here. "
    )
    limits = []
    for memory in sorted({min(hosts.values()), max(hosts.values())}):
        most = fitting_samples(chunk(p, 1), memory, test_share=p.test_share)
        limits.append(f"{_floor(most):,} samples with {size(memory)}")
    return text + f"At this width, features no longer fit beyond {' and beyond '.join(limits)} of memory."


def labels_words(p: ScaleParameters) -> str:
    """Return which share of the large chunk is labels, which stay in memory when features do not."""
    memory = bank_memory(chunk(p, p.samples))
    one = bank_memory(replace(chunk(p, p.samples), runs=1))
    return (
        f"Labels and orders are {100 * memory.labels / memory.peak:.0f}{NBSP}% of it: every run has labels "
        f"of its own, {size(memory.labels)} in this chunk and {size(one.labels)} for a single run. They are "
        "needed in memory also where features are not, so that a chunk of a very large set has to have fewer "
        "runs."
    )


def memory_check(record: Mapping[str, Any]) -> str:
    """Return what the model says of the memory that was measured; empty where nothing was.

    What is measured is `train_bank` alone, on features that it need not standardise.
    """
    measured = record.get("scaling.memory")
    if not measured:
        return "How memory grows with the runs has not been measured, so nothing checks these bytes."
    work = measured_workload(record["scaling.setting"], cache_of(record))
    # Test samples are one per class. What is handed to `train_bank` is there before.
    more = 8 * work.samples + 4 * work.n_classes**2
    if work.cache is None:
        more += head_bytes(work)
    what = "a checked copy of its labels, since heads follow each other"
    if work.cache is None:
        what = "its labels and its head"
    return (
        f"Measured, one more run adds {size(measured['bytes_per_head'])} to the peak of `train_bank`; by the "
        f"model it adds {size(more)}, {what}."
    )


def set_frame(p: ScaleParameters) -> pd.DataFrame:
    """Return the banks that are there and the large set, as points of the map: name, n_features, samples.

    Banks have no name, since they lie close together.
    """
    import pandas as pd
    from safetensors import safe_open

    from noisylib.features.bank import list_banks

    rows = []
    for _, _, path in list_banks():
        with safe_open(path, "np") as file:
            width = file.get_slice("features").get_shape()[1]
            rows.append(("", width, int((file.get_tensor("split") == 0).sum())))
    rows.append((f"{p.samples:,} x {p.n_features:,}", p.n_features, p.samples))
    return pd.DataFrame(rows, columns=["name", "n_features", "samples"])


def map_frame(p: ScaleParameters, steps: int = 40) -> pd.DataFrame:
    """Return the lines of the memory map: for each memory and width D, the most samples N that fit.

    Columns place, gpu, n_features, samples; a place where nothing fits ends.
    """
    import numpy as np
    import pandas as pd

    rows = []
    widths = np.unique(np.geomspace(32, max(4096, 2 * p.n_features), steps).round().astype(int))
    for title, (memory, gpu) in places(p).items():
        for D in widths:
            work = replace(chunk(p, 1), n_features=int(D))
            most = fitting_samples(work, memory, gpu=gpu, test_share=p.test_share)
            if most:
                rows.append((title, gpu, int(D), most))
    return pd.DataFrame(rows, columns=["place", "gpu", "n_features", "samples"])
