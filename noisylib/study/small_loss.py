"""The experiment behind the chapters on overlapping losses and on finding clean samples.

Each task trains one kind of head on one bank under several label noises, and measures how much the losses of
right and of wrong labels overlap, and how well every detector finds the right ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from noisylib.heads import HeadBank
from noisylib.noise import NoisyLabels
from noisylib.recipe import Recipe
from noisylib.signal_rows import common_size, detection_rows, overlap_rows
from noisylib.signals import train_signals
from noisylib.study.config import MethodSpec, RunSpec, StudyConfig
from noisylib.study.experiment_tables import CONDITION, Column
from noisylib.study.experiments import Experiment, Rows, Task
from noisylib.study.inputs import cached_bank, noise_of

SETS = ("ham10000", "pbc", "retinamnist", "pneumoniamnist", "breastmnist")
BACKBONES = ("deit_tiny", "mobilenetv2", "mobilenetv2_birds")
HEADS = ("linear", "mlp", "adapter")
# An MLP costs four times an adapter here: it is an arm, on one backbone with three of the five seeds.
ARM_HEAD, ARM_BACKBONE, ARM_SEEDS = "mlp", "deit_tiny", (0, 1, 2)
PEER_HEAD = "adapter"  # the head of the studies, the only one that Co-teaching is trained with here

OVERLAP = {
    **CONDITION,
    "sample": Column("str"),
    "epoch": Column("str"),
    "epoch_number": Column("int"),
    "estimator": Column("str"),
    "value": Column("float"),
    "corrected": Column("float", nan=True),
    "se": Column("float", nan=True),
    "low": Column("float", nan=True),
    "high": Column("float", nan=True),
    "n_clean": Column("int"),
    "n_flipped": Column("int"),
    "equal_size": Column("float", nan=True),
    "auroc": Column("float"),
    "class_overlap": Column("floats32", nan=True),
    "edges": Column("floats32"),
    "clean_counts": Column("ints"),
    "flipped_counts": Column("ints"),
    "test_error": Column("float"),
    "test_balanced_error": Column("float"),
}
DETECTION = {
    **CONDITION,
    "detector": Column("str"),
    "design": Column("str"),
    "rule": Column("str"),
    "m": Column("int"),
    "precision": Column("float", nan=True),
    "recall": Column("float"),
    "auroc": Column("float"),
    "chance": Column("float"),
    "class_precision": Column("floats32", nan=True),
    "class_recall": Column("floats32", nan=True),
    "class_share": Column("floats32", nan=True),
    "forecast_rate": Column("float", nan=True),
    "forecast_precision": Column("float", nan=True),
    "confusion": Column("floats"),
    "priors": Column("floats"),
}


@dataclass(frozen=True)
class Condition:
    """What the runs of a task are: every seed x noise type x rate is one of them.

    Attributes
    ----------
    head : of the classifier, "linear", "mlp" or "adapter".
    noise_types, noise_rates : label noises; rates are fractions.
    class_map : named map of the set that asymmetric noise follows.
    seeds : each sets the noise draw, the start of the heads and the batch order.
    folds : of the cross-validation.
    draws : of the bootstrap over groups of images.
    recipe : optimisation settings.
    """

    head: str
    noise_types: tuple[str, ...] = ("symmetric", "asymmetric")
    noise_rates: tuple[float, ...] = (0.2, 0.4)
    class_map: str = "default"
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folds: int = 5
    draws: int = 200
    recipe: Recipe = field(default_factory=Recipe)


def tasks() -> list[Task]:
    """Return one task for each data set, backbone and head; one head is on one backbone only."""
    return [
        Task(f"{dataset}-{backbone}-{head}", dataset, backbone, condition)
        for dataset in SETS
        for backbone in BACKBONES
        for head, condition in (
            (head, Condition(head, seeds=ARM_SEEDS) if head == ARM_HEAD else Condition(head))
            for head in HEADS
        )
        if head != ARM_HEAD or backbone == ARM_BACKBONE
    ]


def run(task: Task, banks: str | None = None) -> Rows:
    """Train the runs of a task and return their rows of the tables "overlap" and "detection".

    The label noise is that of the studies: a run of a study with the same data set, type, rate, map and seed
    has the same labels.
    """
    condition, bank = task.condition, cached_bank(task.dataset, task.backbone, banks)
    specs = run_specs(task)
    noise = noise_of(specs, bank, "", banks)
    signals = train_signals(
        bank,
        noise,
        [spec.seed_train for spec in specs],
        head=condition.head,
        recipe=condition.recipe,
        peers=condition.head == PEER_HEAD,
        folds=condition.folds,
        device="cpu",  # so that rows do not depend on whether a machine has a GPU
    )
    # The noise is the same under every backbone and head, so this size is common to all rows of a data set.
    size = common_size(signals.flipped)
    told = [_told(spec, labels) for spec, labels in zip(specs, noise, strict=True)]
    found = {
        "overlap": overlap_rows(signals, size=size, draws=condition.draws),
        "detection": detection_rows(signals),
    }
    return {
        table: [told[row["run"]] | {key: value for key, value in row.items() if key != "run"} for row in rows]
        for table, rows in found.items()
    }


def run_specs(task: Task) -> list[RunSpec]:
    """Return the runs of a task, as a study would have them."""
    condition = task.condition
    return StudyConfig(
        name="small_loss",
        datasets=(task.dataset,),
        backbones=(task.backbone,),
        noise_types=condition.noise_types,
        noise_rates=condition.noise_rates,
        methods=(MethodSpec.parse("ce"),),
        seeds=condition.seeds,
        heads=(condition.head,),
        class_map=condition.class_map,
        recipe=condition.recipe,
    ).runs()


def _told(spec: RunSpec, noise: NoisyLabels) -> dict[str, object]:
    """Return the columns that say which run a row is of."""
    return {
        "dataset": spec.dataset,
        "backbone": spec.backbone,
        "head": spec.head,
        "noise_type": spec.noise_type,
        "noise_rate": spec.noise_rate,
        "realised_rate": noise.realised_rate,
        "class_map": spec.class_map if spec.noise_type == "asymmetric" else "",
        "seed": spec.seed_train,
    }


def cost(task: Task, banks: str | None = None) -> float:
    """Return the floating-point operations of a task's training."""
    condition, bank = task.condition, cached_bank(task.dataset, task.backbone, banks)

    def flops(head: str) -> float:
        heads = HeadBank(head, [0], bank.n_features, bank.n_classes, width=condition.recipe.width)
        return heads.flops_per_sample()

    # Every fold's head passes over all samples; Co-teaching has two networks.
    per_sample = (1 + condition.folds) * flops(condition.head)
    per_sample += flops("linear") * (condition.head != "linear") + 2 * flops(PEER_HEAD) * (
        condition.head == PEER_HEAD
    )
    return len(run_specs(task)) * condition.recipe.epochs * len(bank.indices("train")) * per_sample


EXPERIMENT = Experiment(
    name="small_loss",
    description="How much the losses of right and wrong labels overlap on frozen features, and how well "
    "detectors of clean samples do: five image sets, three backbones, linear and adapter heads, two kinds of "
    "noise at two rates, five seeds; MLP heads on one backbone with three seeds.",
    version=2,
    tables={"overlap": OVERLAP, "detection": DETECTION},
    tasks=tasks,
    run=run,
    cost=cost,
)
