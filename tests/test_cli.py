"""The command line as a user meets it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from noisylib import cli
from noisylib.errors import NoisylibError
from noisylib.methods import METHODS

TINY = {
    "name": "tiny",
    "datasets": ["breast_cancer"],
    "backbones": ["raw"],
    "noise_types": ["symmetric"],
    "noise_rates": [0.0, 0.3],
    "methods": ["ce", "elr"],
    "seeds": [0],
    "recipe": {"epochs": 2, "score_epochs": 1},
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path / "tiny.yaml"


def call(*arguments: str):
    return CliRunner().invoke(cli.app, cli.join_parameters(list(arguments)))


def test_dry_run_says_what_is_missing_and_writes_nothing(study, tmp_path) -> None:
    result = call("run", "tiny.yaml", "--dry-run", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "4 runs, 0 done, 4 missing in 2 chunks" in result.output
    assert "to go" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]


def test_run_then_collect(study, tmp_path) -> None:
    result = call("run", "tiny.yaml", "--jobs", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "finished" in result.output
    assert "0 missing" in call("run", "tiny.yaml", "--device", "cpu").output
    assert call("collect", "tiny.yaml").exit_code == 0
    assert len(pd.read_parquet("results/tiny.parquet")) == 4
    assert call("collect", "tiny.yaml", "--out", "t.csv").exit_code == 0
    assert list(pd.read_csv("t.csv").method) == ["ce", "ce", "elr", "elr"]
    assert "4 runs in results/tiny.parquet, which held them already" in call("collect", "tiny.yaml").output


def test_several_studies_make_one_table(study, tmp_path) -> None:
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({**TINY, "name": "more", "seeds": [3]}))
    with_out = ("--out", "results/both.parquet")
    for name in ("tiny.yaml", "more.yaml"):
        assert call("run", name, "--jobs", "1", "--device", "cpu").exit_code == 0
    assert "name it by --out" in str(call("collect", "tiny.yaml", "more.yaml").exception)
    assert call("collect", "tiny.yaml", "more.yaml", *with_out).exit_code == 0
    assert list(pd.read_parquet("results/both.parquet").study) == ["tiny"] * 4 + ["more"] * 4
    for name in ("tiny", "more"):
        shutil.rmtree(tmp_path / "results" / name)
        assert "4 done, 0 missing" in call("run", f"{name}.yaml", "--dry-run", "--device", "cpu").output
        assert not (tmp_path / "results" / name).exists()


def test_rerun_compares_and_fails_beyond_the_tolerance(study) -> None:
    assert call("run", "tiny.yaml", "--jobs", "1", "--device", "cpu").exit_code == 0
    result = call("rerun", "tiny.yaml", "--rows", "2", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "equal to the last bit" in result.output
    assert "largest difference of balanced accuracy: 0, within 0.001" in result.output
    for chunk in Path("results/tiny").glob("*.parquet"):
        rows = pd.read_parquet(chunk)
        rows.assign(balanced_accuracy=rows.balanced_accuracy - 0.002).to_parquet(chunk)
    result = call("rerun", "tiny.yaml", "--rows", "1", "--jobs", "1")
    assert result.exit_code == 1
    assert "NOT within 0.001" in result.output
    assert "rows=9" in str(call("rerun", "tiny.yaml", "--rows", "9").exception)


def test_interrupt_keeps_what_is_done(study, monkeypatch) -> None:
    from noisylib import study as package

    def stopped(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "run_study", stopped)
    result = call("run", "tiny.yaml", "--device", "cpu")
    assert result.exit_code == 130
    assert "0 of 4 runs are kept; the same command goes on" in result.output


@pytest.mark.parametrize("what", ["datasets", "backbones", "methods", "chapters", "experiments"])
def test_list(what: str) -> None:
    result = call("list", what)
    assert result.exit_code == 0, result.output
    expected = {
        "datasets": "ham10000",
        "backbones": "dinov2_vits14",
        "methods": "coteaching",
        "chapters": "quickstart",
        "experiments": "small_loss",
    }
    assert expected[what] in result.output
    if what == "methods":
        lines = result.output.splitlines()[2:]
        assert [line.split()[0] for line in lines] == list(METHODS)
        assert [line.split()[0] for line in lines if " noise rate" in line] == [
            name for name, cls in METHODS.items() if "noise_rate" in cls().told
        ]
        assert "1 linear + 2 head" in next(line for line in lines if line.startswith("cufit"))


def test_errors_are_one_message_without_a_traceback(tmp_path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump({**TINY, "datasets": ["breast_cancr"]}))
    done = subprocess.run(
        [sys.executable, "-m", "noisylib.cli", "run", str(bad)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Did you mean 'breast_cancer'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["book", "-p", "noise_rate", "0.3"], "-p needs a chapter"),
        (["book", "quikstart"], "Did you mean 'quickstart'"),
        (["book", "quickstart", "-p", "noise_rat", "0.3"], "Did you mean 'noise_rate'"),
        (["run", "nowhere.yaml"], "no study at"),
    ],
)
def test_slips_are_named(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_parameters_in_both_spellings() -> None:
    assert cli.join_parameters(["book", "x", "-p", "a", "1", "-p", "b=2=3", "--force"]) == [
        "book", "x", "-p", "a=1", "-p", "b=2=3", "--force",
    ]  # fmt: skip
    for short in (["book", "x", "-p"], ["book", "x", "-p", "a"]):
        with pytest.raises(NoisylibError, match="needs a key and a value"):
            cli.join_parameters(short)
