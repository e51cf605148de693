"""Times the three ways to tune side by side: a linear probe, full fine-tuning, and TURN.

A vision transformer of DeiT-Ti's size with random weights is tuned on scikit-learn's digits, enlarged, with
40 % symmetric noise. What a step costs depends neither on the weights nor on the images. What TURN costs does
depend on how many samples it draws, so their share is reported too. Every round times every case once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.heads import Case
from noisylib import train_bank
from noisylib.data.digits import digit_images
from noisylib.features.pixels import PixelSet, made_pixels
from noisylib.features.sized import sized_backbone, tiny_backbone
from noisylib.finetuning import FineTuned, FinetuneRecipe, extract, finetune
from noisylib.noise import inject
from noisylib.recipe import Recipe


@dataclass(frozen=True)
class Setting:
    """What is timed."""

    backbone: str = "deit_tiny"
    image_size: int = 64
    samples: int = 512
    rounds: int = 2
    probe_epochs: int = 50
    epochs: int = 5
    batch_size: int = 32


class Workload:
    """Images, labels and a network; each method is one call that returns seconds."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.setting, self.device = setting, device
        self.pixels, self.rows, self.y = _images(setting)
        if setting.backbone == "tiny":
            self.backbone = tiny_backbone(setting.image_size)
        else:
            size = setting.image_size
            self.backbone = sized_backbone(setting.backbone, size, pretrained=False, device=str(device))
        self.recipe = FinetuneRecipe(
            epochs=setting.epochs, batch_size=setting.batch_size, lr_backbone=1e-4, lr_head=1e-3
        )
        self.n_classes = len(self.pixels.class_names)
        self.tuned: list[FineTuned] = []

    def features(self) -> np.ndarray:
        """Return the frozen features of the training images."""
        return extract(self.backbone.model, self.backbone, self.pixels, self.rows)

    def probe(self) -> None:
        """Extract features and train one linear head on them: a bank of one."""
        epochs = self.setting.probe_epochs
        X, recipe = self.features(), Recipe(epochs=epochs, score_epochs=min(10, epochs))
        test = np.unique(self.y, return_index=True)[1]  # one row per class: scores are not of interest
        device = self.device.type
        train_bank(
            X, self.y, X[test], self.y[test],
            n_classes=self.n_classes, method="ce", head="linear", recipe=recipe, device=device,
        )  # fmt: skip

    def tune(self, method: str) -> None:
        """Fine-tune once; TURN extracts its own features."""
        device = self.device.type
        tuned = finetune(
            self.pixels, self.rows, self.y, self.backbone,
            n_classes=self.n_classes, method=method, recipe=self.recipe, device=device,
        )  # fmt: skip
        if method == "turn":
            self.tuned.append(tuned)


def _images(setting: Setting) -> tuple[PixelSet, np.ndarray, np.ndarray]:
    """Return digits, the rows that are trained on and their noisy labels."""
    digits = digit_images(setting.image_size, tuple(range(10)))
    pixels = made_pixels(digits.pixels, digits.labels, digits.split, digits.class_names, "digits")
    rows = pixels.rows("train")[: setting.samples]
    noise = inject(pixels.labels[rows], "symmetric", 0.4, n_classes=10, seed=0, dataset="digits")
    return pixels, rows, noise.y_noisy


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``: ratios, seconds, phases and setting."""
    setting = Setting("tiny", 16, 60, 1, 2, 2, 16) if quick else Setting()
    work = Workload(setting, device)
    cases = {
        "features": _case("features of the training images", work.features),
        "lp_ce": _case("LP-CE, its features included", work.probe),
        "fft_ce": _case("FFT-CE", lambda: work.tune("ce")),
        "fft_elr": _case("FFT-ELR", lambda: work.tune("elr")),
        "turn": _case("TURN, its features included", lambda: work.tune("turn")),
    }
    work.features()  # warm
    for turn in range(setting.rounds):
        for case in list(cases.values())[:: -1 if turn % 2 else 1]:
            case.measure()
    phases = {
        phase: statistics.median(t.seconds[phase] for t in work.tuned) for phase in work.tuned[0].seconds
    }
    drawn = sum(record.images for record in work.tuned[0].history) / (setting.samples * setting.epochs)
    seconds = {name: case.median for name, case in cases.items()}
    return {
        "tuning.turn_to_fft": seconds["turn"] / seconds["fft_ce"],
        "tuning.turn_to_lp": seconds["turn"] / seconds["lp_ce"],
        "tuning.fft_to_lp": seconds["fft_ce"] / seconds["lp_ce"],
        "tuning.drawn_share": drawn,
        "tuning.turn_phases": phases,
        "tuning.seconds": {name: case.summary() for name, case in cases.items()},
        "tuning.setting": {**asdict(setting), "torch_threads": torch.get_num_threads()},
    }


def _case(title: str, work: Callable[[], object]) -> Case:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return Case(title, 1, seconds)


def table(results: dict[str, object]) -> str:
    """Return the measurements as text, one way to tune per line."""
    s, rows = results["tuning.setting"], results["tuning.seconds"]
    lines = [
        f"tuning {s['backbone']} at {s['image_size']} pixels on {s['samples']} images, {s['epochs']} epochs "
        f"(probe: {s['probe_epochs']}): seconds over {s['rounds']} rounds, {s['torch_threads']} torch "
        "thread(s)",
        "",
        f"{'':36}{'median':>9}{'min':>9}{'max':>9}{'to FFT-CE':>12}{'to LP-CE':>12}",
    ]
    for row in rows.values():
        spread = "".join(f"{row[key]:9.2f}" for key in ("median", "min", "max"))
        ratios = (row["median"] / rows[other]["median"] for other in ("fft_ce", "lp_ce"))
        lines.append(f"{row['title']:36}{spread}" + "".join(f"{ratio:10.2f} x" for ratio in ratios))
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in results["tuning.turn_phases"].items())
    return "\n".join(
        [*lines, "", f"TURN: {phases}; an epoch draws {results['tuning.drawn_share']:.0%} of the images"]
    )
