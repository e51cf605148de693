"""Where fine-tuning studies read from: folders, kept features, labels of people and the web; what lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tinyfinetune import made

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.features.backbone_registry import BACKBONES
from noisylib.noise import inject
from noisylib.study import finetune_source
from noisylib.study.finetune_config import Condition
from noisylib.study.finetune_labels import told_of, training_labels
from noisylib.study.finetune_miniature import MadeSource, made_images, tiny_relative
from noisylib.study.finetune_plan import describe_study, missing_inputs, require_inputs
from noisylib.study.finetune_source import (
    ImageSource,
    Opened,
    frozen_features,
    opened,
    parse_files,
    parse_folders,
)
from noisylib.study.finetune_tasks import jobs_of

SETS = ("breastmnist", "pbc", "ham10000")


def test_folders_by_name_and_below_one(tmp_path) -> None:
    for name in ("medmnist", "pbc", "elsewhere"):
        (tmp_path / name).mkdir()
    found = dict(parse_folders(f"{tmp_path}, pbc={tmp_path / 'elsewhere'}", SETS))
    assert found == {
        "breastmnist": tmp_path / "medmnist",
        "pbc": tmp_path / "elsewhere",
        "ham10000": tmp_path,  # it may be the folder of the set itself
    }
    assert dict(parse_folders("pbc=a", SETS)) == {"pbc": Path("a")}
    assert parse_folders("", SETS) == ()
    with pytest.raises(UnknownNameError, match="pbc"):
        parse_folders("pcb=a", SETS)


def test_weights_by_name() -> None:
    assert dict(parse_files("deit_tiny=a.bin", ["deit_tiny"])) == {"deit_tiny": Path("a.bin")}
    with pytest.raises(NoisylibError, match=r"--weights a\.bin: say whose weights these are"):
        parse_files("a.bin", ["deit_tiny"])
    with pytest.raises(UnknownNameError):
        parse_files("vitb16=a.bin", ["deit_tiny"])


def test_frozen_features_are_extracted_once(tmp_path, monkeypatch) -> None:
    source = MadeSource(tmp_path)
    first = frozen_features(source, "breastmnist", "deit_tiny", "float32")
    assert (first.train.shape, first.test.shape) == ((48, 24), (24, 24))
    assert first.seconds > 0
    now = opened(source, "breastmnist", "deit_tiny")
    rows = now.pixels.rows("test")[:3]
    expected = now.backbone.model(now.backbone.normalise(now.pixels.take(rows))).numpy()
    np.testing.assert_allclose(first.test[:3], expected, atol=1e-5)
    (path,) = tmp_path.glob("features-*.safetensors")
    finetune_source._kept_features.cache_clear()
    monkeypatch.setattr(finetune_source, "_extract", None)
    np.testing.assert_array_equal(
        frozen_features(source, "breastmnist", "deit_tiny", "float32").train, first.train
    )
    finetune_source._kept_features.cache_clear()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(NoisylibError, match=r"features-breastmnist.*is damaged.*Delete it"):
        frozen_features(source, "breastmnist", "deit_tiny", "float32")


def test_made_noise_is_that_of_inject() -> None:
    source = MadeSource(Path("nowhere"))
    now = source.open("pbc", "deit_tiny")
    y = now.pixels.labels[now.pixels.rows("train")]
    found = training_labels(now, source, Condition("symmetric", 0.6), "default", "", 3)
    noise = inject(y, "symmetric", 0.6, n_classes=8, seed=3, dataset="pbc")
    assert found.y_noisy.tolist() == noise.y_noisy.tolist()
    assert found.wrong.tolist() == noise.flipped.tolist()
    assert found.realised_rate == noise.realised_rate
    features = source.reference("pbc", "mobilenetv2")[0][now.pixels.rows("train")]
    noise = inject(y, "instance", 0.4, n_classes=8, seed=3, dataset="pbc", features=features)
    found = training_labels(now, source, Condition("instance", 0.4), "default", "mobilenetv2", 3)
    assert found.y_noisy.tolist() == noise.y_noisy.tolist()
    asymmetric = training_labels(now, source, Condition("asymmetric", 0.4), "default", "", 3)
    moved = {(int(a), int(b)) for a, b in zip(y, asymmetric.y_noisy, strict=True) if a != b}
    names = now.pixels.class_names
    assert (names.index("ig"), names.index("neutrophil")) in moved
    assert len(moved) <= 8  # each class goes to one other
    facts = told_of([found, asymmetric])
    assert facts["noise_types"] == ["instance", "asymmetric"]
    assert facts["noise_rates"] == [found.realised_rate, asymmetric.realised_rate]
    assert facts["transitions"].shape == (2, 8, 8)


def test_features_of_other_images_make_no_noise() -> None:
    source = _Shifted(Path("nowhere"))
    now = source.open("pbc", "deit_tiny")
    with pytest.raises(NoisylibError, match="the features of pbc under mobilenetv2 are of other images"):
        training_labels(now, source, Condition("instance", 0.4), "default", "mobilenetv2", 0)


class _Shifted(MadeSource):
    """Reference features whose labels are not those of the images."""

    def reference(self, dataset: str, backbone: str):
        features, labels, checksum = super().reference(dataset, backbone)
        return features, (labels + 1) % 8, checksum


def test_labels_of_people_and_of_the_web() -> None:
    source = MadeSource(Path("nowhere"))
    people = source.open("cifar10", "deit_tiny")
    found = training_labels(people, source, Condition("human", labels="worst"), "default", "", 0)
    assert found.realised_rate == pytest.approx(0.2, abs=0.01)  # every fifth, as they are made
    assert found.told["noise_types"] == ["human"]
    web = source.open("webvision", "deit_tiny")
    found = training_labels(web, source, Condition("human", labels="web"), "default", "", 0)
    assert not found.known.any()
    assert np.isnan(found.realised_rate)
    assert found.told["noise_rates"] == [0.0]
    # Where some web labels were verified, those tell the rate.
    verified = np.full(len(web.pixels), -1)
    rows = web.pixels.rows("train")
    verified[rows[:4]] = web.pixels.labels[rows[:4]]
    verified[rows[0]] += 1
    checked = Opened(web.pixels, web.backbone, web.given | {"verified": verified})
    found = training_labels(checked, source, Condition("human", labels="web"), "default", "", 0)
    assert (found.known.sum(), found.wrong.sum(), found.realised_rate) == (4, 1, 0.25)
    with pytest.raises(NoisylibError, match="webvision comes without the labels 'fine', with web"):
        training_labels(web, source, Condition("human", labels="fine"), "default", "", 0)
    with pytest.raises(NoisylibError, match="lack some training images"):
        training_labels(checked, source, Condition("human", labels="verified"), "default", "", 0)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_every_backbone_has_a_tiny_relative(backbone) -> None:
    network = tiny_relative(backbone)
    pixels = made_images("breastmnist", 32)
    found = network.model(network.normalise(pixels.take([0, 1])))
    assert found.shape == (2, network.n_features)
    assert network.info.name == backbone
    again = tiny_relative(backbone).model.state_dict()
    assert all(value.equal(again[name]) for name, value in network.model.state_dict().items())


def test_all_that_is_missing_is_said_at_once(tmp_path) -> None:
    config, _ = made(tmp_path)
    config = replace(config, datasets=("breastmnist", "pbc"), backbones=("deit_tiny", "msn_vitb16"))
    source = ImageSource(
        tmp_path / "work", 64, roots=(("breastmnist", tmp_path),), weights=(("deit_tiny", tmp_path / "no"),),
        banks=str(tmp_path),
    )  # fmt: skip
    problems = missing_inputs(config, source, jobs_of(config))
    said = "\n".join(problems)
    for part in (
        "BreastMNIST: breastmnist.npz", "pbc: no folder given", "no' is not a file", "'msn_vitb16' is on no",
        "pbc: no features to make instance-dependent noise from: noisylib features extract pbc",
    ):  # fmt: skip
        assert said.count(part) == 1, said
    with pytest.raises(NoisylibError, match="'tune_miniature' cannot start, because things are missing"):
        require_inputs(config, source, jobs_of(config))
    assert not (tmp_path / "work").exists()


def test_weights_are_fetched_only_where_the_study_starts(tmp_path, monkeypatch) -> None:
    config, _ = made(tmp_path)
    source, asked = ImageSource(tmp_path / "work", 64, roots=(("breastmnist", tmp_path),)), []
    monkeypatch.setattr(finetune_source, "find_weights", lambda info, local: asked.append(info.name))
    monkeypatch.setattr(finetune_source, "is_cached", lambda info: False)
    problems = missing_inputs(config, source, jobs_of(config))
    assert asked == []
    assert any(line.startswith("deit_tiny: its weights are fetched from https://") for line in problems)
    problems = missing_inputs(config, source, jobs_of(config), fetch=True)
    assert asked == ["deit_tiny"]
    assert not any("its weights" in line for line in problems)


def test_a_size_that_a_network_cannot_take_is_found_in_a_dry_run(tmp_path) -> None:
    config, _ = made(tmp_path)
    source = ImageSource(tmp_path / "work", 60)
    with pytest.raises(NoisylibError, match=r"size=60 is no multiple of the patch.*48 or 64"):
        describe_study(config, source, tmp_path)


def test_sizes_are_those_of_the_catalogue_under_the_limits() -> None:
    source = ImageSource(Path("nowhere"), 64, limit=(("test", 100), ("train", 9000)))
    assert source.size("breastmnist") == (546, 100)
    assert source.size("pbc") == (9000, 100)
    assert ImageSource(Path("nowhere"), 64).size("pbc") == (17092 - 3418, 3418)
