"""Which notebooks the tests collect: those whose banks and rows are there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest

from noisylib.book import chapters, rows
from noisylib.errors import ConfigError

OF_A_STUDY = {
    *("benchmark.ipynb", "claims.ipynb"),
    *("overview.ipynb", "rankings.ipynb", "cost.ipynb", "sensitivity.ipynb"),
    *("overlap.ipynb", "detection.ipynb", "collapse.ipynb"),
    *("advice.ipynb", "bad_labels.ipynb", "human.ipynb"),
    *("lp_fft_turn.ipynb", "cleaning.ipynb", "moved.ipynb"),
    "scale.ipynb",
}


@pytest.fixture
def ignored(root: Path):
    """Return the notebooks that are left out, as pytest reads them."""
    return lambda: set(runpy.run_path(str(root / "notebooks/conftest.py"))["collect_ignore"])


def test_chapters_of_a_study_without_rows_are_left_out(ignored, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    assert ignored() == OF_A_STUDY


def test_chapters_of_a_half_finished_study_are_left_out(ignored, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    monkeypatch.setattr(chapters, "study_files", lambda study: [])  # as if some rows were there
    with pytest.raises(ConfigError):
        rows.study_rows("embedded")
    assert ignored() == OF_A_STUDY


def test_chapters_of_a_finished_study_are_collected(ignored, monkeypatch) -> None:
    monkeypatch.setattr(chapters, "study_files", lambda study: [])
    monkeypatch.setattr(chapters, "arm_files", lambda: [])
    monkeypatch.setattr(chapters, "table_files", lambda name: [])
    monkeypatch.setattr(rows, "study_rows", lambda study: (pd.DataFrame(), ""))
    assert ignored() == set()


def test_a_chapter_of_several_studies_waits_for_all_of_them(ignored, monkeypatch) -> None:
    def archived(study: str) -> tuple[pd.DataFrame, str]:
        if study == "embedded":
            raise ConfigError("not finished")
        return pd.DataFrame(), ""

    monkeypatch.setattr(chapters, "study_files", lambda study: [])
    monkeypatch.setattr(chapters, "arm_files", lambda: [])
    monkeypatch.setattr(chapters, "table_files", lambda name: [])
    monkeypatch.setattr(rows, "study_rows", archived)
    assert ignored() == {"benchmark.ipynb", "claims.ipynb"}
