"""What the archive of 6,000 runs takes from beginning to end, from a few of its chunks.

Of every method, chunks of ``configs/archive.yaml`` are trained as a study trains them, on the shipped
banks. They are drawn by size: a chunk is as likely as its share of the method's work, which the plan knows,
so that the mean of seconds per unit of work, times the work of the archive, is an unbiased estimate of all
its seconds. Its standard error comes from how far the sampled chunks differ in seconds per unit of work;
the time of the sample itself is one reading of the clock each.

To make the sample affordable, a chunk is trained for a fifth of the epochs, and for a fifth of those of its
cross-validation, with warm-up, decay and scoring at the same shares; the seconds in training count five
times, and the others once. On a GPU the archive can be run whole as well, which is the number that counts
there.

A second pass over every other chunk of the sample, with a process per core, says how much slower one is
beside others.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from noisylib.devices import usable_cores
from noisylib.methods import make_method
from noisylib.recipe import Recipe
from noisylib.seeding import numpy_generator
from noisylib.study.config import StudyConfig, load_config
from noisylib.study.method_spec import MethodSpec
from noisylib.study.plan import Chunk, plan_study
from noisylib.study.runner import run_chunk, run_study, train_chunks

ROOT = Path(__file__).parents[1]
CONFIG, TABLE = ROOT / "configs" / "archive.yaml", ROOT / "results" / "archive.json"


@dataclass(frozen=True)
class Setting:
    """What is sampled.

    Attributes
    ----------
    shorter : factor by which epochs are cut, and the seconds in training multiplied.
    chunks : of each method.
    jobs : processes of the second pass; 0 for one per core.
    """

    shorter: int = 5
    chunks: int = 4
    jobs: int = 0


QUICK_METHODS, QUICK_DATASETS = ("ce", "elr"), ("breastmnist",)


@dataclass(frozen=True)
class Sampled:
    """One chunk of the sample: seconds with all its epochs, in all and in training."""

    chunk: Chunk
    seconds: float
    training: float

    @property
    def per_run(self) -> float:
        """Seconds per run."""
        return self.seconds / len(self.chunk.runs)


def shortened(config: StudyConfig, factor: int) -> StudyConfig:
    """Return the study with fewer epochs, of which the same share warms up, decays and is scored."""
    epochs, scored = config.recipe.epochs // factor, config.recipe.score_epochs // factor
    fewer = replace(config.recipe, epochs=epochs, score_epochs=max(1, scored))
    return replace(config, recipe=fewer, methods=tuple(_fewer_folds(m, factor) for m in config.methods))


def _fewer_folds(method: MethodSpec, factor: int) -> MethodSpec:
    epochs = getattr(make_method(method.name), "fold_epochs", None)
    if epochs is None:
        return method
    options = {**dict(method.options), "fold_epochs": max(1, epochs // factor)}
    return replace(method, options=tuple(sorted(options.items())))


def draw(chunks: Sequence[Chunk], n: int, method: str) -> list[Chunk]:
    """Return n chunks, drawn in even steps along their summed cost; a long one may come twice."""
    ends = np.cumsum([chunk.cost for chunk in chunks])
    start = numpy_generator("benchmark", "archive", method).random()
    points = (np.arange(n) + start) / n * ends[-1]
    return [chunks[i] for i in np.searchsorted(ends, points, side="right").clip(max=len(chunks) - 1)]


def train(chunk: Chunk, shorter: int, device: str) -> Sampled:
    """Train one chunk in this process. What it takes beside training is the same with all epochs."""
    start = time.perf_counter()
    rows = run_chunk(chunk, None, device)
    wall = time.perf_counter() - start
    training = sum(row["seconds"] for row in rows)
    return Sampled(chunk, wall - training + shorter * training, shorter * training)


@dataclass(frozen=True)
class Estimate:
    """Seconds of all chunks of a method, and the standard error of that."""

    seconds: float
    error: float

    @classmethod
    def of(cls, sample: Sequence[Sampled], work: float) -> Estimate:
        """Return the estimate from a sample drawn by cost, for chunks of summed cost `work`."""
        speeds = [one.seconds / one.chunk.cost for one in sample]
        spread = statistics.stdev(speeds) / math.sqrt(len(speeds)) if len(speeds) > 1 else 0.0
        return cls(work * statistics.fmean(speeds), work * spread)


def recorded(path: Path = TABLE) -> dict[str, object] | None:
    """Return what the provenance of the archived table says its runs took; None without a table."""
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    sessions = [one for study in record["studies"].values() for one in study["sessions"]]
    return {
        **{key: record[key] for key in ("wall_seconds", "core_seconds", "runs", "made", "device", "cores")},
        "jobs": max((session["jobs"] for session in sessions), default=None),
    }


def run(quick: bool, device: torch.device, *, whole: bool = False) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``; `whole` also runs every chunk."""
    config = load_config(CONFIG)
    if quick:
        methods = tuple(m for m in config.methods if m.name in QUICK_METHODS)
        config = replace(
            config, methods=methods, datasets=QUICK_DATASETS, seeds=config.seeds[:2],
            recipe=Recipe(epochs=2, score_epochs=1),
        )  # fmt: skip
        return measure(config, Setting(shorter=2, chunks=2, jobs=1), device, whole=whole)
    return measure(config, Setting(), device, whole=whole or device.type == "cuda")


