"""What the chapter on movement trains live: a small backbone on digits, with little and with much noise.

Backbone, images, noise and recipe are those of the chapter on LP, FFT and TURN; here the features are
looked at. Scores are balanced accuracies on clean test labels, as fractions. "The clean probe" is a linear
probe of the features with the right training labels: an evaluator's number, which no method could have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.metrics import balanced_accuracy, recall_per_class
from noisylib.analysis.movement import linear_cka, nearest_agreement, probe_accuracy, tsne_map
from noisylib.book.describe import lp_fft_turn
from noisylib.book.describe.lp_fft_turn import Task
from noisylib.book.tables import NBSP
from noisylib.book.turn_parameters import TurnParameters
from noisylib.movementplots import MapPanel
from noisylib.noise import told
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.moved_parameters import MovedParameters
    from noisylib.features.backbones import Backbone
    from noisylib.finetuning import FineTuned

# Tuning -> its rule, and the linear probe with the same loss: where it starts, or what it would be frozen.
TUNINGS = {"FFT-CE": ("ce", "LP-CE"), "TURN": ("turn", "LP-GCE")}
PROBES = {"LP-CE": "ce", "LP-GCE": "gce"}
MAP_IMAGES = 200


@dataclass(frozen=True, eq=False)
class Live:
    """All that was trained.

    Attributes
    ----------
    tasks : noise rate -> images, labels and frozen features; images and backbone are the same in all.
    runs : one row per rate, tuning, learning rate and seed: probe_before, probe_after, own, lp (fractions),
        gain and probe_gain (percentage points), moved (1 - CKA of the feature), weights (relative change).
    blocks : the same runs at the chapter's own learning rate, by block: cka, change.
    decisions : (rate, LP label or tuning) -> predictions on the test images, first seed.
    features : stage -> (n_test, D) test features, first seed: "before", or (rate, tuning).
    learning_rate : of the backbone in `blocks`, `decisions` and `features`.
    """

    tasks: dict[float, Task]
    runs: pd.DataFrame
    blocks: pd.DataFrame
    decisions: dict[tuple[float, str], np.ndarray]
    features: dict[Any, np.ndarray]
    learning_rate: float

    @property
    def main(self) -> pd.DataFrame:
        """The runs at the chapter's own learning rate."""
        return self.runs[self.runs["lr"] == self.learning_rate]


def train(params: MovedParameters, backbone: Backbone | None = None) -> Live:
    """Return the runs of the chapter: little and much noise, FFT-CE and TURN, all learning rates and seeds.

    Learning rates other than the chapter's own are run with the first seed only.
    """
    import pandas as pd

    tasks = {rate: _task(params, rate, backbone) for rate in (params.low_rate, params.high_rate)}
    own = lp_fft_turn.live_recipe(params.epochs).lr_backbone
    runs, blocks, decisions, features = [], [], {}, {}
    for rate, task in tasks.items():
        before = _Frozen.of(task)
        features["before"] = before.blocks[-1]
        probes, predicted = _probes(task)
        decisions |= {(rate, label): found for label, found in predicted.items()}
        for tuning, seed, lr in _plan(params, own):
            tuned = _tuned(task, tuning, seed, params.epochs, lr)
            after = before.compare(task, tuned)
            start = probes[TUNINGS[tuning][1], seed]
            key = {"rate": rate, "tuning": tuning, "seed": seed, "lr": lr}
            runs.append(key | _scores(after) | {"lp": start, "gain": 100 * (after["own"] - start)})
            if lr != own:
                continue
            blocks += [key | row for row in after["rows"]]
            if seed == params.seeds[0]:
                decisions[rate, tuning] = after["predicted"]
                features[rate, tuning] = after["feature"]
    return Live(tasks, pd.DataFrame(runs), pd.DataFrame(blocks), decisions, features, own)


def _plan(params: MovedParameters, own: float) -> list[tuple[str, int, float]]:
    """Return tuning, seed and learning rate of every run at one noise rate."""
    main = [(tuning, seed, own) for tuning in TUNINGS for seed in params.seeds]
    others = [lr for lr in params.learning_rates if lr != own]
    return main + [(tuning, params.seeds[0], lr) for tuning in TUNINGS for lr in others]


def _task(params: MovedParameters, rate: float, backbone: Backbone | None) -> Task:
    same = {name: getattr(params, name) for name in ("noise_type", "images", "epochs", "seeds")}
    return lp_fft_turn.make_task(TurnParameters(noise_rate=rate, **same), backbone)


def _tuned(task: Task, tuning: str, seed: int, epochs: int, lr: float) -> FineTuned:
    from noisylib.finetuning import finetune

    return finetune(
        task.pixels,
        task.train,
        task.noise[seed].y_noisy,
        task.backbone,
        n_classes=task.pixels.n_classes,
        method=TUNINGS[tuning][0],
        seed=seed,
        recipe=replace(lp_fft_turn.live_recipe(epochs), lr_backbone=lr),
        features=task.features[task.train] if tuning == "TURN" else None,
        device="cpu",
    )


