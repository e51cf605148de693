"""Loading a frozen backbone, with its preprocessing, from the hub or from a local checkpoint."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from noisylib.errors import NoisylibError, require
from noisylib.features.backbone_registry import BACKBONES, BackboneInfo, backbone_info
from noisylib.features.weights import find_weights, read_checkpoint
from noisylib.files import file_digest
from noisylib.seeding import derive_seed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["BACKBONES", "Backbone", "BackboneInfo", "backbone_info", "load_backbone"]

logger = logging.getLogger(__name__)

# The text tower of a contrastive pair is not run, so the smallest one stands in for it.
_NO_TEXT = {"width": 8, "heads": 1, "layers": 1, "vocab_size": 8, "context_length": 8}


@dataclass(frozen=True)
class Backbone:
    """A frozen network in eval mode and what it wants to see.

    Attributes
    ----------
    info : its row in the registry.
    model : maps normalised images (B, 3, H, W) to features (B, D).
    preprocessing : plain values that say what is done to an image and whose weights these are.
    device : where the model is.
    """

    info: BackboneInfo
    model: nn.Module
    preprocessing: dict[str, Any]
    device: torch.device
    _resize: Any

    @property
    def n_features(self) -> int:
        """Feature width D."""
        return self.info.n_features

    def pixels(self, image: Image) -> Tensor:
        """Return the resized and cropped image (3, H, W) uint8."""
        return self._resize(image)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return uint8 images (..., 3, H, W) as float32 with the backbone's mean and standard deviation."""
        mean, std = (
            torch.tensor(self.preprocessing[name], dtype=torch.float32, device=pixels.device).view(3, 1, 1)
            for name in ("mean", "std")
        )
        return pixels.float().sub_(255 * mean).div_(255 * std)

    def transform(self, image: Image) -> Tensor:
        """Return one image ready for the model, (3, H, W) float32."""
        return self.normalise(self.pixels(image))


def load_backbone(
    name: str | BackboneInfo,
    weights: str | Path | None = None,
    pretrained: bool = True,
    device: str | torch.device = "cpu",
) -> Backbone:
    """Return a frozen backbone in eval mode.

    Parameters
    ----------
    name : a key of BACKBONES, or a row of one's own.
    weights : local checkpoint; otherwise the hub's cache, then the hub.
    pretrained : False gives seeded random weights, always the same: for tests, and for the question
        what an untrained network would give.
    device : where to put it.

    Raises
    ------
    UnknownNameError
        No such backbone.
    MissingDataError
        No weights on this machine and none to be had; the text names the file.
    NoisylibError
        The checkpoint is damaged or belongs to another network.
    """
    if weights is not None and not pretrained:
        raise NoisylibError(f"weights={str(weights)!r} and pretrained=False contradict each other: give one.")
    info = name if isinstance(name, BackboneInfo) else backbone_info(name)
    path = find_weights(info, weights) if pretrained else None
    state = read_checkpoint(path, info.checkpoint_key) if path else {}
    build = {"timm": _build_timm, "open_clip": _build_open_clip}[info.library]
    # Libraries initialise from the global generator; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed("backbone", info.name))
        model, pixels = build(info, state)
    if path:
        _load_state(model, state, info, path)
    timm_data = require("timm.data", "backbones")
    resize = timm_data.create_transform(**pixels, is_training=False, use_prefetcher=True)
    # Convolutions run up to twice as fast with channels last, on CPUs too.
    model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return Backbone(info, model, _describe(info, pixels, path, weights), torch.device(device), resize)


def _build_timm(info: BackboneInfo, state: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Any]]:
    timm = require("timm", "backbones")
    kwargs, data = dict(info.kwargs), dict(info.data)
    if _is_converted(info, state, timm.get_pretrained_cfg(info.model_id)):
        kwargs |= info.converted["kwargs"]
        data |= info.converted["data"]
    model = timm.create_model(info.model_id, pretrained=False, num_classes=0, **kwargs)
    data["input_size"] = (3, info.input_size, info.input_size)
    return model, timm.data.resolve_model_data_config(model, args=data)


def _build_open_clip(info: BackboneInfo, state: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Any]]:
    open_clip = require("open_clip", "backbones")
    model = open_clip.CLIP(info.n_features, text_cfg=_NO_TEXT, **info.kwargs).visual
    size = (3, info.input_size, info.input_size)
    return model, {"input_size": size, "crop_mode": "center", **info.data}


def _is_converted(info: BackboneInfo, state: Mapping[str, Tensor], config: Any) -> bool:
    classifier = state.get(f"{config.classifier}.weight")
    return bool(info.converted) and classifier is not None and len(classifier) != config.num_classes


def _load_state(model: nn.Module, state: dict[str, Tensor], info: BackboneInfo, path: Path) -> None:
    unused = [*info.unused]
    if info.library == "open_clip":
        # A contrastive checkpoint holds both towers; a bare image tower is taken as it is.
        towers = {name[7:]: value for name, value in state.items() if name.startswith("visual.")}
        state = towers or state
    else:
        state = {name: value for name, value in state.items() if not name.startswith(info.unused or "\0")}
        state = _library_layout(model, state)
        classifiers = model.pretrained_cfg.get("classifier") or ()
        unused += [classifiers] if isinstance(classifiers, str) else classifiers
    try:
        keys = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _wrong_network(info, path, str(error).splitlines()[-1].strip()) from error
    surplus = [name for name in keys.unexpected_keys if not name.startswith(tuple(unused) or "\0")]
    if keys.missing_keys or surplus:
        missing = f"{len(keys.missing_keys)} tensors are absent {keys.missing_keys[:3]}"
        raise _wrong_network(info, path, f"{missing}, {len(surplus)} do not belong {surplus[:3]}")
    logger.info("%s: %d tensors from %s", info.name, len(model.state_dict()), path.name)


def _library_layout(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` with the keys and shapes of timm: official layouts, position embeddings."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return convert(state, model) if convert else state


def _wrong_network(info: BackboneInfo, path: Path, what: str) -> NoisylibError:
    return NoisylibError(
        f"weights={str(path)!r} does not fit backbone={info.name!r} ({info.model_id}): {what.rstrip('.')}. "
        "Give the checkpoint of that network, or name the backbone it belongs to."
    )


def _describe(
    info: BackboneInfo, pixels: Mapping[str, Any], path: Path | None, weights: str | Path | None
) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in pixels.items()}
    origin = "random" if path is None else path.name if weights else f"{info.hub_id}/{info.hub_file}"
    return {
        "library": info.library,
        # A hub tag names weights; a file of one's own has others.
        "model": info.model_id.partition(".")[0] if weights else info.model_id,
        "output": info.output,
        "weights": origin,
        "weights_sha256": file_digest(path) if path else "",
        "weights_note": _weights_note(path) if path else "",
        **plain,
    }


def _weights_note(path: Path) -> str:
    """Return what was done to the weights, if a ``.json`` of the same name beside them says so."""
    try:
        return str(json.loads(path.with_suffix(".json").read_text())["modification"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
