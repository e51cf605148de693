"""``noisylib finetune`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from tinyfinetune import STUDY
from typer.testing import CliRunner

from noisylib import cli
from noisylib.errors import NoisylibError
from noisylib.study import experiment_runner


@pytest.fixture
def config(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    small = STUDY | {"conditions": ["symmetric 0.2"], "methods": ["lp-ce", "turn"], "maps": []}
    Path("tune.yaml").write_text(yaml.safe_dump(small))
    return "tune.yaml"


def call(*arguments: str):
    return CliRunner().invoke(cli.app, ["finetune", *arguments, "--device", "cpu", "--jobs", "1"])


def test_a_dry_run_without_data_says_all_and_writes_nothing(config, tmp_path) -> None:
    result = call(config, "--dry-run", "--weights", "deit_tiny=none.safetensors")
    assert result.exit_code == 0, result.output
    for part in (
        "tune: 4 rows, images of 64 x 64 pixels",
        "breastmnist: at most 546 training and 156 test images; symmetric 0.2",
        "3 tasks: 1 bank of linear probes and 2 fine-tunings; which are done is known when",
        "missing (2):",
        "breastmnist: no folder given (--data breastmnist=FOLDER)",
        "to go with 1 process, by a short measurement",
    ):
        assert part in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["tune.yaml"]
    with pytest.raises(NoisylibError, match="things are missing"):
        raise call(config, "--weights", "deit_tiny=none.safetensors").exception
    assert [path.name for path in tmp_path.iterdir()] == ["tune.yaml"]


def test_the_study_of_the_paper_is_valid_without_its_data(root, tmp_path, monkeypatch) -> None:
    from noisylib.study import finetune_plan

    monkeypatch.setattr(finetune_plan, "pace", lambda *_: 0.01)  # six large networks are not built
    result = call(str(root / "configs/turn_paper.yaml"), "--dry-run", "--results", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "turn_paper: 972 rows, images of 224 x 224 pixels" in result.output  # 6 conditions x 6 x 9 x 3
    assert "522 tasks: 90 banks of linear probes and 432 fine-tunings" in result.output
    assert (
        "left out of webvision: symmetric 0.6, symmetric 0.9, asymmetric 0.4, instance 0.4" in result.output
    )
    assert "clothing1m: no folder given" in result.output


def test_a_miniature_runs_goes_on_and_is_collected(config) -> None:
    result = call(config, "--miniature", "--only", "*LP-CE")
    assert result.exit_code == 0, result.output
    assert "tune_miniature: 1 task, 0 done, 1 missing; 1 process on cpu" in result.output
    planned = call(config, "--miniature", "--dry-run").output
    assert "2 tasks: 1 bank of linear probes and 1 fine-tuning; 1 done, 1 missing" in planned
    assert "data, weights and reference features are all there" in planned
    result = call(config, "--miniature", "--collect")
    assert "2/2 tasks" in result.output
    assert "2 rows in results/tune_miniature.parquet" in result.output
    assert not Path("results/tune_miniature_map.parquet").exists()  # no map was asked for
    rows = pd.read_parquet("results/tune_miniature.parquet")
    assert rows["label"].tolist() == ["LP-CE", "TURN"]
    again = call(config, "--miniature", "--collect")
    assert "2 tasks, 2 done, 0 missing" in again.output
    assert "2 rows in results/tune_miniature.parquet, which held them already" in again.output
    with pytest.raises(NoisylibError, match="would lose them"):
        raise call(config, "--miniature", "--collect", "--only", "*TURN").exception


def test_a_study_of_web_labels_and_other_networks_runs_in_miniature(root, tmp_path) -> None:
    only = "webvision-resnet50-*TURN,clothing1m-convnext_tiny-*FFT-ELR,webvision-clip_vitb16-LP-DivideMix"
    result = call(
        str(root / "configs/turn_paper.yaml"), "--miniature", "--only", only, "--collect",
        "--results", str(tmp_path),
    )  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    rows = pd.read_parquet(tmp_path / "turn_paper_miniature.parquet").set_index("label")
    assert rows["class_map"].tolist() == ["web"] * 3
    assert rows["realised_rate"].isna().all()
    assert rows["memorised"].isna().all()
    assert rows["n_classes"].to_dict() == {"LP-DivideMix": 50, "FFT-ELR": 14, "TURN": 50}


def test_ctrl_c_keeps_what_is_done(config, monkeypatch) -> None:
    store = experiment_runner.store_of

    class Stopped:
        def __init__(self, *arguments) -> None:
            self.real = store(*arguments)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def add(self, task_id, task, *more) -> None:
            if "TURN" in task:
                raise KeyboardInterrupt
            self.real.add(task_id, task, *more)

    with monkeypatch.context() as patch:
        patch.setattr(experiment_runner, "store_of", Stopped)
        result = call(config, "--miniature")
    assert result.exit_code == 130
    assert "stopped: 1 of 2 tasks are kept; the same command goes on from there" in result.output
    assert "2 tasks, 1 done, 1 missing" in call(config, "--miniature").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--corrupt", "ignore"), "stop"),
        (("--device", "cuda:1"), "--device"),
        (("--data", "pcb=x"), "breastmnist"),
        (("--only", "pbc*"), "no task is called so"),
    ],
)
def test_slips_are_said(config, arguments, said) -> None:
    result = CliRunner().invoke(cli.app, ["finetune", config, "--dry-run", *arguments])
    with pytest.raises(NoisylibError, match=said):
        raise result.exception
