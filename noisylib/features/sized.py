"""Backbones for smaller or larger images than they were trained on, and a tiny one that trains in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisylib.errors import NoisylibError, require
from noisylib.features.backbone_registry import POST_NORM_CLS
from noisylib.features.backbones import Backbone, BackboneInfo, load_backbone
from noisylib.seeding import derive_seed

SMALLEST = 32  # pixels a side: convolutional backbones halve an image five times
_PIXELS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def sized_backbone(
    name: str | BackboneInfo,
    size: int,
    weights: str | Path | None = None,
    pretrained: bool = True,
    device: str | torch.device = "cpu",
) -> Backbone:
    """Return a backbone that takes images of `size` x `size` pixels in place of its own size.

    A transformer keeps its patches; its position embeddings are resampled from the checkpoint's grid to
    the new one (bicubic, with antialiasing). A convolutional network runs as it is. Before the crop, images
    are resized by the backbone's own rule, with `size` in place of its own size.

    Parameters
    ----------
    size : side of an image in pixels; a multiple of the patch, or at least 32 without patches.
    name, weights, pretrained, device : as in `noisylib.features.backbones.load_backbone`.

    Raises
    ------
    NoisylibError
        `size` is no multiple of the patch (the text names the two nearest), or too small.
    UnknownNameError, MissingDataError
        As in `load_backbone`.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise NoisylibError(f"size={size!r} must be the side of an image in pixels, for example 64 or 224.")
    # On the meta device a network costs milliseconds: a size that cannot be is said before weights are read.
    with torch.device("meta"):
        sketch = load_backbone(name, pretrained=False, device="meta")
    _check_size(sketch, size)
    info = sketch.info
    if info.library == "timm":
        # timm resamples while it loads, and reads the preprocessing for the size it is given.
        kwargs = dict(info.kwargs) | ({"img_size": size} if patch_size(sketch) else {})
        return load_backbone(replace(info, input_size=size, kwargs=kwargs), weights, pretrained, device)
    backbone = load_backbone(info, weights, pretrained, device)
    if size == info.input_size:
        return backbone
    _resample(backbone.model, size)
    preprocessing = {**backbone.preprocessing, "input_size": [3, size, size]}
    info = replace(info, input_size=size)
    return replace(backbone, info=info, preprocessing=preprocessing, _resize=_transform(preprocessing))


def patch_size(backbone: Backbone) -> int | None:
    """Return the side of a transformer's patches in pixels; None if the network has no patches of its own."""
    model = getattr(backbone.model, "trunk", backbone.model)
    if not hasattr(model, "pos_embed") and not hasattr(model, "positional_embedding"):
        return None
    size = getattr(model, "patch_size", None) or model.patch_embed.patch_size
    return int(size[0] if isinstance(size, tuple) else size)


def _check_size(backbone: Backbone, size: int) -> None:
    name, patch = backbone.info.name, patch_size(backbone)
    if patch is None:
        if size < SMALLEST:
            raise NoisylibError(
                f"size={size} is too small for backbone={name!r}, which halves an image five times: "
                f"give at least {SMALLEST}."
            )
        return
    if size % patch:
        below, above = size // patch * patch, -(-size // patch) * patch
        nearest = f"{below} or {above}" if below else f"{above}"
        raise NoisylibError(
            f"size={size} is no multiple of the patch of backbone={name!r}, which is {patch} x {patch} "
            f"pixels. The nearest allowed: {nearest}."
        )


def _resample(model: nn.Module, size: int) -> None:
    """Give open_clip's image tower position embeddings for images of `size` x `size`, in place."""
    if hasattr(model, "trunk"):  # a timm network inside
        model.trunk.set_input_size(img_size=size)
        model.trunk.requires_grad_(False)
    else:
        layers = require("timm.layers", "backbones")
        grid = [size // side for side in model.patch_size]
        table = model.positional_embedding.data[None]
        table = layers.resample_abs_pos_embed(
            table, grid, old_size=list(model.grid_size), num_prefix_tokens=1
        )
        model.positional_embedding = nn.Parameter(table[0].contiguous(), requires_grad=False)
        model.grid_size = tuple(grid)
    model.image_size = (size, size)


def _transform(preprocessing: Mapping[str, Any]) -> Any:
    """Return what resizes and crops a PIL image to uint8 pixels, from the plain values that describe it."""
    values = {name: preprocessing[name] for name in _PIXELS if name in preprocessing}
    values["input_size"] = tuple(values["input_size"])
    timm_data = require("timm.data", "backbones")
    return timm_data.create_transform(**values, is_training=False, use_prefetcher=True)


def tiny_backbone(
    size: int = 16,
    patch: int = 4,
    width: int = 48,
    depth: int = 3,
    heads: int = 3,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
) -> Backbone:
    """Return a vision transformer so small that a core trains it in seconds; its feature is the class token.

    Parameters
    ----------
    size, patch : sides of an image and of its patches in pixels.
    width, depth, heads : feature width D, number of blocks, attention heads (D is a multiple of them).
    seed : of the random weights.
    state : weights to take instead, as ``tiny_backbone(...).model.state_dict()`` gives them.

    Raises
    ------
    NoisylibError
        The sizes do not divide each other, or `state` belongs to a network of other sizes.
    """
    _check_tiny(size, patch, width, heads, depth)
    transformers = require("timm.models.vision_transformer", "backbones")
    # The library initialises from the global generator; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("tiny backbone", seed))
        model = transformers.VisionTransformer(
            img_size=size, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=0
        )
    if state is not None:
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise NoisylibError(
                f"state does not fit a tiny backbone of size={size}, patch={patch}, width={width}, "
                f"depth={depth}: {str(error).splitlines()[-1].strip()} Give the sizes it was made with."
            ) from error
    sizes = f"size={size}, patch={patch}, width={width}, depth={depth}, heads={heads}"
    preprocessing = {
        "library": "timm",
        "model": f"VisionTransformer({sizes})",
        "output": POST_NORM_CLS,
        "weights": f"random, seed {seed}" if state is None else "given",
        "weights_sha256": "",
        "weights_note": "",
        "input_size": [3, size, size],
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
    model = model.eval().requires_grad_(False)
    millions = round(sum(p.numel() for p in model.parameters()) / 1e6, 3)
    info = _tiny_info(size, patch, width, millions)
    return Backbone(info, model, preprocessing, torch.device("cpu"), _transform(preprocessing))


def _check_tiny(size: int, patch: int, width: int, heads: int, depth: int) -> None:
    for name, value in {"size": size, "patch": patch, "width": width, "heads": heads, "depth": depth}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise NoisylibError(f"{name}={value!r} must be an integer, at least 1.")
    for whole, part, names in ((size, patch, "size, patch"), (width, heads, "width, heads")):
        if whole % part:
            raise NoisylibError(
                f"{names} = {whole}, {part}: the first must be a multiple of the second, "
                f"for example {-(-whole // part) * part}."
            )


def _tiny_info(size: int, patch: int, width: int, millions: float) -> BackboneInfo:
    return BackboneInfo(
        name="tiny_vit",
        title="tiny ViT",
        library="timm",
        model_id=f"tiny_vit_{size}_{patch}_{width}",
        hub_id=None,
        hub_file="",
        n_features=width,
        output=POST_NORM_CLS,
        pretraining="none",
        licence="BSD-3-Clause",
        citation="dosovitskiy2021vit",
        parameters=millions,
        input_size=size,
        notes="Random weights, or weights trained on the spot.",
    )
