"""Studies of fine-tuning as configurations: what is read, what is refused, what a data set goes without."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tinyfinetune import STUDY, study

from noisylib.errors import ConfigError, NoisylibError, UnknownNameError
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.recipe import Recipe
from noisylib.study.finetune_config import Condition, load_finetune_config, parse_finetune_config


def test_a_study_is_read_as_it_is_written(tmp_path) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text(
        yaml.safe_dump(
            STUDY
            | {
                "limit": {"train": 40, "test": 20},
                "probe": {"epochs": 30},
                "finetune": {"epochs": 2, "lr_backbone": 1e-4},
            }
        )
    )
    config = load_finetune_config(path)
    assert config.datasets == ("breastmnist",)
    assert config.conditions == (Condition("symmetric", 0.2), Condition("instance", 0.4))
    assert [method.label for method in config.methods] == ["LP-CE", "FFT-CE", "TURN"]
    assert dict(config.limit) == {"train": 40, "test": 20}
    assert config.maps == (("breastmnist", Condition("symmetric", 0.2)),)
    assert config.probe == Recipe(epochs=30)
    assert config.finetune == FinetuneRecipe(epochs=2, lr_backbone=1e-4)
    assert config.runs() == 2 * 3 * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "name='a/b': it becomes part of a file name"),
        ({"seed": [3]}, "seeds"),
        ({"seeds": None}, "lacks seeds"),
        ({"seeds": [0, 0]}, "seeds has 2 entries: give at least one, and none twice"),
        ({"seeds": ["a"]}, "seeds: 'a' is str, a whole number is needed"),
        ({"seeds": 3}, "seeds=3: a list is needed"),
        ({"image_size": "64"}, "image_size: '64' is str"),
        ({"image_size": 8}, "image_size=8: a whole number of pixels in 16..1024"),
        ({"datasets": ["brestmnist"]}, "breastmnist"),
        ({"datasets": ["digits"], "maps": []}, "digits holds features, not images"),
        ({"backbones": ["deit"]}, "deit_tiny"),
        ({"conditions": ["symmetric"]}, "conditions entry 'symmetric': write a noise type and a rate"),
        ({"conditions": ["symmetric 40"]}, "so 40 % is 0.4"),
        ({"conditions": ["symmetric x"]}, "'x' is not a number"),
        ({"conditions": ["symetric 0.2"]}, "symmetric"),
        ({"conditions": ["symmetric 0.6"], "maps": []}, "no data set can have 'symmetric 0.6'"),
        ({"conditions": ["human worst"], "maps": []}, "no data set can have 'human worst'"),
        ({"reference_backbone": None}, "reference_backbone is empty"),
        ({"limit": {"train": 0}}, "limit.train=0: a whole number of at least 1"),
        ({"limit": {"training": 9}}, "train"),
        ({"maps": [["breastmnist", "symmetric 0.4"]]}, "none of its conditions: symmetric 0.2, instance 0.4"),
        ({"maps": [["pbc", "symmetric 0.2"]]}, "maps: data set"),
        ({"class_map": "majority", "conditions": ["asymmetric 0.4"], "maps": []}, "default"),
        ({"methods": ["turn", "turn"]}, "methods has 2 entries"),
        ({"methods": ["lp-forward"]}, "lp-ce"),
        ({"methods": [{"method": "turn", "tau": 0.4}]}, "give it a label of its own"),
        ({"methods": [{"method": "turn", "tau": 1.4, "label": "x"}]}, "turn.tau=1.4"),
        ({"methods": [{"method": "turn", "taw": 0.4, "label": "x"}]}, "tau"),
        ({"methods": [{"method": "fft-ce", "tau": 0.4, "label": "x"}]}, "only turn has options"),
        ({"methods": [{"tau": 0.4}]}, "write a name, or {method: turn"),
        ({"methods": ["lp-ce", {"method": "fft-ce", "label": "LP-CE"}]}, "give each a label of its own"),
        ({"finetune": {"epoch": 3}}, "epochs"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs=0"),
        ({"probe": 3}, "probe=3: a mapping is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_key_and_the_fix(changes, said) -> None:
    with pytest.raises(NoisylibError, match=re.escape(said)):
        study(**changes)


def test_the_file_is_named_in_errors(tmp_path) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"backbones": ["deit"]}))
    with pytest.raises(UnknownNameError, match=re.escape(str(path))):
        load_finetune_config(path)
    path.write_text("name: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_finetune_config(path)
    with pytest.raises(ConfigError, match="no study at"):
        load_finetune_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="not list"):
        parse_finetune_config([STUDY])


def test_a_data_set_goes_without_what_it_cannot_have() -> None:
    config = study(
        datasets=["breastmnist", "pbc", "cifar100", "webvision"],
        conditions=["symmetric 0.4", "symmetric 0.6", "asymmetric 0.4", "human web", "human fine"],
        maps=None,
    )
    have = {name: [c.text for c in config.conditions_of(name)] for name in config.datasets}
    assert have["breastmnist"] == ["symmetric 0.4", "asymmetric 0.4"]  # two classes: below 0.5
    assert have["pbc"] == ["symmetric 0.4", "symmetric 0.6", "asymmetric 0.4"]
    assert have["cifar100"] == ["symmetric 0.4", "symmetric 0.6", "asymmetric 0.4", "human fine"]
    assert have["webvision"] == ["human web"]
    reasons = {(name, c.text): why for name, c, why in config.left_out()}
    assert len(reasons) == 3 + 2 + 1 + 4
    assert reasons["breastmnist", "symmetric 0.6"] == "with 2 classes the rate must be below 0.5"
    assert "web labels" in reasons["webvision", "symmetric 0.4"]
    assert reasons["cifar100", "human web"] == "it has the human labels fine"
    assert config.runs() == (2 + 3 + 4 + 1) * 3 * 2


def test_the_shipped_studies_are_what_they_say(root: Path) -> None:
    small, arms, longer, paper = (
        load_finetune_config(root / f"configs/{name}.yaml")
        for name in ("turn_small", "turn_small_arms", "turn_small_longer", "turn_paper")
    )
    rows = ["LP-CE", "LP-GCE", "LP-ELR", "LP-DivideMix", "LP-UNICON", "FFT-CE", "FFT-GCE", "FFT-ELR", "TURN"]
    assert [method.label for method in small.methods] == rows
    assert [method.label for method in paper.methods] == rows
    assert small.runs() == (4 + 5 + 4 + 5 + 5) * 9 * 3
    assert arms.runs() == 5 * 2 * 5
    assert longer.runs() == 5 * 2
    assert [dict(m.options) for m in arms.methods[:4]] == [{"tau": t} for t in (0.4, 0.5, 0.7, 0.8)]
    assert dict(arms.methods[4].options) == {"balanced": False}
    # The arms differ from the main study in nothing else, so that its TURN rows stand beside them.
    for field in ("datasets", "backbones", "image_size", "limit", "finetune"):
        assert getattr(arms, field) == getattr(small, field)
    assert replace(longer.finetune, epochs=small.finetune.epochs) == small.finetune
    for beside in (arms, longer):
        assert set(beside.conditions) <= set(small.conditions)
        assert set(beside.seeds) <= set(small.seeds)
        assert beside.limit == small.limit
    assert [c.text for c in paper.conditions_of("cifar100")] == [
        "symmetric 0.6", "symmetric 0.9", "asymmetric 0.4", "instance 0.4",
    ]  # fmt: skip
    assert [c.text for c in paper.conditions_of("clothing1m")] == ["human web"]
    assert (len(paper.backbones), paper.finetune.epochs) == (6, 5)
