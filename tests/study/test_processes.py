"""How many worker processes there are, and that each keeps to one thread and one GPU."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clusterwork import square, threads
from tinystudy import CONFIG

from noisylib import devices
from noisylib.errors import NoisylibError
from noisylib.features.bank import bank_path
from noisylib.study import capacity, plan_study, processes
from noisylib.study.engines import Work, open_engine, parse_jobs
from noisylib.study.processes import Processes, one_thread, take_gpu

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes this a machine of so many cores and so much free memory."""

    def make(cores: int, free: int | None) -> None:
        monkeypatch.setattr(capacity, "usable_cores", lambda: cores)
        monkeypatch.setattr(capacity, "free_memory", lambda: free)

    return make


def test_jobs_are_the_cores_as_far_as_memory_goes(machine, caplog) -> None:
    machine(8, 20 * GB)
    assert capacity.auto_jobs("cpu") == 8
    assert capacity.auto_jobs("cpu", 2.5 * GB) == 8  # exactly enough
    with caplog.at_level(logging.INFO):
        assert capacity.auto_jobs("cpu", 3 * GB) == 6
    assert "20.0 GB of memory are free, for 6 processes of up to 3.0 GB" in caplog.text
    assert capacity.auto_jobs("cpu", 50 * GB) == 1  # none would be no study at all
    machine(8, None)
    assert capacity.auto_jobs("cpu", 50 * GB) == 8


def test_on_a_gpu_there_is_one_process_for_each(machine, monkeypatch) -> None:
    machine(8, GB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert capacity.auto_jobs("cuda", 5 * GB) == 3
    assert capacity.auto_jobs("cuda:1") == 1


def test_a_quota_or_an_affinity_counts_as_fewer_cores(monkeypatch) -> None:
    from joblib.externals.loky.backend import context

    if hasattr(os, "sched_setaffinity"):
        found = subprocess.run(
            [
                sys.executable,
                "-c",
                "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
                "from noisylib.devices import usable_cores\nassert usable_cores() == 1",
            ],
            check=False,
        )
        assert found.returncode == 0
    monkeypatch.setattr(context.os, "cpu_count", lambda: 16)
    monkeypatch.setattr(context.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(context, "_cpu_count_cgroup", lambda _: 3)
    assert devices.usable_cores() == 3


def test_memory_need_goes_by_the_largest_bank(tmp_path, monkeypatch) -> None:
    plan = plan_study(CONFIG, tmp_path, create=False)
    assert capacity.memory_need(plan.chunks, tmp_path) == capacity.PROCESS_BYTES  # a table without a file
    bank_path("breast_cancer", "raw", tmp_path).write_bytes(b"x" * 1000)
    assert capacity.memory_need(plan.chunks, tmp_path) == capacity.PROCESS_BYTES + 17_000
    shards = tmp_path / "breast_cancer-raw.shards"
    shards.mkdir()
    (shards / "0.safetensors").write_bytes(b"x" * 2000)
    assert capacity.memory_need(plan.chunks, tmp_path) == capacity.PROCESS_BYTES + 51_000
    assert capacity.memory_need(plan.chunks, tmp_path, 600) == capacity.PROCESS_BYTES + 600


@pytest.mark.parametrize(("text", "jobs"), [("auto", 0), ("Auto ", 0), ("0", 0), (3, 3), ("12", 12)])
def test_jobs_are_a_number_or_auto(text, jobs: int) -> None:
    assert parse_jobs(text) == jobs


@pytest.mark.parametrize("text", ["many", "-1", "1.5", ""])
def test_other_jobs_are_refused(text: str) -> None:
    with pytest.raises(NoisylibError, match=r"jobs=.*a number of worker processes, or auto"):
        parse_jobs(text)


def test_an_engine_says_what_it_is(machine) -> None:
    machine(4, None)
    with open_engine("auto", "cpu") as engine:
        assert (str(engine), engine.jobs, engine.kind, engine.backend) == (
            "4 processes on cpu", 4, "cpu", "processes",
        )  # fmt: skip
    with open_engine(1, "cpu") as engine:
        assert str(engine) == "1 process on cpu"
    with pytest.raises(NoisylibError, match="Did you mean 'dask'"), open_engine(backend="dusk"):
        pass
    with pytest.raises(NoisylibError, match="device='tpu'"), open_engine(device="tpu"):
        pass


@pytest.mark.parametrize("outside", ["7", None])
def test_each_worker_has_one_thread_whatever_is_said_outside(monkeypatch, outside) -> None:
    """Torch, every BLAS and every OpenMP of a worker; also those that are loaded later."""
    for variable in processes.THREAD_VARIABLES:
        if outside is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, outside)
    found = [result for _, result in Processes(2)(Work(threads), [True, True])]
    for each in found:
        assert each["torch"] == 1
        assert each["variable"] == "1"
        assert set(each["libraries"].values()) == {1}
        assert len(each["libraries"]) >= 2  # a BLAS and an OpenMP
    assert all(each["pid"] != os.getpid() for each in found)


def test_one_process_keeps_to_one_thread_and_puts_back_what_was() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        ((_, inside),) = Processes(1)(Work(threads), [True])
        assert inside["pid"] == os.getpid()
        assert inside["torch"] == 1
        assert set(inside["libraries"].values()) == {1}
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_items_come_with_their_results_and_errors_as_they_are(jobs: int) -> None:
    assert sorted(Processes(jobs)(Work(square), [3, 1, 2])) == [(1, 1), (2, 4), (3, 9)]
    assert list(Processes(jobs)(Work(square), [])) == []
    with pytest.raises(KeyError, match="thirteen"):
        list(Processes(jobs)(Work(square), [13, 13]))


def test_each_worker_takes_a_gpu_of_its_own(tmp_path, monkeypatch) -> None:
    """Three locks for two GPUs: a third worker is refused, and one that dies leaves its GPU to the next."""
    monkeypatch.setattr(processes, "_taken", {})
    used: list[int] = []
    assert take_gpu(None, used.append) is None
    share = (str(tmp_path), 2)
    other = Path(__file__).parents[1]
    script = (
        "from noisylib.study.processes import take_gpu\n"
        f"print(take_gpu({share!r}, print), flush=True)\ninput()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=other
    )
    assert first.stdout.readline() == "0\n"
    assert take_gpu(share, used.append) == 1
    assert take_gpu(share, used.append) is None  # it has one
    assert used == [1]
    mine = dict(processes._taken)
    processes._taken.clear()  # as another worker
    with pytest.raises(NoisylibError, match=r"2 are visible here.*Use --jobs 2"):
        take_gpu(share, used.append)
    first.communicate("\n")
    assert take_gpu(share, used.append) == 0
    for file in (*mine.values(), *processes._taken.values()):
        file.close()


def test_gpus_are_shared_out_only_where_there_are_several(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with processes.gpu_shares("cuda") as (folder, count):
        assert (count, Path(folder).is_dir()) == (2, True)
    assert not Path(folder).exists()
    for device in ("cpu", "cuda:1"):
        with processes.gpu_shares(device) as share:
            assert share is None
