"""What a task of a study of fine-tuning does: linear probes as one bank, or one network that is tuned."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.finetuning.flops import forward_flops, linear_flops, tuning_flops
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.heads import HeadBank
from noisylib.methods import make_method
from noisylib.progress import duration
from noisylib.recipe import Recipe
from noisylib.study.experiments import Rows, Task
from noisylib.study.finetune_config import Condition
from noisylib.study.finetune_labels import TrainingLabels, told_of, training_labels
from noisylib.study.finetune_methods import TuningSpec
from noisylib.study.finetune_movement import map_rows, movement_rows
from noisylib.study.finetune_source import FrozenFeatures, Opened, Source, frozen_features, opened
from noisylib.study.finetune_tables import cleaning_rows, tables, test_scores, training_scores
from noisylib.training import train_bank

log = logging.getLogger(__name__)

LONG = 600.0  # expected seconds from which on a task keeps checkpoints
BACKWARD = 3.5  # seconds of a training step per image, in those of a forward pass


@dataclass(frozen=True)
class InputFacts:
    """What a task reads, for its digest.

    Attributes
    ----------
    pixels : checksum of the images.
    weights : what the weights are known by.
    reference : checksum of the features that instance-dependent noise is made from; else empty.
    """

    pixels: str
    weights: str
    reference: str = ""


@dataclass(frozen=True)
class ProbeCondition:
    """Linear probes of one method on one data set, trained together: every condition with every seed."""

    backbone: str
    image_size: int
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    class_map: str
    reference_backbone: str
    method: TuningSpec
    recipe: Recipe
    precision: str
    inputs: InputFacts


@dataclass(frozen=True)
class TuningCondition:
    """One network that is fine-tuned: one condition, one seed, one method."""

    backbone: str
    image_size: int
    condition: Condition
    seed: int
    class_map: str
    reference_backbone: str
    method: TuningSpec
    recipe: FinetuneRecipe
    map: bool  # whether the features are also laid out in the plane
    inputs: InputFacts


@dataclass(frozen=True)
class Runner:
    """Computes tasks; it goes to worker processes.

    Attributes
    ----------
    name : of the study.
    source : of images and networks.
    checkpoints : True: every fine-tuning keeps checkpoints, False: none, None: those that take long.
    """

    name: str
    source: Source
    checkpoints: bool | None = None

    def __call__(self, task: Task, banks: str | None = None) -> Rows:
        """Return the rows of a task."""
        try:
            now = opened(self.source, task.dataset, task.condition.backbone)
            if isinstance(task.condition, ProbeCondition):
                return self._probes(task.condition, now)
            return self._tuning(task, now)
        except NoisylibError as error:
            raise type(error)(f"task {task.name}: {error}") from error

    def _labels(self, now: Opened, condition: Condition, c: Any, seed: int) -> TrainingLabels:
        return training_labels(now, self.source, condition, c.class_map, c.reference_backbone, seed)

    def _probes(self, c: ProbeCondition, now: Opened) -> Rows:
        frozen = frozen_features(self.source, now.pixels.name, c.backbone, c.precision)
        runs = [(condition, seed) for seed in c.seeds for condition in c.conditions]
        labels = [self._labels(now, condition, c, seed) for condition, seed in runs]
        pixels, test = now.pixels, now.pixels.rows("test")
        began = time.process_time()
        # The training images are scored as well; nothing reads the labels that stand in for theirs.
        result = train_bank(
            frozen.train,
            np.stack([one.y_noisy for one in labels]),
            np.concatenate([frozen.test, frozen.train]),
            np.concatenate([pixels.labels[test], np.zeros(len(frozen.train), np.int64)]),
            n_classes=pixels.n_classes,
            method=c.method.method,
            head="linear",
            seeds=[seed for _, seed in runs],
            **told_of(labels),
            recipe=c.recipe,
            device=now.backbone.device.type,
        )
        cost = {"cpu_seconds": (time.process_time() - began) / len(runs)}
        cost |= probe_cost(c, now, len(frozen.train))
        rows = []
        for (condition, seed), one, logits in zip(runs, labels, result.test_logits, strict=True):
            rows.append(
                {
                    **run_columns(c, now, condition, seed, one),
                    "n_classes": pixels.n_classes,
                    **test_scores(logits[: len(test)], pixels.labels[test], pixels.n_classes),
                    **training_scores(logits[len(test) :], one),
                    "seconds": result.seconds / len(runs),
                    "seconds_features": frozen.seconds,
                    "seconds_probe": 0.0,
                    "seconds_cleaning": 0.0,
                    **cost,
                    "epoch_loss": [],
                    "epoch_agreement": [],
                    "epoch_gradient_norm": [],
                }
            )
        return self._rows(main=rows)

    def _rows(self, **found: list[dict[str, Any]]) -> Rows:
        kinds = dict(zip(("main", "cleaning", "movement", "map"), tables(self.name), strict=True))
        return {table: found.get(kind, []) for kind, table in kinds.items()}

    def _tuning(self, task: Task, now: Opened) -> Rows:
        from noisylib.finetuning.loop import finetune

        c, pixels = task.condition, now.pixels
        labels = self._labels(now, c.condition, c, c.seed)
        train, test = pixels.rows("train"), pixels.rows("test")
        frozen = frozen_features(self.source, pixels.name, c.backbone, c.recipe.precision)
        folder = self._checkpoint(task, frozen, len(train), len(test))
        began = time.process_time()
        tuned = finetune(
            pixels,
            train,
            labels.y_noisy,
            now.backbone,
            n_classes=pixels.n_classes,
            method=c.method.rule,
            seed=c.seed,
            recipe=c.recipe,
            features=frozen.train if c.method.tuning == "turn" else None,
            checkpoint=folder,
            device=str(now.backbone.device),
            watch=None if folder is None else partial(_report, task.name, c.recipe.epochs),
        )
        spent = time.process_time() - began
        run = run_columns(c, now, c.condition, c.seed, labels)
        return self._rows(
            main=[self._main(run, c, now, labels, frozen, tuned, spent)],
            cleaning=_cleaning(run, c, labels, tuned, pixels.n_classes),
            movement=movement_rows(run, self.source, now, labels, frozen, tuned, c.recipe.precision),
            map=map_rows(run, now, frozen, tuned) if c.map else [],
        )

    def _checkpoint(self, task: Task, frozen: FrozenFeatures, n_train: int, n_test: int) -> Path | None:
        """Return where a task keeps checkpoints; the frozen features tell how long an image takes."""
        seconds = frozen.seconds / (n_train + n_test) * BACKWARD * n_train * task.condition.recipe.epochs
        wanted = seconds > LONG if self.checkpoints is None else self.checkpoints
        return self.source.work / "checkpoints" / self.name / task.name if wanted else None

    def _main(
        self,
        run: Mapping[str, Any],
        c: TuningCondition,
        now: Opened,
        labels: TrainingLabels,
        frozen: FrozenFeatures,
        tuned: Any,
        spent: float,
    ) -> dict[str, Any]:
        pixels, turn = now.pixels, c.method.tuning == "turn"
        train, test = pixels.rows("train"), pixels.rows("test")
        return {
            **run,
            "n_classes": pixels.n_classes,
            **test_scores(tuned.logits(pixels, test), pixels.labels[test], pixels.n_classes),
            **training_scores(tuned.logits(pixels, train), labels),
            "seconds": sum(seconds for phase, seconds in tuned.seconds.items() if phase != "features"),
            "cpu_seconds": spent,
            "seconds_features": frozen.seconds if turn else 0.0,
            "seconds_probe": tuned.seconds.get("probe", 0.0),
            "seconds_cleaning": tuned.seconds.get("cleaning", 0.0),
            "flops": tuning_cost(c, now, tuned, len(train)),
            "steps": tuned.steps,
            "images_seen": tuned.images,
            "parameters": sum(p.numel() for p in tuned.classifier.parameters()),
            "epoch_loss": [record.loss for record in tuned.history],
            "epoch_agreement": [record.agreement for record in tuned.history],
            "epoch_gradient_norm": [record.gradient_norm for record in tuned.history],
        }


def _report(task: str, epochs: int, record: Any) -> None:
    """Say how a long task is doing; a loss or an agreement that does not move is seen early."""
    log.info(
        "%s: epoch %d of %d, loss %.3f, agreement with the labels %.3f, gradient %.2f, %d images in %s",
        task, record.epoch + 1, epochs, record.loss, record.agreement, record.gradient_norm, record.images,
        duration(record.seconds),
    )  # fmt: skip


def _cleaning(
    run: Mapping[str, Any], c: TuningCondition, labels: TrainingLabels, tuned: Any, n_classes: int
) -> list[dict[str, Any]]:
    if c.method.tuning != "turn":
        return []
    rule = c.method.turn
    selections = [record.selection for record in tuned.history]
    return cleaning_rows(run, selections, labels, n_classes, tau=rule.tau, balanced=rule.balanced)


def run_columns(
    c: ProbeCondition | TuningCondition, now: Opened, condition: Condition, seed: int, labels: TrainingLabels
) -> dict[str, Any]:
    """Return the columns that say which run a row is of."""
    named = condition.labels or (c.class_map if condition.noise_type == "asymmetric" else "")
    return {
        "dataset": now.pixels.name,
        "backbone": c.backbone,
        "image_size": c.image_size,
        "noise_type": condition.noise_type,
        "noise_rate": condition.noise_rate,
        "realised_rate": labels.realised_rate,
        "tuning": c.method.tuning,
        "method": c.method.method,
        "label": c.method.label,
        "seed": seed,
        "class_map": named,
    }


def probe_cost(c: ProbeCondition, now: Opened, n_train: int) -> dict[str, Any]:
    """Return operations, steps, samples and parameters of one linear probe, its features included.

    The features cost a forward pass per training image; a step of the heads counts by its time, relative to
    cross entropy.
    """
    rule, K, D = make_method(c.method.method), now.pixels.n_classes, now.backbone.n_features
    kinds = rule.head_kinds("linear")
    per_sample = sum(count * HeadBank(kind, [0], D, K).flops_per_sample() for kind, count in kinds)
    features = tuning_flops(forward_flops(now.backbone, now.pixels.size), trained=0, evaluated=n_train)
    samples = c.recipe.epochs * n_train
    return {
        "flops": float(features + rule.step_cost * per_sample * samples),
        "steps": c.recipe.epochs * -(-n_train // c.recipe.batch_size),
        "images_seen": samples,
        "parameters": sum(count * (D * K + K) for _, count in kinds),
    }


def tuning_cost(c: TuningCondition, now: Opened, tuned: Any, n_train: int) -> float:
    """Return the operations of one fine-tuning; TURN's features, probe and cleaning are part of it.

    The losses of the first epoch's cleaning come from the features, those of the others from a forward pass
    over all training images.
    """
    K, D = now.pixels.n_classes, now.backbone.n_features
    head, body = linear_flops(D, K), forward_flops(now.backbone, now.pixels.size)
    flops = tuning_flops(body + head, trained=tuned.images)
    if c.method.tuning == "turn":
        flops += tuning_flops(body, trained=0, evaluated=n_train)
        flops += tuning_flops(head, trained=c.method.turn.probe_epochs * n_train, evaluated=n_train)
        flops += tuning_flops(body + head, trained=0, evaluated=n_train * (c.recipe.epochs - 1))
    return float(flops)
