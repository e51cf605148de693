"""Arithmetic of a network, counted; energy is not measured.

A multiplication and an addition are two operations (FLOPs), so a linear layer of D inputs and K outputs
costs 2 D K per image. Counted are matrix products, convolutions and attention, as torch's counter does;
norms, activations and the optimiser are left out, together some percent.

The convention for training is that a backward pass costs two forward passes, one for the gradient with
respect to the weights and one with respect to the inputs: three forward passes per trained image.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone

TRAINING_FACTOR = 3


def forward_flops(model: nn.Module | Backbone, size: int, batch: int = 1) -> int:
    """Return the FLOPs of one forward pass per image of `size` x `size` pixels, RGB.

    Nothing is computed: the pass runs on shapes alone (torch's meta device), so neither device nor
    precision changes the number, and `model` is left as it is.

    Parameters
    ----------
    batch : images in the pass that is counted; the result is per image all the same.

    Raises
    ------
    NoisylibError
        Size or batch below 1, or a network that does not take such images.
    """
    if min(size, batch) < 1:
        raise NoisylibError(f"size={size} and batch={batch}: whole numbers >= 1 are needed.")
    network = model.model if isinstance(model, Backbone) else model
    shapes = copy.deepcopy(network).to("meta").eval()
    images = torch.zeros(batch, 3, size, size, device="meta")
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            shapes(images)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NoisylibError(
            f"size={size}: the network takes no images of that size ({reason}). Give the size that it was "
            "built for."
        ) from error
    return counter.get_total_flops() // batch


def linear_flops(n_features: int, n_classes: int) -> int:
    """Return the FLOPs of one forward pass of a linear head per image, 2 D K."""
    return 2 * n_features * n_classes


def tuning_flops(per_image: int, *, trained: int, evaluated: int = 0) -> int:
    """Return the FLOPs of a run: 3 forward passes per trained image and 1 per evaluated one.

    Parameters
    ----------
    per_image : FLOPs of a forward pass per image, of whatever is run: `forward_flops` of a network that is
        trained whole, `linear_flops` of a head on features that are already there.
    trained : images that went through a training step, each as often as it did.
    evaluated : images that went through a forward pass alone: features, losses for a cleaning.
    """
    if min(per_image, trained, evaluated) < 0:
        raise NoisylibError(
            f"per_image={per_image}, trained={trained} and evaluated={evaluated}: none may be negative."
        )
    return per_image * (TRAINING_FACTOR * trained + evaluated)
