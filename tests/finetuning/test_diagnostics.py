"""What diagnostics say of a network, against the network itself and against changes made by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from noisylib.errors import NoisylibError
from noisylib.features.backbones import load_backbone
from noisylib.features.pixels import made_pixels
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning.diagnostics import block_features, block_names, block_of, parameter_change
from noisylib.finetuning.network import make_classifier

N, WIDTH, DEPTH = 7, 12, 3


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 3, 8, 8), dtype=np.uint8)
    return made_pixels(images, np.arange(N) % 2, np.zeros(N, np.uint8), ("a", "b"))


@pytest.fixture
def backbone():
    return tiny_backbone(size=8, patch=4, width=WIDTH, depth=DEPTH, heads=2)


def look(model, pixels, rows=None, backbone=None, **more):
    rows = np.arange(N) if rows is None else rows
    return block_features(model, pixels, rows, backbone, precision="float32", **more)


def test_blocks_are_those_of_a_pass_done_by_hand(backbone, pixels) -> None:
    found = look(backbone, pixels)
    assert [layer.shape for layer in found] == [(N, WIDTH)] * (DEPTH + 1)
    assert all(layer.dtype == np.float32 for layer in found)
    model = backbone.model
    with torch.inference_mode():
        images = backbone.normalise(pixels.take(np.arange(N)))
        tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
        for block, layer in zip(model.blocks, found, strict=False):
            tokens = block(tokens)
            np.testing.assert_allclose(layer, tokens[:, 0].numpy(), atol=1e-5)
        np.testing.assert_allclose(found[-1], model(images).numpy(), atol=1e-5)


def test_neither_batches_nor_the_order_of_rows_change_anything(backbone, pixels) -> None:
    whole = look(backbone, pixels)
    for layer, cut in zip(whole, look(backbone, pixels, np.arange(N)[::-1], batch_size=3), strict=True):
        np.testing.assert_allclose(cut[::-1], layer, atol=1e-5)


def test_of_a_classifier_the_backbone_is_looked_at_and_left_as_it_was(backbone, pixels) -> None:
    classifier = make_classifier(backbone, 2)
    classifier.train()
    for ours, frozen in zip(look(classifier, pixels, backbone=backbone), look(backbone, pixels), strict=True):
        np.testing.assert_array_equal(ours, frozen)
    assert classifier.training
    assert classifier.backbone.blocks[1].training
    assert not any(module._forward_hooks for module in classifier.modules())
    assert not backbone.model.training


def test_double_precision_networks_are_read_too(backbone, pixels) -> None:
    double = make_classifier(backbone, 2, dtype=torch.float64)
    for ours, single in zip(look(double, pixels, backbone=backbone), look(backbone, pixels), strict=True):
        np.testing.assert_allclose(ours, single, atol=1e-4)


def test_bfloat16_is_near_and_comes_back_as_float32(backbone, pixels) -> None:
    for half, full in zip(
        block_features(backbone, pixels, np.arange(N), precision="bfloat16"),
        look(backbone, pixels),
        strict=True,
    ):
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, full, atol=0.1)


class Stages(nn.Module):
    """A convolutional network of two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.layer1, self.layer2 = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 2, 2), nn.BatchNorm2d(4)

    def forward(self, images):
        return self.layer2(self.layer1(self.conv1(images))).mean(dim=(2, 3))


def test_stages_are_seen_by_their_mean_over_the_image(backbone, pixels) -> None:
    network = Stages().eval()
    first, second, final = look(network, pixels, backbone=backbone)
    assert first.shape == second.shape == (N, 4)
    np.testing.assert_array_equal(second, final)
    with torch.inference_mode():
        maps = network.layer1(network.conv1(backbone.normalise(pixels.take(np.arange(N)))))
    np.testing.assert_allclose(first, maps.mean(dim=(2, 3)).numpy(), atol=1e-6)


def test_tokens_without_a_class_token_are_averaged(pixels, backbone) -> None:
    transformers = pytest.importorskip("timm.models.vision_transformer")
    network = transformers.VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=1, num_heads=2, num_classes=0,
        class_token=False, global_pool="avg", fc_norm=False,
    )  # fmt: skip
    block, final = look(network, pixels, backbone=backbone)
    seen = []
    hook = network.blocks[0].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        network.eval()(backbone.normalise(pixels.take(np.arange(N))))
    hook.remove()
    np.testing.assert_allclose(block, seen[0].mean(dim=1).numpy(), atol=1e-5)
    assert final.shape == (N, WIDTH)


@pytest.mark.parametrize(
    ("name", "n_blocks", "last"),
    [
        ("convnext_tiny", 4, "stages.3"),
        ("resnet50", 4, "layer4"),
        ("deit_tiny", 12, "blocks.11"),
        ("clip_vitb16", 12, "transformer.resblocks.11"),
        ("biomedclip", 12, "trunk.blocks.11"),
    ],
)
def test_every_kind_of_backbone_has_blocks_and_weights_in_all_of_them(name, n_blocks, last) -> None:
    if name in ("clip_vitb16", "biomedclip"):
        pytest.importorskip("open_clip")
    with torch.device("meta"):
        network = load_backbone(name, pretrained=False, device="meta").model
    names = block_names(network)
    assert (len(names), names[-1]) == (n_blocks, last)
    found = {block_of(parameter, n_blocks) for parameter, _ in network.named_parameters()}
    behind = set() if name == "resnet50" else {n_blocks}
    assert found == {-1, *range(n_blocks)} | behind


def test_changes_made_by_hand_come_back_by_block(backbone) -> None:
    moved = copy.deepcopy(backbone.model)
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            if name.startswith("blocks.1."):
                parameter.mul_(1.25)
            if name.startswith(("patch_embed", "cls_token", "pos_embed")):
                parameter.mul_(0.5)
            if name == "norm.weight":
                parameter.mul_(3)
    changes = parameter_change(backbone, moved)
    # The norm's bias is zero, so the whole of block L has moved by 2.
    expected = {-1: 0.5, 0: 0, 1: 0.25, 2: 0, 3: 2}
    assert list(changes) == list(expected)
    np.testing.assert_allclose(list(changes.values()), list(expected.values()), atol=1e-7)


def test_states_files_and_classifiers_are_compared_without_their_head(backbone) -> None:
    classifier = make_classifier(backbone, 2)
    with torch.no_grad():
        classifier.head.weight.add_(1)
    in_any_order = dict(sorted(backbone.model.state_dict().items()))
    assert set(parameter_change(in_any_order, classifier.state_dict()).values()) == {0}


def test_running_statistics_are_not_weights() -> None:
    network = Stages()
    moved = copy.deepcopy(network)
    moved.layer2.running_mean.add_(3)
    assert parameter_change(network, moved) == {-1: 0, 0: 0, 1: 0}


def test_two_networks_are_told_apart(backbone) -> None:
    other = tiny_backbone(size=8, patch=4, width=WIDTH, depth=2, heads=2)
    with pytest.raises(NoisylibError, match=r"different networks: 'blocks.2"):
        parameter_change(backbone, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": None, "model": nn.Conv2d(3, 2, 1)}, "does not know how its images are normalised"),
        ({"model": nn.Conv2d(3, 2, 1)}, "Conv2d without blocks"),
        ({"rows": np.zeros(0, int)}, "0 rows"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_what_cannot_be_looked_at_is_said(backbone, pixels, change, words: str) -> None:
    with pytest.raises(NoisylibError, match=words):
        block_features(
            **{"model": backbone, "pixels": pixels, "rows": np.arange(N)} | {"backbone": backbone} | change
        )
