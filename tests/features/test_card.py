"""The data card: its counts are those of the banks, and the file in the repository is what it renders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from noisylib.features import BankMeta, FeatureBank, card, list_banks
from noisylib.features.card import attribution, card_of, render_card, write_card
from noisylib.features.probe import linear_probe

BIB = """
@article{yang2023medmnist,
  author  = {Yang, Jiancheng and Shi, Rui and Ni, Bingbing},
  title   = {{MedMNIST} v2},
  journal = {Scientific Data},
  year    = {2023},
  doi     = {10.1038/s41597-022-01721-8}
}

@misc{two,
  author = {Bold{\\'u}, Laura and Rodellar, Jos{\\'e}},
  title  = {A dataset},
  year   = {2020},
  eprint = {1234.5}
}
"""


def made_bank(shift: float = 4.0, backbone: str = "deit_tiny") -> FeatureBank:
    """Two classes, `shift` standard deviations apart in one of four features; 30 + 0 + 15 samples."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 1], 15)
    features = rng.normal(size=(45, 4))
    features[:, 0] += shift * labels
    meta = BankMeta(
        dataset="breastmnist",
        backbone=backbone,
        preprocessing={
            "model": "a model",
            "weights": "a file",
            "weights_sha256": "f" * 64,
            "weights_note": "LayerNorm rounded.",
            "output": "class token",
            "precision": "float32",
            "interpolation": "bicubic",
            "crop_mode": "center",
            "crop_pct": 0.9,
            "input_size": [3, 224, 224],
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        },
        licence="CC BY 4.0",
        citation="yang2023medmnist",
        command="noisylib features extract breastmnist",
        source="https://example.org",
        notes="Images as read: 28 x 28 pixels.",
    )
    return FeatureBank.from_arrays(features, labels, np.repeat([0, 2], [30, 15]), ["malignant", "rest"], meta)


def probe(bank, **scores):
    return {
        "C": 1.0,
        "accuracy": 0.9,
        "balanced_accuracy": 0.8,
        "auc": 0.95,
        "majority_accuracy": 2 / 3,
        **scores,
    }


def render(bank, **rows):
    file = "breastmnist-deit_tiny.safetensors"
    scores = {"pretrained": probe(bank), **rows}
    return render_card([bank], {file: scores}, {file: 12_345}, BIB)


def test_card_states_counts_licence_command_and_scores():
    card = render(made_bank())
    for part in (
        "| malignant | 10 | 0 | 5 | 15 |",
        "| rest | 20 | 0 | 10 | 30 |",
        "| all | 30 | 0 | 15 | 45 |",
        "| `breastmnist-deit_tiny.safetensors` | 45 | 4 | - | - | 2 | 0.01 |",
        made_bank().checksum[:12],
        "Licence of images and features: CC BY 4.0.",
        "Yang, Jiancheng et al. MedMNIST v2. Scientific Data, 2023. https://doi.org/10.1038/s41597-022-01721-8",
        "noisylib features extract breastmnist",
        "LayerNorm rounded",
        "| BreastMNIST | DeiT-Ti | 1 | 90.0 | 80.0 | 95.0 | - | - | - | 66.7 | 50.0 |",
        "bicubic resize and center crop to 224 x 224 (crop fraction 0.9), mean 0.5, 0.5, 0.5,",
    ):
        assert part in card
    assert "No gain" not in card
    assert "variance of the z-scored" not in card
    assert "keep their licence.\n" in card


def made_reduced(backbone: str = "mobilenetv2", kept: float = 0.7814) -> FeatureBank:
    """The same samples under another backbone, 6 of its features reduced to 4."""
    bank = made_bank(3.0, backbone)
    record = {"n_components": 4, "method": "principal components", "explained_variance": kept}
    looks = {"crop_mode": "squash", "model": "net.tag", "mean": [128 / 255] * 3, "reduction": record}
    meta = replace(bank.meta, preprocessing={**bank.meta.preprocessing, **looks}, command=f"make {backbone}")
    return replace(bank, meta=meta, projection=np.ones((5, 6), np.float16))


