"""Times products of lower precision against single precision, and measures what they change in the results.

Speed is that of an epoch of ten runs with cross entropy, every case once per round in turning order. The
effect is that on runs of the full recipe, on shipped banks with noisy labels: each run is trained in both
precisions from the same start, on the same labels and batches. What another seed changes in single precision
stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.heads import Case, in_rounds
from benchmarks.workload import clock
from noisylib.comparison import noisy_labels
from noisylib.features.bank import load_bank
from noisylib.methods import make_method
from noisylib.noise import told
from noisylib.precision import products_in
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.seeding import numpy_generator
from noisylib.training import BankInTraining, train_bank
from noisylib.validation import check_bank_inputs


@dataclass(frozen=True)
class Setting:
    """Sizes of both measurements.

    Attributes
    ----------
    heads : kind and D of what is timed; runs, n_samples, n_classes, batch_size and rounds are of the timing.
    banks, conditions, seeds, methods : of the effect; every combination is one run, in either precision.
    epochs : of the effect; None is the recipe's.
    """

    heads: tuple[tuple[str, int], ...] = (("adapter", 192), ("adapter", 768), ("linear", 768))
    runs: int = 10
    n_samples: int = 4096
    n_classes: int = 7
    batch_size: int = 128
    rounds: int = 15
    banks: tuple[tuple[str, str], ...] = (("ham10000", "deit_tiny"), ("retinamnist", "deit_tiny"))
    conditions: tuple[tuple[str, float], ...] = (("symmetric", 0.2), ("symmetric", 0.4), ("asymmetric", 0.4))
    seeds: tuple[int, ...] = (0, 1)
    methods: tuple[str, ...] = ("ce", "gce", "elr", "coteaching", "dividemix")
    epochs: int | None = None

    @property
    def recipe(self) -> Recipe:
        """What the effect is measured with."""
        return Recipe() if self.epochs is None else Recipe(epochs=self.epochs, score_epochs=1)


QUICK = Setting(
    heads=(("adapter", 16), ("linear", 16)),
    runs=2,
    n_samples=256,
    rounds=2,
    banks=(("retinamnist", "deit_tiny"),),
    conditions=(("symmetric", 0.2),),
    epochs=1,
)


def epoch_of(head: str, n_features: int, precision: str, setting: Setting, device: torch.device) -> Case:
    """Return what trains one epoch of one bank in `precision`; its unit is a head."""
    s, random = setting, numpy_generator("benchmark", "precision", head, n_features)
    X = random.standard_normal((s.n_samples, n_features)).astype(np.float32)
    Y = random.integers(0, s.n_classes, (s.runs, s.n_samples))
    rule, classes = make_method("ce"), np.arange(s.n_classes)
    inputs = check_bank_inputs(X, Y, X[: s.n_classes], classes, s.n_classes, rule)
    recipe = Recipe(batch_size=s.batch_size, standardise=False)
    bank = BankInTraining(inputs, rule, head, recipe, device, torch.float32, precision=precision)

    def run() -> float:
        with products_in(precision, device):
            start = clock(device)
            bank.train_epoch(0, None)
            return clock(device) - start

    run()  # makes the buffers
    return Case(f"{head}, D={n_features}, {precision}", s.runs, run)


def trained(method: str, precision: str, setting: Setting, device: torch.device) -> list[RunResults]:
    """Return the runs of one method, a result per bank, each with its runs condition by condition."""
    results = []
    for dataset, backbone in setting.banks:
        bank = load_bank(dataset, backbone)
        noise = [
            labels
            for condition in setting.conditions
            for labels in noisy_labels(bank, *condition, setting.seeds)
        ]
        results.append(
            train_bank(
                bank.part("train")[0],
                np.stack([labels.y_noisy for labels in noise]),
                *bank.part("test"),
                n_classes=bank.n_classes,
                method=method,
                seeds=list(setting.seeds) * len(setting.conditions),
                **told(noise),
                views=bank.training_views(),
                recipe=setting.recipe,
                device=str(device),
                precision=precision,
            )
        )
    return results


def effect(low: list[RunResults], single: list[RunResults], n_seeds: int) -> dict[str, object]:
    """Return what lower precision changes in balanced accuracy and accuracy, fractions, low minus single.

    ``mean`` is over runs, ``largest`` the largest absolute one. ``seeds`` is the largest absolute difference
    between runs in single precision that differ in the seed only.
    """
    found: dict[str, object] = {}
    for prefix, score in (("", "balanced_accuracy"), ("accuracy_", "accuracy")):
        new, old = (np.concatenate([getattr(r, score) for r in results]) for results in (low, single))
        apart = new - old
        by_seed = np.ptp(old.reshape(-1, n_seeds), axis=1)
        found |= {
            f"{prefix}mean": float(apart.mean()),
            f"{prefix}largest": float(np.abs(apart).max()),
            f"{prefix}seeds": float(by_seed.max()),
            f"{prefix}all": apart.tolist(),
        }
    return found | {"runs": len(found["all"])}


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``: bfloat16, and tf32 on a GPU."""
    setting = QUICK if quick else Setting()
    lower = ("bfloat16",) if device.type == "cpu" else ("bfloat16", "tf32")
    cases = {
        (head, D, precision): epoch_of(head, D, precision, setting, device)
        for head, D in setting.heads
        for precision in ("float32", *lower)
    }
    in_rounds(cases.values(), setting.rounds)
    single = {method: trained(method, "float32", setting, device) for method in setting.methods}
    effects = {
        precision: {
            method: effect(trained(method, precision, setting, device), single[method], len(setting.seeds))
            for method in setting.methods
        }
        for precision in lower
    }
    return {
        "precision.speedup": {
            f"{precision}, {head} D={D}": cases[head, D, "float32"].median / cases[head, D, precision].median
            for head, D in setting.heads
            for precision in lower
        },
        "precision.seconds_per_head_epoch": {case.title: case.summary() for case in cases.values()},
        "precision.effect": effects["bfloat16"],
        **({"precision.effect_tf32": effects["tf32"]} if "tf32" in effects else {}),
        "precision.setting": asdict(setting) | {"epochs": setting.recipe.epochs},
    }


def table(results: Mapping[str, object]) -> str:
    """Return the measurements as text: speed by head, then the effect by method, in percentage points."""
    s = results["precision.setting"]
    lines = [
        f"{s['runs']} runs, K={s['n_classes']}, N={s['n_samples']}, batch {s['batch_size']}: how much faster "
        "an epoch is than in single precision",
        *(f"  {name:32}{value:6.2f} x" for name, value in results["precision.speedup"].items()),
    ]
    for key, precision in (("precision.effect", "bfloat16"), ("precision.effect_tf32", "tf32")):
        if key not in results:
            continue
        lines += [
            "",
            f"balanced accuracy with {precision} minus that in single precision, {s['epochs']} epochs, in "
            "percentage points",
            f"{'':16}{'runs':>6}{'mean':>9}{'largest':>9}{'another seed':>14}",
        ]
        for method, row in results[key].items():
            numbers = [100 * row[name] for name in ("mean", "largest", "seeds")]
            lines.append(f"{method:16}{row['runs']:6}{numbers[0]:+9.2f}{numbers[1]:9.2f}{numbers[2]:14.2f}")
    return "\n".join(lines)
