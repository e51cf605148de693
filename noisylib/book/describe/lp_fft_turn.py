"""What the chapter on LP, FFT and TURN trains live: every row of the paper's table on images of digits.

The backbone is a vision transformer small enough to be pretrained on the spot: it learns to draw the digits 0
to 4, without labels, and is then frozen or fine-tuned on the digits 5 to 9 with wrong ones. Rows have the
columns of the archived table that the chapter uses, so that both are shown by the same functions.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.metrics import balanced_accuracy, recall_per_class
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.noise import NoisyLabels, inject, told
from noisylib.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.turn_parameters import LpFftTurnParameters, TurnParameters
    from noisylib.features.backbones import Backbone
    from noisylib.features.pixels import PixelSet
    from noisylib.finetuning import FinetuneRecipe

# Digits that look alike in bad handwriting, for asymmetric noise.
LOOK_ALIKES = {"5": "6", "6": "5", "7": "9", "8": "9", "9": "8"}
PROBE = Recipe()


@dataclass(frozen=True, eq=False)
class Task:
    """Images of digits with wrong labels, and the network that is frozen or fine-tuned.

    Attributes
    ----------
    pixels : the images; its training labels are the right ones.
    train, test : rows of them.
    backbone : pretrained on other digits.
    features : (len(pixels), D) of the frozen backbone.
    noise : labels of the training rows, by seed.
    seconds_features : that the features of all images took.
    """

    pixels: PixelSet
    train: np.ndarray
    test: np.ndarray
    backbone: Backbone
    features: np.ndarray
    noise: Mapping[int, NoisyLabels]
    seconds_features: float


def make_task(params: TurnParameters, backbone: Backbone | None = None) -> Task:
    """Return the condition of a chapter on digits.

    Parameters
    ----------
    backbone : takes the place of the pretrained one; its image size is that of the digits.
    """
    _without_bars()
    from noisylib.data.limits import limited_rows
    from noisylib.finetuning import extract
    from noisylib.finetuning.tiny import digit_pixels, pretrained_tiny

    backbone = backbone or pretrained_tiny()
    pixels = digit_pixels(backbone.info.input_size)
    limit = {"train": params.images}
    train = limited_rows(pixels.name, pixels.keys, pixels.labels, pixels.split, limit)
    train, test = np.intersect1d(train, pixels.rows("train")), pixels.rows("test")
    started = time.perf_counter()
    features = extract(backbone.model, backbone, pixels, np.arange(len(pixels)))
    seconds = time.perf_counter() - started
    noise = {seed: digit_noise(pixels, train, features, params, seed) for seed in params.seeds}
    return Task(pixels, train, test, backbone, features, noise, seconds)


def _without_bars() -> None:
    """Import the progress bars of other libraries, which warn where a notebook cannot draw them."""
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401


def digit_noise(
    pixels: PixelSet, train: np.ndarray, features: np.ndarray, params: TurnParameters, seed: int
) -> NoisyLabels:
    """Return the labels of the rows `train` with the noise of a chapter.

    Parameters
    ----------
    features : (len(pixels), D), which instance-dependent noise depends on.
    """
    names = pixels.class_names
    look_alikes = {names.index(one): names.index(other) for one, other in LOOK_ALIKES.items() if one in names}
    return inject(
        pixels.labels[train],
        params.noise_type,
        params.noise_rate,
        n_classes=pixels.n_classes,
        seed=seed,
        dataset=pixels.name,
        class_map=look_alikes if params.noise_type == "asymmetric" else None,
        features=features[train] if params.noise_type == "instance" else None,
    )


def live_recipe(epochs: int) -> FinetuneRecipe:
    """Return how the tiny backbone is fine-tuned: larger steps than a large one would bear."""
    from noisylib.finetuning import FinetuneRecipe

    return FinetuneRecipe(epochs=epochs, batch_size=32, lr_backbone=5e-4, lr_head=5e-3, precision="float32")


def train(task: Task, params: LpFftTurnParameters) -> pd.DataFrame:
    """Return one row per row of the table and seed, with the columns of the archived table that are shown."""
    import pandas as pd

    from noisylib.study.finetune_methods import ROWS

    records: list[dict[str, Any]] = []
    for name in [name for name in ROWS if name in params.methods]:
        tuning, method, label = ROWS[name]
        found = _probes(task, method) if tuning == "lp" else _tuned(task, method, params)
        for seed, record in found.items():
            records.append(
                {"dataset": task.pixels.name, "backbone": task.backbone.info.name}
                | {"image_size": task.pixels.size, "noise_type": params.noise_type}
                | {"noise_rate": params.noise_rate, "realised_rate": task.noise[seed].realised_rate}
                | {"tuning": tuning, "method": method, "label": label, "seed": seed}
                | {"n_train": len(task.train), "n_test": len(task.test), "n_classes": task.pixels.n_classes}
                | record
            )
    return pd.DataFrame(records)


def _probes(task: Task, method: str) -> dict[int, dict[str, Any]]:
    """Return what linear probes of all seeds score, trained together."""
    from noisylib.finetuning.flops import forward_flops, linear_flops, tuning_flops
    from noisylib.methods import make_method
    from noisylib.training import train_bank

    labels, pixels = list(task.noise.values()), task.pixels
    began = time.process_time()
    result = train_bank(
        task.features[task.train],
        np.stack([noise.y_noisy for noise in labels]),
        task.features[task.test],
        pixels.labels[task.test],
        n_classes=pixels.n_classes,
        method=method,
        head="linear",
        seeds=list(task.noise),
        **told(labels),
        recipe=PROBE,
        device="cpu",
    )
    spent = (time.process_time() - began) / len(labels)
    n, rule = len(task.train), make_method(method)
    heads = sum(count for _, count in rule.head_kinds("linear"))
    per_image = heads * linear_flops(task.features.shape[1], pixels.n_classes)
    flops = tuning_flops(forward_flops(task.backbone, pixels.size), trained=0, evaluated=n)
    flops += rule.step_cost * tuning_flops(per_image, trained=PROBE.epochs * n)
    return {
        seed: _scores(result.test_logits[run], pixels.labels[task.test], pixels.n_classes)
        | {"seconds": result.seconds / len(labels), "cpu_seconds": spent}
        | {"seconds_features": task.seconds_features}
        | {"seconds_probe": 0.0, "seconds_cleaning": 0.0, "flops": float(flops)}
        | {"images_seen": PROBE.epochs * n}
        for run, seed in enumerate(task.noise)
    }


def _tuned(task: Task, method: str, params: LpFftTurnParameters) -> dict[int, dict[str, Any]]:
    """Return what networks score that are fine-tuned, one per seed."""
    from noisylib.finetuning import finetune
    from noisylib.finetuning.flops import forward_flops, linear_flops, tuning_flops
    from noisylib.finetuning.turn import Turn

    pixels, n, turn = task.pixels, len(task.train), method == "turn"
    body = forward_flops(task.backbone, pixels.size)
    head = linear_flops(task.features.shape[1], pixels.n_classes)
    found = {}
    for seed, noise in task.noise.items():
        began = time.process_time()
        tuned = finetune(
            pixels,
            task.train,
            noise.y_noisy,
            task.backbone,
            n_classes=pixels.n_classes,
            method=method,
            seed=seed,
            recipe=live_recipe(params.epochs),
            features=task.features[task.train] if turn else None,
            device="cpu",
        )
        spent = time.process_time() - began
        flops = tuning_flops(body + head, trained=tuned.images)
        if turn:
            flops += tuning_flops(body, trained=0, evaluated=n)
            flops += tuning_flops(head, trained=Turn().probe_epochs * n, evaluated=n)
            flops += tuning_flops(body + head, trained=0, evaluated=n * (params.epochs - 1))
        phases = tuned.seconds
        logits = tuned.logits(pixels, task.test)
        found[seed] = (
            _scores(logits, pixels.labels[task.test], pixels.n_classes)
            | {"seconds": sum(phases.values()) - phases["features"], "cpu_seconds": spent}
            | {"seconds_features": task.seconds_features if turn else 0.0}
            | {"seconds_probe": phases["probe"], "seconds_cleaning": phases["cleaning"]}
            | {"flops": float(flops), "images_seen": tuned.images}
        )
    return found


def _scores(logits: np.ndarray, y: np.ndarray, n_classes: int) -> dict[str, float]:
    predicted = logits.argmax(-1)
    recall = recall_per_class(predicted, y, n_classes)
    return {"accuracy": float((predicted == y).mean()), "balanced_accuracy": float(balanced_accuracy(recall))}


def live_source(rows: pd.DataFrame, epochs: int, seeds: Sequence[int]) -> str:
    """Return what captions say of the live runs."""
    first = rows.iloc[0]
    named = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
    noise, size = noise_words(first["noise_type"], first["noise_rate"]), first["image_size"]
    return (
        f"Digits 5 to 9, {first['n_train']} training and {first['n_test']} test images of {size} pixels, "
        f"{noise} noise, {epochs} epoch{'' if epochs == 1 else 's'} of fine-tuning, {named}."
    )
