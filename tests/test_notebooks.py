"""Notebooks as they are stored: clean, short, and ready for papermill."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from noisylib.book.chapters import CHAPTERS
from noisylib.book.parameter_rules import with_defaults

MAX_CELL_LINES = 25
MAX_DEF_LINES = 5


@pytest.fixture(scope="module")
def notebooks(root: Path) -> dict[str, dict[str, Any]]:
    """Every stored notebook by file name."""
    found = {
        path.name: json.loads(path.read_text()) for path in sorted((root / "notebooks").rglob("*.ipynb"))
    }
    assert found
    return found


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_every_notebook_is_a_chapter_and_the_other_way_round(notebooks: dict[str, dict[str, Any]]) -> None:
    assert {f"notebooks/{name}" for name in notebooks} == {chapter.notebook for chapter in CHAPTERS.values()}


def test_no_outputs_are_stored(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        for cell in code_cells(notebook):
            assert cell["outputs"] == [], name
            assert cell["execution_count"] is None, name
            assert "papermill" not in cell["metadata"], name
        assert "papermill" not in notebook["metadata"], name


def test_kernel_is_python3(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        assert notebook["metadata"]["kernelspec"]["name"] == "python3", name


def test_exactly_one_parameters_cell_and_it_is_the_first_code(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        tagged = ["parameters" in cell["metadata"].get("tags", []) for cell in code_cells(notebook)]
        assert sum(tagged) == 1, name
        assert tagged[0], f"{name}: code before the parameters would not see them"


def test_first_cell_is_the_only_title(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        prose = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
        titles = [line for cell in prose for line in source(cell).splitlines() if line.startswith("# ")]
        assert len(titles) == 1, f"{name}: {titles}"
        assert source(notebook["cells"][0]).startswith("# "), name


def test_cells_and_functions_are_short(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        for cell in code_cells(notebook):
            text = source(cell)
            assert len(text.splitlines()) <= MAX_CELL_LINES, f"{name}: move this cell to noisylib:\n{text}"
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1
                    assert lines <= MAX_DEF_LINES, f"{name}: move {node.name} to noisylib"


def test_parameters_cell_is_the_dataclass(notebooks: dict[str, dict[str, Any]]) -> None:
    for chapter in CHAPTERS.values():
        text = source(code_cells(notebooks[Path(chapter.notebook).name])[0])
        values: dict[str, Any] = {}
        exec(text, values)  # a cell of this repository, names and literals only
        del values["__builtins__"]
        assert values == with_defaults(chapter.parameters, {}), chapter.key
        for f in fields(chapter.parameters):
            assert f"# {f.metadata['doc'].capitalize()[0]}{f.metadata['doc'][1:]}.\n{f.name} = " in text, (
                f"{chapter.key}: explain {f.name} in a comment above it"
            )


def test_second_code_cell_checks_every_parameter(notebooks: dict[str, dict[str, Any]]) -> None:
    for chapter in CHAPTERS.values():
        cell = source(code_cells(notebooks[Path(chapter.notebook).name])[1])
        calls = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
        (call,) = (c for c in calls if ast.unparse(c.func) == "noisylib.book.check")
        assert ast.literal_eval(call.args[0]) == chapter.key
        passed = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert passed == {f.name: f.name for f in fields(chapter.parameters)}, chapter.key


def test_figures_have_a_caption_a_label_and_alt_text(notebooks: dict[str, dict[str, Any]]) -> None:
    labels = []
    for name, notebook in notebooks.items():
        for cell in code_cells(notebook):
            if "plots." not in source(cell):
                continue
            look = cell["metadata"]["mystnb"]
            assert look["figure"]["caption"], name
            assert len(look["image"]["alt"]) > 40, f"{name}: say what the picture shows"
            labels.append(look["figure"]["name"])
    assert labels
    assert len(set(labels)) == len(labels)


def test_tables_are_rendered_as_myst(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        for cell in code_cells(notebook):
            if any(
                call in source(cell) for call in ("tables.show(", "tables.notes(", "tables.method_notes(")
            ):
                assert cell["metadata"]["mystnb"] == {"markdown_format": "myst"}, f"{name}: {cell['id']}"


def test_every_reference_points_to_a_figure_or_table(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        prose = "".join(source(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
        code = "".join(source(cell) + json.dumps(cell["metadata"]) for cell in code_cells(notebook))
        for label in re.findall(r"\{numref\}`([^`]+)`", prose):
            assert f'"{label}"' in code, f"{name}: nothing is called {label}"


def test_every_cell_has_an_id_of_its_own(notebooks: dict[str, dict[str, Any]]) -> None:
    for name, notebook in notebooks.items():
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids), name


def papermill(root: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run plain papermill on the noise chapter from another folder."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    command = [sys.executable, "-m", "papermill", str(root / "notebooks/noise.ipynb"), "out.ipynb"]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def test_plain_papermill_runs_a_chapter_from_any_folder(root: Path, tmp_path: Path) -> None:
    done = papermill(
        root, tmp_path, "-p", "noise_rate", "0.3", "-p", "dataset", "digits", "-p", "backbone", "raw"
    )
    assert done.returncode == 0, done.stderr
    page = json.loads((tmp_path / "out.ipynb").read_text())
    outputs = [out for cell in code_cells(page) for out in cell["outputs"]]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not any(out["output_type"] == "error" or out.get("name") == "stderr" for out in outputs)
    shown = "".join("".join(out.get("data", {}).get("text/markdown", "")) for out in outputs)
    assert "after 30 % noise" in shown


def test_plain_papermill_names_a_bad_value(root: Path, tmp_path: Path) -> None:
    done = papermill(root, tmp_path, "-p", "noise_rate", "30")
    assert done.returncode != 0
    assert "noise_rate=30" in done.stderr
    assert "[0, 1]" in done.stderr
