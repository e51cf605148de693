"""Labels that people gave as a study: conditions, ids, and the way from files to rows in miniature."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from noisylib import cli
from noisylib.data import dataset_info
from noisylib.errors import BankError, ConfigError, MissingDataError, UnknownNameError
from noisylib.features import BankMeta, FeatureBank, backbone_registry, load_bank
from noisylib.features.backbones import load_backbone
from noisylib.files import file_digest
from noisylib.study import collect, load_config
from noisylib.study.config import parse_config
from noisylib.study.plan import run_ids

GOOD = {
    "name": "t",
    "datasets": ["cifar10"],
    "backbones": ["deit_tiny"],
    "noise_types": ["human", "symmetric"],
    "human_labels": ["aggregate", "worst"],
    "noise_rates": [0.1, 0.4],
    "methods": ["ce"],
    "seeds": [0, 1],
}
EACH = 10  # training images of a class


def test_each_set_of_labels_is_one_condition_and_other_noise_has_its_rates():
    runs = parse_config(GOOD).runs()
    found = [(run.noise_type, run.noise_rate, run.class_map) for run in runs if run.seed_noise == 1]
    assert found == [
        ("human", 0.0, "aggregate"),
        ("human", 0.0, "worst"),
        ("symmetric", 0.1, "default"),
        ("symmetric", 0.4, "default"),
    ]
    assert len({run.run_id("bank") for run in runs}) == len(runs) == 8


def test_a_data_set_has_the_conditions_of_the_labels_it_has():
    config = parse_config({**GOOD, "datasets": ["cifar10", "cifar100"], "human_labels": ["worst", "fine"]})
    assert config.label_sets("cifar10") == ("worst",)
    assert config.label_sets("cifar100") == ("fine",)
    assert parse_config({**GOOD, "datasets": ["own"]}).label_sets("own") == ("aggregate", "worst")


def test_people_alone_need_no_rates():
    alone = {**GOOD, "noise_types": ["human"]}
    del alone["noise_rates"]
    assert [run.class_map for run in parse_config(alone).runs()] == ["aggregate", "worst"] * 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"human_labels": []}, ConfigError, r"human_labels=\[\]: give at least one"),
        ({"human_labels": ["worst", "worst"]}, ConfigError, "none twice"),
        ({"human_labels": ["wrost"]}, UnknownNameError, "Did you mean 'worst'"),
        ({"human_labels": "worst"}, ConfigError, "a list is needed"),
        ({"noise_types": ["symmetric"]}, ConfigError, "other noise has no human labels"),
        ({"noise_types": ["human"]}, ConfigError, r"noise_rates=\[0.1, 0.4\].* no rate to sweep"),
        ({"datasets": ["cifar10", "pbc"]}, ConfigError, "'pbc' has none of human_labels"),
        ({"datasets": ["cifar10", "cifar100"]}, ConfigError, "'cifar100' has none of .*cifar100 [(]fine[)]"),
    ],
)
def test_impossible_settings_are_named(change, error, message):
    with pytest.raises(error, match=message):
        parse_config({**GOOD, **change})


def test_ids_and_digest_of_the_archive_are_as_they_were(root):
    config = load_config(root / "configs" / "archive.yaml")
    record = json.loads((root / "results" / "archive.json").read_text())
    entry = record["studies"]["archive"]
    assert (config.digest, config.plain()) == (entry["digest"], entry["config"])
    ids = run_ids(config, {tuple(name.split("-")): checksum for name, checksum in record["banks"].items()})
    stored = pd.read_parquet(root / "results" / "archive.parquet", columns=["run_id"])["run_id"]
    assert list(ids.values()) == stored.tolist()


def test_the_shipped_study_compares_people_with_noise_of_their_rates(root):
    config = load_config(root / "configs" / "cifarn.yaml")
    assert config.label_sets("cifar10") == ("aggregate", "random1", "worst")
    assert config.label_sets("cifar100") == ("fine",)
    assert tuple(method.label for method in config.methods) == tuple(
        method.label for method in load_config(root / "configs" / "archive.yaml").methods
    )
    facts = pd.read_parquet(root / "results" / "human.parquet").set_index(["dataset", "labels"])
    for dataset in config.datasets:
        for name in config.label_sets(dataset):
            rate = facts.loc[(dataset, name), "realised_rate"]
            assert np.abs(np.array(config.noise_rates) - rate).min() < 1e-3


def test_a_dry_run_without_banks_says_what_makes_them(root, tmp_path, monkeypatch):
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path))
    arguments = ["run", str(root / "configs" / "cifarn.yaml"), "--dry-run", "--device", "cpu"]
    error = CliRunner().invoke(cli.app, arguments).exception
    assert isinstance(error, MissingDataError)
    for part in (
        "60 conditions and 1,440 runs, and reads 6 feature banks. 6 of them are not in",
        "noisylib features extract cifar100 --backbone dinov2_vits14 --data DATA/cifar100",
        "noisylib features study configs/cifarn.yaml --data DATA",
        "DATA/cifar10/CIFAR-10_human.pt, DATA/cifar100/CIFAR-100_human.pt (https://noisylabels.com)",
    ):
        assert part in str(error)


def write_cifar10(folder, monkeypatch):
    """Write 10 training and 2 test images of each class in the official layout; brightness tells it."""
    from torchvision.datasets import CIFAR10

    (folder / "cifar-10-batches-py").mkdir(parents=True)
    draw, sums = np.random.default_rng(0), {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = np.tile(np.arange(10), 2)
        data = (draw.integers(0, 60, (20, 3072)) + 20 * labels[:, None]).astype(np.uint8)
        path = folder / "cifar-10-batches-py" / name
        path.write_bytes(pickle.dumps({"data": data, "labels": labels.tolist()}))
        sums[name] = file_digest(path, "md5")
    meta = folder / "cifar-10-batches-py" / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": list(dataset_info("cifar10").classes)}))
    monkeypatch.setattr(CIFAR10, "train_list", [[n, s] for n, s in sums.items() if n != "test_batch"])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": file_digest(meta, "md5")})


def write_human(path):
    """Write labels of which 1, 2, 2, 2 and 4 in 10 are wrong in every class, each into the next class."""
    clean = np.tile(np.arange(10), EACH)
    turn = np.repeat(np.arange(EACH), 10)
    wrong = {
        "aggre_label": turn < 1,
        "random_label1": turn < 2,
        "random_label2": turn < 2,
        "random_label3": turn < 2,
        "worse_label": turn < 4,
    }
    torch.save(
        {"clean_label": clean, **{k: np.where(w, (clean + 1) % 10, clean) for k, w in wrong.items()}}, path
    )


@pytest.fixture
def small_hub(tmp_path, monkeypatch):
    """A small network under the name of deit_tiny, with random weights where the hub keeps its files."""
    size = {"img_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2}
    row = backbone_registry.BACKBONES["deit_tiny"]
    row = replace(row, n_features=16, input_size=32, kwargs={**row.kwargs, **size})
    known = MappingProxyType({**backbone_registry.BACKBONES, "deit_tiny": row})
    monkeypatch.setattr(backbone_registry, "BACKBONES", known)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / f"models--{row.hub_id.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    save = save_file if row.hub_file.endswith(".safetensors") else torch.save
    model = load_backbone(row, pretrained=False).model
    save({name: value.contiguous() for name, value in model.state_dict().items()}, snapshot / row.hub_file)


@pytest.fixture
def miniature(root, tmp_path, monkeypatch, small_hub):
    """The shipped study on one set and one backbone, two epochs, and made images in the official layout."""
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path / "banks"))
    write_cifar10(tmp_path / "data" / "cifar10", monkeypatch)
    study = yaml.safe_load((root / "configs" / "cifarn.yaml").read_text(encoding="utf-8"))
    sets = [name for name in study["human_labels"] if name != "fine"]
    study |= {"datasets": ["cifar10"], "backbones": ["deit_tiny"], "human_labels": sets, "seeds": [0]}
    study |= {"noise_rates": [0.0, 0.4], "recipe": {"epochs": 2, "score_epochs": 1}}
    path = tmp_path / "cifarn.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return path


def invoke(*arguments):
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_from_official_files_to_rows(miniature, tmp_path):
    data, where = tmp_path / "data", ("--results", tmp_path / "results", "--device", "cpu", "--jobs", 1)
    write_human(data / "cifar10" / "CIFAR-10_human.pt")
    assert "1 banks made" in invoke("features", "study", miniature, "--data", data, "--device", "cpu")
    bank = load_bank("cifar10", "deit_tiny")
    assert list(bank.human_labels) == ["aggregate", "random1", "random2", "random3", "worst"]
    assert (bank.training_human_labels("worst") != bank.part("train")[1]).mean() == 0.4
    assert "56 runs, 0 done, 56 missing" in invoke("run", miniature, "--dry-run", *where)
    invoke("run", miniature, *where)
    assert "56 runs, 56 done, 0 missing" in invoke("run", miniature, "--dry-run", *where)
    rows = collect(miniature, tmp_path / "results")
    people = rows[rows["noise_type"] == "human"]
    assert people.groupby("class_map")[["noise_rate", "realised_rate"]].mean().to_numpy().tolist() == [
        [0.1, 0.1], [0.2, 0.2], [0.4, 0.4]
    ]  # fmt: skip
    assert set(people.groupby("class_map")["method"].nunique()) == {8}
    assert np.isfinite(rows[["accuracy", "balanced_accuracy"]].to_numpy()).all()
    assert set(rows.loc[rows["noise_type"] != "human", "class_map"]) == {""}


def test_nothing_is_extracted_for_people_whose_labels_are_absent(miniature, tmp_path):
    result = CliRunner().invoke(
        cli.app, ["features", "study", str(miniature), "--data", str(tmp_path / "data")]
    )
    assert isinstance(result.exception, MissingDataError)
    assert "cifar10 has no human labels aggregate, random1, worst: put CIFAR-10_human.pt" in str(
        result.exception
    )
    assert not (tmp_path / "banks").exists()


def test_a_bank_without_the_labels_says_how_to_add_them(tmp_path):
    y = np.tile(np.arange(10), 4)
    meta = BankMeta(dataset="cifar10", backbone="deit_tiny")
    bank = FeatureBank.from_arrays(
        np.ones((40, 3)), y, np.repeat([0, 2], 20), dataset_info("cifar10").classes, meta
    )
    (tmp_path / "banks").mkdir()
    bank.save(tmp_path / "banks" / "cifar10-deit_tiny.safetensors")
    with pytest.raises(BankError, match=r"no human labels 'aggregate'; it has none.*with_human_labels"):
        parse_config(GOOD).load_banks(tmp_path / "banks")
