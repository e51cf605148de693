"""The experiment on the human label files: what is counted, which files are taken, and the archived rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest
from noisylib.study import human
from noisylib.study.experiment_tables import load_table, to_arrow
from noisylib.study.experiments import plan_experiment

CLEAN = np.repeat(np.arange(10), 5)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task on a small file: one in five wrong, always the first of a class, and all by the same people."""
    wrong = np.where(np.arange(50) % 5 == 0, (CLEAN + 1) % 10, CLEAN)
    names = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
    torch.save({"clean_label": CLEAN, **dict.fromkeys(names, wrong)}, tmp_path / "CIFAR-10_human.pt")
    monkeypatch.setenv(human.FOLDER, str(tmp_path))
    source = human.LabelFile("CIFAR-10_human.pt", file_digest(tmp_path / "CIFAR-10_human.pt"))
    return replace(human.tasks()[0], condition=source)


def test_rows_of_a_small_file(task):
    rows = human.run(task)["human"]
    to_arrow(rows, human.TABLE, "id", "test")  # of the kinds that the table asks for
    assert [row["labels"] for row in rows] == ["aggregate", "random1", "random2", "random3", "worst"]
    row = rows[1]
    assert row["realised_rate"] == pytest.approx(0.2)
    assert (
        row["counts"].reshape(10, 10).tolist() == (4 * np.eye(10) + np.roll(np.eye(10), 1, axis=1)).tolist()
    )
    assert row["to_pairflip"] == pytest.approx(0)
    assert row["agreement"] == [1.0] * 5
    assert row["both_wrong"] == pytest.approx([0.2] * 5)
    assert row["both_wrong_expected"] == pytest.approx([0.04] * 5)
    assert row["right_votes"].tolist() == [10, 0, 0, 40]
    assert row["right_votes_expected"] == pytest.approx(50 * np.array([0.008, 0.096, 0.384, 0.512]))
    assert row["different_labels"].tolist() == [50, 0, 0]


def test_another_file_and_no_file_are_refused(task, tmp_path):
    (tmp_path / "CIFAR-10_human.pt").write_bytes(b"something else")
    with pytest.raises(NoisylibError, match="not the official file"):
        human.run(task)
    (tmp_path / "CIFAR-10_human.pt").unlink()
    with pytest.raises(MissingDataError, match=r"noisylabels.com, and set \$NOISYLIB_HUMAN_LABELS"):
        human.run(task)


def test_archived_rows_are_of_this_code_and_need_no_file(root, monkeypatch, tmp_path):
    monkeypatch.setenv(human.FOLDER, str(tmp_path))
    assert plan_experiment(human.EXPERIMENT, root / "results").missing == []
    rows, record = load_table(root / "results" / "human.parquet")
    assert len(rows) == 6
    assert "CC BY-NC 4.0" in record["description"]
    for row in rows.itertuples():
        K = len(row.class_rate)
        counts = row.counts.reshape(K, K)
        assert counts.sum(axis=1).tolist() == [50_000 // K] * K
        assert 1 - np.trace(counts) / counts.sum() == pytest.approx(row.realised_rate)


def test_official_files_give_the_archived_rows(shared_data, root, monkeypatch):
    monkeypatch.setenv(human.FOLDER, str(shared_data / "cifarN"))
    rows, _ = load_table(root / "results" / "human.parquet")
    made = [row for task in human.tasks() for row in human.run(task)["human"]]
    for old, new in zip(rows.to_dict("records"), made, strict=True):
        for name, value in new.items():
            if isinstance(value, str):
                assert old[name] == value
            else:
                np.testing.assert_allclose(old[name], value, rtol=0, atol=1e-12, err_msg=name)
