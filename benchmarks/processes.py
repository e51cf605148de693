"""Worker processes that wait, warm, for the word to train the same bank."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from types import TracebackType

import torch

from benchmarks.workload import Setting, Workload


class Workers:
    """`n` processes of one torch thread each; start-up, imports and a first run are not timed."""

    def __init__(self, n: int, setting: Setting, device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._processes = []
        for _ in range(n):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, setting, str(device)), daemon=True)
            process.start()
            there.close()  # so that a worker that dies is an EOFError here and not a wait for ever
            self._ends.append(here)
            self._processes.append(process)

    def __enter__(self) -> Workers:
        for end in self._ends:
            end.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join()

    def seconds(self, n: int) -> float:
        """Return the wall time of `n` workers that train the same bank side by side."""
        start = time.perf_counter()
        for end in self._ends[:n]:
            end.send(True)
        for end in self._ends[:n]:
            end.recv()
        return time.perf_counter() - start


def _serve(end: Connection, setting: Setting, device: str) -> None:
    torch.set_num_threads(1)
    work = Workload(setting, torch.device(device))
    seeds = work.chunks()[0]
    try:
        while True:
            work.train(seeds)
            end.send(True)
            end.recv()
    except (EOFError, BrokenPipeError):
        return  # the parent is done
