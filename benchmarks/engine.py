"""Times a study in one and two processes and on one and two Dask workers, and what a killed worker costs.

The study is a real one in a temporary folder: planned, trained and filed, with as many chunks of equal work
as there are seeds. What is compared is work: workers are started, and have imported what they need, before
the clock runs; what that takes stands beside. In each round every way trains the whole study once.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.seeding import numpy_generator
from noisylib.study import plan_study, run_study
from noisylib.study.cluster import DaskEngine
from noisylib.study.cluster_setup import local_cluster
from noisylib.study.config import StudyConfig, parse_config
from noisylib.study.engines import Engine, Work
from noisylib.study.plan import Plan
from noisylib.study.processes import Processes


@dataclass(frozen=True)
class Setting:
    """Sizes of the study and of the measurement.

    Attributes
    ----------
    chunks : one seed each, with a run for every noise rate.
    rounds : every way trains the study once in each.
    items : empty items, for what an item costs beside its work.
    """

    n_samples: int = 6000
    n_features: int = 192
    n_classes: int = 7
    noise_rates: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    epochs: int = 20
    chunks: int = 16
    rounds: int = 3
    items: int = 200


QUICK = Setting(
    n_samples=120, n_features=8, n_classes=3, noise_rates=(0.2,), epochs=2, chunks=4, rounds=1, items=8
)

WAYS = ("one process", "two processes", "one Dask worker", "two Dask workers")


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Return the numbers; this is about processes, and they train on the CPU whatever `device` is."""
    s = QUICK if quick else Setting()
    with tempfile.TemporaryDirectory(prefix="noisylib-benchmark-") as folder, ExitStack() as open_now:
        study = Study(s, Path(folder))
        engines, started = start(open_now)
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(s.rounds):
            for way in WAYS:
                seconds[way].append(study.seconds(engines[way]))
        medians = {way: statistics.median(each) for way, each in seconds.items()}
        killed = study.killed(engines["two Dask workers"])
        per_item = {way: empty(engines[way], s.items) for way in WAYS}
    single = [seconds["one process"], seconds["one Dask worker"]]
    double = [seconds["two processes"], seconds["two Dask workers"]]
    speedups = [statistics.median(np.divide(a, b)) for a, b in zip(single, double, strict=True)]
    return {
        "engine.speedup_two_processes": speedups[0],
        "engine.speedup_two_dask_workers": speedups[1],
        "engine.dask_to_process": medians["one Dask worker"] / medians["one process"],
        "engine.overhead_per_chunk_seconds": per_item["one Dask worker"],
        "engine.killed_worker": {
            **killed,
            "seconds_lost": killed["seconds"] - medians["two Dask workers"],
        },
        "engine.seconds": medians,
        "engine.seconds_raw": seconds,
        "engine.seconds_per_empty_item": per_item,
        "engine.seconds_to_start": started,
        "engine.setting": asdict(s),
    }


def start(open_now: ExitStack) -> tuple[dict[str, Engine], dict[str, float]]:
    """Return an engine for each way, warm, and the seconds that each took to start."""
    engines: dict[str, Engine] = {"one process": Processes(1), "two processes": Processes(2)}
    started = {}
    for way, workers in (("one Dask worker", 1), ("two Dask workers", 2)):
        began = time.perf_counter()
        engines[way] = DaskEngine(open_now.enter_context(local_cluster(workers)), way, "cpu")
        started[way] = time.perf_counter() - began
    for way in WAYS:
        began = time.perf_counter()
        list(engines[way](Work(_import), range(8)))
        started[way] = started.get(way, 0.0) + time.perf_counter() - began
    return engines, started


def empty(engine: Engine, items: int) -> float:
    """Return the seconds for an item that is no work."""
    began = time.perf_counter()
    for _ in engine(Work(_nothing), range(items)):
        pass
    return (time.perf_counter() - began) / items


