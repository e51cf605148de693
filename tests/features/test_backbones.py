"""Every registry row builds, is described truly, and takes only checkpoints of its own network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from _tiny_extraction import TINY, tiny_backbone, tiny_images, tiny_weights
from PIL import Image
from safetensors.torch import load_file, save_file

from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError
from noisylib.features.backbones import BACKBONES, backbone_info, load_backbone

WHITE, BLACK = (Image.new("RGB", (50, 40), colour) for colour in ("white", "black"))


@pytest.fixture
def ramp() -> Image.Image:
    """A 300 x 200 image whose red grows to the right and green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 200))
    return Image.fromarray(np.stack([x, y, x / 2 + y / 2], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("name", BACKBONES)
def test_row_builds_with_its_width_and_size(name):
    # On the meta device nothing is allocated, so that the large rows cost milliseconds too.
    with torch.device("meta"):
        backbone = load_backbone(name, pretrained=False, device="meta")
        features = backbone.model(torch.zeros(2, 3, 224, 224))
    assert features.shape == (2, backbone_info(name).n_features)
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
    millions = sum(p.numel() for p in backbone.model.parameters()) / 1e6
    assert backbone.info.parameters == pytest.approx(millions, abs=0.051)
    assert backbone.preprocessing["input_size"] == [3, 224, 224]
    assert backbone.preprocessing["output"] == backbone.info.output
    assert backbone.preprocessing["weights"] == "random"


def test_every_row_is_cited_and_licensed(root):
    bibliography = (root / "book" / "references.bib").read_text(encoding="utf-8")
    for row in BACKBONES.values():
        assert f"{{{row.citation},\n" in bibliography, row.name
        assert row.licence
        assert row.output
        assert row.pretraining


@pytest.mark.parametrize("name", [row.name for row in BACKBONES.values() if row.library == "timm"])
def test_timm_rows_agree_with_timm(name):
    import timm

    row = backbone_info(name)
    config = timm.get_pretrained_cfg(row.model_id).to_dict()
    if row.hub_id is None:
        assert name in ("msn_vitb16", "mobilenetv2_birds")
        return
    assert config["hf_hub_id"] == row.hub_id
    with torch.device("meta"):
        found = load_backbone(name, pretrained=False, device="meta").preprocessing
    for key in ("mean", "std", "interpolation", "crop_pct", "crop_mode"):
        expected = config[key]
        assert found[key] == (list(expected) if isinstance(expected, tuple) else expected)


def test_clip_row_agrees_with_open_clip(ramp):
    import open_clip

    row = backbone_info("clip_vitb16")
    config = open_clip.get_pretrained_cfg(*row.model_id.split("/"))
    assert row.data["mean"] == config["mean"]
    assert row.data["std"] == config["std"]
    assert row.data["interpolation"] == config["interpolation"]
    assert row.kwargs["quick_gelu"] is config["quick_gelu"]
    assert config["hf_hub"].strip("/") == row.hub_id
    published = open_clip.get_model_config("ViT-B-16")
    assert row.kwargs["vision_cfg"] == published["vision_cfg"]
    assert row.n_features == published["embed_dim"]
    with torch.device("meta"):
        backbone = load_backbone("clip_vitb16", pretrained=False, device="meta")
    theirs = open_clip.image_transform(224, is_train=False, mean=config["mean"], std=config["std"])
    torch.testing.assert_close(backbone.transform(ramp), theirs(ramp), atol=1e-5, rtol=0)


def test_transform_equals_timms_own(tmp_path, ramp):
    import timm

    backbone = tiny_backbone(tmp_path)
    config = timm.data.resolve_model_data_config(backbone.model, args={"input_size": (3, 32, 32)})
    theirs = timm.data.create_transform(**config, is_training=False)
    assert backbone.pixels(ramp).dtype == torch.uint8
    torch.testing.assert_close(backbone.transform(ramp), theirs(ramp), atol=1e-5, rtol=0)


def test_normalise_is_the_formula(tmp_path):
    backbone = tiny_backbone(tmp_path)
    # test_vit was trained with mean 0.5 and standard deviation 0.5: black is -1, white is 1.
    assert backbone.transform(WHITE).unique().tolist() == [1.0]
    assert backbone.transform(BLACK).unique().tolist() == [-1.0]


def test_local_checkpoint_gives_timms_features(tmp_path):
    import timm

    path = tiny_weights(tmp_path / "tiny.safetensors", seed=3)
    backbone = load_backbone(TINY, path)
    reference = timm.create_model(
        "test_vit", pretrained=True, num_classes=0, img_size=32, pretrained_cfg_overlay={"file": str(path)}
    ).eval()
    batch = torch.stack([backbone.transform(tiny_images().image(i)) for i in range(3)])
    torch.testing.assert_close(backbone.model(batch), reference(batch), atol=0, rtol=0)
    assert backbone.preprocessing["weights"] == "tiny.safetensors"
    assert len(backbone.preprocessing["weights_sha256"]) == 64


def test_feature_is_the_class_token_after_the_norm(tmp_path):
    backbone = tiny_backbone(tmp_path)
    batch = torch.stack([backbone.transform(tiny_images().image(i)) for i in range(2)])
    tokens = backbone.model.forward_features(batch)
    torch.testing.assert_close(backbone.model(batch), tokens[:, 0], atol=0, rtol=0)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "state_dict_ema"])
