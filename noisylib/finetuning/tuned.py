"""What comes out of fine-tuning: a network, its history, and a file to keep it in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet
from noisylib.files import write_aside
from noisylib.finetuning.batches import extract
from noisylib.finetuning.network import ImageClassifier, make_classifier
from noisylib.finetuning.selection import Selection

FORMAT = 1


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """What happened in one epoch of fine-tuning.

    Attributes
    ----------
    epoch : from 0.
    loss : mean of the rule's loss over the images trained on, as they came.
    agreement : share of them whose prediction was the observed label at that moment.
    gradient_norm : mean over the steps, before clipping.
    steps, images : optimiser steps, and images trained on.
    seconds : of the steps, without the selection.
    selection : TURN's, else None.
    """

    epoch: int
    loss: float
    agreement: float
    gradient_norm: float
    steps: int
    images: int
    seconds: float
    selection: Selection | None = None


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A tuned network and how it came about.

    Attributes
    ----------
    classifier : the network in eval mode.
    backbone : what it started from, with its preprocessing; unchanged.
    history : one record per epoch.
    seconds : wall time by phase: "features" (extraction for the probe, 0 if they were given), "probe",
        "cleaning" (losses, mixtures, draws) and "tuning".
    precision : of the forward passes.
    """

    classifier: ImageClassifier
    backbone: Backbone
    history: list[EpochRecord]
    seconds: dict[str, float]
    precision: str

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return sum(record.steps for record in self.history)

    @property
    def images(self) -> int:
        """Images trained on, counted each time."""
        return sum(record.images for record in self.history)

    def logits(self, pixels: PixelSet, rows: np.ndarray) -> np.ndarray:
        """Return logits (M, K) float32 of plain images."""
        return extract(self.classifier, self.backbone, pixels, rows, precision=self.precision)

    def features(self, pixels: PixelSet, rows: np.ndarray) -> np.ndarray:
        """Return the tuned backbone's features (M, D) float32 of plain images."""
        return extract(self.classifier.backbone, self.backbone, pixels, rows, precision=self.precision)

    def save(self, path: str | Path) -> Path:
        """Write the network, the whole of it, as a safetensors file that `load_tuned` reads.

        Raises
        ------
        WriteError
            It cannot be written; what stood there is untouched.
        """
        path = Path(path)
        weights = {
            name: value.detach().cpu().contiguous() for name, value in self.classifier.state_dict().items()
        }
        with write_aside(path) as aside:
            save_file(weights, aside, metadata={"noisylib": json.dumps(self._facts())})
        return path

    def _facts(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "kind": "fine-tuned classifier",
            "backbone": self.backbone.info.name,
            "image_size": self.backbone.preprocessing["input_size"][-1],
            "n_classes": self.classifier.head.out_features,
            "precision": self.precision,
        }


def load_tuned(path: str | Path, backbone: Backbone, n_classes: int) -> FineTuned:
    """Return a network that `FineTuned.save` wrote; its history is empty.

    Parameters
    ----------
    backbone : of the same network and image size, for example by `noisylib.features.sized.sized_backbone`;
        its weights are replaced in the copy that is returned.
    n_classes : K, as it was trained.

    Raises
    ------
    NoisylibError
        The file is damaged or absent, or of another network, image size or number of classes.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["noisylib"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            kind, precision = facts["kind"], facts["precision"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise NoisylibError(
            f"{path} is no fine-tuned classifier of noisylib, or damaged ({error}). Save it again."
        ) from error
    empty = FineTuned(make_classifier(backbone, n_classes), backbone, [], {}, precision)
    differ = [
        f"{name} is {facts.get(name)!r} there and {value!r} here"
        for name, value in empty._facts().items()
        if facts.get(name) != value
    ]
    if differ:
        raise NoisylibError(f"{path} ({kind}) does not fit: {'; '.join(differ)}.")
    try:
        empty.classifier.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise NoisylibError(f"{path} does not fit backbone {backbone.info.name!r}: {reason}") from error
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise NoisylibError(
            f"{path} holds NaN or infinity in {len(bad)} tensors, first {bad[0]}: train it again."
        )
    empty.classifier.eval()
    return empty
