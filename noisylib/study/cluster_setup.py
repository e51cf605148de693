"""From an address, or nothing, to a Dask cluster that can be used: connect, wait, compare, warn."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from noisylib.errors import NoisylibError, require
from noisylib.study.cluster import DaskEngine
from noisylib.study.cluster_facts import differences, versions
from noisylib.study.engines import WAIT, Item, Result, Work
from noisylib.study.processes import THREAD_VARIABLES, Processes, gpu_shares

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

CONNECT = 10.0  # seconds for a scheduler to answer
START = (
    "Start one with 'dask scheduler' on a machine that all others reach, and on each of them "
    "'dask worker tcp://HOST:8786 --nthreads 1 --nworkers N' with N its number of cores."
)


@contextmanager
def connect(scheduler: str, device: str = "auto", *, wait: float = WAIT) -> Iterator[DaskEngine]:
    """Yield the workers of a running scheduler as an engine.

    Parameters
    ----------
    scheduler : address, such as tcp://host:8786, or path of a scheduler file.
    device : torch device; "auto" is resolved by each worker.
    wait : seconds for the scheduler, at most CONNECT, and for a first worker.

    Raises
    ------
    NoisylibError
        There is no scheduler or no worker, or they have another environment.
    """
    distributed = require("distributed", "cluster")
    with quiet(), _client(distributed, scheduler, min(wait, CONNECT)) as client:
        _await_worker(client, scheduler, wait)
        facts = check_workers(client, device)
        kinds = {fact["device"] for fact in facts.values()}
        names = ", ".join(sorted({fact["name"] for fact in facts.values()}))
        kind = kinds.pop() if len(kinds) == 1 else "cpu"  # small chunks are right for both
        yield DaskEngine(client, scheduler, device, kind, names, wait=wait)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's own messages back: what goes wrong is said by the engine, once."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _client(distributed: ModuleType, scheduler: str, timeout: float) -> Client:
    is_file = "://" not in scheduler and (scheduler.endswith(".json") or Path(scheduler).is_file())
    if is_file and not Path(scheduler).is_file():
        raise NoisylibError(
            f"scheduler={scheduler!r} is no file: 'dask scheduler --scheduler-file FILE' writes one, to a "
            "folder that this machine and the workers share."
        )
    where: dict[str, Any] = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
    if not is_file and ":" not in scheduler.rpartition("://")[2]:
        raise NoisylibError(
            f"scheduler={scheduler!r}: give an address with a port, as tcp://host:8786, or a scheduler file."
        )
    try:
        return distributed.Client(**where, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise NoisylibError(
            f"no Dask scheduler answers at {scheduler!r} within {timeout:g} s ({_reason(error)}). {START}"
        ) from error


def _reason(error: BaseException) -> str:
    """Return what the error of the network behind the errors says."""
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return str(error).strip() or "it did not answer"


def _await_worker(client: Client, scheduler: str, wait: float) -> None:
    if client.nthreads():
        return
    log.info("waiting up to %.0f s for a worker at %s", wait, scheduler)
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError as error:
        raise NoisylibError(
            f"the scheduler at {scheduler!r} has no worker, and none came in {wait:g} s. Start some with "
            f"'dask worker {scheduler} --nthreads 1 --nworkers N', or wait longer: --wait SECONDS."
        ) from error


def check_workers(client: Client, device: str) -> dict[str, dict[str, Any]]:
    """Compare the scheduler and all workers with this process, and return what each worker says of itself.

    Raises
    ------
    NoisylibError
        One lacks noisylib or has another version of it, of torch, of numpy or of Python; or it cannot use
        `device`.
    """
    expected, problems = versions(), []
    ask = _asker(device)
    answers = {f"worker {who}": facts for who, facts in client.run(ask, on_error="return").items()}
    # The scheduler reads what is sent, too.
    scheduler = _on_scheduler(client)
    for who, facts in [*answers.items(), ("the scheduler", scheduler)]:
        if isinstance(facts, BaseException):
            problems.append(f"{who} cannot be asked ({type(facts).__name__}: {facts})")
        elif wrong := differences(expected, facts["versions"]):
            problems.append(f"{who} on {facts['host']} has {wrong}")
        elif facts.get("problem"):
            problems.append(f"{who} on {facts['host']}: {facts['problem']}")
    if problems:
        raise NoisylibError(
            f"{'; '.join(problems)}. Give the client, the scheduler and all workers one environment."
        )
    for who, facts in answers.items():
        if facts["threads"] > 1:
            log.warning(
                "%s on %s has %d threads, of which one is used: start it with --nthreads 1 --nworkers %d",
                who, facts["host"], facts["threads"], facts["threads"],
            )  # fmt: skip
    return answers


def _on_scheduler(client: Client) -> Any:
    def ask() -> dict[str, Any]:
        return {"versions": found(), "host": socket.gethostname()}

    found = _version_finder()
    try:
        return client.run_on_scheduler(ask)
    except Exception as error:  # whatever the other side raises is said by the caller
        return error


def _asker(device: str) -> Any:
    """Return what a worker runs to describe itself, sent as code: it may have no or another noisylib."""
    found = _version_finder()

    def ask(dask_worker: Any) -> dict[str, Any]:
        facts = {"versions": found(), "host": socket.gethostname(), "threads": dask_worker.state.nthreads}
        try:
            from noisylib.devices import device_name, pick_device

            chosen = pick_device(device)
            return {**facts, "device": chosen.type, "name": device_name(chosen)}
        except (ImportError, ValueError) as error:
            return {**facts, "problem": str(error)}

    return ask


def _version_finder() -> Any:
    def found() -> dict[str, str]:
        try:
            from noisylib.study.cluster_facts import versions

            return versions()
        except ImportError:
            return {}

    return found


@dataclass
class LocalDask(Processes):
    """A Dask cluster of processes on this machine, started when there is work and closed after it.

    Attributes
    ----------
    asked : worker processes; 0: what `auto_jobs` says.
    device, need : as in `Engine`.
    """

    asked: int = 0
    backend: str = "dask"

    def __post_init__(self) -> None:
        require("distributed", "cluster")
        super().__post_init__()

    def __str__(self) -> str:
        jobs = self.jobs
        return f"{jobs} Dask worker{'s' if jobs > 1 else ''} of this machine on {self.device}"

    def __call__(self, work: Work, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is finished; as `DaskEngine`."""
        jobs = max(1, min(self.jobs, len(items)))
        with local_cluster(jobs) as client, gpu_shares(self.device) as share:
            engine = DaskEngine(client, "this machine", self.device, local=True, share=share)
            yield from engine(work, items)


@contextmanager
def local_cluster(jobs: int) -> Iterator[Client]:
    """Yield a client of a Dask cluster on this machine: `jobs` worker processes with one thread each."""
    distributed = require("distributed", "cluster")
    import dask

    with (
        quiet(),
        dask.config.set(
            {
                # Else a worker that dies twice in a quarter of a minute is not replaced any more.
                "distributed.deploy.lost-worker-timeout": "1 day",
                # How long a result is asked for that a dead worker had.
                "distributed.comm.timeouts.connect": "10s",
            }
        ),
        distributed.LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any port: another cluster may have the usual one
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,  # as many workers as memory holds; Dask's limit is a fixed share for each
            silence_logs=logging.CRITICAL,  # in the workers
            env=dict.fromkeys(THREAD_VARIABLES, "1"),
            preload=["noisylib.study.cluster"],  # its dask_setup
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client