@dataclass(frozen=True, eq=False)
class _Frozen:
    """The backbone before any tuning: what its blocks say of the test images, and its clean probe."""

    blocks: list[np.ndarray]
    probe: float

    @classmethod
    def of(cls, task: Task) -> _Frozen:
        from noisylib.finetuning.diagnostics import block_features

        blocks = block_features(task.backbone, task.pixels, task.test, precision="float32")
        return cls(blocks, _clean_probe(task, task.features[task.train], blocks[-1]))

    def compare(self, task: Task, tuned: FineTuned) -> dict[str, Any]:
        """Return what has become of it."""
        from noisylib.finetuning.diagnostics import block_features, parameter_change

        after = block_features(tuned.classifier, task.pixels, task.test, task.backbone, precision="float32")
        change = parameter_change(task.backbone, tuned.classifier)
        predicted = tuned.logits(task.pixels, task.test).argmax(axis=1)
        pairs = enumerate(zip(self.blocks, after, strict=True))
        rows = [{"block": -1, "cka": np.nan, "change": change.get(-1, np.nan)}]
        rows += [
            {"block": block, "cka": linear_cka(old, new), "change": change.get(block, np.nan)}
            for block, (old, new) in pairs
        ]
        return {
            "rows": rows,
            "feature": after[-1],
            "predicted": predicted,
            "own": _balanced(predicted, task),
            "probe_before": self.probe,
            "probe_after": _clean_probe(task, tuned.features(task.pixels, task.train), after[-1]),
        }


def _scores(after: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one run that are not by block; the weights' change is the mean over blocks."""
    inner = [row["change"] for row in after["rows"] if 0 <= row["block"] < len(after["rows"]) - 2]
    return {
        "own": after["own"],
        "probe_before": after["probe_before"],
        "probe_after": after["probe_after"],
        "probe_gain": 100 * (after["probe_after"] - after["probe_before"]),
        "moved": 1 - after["rows"][-1]["cka"],
        "weights": float(np.mean(inner)),
    }


def _probes(task: Task) -> tuple[dict[tuple[str, int], float], dict[str, np.ndarray]]:
    """Return scores by label and seed, and predictions of the first seed, of probes on the noisy labels."""
    from noisylib.training import train_bank

    labels, y = list(task.noise.values()), task.pixels.labels[task.test]
    scores, predicted = {}, {}
    for label, method in PROBES.items():
        result = train_bank(
            task.features[task.train],
            np.stack([noise.y_noisy for noise in labels]),
            task.features[task.test],
            y,
            n_classes=task.pixels.n_classes,
            method=method,
            head="linear",
            seeds=list(task.noise),
            **told(labels),
            recipe=lp_fft_turn.PROBE,
            device="cpu",
        )
        found = np.asarray(result.test_logits).argmax(axis=-1)
        predicted[label] = found[0]
        scores |= {(label, seed): _balanced(found[run], task) for run, seed in enumerate(task.noise)}
    return scores, predicted


def _clean_probe(task: Task, X_train: np.ndarray, X_test: np.ndarray) -> float:
    y = task.pixels.labels
    return probe_accuracy(X_train, y[task.train], X_test, y[task.test]).balanced_accuracy


def _balanced(predicted: np.ndarray, task: Task) -> float:
    recall = recall_per_class(predicted, task.pixels.labels[task.test], task.pixels.n_classes)
    return float(balanced_accuracy(recall))


def map_grid(live: Live) -> list[list[MapPanel | None]]:
    """Return maps of the test features: a row of panels per noise rate, before, after LP, after each tuning.

    A linear probe moves no feature, so the map after LP is the one before it; only its errors are new.
    """
    pixels = next(iter(live.tasks.values())).pixels
    y = pixels.labels[next(iter(live.tasks.values())).test]
    chosen = np.sort(numpy_generator("moved-map", len(y)).permutation(len(y))[:MAP_IMAGES])
    maps = tsne_map({stage: X[chosen] for stage, X in live.features.items()})
    y = y[chosen]

    def panel(title: str, stage: Any, decision: Any = None) -> MapPanel:
        wrong = None if decision is None else live.decisions[decision][chosen] != y
        note = f"neighbours alike: {100 * nearest_agreement(maps[stage], y):.0f} %"
        if wrong is not None:
            note += f"\nwrong: {100 * wrong.mean():.0f} %"
        return MapPanel(title, note, maps[stage], y, wrong)

    grid: list[list[MapPanel | None]] = []
    for rate in live.tasks:
        noise = f"{100 * rate:g} % noise"
        first = panel("Before LP", "before") if not grid else None
        after_probe = panel(f"After LP, {noise}", "before", (rate, "LP-GCE"))
        tuned = [panel(f"{tuning}, {noise}", (rate, tuning), (rate, tuning)) for tuning in TUNINGS]
        grid.append([first, after_probe, *tuned])
    return grid


def block_frame(live: Live) -> pd.DataFrame:
    """Return `Live.blocks` as `movementplots.block_curves` takes it; changes in percent."""
    noise = [f"{100 * rate:g} % noise" for rate in live.blocks["rate"]]
    return live.blocks.assign(condition=noise, change=100 * live.blocks["change"])


def probe_frame(live: Live) -> pd.DataFrame:
    """Return the main runs as `movementplots.probe_panels` takes them, means over seeds."""
    means = live.main.groupby(["rate", "tuning"], sort=False).mean(numeric_only=True).reset_index()
    rows = [f"{100 * rate:g}{NBSP}% noise" for rate in means["rate"]]
    return means.assign(panel="Digits 5 to 9", row=rows)
