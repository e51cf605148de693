"""Training rows again: which are trained, what is compared, and when it fails."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from tinystudy import CONFIG, run

from noisylib import parts
from noisylib.errors import ConfigError
from noisylib.study import collect, plan_study, rerun
from noisylib.study.rerun import TOLERANCE


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerun")
    run(folder)
    return folder


def test_whole_chunks_come_out_equal_to_the_last_bit(results) -> None:
    again = rerun.rerun(CONFIG, results, rows=1, seed=0, jobs=1)
    assert len(again.rows) == 8  # both seeds, types and rates of one method
    assert again.rows.method.nunique() == 1
    assert again.rows["drawn"].sum() == 1
    assert again.rows["equal"].all()
    assert (again.rows.difference == 0).all()
    assert again.holds
    assert "8 rows trained again (1 drawn), 8 of them equal to the last bit" in again.summary()
    assert again.stored_on == again.device  # known from the log of this machine
    assert len(again.listing().splitlines()) == 2


def test_the_seed_decides_what_is_drawn(results) -> None:
    drawn = [rerun.rerun(CONFIG, results, rows=3, seed=s, alone=True, jobs=1).rows for s in (0, 0, 1)]
    assert [len(rows) for rows in drawn] == [3, 3, 3]
    assert list(drawn[0].run_id) == list(drawn[1].run_id) != list(drawn[2].run_id)
    assert all(rows["drawn"].all() for rows in drawn)
    assert all((rows.difference.abs() < 0.02).all() for rows in drawn)  # 2 epochs on 400 samples


def test_chunks_are_those_of_the_first_run(results, monkeypatch) -> None:
    """Seven seeds of 4 runs make two chunks; only the one that was drawn from is trained."""
    # Two adapters: 302 parameters in four copies, and 10 activations for each of 128 samples, 19,904 bytes.
    monkeypatch.setattr(parts, "CPU_STEP_BYTES", 16 * 19_904)
    config = replace(CONFIG, seeds=tuple(range(7)))
    chunks = [c for c in plan_study(config, results / "none", create=False).chunks]
    (first,) = [c for c in chunks if c.runs[0].method.name == "coteaching" and c.runs[0].seed_train == 0]
    assert len(first.runs) == 16
    (again,) = rerun.chunks_holding(config, {first.run_ids[5]}, "cpu", None)
    assert again == first
    (whole,) = rerun.chunks_holding(config, {first.run_ids[5]}, "cuda", None)
    assert len(whole.runs) == 28
    part = rerun._only(first, {first.run_ids[5], first.run_ids[9]})
    assert part.runs == (first.runs[5], first.runs[9])
    assert part.cost == pytest.approx(first.cost / 8)


def test_a_row_that_moved_is_found(results) -> None:
    table = collect(CONFIG, results)
    table.loc[2, "balanced_accuracy"] += 2 * TOLERANCE
    table.at[3, "recall"] = table.recall[3] * (1 - 1e-9)
    again = rerun.retrain(CONFIG, table, [table.run_id[0]], jobs=1)
    assert not again.holds
    assert again.largest == pytest.approx(2 * TOLERANCE)
    assert list(again.rows.index[~again.rows["equal"]]) == [2, 3]
    assert "NOT within 0.001" in again.summary()
    assert again.stored_on == "unknown"
    shown = again.listing().splitlines()
    assert len(shown) == 4  # header, the drawn row, and two that were not drawn
    assert "-2.0e-03" in again.listing()


def test_rows_that_cannot_be_drawn(results, tmp_path) -> None:
    with pytest.raises(ConfigError, match="rows=17: study 'tiny' has 16; draw 1 to 16"):
        rerun.rerun(CONFIG, results, rows=17)
    with pytest.raises(ConfigError, match="holds 0 of the 16 runs"):
        rerun.rerun(CONFIG, tmp_path)


def test_differences_are_new_minus_stored() -> None:
    rows = pd.DataFrame({"difference": [0.0, -5e-4], "drawn": [True, False], "equal": [True, False]})
    again = rerun.Rerun(rows, "a", "b")
    assert again.largest == 5e-4
    assert again.holds
    assert "stored rows: a\nnew rows:    b" in again.summary()
    broken = rerun.Rerun(rows.assign(difference=[0.0, float("nan")]), "a", "b")
    assert not broken.holds
    assert "NOT within" in broken.summary()
