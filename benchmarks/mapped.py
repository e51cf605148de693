"""What training costs when features stay on disk, beside the same training with features in memory.

A bank of float16 features is written to a temporary folder, in one file, and trained on twice in each round:
read into memory, and memory-mapped with a limit below what memory would take. The system has the file in
its cache by then, so that no disk is waited for: the numbers say what mapping, reading by batches and
z-scoring in every epoch cost, which is the least that features on disk can cost. What is timed is the
second of two epochs of one bank of runs that share a seed.

How fast rows are read is measured apart: those of an epoch's windows, in order, and then nothing is computed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.heads import Case, in_rounds
from benchmarks.workload import clock
from noisylib import mapped
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.recipe import Recipe
from noisylib.seeding import numpy_generator
from noisylib.training import train_bank


@dataclass(frozen=True)
class Setting:
    """Sizes: training samples, classes, runs of one seed, batch; and the cases, as (head, width).

    The first case of a head is the one that stands for it.
    """

    n_samples: int = 50_000
    n_classes: int = 7
    runs: int = 10
    batch_size: int = 128
    repeats: int = 5
    cases: tuple[tuple[str, int], ...] = (
        ("adapter", 192),
        ("linear", 768),
        ("adapter", 768),
        ("linear", 192),
    )


QUICK = replace(
    Setting(), n_samples=400, runs=2, batch_size=64, repeats=2, cases=(("adapter", 8), ("linear", 8))
)


def made_bank(s: Setting, width: int, folder: Path) -> Path:
    """Write a bank of made features, and return its file."""
    random, n = numpy_generator("benchmark", "mapped", width), s.n_samples + s.n_classes
    labels = np.r_[random.integers(0, s.n_classes, s.n_samples), np.arange(s.n_classes)]
    labels[: s.n_classes] = np.arange(s.n_classes)
    split = np.r_[np.zeros(s.n_samples), np.full(s.n_classes, 2)].astype(np.uint8)
    names = [f"class {k}" for k in range(s.n_classes)]
    path = folder / f"made-{width}.safetensors"
    features = random.standard_normal((n, width), dtype=np.float32)
    FeatureBank.from_arrays(features, labels, split, names, BankMeta("made", str(width))).save(path)
    return path


def epoch_seconds(s: Setting, bank: FeatureBank, head: str, limit: int | None, device: torch.device) -> float:
    """Train for two epochs and return the seconds of the second."""
    stamps: list[float] = []
    X, y = bank.part("train")
    train_bank(
        X,
        np.tile(y, (s.runs, 1)),
        *bank.part("test"),
        n_classes=s.n_classes,
        head=head,
        seeds=[0] * s.runs,
        recipe=Recipe(epochs=2, batch_size=s.batch_size, decay_at=(), score_epochs=1),
        device=str(device),
        memory_limit=limit,
        progress=lambda *_: stamps.append(clock(device)),
    )
    # A bank that is trained in parts reports the epochs of one part after the other.
    return sum(last - first for first, last in zip(stamps[::2], stamps[1::2], strict=True))


def read_rate(s: Setting, bank: FeatureBank, repeats: int) -> list[float]:
    """Return the MB/s at which the windows of an epoch are read, each time."""
    X, random = bank.part("train")[0], numpy_generator("benchmark", "windows")
    row = X.shape[1] * X.stored.itemsize
    window = max(1, mapped.WINDOW_BYTES // (row + 4 * X.shape[1]))
    out, rates = np.empty((window, X.shape[1]), dtype=X.stored), []
    for _ in range(repeats):
        order = random.permutation(s.n_samples)
        start = time.perf_counter()
        for first in range(0, s.n_samples, window):
            rows = np.sort(order[first : first + window])
            X.read(rows, out[: len(rows)])
        rates.append(s.n_samples * row / 1e6 / (time.perf_counter() - start))
    return rates


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Return seconds in memory and mapped, their ratio for each head, and how fast rows are read."""
    s, seconds, slowdown, by_width, rates = QUICK if quick else Setting(), {}, {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="noisylib-mapped-") as folder:
        for head, width in s.cases:
            path = made_bank(s, width, Path(folder))
            held, there = FeatureBank.load(path), FeatureBank.load(path, mapped=True)
            limit = there.features.nbytes  # less than the features take while they are z-scored
            cases = {
                "in memory": Case(
                    "in memory", 1, lambda b=held, h=head: epoch_seconds(s, b, h, None, device)
                ),
                "mapped": Case(
                    "mapped", 1, lambda b=there, h=head, m=limit: epoch_seconds(s, b, h, m, device)
                ),
            }
            in_rounds(cases.values(), s.repeats)
            name = f"{head}, D={width}"
            seconds[name] = {case: timed.summary() for case, timed in cases.items()}
            by_width[name] = cases["mapped"].median / cases["in memory"].median
            slowdown.setdefault(head, by_width[name])
            rates.setdefault(f"D={width}", read_rate(s, there, s.repeats))
            path.unlink()
    return {
        "mapped.slowdown": slowdown,
        "mapped.slowdown_by_width": by_width,
        "mapped.seconds": seconds,
        "mapped.read_mb_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "mapped.read_mb_per_second_all": rates,
        "mapped.setting": {**asdict(s), "page_cache": "warm"},
    }


def table(results: dict[str, object]) -> str:
    """Return the numbers as text."""
    s = results["mapped.setting"]
    lines = [
        f"features on disk, N={s['n_samples']}, {s['runs']} runs of a seed, batch {s['batch_size']}; the "
        "file is in the system's cache"
    ]
    for name, ratio in results["mapped.slowdown_by_width"].items():
        parts = {case: summary["median"] for case, summary in results["mapped.seconds"][name].items()}
        shown = ", ".join(f"{case} {value:.3f} s" for case, value in parts.items())
        lines.append(f"{name:16} an epoch {shown}: {ratio:.2f} x")
    for name, rate in results["mapped.read_mb_per_second"].items():
        lines.append(f"rows of an epoch's windows, {name}: read at {rate:.0f} MB/s")
    return "\n".join(lines)
