"""A pretrained backbone made on the spot: a tiny transformer that saw half of the digits, without labels.

It learns to draw an image again from its feature: a linear layer, thrown away afterwards, predicts the grey
values of the 8 x 8 image from the class token. The images are those of some digits, upright, turned by
quarters and mirrored; the other digits stay for the task. An autoencoder, in short, with one linear layer as
decoder: nothing that a published backbone is trained by, but what it learns carries over to digits that it
has never seen, and it takes seconds on one core.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from noisylib.data.digits import PRETRAINING_CLASSES, SIDE, TASK_CLASSES, digit_images
from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet, made_pixels
from noisylib.features.sized import tiny_backbone
from noisylib.seeding import torch_generator

SIZE = 16  # pixels a side: patches of 4 make 16 of them
STEPS = 300
BATCH = 64
LEARNING_RATE = 5e-3
WARMUP = 0.2  # share of the steps


def digit_pixels(size: int = SIZE, classes: Sequence[int] = TASK_CLASSES) -> PixelSet:
    """Return scikit-learn's images of some digits for a network, as `noisylib.data.digits` makes them."""
    found = digit_images(size, classes)
    return made_pixels(
        found.pixels,
        found.labels,
        found.split,
        found.class_names,
        found.info.name,
        keys=found.keys,
        sided=True,  # a mirrored digit is none
        licence=found.info.licence,
        citation=found.info.citation,
    )


def pretrained_tiny(
    seed: int = 0, steps: int = STEPS, classes: Sequence[int] = PRETRAINING_CLASSES, size: int = SIZE
) -> Backbone:
    """Return a tiny transformer pretrained on digits, without labels.

    Parameters
    ----------
    seed : of its first weights and of the batches.
    steps : of AdamW with 64 images each; 0 gives the random network.
    classes : digits whose images it sees, all of them; by default 0 to 4.
    size : side of an image in pixels, a multiple of 4.

    Raises
    ------
    NoisylibError
        A number of steps, digits or a size that cannot be.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise NoisylibError(f"steps={steps!r} must be an integer, 0 or more.")
    seen = "".join(map(str, classes))
    state = _state(seed, steps, tuple(classes), size)
    backbone = tiny_backbone(size, seed=seed, state={name: value.clone() for name, value in state.items()})
    info = replace(backbone.info, pretraining=f"drawing again, digits {seen}" if steps else "none")
    weights = f"digits {seen}, {steps} steps, seed {seed}"
    return replace(backbone, info=info, preprocessing={**backbone.preprocessing, "weights": weights})


@functools.lru_cache(maxsize=4)
def _state(seed: int, steps: int, classes: tuple[int, ...], size: int) -> dict[str, Tensor]:
    """Return the weights after pretraining; a session asks for the same ones more than once."""
    backbone = tiny_backbone(size, seed=seed)
    images = digit_images(size, classes)
    X = backbone.normalise(torch.from_numpy(turned_and_mirrored(images.pixels)))
    target = nn.functional.interpolate(X[:, :1], (SIDE, SIDE), mode="area").flatten(1)
    target = (target - target.mean(0)) / target.std()
    generator = torch_generator("pretrained tiny", seed)
    decoder = nn.Linear(backbone.n_features, target.shape[1], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        decoder.weight.normal_(0, 0.02, generator=generator)
        decoder.bias.zero_()
    _learn(backbone.model, decoder, X, target, steps, generator)
    return backbone.model.state_dict()


def _learn(
    model: nn.Module, decoder: nn.Linear, X: Tensor, target: Tensor, steps: int, generator: torch.Generator
) -> None:
    """Move `model` and `decoder` so that the decoded feature of X (N, 3, S, S) is `target` (N, P)."""
    model.requires_grad_(True)
    parameters = [*model.parameters(), *decoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    warmup = max(1, round(WARMUP * steps))
    with torch.enable_grad():
        for step in range(steps):
            # Up in a line, down in half a cosine.
            done = (step - warmup) / max(1, steps - warmup)
            rate = (step + 1) / warmup if step < warmup else (1 + np.cos(np.pi * done)) / 2
            optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate
            rows = torch.randint(len(X), (BATCH,), generator=generator)
            loss = nn.functional.mse_loss(decoder(model(X[rows])), target[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
    model.requires_grad_(False)


def turned_and_mirrored(pixels: np.ndarray) -> np.ndarray:
    """Return images (N, 3, S, S) in the eight positions of a square, (8 N, 3, S, S); first as they are."""
    both = (pixels, pixels[..., ::-1])
    return np.concatenate([np.rot90(side, turns, axes=(2, 3)) for side in both for turns in range(4)])