def test_card_of_several_backbones_says_what_they_share_once():
    banks = [made_bank(), made_reduced(), made_reduced("mine", 0.5)]
    files = [f"breastmnist-{bank.meta.backbone}.safetensors" for bank in banks]
    probes = {file: {"pretrained": probe(bank)} for file, bank in zip(files, banks, strict=True)}
    probes[files[1]]["random"] = probe(banks[1], auc=0.95)
    probes[files[2]]["random"] = probe(banks[2], auc=0.94)
    card = render_card(banks, probes, dict.fromkeys(files, 500_000), BIB)
    for once in (
        "**BreastMNIST** (breast ultrasound)",
        "- Attribution: Yang, Jiancheng",
        "### BreastMNIST",
        "| malignant | 10 | 0 | 5 | 15 |",
        "| `breastmnist-deit_tiny.safetensors` | 45 | 4 | - | - | 2 | 0.50 |",
        "| `breastmnist-mobilenetv2.safetensors` | 45 | 4 | 6 | 78.1 % | 2 | 0.50 |",
        "| `breastmnist-mine.safetensors` | 45 | 4 | 6 | 50.0 % | 2 | 0.50 |",
        "Together 1.5 MB.",
        "keep so much of the\nvariance of the z-scored training split",
        "noisylib features extract breastmnist\nmake mobilenetv2\nmake mine\n",
        "**DeiT-Ti** (`deit_tiny`)",
        "**MobileNetV2 1.0** (`mobilenetv2`)",
        "**mine** (`mine`)",
        "- Weights: unknown; licence see their source; SHA-256",
        "bicubic resize and center crop",
        "| BreastMNIST | DeiT-Ti | 1 | 90.0 | 80.0 | 95.0 | - | - | - | 66.7 | 50.0 |",
        "| BreastMNIST | MobileNetV2 1.0 | 1 | 90.0 | 80.0 | 95.0 | 90.0 | 80.0 | 95.0 | 66.7 | 50.0 |",
        "| BreastMNIST | mine | 1 | 90.0 | 80.0 | 95.0 | 90.0 | 80.0 | 94.0 | 66.7 | 50.0 |",
        "**No gain from pretraining: BreastMNIST under MobileNetV2 1.0.**",
    ):
        assert card.count(once) == 1, once
    assert card.count("- Then 4 principal components.\n") == 2
    squeezed = "bicubic resize of the whole image to 224 x 224, whatever its shape, mean 0.502, 0.502, 0.502,"
    assert card.count(squeezed) == 2
    assert card.count("- Network: `net`, weights `a file` (LayerNorm rounded).") == 2
    # What differs is said for each.
    other = replace(banks[1], split=np.r_[banks[1].split[:44], 1].astype(np.uint8))
    files = dict.fromkeys(files, 1)
    assert render_card([banks[0], other], probes, files, BIB).count("### BreastMNIST") == 2


def test_card_names_the_sets_that_may_not_be_sold():
    bank = made_bank()
    free, restricted = render(bank), render(replace(bank, meta=replace(bank.meta, licence="CC BY-NC 4.0")))
    assert "non-commercial" not in free
    assert "keep their licence:\n**banks of BreastMNIST are for non-commercial use only**.\n" in restricted


def test_card_says_where_pretraining_gains_nothing():
    bank = made_bank()
    words = "No gain from pretraining: BreastMNIST under DeiT-Ti."
    assert words in render(bank, random=probe(bank, auc=0.95))
    assert "No gain" not in render(bank, random=probe(bank, auc=0.94))


def test_card_says_which_banks_hold_views_and_how_they_were_made():
    bank = made_bank()
    assert "views" not in render(bank)
    recipe = {"crop_area": [0.6, 1.0], "crop_ratio": [0.9, 1.1], "horizontal_flip": 0.5}
    meta = replace(bank.meta, preprocessing={**bank.meta.preprocessing, "view_recipe": recipe})
    views = np.zeros((4, 30, 4), dtype=np.float16)
    line = "\n`breastmnist-deit_tiny.safetensors` also holds 4 augmented views of each training image"
    assert f"{line}.\n" in render(replace(bank, views=views))
    assert (
        f"{line}: random crops of 60 to 100 % of the area, 0.9 to 1.1 times as wide as high, "
        "resized to the input; 50 % are mirrored left to right.\n"
    ) in render(replace(bank, views=views, meta=meta))


def test_attribution_reads_bibtex():
    assert attribution(BIB, "two") == "Boldú, Laura and Rodellar, José. A dataset. 1234.5, 2020."
    with pytest.raises(KeyError, match="absent"):
        attribution(BIB, "absent")


def test_write_card_keeps_scores_that_were_measured_before(tmp_path, monkeypatch):
    folder, random = tmp_path / "data" / "banks", tmp_path / "random"
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "references.bib").write_text(BIB)
    made_bank().save(folder / "breastmnist-deit_tiny.safetensors")
    made_bank(0.0, "deit_tiny_random").save(random / "breastmnist-deit_tiny_random.safetensors")
    write_card(folder, random)
    first = json.loads((folder / "probes.json").read_text())
    rows = first["breastmnist-deit_tiny.safetensors"]
    assert rows == {
        "checksum": made_bank().checksum,
        "pretrained": linear_probe(made_bank()),
        "random": linear_probe(made_bank(0.0)),
    }
    with monkeypatch.context() as patch:
        patch.setattr(card, "linear_probe", lambda bank: pytest.fail("measured again"))
        write_card(folder)
    assert json.loads((folder / "probes.json").read_text()) == first
    assert (folder / "README.md").read_text() == card_of(folder, first)
    changed = made_bank(1.0)
    changed.save(folder / "breastmnist-deit_tiny.safetensors")
    write_card(folder)
    rows = json.loads((folder / "probes.json").read_text())["breastmnist-deit_tiny.safetensors"]
    assert (rows["checksum"], rows["pretrained"]) == (changed.checksum, linear_probe(changed))


@pytest.fixture(scope="module")
def shipped(root):
    return root / "data" / "banks"


def test_shipped_card_is_what_the_shipped_banks_render(shipped):
    probes = json.loads((shipped / "probes.json").read_text())
    assert set(probes) == {path.name for _, _, path in list_banks(shipped)}
    assert (shipped / "README.md").read_text(encoding="utf-8") == card_of(shipped, probes)
