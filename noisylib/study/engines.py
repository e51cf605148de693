"""What computes the items of a study side by side: processes of this machine, or Dask workers anywhere.

An engine is called with `Work` and the items, and yields each item with its result as it is finished. It
writes nothing: whoever iterates over it files the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from noisylib.errors import NoisylibError, check_name

BACKENDS = ("processes", "dask")
WAIT = 60.0  # seconds for the first worker of a cluster to appear

Item, Result = TypeVar("Item"), TypeVar("Result")


def _reads_nothing(_: Any) -> tuple[tuple[str, str], ...]:
    return ()


@dataclass(frozen=True)
class Work:
    """What is done to every item.

    Attributes
    ----------
    function : of one item; it, the items and what it returns are pickled on their way to other processes.
    unit : what the items are called, in the plural.
    name : of an item, for errors.
    reads : the feature banks that an item reads, as (dataset, backbone).
    root : folder of the banks; None: those shipped.
    """

    function: Callable[[Any], Any]
    unit: str = "items"
    name: Callable[[Any], str] = str
    reads: Callable[[Any], Iterable[tuple[str, str]]] = _reads_nothing
    root: str | None = None


class Engine(Protocol):
    """Computes items side by side.

    Attributes
    ----------
    backend : one of BACKENDS.
    device : torch device that items are told to compute on; "auto": each worker takes a GPU if it has one.
    kind : "cpu" or a kind of GPU: what chunks are cut for.
    need : bytes of memory that one item may take, if that is known; fewer run at once where memory is short.
    local : whether all work is done on this machine.
    """

    backend: str
    device: str
    need: float
    local: bool

    @property
    def kind(self) -> str:
        """What chunks are cut for."""

    @property
    def jobs(self) -> int:
        """How many items are computed at once."""

    @property
    def device_names(self) -> str:
        """What the makers call the processors or GPUs, for the log."""

    def __call__(self, work: Work, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        """Yield each item with its result as it is finished."""

    def __str__(self) -> str:
        """Say in a few words how much runs where."""


def parse_jobs(jobs: str | int) -> int:
    """Return a number of processes; 0 for "auto".

    Raises
    ------
    NoisylibError
        Neither a number from 0 on nor "auto".
    """
    text = str(jobs).strip().lower()
    if text == "auto":
        return 0
    if not text.isdecimal():
        raise NoisylibError(f"jobs={jobs!r}: give a number of worker processes, or auto.")
    return int(text)


@contextmanager
def open_engine(
    jobs: str | int = "auto",
    device: str = "auto",
    *,
    backend: str = "processes",
    scheduler: str = "",
    wait: float = WAIT,
) -> Iterator[Engine]:
    """Yield an engine, and close what was started for it.

    Parameters
    ----------
    jobs : worker processes on this machine; "auto" or 0 takes what cores, memory and GPUs allow.
    device : torch device; "auto": a GPU if there is one.
    backend : "processes", or "dask": a cluster of processes on this machine, unless `scheduler` says where.
    scheduler : address of a Dask scheduler, such as tcp://host:8786, or its scheduler file. Implies Dask.
    wait : seconds for a worker to appear there.

    Raises
    ------
    NoisylibError
        An unknown backend or device, or a cluster that cannot be used as it is.
    """
    check_name("backend", backend, BACKENDS)
    count = parse_jobs(jobs)
    if scheduler:
        from noisylib.study.cluster_setup import connect

        if count:
            raise NoisylibError(
                f"jobs={count} with scheduler={scheduler!r}: as many items run at once as there are workers; "
                "leave jobs out, and start more or fewer workers."
            )
        with connect(scheduler, device, wait=wait) as engine:
            yield engine
    elif backend == "dask":
        from noisylib.study.cluster_setup import LocalDask

        yield LocalDask(count, device)
    else:
        from noisylib.study.processes import Processes

        yield Processes(count, device)
