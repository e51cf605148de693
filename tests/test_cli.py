"""The command line as a user meets it."""

from __future__ import annotations

import subprocess
import sys

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


def test_interrupt_keeps_what_is_done(study, monkeypatch) -> None:
    from noisylib import study as package

    def stopped(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "run_study", stopped)
    result = call("run", "tiny.yaml", "--device", "cpu")
    assert result.exit_code == 130
    assert "0 of 4 runs are kept; the same command goes on" in result.output


@pytest.mark.parametrize("what", ["datasets", "backbones", "methods", "chapters"])
def test_list(what: str) -> None:
    result = call("list", what)
    assert result.exit_code == 0, result.output
    expected = {
        "datasets": "ham10000",
        "backbones": "dinov2_vits14",
        "methods": "coteaching",
        "chapters": "quickstart",
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
