"""The experiment `collapse`: what makes Co-teaching lose whole classes, and what helps.

Three suspects are varied, each with every value of the others: how unequal the classes are (imbalance),
whether a class flips into one other or into all (asymmetry, by blending two transition matrices), and into
which (map), which decides how pure the observed classes stay. The number of training samples of a data set
is always the same. A map by frequency flips every class at the noise rate, so the overall rate is the same
in all its arms.

Made-up Gaussian classes, for which Bayes' rule is known, come with a balanced test part, on which accuracy
is balanced accuracy; PBC is cut to a long tail, its test part stays; HAM10000 is unequal enough as it is,
and has arms at half the noise rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.features.longtail import FREQUENCY_MAPS
from noisylib.methods import make_method
from noisylib.noise import NoisyLabels, told
from noisylib.recorder import RunResults
from noisylib.study.collapse_arms import Arm, Condition, Samples, arm_noise, samples_of
from noisylib.study.experiment_tables import CONDITION, Column
from noisylib.study.experiments import Experiment, Rows, Task
from noisylib.training import train_bank

REMEDIES = ("coteaching_quota", "coteaching_class_tau", "coteaching_balanced", "ce_balanced")
METHODS = ("ce", "coteaching", *REMEDIES)
BED, PBC, HAM = "bed", "pbc", "ham10000"
BED_IMBALANCES = (1.0, 3.0, 10.0, 30.0, 100.0)
PBC_IMBALANCES = (1.0, 10.0, 30.0, 100.0)
NO_MAP = "none"  # of the arm without noise

# HAM10000 has maps of its own, named by diagnosis. "majority" is the same rule as everywhere else; the map
# of that name in the catalogue leaves melanocytic naevi, two thirds of the images, without noise. It is the
# one arm whose overall rate is lower than the others', hence its other name.
HAM_MAPS = ("default", "majority", "cyclic", "catalogue_majority")


def tasks() -> list[Task]:
    """Return every task: one per data set, imbalance and method."""
    made = []
    for method in METHODS:
        steps = (0.0, 1.0) if method in REMEDIES else (0.0, 0.25, 0.5, 0.75, 1.0)
        for imbalance in BED_IMBALANCES:
            condition = Condition(method, "mlp", _arms(method, FREQUENCY_MAPS, steps), imbalance=imbalance)
            made.append(Task(f"{BED}-{imbalance:g}-{method}", BED, "", condition))
        for imbalance in PBC_IMBALANCES:
            arms = _arms(method, FREQUENCY_MAPS, (0.0, 1.0))
            condition = Condition(method, "adapter", arms, imbalance=imbalance, imbalances=PBC_IMBALANCES)
            made.append(Task(f"{PBC}-{imbalance:g}-{method}", PBC, "deit_tiny", condition))
        arms = _arms(method, HAM_MAPS, (0.0, 0.5, 1.0)) + tuple(Arm(name, 1.0, 0.2) for name in HAM_MAPS)
        made.append(Task(f"{HAM}-{method}", HAM, "deit_tiny", Condition(method, "adapter", arms)))
    return made


def _arms(method: str, maps: Sequence[str], asymmetries: Sequence[float]) -> tuple[Arm, ...]:
    """Every map with every asymmetry; clean labels once, for what imbalance does without any noise."""
    clean = (Arm(NO_MAP, 0.0, 0.0),) if method == "ce" else ()
    return clean + tuple(Arm(name, asymmetry) for name in maps for asymmetry in asymmetries)


def run(task: Task, banks: str | None) -> Rows:
    """Train all arms and seeds of a task at once and return a row for each.

    Runs of one seed with equal labels, such as asymmetry 0 under every map, are one training.
    """
    condition, samples = task.condition, samples_of(task, banks)
    cells = [(arm, seed) for arm in condition.arms for seed in condition.seeds]
    noise = [arm_noise(arm, task.dataset, samples, seed) for arm, seed in cells]
    first: dict[tuple[int, bytes], int] = {}
    leader = [
        first.setdefault((seed, labels.y_noisy.tobytes()), i)
        for i, ((_, seed), labels) in enumerate(zip(cells, noise, strict=True))
    ]
    kept = list(first.values())
    result = train_bank(
        samples.X,
        np.stack([noise[i].y_noisy for i in kept]),
        samples.X_test,
        samples.y_test,
        n_classes=len(samples.class_names),
        method=condition.method,
        head=condition.head,
        seeds=[cells[i][1] for i in kept],
        **told([noise[i] for i in kept]),
        recipe=condition.recipe,
        device="cpu",
    )
    rows = [
        _row(task, samples, arm, seed, noise[i], result, kept.index(leader[i]))
        for i, (arm, seed) in enumerate(cells)
    ]
    return {"collapse": rows}


def _row(
    task: Task, samples: Samples, arm: Arm, seed: int, noise: NoisyLabels, result: RunResults, trained: int
) -> dict[str, object]:
    return {
        "dataset": task.dataset,
        "backbone": task.backbone,
        "head": task.condition.head,
        "noise_type": noise.noise_type,
        "noise_rate": arm.noise_rate,
        "realised_rate": noise.realised_rate,
        "class_map": arm.map if arm.asymmetry else "",
        "seed": seed,
        "source": task.dataset,
        "imbalance": samples.imbalance,
        "asymmetry": arm.asymmetry,
        "map": arm.map,
        "min_purity": float(np.nanmin(noise.purity)),
        "method": task.condition.method,
        "accuracy": float(result.accuracy[trained]),
        "balanced_accuracy": float(result.balanced_accuracy[trained]),
        "dead_classes": int(result.dead_classes[trained]),
        "recall": result.recall[trained],
        "class_counts": samples.class_counts,
        "purity": noise.purity,
        "bayes_balanced": samples.bayes_balanced,
    }


def cost(task: Task, banks: str | None) -> float:
    """Return how many samples all networks of a task go through; it is one work for both heads here."""
    condition, samples = task.condition, samples_of(task, banks)
    trained = {(arm.noise_rate, arm.asymmetry, arm.map if arm.asymmetry else "") for arm in condition.arms}
    runs = len(trained) * len(condition.seeds)
    rule = make_method(condition.method)
    return runs * rule.n_nets * rule.step_cost * len(samples.y) * condition.recipe.epochs


TABLE = CONDITION | {
    "source": Column("str"),
    "imbalance": Column("float"),
    "asymmetry": Column("float"),
    "map": Column("str"),
    "min_purity": Column("float"),
    "method": Column("str"),
    "accuracy": Column("float"),
    "balanced_accuracy": Column("float"),
    "dead_classes": Column("int"),
    "recall": Column("floats"),
    "class_counts": Column("ints"),
    "purity": Column("floats", nan=True),  # of a class that nobody is labelled with
    "bayes_balanced": Column("float", nan=True),  # of data that were not made up
}

EXPERIMENT = Experiment(
    name="collapse",
    description="What makes Co-teaching lose whole classes: imbalance, asymmetry or the map; with remedies.",
    version=1,
    tables={"collapse": TABLE},
    tasks=tasks,
    run=run,
    cost=cost,
)
