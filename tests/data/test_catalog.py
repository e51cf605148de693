"""The catalogue agrees with itself, with the publishers' tables and with its bibliography."""

from __future__ import annotations

import re

import numpy as np
import pytest
from medmnist.info import INFO

from noisylib.data import DATASETS, dataset_info
from noisylib.data import classmaps as maps
from noisylib.errors import NoisylibError, UnknownNameError

NAMES = {
    "isic2019", "ham10000", "bloodmnist", "pathmnist", "organcmnist", "dermamnist", "breastmnist",
    "pneumoniamnist", "retinamnist", "pbc", "cifar10", "cifar100", "clothing1m", "webvision",
    "breast_cancer", "digits",
}  # fmt: skip
MEDMNIST = sorted(name for name in NAMES if name.endswith("mnist"))
# Names we shortened; all others are MedMNIST's own, in its order.
SHORTENED = {
    "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)": "ig",
    "actinic keratoses and intraepithelial carcinoma": "akiec",
    "basal cell carcinoma": "bcc",
    "benign keratosis-like lesions": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanocytic nevi": "nv",
    "vascular lesions": "vasc",
    **{str(grade): f"grade {grade}" for grade in range(5)},
}
# Coarse label of fine id 0..99, as published with CIFAR-100.
COARSE = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
]  # fmt: skip


def test_every_dataset_has_its_row():
    assert set(DATASETS) == NAMES
    assert all(name == info.name for name, info in DATASETS.items())


@pytest.mark.parametrize("info", DATASETS.values(), ids=lambda info: info.name)
def test_row_is_complete_and_adds_up(info, root):
    assert len(set(info.classes)) == info.n_classes >= 2
    if info.class_counts is not None:
        assert len(info.class_counts) == info.n_classes
        assert sum(info.class_counts) == sum(info.counts.values())
    for text in (info.title, info.licence, info.url, info.modality, info.splits):
        assert text
    assert info.files or info.kind == "features"
    keys = re.findall(r"^@\w+\{(\S+),$", (root / "book" / "references.bib").read_text(), re.M)
    assert info.citation in keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("info", DATASETS.values(), ids=lambda info: info.name)
def test_class_maps_use_known_names_and_move_every_class(info):
    for name, chosen in info.class_maps.items():
        assert set(chosen) | set(chosen.values()) <= set(info.classes)
        indices = info.map_indices(name)
        assert {info.classes[i]: info.classes[j] for i, j in indices.items()} == dict(chosen)
        assert all(i != j for i, j in indices.items())
    assert not info.class_maps or "default" in info.class_maps


def test_maps_by_published_ids():
    assert dataset_info("cifar10").map_indices() == {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}
    assert dataset_info("digits").map_indices() == {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
    blood = {0: 3, 1: 6, 2: 4, 4: 2, 3: 6, 6: 3, 5: 3, 7: 2}
    assert dataset_info("bloodmnist").map_indices() == dataset_info("pbc").map_indices() == blood
    assert dataset_info("pathmnist").map_indices() == {5: 7, 7: 5, 6: 8, 8: 6, 0: 1, 1: 0, 2: 4, 4: 2, 3: 2}
    organ = {1: 2, 2: 1, 4: 5, 5: 4, 7: 8, 8: 7, 6: 10, 10: 6, 3: 6, 9: 10, 0: 9}
    assert dataset_info("organcmnist").map_indices() == organ
    assert dataset_info("ham10000").map_indices() == {4: 5, 5: 4, 1: 2, 2: 1, 3: 6, 6: 3, 0: 1}
    assert dataset_info("isic2019").map_indices() == {0: 1, 1: 0, 2: 4, 4: 2, 3: 7, 7: 3, 5: 6, 6: 5}
    assert dataset_info("retinamnist").map_indices() == {0: 1, 1: 2, 2: 3, 3: 4, 4: 3}
    assert dataset_info("breastmnist").map_indices() == {0: 1}
    assert dataset_info("pneumoniamnist").map_indices() == {1: 0}


def test_isic_purity_of_the_majority_map():
    """Noisy NV at rate .4 is 80.8 % NV: computed here from the official counts."""
    info = dataset_info("isic2019")
    counts = dict(zip(info.classes, info.class_counts, strict=True))
    moved = {label: 0.4 * counts[label] for label in info.class_maps["majority"]}
    into_nv = sum(n for label, n in moved.items() if info.class_maps["majority"][label] == "NV")
    assert counts["NV"] / (counts["NV"] + into_nv) == pytest.approx(0.808, abs=5e-4)
    assert sum(moved.values()) / sum(counts.values()) == pytest.approx(0.197, abs=5e-4)


def test_cifar100_maps():
    info = dataset_info("cifar100")
    groups = list(maps.CIFAR100_SUPERCLASSES.values())
    assert info.classes == tuple(sorted(info.classes))
    assert [next(s for s, g in enumerate(groups) if name in g) for name in info.classes] == COARSE
    block, superclass = info.map_indices("cifar100_block5"), info.map_indices("cifar100_superclass")
    assert block == info.map_indices() == {i: 5 * (i // 5) + (i + 1) % 5 for i in range(100)}
    for s in range(20):  # ascending fine ids of a superclass, the last to the first
        fine = [i for i in range(100) if COARSE[i] == s]
        assert {i: superclass[i] for i in fine} == dict(zip(fine, np.roll(fine, -1).tolist(), strict=True))
    assert sum(COARSE[i] == COARSE[j] for i, j in block.items()) == 6


@pytest.mark.parametrize("name", MEDMNIST)
def test_rows_equal_the_medmnist_table(name):
    official = INFO[name]
    info = dataset_info(name)
    assert info.classes == tuple(SHORTENED.get(label, label) for label in official["label"].values())
    assert info.counts == official["n_samples"]
    assert info.title == official["python_class"]
    assert info.licence == official["license"]
    assert info.url in official["url"]


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match=r"dataset='bloodmnits' is unknown. Did you mean 'bloodmnist'"):
        dataset_info("bloodmnits")
    with pytest.raises(UnknownNameError, match=r"class_map='majorty' is unknown. Did you mean 'majority'"):
        dataset_info("ham10000").map_indices("majorty")
    with pytest.raises(NoisylibError, match=r"'clothing1m' has no class map.*pairflip"):
        dataset_info("clothing1m").map_indices()
