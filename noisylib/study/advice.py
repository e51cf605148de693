"""The experiment `advice`: what every method that can be recommended scores, told nothing that nobody knows.

The archive already has most of these methods on whole banks, as they are: those runs are not trained again,
and `noisylib.study.advice_rows` joins the two tables. New are, on the archive's own noisy labels, the methods
that a study tells something (here it is estimated, or left out) and TURN-head; and all methods on parts of
the banks and on Gaussian beds. Co-teaching's rate comes from the shipped rule, which knows these kinds of
images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from noisylib.candidates import CANDIDATES, Candidate
from noisylib.heads import HeadBank
from noisylib.noise import NoisyLabels
from noisylib.noise_estimate import estimate_noise
from noisylib.noise_rate import shipped_rule
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.study.advice_variants import (
    SEEDS,
    SOURCE_COLUMNS,
    Run,
    Samples,
    Source,
    noisy_labels,
    run_groups,
    samples_of,
    source_columns,
    sources,
)
from noisylib.study.conditions import evidence_on
from noisylib.study.experiment_tables import Column
from noisylib.study.experiments import Experiment, Rows, Task
from noisylib.training import train_bank

HEAD = "adapter"  # that of the archive, and the default of everything that trains one head
ARCHIVED = ("ce", "ls", "gce", "forward", "elr", "cufit")  # as they are, in results/archive.parquet
# A rate of 0 would make Co-teaching keep everything, and one beyond this leave it too little to learn from.
LOWEST_RATE, HIGHEST_RATE = 0.01, 0.6


@dataclass(frozen=True)
class Condition:
    """One candidate on one training set: every seed x noise is a run.

    Attributes
    ----------
    candidate : key of `CANDIDATES`.
    options : its hyper-parameters that are not the method's defaults.
    source : the training set.
    noises : kind and rate of each label noise.
    seeds : each sets the noise draw, the start of the heads and the batch order.
    calibration : digest of the rule that estimates the noise rate; "" for methods that are given none.
    """

    candidate: str
    options: tuple[tuple[str, float], ...]
    source: Source
    noises: tuple[tuple[str, float], ...]
    seeds: tuple[int, ...] = SEEDS
    head: str = HEAD
    recipe: Recipe = field(default_factory=Recipe)
    calibration: str = ""


def tasks() -> list[Task]:
    """Return one task per training set and candidate, but for those that the archive has."""
    calibration = calibration_digest()
    return [
        task_of(source, candidate, calibration)
        for source in sources()
        for candidate in CANDIDATES.values()
        if not (source.archived and candidate.key in ARCHIVED)
    ]


def task_of(source: Source, candidate: Candidate, calibration: str = "") -> Task:
    """Return the task of one candidate on one training set."""
    condition = Condition(
        candidate.key,
        candidate.options,
        source,
        source.noises,
        calibration=calibration if candidate.given else "",
    )
    return Task(f"{source.name}-{candidate.key}", source.dataset, source.backbone, condition)


def calibration_digest() -> str:
    """Return 16 hex digits of all that turns descriptors into a noise rate."""
    rule = shipped_rule()
    arrays = (rule.mean, rule.scale, rule.weight, rule.lowest, rule.highest)
    content = [rule.names, *(array.tolist() for array in arrays), rule.intercept]
    return sha256(json.dumps(content).encode()).hexdigest()[:16]


def run(task: Task, banks: str | None) -> Rows:
    """Train all runs of a task, some at a time, and return a row for each."""
    condition, rows = task.condition, []
    samples = samples_of(condition.source, banks)
    candidate = CANDIDATES[condition.candidate]
    for runs in run_groups(condition.noises, condition.seeds, candidate.method.n_nets):
        noise = [noisy_labels(condition.source, samples, *one) for one in runs]
        given = given_rates(samples, noise, runs) if candidate.given else None
        result = train_bank(
            samples.X,
            np.stack([labels.y_noisy for labels in noise]),
            samples.X_test,
            samples.y_test,
            n_classes=samples.n_classes,
            method=candidate.method,
            head=condition.head,
            seeds=[seed for *_, seed in runs],
            noise_rates=given,
            recipe=condition.recipe,
            device="cpu",  # so that rows do not depend on whether a machine has a GPU
        )
        rows += [
            _row(condition, samples, one, noise[r], result, r, np.nan if given is None else given[r])
            for r, one in enumerate(runs)
        ]
    return {"advice": rows}


def given_rates(samples: Samples, noise: list[NoisyLabels], runs: list[Run]) -> list[float]:
    """Return the noise rate of each run as it is estimated from features and observed labels."""
    found = evidence_on(samples, noise, runs)
    return [float(np.clip(estimate_noise(e).rate, LOWEST_RATE, HIGHEST_RATE)) for e in found]


def _row(
    condition: Condition,
    samples: Samples,
    run: Run,
    noise: NoisyLabels,
    result: RunResults,
    r: int,
    given: float,
) -> dict[str, object]:
    return source_columns(condition.source, samples, noise, condition.head, run) | {
        "candidate": condition.candidate,
        "accuracy": float(result.accuracy[r]),
        "balanced_accuracy": float(result.balanced_accuracy[r]),
        "dead_classes": int(result.dead_classes[r]),
        "recall": result.recall[r],
        "given_rate": given,
    }


def cost(task: Task, banks: str | None) -> float:
    """Return the floating-point operations of a task's training."""
    condition, samples = task.condition, samples_of(task.condition.source, banks)
    method, (N, D) = CANDIDATES[condition.candidate].method, samples.X.shape
    step = sum(
        count * HeadBank(kind, [0], D, samples.n_classes, width=condition.recipe.width).flops_per_sample()
        for kind, count in method.head_kinds(condition.head)
    )
    runs = len(condition.noises) * len(condition.seeds)
    return runs * method.step_cost * condition.recipe.epochs * N * step


TABLE = SOURCE_COLUMNS | {
    "candidate": Column("str"),
    "accuracy": Column("float"),
    "balanced_accuracy": Column("float"),
    "dead_classes": Column("int"),
    "recall": Column("floats"),
    "given_rate": Column("float", nan=True),
}

EXPERIMENT = Experiment(
    name="advice",
    description="Scores of the methods that can be recommended, told nothing that nobody knows: DivideMix, "
    "TURN-head and Co-teaching on the conditions of the archive, all nine on parts of the banks and on "
    "Gaussian beds.",
    version=1,
    tables={"advice": TABLE},
    tasks=tasks,
    run=run,
    cost=cost,
)
