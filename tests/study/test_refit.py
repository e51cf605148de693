"""Fitted files as functions of tables: readable when written, and compared with what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from noisylib import cli_refit
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.study import refit as module
from noisylib.study.refit import as_text, differing, digests, rounded, write_fitted

CONTENT = {
    "format": 1,
    "rules": {"all": {"rule": "fixed", "mean": 0.0123}},
    "distances": [i / 100 for i in range(60)],
    "conditions": [{"condition": ["pbc", "net", "", 0.1], "inputs": [1.5, 2.0]}] * 3,
}


def test_text_is_json_with_a_line_for_a_row() -> None:
    text = as_text(CONTENT)
    assert json.loads(text) == CONTENT
    lines = text.splitlines()
    assert sum("condition" in line for line in lines) == 4  # the key, and each row
    assert ' "rules": {"all": {"rule": "fixed", "mean": 0.0123}},' in lines
    assert sum("distances" in line or "0.59" in line for line in lines) == 1
    with pytest.raises(ValueError, match="JSON"):
        as_text({"a": float("nan")})


def test_rounding_keeps_words_and_whole_numbers() -> None:
    assert rounded({"a": [0.123456, 7], "b": "c", "d": True}) == {"a": [0.1235, 7], "b": "c", "d": True}


def test_written_files_do_not_differ(tmp_path: Path) -> None:
    (path,) = write_fitted({"selector.json": CONTENT}, tmp_path)
    assert path == tmp_path / "selector.json"
    assert differing({"selector.json": CONTENT}, tmp_path) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"format": 2}, "selector.json: /format"),
        ({"rules": {"all": {"rule": "tree", "mean": 0.0123}}}, "selector.json: /rules/all/rule"),
        ({"rules": {"all": {"rule": "fixed", "mean": 0.0124}}}, "selector.json: /rules/all/mean"),
        ({"distances": [0.5]}, "selector.json: /distances"),
        ({"new": 1}, "selector.json: /new"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: dict, place: str) -> None:
    write_fitted({"selector.json": CONTENT}, tmp_path)
    assert differing({"selector.json": CONTENT | change}, tmp_path) == [place]


def test_last_digits_do_not_count_but_files_do(tmp_path: Path) -> None:
    write_fitted({"selector.json": CONTENT}, tmp_path)
    close = CONTENT | {"rules": {"all": {"rule": "fixed", "mean": 0.01231}}}
    assert differing({"selector.json": close}, tmp_path) == []
    assert differing({"noise_rate.json": {}}, tmp_path) == ["noise_rate.json is not there"]
    (tmp_path / "selector.json").write_text("{")
    with pytest.raises(NoisylibError, match="no JSON"):
        differing({"selector.json": CONTENT}, tmp_path)


def test_digests_change_with_the_tables(tmp_path: Path) -> None:
    for name in module.TABLES:
        (tmp_path / f"{name}.parquet").write_bytes(name.encode())
    first = digests(tmp_path)
    assert {len(value) for value in first.values()} == {16}
    (tmp_path / "advice.parquet").write_bytes(b"other")
    changed = digests(tmp_path)
    assert [name for name in first if first[name] != changed[name]] == ["advice.parquet"]
    (tmp_path / "advice.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"advice\.parquet is not there"):
        digests(tmp_path)


def test_command_writes_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command()(cli_refit.refit)
    contents = {"selector.json": CONTENT}
    monkeypatch.setattr(module, "refit", lambda results: contents)

    def run(*options: str):
        return CliRunner().invoke(app, [*options, "--out", str(tmp_path)])

    assert run("--check").exit_code == 1
    assert not list(tmp_path.iterdir())
    written = run()
    assert written.exit_code == 0
    assert "selector.json" in written.output
    assert run("--check").exit_code == 0
    contents["selector.json"] = CONTENT | {"format": 2}
    again = run("--check")
    assert again.exit_code == 1
    assert "/format" in again.output
    assert "noisylib refit" in again.output
