"""Dask workers as an engine: what is sent to them, what happens when one dies, what they do with an item."""

from __future__ import annotations

import logging
import pickle
import queue
import signal
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError
from noisylib.features.bank import FeatureBank, load_bank
from noisylib.study.cluster_facts import versions
from noisylib.study.engines import WAIT, Item, Result, Work
from noisylib.study.inputs import provided
from noisylib.study.processes import keep_to_one_thread, take_gpu

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

AHEAD = 2  # items per worker that the scheduler knows of: one that is computed and one that waits
DEATHS = 3  # workers that may die of one item
SENT_BYTES = 2**29  # a larger bank is read by the workers themselves
POLL = 2.0  # seconds after which to see whether any worker is left


@dataclass
class DaskEngine:
    """The workers behind a client, each of which computes one item at a time.

    The scheduler knows of a few items per worker only, so that a study of any number of chunks does not flood
    it. It gives an item whose worker died to another one.

    Attributes
    ----------
    client : connected, its workers checked by `noisylib.study.cluster_setup.check_workers`.
    where : the scheduler, for people.
    device : torch device, or "auto", which each worker resolves for itself.
    kind : what chunks are cut for.
    device_names : of the workers.
    share : of `noisylib.study.processes.gpu_shares`, for workers on this machine.
    wait : seconds to go on without any worker.
    """

    client: Client
    where: str
    device: str = "auto"
    kind: str = "cpu"
    device_names: str = ""
    local: bool = False
    share: tuple[str, int] | None = None
    wait: float = WAIT
    need: float = 0.0
    backend: str = "dask"
    _banks: dict[str, Future] = field(default_factory=dict)  # key, which has the checksum -> on the workers
    _keys: dict[tuple[str, str, str | None], str | None] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        """Number of workers now."""
        return len(self.client.nthreads())

    def __str__(self) -> str:
        jobs = self.jobs
        return f"{jobs} Dask worker{'s' if jobs > 1 else ''} at {self.where}"

    def __call__(self, work: Work, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is finished, each exactly once.

        Raises
        ------
        NoisylibError
            Workers died of one item, no worker is left, the scheduler is gone, or the environment of a worker
            is another one. What `work.function` raises comes through as it is.
        """
        flight = _Flight(self, work, items)
        try:
            yield from flight
        finally:
            flight.cancel()

    def bank(self, dataset: str, backbone: str, root: str | None) -> Future | None:
        """Return a bank on the workers; None if it is not here or too large, so that workers read a file.

        The scheduler keeps a copy, from which a bank is sent again when all workers that had it are gone.
        """
        asked = (dataset, backbone, root)
        if asked not in self._keys:
            self._keys[asked] = self._send(*asked)
        key = self._keys[asked]
        return None if key is None else self._banks[key]

    def _send(self, dataset: str, backbone: str, root: str | None) -> str | None:
        import dask

        try:
            bank = load_bank(dataset, backbone, root, mapped="auto")
        except (MissingDataError, UnknownNameError):
            return None
        if not isinstance(bank.features, np.ndarray):
            log.info("%s-%s stays on disk here: each worker reads its own file", dataset, backbone)
            return None
        size = sum(array.nbytes for array in bank.arrays().values())
        if size > SENT_BYTES:
            log.info("%s-%s has %.1f GB: each worker reads its own file", dataset, backbone, size / 1e9)
            return None
        key = f"noisylib-bank-{bank.checksum}"
        if key not in self._banks:
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
                self._banks[key] = self.client.submit(_hold, bank, key=key, priority=1)
        return key


def _hold(bank: FeatureBank) -> FeatureBank:
    return bank


class _Flight:
    """One pass over the items: those that wait, those that are in flight, and those that landed."""

    def __init__(self, engine: DaskEngine, work: Work, items: Sequence[Any]) -> None:
        self._engine, self._work, self._items = engine, work, items
        self._waiting = deque(range(len(items)))
        self._flying: dict[int, Future] = {}
        self._landed: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        self._lost: Counter[int] = Counter()
        self._versions, self._session = versions(), uuid.uuid4().hex[:8]
        self._seen = time.monotonic()  # when there was a worker

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        while self._waiting or self._flying:
            self._fill()
            try:
                position, future = self._landed.get(timeout=POLL)
            except queue.Empty:
                self._check_cluster()
                continue
            if self._flying.get(position) is not future:
                continue  # an attempt that was given up and came back after all
            del self._flying[position]
            if (result := self._result(position, future)) is not None:
                yield self._items[position], result[0]

    def _fill(self) -> None:
        import cloudpickle

        room = AHEAD * max(1, self._check_cluster()) - len(self._flying)
        for _ in range(min(room, len(self._waiting))):
            position = self._waiting.popleft()
            item, engine = self._items[position], self._engine
            banks = {pair: engine.bank(*pair, self._work.root) for pair in self._work.reads(item)}
            banks = {pair: future for pair, future in banks.items() if future is not None}
            future = engine.client.submit(
                compute,
                cloudpickle.dumps((self._work.function, item)),
                list(banks),
                list(banks.values()),
                self._versions,
                engine.share,
                # A key of its own: equal items of two sessions are not one task.
                key=f"noisylib-{self._session}-{position}-{self._lost[position]}",
            )
            self._flying[position] = future
            future.add_done_callback(lambda done, position=position: self._landed.put((position, done)))

    def _result(self, position: int, future: Future) -> tuple[Any] | None:
        """Return the result in a tuple, or None if the item has to fly again."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            return (future.result(),)
        except CancelledError:
            self._check_cluster()
            self._lost[position] += 1
            if self._lost[position] >= DEATHS:
                raise NoisylibError(self._blame(position)) from None
            self._waiting.appendleft(position)
            return None
        except KilledWorker as error:
            raise NoisylibError(self._blame(position)) from error
        finally:
            future.release()  # now, not when Python finds that nobody holds it

    def _blame(self, position: int) -> str:
        unit, name = self._work.unit, self._work.name(self._items[position])
        return (
            f"several workers at {self._engine.where} died while they had {name}, most often because memory "
            f"ran out. Finished {unit} are safe: give workers more memory (dask worker --memory-limit, or a "
            "larger job), and run the same command again."
        )

    def _check_cluster(self) -> int:
        """Return the number of workers; raise if there was none for long, or no scheduler."""
        engine, left = self._engine, f"Finished {self._work.unit} are safe"
        try:
            workers = engine.jobs if engine.client.status == "running" else None
        except (OSError, TimeoutError):
            workers = None
        if workers is None:
            raise NoisylibError(
                f"the scheduler at {engine.where} does not answer any more. {left}: start it again, and then "
                "the same command goes on."
            )
        if workers:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > engine.wait:
            raise NoisylibError(
                f"no worker is left at {engine.where}, and none came back in {engine.wait:.0f} s. {left}: "
                "start workers, and then the same command goes on."
            )
        return workers

    def cancel(self) -> None:
        """Take back what is still in flight; an item that is being computed ends, and nobody reads it."""
        if self._flying and self._engine.client.status == "running":
            with suppress(OSError, TimeoutError):
                self._engine.client.cancel(list(self._flying.values()), force=True)
        for future in self._flying.values():
            future.release()
        self._flying.clear()


_one_at_a_time = threading.Lock()  # torch counts threads, and a GPU is chosen, for the whole process


def compute(
    payload: bytes,
    pairs: Sequence[tuple[str, str]],
    banks: Sequence[FeatureBank],
    expected: Mapping[str, str],
    share: tuple[str, int] | None,
) -> Any:
    """Compute an item on a worker.

    Parameters
    ----------
    payload : function and item, pickled.
    pairs, banks : what was sent, and its (dataset, backbone).
    expected : versions of the client; a worker may have joined since they were compared.
    share : of `noisylib.study.processes.gpu_shares`.

    Raises
    ------
    NoisylibError
        The worker has other versions, or a file is not there; both name the worker.
    """
    from noisylib.study.cluster_facts import differences

    me = worker_name()
    if wrong := differences(expected, versions()):
        raise NoisylibError(f"{me} has {wrong}. Finished work is safe: give it the client's environment.")
    function, item = pickle.loads(payload)
    with _one_at_a_time, provided(dict(zip(pairs, banks, strict=True))):
        keep_to_one_thread()
        take_gpu(share)
        try:
            return function(item)
        except (MissingDataError, UnknownNameError, FileNotFoundError) as error:
            raise MissingDataError(
                f"{me}: {error} A file that is not sent has to lie under the same path on every worker, as "
                "on a shared file system. Finished work is safe: the same command goes on."
            ) from error


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the process that was started; Dask calls this in workers that preload this module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_name() -> str:
    """Return how errors name this worker."""
    from distributed import get_worker

    return f"worker {get_worker().address} on {socket.gethostname()}"
