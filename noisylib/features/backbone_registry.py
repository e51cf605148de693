"""The backbones: one row each, with the model, its feature and its licence.

Every row takes the image at 224 x 224, so that backbones see the same pixels; what exactly is done
to an image (resize, crop, mean, std) is read from the model and stored with its features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from noisylib.errors import check_name

POST_NORM_CLS = "class token after the final LayerNorm"


@dataclass(frozen=True)
class BackboneInfo:
    """One frozen image encoder.

    Attributes
    ----------
    name, title : registry key, and how tables and figures call it.
    library : what builds the network.
    model_id : the library's name of architecture and weights.
    hub_id, hub_file : where the weights are on the Hugging Face hub; None: local checkpoint only.
    n_features : feature width D.
    output : which output of the network is the feature.
    pretraining, licence, citation : of the weights; the citation is a key of ``book/references.bib``.
    parameters : number of parameters of the part that is run, in millions.
    kwargs : arguments for the library's constructor.
    data : what the library's preprocessing record lacks or has for another use.
    checkpoint_key : entry of an official checkpoint that holds the encoder.
    unused : prefixes of checkpoint entries that the feature does not need.
    converted : ``kwargs`` and ``data`` for a checkpoint whose classifier has another size than the
        hub's; such a file is not the hub's network (see mobilenetv2).
    notes : traps and choices.
    """

    name: str
    title: str
    library: Literal["timm", "open_clip"]
    model_id: str
    hub_id: str | None
    hub_file: str
    n_features: int
    output: str
    pretraining: str
    licence: str
    citation: str
    parameters: float
    input_size: int = 224
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_key: str | None = None
    unused: tuple[str, ...] = ()
    converted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: str = ""


def _timm(name: str, title: str, model_id: str, n_features: int, output: str, **more: Any) -> BackboneInfo:
    more.setdefault("hub_id", f"timm/{model_id}")
    return BackboneInfo(
        name=name,
        title=title,
        library="timm",
        model_id=model_id,
        hub_file="model.safetensors",
        n_features=n_features,
        output=output,
        **more,
    )


_DINOV2 = {
    "pretraining": "self-supervised, LVD-142M",
    "licence": "Apache-2.0",
    "citation": "oquab2024dinov2",
    "kwargs": {"img_size": 224},
    "unused": ("mask_token",),
    "notes": "Trained at 518 px; position embeddings are resampled to 16 x 16 patches.",
}
_CLIP_PIXELS = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "crop_pct": 1.0,
}
# Converted from TensorFlow: its padding, its pixel range [-1, 1], the whole image squeezed to a square.
_TENSORFLOW = {
    "kwargs": {"pad_type": "same"},
    "data": {
        "mean": (128 / 255,) * 3,
        "std": (128 / 255,) * 3,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "crop_mode": "squash",
    },
}
_IMAGENET_PIXELS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

_ROWS = (
    _timm(
        "dinov2_vits14",
        "DINOv2 ViT-S/14",
        "vit_small_patch14_dinov2.lvd142m",
        384,
        POST_NORM_CLS,
        parameters=21.6,
        **_DINOV2,
    ),
    _timm(
        "dinov2_vitb14",
        "DINOv2 ViT-B/14",
        "vit_base_patch14_dinov2.lvd142m",
        768,
        POST_NORM_CLS,
        parameters=85.7,
        **_DINOV2,
    ),
    BackboneInfo(
        name="biomedclip",
        title="BiomedCLIP ViT-B/16",
        library="open_clip",
        model_id="BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        hub_id="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        hub_file="open_clip_pytorch_model.bin",
        n_features=512,
        output="512-d projection of the class token, as encode_image gives it, not length-normalised",
        pretraining="image-text contrastive, PMC-15M",
        licence="MIT",
        citation="zhang2023biomedclip",
        parameters=86.2,
        kwargs={
            "vision_cfg": {
                "timm_model_name": "vit_base_patch16_224",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 224,
            },
        },
        data=_CLIP_PIXELS,
        notes=(
            "The 512-d projection is the space that the contrastive training shaped; the 768-d class token "
            "before it is another feature and gives other numbers. The image tower is built alone, so the "
            "text tower's packages are not needed."
        ),
    ),
    BackboneInfo(
        name="clip_vitb16",
        title="CLIP ViT-B/16",
        library="open_clip",
        model_id="ViT-B-16/openai",
        hub_id="timm/vit_base_patch16_clip_224.openai",
        hub_file="open_clip_model.safetensors",
        n_features=512,
        output="512-d projection of the class token, as encode_image gives it, not length-normalised",
        pretraining="image-text contrastive, WIT-400M",
        licence="MIT",
        citation="radford2021clip",
        parameters=86.2,
        kwargs={
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
            "quick_gelu": True,
        },
        data=_CLIP_PIXELS,
        notes="OpenAI's weights need QuickGELU; with plain GELU they load and give worse features.",
    ),
    _timm(
        "vitb16",
        "ViT-B/16",
        "vit_base_patch16_224.augreg_in21k",
        768,
        POST_NORM_CLS,
        pretraining="supervised, ImageNet-21k",
        licence="Apache-2.0",
        citation="dosovitskiy2021vit",
        notes="The AugReg weights of Steiner et al. (2022), before any fine-tuning to ImageNet-1k.",
        parameters=85.8,
    ),
    _timm(
        "convnext_tiny",
        "ConvNeXt-T",
        "convnext_tiny.fb_in1k",
        768,
        "global average pool after the final LayerNorm",
        pretraining="supervised, ImageNet-1k",
        licence="Apache-2.0",
        citation="liu2022convnext",
        parameters=27.8,
    ),
    _timm(
        "mae_vitb16",
        "MAE ViT-B/16",
        "vit_base_patch16_224.mae",
        768,
        POST_NORM_CLS,
        pretraining="masked autoencoding, ImageNet-1k",
        licence="CC BY-NC 4.0",
        citation="he2022mae",
        parameters=85.8,
        unused=("decoder_", "mask_token"),
    ),
    _timm(
        "msn_vitb16",
        "MSN ViT-B/16",
        "vit_base_patch16_224",
        768,
        POST_NORM_CLS,
        hub_id=None,
        pretraining="masked siamese networks, ImageNet-1k",
        licence="CC BY-NC 4.0",
        citation="assran2022msn",
        parameters=85.8,
        checkpoint_key="target_encoder",
        unused=("fc.",),
        data={**_IMAGENET_PIXELS, "interpolation": "bilinear", "crop_pct": 0.875},
        notes=(
            "timm has no MSN weights: give the official vitb16_600ep.pth.tar from "
            "https://dl.fbaipublicfiles.com/msn/ with --weights. Its entry target_encoder holds the network, "
            "keys prefixed by 'module.'; the projection head fc is left out. Preprocessing as in the "
            "authors' linear evaluation (resize 256, crop 224)."
        ),
    ),
    _timm(
        "resnet50",
        "ResNet-50",
        "resnet50.tv_in1k",
        2048,
        "global average pool of the last stage",
        pretraining="supervised, ImageNet-1k",
        licence="BSD-3-Clause",
        citation="he2016resnet",
        parameters=23.5,
    ),
    _timm(
        "deit_tiny",
        "DeiT-Ti",
        "deit_tiny_patch16_224.fb_in1k",
        192,
        POST_NORM_CLS,
        pretraining="supervised, ImageNet-1k",
        licence="Apache-2.0",
        citation="touvron2021deit",
        parameters=5.5,
    ),
    _timm(
        "mobilenetv2",
        "MobileNetV2 1.0",
        "mobilenetv2_100.ra_in1k",
        1280,
        "global average pool of the last stage",
        pretraining="supervised, ImageNet-1k",
        licence="Apache-2.0",
        citation="sandler2018mobilenetv2",
        parameters=2.2,
        converted=_TENSORFLOW,
        notes=(
            "A local checkpoint whose classifier has not 1000 outputs (1001: ImageNet with background; 965: "
            "iNaturalist birds) comes from TensorFlow and gets its padding ('same') and pixel range "
            "[-1, 1], the whole image squeezed to 224 x 224. Its BatchNorm is folded: eval mode only."
        ),
    ),
    _timm(
        "mobilenetv2_birds",
        "MobileNetV2 birds",
        "mobilenetv2_100",
        1280,
        "global average pool of the last stage",
        hub_id=None,
        pretraining="supervised, iNaturalist birds",
        licence="Apache-2.0",
        citation="sandler2018mobilenetv2",
        parameters=2.2,
        **_TENSORFLOW,
        notes=(
            "A backbone from far away: 964 bird species. The weights are those of "
            "mobilenet_v2_1.0_224_inat_bird_quant.tflite in https://github.com/google-coral/test_data, "
            "converted to floating point in timm's layout. Its BatchNorm is folded: eval mode only."
        ),
    ),
)

BACKBONES: Mapping[str, BackboneInfo] = MappingProxyType({row.name: row for row in _ROWS})


def backbone_info(name: str) -> BackboneInfo:
    """Return the row of backbone `name`, or raise UnknownNameError with the nearest name."""
    return BACKBONES[check_name("backbone", name, BACKBONES)]
