"""A backbone with a linear head, both of which move."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisylib.errors import NoisylibError, require
from noisylib.features.backbones import Backbone
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.seeding import torch_generator

START = 0.01  # standard deviation of a new head's weights


class ImageClassifier(nn.Module):
    """A backbone and a linear layer over its features.

    Attributes
    ----------
    backbone : maps normalised images (B, 3, H, W) to features (B, D).
    head : maps features to logits (B, K).
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) of normalised images (B, 3, H, W)."""
        return self.head(self.backbone(images))

    def train(self, mode: bool = True) -> ImageClassifier:
        """Switch dropout on or off; batch normalisation keeps the statistics of the pretraining.

        Batches are small here, and in some published weights these layers are folded into others.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def make_classifier(
    backbone: Backbone,
    n_classes: int,
    *,
    seed: int = 0,
    head: tuple[np.ndarray, np.ndarray] | None = None,
    dtype: torch.dtype = torch.float32,
) -> ImageClassifier:
    """Return a classifier that can be trained, with a copy of the backbone's network.

    Parameters
    ----------
    backbone : frozen; it stays as it is.
    n_classes : K.
    seed : of a new head, normal with deviation 0.01 and no bias.
    head : weights (K, D) and bias (K,) to start from in place of a new one, for example those of a probe.

    Raises
    ------
    NoisylibError
        The head has another shape.
    """
    D = backbone.n_features
    linear = nn.Linear(D, n_classes, dtype=dtype, device="meta").to_empty(device="cpu")
    if head is None:
        weight = torch.randn(n_classes, D, generator=torch_generator("head", seed), dtype=torch.float64)
        W, b = weight * START, torch.zeros(n_classes)
    else:
        W, b = (torch.as_tensor(np.array(part)) for part in head)
        if W.shape != (n_classes, D) or b.shape != (n_classes,):
            raise NoisylibError(
                f"head has weights of shape {tuple(W.shape)} and a bias of shape {tuple(b.shape)}: "
                f"{backbone.info.name!r} with {n_classes} classes needs ({n_classes}, {D}) and "
                f"({n_classes},)."
            )
    with torch.no_grad():
        linear.weight.copy_(W)
        linear.bias.copy_(b)
    network = copy.deepcopy(backbone.model).to(dtype).requires_grad_(True)
    return ImageClassifier(network, linear.to(backbone.device))


def parameter_groups(classifier: ImageClassifier, recipe: FinetuneRecipe) -> list[dict[str, Any]]:
    """Return AdamW's groups: "params", the peak learning rate "peak", and "weight_decay".

    Raises
    ------
    NoisylibError
        A layer decay below 1 for a network whose order of blocks is not known.
    """
    scales = _layer_scales(classifier.backbone, recipe.layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    no_decay = getattr(classifier.backbone, "no_weight_decay", set)()
    for name, parameter in classifier.named_parameters():
        inner = name.removeprefix("backbone.")
        flat = parameter.ndim <= 1 or inner in no_decay
        peak = recipe.lr_head if name.startswith("head.") else recipe.lr_backbone * scales.get(inner, 1.0)
        groups.setdefault((peak, 0.0 if flat else recipe.weight_decay), []).append(parameter)
    return [
        {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
        for (peak, decay), parameters in groups.items()
    ]


def _layer_scales(network: nn.Module, layer_decay: float) -> dict[str, float]:
    """Return by what the learning rate of each parameter of the backbone is multiplied, by name."""
    if layer_decay == 1:
        return {}
    if not hasattr(network, "group_matcher"):
        raise NoisylibError(
            f"finetune.layer_decay={layer_decay} needs a network of timm, which knows the order of its "
            f"blocks; {type(network).__name__} does not. Set it to 1."
        )
    optim = require("timm.optim", "backbones")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = optim.param_groups_layer_decay(network, weight_decay=0.0, layer_decay=layer_decay)
    return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
