"""The experiment `conditions`: what features and observed labels say about every condition of `advice`.

One row per training set, noise and seed: descriptors that anyone can compute, and beside them the truth that
only a planted noise has, from which the estimate of the noise and the choice of a method are fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.descriptors import DESCRIPTORS, Descriptors, describe
from noisylib.evidence import FOLDS, Evidence, collect_evidence
from noisylib.noise import NoisyLabels
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
from noisylib.study.experiment_tables import Column
from noisylib.study.experiments import Experiment, Rows, Task

HEAD = "linear"  # of the cross-validation that the evidence comes from


@dataclass(frozen=True)
class Condition:
    """One training set under all its label noises.

    Attributes
    ----------
    source : the training set.
    noises : kind and rate of each label noise.
    seeds : each sets the noise draw, and the folds, the start and the batch order of the heads.
    folds : parts of the cross-validation.
    """

    source: Source
    noises: tuple[tuple[str, float], ...]
    seeds: tuple[int, ...] = SEEDS
    folds: int = FOLDS


def tasks() -> list[Task]:
    """Return one task per training set."""
    return [
        Task(source.name, source.dataset, source.backbone, Condition(source, source.noises))
        for source in sources()
    ]


def run(task: Task, banks: str | None) -> Rows:
    """Collect the evidence on all runs of a task and return a row for each."""
    condition, rows = task.condition, []
    samples = samples_of(condition.source, banks)
    for runs in run_groups(condition.noises, condition.seeds):
        noise = [noisy_labels(condition.source, samples, *one) for one in runs]
        found = evidence_on(samples, noise, runs, condition.folds)
        rows += [
            _row(condition.source, samples, one, labels, describe(samples.X, evidence))
            for one, labels, evidence in zip(runs, noise, found, strict=True)
        ]
    return {"conditions": rows}


def evidence_on(
    samples: Samples, noise: list[NoisyLabels], runs: list[Run], folds: int = FOLDS
) -> list[Evidence]:
    """Return the evidence on the labels of some runs, the same in every experiment that asks for it."""
    return collect_evidence(
        samples.X,
        np.stack([labels.y_noisy for labels in noise]),
        samples.n_classes,
        seeds=[seed for *_, seed in runs],
        folds=folds,
        device="cpu",  # so that rows do not depend on whether a machine has a GPU
    )


def _row(
    source: Source, samples: Samples, run: Run, noise: NoisyLabels, found: Descriptors
) -> dict[str, object]:
    return (
        source_columns(source, samples, noise, HEAD, run)
        | found.scalars()
        | found.class_lists()
        | {
            "class_true_counts": samples.class_counts,
            "class_flip_rate": 1 - np.diag(noise.realised_T),
            "class_true_purity": noise.purity,
        }
    )


def cost(task: Task, banks: str | None) -> float:
    """Return the multiplications of a task: of the heads of all folds, and of the search for neighbours."""
    condition, samples = task.condition, samples_of(task.condition.source, banks)
    (N, D), runs = samples.X.shape, len(condition.noises) * len(condition.seeds)
    epochs, groups = 50, len(run_groups(condition.noises, condition.seeds))
    return 6.0 * runs * condition.folds * epochs * N * D * samples.n_classes + 2.0 * groups * N * N * D


TABLE = (
    SOURCE_COLUMNS
    | {name: Column("float") for name in DESCRIPTORS}
    | {
        "class_counts": Column("ints"),  # of observed labels
        "class_agreement": Column("floats"),
        "class_recall": Column("floats"),
        "class_purity": Column("floats"),
        "class_true_counts": Column("ints"),
        "class_flip_rate": Column("floats"),  # of each true class
        "class_true_purity": Column("floats", nan=True),  # of a class that nobody is labelled with
    }
)

EXPERIMENT = Experiment(
    name="conditions",
    description="What features and observed labels say about each condition of the experiment advice, and "
    "the noise that was planted there.",
    version=1,
    tables={"conditions": TABLE},
    tasks=tasks,
    run=run,
    cost=cost,
)
