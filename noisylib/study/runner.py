"""Trains the chunks of a study, in this process or in several, and reads its rows back as one table."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import noisylib
from noisylib.devices import pick_device, usable_cores
from noisylib.errors import NoisylibError
from noisylib.heads import HeadBank
from noisylib.noise import NoisyLabels, told
from noisylib.recipe import Recipe
from noisylib.study.capacity import memory_need
from noisylib.study.config import RunSpec, StudyConfig, load_config
from noisylib.study.engines import Engine, Work
from noisylib.study.inputs import cached_bank, noise_of
from noisylib.study.plan import Chunk, Plan, checksums, run_ids
from noisylib.study.processes import Processes, one_thread
from noisylib.study.store import ResultStore
from noisylib.study.tables import COLUMNS
from noisylib.training import RunResults, train_bank

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def estimate_seconds(plan: Plan, jobs: int, device: str = "cpu") -> float:
    """Return the expected wall time of the missing runs, from a short measured training."""
    if not plan.chunks:
        return 0.0
    rng = np.random.default_rng(0)
    runs, n, width, classes = 30, 1024, 192, 7
    X, y = rng.standard_normal((n, width)), rng.integers(0, classes, (runs, n))
    recipe = Recipe(epochs=2, score_epochs=1)
    with one_thread():
        # Twice, because the first one also pays for what torch loads when it is first used.
        seconds = [
            train_bank(
                X, y, X[:classes], np.arange(classes), n_classes=classes, seeds=[r % 3 for r in range(runs)],
                recipe=recipe, device=device,
            ).seconds
            for _ in range(2)
        ]  # fmt: skip
    flops = runs * n * recipe.epochs * HeadBank("adapter", [0], width, classes).flops_per_sample()
    return plan.cost / flops * min(seconds) / max(1, min(jobs, len(plan.chunks)))


def run_chunk(
    chunk: Chunk, banks: str | None, device: str, memory_limit: int | None = None
) -> list[dict[str, Any]]:
    """Train one chunk and return its rows. Runs in a worker, which resolves the device "auto" for itself."""
    first, device = chunk.runs[0], str(pick_device(device))
    bank = cached_bank(
        first.dataset, first.backbone, banks, memory_limit=memory_limit, checksum=chunk.checksum
    )
    noise = noise_of(
        chunk.runs, bank, chunk.reference_backbone, banks,
        memory_limit=memory_limit, checksum=chunk.reference_checksum,
    )  # fmt: skip
    kept, training_of = _distinct(chunk.runs, noise)
    result = train_bank(
        bank.part("train")[0],
        np.stack([noise[r].y_noisy for r in kept]),
        *bank.part("test"),
        n_classes=bank.n_classes,
        method=first.method.rule,
        head=first.head,
        seeds=[chunk.runs[r].seed_train for r in kept],
        **told([noise[r] for r in kept]),
        views=bank.training_views(),
        recipe=first.recipe,
        device=device,
        precision=first.precision,
        memory_limit=memory_limit,
    )
    return [_row(chunk, r, noise[r], result, training_of[r], device) for r in range(len(chunk.runs))]


def _distinct(runs: tuple[RunSpec, ...], noise: list[NoisyLabels]) -> tuple[list[int], list[int]]:
    """Return the runs to train, and for each run which of them it equals.

    Runs of one seed with the same labels are one training: rate 0 is the same under every noise type.
    """
    first: dict[tuple[int, bytes], int] = {}
    same = [
        first.setdefault((run.seed_train, n.y_noisy.tobytes()), r)
        for r, (run, n) in enumerate(zip(runs, noise, strict=True))
    ]
    kept = list(first.values())
    return kept, [kept.index(r) for r in same]


def _row(
    chunk: Chunk, r: int, noise: NoisyLabels, result: RunResults, trained: int, device: str
) -> dict[str, Any]:
    run = chunk.runs[r]
    return {
        "run_id": chunk.run_ids[r],
        "dataset": run.dataset,
        "backbone": run.backbone,
        "noise_type": run.noise_type,
        "noise_rate": noise.noise_rate,
        "realised_rate": noise.realised_rate,
        "class_map": run.class_map if run.noise_type in ("asymmetric", "human") else "",
        "method": run.method.label,
        "head": run.head,
        "seed_noise": run.seed_noise,
        "seed_train": run.seed_train,
        "accuracy": float(result.accuracy[trained]),
        "balanced_accuracy": float(result.balanced_accuracy[trained]),
        "dead_classes": int(result.dead_classes[trained]),
        "views": result.views,
        "recall": result.recall[trained].tolist(),
        "epochs": run.recipe.epochs,
        "seconds": result.seconds / len(chunk.runs),
        "device": device,
        "version": noisylib.__version__,
        "torch_version": torch.__version__,
    }


def run_study(
    plan: Plan,
    results: str | Path = "results",
    *,
    jobs: int = 1,
    device: str = "cpu",
    banks: str | Path | None = None,
    memory_limit: int | None = None,
    engine: Engine | None = None,
    on_chunk: Callable[[Chunk, float], None] | None = None,
) -> None:
    """Train the missing chunks; each is on disk before the next is reported.

    Parameters
    ----------
    plan : from `plan_study`.
    jobs : worker processes, one thread each. 1 trains in this process; 0 takes as many as fit.
    memory_limit : bytes that features may take in each process, as `train_bank`; more stays on disk.
    engine : from `noisylib.study.engines.open_engine`, in place of `jobs` and `device`.
    on_chunk : called with each finished chunk and the seconds since the start.

    Raises
    ------
    NoisylibError
        A worker process was killed, or a cluster failed. WriteError if a chunk cannot be written.
    """
    store = ResultStore(plan.config, results)
    if not plan.chunks:
        return
    engine = sized(engine or Processes(jobs, device), plan, banks, memory_limit)
    session, runs = Session(engine, len(plan.chunks)), 0
    try:
        for chunk, rows in train_chunks(plan.chunks, engine=engine, banks=banks, memory_limit=memory_limit):
            store.add([{"study": plan.config.name, **row} for row in rows])
            runs += len(rows)
            if on_chunk is not None:
                on_chunk(chunk, session.seconds)
    finally:  # also what was done until Ctrl-C
        if runs:
            try:
                store.log(**session.entry(runs=runs))
            except NoisylibError as error:  # the rows are kept, and what ended the loop is worth more
                log.warning("this session is missing from the log of the study: %s", error)


def sized(engine: Engine, plan: Plan, banks: str | Path | None, memory_limit: int | None = None) -> Engine:
    """Tell an engine what memory the chunks of a plan take, and return it."""
    engine.need = memory_need(plan.chunks, banks, memory_limit)
    return engine


class Session:
    """One sitting of work, for the log: when it began, how long it took and on what."""

    def __init__(self, engine: Engine, items: int) -> None:
        self._began, self._started = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        self._engine, self._jobs = engine, max(1, min(engine.jobs, items))

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    def entry(self, **counts: int) -> dict[str, Any]:
        """Return the entry of the log; `counts` say what was done."""
        return {
            "began": self._began,
            "seconds": round(self.seconds, 3),
            **counts,
            "jobs": self._jobs,
            "device": self._engine.device_names,
            "cores": usable_cores(),
            **({} if self._engine.backend == "processes" else {"backend": self._engine.backend}),
        }


def train_chunks(
    chunks: Sequence[Chunk],
    *,
    jobs: int = 1,
    device: str = "cpu",
    banks: str | Path | None = None,
    memory_limit: int | None = None,
    engine: Engine | None = None,
) -> Iterator[tuple[Chunk, list[dict[str, Any]]]]:
    """Yield each chunk with its rows as it is finished; parameters and errors are those of `run_study`."""
    engine = engine or Processes(jobs, device)
    root = None if banks is None else str(Path(banks).absolute())  # workers may stand elsewhere
    yield from engine(
        Work(
            partial(run_chunk, banks=root, device=engine.device, memory_limit=memory_limit),
            "chunks",
            name=chunk_name,
            reads=_banks_of,
            root=root,
        ),
        chunks,
    )


def chunk_name(chunk: Chunk) -> str:
    """Return what people call a chunk."""
    first, seeds = chunk.runs[0], sorted({run.seed_train for run in chunk.runs})
    return (
        f"the chunk of {first.dataset}-{first.backbone}, {first.method.label}, head {first.head}, "
        f"seeds {', '.join(map(str, seeds))}"
    )


def _banks_of(chunk: Chunk) -> list[tuple[str, str]]:
    """Return (dataset, backbone) of the features that heads are trained on and that noise is made from."""
    first = chunk.runs[0]
    pairs = [(first.dataset, first.backbone)]
    if any(run.noise_type == "instance" for run in chunk.runs):
        pairs.append((first.dataset, chunk.reference_backbone))
    return list(dict.fromkeys(pairs))


def collect(
    config: str | Path | StudyConfig,
    results: str | Path = "results",
    *,
    banks: str | Path | None = None,
    partial: bool = False,
) -> pd.DataFrame:
    """Return the table of a study, one row per run in the order of `StudyConfig.runs`.

    Its columns are `noisylib.study.tables.COLUMNS`, whether rows come from chunk files or a collected table.

    Raises
    ------
    ConfigError
        Runs are missing and `partial` is False.
    """
    config = load_config(config)
    sums = checksums(config.load_banks(banks))
    runs = {run_id: run for run, run_id in run_ids(config, sums).items()}
    table = ResultStore(config, results).rows(runs, partial=partial, sums=sums)
    # What a rule is called is the configuration's business, also for rows made under an older name.
    table["method"] = [runs[run_id].method.label for run_id in table["run_id"]]
    table["seed"] = table["seed_train"]  # the name that people look for
    return table.reindex(columns=list(COLUMNS))
