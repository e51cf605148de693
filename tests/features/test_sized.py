"""A backbone of another image size is the one that its library would have built, and says its size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from _tiny_extraction import TINY, tiny_images, tiny_weights
from PIL import Image

from noisylib.errors import MissingDataError, NoisylibError
from noisylib.features.backbones import backbone_info, load_backbone
from noisylib.features.sized import patch_size, sized_backbone, tiny_backbone


def test_transformer_is_timms_own(tmp_path):
    import timm

    path = tiny_weights(tmp_path / "tiny.safetensors", seed=3)  # made for 32 pixels
    backbone = sized_backbone(TINY, 48, path)
    theirs = timm.create_model(
        "test_vit", pretrained=True, num_classes=0, img_size=48, pretrained_cfg_overlay={"file": str(path)}
    ).eval()
    batch = torch.stack([backbone.transform(tiny_images().image(i)) for i in range(3)])
    assert batch.shape == (3, 3, 48, 48)
    torch.testing.assert_close(backbone.model(batch), theirs(batch), atol=0, rtol=0)
    # This network would resample at every call: its table must be of the right size before.
    torch.testing.assert_close(backbone.model.pos_embed, theirs.pos_embed, atol=0, rtol=0)
    assert backbone.preprocessing["input_size"] == [3, 48, 48]
    assert backbone.info.input_size == 48
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_own_size_changes_nothing(tmp_path):
    path = tiny_weights(tmp_path / "tiny.safetensors")
    plain, sized = load_backbone(TINY, path), sized_backbone(TINY, 32, path)
    assert sized.preprocessing == plain.preprocessing
    image = tiny_images().image(0)
    assert torch.equal(sized.model(sized.transform(image)[None]), plain.model(plain.transform(image)[None]))


def test_image_is_resized_by_the_backbones_rule():
    # DeiT crops the inner 90 %: 64 / 0.9 = 71 pixels, then the middle 64.
    backbone = sized_backbone("deit_tiny", 64, pretrained=False)
    x = np.tile(np.linspace(0, 255, 142), (142, 1)).astype(np.uint8)
    found = backbone.pixels(Image.fromarray(x).convert("RGB"))
    assert found.shape == (3, 64, 64)
    # At half the resolution and three or four pixels off either side: 255 * 2 * 3.5 / 142 is about 12.
    assert found[0, :, 0].float().mean().item() == pytest.approx(12, abs=3)
    assert found[0, :, -1].float().mean().item() == pytest.approx(255 - 12, abs=3)
    assert backbone.preprocessing["crop_pct"] == 0.9
    assert backbone.model.pos_embed.shape == (1, 1 + 4 * 4, 192)


def test_convolutions_take_any_size_from_32():
    with torch.device("meta"):
        backbone = sized_backbone("resnet50", 50, pretrained=False, device="meta")
        assert backbone.model(torch.zeros(2, 3, 50, 50)).shape == (2, 2048)
    assert backbone.preprocessing["input_size"] == [3, 50, 50]
    with pytest.raises(NoisylibError, match=r"size=31 is too small for backbone='resnet50'.*at least 32"):
        sized_backbone("resnet50", 31, pretrained=False)


def test_open_clip_tower_is_resampled_and_keeps_what_it_knows():
    config = {"image_size": 224, "layers": 1, "width": 64, "patch_size": 16}
    small_clip = replace(backbone_info("clip_vitb16"), n_features=8, kwargs={"vision_cfg": config})
    large, small = (sized_backbone(small_clip, size, pretrained=False) for size in (224, 64))
    assert small.model(torch.zeros(1, 3, 64, 64)).shape == (1, 8)
    before, after = large.model.positional_embedding, small.model.positional_embedding
    assert after.shape == (1 + 4 * 4, 64)
    assert not after.requires_grad
    assert torch.equal(before[0], after[0])  # the class token has no place
    table = before[1:].T.reshape(1, 64, 14, 14)
    theirs = torch.nn.functional.interpolate(table, (4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(after[1:], theirs.reshape(64, 16).T, atol=1e-5, rtol=1e-5)
    assert small.preprocessing["input_size"] == [3, 64, 64]
    assert small.pixels(Image.new("RGB", (90, 70))).shape == (3, 64, 64)


def test_timm_inside_open_clip_is_resampled():
    with torch.device("meta"):
        backbone = sized_backbone("biomedclip", 64, pretrained=False, device="meta")
        assert backbone.model(torch.zeros(2, 3, 64, 64)).shape == (2, 512)
    assert patch_size(backbone) == 16


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("deit_tiny", 60, "size=60 is no multiple.*'deit_tiny', which is 16 x 16.*48 or 64"),
        ("dinov2_vits14", 64, "14 x 14.*56 or 70"),
        ("biomedclip", 100, "16 x 16.*96 or 112"),
        ("deit_tiny", 7, "nearest allowed: 16"),
        ("deit_tiny", 0, "size=0 must be the side"),
        ("deit_tiny", 64.0, "size=64.0 must be the side"),
        ("deit_tiny", True, "size=True must be the side"),
    ],
)
def test_sizes_that_cannot_be(name, size, message):
    # Said before weights are looked for, which are not there.
    with pytest.raises(NoisylibError, match=message) as raised:
        sized_backbone(name, size, "nowhere.safetensors")
    assert not isinstance(raised.value, MissingDataError)


def test_tiny_backbone_is_what_it_says():
    backbone = tiny_backbone(size=12, patch=4, width=24, depth=2, heads=3)
    assert len(backbone.model.blocks) == 2
    assert backbone.model.pos_embed.shape == (1, 1 + 9, 24)
    assert backbone.n_features == 24
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 12, 12)
    images = backbone.normalise(pixels)
    assert images.unique().tolist() == [-1.0, 1.0]
    assert backbone.model(images).shape == (2, 24)
    assert backbone.preprocessing["input_size"] == [3, 12, 12]
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training


def test_tiny_backbone_is_seeded_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, same, other = (tiny_backbone(8, width=12, depth=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    image = torch.ones(1, 3, 8, 8)
    assert torch.equal(one.model(image), same.model(image))
    assert not torch.equal(one.model(image), other.model(image))
    given = tiny_backbone(8, width=12, depth=1, state=other.model.state_dict())
    assert torch.equal(given.model(image), other.model(image))
    assert given.preprocessing["weights"] != one.preprocessing["weights"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, "size, patch = 10, 4.*for example 12"),
        ({"width": 50}, "width, heads = 50, 3.*for example 51"),
        ({"depth": 0}, "depth=0 must be an integer"),
        ({"state": {}}, "state does not fit a tiny backbone of size=16"),
    ],
)
def test_tiny_backbone_that_cannot_be(options, message):
    with pytest.raises(NoisylibError, match=message):
        tiny_backbone(**options)
