"""The banks in the repository: whole, of the stated images, and without leaks between splits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from noisylib.data import DATASETS
from noisylib.errors import MissingDataError, UnknownNameError
from noisylib.features import list_banks, load_bank

SHIPPED = ("breastmnist", "ham10000", "pbc", "pneumoniamnist", "retinamnist")
REDUCED = {"mobilenetv2": "aba4445b", "mobilenetv2_birds": "f82bffef"}  # and their weights' SHA-256
BACKBONES = ("deit_tiny", *REDUCED)


@pytest.mark.parametrize("dataset", SHIPPED)
def test_bank_is_the_official_set_under_deit_tiny(dataset):
    bank, info = load_bank(dataset), DATASETS[dataset]
    assert bank.n_features == 192
    assert bank.class_names == info.classes
    # PBC drops byte-identical files; the others keep every image.
    dropped = sum(info.counts.values()) - bank.n_samples
    assert 0 <= dropped <= 20 if dataset == "pbc" else dropped == 0
    for code, split in enumerate(("train", "val", "test")):
        if split in info.counts:
            assert np.sum(bank.split == code) == info.counts[split]
    assert bank.meta.licence == info.licence
    assert bank.meta.preprocessing["weights_sha256"].startswith("b2e17235")


@pytest.mark.parametrize("backbone", REDUCED)
@pytest.mark.parametrize("dataset", SHIPPED)
def test_other_backbones_saw_the_same_images_and_are_reduced(dataset, backbone):
    bank, first = load_bank(dataset, backbone), load_bank(dataset)
    for name in ("labels", "split", "groups"):
        assert np.array_equal(getattr(bank, name), getattr(first, name))
    for name in ("licence", "citation", "source", "notes"):
        assert getattr(bank.meta, name) == getattr(first.meta, name)
    assert bank.class_names == first.class_names
    assert (bank.n_features, bank.projection.shape) == (256, (257, 1280))
    record = bank.meta.preprocessing
    assert record["weights_sha256"].startswith(REDUCED[backbone])
    assert (record["reduction"]["n_components"], record["reduction"]["original_features"]) == (256, 1280)
    assert 0.7 < record["reduction"]["explained_variance"] < 1
    assert "--components 256" in bank.meta.command
    # Of a PCA on the training split, rotated: no mean, one variance; float16 keeps three digits.
    X = bank.part("train")[0].astype(np.float64)
    np.testing.assert_allclose(X.var(0), X.var(0).mean(), rtol=0.01)
    assert np.abs(X.mean(0)).max() < 0.02 * X.std()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("dataset", SHIPPED)
def test_bank_is_written_again_as_it_was_read(dataset, backbone, root, tmp_path):
    load_bank(dataset, backbone).save(tmp_path / "again.safetensors")
    shipped = root / "data" / "banks" / f"{dataset}-{backbone}.safetensors"
    assert (tmp_path / "again.safetensors").read_bytes() == shipped.read_bytes()


def test_ham10000_keeps_each_lesion_on_one_side():
    bank = load_bank("ham10000")
    assert len(np.unique(bank.groups)) == 7470
    pairs = np.unique(np.stack([bank.groups, bank.split]), axis=1)
    assert pairs.shape[1] == 7470


def test_commands_name_no_folder_of_a_machine(root):
    for dataset, backbone, _ in list_banks(root / "data" / "banks"):
        command = load_bank(dataset, backbone).meta.command
        assert re.fullmatch(r"noisylib features extract \w+ --backbone \w+ --data DATA/\w+ [^/]*", command)


def test_the_banks_are_small(root):
    banks = list_banks(root / "data" / "banks")
    assert [(dataset, backbone) for dataset, backbone, _ in banks] == [
        (dataset, backbone) for dataset in SHIPPED for backbone in BACKBONES
    ]
    sizes = {(dataset, backbone): path.stat().st_size for dataset, backbone, path in banks}
    assert sum(sizes[dataset, "deit_tiny"] for dataset in SHIPPED) < 15e6
    assert sum(sizes.values()) < 60e6


@pytest.mark.parametrize(("dataset", "shape"), [("digits", (1797, 64, 10)), ("breast_cancer", (569, 30, 2))])
def test_tables_are_banks_without_a_file(dataset, shape, tmp_path):
    bank = load_bank(dataset, root=tmp_path)
    assert (bank.n_samples, bank.n_features, bank.n_classes) == shape
    assert (bank.meta.dataset, bank.meta.backbone) == (dataset, "raw")


def test_absent_bank_names_the_command_and_unknown_names_the_nearest(tmp_path):
    with pytest.raises(MissingDataError, match=r"extract pathmnist --backbone clip_vitb16.*now: none"):
        load_bank("pathmnist", "clip_vitb16", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'pathmnist'"):
        load_bank("pathminst", root=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50'"):
        load_bank("pathmnist", "resnet5", tmp_path)
