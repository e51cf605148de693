"""Runs a study: conditions become chunks, chunks become rows, and what is done is not done again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import noisylib
from noisylib.data.catalog import dataset_info
from noisylib.errors import NoisylibError
from noisylib.features.bank import FeatureBank, load_bank
from noisylib.heads import HeadBank
from noisylib.methods import Method
from noisylib.noise import NoisyLabels, inject, told
from noisylib.recipe import Recipe
from noisylib.study.config import RunSpec, StudyConfig, load_config
from noisylib.study.store import ResultStore
from noisylib.training import RunResults, train_bank
from noisylib.validation import check_views

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# More heads than this in one chunk gain nothing on a CPU core, and cost cache, progress and balance.
CPU_HEADS = 32


@dataclass(frozen=True)
class Chunk:
    """Runs of one (dataset, backbone, method, head) that are trained as one bank."""

    runs: tuple[RunSpec, ...]
    run_ids: tuple[str, ...]
    cost: float
    reference_backbone: str


@dataclass(frozen=True)
class Plan:
    """What a study asks for and what is left of it."""

    config: StudyConfig
    run_ids: list[str]
    chunks: list[Chunk]

    @property
    def total(self) -> int:
        """Number of runs of the study."""
        return len(self.run_ids)

    @property
    def missing(self) -> int:
        """Number of runs without a row."""
        return sum(len(chunk.runs) for chunk in self.chunks)

    @property
    def cost(self) -> float:
        """Floating-point operations of the missing runs."""
        return sum(chunk.cost for chunk in self.chunks)


def plan_study(
    config: str | Path | StudyConfig,
    results: str | Path = "results",
    *,
    banks: str | Path | None = None,
    device: str = "cpu",
    extend: bool = False,
    create: bool = True,
) -> Plan:
    """Return the runs of a study and the chunks that are missing, longest first.

    `extend` accepts a results folder of another configuration; `create` False writes nothing.
    """
    config, root = load_config(config), None if banks is None else str(banks)
    loaded = config.load_banks(banks)
    store = ResultStore(config, results)
    store.open(extend=extend, create=False)
    done = store.done()
    ids = {run: run.run_id(loaded[run.dataset, run.backbone].checksum) for run in config.runs()}
    left = [run for run, run_id in ids.items() if run_id not in done]
    chunks = []
    for (dataset, backbone, method, head), members in groupby(
        left, key=lambda run: (run.dataset, run.backbone, run.method, run.head)
    ):
        bank = loaded[dataset, backbone]
        rule, runs = method.rule, list(members)
        if type(rule).check_labels is not Method.check_labels:  # found here, not hours later
            noise = _noise_of(runs, bank, config.reference_backbone, root)
            rule.check_labels(np.stack([labels.y_noisy for labels in noise]), bank.n_classes)
        if bank.views is not None:
            check_views(bank.views, rule)
        cost = _flops(rule, head, bank, config.recipe)
        for part in _split_by_seed(runs, max(rule.n_nets, 1), device):
            chunk_ids = tuple(ids[run] for run in part)
            chunks.append(Chunk(tuple(part), chunk_ids, cost * len(part), config.reference_backbone))
    store.open(extend=extend, create=create)  # last: a study that cannot run leaves nothing behind
    return Plan(config, list(ids.values()), sorted(chunks, key=lambda chunk: -chunk.cost))


def _flops(rule: Method, head: str, bank: FeatureBank, recipe: Recipe) -> float:
    """Floating-point operations of one run."""
    samples = len(bank.indices("train"))
    if not rule.n_nets:
        return 2 * samples * bank.n_samples * bank.n_features  # distances
    step = sum(
        count * HeadBank(kind, [0], bank.n_features, bank.n_classes, width=recipe.width).flops_per_sample()
        for kind, count in rule.head_kinds(head)
    )
    return rule.step_cost * recipe.epochs * samples * step


def _split_by_seed(runs: list[RunSpec], nets: int, device: str) -> Iterator[list[RunSpec]]:
    """Yield groups of whole seeds; on a CPU at most CPU_HEADS heads each where a seed allows it."""
    group: list[RunSpec] = []
    for _, of_seed in groupby(runs, key=lambda run: run.seed_train):
        seed_runs = list(of_seed)
        if group and device == "cpu" and nets * (len(group) + len(seed_runs)) > CPU_HEADS:
            yield group
            group = []
        group = group + seed_runs
    yield group


def estimate_seconds(plan: Plan, jobs: int, device: str = "cpu") -> float:
    """Return the expected wall time of the missing runs, from a short measured training."""
    if not plan.chunks:
        return 0.0
    rng = np.random.default_rng(0)
    runs, n, width, classes = 30, 1024, 192, 7
    X, y = rng.standard_normal((n, width)), rng.integers(0, classes, (runs, n))
    recipe = Recipe(epochs=2, score_epochs=1)
    with _one_thread():
        # Twice, because the first one also pays for what torch loads when an optimiser is first made.
        seconds = [
            train_bank(
                X, y, X[:classes], np.arange(classes), n_classes=classes, seeds=[r % 3 for r in range(runs)],
                recipe=recipe, device=device,
            ).seconds
            for _ in range(2)
        ]  # fmt: skip
    flops = runs * n * recipe.epochs * HeadBank("adapter", [0], width, classes).flops_per_sample()
    return plan.cost / flops * min(seconds) / max(1, min(jobs, len(plan.chunks)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two torch threads that spin beside another process were seen to be ten times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=4)
def _bank(dataset: str, backbone: str, banks: str | None) -> FeatureBank:
    return load_bank(dataset, backbone, banks)


def run_noise(run: RunSpec, bank: FeatureBank, reference: np.ndarray | None = None) -> NoisyLabels:
    """Return the noisy training labels of a run; they depend on dataset, noise and seed_noise only."""
    class_map = None
    if run.noise_type == "asymmetric":
        class_map = dataset_info(run.dataset).map_indices(run.class_map, bank.class_names)
    return inject(
        bank.labels[bank.indices("train")],
        run.noise_type,
        run.noise_rate,
        n_classes=bank.n_classes,
        seed=run.seed_noise,
        dataset=run.dataset,
        class_map=class_map,
        features=reference,
    )


def _noise_of(
    runs: Sequence[RunSpec], bank: FeatureBank, reference_backbone: str, banks: str | None
) -> list[NoisyLabels]:
    reference = None
    if any(run.noise_type == "instance" for run in runs):
        reference = _bank(runs[0].dataset, reference_backbone, banks).part("train")[0]
    return [run_noise(run, bank, reference) for run in runs]


def run_chunk(chunk: Chunk, banks: str | None, device: str) -> list[dict[str, Any]]:
    """Train one chunk and return its rows. Runs in a worker process."""
    first = chunk.runs[0]
    bank = _bank(first.dataset, first.backbone, banks)
    noise = _noise_of(chunk.runs, bank, chunk.reference_backbone, banks)
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
        "noise_rate": run.noise_rate,
        "realised_rate": noise.realised_rate,
        "class_map": run.class_map if run.noise_type == "asymmetric" else "",
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
    on_chunk: Callable[[Chunk, float], None] | None = None,
) -> None:
    """Train the missing chunks; each is on disk before the next is reported.

    Parameters
    ----------
    plan : from `plan_study`.
    jobs : worker processes, one torch thread each. 1 trains in this process.
    on_chunk : called with each finished chunk and the seconds since the start.

    Raises
    ------
    NoisylibError
        A worker process was killed from outside. WriteError if a chunk cannot be written.
    """
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    store = ResultStore(plan.config, results)
    if not plan.chunks:
        return
    banks = None if banks is None else str(banks)
    started = time.perf_counter()
    jobs = max(1, min(jobs, len(plan.chunks)))
    with _one_thread():
        work = (joblib.delayed(_work)(i, chunk, banks, device) for i, chunk in enumerate(plan.chunks))
        with joblib.parallel_config("loky" if jobs > 1 else "sequential", inner_max_num_threads=None):
            done = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(work)
            try:
                for i, rows in done:
                    store.add([{"study": plan.config.name, **row} for row in rows])
                    if on_chunk is not None:
                        on_chunk(plan.chunks[i], time.perf_counter() - started)
            except TerminatedWorkerError as error:
                raise NoisylibError(
                    "a worker process was killed, most often because memory ran out. Finished chunks are "
                    f"safe: run the same command again, with fewer --jobs than {jobs}."
                ) from error


def _work(position: int, chunk: Chunk, banks: str | None, device: str) -> tuple[int, list[dict[str, Any]]]:
    torch.set_num_threads(1)
    return position, run_chunk(chunk, banks, device)


def collect(
    config: str | Path | StudyConfig,
    results: str | Path = "results",
    *,
    banks: str | Path | None = None,
    partial: bool = False,
) -> pd.DataFrame:
    """Return the table of a study, one row per run in the order of `StudyConfig.runs`.

    Raises
    ------
    ConfigError
        Runs are missing and `partial` is False.
    """
    config = load_config(config)
    checksums = {key: bank.checksum for key, bank in config.load_banks(banks).items()}
    runs = {run.run_id(checksums[run.dataset, run.backbone]): run for run in config.runs()}
    table = ResultStore(config, results).rows(runs, partial=partial)
    # What a rule is called is the configuration's business, also for rows made under an older name.
    table["method"] = [runs[run_id].method.label for run_id in table["run_id"]]
    return table


def default_jobs() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
