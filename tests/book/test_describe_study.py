"""The grid, the record and the banks of a study as tables."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.describe import study as describe_study
from noisylib.study import archive

NBSP = "\N{NO-BREAK SPACE}"


def table(frame) -> dict[str, tuple[str, ...]]:
    return {row[0]: tuple(str(cell).replace(NBSP, " ") for cell in row[1:]) for row in frame.to_numpy()}


def test_the_grid_multiplies_to_conditions_and_runs() -> None:
    grid = table(describe_study.grid_table(study_rows(("ham10000", "pbc"))))
    assert grid["Data sets"] == ("2", "HAM10000, PBC blood cells")
    assert grid["Backbones"] == ("1", "DeiT-Ti")
    assert grid["Rates of wrong labels"] == ("3", "0 %, 20 %, 40 %")
    assert grid["Methods"] == ("3", "Cross entropy, Co-teaching†, ELR")
    assert grid["**Conditions**"][0] == "12"
    assert grid["**Runs**"][0] == "108"
    assert list(grid).index("**Conditions**") == 4


@pytest.fixture
def rows():
    """Rows that took three seconds each."""
    made = study_rows()
    return made.assign(seconds=3.0, version="0.1.0", torch_version="2.12", device="cpu")


def test_without_an_archive_the_rows_speak_for_themselves(rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    record = table(describe_study.record_table("made", rows))
    assert record["Training time"] == ("2 min 42 s, summed over 54 runs",)
    assert record["Device"] == ("cpu",)
    assert "Wall time" not in record
    rows.to_parquet(tmp_path / "made.parquet")  # a table of one's own needs no provenance
    assert table(describe_study.record_table("made", rows)) == record


def test_the_record_of_an_archive_is_read(rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    (tmp_path / "made.json").write_text("{}")
    made = {
        "table": "made.parquet",
        "sha256": "0123456789abcdef",
        "runs": 6000,
        "made": "2026-05-04T03:02:01+00:00",
        "device": ["A processor"],
        "cores": [2],
        "wall_seconds": 7500.4,
        "collected_with": {"python": "3.12.1"},
        "banks": {"a-b": "1", "a-c": "2"},
    }
    monkeypatch.setattr(archive, "load_archive", lambda path: (rows, made))
    record = table(describe_study.record_table("made", rows))
    assert record["Device"] == ("A processor; 2 cores",)
    assert record["Wall time"] == ("2 h 5 min for all 6,000 runs",)
    assert record["Collected"] == ("2026-05-04, with Python 3.12.1",)
    assert record["Banks"] == ("2; their checksums are in `made.json`",)
    assert record["Table"] == ("`made.parquet`, SHA-256 0123456789ab",)


def bank(width: int, reduced_from: int | None = None) -> SimpleNamespace:
    counts = {"train": 1200, "test": 300}
    return SimpleNamespace(
        n_classes=4,
        n_features=width,
        projection=None if reduced_from is None else np.zeros((width + 1, reduced_from)),
        indices=lambda split: np.arange(counts[split]),
    )


def test_banks_say_what_cross_entropy_reaches_on_clean_labels() -> None:
    rows = study_rows(("ham10000",))
    other = rows.assign(backbone="mobilenetv2", balanced_accuracy=0.5)
    rows = pd.concat([rows, other], ignore_index=True)
    banks = {("ham10000", "deit_tiny"): bank(192), ("ham10000", "mobilenetv2"): bank(256, 1280)}
    (line,) = describe_study.banks_table(rows, banks).to_dict("records")
    assert line == {
        "Data set": "HAM10000",
        "Train": "1,200",
        "Test": "300",
        "Classes": 4,
        "DeiT-Ti (192)": f"91.0{NBSP}±{NBSP}1.0",
        "MobileNetV2 1.0 (256 of 1,280)": f"50.0{NBSP}±{NBSP}0.0",
    }
