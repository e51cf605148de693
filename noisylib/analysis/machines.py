"""Machines nobody has measured: the peaks their makers state, and the range of times these allow.

Of these GPUs no more is known here than what their maker states; how much of the stated rate small heads
reach is an assumption, and so it is a range.
"""

from __future__ import annotations

from dataclasses import dataclass

from noisylib.analysis.workload import Workload, run_flops, step_flops
from noisylib.errors import NoisylibError

PRECISIONS = ("float32", "tf32")


@dataclass(frozen=True)
class Gpu:
    """What its maker states of a GPU.

    Attributes
    ----------
    tflops : operations per second in 10^12, by precision, without sparsity.
    bandwidth : bytes per second of its memory.
    memory : bytes.
    source : document of the maker.
    """

    title: str
    tflops: dict[str, float]
    bandwidth: float
    memory: float
    source: str


GPUS = {
    "l4": Gpu("NVIDIA L4", {"float32": 30.3, "tf32": 60.0}, 300e9, 24e9, "NVIDIA L4 data sheet"),
    "a100": Gpu(
        "NVIDIA A100 80 GB SXM", {"float32": 19.5, "tf32": 156.0}, 2.039e12, 80e9, "NVIDIA A100 data sheet"
    ),
    "h100": Gpu("NVIDIA H100 SXM", {"float32": 67.0, "tf32": 494.5}, 3.35e12, 80e9, "NVIDIA H100 data sheet"),
    "h200": Gpu("NVIDIA H200 SXM", {"float32": 67.0, "tf32": 494.5}, 4.8e12, 141e9, "NVIDIA H200 data sheet"),
}


def step_bytes(work: Workload, rows: int) -> float:
    """Return the bytes that one head's step on `rows` samples moves at least, if no cache keeps anything.

    Parameters: read by both passes and their gradient written (12), Adam's seven passes (28). Activations:
    ten passes over the hidden values and eight over the logits, float32. The batch, which all heads of a
    seed share, is divided among them.
    """
    values = 10 * work.hidden * rows + 8 * work.n_classes * rows
    batch = 3 * rows * work.inputs / work.runs_per_seed
    return 40 * work.parameters + 4 * (values + batch)


def run_seconds(work: Workload, gpu: Gpu, fraction: float, precision: str = "float32") -> float:
    """Return the seconds of one run of a bank that fills a GPU: the later of arithmetic and memory.

    Parameters
    ----------
    fraction : of the stated rate that matrix products reach; assumed.

    Notes
    -----
    Scoring is left out, and so is beginning an operation, as in a bank wide enough to hide it
    (`filling_heads`).
    """
    return max(_arithmetic(work, gpu, fraction, precision), _memory(work, gpu))


def waits_for_memory(work: Workload, gpu: Gpu, fraction: float, precision: str = "float32") -> bool:
    """Say whether a run, as in `run_seconds`, takes as long as its bytes do."""
    return _memory(work, gpu) >= _arithmetic(work, gpu, fraction, precision)


def _arithmetic(work: Workload, gpu: Gpu, fraction: float, precision: str) -> float:
    """Return the seconds of a run's products at a fraction of the stated rate."""
    if not 0 < fraction <= 1:
        raise NoisylibError(f"fraction={fraction!r} of the stated rate: a number in (0, 1] is needed.")
    return run_flops(work) / (fraction * gpu.tflops[precision] * 1e12)


def _memory(work: Workload, gpu: Gpu) -> float:
    """Return the seconds in which a GPU moves the bytes of a run."""
    moved = work.epochs * sum(count * step_bytes(work, rows) for count, rows in work.batches())
    return moved / gpu.bandwidth


def filling_heads(
    work: Workload, gpu: Gpu, fraction: float, *, launches: int, launch: float, precision: str = "float32"
) -> float:
    """Return the heads that a bank needs so that beginning its operations takes no longer than their work.

    Parameters
    ----------
    launches, launch : operations of a step, and seconds to begin one; assumed for a GPU.
    """
    rows = min(work.batch_size, work.samples)
    arithmetic = step_flops(work, rows) / (fraction * gpu.tflops[precision] * 1e12)
    return launches * launch / max(arithmetic, step_bytes(work, rows) / gpu.bandwidth)