def measure(
    config: StudyConfig, setting: Setting, device: torch.device, *, whole: bool = False
) -> dict[str, object]:
    """Return seconds and estimates, under keys that start with ``archive.``."""
    where, cpu = str(device), device.type == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_study(shortened(config, setting.shorter), folder, device=where, create=False)
    chunks = plan.chunks
    work = dict.fromkeys((m.label for m in config.methods), 0.0)
    for chunk in chunks:
        work[_method(chunk)] += chunk.cost
    drawn = {
        name: draw([chunk for chunk in chunks if _method(chunk) == name], setting.chunks, name)
        for name in work
    }
    for name in drawn:  # what is imported or built on first use is paid once in 6,000 runs
        run_chunk(min((c for c in chunks if _method(c) == name), key=lambda c: c.cost), None, where)
    sample = {name: [train(c, setting.shorter, where) for c in drawn[name]] for name in drawn}
    estimates = {name: Estimate.of(sample[name], work[name]) for name in work}
    jobs = (setting.jobs or usable_cores()) if cpu else 1
    slower = beside_others(sample, setting, jobs) if jobs > 1 else 1.0
    seconds = sum(e.seconds for e in estimates.values())
    runs = plan.total / len(work)
    results = {
        "archive.seconds_per_run": {
            name: _summary(sample[name], estimates[name].seconds / runs) for name in work
        },
        "archive.estimated_seconds": seconds,
        "archive.standard_error_seconds": math.hypot(*(e.error for e in estimates.values())),
        "archive.jobs": jobs,
        "archive.slower_beside_others": slower,
        "archive.estimated_wall_seconds": seconds * slower / jobs,
        "archive.recorded": recorded(),
        "archive.setting": {
            **asdict(setting),
            "runs": plan.total,
            "chunks_of_study": len(chunks),
            "runs_trained": sum(len(c.runs) for cs in drawn.values() for c in cs),
            "epochs": config.recipe.epochs,
            "epochs_trained": config.recipe.epochs // setting.shorter,
        },
    }
    if whole:
        results["archive.whole"] = run_whole(config, where, jobs)
    return results


def _method(chunk: Chunk) -> str:
    return chunk.runs[0].method.label


def _summary(sample: Sequence[Sampled], mean: float) -> dict[str, object]:
    """Return seconds per run over the sampled chunks, and their estimated mean over all runs."""
    every = [one.per_run for one in sample]
    return {
        "title": sample[0].chunk.runs[0].method.rule.title,
        "mean": mean,
        "min": min(every),
        "median": statistics.median(every),
        "max": max(every),
        "all": every,
        "banks": [f"{one.chunk.runs[0].dataset}-{one.chunk.runs[0].backbone}" for one in sample],
    }


def beside_others(sample: dict[str, list[Sampled]], setting: Setting, jobs: int) -> float:
    """Return how much longer chunks train when a process per core works on them, longest first."""
    every = [one for several in sample.values() for one in several[::2]]
    every.sort(key=lambda one: -one.seconds)
    together = 0.0
    for _, rows in train_chunks([one.chunk for one in every], jobs=jobs):
        together += setting.shorter * sum(row["seconds"] for row in rows)
    return together / sum(one.training for one in every)


def run_whole(config: StudyConfig, device: str, jobs: int) -> dict[str, object]:
    """Run every chunk with all its epochs into a folder that is thrown away, and return the wall time."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        plan = plan_study(config, folder, device=device)
        run_study(plan, folder, jobs=jobs, device=device)
        return {"wall_seconds": time.perf_counter() - start, "runs": plan.total, "jobs": jobs}


def table(results: dict[str, object]) -> str:
    """Return estimates and record as text, one method per line."""
    s, error = results["archive.setting"], results["archive.standard_error_seconds"]
    lines = [
        f"the study archive, {s['runs']} runs, from {s['chunks']} chunks of each method, "
        f"{s['epochs_trained']} of {s['epochs']} epochs: seconds per run",
        "",
        f"{'':36}{'estimated mean':>15}{'min':>9}{'max':>9}",
    ]
    for row in results["archive.seconds_per_run"].values():
        lines.append(f"{row['title']:36}{row['mean']:15.3f}{row['min']:9.3f}{row['max']:9.3f}")
    seconds, wall = results["archive.estimated_seconds"], results["archive.estimated_wall_seconds"]
    lines += [
        "",
        f"one process: {seconds / 60:.1f} min, standard error {error / 60:.1f}; {results['archive.jobs']} "
        f"process(es): {wall / 60:.1f} min, a chunk being {results['archive.slower_beside_others']:.2f} x as "
        "long beside others",
    ]
    if (whole := results.get("archive.whole")) is not None:
        lines.append(
            f"all {whole['runs']} runs, run: {whole['wall_seconds'] / 60:.1f} min in "
            f"{whole['jobs']} process(es)"
        )
    if (was := results["archive.recorded"]) is not None:
        lines.append(
            f"the archived table: {was['wall_seconds'] / 60:.1f} min in {was['jobs']} process(es), "
            f"{was['core_seconds'] / 60:.1f} min of training"
        )
    return "\n".join(lines)