@dataclass
class Study:
    """A made bank in a folder, and a study of it with a chunk for every seed."""

    setting: Setting
    folder: Path
    count: int = 0

    def __post_init__(self) -> None:
        s, random = self.setting, numpy_generator("benchmark", "engine")
        X = random.standard_normal((s.n_samples, s.n_features))
        y = np.arange(s.n_samples) % s.n_classes
        split = np.where(np.arange(s.n_samples) // s.n_classes % 5, 0, 2)  # every fifth of a class is test
        names = [f"class {k}" for k in range(s.n_classes)]
        bank = FeatureBank.from_arrays(X, y, split, names, BankMeta("made", "noise"))
        bank.save(self.folder / "made-noise.safetensors")

    def config(self) -> StudyConfig:
        """Return the study."""
        s = self.setting
        return parse_config(
            {
                "name": "engine", "datasets": ["made"], "backbones": ["noise"], "noise_types": ["symmetric"],
                "noise_rates": list(s.noise_rates), "methods": ["ce"], "seeds": list(range(s.chunks)),
                "recipe": {"epochs": s.epochs, "score_epochs": 1},
            }
        )  # fmt: skip

    def plan(self) -> tuple[Plan, Path]:
        """Return the study as new, in a chunk for each seed, and its folder of results."""
        self.count += 1
        results = self.folder / f"results{self.count}"
        plan = plan_study(self.config(), results, banks=self.folder)
        chunks = [part for chunk in plan.chunks for part in by_seed(chunk)]
        return replace(plan, chunks=chunks), results

    def seconds(self, engine: Engine) -> float:
        """Return the wall time of the study."""
        plan, results = self.plan()
        began = time.perf_counter()
        run_study(plan, results, banks=self.folder, engine=engine)
        return time.perf_counter() - began

    def killed(self, engine: Engine) -> dict[str, Any]:
        """Return how long the study takes, and how many chunks are begun again, if a worker is killed.

        The worker dies at the end of a chunk in the middle of the study, when most is lost.
        """
        plan, results = self.plan()
        marks = self.folder / "marks"
        marks.mkdir()
        victim = plan.chunks[len(plan.chunks) // 2].run_ids[0]
        began = time.perf_counter()
        run_study(plan, results, banks=self.folder, engine=Killing(engine, str(marks), victim))
        seconds = time.perf_counter() - began
        begun = len(list(marks.iterdir()))
        left = plan_study(self.config(), results, banks=self.folder)
        return {"chunks_repeated": begun - len(plan.chunks), "runs_missing": left.missing, "seconds": seconds}


def by_seed(chunk: Any) -> Iterator[Any]:
    """Yield the runs of each seed as a chunk of their own."""
    pairs = list(zip(chunk.runs, chunk.run_ids, strict=True))
    for seed in dict.fromkeys(one.seed_train for one in chunk.runs):
        runs, ids = zip(*(pair for pair in pairs if pair[0].seed_train == seed), strict=True)
        yield replace(chunk, runs=runs, run_ids=ids, cost=chunk.cost * len(runs) / len(pairs))


@dataclass
class Killing:
    """An engine whose worker is killed in the middle of one chunk, the first time."""

    engine: Engine
    marks: str
    victim: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __call__(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Compute the items by the engine behind."""
        yield from self.engine(
            replace(work, function=partial(_marked, work.function, self.marks, self.victim)), items
        )


def _marked(function: Any, marks: str, victim: str, chunk: Any) -> Any:
    first = not any(Path(marks).glob(f"{chunk.run_ids[0]}-*"))
    (Path(marks) / f"{chunk.run_ids[0]}-{time.time_ns()}").touch()
    rows = function(chunk)
    if first and chunk.run_ids[0] == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def _import(_: int) -> None:
    import noisylib.study.runner  # noqa: F401

    time.sleep(0.1)  # so that every worker has one


def _nothing(_: int) -> None:
    return None


def table(results: dict[str, Any]) -> str:
    """Return the lines for people."""
    seconds, killed = results["engine.seconds"], results["engine.killed_worker"]
    s = results["engine.setting"]
    start, item = results["engine.seconds_to_start"], results["engine.seconds_per_empty_item"]
    lines = [
        f"a study of {s['chunks']} chunks of {len(s['noise_rates'])} runs, s; to start; ms an empty item"
    ]
    lines += [
        f"  {way:<18}{seconds[way]:8.2f}{start[way]:8.2f}{1e3 * item[way]:8.2f}"
        for way in results["engine.seconds"]
    ]
    lines += [
        f"two processes against one: {results['engine.speedup_two_processes']:.2f} x",
        f"two Dask workers against one: {results['engine.speedup_two_dask_workers']:.2f} x; one Dask worker "
        f"takes {results['engine.dask_to_process']:.2f} x as long as one process",
        f"a worker killed in mid-study: {killed['chunks_repeated']} chunks again, "
        f"{killed['seconds_lost']:.1f} s lost, {killed['runs_missing']} runs missing",
    ]
    return "\n".join(lines)
