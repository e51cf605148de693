"""Experiments: resume, kill, restricted runs, tables that stand for tasks, damaged files, bad rows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tinyexperiment
import tinystudy
from pandas.testing import assert_frame_equal
from tinyexperiment import CALLS, TABLES, TINY, Number, compute
from typer.testing import CliRunner

from noisylib import cli
from noisylib.errors import ConfigError, MissingDataError, NoisylibError, UnknownNameError, WriteError
from noisylib.files import write_aside
from noisylib.study import experiments
from noisylib.study.experiment_runner import collect_experiment, remaining_seconds, run_experiment
from noisylib.study.experiment_tables import Column, describe, load_table, parse, same_rows, to_arrow
from noisylib.study.experiments import EXPERIMENTS, Task, load_experiment, plan_experiment, task_digest
from noisylib.study.store import read_log


@pytest.fixture(autouse=True)
def no_calls():
    CALLS.clear()


@pytest.fixture
def tables(tmp_path) -> Path:
    """A results folder as a clone has it: collected tables and nothing else."""
    collect_experiment(compute(tmp_path), tmp_path)
    shutil.rmtree(tmp_path / "tiny")
    CALLS.clear()
    return tmp_path


def arrow(results: Path, table: str):
    return pq.ParquetFile(results / f"{table}.parquet").read().replace_schema_metadata(None)


def test_tables_hold_the_rows_of_all_tasks_in_order(tmp_path) -> None:
    plan = compute(tmp_path)
    assert CALLS == ["n4", "n3", "n2", "n1", "n0"]  # longest first
    written = collect_experiment(plan, tmp_path)
    assert written == {tmp_path / "squares.parquet": (10, True), tmp_path / "powers.parquet": (5, True)}
    rows, record = load_table(tmp_path / "squares.parquet")
    assert list(rows) == ["dataset", "step", "square", "task_id"]
    assert rows["square"].tolist() == [0, 1, 1, 4, 4, 9, 16, 25, 9, 16]  # tasks 0, 1, 2, 4, 3
    assert (rows["square"].dtype, rows["step"].dtype) == (np.float64, np.int64)
    assert rows["task_id"].tolist() == [task_id for task_id in plan.tasks for _ in range(2)]
    powers, _ = load_table(tmp_path / "powers.parquet")
    assert powers["powers"][3].tolist() == [4.0, 16.0]
    assert powers["gap"][3].dtype == np.float32
    assert np.isnan(powers["gap"][3]).tolist() == [True] * 4
    assert powers["even"].tolist() == [True, False, True, True, False]
    assert [task["task"] for task in record["tasks"].values()] == ["n0", "n1", "n2", "n4", "n3"]
    assert (record["rows"], record["experiment"], record["version"]) == (10, "tiny", 1)
    assert list(record["banks"]) == ["breast_cancer-raw"]
    (session,) = record["sessions"]
    assert (session["tasks"], session["jobs"]) == (5, 1)
    assert record["wall_seconds"] == pytest.approx(session["seconds"])
    assert record["core_seconds"] == pytest.approx(sum(t["seconds"] for t in record["tasks"].values()))


def test_what_is_done_is_not_done_again_and_tables_stay_as_they_are(tmp_path) -> None:
    collect_experiment(compute(tmp_path), tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")}
    CALLS.clear()
    plan = compute(tmp_path)
    assert (plan.missing, CALLS) == ([], [])
    assert [new for _, new in collect_experiment(plan, tmp_path).values()] == [False, False]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")} == before


def test_a_kill_loses_only_the_task_in_flight_and_the_table_is_the_same(tmp_path) -> None:
    """SIGKILL inside the third task; the next run does that one and the two after it."""
    collect_experiment(compute(tmp_path / "whole"), tmp_path / "whole")
    script = (
        "import os, signal\n"
        "from dataclasses import replace\n"
        "import tinyexperiment as t\n"
        "def dies(task, banks):\n"
        "    if task.name == 'n2':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return t.run(task, banks)\n"
        f"t.compute({str(tmp_path / 'cut')!r}, replace(t.TINY, run=dies))\n"
    )
    paths = os.pathsep.join(str(folder) for folder in Path(__file__).parents[1:3])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    CALLS.clear()
    with pytest.raises(ConfigError, match="3 of 5 tasks of 'tiny' are missing: finish it with 'noisylib exp"):
        collect_experiment(plan_experiment(TINY, tmp_path / "cut"), tmp_path / "cut")
    collect_experiment(compute(tmp_path / "cut"), tmp_path / "cut")
    assert CALLS == ["n2", "n1", "n0"]
    for table in TABLES:
        assert same_rows(arrow(tmp_path / "cut", table), arrow(tmp_path / "whole", table))


def test_a_task_that_was_cut_between_its_tables_is_not_done(tmp_path) -> None:
    plan = compute(tmp_path)
    task_id = next(iter(plan.tasks))
    (tmp_path / "tiny" / f"powers-{task_id}.parquet").unlink()
    assert plan_experiment(TINY, tmp_path).missing == [task_id]


def test_an_interrupt_keeps_finished_tasks_and_their_time(tmp_path) -> None:
    def stop(task_id: str, seconds: float) -> None:
        if len(CALLS) == 2:
            raise KeyboardInterrupt

    plan = plan_experiment(TINY, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(plan, tmp_path, on_task=stop)
    assert [plan.tasks[i].name for i in plan_experiment(TINY, tmp_path).missing] == ["n2", "n1", "n0"]
    (entry,) = read_log(tmp_path / "tiny")
    assert entry["tasks"] == 2


def test_processes_and_one_process_agree(tmp_path) -> None:
    collect_experiment(compute(tmp_path / "one"), tmp_path / "one")
    plan = plan_experiment(TINY, tmp_path / "two")
    CALLS.clear()
    run_experiment(plan, tmp_path / "two", jobs=2)
    assert CALLS == []  # none of them in this process
    collect_experiment(plan, tmp_path / "two")
    for table in TABLES:
        assert same_rows(arrow(tmp_path / "one", table), arrow(tmp_path / "two", table))


def test_tables_stand_for_the_files_they_were_made_of(tables) -> None:
    plan = plan_experiment(TINY, tables)
    assert plan.missing == []
    assert [new for _, new in collect_experiment(plan, tables).values()] == [False, False]
    assert not (tables / "tiny").exists()


def test_a_table_without_its_sister_is_not_enough(tables) -> None:
    (tables / "powers.parquet").unlink()
    (tables / "powers.json").unlink()
    assert len(plan_experiment(TINY, tables).missing) == 5


def test_a_grown_experiment_takes_old_rows_from_the_table_and_computes_new_ones(tables) -> None:
    before = arrow(tables, "squares")
    grown = replace(TINY, tasks=lambda: [*tinyexperiment.tasks(), Task("n5", "bed", "", Number(5))])
    plan = compute(tables, grown)
    assert CALLS == ["n5"]
    collect_experiment(plan, tables)
    assert same_rows(arrow(tables, "squares").slice(0, 10), before)
    rows, record = load_table(tables / "squares.parquet")
    assert rows["square"].tolist()[-2:] == [25, 36]
    assert len(record["tasks"]) == 6
    assert [session["tasks"] for session in record["sessions"]] == [5, 1]


@pytest.mark.parametrize("change", [{"version": 2}, {"name": "other"}])
def test_rows_of_another_version_do_not_count(tables, change) -> None:
    assert len(plan_experiment(replace(TINY, **change), tables).missing) == 5


def test_the_id_of_a_task_follows_all_that_changes_its_rows(monkeypatch) -> None:
    task = Task("n1", "breast_cancer", "raw", Number(1))
    mine = task_digest(TINY, task, "abc")
    assert len(mine) == 16
    assert mine == task_digest(TINY, replace(task, name="renamed"), "abc")
    calm = {**TABLES, "powers": {**TABLES["powers"], "gap": Column("floats32")}}
    assert mine == task_digest(replace(TINY, tables=calm, description="other"), task, "abc")
    wide = {**TABLES, "powers": {**TABLES["powers"], "gap": Column("floats", nan=True)}}
    others = [
        task_digest(TINY, task, "abd"),
        task_digest(TINY, replace(task, dataset="digits"), "abc"),
        task_digest(TINY, replace(task, backbone="cooked"), "abc"),
        task_digest(TINY, replace(task, condition=Number(2)), "abc"),
        task_digest(TINY, replace(task, condition=Number(1, (0,))), "abc"),
        task_digest(replace(TINY, version=2), task, "abc"),
        task_digest(replace(TINY, name="tinier"), task, "abc"),
        task_digest(replace(TINY, tables=wide), task, "abc"),
    ]
    monkeypatch.setattr(experiments, "RESULTS_VERSION", 99)
    others.append(task_digest(TINY, task, "abc"))
    assert len({mine, *others}) == 10


def test_the_bank_that_is_read_is_part_of_the_id(tmp_path, monkeypatch) -> None:
    plan = compute(tmp_path)
    checksum = property(lambda bank: "another")
    monkeypatch.setattr("noisylib.features.bank.FeatureBank.checksum", checksum)
    changed = plan_experiment(TINY, tmp_path)
    assert [changed.tasks[i].name for i in changed.missing] == ["n1", "n0"]
    assert set(plan.tasks) - set(changed.tasks) == set(list(plan.tasks)[:2])


def test_a_part_of_the_tasks_gives_a_part_of_the_rows(tmp_path) -> None:
    collect_experiment(compute(tmp_path / "all"), tmp_path / "all")
    for only in ({"datasets": ["breast_cancer"]}, {"backbones": ["raw"]}):
        collect_experiment(compute(tmp_path / "part", **only), tmp_path / "part")
        part, whole = arrow(tmp_path / "part", "squares"), arrow(tmp_path / "all", "squares")
        assert same_rows(part, whole.slice(0, 4))
    assert CALLS[5:] == ["n1", "n0"]
    before = (tmp_path / "all" / "squares.parquet").read_bytes()
    plan = plan_experiment(TINY, tmp_path / "all", datasets=["bed"])
    assert (len(plan.tasks), plan.whole) == (3, False)
    with pytest.raises(ConfigError, match=r"holds 2 tasks that are not among the 3 .* would lose them"):
        collect_experiment(plan, tmp_path / "all")
    assert (tmp_path / "all" / "squares.parquet").read_bytes() == before


def test_names_that_no_task_has() -> None:
    with pytest.raises(UnknownNameError, match=r"datasets='bet' is unknown. Did you mean 'bed'"):
        plan_experiment(TINY, datasets=["bet"])
    with pytest.raises(UnknownNameError, match=r"backbones='' is unknown.*Allowed: raw"):
        plan_experiment(TINY, backbones=[""])
    with pytest.raises(ConfigError, match="no task has one of the datasets bed and one of the backbones raw"):
        plan_experiment(TINY, datasets=["bed"], backbones=["raw"])
    with pytest.raises(
        UnknownNameError, match=r"experiment='small_los' is unknown. Did you mean 'small_loss'"
    ):
        plan_experiment("small_los")


def test_missing_banks_are_said_before_the_work(tmp_path) -> None:
    of_images = [Task(name, name, "deit_tiny", Number(1)) for name in ("pbc", "breastmnist")]
    with pytest.raises(MissingDataError) as error:
        plan_experiment(replace(TINY, tasks=lambda: of_images), tmp_path, banks=tmp_path)
    assert "reads 2 feature banks. 2 of them are not in" in str(error.value)
    assert f"noisylib features extract pbc --backbone deit_tiny --data DATA/pbc --out {tmp_path}" in str(
        error.value
    )


def test_two_tasks_of_one_name_or_condition(tmp_path) -> None:
    one = Task("a", "bed", "", Number(1))
    for other in (replace(one, condition=Number(2)), replace(one, name="b")):
        with pytest.raises(NoisylibError, match="two tasks of one name or condition"):
            plan_experiment(replace(TINY, tasks=lambda other=other: [one, other]), tmp_path)


def test_damaged_files_are_named(tmp_path) -> None:
    plan = compute(tmp_path)
    chunk = tmp_path / "tiny" / f"powers-{next(iter(plan.tasks))}.parquet"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-20])
    with pytest.raises(
        NoisylibError, match=r"powers-\w+.parquet is not a readable results file .* Delete it"
    ):
        plan_experiment(TINY, tmp_path)
    middle = bytearray(whole)
    middle[4:200] = bytes(196)  # the end of the file, which says what is in it, is as it was
    chunk.write_bytes(middle)
    with pytest.raises(NoisylibError, match=r"(?s)powers-\w+.parquet is not a readable table .* delete it"):
        collect_experiment(plan_experiment(TINY, tmp_path), tmp_path)
    chunk.unlink()
    assert len(plan_experiment(TINY, tmp_path).missing) == 1


def test_a_damaged_log_is_said_before_the_work(tmp_path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "log.json").write_text("{")
    with pytest.raises(NoisylibError, match=r"log.json is not a readable log"):
        compute(tmp_path)
    assert CALLS == []


def test_damaged_tables_are_named(tables) -> None:
    path, record = tables / "squares.parquet", tables / "squares.json"
    whole, text = path.read_bytes(), record.read_text()
    path.write_bytes(whole[:-9])
    for reader in (load_table, lambda _: plan_experiment(TINY, tables)):
        with pytest.raises(NoisylibError, match="one of them was changed or damaged"):
            reader(path)
    path.write_bytes(whole)
    record.write_text(text.replace('"rows": 10', '"rows": 11'))
    with pytest.raises(NoisylibError, match="has 10 rows, its provenance says 11"):
        load_table(path)
    record.write_text(text.replace('"columns"', '"pillars"').replace('"tasks"', '"jobs"'))
    with pytest.raises(NoisylibError, match="describes no table of an experiment: it lacks 'columns'"):
        load_table(path)
    with pytest.raises(NoisylibError, match="has no provenance of an experiment beside it"):
        plan_experiment(TINY, tables)
    record.unlink()
    with pytest.raises(MissingDataError, match=r"no file .*squares.json"):
        load_table(path)
    with pytest.raises(NoisylibError, match="has no provenance of an experiment beside it"):
        plan_experiment(TINY, tables)


def test_a_table_with_numbers_that_its_provenance_forbids(tables) -> None:
    text = (tables / "powers.json").read_text()
    (tables / "powers.json").write_text(text.replace("floats32 or NaN", "floats32"))
    with pytest.raises(NoisylibError, match="column 'gap' has 10 values that are no number; only finite"):
        load_table(tables / "powers.parquet")


def test_a_place_that_cannot_be_written_to_is_said_before_the_work(tmp_path) -> None:
    (tmp_path / "tiny").write_text("a file where the folder should be")
    with pytest.raises(WriteError, match="cannot write"):
        compute(tmp_path)
    assert CALLS == []


def test_a_full_disk_keeps_finished_tasks(tmp_path, monkeypatch) -> None:
    write, sizes = pq.write_table, []

    def full(table, path, **more) -> None:
        sizes.append(table.num_rows)
        if len(sizes) > 4:
            Path(path).write_bytes(b"PAR1 half a file")
            raise OSError(28, "No space left on device")
        write(table, path, **more)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(WriteError, match=r"No space left.*Finished tasks are safe: run the same command"):
        compute(tmp_path)
    monkeypatch.undo()
    assert len(plan_experiment(TINY, tmp_path).missing) == 3
    assert len(list((tmp_path / "tiny").glob("*.parquet"))) == 4
    assert not list((tmp_path / "tiny").glob(".*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"square": float("nan")}, "'square' has 1 values that are no number; only finite"),
        ({"square": float("inf")}, "'square' has 1 values that are no number"),
        ({"square": None}, "'square' has no value in some rows"),
        ({"square": "four"}, "'square' holds what is not float"),
        ({"step": 0.5}, "'step' holds what is not int"),
        ({"step": True}, "'step' holds what is not int"),
        ({"dataset": 3}, "'dataset' holds what is not str"),
        ({"cube": 1.0}, "lacks the columns none and has the unknown columns cube"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, message) -> None:
    good = {"dataset": "bed", "step": 1, "square": np.float32(4)}
    assert to_arrow([good], TABLES["squares"], "id", "here").num_rows == 1
    with pytest.raises(NoisylibError, match=rf"here: .*{message}"):
        to_arrow([good, good | change], TABLES["squares"], "id", "here")


def test_lists_that_do_not_fit_are_refused() -> None:
    good = {"number": 1, "even": False, "powers": np.array([1.0, 2.0]), "gap": [float("nan")]}
    table = to_arrow([good, good | {"powers": []}], TABLES["powers"], "id", "here")
    assert table["powers"].to_pylist() == [[1.0, 2.0], []]
    for change, message in (
        ({"powers": [1.0, float("nan")]}, "only finite numbers are allowed there"),
        ({"gap": [float("-inf")]}, "NaN is allowed, infinity is not"),
        ({"gap": [None]}, "'gap' has no value"),
        ({"powers": 1.0}, "'powers' holds what is not floats"),
    ):
        with pytest.raises(NoisylibError, match=message):
            to_arrow([good | change], TABLES["powers"], "id", "here")


def test_a_task_gives_rows_for_every_table(tmp_path) -> None:
    def forgetful(task, banks):
        return {"squares": tinyexperiment.run(task, banks)["squares"]}

    def idle(task, banks):
        return {**tinyexperiment.run(task, banks), "powers": []}

    with pytest.raises(
        NoisylibError, match="'n4' of tiny gave rows for the tables squares: it has to for squ"
    ):
        compute(tmp_path, replace(TINY, run=forgetful))
    with pytest.raises(NoisylibError, match="table 'powers', task 'n4': no rows"):
        compute(tmp_path, replace(TINY, run=idle))
    assert not list((tmp_path / "tiny").glob("*.parquet"))


def test_kinds_of_columns() -> None:
    assert parse(describe(TABLES["powers"])) == TABLES["powers"]
    with pytest.raises(UnknownNameError, match=r"kind='double' is unknown"):
        Column("double")
    with pytest.raises(NoisylibError, match="nan=True with kind='ints'"):
        Column("ints", nan=True)


@pytest.mark.parametrize("other", [[[1.0], [2.0, 3.0]], [[1.0, 2.0], [4.0]], [[1.0, 2.0]]])
def test_tables_are_compared_by_values_and_list_lengths(other) -> None:
    schema = {"x": Column("floats", nan=True)}

    def table(lists):
        return to_arrow([{"x": x} for x in lists], schema, "id", "here")

    mine = [[1.0, 2.0], [3.0]]
    assert same_rows(table(mine), table(mine))
    assert same_rows(table([[float("nan")]]), table([[float("nan")]]))
    assert not same_rows(table(mine), table(other))


def test_studies_and_experiments_share_a_results_folder(tables) -> None:
    tinystudy.run(tables)
    assert tinystudy.run(tables).missing == 0
    assert plan_experiment(TINY, tables).missing == []


def test_time_that_is_left_is_told_from_finished_tasks(tmp_path) -> None:
    plan = plan_experiment(TINY, tmp_path)
    assert remaining_seconds(plan, tmp_path) is None
    run_experiment(replace(plan, missing=plan.missing[:1]), tmp_path)  # 4 of 10 units of work
    chunk = next((tmp_path / "tiny").glob("squares-*.parquet"))
    table = pq.read_table(chunk)
    record = json.loads(table.schema.metadata[b"noisylib"]) | {"seconds": 8.0}
    with write_aside(chunk) as aside:
        pq.write_table(table.replace_schema_metadata({b"noisylib": json.dumps(record)}), aside)
    left = plan_experiment(TINY, tmp_path)
    assert left.cost == 6
    assert remaining_seconds(left, tmp_path) == pytest.approx(12)
    assert remaining_seconds(left, tmp_path, jobs=2) == pytest.approx(6)
    assert remaining_seconds(left, tmp_path, jobs=9) == pytest.approx(6)  # the longest task
    compute(tmp_path)
    assert remaining_seconds(plan_experiment(TINY, tmp_path), tmp_path) == 0


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """The tiny experiment in the registry, and a working directory of its own."""
    monkeypatch.setattr(tinyexperiment, "EXPERIMENT", TINY, raising=False)
    monkeypatch.setitem(EXPERIMENTS, "tiny", "tinyexperiment")
    monkeypatch.chdir(tmp_path)


def call(*arguments: str):
    return CliRunner().invoke(cli.app, ["experiment", *arguments])


def test_the_command_plans_runs_and_collects(registered, tmp_path) -> None:
    result = call("tiny", "--dry-run", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert result.output == "tiny: 5 tasks, 0 done, 5 missing; 1 process on cpu\n"
    assert not list(tmp_path.iterdir())
    result = call("tiny", "--jobs", "1", "--datasets", "breast_cancer,bed", "--backbones", "raw")
    assert "tiny: 2 tasks (a part of the experiment), 0 done, 2 missing; 1 process" in result.output
    assert "2/2 tasks after" in result.output
    result = call("tiny", "--jobs", "1", "--collect")
    assert "tiny: 5 tasks, 2 done, 3 missing; 1 process" in result.output
    assert "to go, as the finished tasks tell" in result.output
    assert "5/5 tasks after" in result.output
    assert "rows in results/tiny\n10 rows in results/squares.parquet\n" in result.output
    result = call("tiny", "--collect")
    assert "5 rows in results/powers.parquet, which held them already" in result.output
    shutil.rmtree(tmp_path / "results" / "tiny")
    assert "tiny: 5 tasks, 5 done, 0 missing" in call("tiny", "--dry-run", "--jobs", "1").output
    rows, _ = load_table(tmp_path / "results" / "squares.parquet")
    assert_frame_equal(rows, load_table("results/squares.parquet")[0])


def test_the_command_keeps_what_is_done_when_interrupted(registered, monkeypatch) -> None:
    def stopped(plan, *_, on_task, **__) -> None:
        on_task(plan.missing[0], 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr("noisylib.study.experiment_runner.run_experiment", stopped)
    result = call("tiny", "--jobs", "1")
    assert result.exit_code == 130
    assert "stopped: 1 of 5 tasks are kept; the same command goes on from there" in result.output


def test_make_archive_runs_every_experiment_on_what_is_here(root) -> None:
    own = [name for name in EXPERIMENTS if name != "human"]  # which counts files that cannot ship
    text = (root / "Makefile").read_text()
    assert f"EXPERIMENTS := {' '.join(own)}\n" in text
    assert text.index("noisylib experiment $$name") < text.index("noisylib refit")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_of_the_registry_is_complete(name) -> None:
    """Names fit the files they become; no two experiments write one table."""
    experiment = load_experiment(name)
    assert experiment.name == name
    tasks = experiment.tasks()
    assert len({task.name for task in tasks}) == len(tasks) > 0
    others = {table for other in EXPERIMENTS if other != name for table in load_experiment(other).tables}
    assert not others & experiment.tables.keys()
    assert all(len(task_digest(experiment, task, "")) == 16 for task in tasks)
