"""The Dask engine on a cluster of two worker processes, which is started once for all tests here."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from blobs import blobs
from clusterwork import Marking, bank_object, die, first_id, read_file, square, threads
from pandas.testing import assert_frame_equal
from tinyexperiment import TINY
from tinystudy import CONFIG, run
from typer.testing import CliRunner

from noisylib import cli
from noisylib.errors import MissingDataError, NoisylibError, WriteError
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.study import cluster, cluster_setup, collect, plan_study, run_study
from noisylib.study.cluster import DaskEngine
from noisylib.study.cluster_setup import LocalDask, check_workers, connect, local_cluster
from noisylib.study.engines import Work, open_engine
from noisylib.study.experiment_runner import collect_experiment, run_experiment
from noisylib.study.experiments import plan_experiment
from noisylib.study.store import ResultStore

distributed = pytest.importorskip("distributed")

# 12 chunks of one seed or two, each a blink.
CHUNKS = replace(CONFIG, name="chunks", seeds=(0, 1, 2, 3, 4, 5))


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as client:
        yield client


@pytest.fixture
def engine(client):
    client.wait_for_workers(2, timeout=60)
    return DaskEngine(client, "here", "cpu")


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def chunked(plan):
    """Return a plan with a chunk per training seed and method."""
    chunks = []
    for chunk in plan.chunks:
        for seed in sorted({one.seed_train for one in chunk.runs}):
            kept = [i for i, one in enumerate(chunk.runs) if one.seed_train == seed]
            runs, ids = zip(*((chunk.runs[i], chunk.run_ids[i]) for i in kept), strict=True)
            chunks.append(replace(chunk, runs=runs, run_ids=ids, cost=chunk.cost / len(kept)))
    return replace(plan, chunks=chunks)


def test_rows_are_those_of_one_process(tmp_path, engine) -> None:
    run(tmp_path / "one")
    run_study(plan_study(CONFIG, tmp_path / "dask"), tmp_path / "dask", engine=engine)
    one, two = (collect(CONFIG, tmp_path / name) for name in ("one", "dask"))
    assert_frame_equal(untimed(one), untimed(two))
    assert set(two["device"]) == {"cpu"}
    (entry,) = ResultStore(CONFIG, tmp_path / "dask").history()
    assert (entry["backend"], entry["jobs"], entry["runs"]) == ("dask", 2, 16)


def test_experiments_and_their_order_are_the_same(tmp_path, engine) -> None:
    for name, more in (("one", {}), ("dask", {"engine": engine})):
        plan = plan_experiment(TINY, tmp_path / name)
        run_experiment(plan, tmp_path / name, **more)
        collect_experiment(plan, tmp_path / name)
    for table in TINY.tables:
        one, two = (pd.read_parquet(tmp_path / name / f"{table}.parquet") for name in ("one", "dask"))
        assert_frame_equal(one, two)


def test_a_bank_goes_to_each_worker_once(tmp_path, client, engine) -> None:
    """40 items on 2 workers: one object in each process, and no more bytes moved than two banks have."""
    X, y = blobs(4000, 3, 64)
    bank = FeatureBank.from_arrays(X, y, np.arange(4000) % 2 * 2, ["a", "b", "c"], BankMeta("sent", "own"))
    bank.save(tmp_path / "sent-own.safetensors")
    pair = ("sent", "own")
    before = received(client)
    work = Work(bank_object, reads=lambda _: [pair], root=str(tmp_path))
    found = [result for _, result in engine(work, [pair] * 40)]
    (tmp_path / "sent-own.safetensors").unlink()  # nothing is read any more, here or there
    found += [result for _, result in engine(work, [pair] * 4)]
    objects = {(pid, number) for pid, number, _ in found}
    assert len(objects) == len({pid for pid, _ in objects}) <= 2
    assert {checksum for _, _, checksum in found} == {bank.checksum}
    key = f"noisylib-bank-{bank.checksum}"
    assert list(engine._banks) == [key]
    size = sum(array.nbytes for array in bank.arrays().values())
    assert received(client) - before <= 1.1 * size  # from worker to worker; the first had it from here
    holders = client.who_has([engine._banks[key]])[key]
    assert len(holders) == len(objects)


def received(client) -> int:
    """Return the bytes that workers had from each other."""
    logs = client.run(lambda dask_worker: [e["total"] for e in dask_worker.transfer_incoming_log])
    return sum(sum(sizes) for sizes in logs.values())


def test_a_study_runs_on_workers_without_the_file_of_its_bank(tmp_path, engine) -> None:
    X, y = blobs(120, 3, 5)
    meta = BankMeta("mine", "model")
    bank = FeatureBank.from_arrays(X, y, np.arange(120) % 2 * 2, ["a", "b", "c"], meta)
    config = replace(
        CONFIG, name="mine", datasets=("mine",), backbones=("model",), noise_types=("symmetric",)
    )
    bank.save(tmp_path / "mine-model.safetensors")
    plan = plan_study(config, tmp_path / "r", banks=tmp_path)
    engine.bank("mine", "model", str(tmp_path))  # sent, and then gone
    (tmp_path / "mine-model.safetensors").rename(tmp_path / "away")
    run_study(plan, tmp_path / "r", banks=tmp_path, engine=engine)
    (tmp_path / "away").rename(tmp_path / "mine-model.safetensors")
    assert len(collect(config, tmp_path / "r", banks=tmp_path)) == 8


def test_a_worker_without_a_file_that_is_not_sent_is_named(tmp_path, engine, monkeypatch) -> None:
    X, y = blobs(60, 2, 5)
    bank = FeatureBank.from_arrays(X, y, np.arange(60) % 2 * 2, ["a", "b"], BankMeta("big", "own"))
    bank.save(tmp_path / "big-own.safetensors")
    work = Work(bank_object, reads=lambda _: [("big", "own")])
    with pytest.raises(MissingDataError, match=rf"worker tcp://.* on {socket.gethostname()}: dataset='big'"):
        list(engine(replace(work, root=str(tmp_path / "elsewhere")), [("big", "own")]))
    monkeypatch.setattr(cluster, "SENT_BYTES", 100)
    with pytest.raises(NoisylibError, match=r"worker tcp://.*same path on every worker.*same command"):
        list(engine(replace(work, root=str(tmp_path)), [("big", "own")]))
    absent = tmp_path / "image.png"
    with pytest.raises(MissingDataError, match=r"worker tcp://.*image.png"):
        list(engine(Work(read_file), [str(absent)]))


def test_errors_of_a_chunk_are_not_tried_again_and_leave_the_engine_usable(engine) -> None:
    with pytest.raises(KeyError, match="thirteen"):
        list(engine(Work(square), [1, 2, 3, 4, 13]))
    assert sorted(engine(Work(square), range(20, 40))) == [(i, i * i) for i in range(20, 40)]


def test_an_error_in_mid_study_leaves_what_is_done_and_the_rest_goes_on(
    tmp_path, engine, monkeypatch
) -> None:
    plan = chunked(plan_study(CHUNKS, tmp_path))
    add, calls = ResultStore.add, []

    def full(store, rows):
        calls.append(1)
        if len(calls) == 5:
            raise WriteError("no space left")
        return add(store, rows)

    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "add", full)
        with pytest.raises(WriteError, match="no space"):
            run_study(plan, tmp_path, engine=engine)
    left = plan_study(CHUNKS, tmp_path)
    assert left.missing == 48 - 4 * 4
    run_study(chunked(left), tmp_path, engine=engine)
    assert len(collect(CHUNKS, tmp_path)) == 48


def test_few_items_are_in_flight(client, engine) -> None:
    known = [in_flight(client) for _ in engine(Work(square), range(20, 60))]
    assert 2 <= max(known) <= 2 * cluster.AHEAD + 2  # two that were gathered may not be forgotten yet


def in_flight(client) -> int:
    """Return how many items the scheduler knows of."""
    return client.run_on_scheduler(
        lambda dask_scheduler: len([key for key in dask_scheduler.tasks if "noisylib-bank" not in key])
    )


def test_each_worker_has_one_thread(client, engine) -> None:
    for _, each in engine(Work(threads), [False] * 4):
        assert each["torch"] == 1
        assert each["variable"] == "1"
        assert set(each["libraries"].values()) == {1}


def test_ctrl_c_takes_back_what_is_in_flight(client, engine) -> None:
    iterator = engine(Work(square), range(20, 60))
    next(iterator)
    iterator.close()  # what KeyboardInterrupt in the loop over it comes to
    until = time.monotonic() + 5
    while in_flight(client) and time.monotonic() < until:
        time.sleep(0.05)
    assert in_flight(client) == 0


def test_ctrl_c_in_a_terminal_does_not_reach_the_workers(client, engine) -> None:
    """A terminal sends it to all processes; only the first one shall act on it."""
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGINT)
    before = set(client.nthreads())
    assert sorted(engine(Work(square), range(20, 30))) == [(i, i * i) for i in range(20, 30)]
    assert set(client.nthreads()) == before


def test_another_environment_is_said_before_work_starts(client, engine, monkeypatch) -> None:
    mine = cluster_setup.versions()
    assert {facts["threads"] for facts in check_workers(client, "auto").values()} == {1}
    monkeypatch.setattr(cluster_setup, "versions", lambda: {**mine, "torch": "9.9"})
    with pytest.raises(NoisylibError) as caught:
        check_workers(client, "auto")
    said = f"has torch {mine['torch']} where the client has 9.9"
    assert str(caught.value).count(said) == 3, "two workers and the scheduler"
    for worker in client.nthreads():
        assert f"worker {worker} on {socket.gethostname()} {said}" in str(caught.value)
    monkeypatch.setattr(cluster, "versions", lambda: {**mine, "numpy": "1.0"})  # one that joined later
    with pytest.raises(NoisylibError, match=r"worker tcp://.* has numpy .* where the client has 1.0"):
        list(engine(Work(square), [1]))


def test_a_device_that_workers_lack_is_said(client) -> None:
    with pytest.raises(NoisylibError, match=r"worker tcp://.*device='cuda:77'"):
        check_workers(client, "cuda:77")


def test_an_unreachable_scheduler_is_named_with_the_way_to_start_one(tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(NoisylibError) as caught, connect(address, wait=1.0):
        pass
    assert time.monotonic() - started < 8
    for part in (address, "within 1 s", "'dask scheduler'", "'dask worker tcp://HOST:8786 --nthreads 1"):
        assert part in str(caught.value)
    with pytest.raises(NoisylibError, match="an address with a port"), connect("nowhere"):
        pass
    with pytest.raises(NoisylibError, match="--scheduler-file"), connect(str(tmp_path / "none.json")):
        pass
    with pytest.raises(NoisylibError, match="leave jobs out"), open_engine(2, scheduler=address):
        pass


def test_a_scheduler_without_workers_is_waited_for_and_then_named() -> None:
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0", scheduler_port=0, protocol="tcp://"
        ) as empty,
        pytest.raises(NoisylibError, match=r"has no worker, and none came in 0.5 s.*dask worker.*--wait"),
        connect(empty.scheduler_address, wait=0.5),
    ):
        pass


def test_the_command_line_uses_a_running_scheduler(tmp_path, client, monkeypatch) -> None:
    client.wait_for_workers(2, timeout=60)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(STUDY))
    address = client.scheduler.address
    client.write_scheduler_file("here.json")
    result = CliRunner().invoke(cli.app, ["run", "tiny.yaml", "--scheduler", address])
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"4 missing in 2 chunks; 2 Dask workers at {address}" in result.output
    assert "finished in" in result.output
    again = CliRunner().invoke(cli.app, ["rerun", "tiny.yaml", "--rows", "4", "--scheduler", "here.json"])
    assert "4 of them equal to the last bit" in again.output, again.exception


STUDY = {
    "name": "tiny", "datasets": ["breast_cancer"], "backbones": ["raw"], "noise_types": ["symmetric"],
    "noise_rates": [0.0, 0.3], "methods": ["ce", "elr"], "seeds": [0],
    "recipe": {"epochs": 2, "score_epochs": 1},
}  # fmt: skip


def test_a_cluster_of_this_machine_starts_with_the_work(monkeypatch) -> None:
    """A dry run starts none."""
    started = []

    def cluster_of(jobs: int):
        started.append(jobs)
        raise RuntimeError("started")

    monkeypatch.setattr(cluster_setup, "local_cluster", cluster_of)
    with open_engine(3, "cpu", backend="dask") as engine:
        assert isinstance(engine, LocalDask)
        assert str(engine) == "3 Dask workers of this machine on cpu"
        assert started == []
        with pytest.raises(RuntimeError, match="started"):
            list(engine(Work(square), [1, 2]))
    assert started == [2]  # no more workers than items


def test_a_killed_worker_costs_its_chunk_and_no_run(tmp_path, engine) -> None:
    """SIGKILL in the middle of the fourth of 12 chunks: every row is there once, and equal."""
    plan = chunked(plan_study(CHUNKS, tmp_path / "one"))
    assert len(plan.chunks) == 12
    run_study(plan, tmp_path / "one")
    marks = tmp_path / "marks"
    marks.mkdir()
    victim = plan.chunks[3].run_ids[0]
    marking = Marking(engine, marks, victim, first_id)
    cut = chunked(plan_study(CHUNKS, tmp_path / "cut"))
    run_study(cut, tmp_path / "cut", engine=marking)
    begun = marking.beginnings()
    assert begun.pop(victim) == 2
    assert set(begun.values()) == {1}, "nothing but that chunk is done again"
    assert len(begun) == 11
    files = list((tmp_path / "cut/chunks").glob("*.parquet"))
    ids = [run_id for path in files for run_id in pd.read_parquet(path)["run_id"]]
    assert len(ids) == len(set(ids)) == 48
    one, two = (collect(CHUNKS, tmp_path / name) for name in ("one", "cut"))
    assert_frame_equal(untimed(one), untimed(two))


def test_a_chunk_that_kills_worker_after_worker_is_named(client, engine) -> None:
    work = Work(die, "chunks", name=lambda item: f"the chunk {item}")
    assert allow_deaths(client, 0) == cluster.DEATHS  # in place of a quarter of a minute of new workers
    with pytest.raises(NoisylibError, match=r"died while they had the chunk 7.*Finished chunks are safe"):
        list(engine(work, [7]))
    assert allow_deaths(client, cluster.DEATHS) == 0


def allow_deaths(client, number: int) -> int:
    """Let the scheduler repeat a task so often, and return how often it did before."""

    def change(dask_scheduler):
        before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, number
        return before

    return client.run_on_scheduler(change)


def test_a_cluster_without_workers_ends_the_work_in_time(client, engine, monkeypatch) -> None:
    """Last: the workers are gone for good afterwards."""
    monkeypatch.setattr(cluster, "POLL", 0.1)
    client.retire_workers(list(client.nthreads()), close_workers=True)
    while client.nthreads():
        time.sleep(0.05)
    lonely = replace(engine, wait=0.5)
    with pytest.raises(NoisylibError, match=r"no worker is left at here, and none came back in 0"):
        list(lonely(Work(square), [1]))
