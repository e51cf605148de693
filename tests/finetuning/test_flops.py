"""Counted arithmetic against arithmetic done by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from noisylib.errors import NoisylibError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning.flops import forward_flops, linear_flops, tuning_flops


@pytest.mark.parametrize("batch", [1, 3])
def test_a_linear_layer_costs_two_operations_per_weight(batch: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    assert forward_flops(network, 4, batch) == 2 * 48 * 5 == linear_flops(48, 5)


def test_a_convolution_costs_its_kernel_at_every_place() -> None:
    assert forward_flops(nn.Conv2d(3, 7, 3, padding=1), 10) == 2 * 3 * 9 * 7 * 100


def test_a_transformer_by_hand() -> None:
    D, depth, patches = 12, 2, 4
    tokens = patches + 1
    backbone = tiny_backbone(size=8, patch=4, width=D, depth=depth, heads=2)
    embedding = 2 * patches * 3 * 16 * D
    linear = 2 * tokens * D * (3 * D + D + 4 * D + 4 * D)  # query, key and value; projection; MLP
    attention = 2 * 2 * tokens * tokens * D
    assert forward_flops(backbone, 8) == embedding + depth * (linear + attention)
    weights = next(backbone.model.parameters())
    assert weights.device.type == "cpu"  # the network itself was not moved


def test_backward_costs_twice_forward_but_for_the_first_layer() -> None:
    layers = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    with FlopCounterMode(display=False) as forward:
        loss = layers(torch.ones(2, 64)).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    per_layer = forward.get_total_flops() / 3
    # Nobody needs the gradient with respect to the first layer's inputs.
    assert backward.get_total_flops() == (2 * 3 - 1) * per_layer


def test_a_run_is_three_passes_per_trained_and_one_per_evaluated_image() -> None:
    assert tuning_flops(10, trained=7, evaluated=4) == 10 * (3 * 7 + 4)
    assert tuning_flops(10, trained=0) == 0


@pytest.mark.parametrize(("size", "batch"), [(0, 1), (8, 0)])
def test_sizes_below_one(size: int, batch: int) -> None:
    with pytest.raises(NoisylibError, match=f"size={size} and batch={batch}"):
        forward_flops(nn.Conv2d(3, 1, 1), size, batch)


def test_an_image_size_that_the_network_does_not_take() -> None:
    with pytest.raises(NoisylibError, match="size=9: the network takes no images of that size"):
        forward_flops(tiny_backbone(size=8, patch=4, width=12, depth=1, heads=2), 9)


def test_negative_counts() -> None:
    with pytest.raises(NoisylibError, match="trained=-1"):
        tuning_flops(10, trained=-1)
