"""From pixels to what a network sees: normalised, moved to the device, mirrored and shifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.extract import resolve_precision
from noisylib.features.pixels import PixelSet
from noisylib.seeding import torch_generator

SHIFT = 0.125  # largest move of a training image, as a fraction of its side
FLIP = 0.5


def epoch_draws(n_samples: int, seed: int, epoch: int) -> Tensor:
    """Return the uniform numbers (N, 3) that mirror and shift each sample in an epoch.

    They belong to the sample and the epoch, not to the batch, so neither the order nor the number of
    processes changes what is done to an image.
    """
    return torch.rand(n_samples, 3, generator=torch_generator("augment", seed, epoch))


def augment(images: Tensor, draws: Tensor, sided: bool) -> Tensor:
    """Return images (B, 3, H, W), mirrored half of the time and moved by up to an eighth of their side.

    Edges are filled by reflection. Images whose classes tell left from right are not mirrored.
    """
    size = images.shape[-1]
    reach = int(size * SHIFT)
    draws = draws.to(images.device)
    columns = torch.arange(size, device=images.device).expand(len(images), size)
    if not sided:
        columns = torch.where(draws[:, :1] < FLIP, size - 1 - columns, columns)
    moves = (draws[:, 1:] * (2 * reach + 1)).long() - reach
    rows = _reflect(torch.arange(size, device=images.device) + moves[:, :1], size)
    columns = _reflect(columns + moves[:, 1:], size)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    # Picked as (B, H, W, 3): the channels stay together.
    return images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflect(place: Tensor, size: int) -> Tensor:
    place = place.abs()
    return torch.where(place >= size, 2 * (size - 1) - place, place)


def network_input(backbone: Backbone, images: Tensor, device: torch.device, precision: str) -> Tensor:
    """Return uint8 images (B, 3, H, W) as the network takes them."""
    ready = backbone.normalise(images.to(device, non_blocking=True))
    ready = ready.double() if precision == "float64" else ready
    return ready.contiguous(memory_format=torch.channels_last)


@contextmanager
def forward_mode(device: torch.device, precision: str) -> Iterator[None]:
    """Run the forward passes inside it in "bfloat16", or in the type of the weights for other precisions.

    On a CPU attention is multiplied out: at the few hundred patches of an image its fused kernel was seen to
    take up to half of the time of a training step.
    """
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        yield


def settle_precision(precision: str, device: torch.device) -> str:
    """Return "bfloat16", "float32" or "float64" for a recipe's precision on a device."""
    return precision if precision == "float64" else resolve_precision(precision, device.type)


def ahead(load: Callable[[Any], Tensor], items: Sequence[Any], threads: bool) -> Iterator[tuple[Any, Tensor]]:
    """Yield (item, load(item)) in order; with `threads`, the next one is loaded while this one is used."""
    if not threads:
        yield from ((item, load(item)) for item in items)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="batch") as pool:
        futures = [pool.submit(load, item) for item in items[:1]]
        for i, item in enumerate(items):
            images = futures.pop().result()
            futures += [pool.submit(load, following) for following in items[i + 1 : i + 2]]
            yield item, images


@torch.no_grad()
def extract(
    network: nn.Module,
    backbone: Backbone,
    pixels: PixelSet,
    rows: np.ndarray,
    *,
    precision: str = "auto",
    batch_size: int = 64,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return what a network makes of plain images in eval mode, (M, D) float32.

    Parameters
    ----------
    network : maps normalised images to rows, for example ``backbone.model`` or an `ImageClassifier`.
    backbone : whose normalisation is used.
    pixels, rows : the images.
    precision, batch_size : of the forward pass.
    device : where the network is; default: where its parameters are.
    progress : called with the number of images of each batch.
    """
    device = device or next(network.parameters()).device
    precision = settle_precision(precision, device)
    training, parts = network.training, []
    chunks = list(torch.from_numpy(np.array(rows, dtype=np.int64)).split(batch_size))
    network.eval()
    try:
        for chunk, images in ahead(pixels.take, chunks, device.type != "cpu"):
            with forward_mode(device, precision):
                found = network(network_input(backbone, images, device, precision))
            parts.append(found.to("cpu", torch.float64 if precision == "float64" else torch.float32))
            if progress is not None:
                progress(len(chunk))
    finally:
        network.train(training)
    if not parts:
        raise NoisylibError("rows is empty: give at least one image.")
    return torch.cat(parts).numpy()
