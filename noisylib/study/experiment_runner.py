"""Computes the tasks of an experiment, in this process or in several, and collects its tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from noisylib.devices import device_name
from noisylib.errors import ConfigError, NoisylibError
from noisylib.study.engines import Engine, Work
from noisylib.study.experiments import Plan, Rows, Task, store_of
from noisylib.study.processes import Processes
from noisylib.study.runner import Session
from noisylib.study.store import append_log

log = logging.getLogger(__name__)


def run_experiment(
    plan: Plan,
    results: str | Path = "results",
    *,
    jobs: int = 1,
    banks: str | Path | None = None,
    engine: Engine | None = None,
    on_task: Callable[[str, float], None] | None = None,
) -> None:
    """Compute the missing tasks; each is on disk before the next is reported.

    Parameters
    ----------
    plan : from `plan_experiment`, with the same `results` and `banks`.
    jobs : worker processes, one thread each. 1 computes in this process; 0 takes as many as fit.
    engine : from `noisylib.study.engines.open_engine`, in place of `jobs`.
    on_task : called with the id of each finished task and the seconds since the start.

    Raises
    ------
    NoisylibError
        A worker process was killed from outside, a cluster failed, or a task gave rows that do not fit.
        WriteError if they cannot be written; a bad folder is found before the first task.
    """
    if not plan.missing:
        return
    store, done = store_of(plan.experiment, results), 0
    store.open()
    device = plan.experiment.device
    engine = engine or Processes(jobs, device)
    session = Session(engine, len(plan.missing))
    root = None if banks is None else str(Path(banks).absolute())  # workers may stand elsewhere
    work = Work(
        partial(_timed, plan.experiment.run, root, device),
        "tasks",
        name=lambda item: f"task {item[1].name}",
        reads=_banks_of,
        root=root,
    )
    items = [(task_id, plan.tasks[task_id]) for task_id in plan.missing]
    try:
        for (task_id, task), (rows, seconds, where) in engine(work, items):
            store.add(task_id, task.name, rows, seconds, where)
            done += 1
            if on_task is not None:
                on_task(task_id, session.seconds)
    finally:  # also what was done until Ctrl-C
        if done:
            try:
                append_log(store.folder, session.entry(tasks=done))
            except NoisylibError as error:  # the rows are kept, and what ended the loop is worth more
                log.warning("this session is missing from the log of the experiment: %s", error)


def _timed(
    run: Callable[[Task, str | None], Rows], banks: str | None, device: str, item: tuple[str, Task]
) -> tuple[Rows, float, str]:
    """Return the rows of a task, the seconds it took, and what it was computed on. Runs in a worker."""
    started = time.perf_counter()
    return run(item[1], banks), time.perf_counter() - started, device_name(device)


def _banks_of(item: tuple[str, Task]) -> list[tuple[str, str]]:
    _, task = item
    return [(task.dataset, task.backbone)] if task.backbone else []


def remaining_seconds(plan: Plan, results: str | Path = "results", *, jobs: int = 1) -> float | None:
    """Return the expected wall time of the missing tasks, or None if none was done from which to tell."""
    seconds = store_of(plan.experiment, results).seconds()
    known = [task_id for task_id in plan.tasks if task_id in seconds]
    if not known or not plan.missing:
        return None if plan.missing else 0.0
    rate = sum(seconds[task_id] for task_id in known) / sum(plan.costs[task_id] for task_id in known)
    longest = max(plan.costs[task_id] for task_id in plan.missing)
    return rate * max(plan.cost / max(1, min(jobs, len(plan.missing))), longest)


def collect_experiment(plan: Plan, results: str | Path = "results") -> dict[Path, tuple[int, bool]]:
    """Write the collected tables of the chosen tasks, each with its provenance beside it.

    Parameters
    ----------
    plan : from `plan_experiment`; its tasks have to be done by now.

    Returns
    -------
    file -> number of rows, and whether it was written: a table with exactly these rows is left as it is.

    Raises
    ------
    ConfigError
        Tasks are missing, or the tables there hold tasks that were not chosen.
    NoisylibError
        Rows are damaged.
    """
    study, store = plan.experiment, store_of(plan.experiment, results)
    if left := len(plan.tasks.keys() - store.done()):
        raise ConfigError(
            f"{left} of {len(plan.tasks)} tasks of {study.name!r} are missing: finish it with "
            f"'{study.command or f'noisylib experiment {study.name}'}'."
        )
    more = {"description": study.description, "version": study.version, "banks": plan.banks, **study.facts}
    return {
        store.path(table): store.collect(table, list(plan.tasks), more, whole=plan.whole)
        for table in study.tables
    }
