"""The benchmark of the engines: what it promises to measure is measured, on sizes that mean nothing."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import engine, record
from noisylib.study.engines import Work

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def numbers():
    return engine.run(True, torch.device("cpu"))


def test_keys_are_those_of_the_record(numbers) -> None:
    facts = {"date": "2026-01-01", "seconds": 1.0, "quick": True, "machine": {"cpu": "made"}}
    merged = json.loads(json.dumps(record.merge({}, "engine", numbers, facts)))
    for key in ("speedup_two_processes", "speedup_two_dask_workers", "overhead_per_chunk_seconds"):
        assert merged[f"engine.{key}"] > 0
    assert {"chunks_repeated", "seconds_lost"} <= set(merged["engine.killed_worker"])
    assert set(merged["engine.seconds"]) == set(engine.WAYS)
    assert [len(raw) for raw in merged["engine.seconds_raw"].values()] == [engine.QUICK.rounds] * 4
    assert merged["engine.setting"]["chunks"] == engine.QUICK.chunks


def test_a_worker_is_killed_and_no_run_is_missing(numbers) -> None:
    killed = numbers["engine.killed_worker"]
    assert killed["runs_missing"] == 0
    assert 1 <= killed["chunks_repeated"] <= engine.QUICK.chunks


def test_the_table_names_every_way(numbers) -> None:
    text = engine.table(numbers)
    for part in (*engine.WAYS, "two processes against one", "a worker killed in mid-study"):
        assert part in text


def test_the_study_has_a_chunk_of_equal_work_for_every_seed(tmp_path) -> None:
    study = engine.Study(engine.QUICK, tmp_path)
    plan, results = study.plan()
    assert [{run.seed_train for run in chunk.runs} for chunk in plan.chunks] == [{0}, {1}, {2}, {3}]
    assert len({chunk.cost for chunk in plan.chunks}) == 1
    assert plan.missing == plan.total == 4
    assert study.plan()[1] != results  # each time as new


def test_empty_items_are_divided_by_their_number(monkeypatch) -> None:
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(engine.time, "perf_counter", lambda: next(clock))

    def instant(work: Work, items: range):
        yield from ((item, None) for item in items)

    assert engine.empty(instant, 8) == 0.5
