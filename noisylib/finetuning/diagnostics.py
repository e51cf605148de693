"""What fine-tuning did inside a backbone: features after every block, and how far its weights moved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.extract import resolve_precision

EMBEDDING = -1  # the block number of what comes before the first block
BATCH_SIZE = 64

# Containers of blocks, by the names that timm and open_clip give them; the first one found is taken.
_CONTAINERS = ("blocks", "transformer.resblocks", "stages")
_STAGES = ("layer1", "layer2", "layer3", "layer4")
_NUMBERED = re.compile(r"(?:^|\.)(?:blocks|resblocks|stages)\.(\d+)\.|(?:^|\.)layer(\d+)\.")
_BEFORE = re.compile(
    r"(?:^|\.)(?:patch_embed|cls_token|dist_token|reg_token|pos_embed|norm_pre|stem|conv_stem|conv1|bn1"
    r"|class_embedding|positional_embedding|ln_pre)(?:\.|$)"
)
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def block_features(
    model: nn.Module | Backbone,
    pixels: Any,
    rows: np.ndarray,
    backbone: Backbone | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    precision: str = "auto",
) -> list[np.ndarray]:
    """Return what every block says of some images: L + 1 arrays (n, D_l) float32, the feature itself last.

    One forward pass. A block is a layer of a transformer, seen by its class token (the mean of all tokens
    where the network has none), or a stage of a convolutional network, seen by its mean over the image.

    Parameters
    ----------
    model : the network: an `ImageClassifier` (its backbone is looked at), or a `Backbone`.
    pixels : a `PixelSet`.
    rows : (n,) int, images of it.
    backbone : whose mean and standard deviation the images get; needed unless `model` is a `Backbone`.
    batch_size : images at once.
    precision : "auto", "bfloat16" or "float32" forward pass, as in feature extraction.

    Raises
    ------
    NoisylibError
        A network whose blocks are not known, no images, or no backbone to say how they are normalised.
    """
    if isinstance(model, Backbone):
        backbone = backbone or model
        model = model.model
    if backbone is None:
        raise NoisylibError(
            "backbone=None: the network alone does not know how its images are normalised. Pass the Backbone "
            "that it was made from."
        )
    if not len(rows) or batch_size < 1:
        raise NoisylibError(f"{len(rows)} rows and batch_size={batch_size}: at least 1 of each is needed.")
    network = _network(model)
    weight = next(network.parameters())
    device = weight.device
    half = resolve_precision(precision, device.type) == "bfloat16"
    training = {module for module in network.modules() if module.training}
    parts: list[list[np.ndarray]] = []
    try:
        network.eval()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.autocast(device.type, torch.bfloat16) if half else nullcontext())
            seen = _watch(network, stack)
            for start in range(0, len(rows), batch_size):
                batch = pixels.take(rows[start : start + batch_size]).to(device)
                seen.clear()
                final = network(backbone.normalise(batch).to(weight.dtype))
                parts.append([part.float().cpu().numpy() for part in (*seen, final)])
    finally:
        for module in training:
            module.training = True
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def block_names(network: nn.Module) -> list[str]:
    """Return the names of the blocks of a network, first to last, as `named_modules` calls them."""
    modules = dict(_network(network).named_modules())
    for name in (prefix + container for prefix in ("", "trunk.") for container in _CONTAINERS):
        if name in modules and len(list(modules[name].children())):
            return [f"{name}.{i}" for i in range(len(list(modules[name].children())))]
    stages = [name for name in _STAGES if name in modules]
    if stages:
        return stages
    raise NoisylibError(
        f"model is a {type(_network(network)).__name__} without blocks, stages or layers by a known name "
        f"({', '.join((*_CONTAINERS, *_STAGES))}): its blocks cannot be told apart."
    )


def block_of(parameter: str, n_blocks: int) -> int:
    """Return the block number of a parameter by its name: -1 before the first block, L behind the last."""
    numbered = _NUMBERED.search(parameter)
    if numbered:
        block, stage = numbered.groups()
        return int(block) if block is not None else int(stage) - 1
    return EMBEDDING if _BEFORE.search(parameter) else n_blocks


def parameter_change(
    before: nn.Module | Backbone | Mapping[str, Tensor], after: nn.Module | Backbone | Mapping[str, Tensor]
) -> dict[int, float]:
    """Return the relative change ||after - before|| / ||before|| of the weights of each block.

    Key -1 is what comes before the first block (patches, positions, stem), 0..L-1 are the blocks, L what
    comes behind the last (final norm, projection), where the network has any. Running statistics of
    BatchNorm are not weights and do not count; nor does the head of a classifier.

    Parameters
    ----------
    before, after : networks, or their `state_dict`; of a classifier, its backbone is taken.

    Raises
    ------
    NoisylibError
        Two different networks: names or shapes differ.
    """
    old, new = _weights(before), _weights(after)
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (old, new)]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0]
        raise NoisylibError(
            f"before and after are different networks: {odd[0]!r} of shape {odd[1]} is in one of them only. "
            "Give the same network before and after training."
        )
    numbered = [block_of(name, EMBEDDING) for name in old]
    n_blocks = max(numbered, default=EMBEDDING) + 1
    squares: dict[int, list[float]] = {}
    for name, value in old.items():
        moved = (new[name].double() - value.double()).square().sum().item()
        sums = squares.setdefault(block_of(name, n_blocks), [0.0, 0.0])
        sums[0] += moved
        sums[1] += value.double().square().sum().item()
    return {block: _ratio(*squares[block]) for block in sorted(squares)}


def _ratio(moved: float, size: float) -> float:
    if size == 0:
        return 0.0 if moved == 0 else float("inf")
    return (moved / size) ** 0.5


def _network(model: nn.Module) -> nn.Module:
    """Return the backbone of a classifier, or the network itself."""
    inner = getattr(model, "backbone", None)
    return inner if isinstance(inner, nn.Module) else model


def _weights(model: nn.Module | Backbone | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, Backbone):
        model = model.model
    state = model.state_dict() if isinstance(model, nn.Module) else model
    if any(name.startswith("backbone.") for name in state):
        # The rest of a classifier is its head, which starts anew and has no "before".
        state = {
            name.removeprefix("backbone."): value
            for name, value in state.items()
            if name.startswith("backbone.")
        }
    return {
        name: value.detach().cpu()
        for name, value in state.items()
        if value.is_floating_point() and not name.endswith(_STATISTICS)
    }


def _watch(network: nn.Module, stack: ExitStack) -> list[Tensor]:
    """Return a list to which every block appends its pooled output (B, D), until the stack closes."""
    modules, seen = dict(network.named_modules()), []
    has_class_token = _has_class_token(network)

    def record(_: nn.Module, __: Any, output: Tensor) -> None:
        seen.append(_pooled(output, has_class_token))

    for name in block_names(network):
        stack.callback(modules[name].register_forward_hook(record).remove)
    return seen


def _has_class_token(network: nn.Module) -> bool:
    names = ("cls_token", "class_embedding", "trunk.cls_token")
    return bool({name for name, _ in network.named_parameters()}.intersection(names))


def _pooled(output: Tensor, has_class_token: bool) -> Tensor:
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output[:, 0] if has_class_token else output.mean(dim=1)
