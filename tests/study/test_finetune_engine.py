"""What studies of fine-tuning ask of experiments: tables without rows, and an order of their own."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tinyexperiment import CALLS, TINY, run

from noisylib.errors import NoisylibError
from noisylib.study.experiment_runner import collect_experiment, run_experiment
from noisylib.study.experiment_tables import load_table
from noisylib.study.experiments import plan_experiment


def some_rows(task, banks):
    """Powers of even numbers only."""
    rows = run(task, banks)
    return rows | {"powers": [row for row in rows["powers"] if row["even"]]}


def test_a_task_may_have_no_rows_in_an_optional_table(tmp_path) -> None:
    study = replace(TINY, run=some_rows, optional=("powers",), facts={"about": "even numbers"})
    run_experiment(plan_experiment(study, tmp_path), tmp_path)
    plan = plan_experiment(study, tmp_path)
    assert plan.missing == []
    collect_experiment(plan, tmp_path)
    rows, record = load_table(tmp_path / "powers.parquet")
    assert rows["number"].tolist() == [0, 2, 4]
    assert record["about"] == "even numbers"
    shutil.rmtree(tmp_path / TINY.name)
    assert plan_experiment(study, tmp_path).missing == []  # the collected tables know all tasks


def test_an_optional_table_without_any_row_is_not_written(tmp_path) -> None:
    study = replace(TINY, run=lambda task, banks: run(task, banks) | {"powers": []}, optional=("powers",))
    run_experiment(plan_experiment(study, tmp_path), tmp_path)
    collect_experiment(plan_experiment(study, tmp_path), tmp_path)
    assert not (tmp_path / "powers.parquet").exists()
    assert load_table(tmp_path / "squares.parquet")[1]["without_rows"] == ["powers"]
    shutil.rmtree(tmp_path / TINY.name)
    plan = plan_experiment(study, tmp_path)
    assert plan.missing == []
    assert collect_experiment(plan, tmp_path) == {
        tmp_path / "squares.parquet": (10, False),
        tmp_path / "powers.parquet": (0, False),
    }


def test_a_lost_optional_table_is_missed(tmp_path) -> None:
    study = replace(TINY, run=some_rows, optional=("powers",))
    run_experiment(plan_experiment(study, tmp_path), tmp_path)
    collect_experiment(plan_experiment(study, tmp_path), tmp_path)
    shutil.rmtree(tmp_path / TINY.name)
    (tmp_path / "powers.parquet").unlink()
    assert len(plan_experiment(study, tmp_path).missing) == 5


def test_a_table_that_is_not_optional_needs_rows(tmp_path) -> None:
    study = replace(TINY, run=some_rows, optional=("squares",))
    with pytest.raises(NoisylibError, match="table 'powers', task 'n3': no rows"):
        run_experiment(plan_experiment(study, tmp_path), tmp_path)


def test_tasks_can_be_computed_in_the_order_of_their_list(tmp_path) -> None:
    CALLS.clear()
    run_experiment(plan_experiment(replace(TINY, in_order=True), tmp_path), tmp_path)
    assert CALLS == ["n0", "n1", "n2", "n4", "n3"]
