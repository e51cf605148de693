"""Rows of collected tables: what is chosen, what a caption says of them, and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from noisylib.book.experiments import experiment_rows
from noisylib.errors import ConfigError, MissingDataError, NoisylibError, UnknownNameError
from noisylib.files import file_digest
from noisylib.study.experiment_store import ExperimentStore
from noisylib.study.experiment_tables import CONDITION, Column

SCHEMA = {**CONDITION, "estimator": Column("str"), "value": Column("float")}


def row(seed: int, estimator: str, dataset: str = "pbc", value: float = 0.5) -> dict:
    shared = {"backbone": "deit_tiny", "head": "linear", "noise_type": "symmetric", "noise_rate": 0.2}
    told = {"realised_rate": 0.2, "class_map": "", "seed": seed}
    return {"dataset": dataset, **shared, **told, "estimator": estimator, "value": value}


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """Two seeds of one data set and one of another, two rows each."""
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path))
    store = ExperimentStore("made", {"overlap": SCHEMA}, tmp_path)
    store.open()
    first = [row(seed, name) for seed in (0, 1) for name in ("ks", "kde")]
    store.add("a", "first", {"overlap": first}, 1.0)
    store.add("b", "second", {"overlap": [row(0, name, "ham10000", 0.25) for name in ("ks", "kde")]}, 1.0)
    store.collect("overlap", ["a", "b"], {}, whole=True)
    return tmp_path / "overlap.parquet"


def test_captions_count_runs_and_not_rows(table) -> None:
    rows, source = experiment_rows("overlap")
    assert len(rows) == 6
    checksum = file_digest(table)[:8]
    assert source == f"3 runs, 2 seeds, experiment made, table overlap.parquet, checksum {checksum}"


def test_rows_can_be_chosen_by_one_or_several_values(table) -> None:
    rows, source = experiment_rows("overlap", dataset="ham10000", estimator=["ks", "kde"])
    assert rows["value"].tolist() == [0.25, 0.25]
    assert list(rows.index) == [0, 1]
    assert source.startswith("1 run, 1 seed, ")
    rows, _ = experiment_rows("overlap", seed=1, estimator=("ks",))
    assert rows[["dataset", "seed", "estimator"]].to_numpy().tolist() == [["pbc", 1, "ks"]]


def test_errors_name_what_is_not_there(table, monkeypatch) -> None:
    with pytest.raises(UnknownNameError, match="dataset of the table 'overlap'"):
        experiment_rows("overlap", dataset="hamm10000")
    with pytest.raises(ConfigError, match="'seed': 1"):
        experiment_rows("overlap", dataset="ham10000", seed=1)
    with pytest.raises(MissingDataError, match=r"detection\.parquet"):
        experiment_rows("detection")
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(NoisylibError, match=r"overlap\.parquet"):
        experiment_rows("overlap")
