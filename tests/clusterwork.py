"""Functions that are computed by worker processes in tests, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from noisylib.study.engines import Engine, Work
from noisylib.study.inputs import cached_bank


def threads(late: bool) -> dict[str, Any]:
    """Say how many threads torch and every library here would use, also one that is loaded `late`."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    np.ones((4, 4)) @ np.ones((4, 4))
    if late:
        from sklearn import utils  # noqa: F401  brings its own OpenMP

    return {
        "torch": torch.get_num_threads(),
        "libraries": {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()},
        "variable": os.environ.get("OMP_NUM_THREADS"),
        "pid": os.getpid(),
    }


def bank_object(pair: tuple[str, str]) -> tuple[int, int, str]:
    """Say which process this is, which object the bank of `pair` is in it, and its checksum."""
    bank = cached_bank(*pair, None)
    return os.getpid(), id(bank), bank.checksum


def square(x: int) -> int:
    """Return the square; 13 is refused."""
    if x == 13:
        raise KeyError("thirteen")
    return x * x


def read_file(path: str) -> str:
    """Return what is in a file."""
    return Path(path).read_text()


def die(_: Any) -> None:
    """Kill this worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def mark(function: Callable[[Any], Any], folder: str, victim: str, name: Callable, item: Any) -> Any:
    """Leave a file for each beginning of an item, and die at the end of `victim` the first time."""
    me = name(item)
    first = not any(Path(folder).glob(f"{me}-*"))
    (Path(folder) / f"{me}-{os.getpid()}-{time.time_ns()}").touch()
    result = function(item)
    if first and me == victim:
        time.sleep(0.5)  # a chunk is long enough for the result of the one before to be gathered
        die(None)
    return result


@dataclass
class Marking:
    """An engine that counts beginnings, and whose worker is killed in the middle of one item."""

    engine: Engine
    folder: Path
    victim: str
    name: Callable[[Any], str] = str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __call__(self, work: Work, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Compute the items by the engine behind."""
        marked = partial(mark, work.function, str(self.folder), self.victim, self.name)
        yield from self.engine(replace(work, function=marked), items)

    def beginnings(self) -> dict[str, int]:
        """Return how often each item was begun."""
        names = [path.name.rsplit("-", 2)[0] for path in self.folder.iterdir()]
        return {name: names.count(name) for name in names}


def first_id(chunk: Any) -> str:
    """Return the name of a chunk of a study: its first run id."""
    return chunk.run_ids[0]
