"""The explorer: what a reader sees of a cell, the file beside it, and no address on the network."""

from __future__ import annotations

import io
import json
import re

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book import explorer
from noisylib.book.describe import overview as describe_overview


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Cells in which co-teaching is a hair worse than the best at every rate."""
    rows = study_rows()
    rows.loc[rows["method"] == "elr", "balanced_accuracy"] += 0.1 - 1e-6
    return describe_overview.cells_frame(rows)


def test_a_row_has_titles_and_percent(cells) -> None:
    frame = explorer.explorer_frame(cells)
    assert len(frame) == len(cells) == 18
    assert frame.iloc[2].to_dict() == {
        "Data set": "HAM10000",
        "Backbone": "DeiT-Ti",
        "Noise": "Symmetric",
        "Rate": "0",
        "Method": "Co-teaching†",
        "Rank": "3",
        "Balanced": "71.0",
        "± bal.": "1.0",
        "To best": "-20.0",
        "Accuracy": "76.0",
        "± acc.": "1.0",
        "Dead": "0.0",
        "To CE": "-20.0",
    }
    assert frame["To best"][1] == "+0.0", "a hair worse is no minus zero"


def test_a_single_seed_has_no_deviation() -> None:
    cells = describe_overview.cells_frame(study_rows(seeds=1))
    assert explorer.explorer_frame(cells)["± bal."].eq("").all()


def test_the_file_has_keys_and_fractions(cells) -> None:
    file = explorer.cells_file(cells, "cells.csv")
    assert file.label == "All 18 rows as CSV"
    table = pd.read_csv(io.StringIO(file.text()))
    first = table.iloc[2]
    assert (first["dataset"], first["method"], first["noise_type"]) == ("ham10000", "coteaching", "symmetric")
    assert first["balanced_accuracy_mean"] == 0.71
    assert first["gap_to_best"] == -0.2
    assert len(table) == 18
    assert not any(name.startswith("Unnamed") for name in table)


def test_the_table_is_whole_and_loads_nothing(cells, capsys) -> None:
    pytest.importorskip("itables")
    html = explorer.explorer(cells, "cells").data
    assert '<table id="cells"' in html
    data = json.loads(json.loads(re.search(r'"data_json": (".*"),\n', html).group(1)))
    assert len(data) == 18, "nothing is sampled away"
    assert data[0][:5] == ["HAM10000", "DeiT-Ti", "Symmetric", "0", "Cross entropy"]
    assert not re.search(r"""(?:src=|import\b[^;]{0,80}|url\()\s*["']?https?:""", html)
    options = json.loads(re.search(r'"columnDefs": (\[.*\]),\n', html).group(1))
    filters = {target: d["columnControl"][0]["content"][1][0] for d in options for target in d["targets"]}
    assert [filters[i] for i in range(13)] == ["searchList"] * 5 + ["search"] * 8
