"""The archive's rows and those of `advice` make one table with every candidate once."""

from __future__ import annotations

import pandas as pd
import pytest

from noisylib.candidates import CANDIDATES
from noisylib.errors import NoisylibError
from noisylib.study import advice_rows as module
from noisylib.study.advice import ARCHIVED, TABLE
from noisylib.study.advice_rows import advice_rows, archived_rows

TRAINED = ("dividemix", "turn", "coteaching")


@pytest.fixture(scope="module")
def archived(root) -> pd.DataFrame:
    return archived_rows(root / "results")


@pytest.fixture
def made(archived, monkeypatch):
    """A table of `advice` that has what the archive lacks, with made-up scores."""
    one = archived[archived["candidate"] == "ce"].drop(columns="source").assign(balanced_accuracy=0.25)
    table = pd.concat([one.assign(candidate=key, task_id="t") for key in TRAINED], ignore_index=True)
    read = {"table": table}
    monkeypatch.setattr(module, "load_table", lambda path: (read["table"], {}))
    return read


def test_archived_rows_are_135_conditions_with_three_seeds(archived: pd.DataFrame) -> None:
    assert list(archived) == [*TABLE, "source"]
    assert len(archived) == 135 * 3 * 6
    assert set(archived["candidate"]) == set(ARCHIVED)
    clean = archived[archived["noise_rate"] == 0]
    assert len(clean) == 15 * 3 * 6
    assert set(clean["noise_type"]) == {"symmetric"}
    assert dict(zip(archived["dataset"], archived["family"], strict=True)) == {
        "breastmnist": "breast",
        "retinamnist": "retina",
        "pneumoniamnist": "chest",
        "ham10000": "skin",
        "pbc": "blood",
    }
    assert set(archived["source"]) == {"archive"}
    assert archived["given_rate"].isna().all()


def test_archived_scores_are_copied(archived: pd.DataFrame, root) -> None:
    raw = pd.read_parquet(root / "results" / "archive.parquet")
    key = {
        "dataset": "pbc",
        "backbone": "mobilenetv2",
        "noise_type": "asymmetric",
        "noise_rate": 0.3,
        "seed": 2,
    }
    for name, value in key.items():
        raw, archived = raw[raw[name] == value], archived[archived[name] == value]
    scores = raw.set_index("method")["balanced_accuracy"]
    for row in archived.itertuples():
        assert row.balanced_accuracy == scores[row.candidate]


def test_both_sources_are_joined(made, root) -> None:
    rows = advice_rows(root / "results")
    assert list(rows) == [*TABLE, "source"]
    assert len(rows) == 135 * 3 * len(CANDIDATES)
    by_source = rows.groupby("source")["candidate"].agg(set).to_dict()
    assert by_source == {"archive": set(ARCHIVED), "advice": set(TRAINED)}
    assert set(rows.loc[rows["source"] == "advice", "balanced_accuracy"]) == {0.25}


def test_a_hole_or_a_double_is_named(made, root) -> None:
    table = made["table"]
    made["table"] = table.drop(index=5)
    with pytest.raises(NoisylibError, match=r"1 conditions do not have every candidate once.*: dividemix"):
        advice_rows(root / "results")
    made["table"] = pd.concat([table, table[table["candidate"] == "turn"].head(2)])
    with pytest.raises(NoisylibError, match=r"2 conditions do not have every candidate once.*: turn"):
        advice_rows(root / "results")
    # What the archive has too would count twice.
    made["table"] = pd.concat([table, table[table["candidate"] == "turn"].assign(candidate="ce")])
    with pytest.raises(NoisylibError, match=r"405 conditions do not have every candidate once.*: ce"):
        advice_rows(root / "results")