def test_torch_checkpoints_in_wrappers_load(tmp_path, wrap):
    path = tiny_weights(tmp_path / "tiny.safetensors")
    state = {f"module.{name}": value for name, value in load_file(path).items()}
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "tiny.pth")
    one, two = load_backbone(TINY, path), load_backbone(TINY, tmp_path / "tiny.pth")
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_msn_layout_takes_the_target_encoder(tmp_path):
    msn = backbone_info("msn_vitb16")
    row = dataclasses.replace(TINY, checkpoint_key=msn.checkpoint_key, unused=msn.unused)
    target = load_file(tiny_weights(tmp_path / "target.safetensors", seed=1))
    online = load_file(tiny_weights(tmp_path / "online.safetensors", seed=2))
    layout = {
        "target_encoder": {
            **{f"module.{k}": v for k, v in target.items()},
            "module.fc.fc1.weight": torch.ones(2),
        },
        "encoder": {f"module.{k}": v for k, v in online.items()},
        "epoch": 600,
    }
    torch.save(layout, tmp_path / "msn.pth.tar")
    model = load_backbone(row, tmp_path / "msn.pth.tar").model
    assert torch.equal(model.cls_token, target["cls_token"])


def test_image_tower_is_cut_from_a_contrastive_checkpoint(tmp_path):
    row = dataclasses.replace(
        backbone_info("biomedclip"),
        n_features=8,
        input_size=32,
        kwargs={
            "vision_cfg": {
                "timm_model_name": "test_vit",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 32,
            }
        },
    )
    first = load_backbone(row, pretrained=False)
    for parameter in first.model.parameters():
        parameter.add_(1)
    state = {f"visual.{name}": value for name, value in first.model.state_dict().items()}
    torch.save({**state, "text.proj": torch.ones(3), "logit_scale": torch.ones(())}, tmp_path / "both.bin")
    again = load_backbone(row, tmp_path / "both.bin")
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_checkpoint_of_another_network_is_refused(tmp_path):
    state = load_file(tiny_weights(tmp_path / "tiny.safetensors"))
    path = tmp_path / "other.safetensors"
    save_file({name: value for name, value in state.items() if name != "blocks.0.norm1.weight"}, path)
    with pytest.raises(NoisylibError, match=r"1 tensors are absent \['blocks.0.norm1.weight'\]"):
        load_backbone(TINY, path)
    save_file({**state, "surprise": torch.ones(2)}, path)
    with pytest.raises(NoisylibError, match=r"1 do not belong \['surprise'\]"):
        load_backbone(TINY, path)
    with pytest.raises(NoisylibError, match=r"does not fit backbone='deit_tiny'"):
        load_backbone("deit_tiny", path)


