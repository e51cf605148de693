"""Human labels in a feature bank: kept, checked, and part of the checksum only where there are any."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from noisylib.data import DATASETS
from noisylib.errors import BankError, NoisylibError, UnknownNameError
from noisylib.features import BankMeta, FeatureBank, card, extract
from noisylib.features.human import with_human_labels
from noisylib.features.reduce import reduce_bank

META = BankMeta(dataset="made", backbone="tiny")
Y = np.tile([0, 1, 2], 4)
SPLIT = np.repeat([0, 1, 2], [6, 3, 3])
WORST = np.array([1, 1, 2, 0, 1, 0, *[-1] * 6])
BEST = np.array([0, 1, 2, 0, 2, 2, *[-1] * 6])


def bank(**human) -> FeatureBank:
    X = np.random.default_rng(0).standard_normal((12, 4))
    return FeatureBank.from_arrays(X, Y, SPLIT, ("a", "b", "c"), META, human_labels=human)


def test_labels_of_the_training_part_come_back_from_a_file(tmp_path):
    made = bank(worst=WORST, best=BEST)
    made.save(tmp_path / "a.safetensors")
    again = FeatureBank.load(tmp_path / "a.safetensors")
    assert list(again.human_labels) == ["best", "worst"]
    assert again.training_human_labels("worst").tolist() == [1, 1, 2, 0, 1, 0]
    assert again.checksum == made.checksum
    again.training_human_labels("worst")[:] = 0
    assert again.human_labels["worst"].tolist() == WORST.tolist()


def test_their_order_does_not_matter_and_their_content_does(tmp_path):
    made = bank(worst=WORST, best=BEST)
    assert bank(best=BEST, worst=WORST).checksum == made.checksum
    others = [bank(), bank(worst=WORST), bank(best=WORST, worst=BEST), bank(other=WORST, best=BEST)]
    assert len({made.checksum, *(other.checksum for other in others)}) == 5


def test_a_bank_without_them_is_what_it_was(root, tmp_path):
    record = json.loads((root / "results" / "archive.json").read_text())["banks"]
    shipped = root / "data" / "banks" / "breastmnist-deit_tiny.safetensors"
    assert FeatureBank.load(shipped).checksum == record["breastmnist-deit_tiny"]
    bank().save(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["noisylib"])["format"] == "noisylib-bank-1"
    bank(worst=WORST).save(tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["noisylib"])["format"] == "noisylib-bank-4"


@pytest.mark.parametrize(
    ("human", "message"),
    [
        ({"worst": WORST[:6]}, r"human_labels.worst has shape \(6,\)"),
        ({"worst": WORST + 0.5}, "give integers"),
        ({"worst": np.where(SPLIT == 0, WORST, 0)}, r"human_labels.worst\[6\]=0: .* others have -1"),
        ({"worst": np.full(12, -1)}, r"human_labels.worst\[0\]=-1: every training sample"),
        ({"worst": np.where(WORST == 2, 3, WORST)}, r"human_labels.worst\[2\]=3: .* from 0 to 2"),
        ({"the worst": WORST}, "called 'the worst'"),
    ],
)
def test_labels_that_cannot_be_are_refused(human, message):
    with pytest.raises(BankError, match=message):
        bank(**human)


def test_a_file_whose_labels_were_changed_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    bank(worst=WORST).save(path)
    with safe_open(path, framework="np") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({**arrays, "human_labels.worst": BEST}, path, metadata=header)
    with pytest.raises(BankError, match="altered or damaged"):
        FeatureBank.load(path)


def test_an_absent_set_is_named():
    with pytest.raises(BankError, match=r"no human labels 'wrost'; it has best, worst"):
        bank(worst=WORST, best=BEST).training_human_labels("wrost")


def test_reduction_keeps_them_and_the_card_tells_their_rates():
    made = bank(worst=WORST)
    assert reduce_bank(made, 2).human_labels["worst"].tolist() == WORST.tolist()
    # Of Y = 0 1 2 0 1 2, people said 1 1 2 0 1 0.
    assert card._human(made) == [
        "`made-tiny.safetensors` also holds labels that people gave to the training images: "
        "worst (33.3 % wrong).\n"
    ]


def test_extraction_takes_along_what_people_said_of_every_training_image():
    from types import SimpleNamespace

    images = SimpleNamespace(
        labels=Y,
        split=SPLIT,
        human_labels={
            "worst": np.where(SPLIT == 2, 1, WORST),  # known of test images too
            "same": np.where(SPLIT == 0, Y, -1),
            "some": np.where(np.arange(12) == 3, -1, WORST),
        },
    )
    assert {name: labels.tolist() for name, labels in extract._human_labels(images).items()} == {
        "worst": WORST.tolist()
    }


def test_a_cifar_bank_gets_the_labels_of_a_file(tmp_path):
    y = np.tile(np.arange(10), 4)
    cifar = FeatureBank.from_arrays(
        np.ones((40, 2)),
        y,
        np.repeat([0, 2], 20),
        DATASETS["cifar10"].classes,
        replace(META, dataset="cifar10"),
    )
    names = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
    stored = {"clean_label": y[:20]} | {name: (y[:20] + i) % 10 for i, name in enumerate(names)}
    torch.save(stored, tmp_path / "labels.pt")
    found = with_human_labels(cifar, tmp_path / "labels.pt")
    assert found.training_human_labels("worst").tolist() == ((y[:20] + 4) % 10).tolist()
    torch.save({**stored, "clean_label": y[1:21]}, tmp_path / "labels.pt")
    with pytest.raises(NoisylibError, match="not the training labels of CIFAR-10 in their order"):
        with_human_labels(cifar, tmp_path / "labels.pt")
    with pytest.raises(UnknownNameError, match="made"):
        with_human_labels(bank(), tmp_path / "labels.pt")
