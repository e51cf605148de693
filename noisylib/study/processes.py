"""Processes of this machine as an engine, each with one thread: how many fit, and how they are kept to it."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from noisylib.devices import device_name, pick_device
from noisylib.errors import NoisylibError
from noisylib.study.capacity import auto_jobs
from noisylib.study.engines import Item, Result, Work

# Read by OpenMP, MKL, OpenBLAS, BLIS, Accelerate and numexpr when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and the libraries under numpy, scipy and scikit-learn to one thread each.

    Two torch threads that spin beside another process were seen to be ten times slower.
    """
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def keep_to_one_thread() -> None:
    """Keep this worker process, and the thread that calls, to one thread for good.

    The variables are for libraries that are loaded later; the limits for those that are here. OpenMP counts
    threads for each thread that calls it, so a worker says this before every item.
    """
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threadpool_limits(limits=1)
    torch.set_num_threads(1)


@dataclass
class Processes:
    """An engine of worker processes on this machine; a single job works in this process.

    Attributes
    ----------
    asked : worker processes; 0: what `auto_jobs` says.
    device : "auto", "cpu", "cuda" or "cuda:N". With "cuda", each process has a GPU of its own.
    need : as in `Engine`.
    """

    asked: int = 1
    device: str = "cpu"
    need: float = 0.0
    backend: str = "processes"
    local: bool = True

    def __post_init__(self) -> None:
        self.device = str(pick_device(self.device))

    @property
    def kind(self) -> str:
        """What chunks are cut for."""
        return self.device

    @property
    def jobs(self) -> int:
        """How many items are computed at once."""
        return self.asked or auto_jobs(self.device, self.need)

    @property
    def device_names(self) -> str:
        """What the maker calls the processor or GPU."""
        return device_name(self.device)

    def __str__(self) -> str:
        jobs = self.jobs
        return f"{jobs} process{'es' if jobs > 1 else ''} on {self.device}"

    def __call__(self, work: Work, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is finished.

        Raises
        ------
        NoisylibError
            A worker process was killed from outside.
        """
        jobs = max(1, min(self.jobs, len(items)))
        if jobs > 1:
            yield from _side_by_side(work, items, jobs, self.device)
            return
        with one_thread():
            for item in items:
                yield item, work.function(item)


def _side_by_side(work: Work, items: Sequence[Item], jobs: int, device: str) -> Iterator[tuple[Item, Result]]:
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # A worker whose memory has grown is replaced between two items. Nothing is lost, so nobody needs to know.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
    with gpu_shares(device) as share:
        tasks = (joblib.delayed(_work)(work.function, i, item, share) for i, item in enumerate(items))
        # One thread for each library of a worker, whatever OMP_NUM_THREADS says outside.
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            done = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(tasks)
            try:
                for i, result in done:
                    yield items[i], result
            except TerminatedWorkerError as error:
                raise NoisylibError(
                    f"a worker process was killed, most often because memory ran out. Finished {work.unit} "
                    f"are safe: run the same command again, with fewer --jobs than {jobs}."
                ) from error


def _work(
    function: Callable[[Item], Result], position: int, item: Item, share: tuple[str, int] | None
) -> tuple[int, Result]:
    keep_to_one_thread()
    take_gpu(share)
    return position, function(item)


@contextmanager
def gpu_shares(device: str) -> Iterator[tuple[str, int] | None]:
    """Yield what `take_gpu` needs so that each worker has a GPU of its own; None where there is no choice."""
    count = torch.cuda.device_count() if device == "cuda" else 1
    if count < 2:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="noisylib-gpus-") as folder:
        yield folder, count


_taken: dict[str, IO[str]] = {}  # folder of this session -> locked file, open as long as this process lives


def take_gpu(share: tuple[str, int] | None, use: Callable[[int], None] = torch.cuda.set_device) -> int | None:
    """Make a GPU that no other worker has the current one of this process, so that "cuda" means it.

    A lock on a file says which are taken. It goes with its process, so a worker that replaces a dead one
    finds the GPU of that one free.

    Parameters
    ----------
    share : from `gpu_shares`: a folder for the locks, and the number of GPUs.
    use : called with the number of the GPU.

    Returns
    -------
    The number of the GPU, or None if there is nothing to choose or this process has one.

    Raises
    ------
    NoisylibError
        There are more workers than GPUs; several would share one.
    """
    if share is None or share[0] in _taken:
        return None
    import fcntl

    folder, count = share
    for number in range(count):
        file = (Path(folder) / f"{number}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _taken.clear()  # what an earlier session took
        _taken[folder] = file
        use(number)
        return number
    raise NoisylibError(
        f"more worker processes than GPUs: {count} are visible here, and each worker takes one. "
        f"Use --jobs {count}, or --jobs auto."
    )