def test_random_weights_are_the_same_every_time_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = load_backbone(TINY, pretrained=False), load_backbone(TINY, pretrained=False)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.model.pos_embed, two.model.pos_embed)
    assert one.model.pos_embed.std() > 0


def test_unknown_backbone_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"backbone='dinov2_vits' .*mean 'dinov2_vits14'"):
        load_backbone("dinov2_vits")


def test_mobilenet_padding_follows_the_classifier(tmp_path):
    import timm

    model = timm.create_model("mobilenetv2_100", pretrained=False, pad_type="same", num_classes=965)
    save_file(model.state_dict(), tmp_path / "birds.safetensors")
    birds = load_backbone("mobilenetv2", tmp_path / "birds.safetensors")
    model = timm.create_model("mobilenetv2_100", pretrained=False)
    save_file(model.state_dict(), tmp_path / "hub.safetensors")
    hub = load_backbone("mobilenetv2", tmp_path / "hub.safetensors")
    assert type(birds.model.conv_stem).__name__ == "Conv2dSame"
    assert type(hub.model.conv_stem) is torch.nn.Conv2d
    # TensorFlow's input is (q - 128) / 128, so black is -1; and the whole image is squeezed in.
    assert birds.transform(BLACK).unique().tolist() == [-1.0]
    assert birds.preprocessing["crop_mode"] == "squash"
    assert birds.pixels(BLACK).shape == (3, 224, 224)
    assert hub.preprocessing["mean"] == [0.485, 0.456, 0.406]


def test_birds_are_the_converted_mobilenet_under_a_name_of_their_own(tmp_path):
    import timm

    torch.manual_seed(0)
    model = timm.create_model("mobilenetv2_100", pretrained=False, pad_type="same", num_classes=965)
    save_file(model.state_dict(), tmp_path / "birds.safetensors")
    named, found = (
        load_backbone(name, tmp_path / "birds.safetensors") for name in ("mobilenetv2_birds", "mobilenetv2")
    )
    assert named.info.name == "mobilenetv2_birds"
    for key in ("mean", "std", "interpolation", "crop_pct", "crop_mode", "input_size", "weights_sha256"):
        assert named.preprocessing[key] == found.preprocessing[key], key
    image = torch.stack([named.transform(tiny_images().image(0))])
    assert torch.equal(named.model(image), found.model(image))
    # Its padding needs no checkpoint, unlike that of the row it shares a network with.
    assert type(load_backbone("mobilenetv2_birds", pretrained=False).model.conv_stem).__name__ == "Conv2dSame"
    with pytest.raises(MissingDataError, match=r"on no hub.*inat_bird_quant\.tflite.*--weights FILE"):
        load_backbone("mobilenetv2_birds")


@pytest.mark.parametrize(
    ("name", "file", "width"),
    [
        ("deit_tiny", "deit_tiny_patch16_224", 192),
        ("mobilenetv2", "mobilenetv2_100_imagenet", 1280),
        ("mobilenetv2", "mobilenetv2_100_inat_bird", 1280),
        ("mobilenetv2_birds", "mobilenetv2_100_inat_bird", 1280),
    ],
)
def test_real_checkpoints_load_whole(shared_weights, name, file, width):
    backbone = load_backbone(name, shared_weights / f"{file}.safetensors")
    stored = load_file(shared_weights / f"{file}.safetensors")
    for key, value in backbone.model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, stored[key].to(value.dtype)), key
    with torch.inference_mode():
        features = backbone.model(torch.stack([backbone.transform(WHITE), backbone.transform(BLACK)]))
    assert features.shape == (2, width)
    assert not torch.allclose(features[0], features[1])
