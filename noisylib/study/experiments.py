"""Experiments: many tasks, each of which gives rows of one or several tables.

Unlike a study, whose unit is a run and whose columns are fixed, an experiment says itself what a task
is and what its rows hold. Tasks are computed in any number of processes and any number of sittings.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from noisylib.errors import ConfigError, MissingDataError, NoisylibError, check_name
from noisylib.features.bank import bank_root, load_bank
from noisylib.study.banks import absent_banks, bank_command
from noisylib.study.config import RESULTS_VERSION
from noisylib.study.experiment_store import ExperimentStore
from noisylib.study.experiment_tables import Schema

# Where each experiment is written; a module has one named EXPERIMENT and is imported when it is asked for.
EXPERIMENTS = {
    "small_loss": "noisylib.study.small_loss",
    "collapse": "noisylib.study.collapse",
    "conditions": "noisylib.study.conditions",
    "advice": "noisylib.study.advice",
    "label_errors": "noisylib.study.label_errors",
    "human": "noisylib.study.human",
}

Rows = dict[str, list[dict[str, Any]]]  # table -> rows


@dataclass(frozen=True)
class Task:
    """What is computed, stored and resumed as one: a frozen description that a worker process can unpickle.

    Attributes
    ----------
    name : unique in the experiment, for people: letters, digits, "_", "-", ".".
    dataset, backbone : the bank that is read, whose checksum is part of the digest; backbone "" reads none
        (made-up data), and then `dataset` is a name such as "bed".
    condition : a frozen dataclass of plain values (numbers, texts, tuples, frozen dataclasses such as
        Recipe): everything besides the bank and the code that changes the rows, for it is hashed.
    """

    name: str
    dataset: str
    backbone: str
    condition: Any


@dataclass(frozen=True)
class Experiment:
    """What is run and what comes out.

    Attributes
    ----------
    name : key in EXPERIMENTS and folder of the chunk files.
    description : one sentence for people.
    version : raised when the code of the experiment changes what its rows hold; part of every digest.
    tables : table name -> its columns, in order. The engine adds the column `task_id`.
    tasks : () -> every task, in the order of the collected tables. Reads no bank.
    run : (task, banks root or None) -> {table: rows}, at least one row for every table; each row has exactly
        the columns of the schema. Deterministic; called in a worker process with one torch thread. Banks are
        read by `noisylib.study.inputs.cached_bank(task.dataset, task.backbone, banks)`.
    cost : (task, banks root or None) -> expected work in any unit (operations, seconds): longest goes first,
        and the progress bar counts it. May read the bank.
    optional : tables that a task may have no rows for.
    in_order : tasks are computed as they are listed, and not longest first: what a stopped experiment has is
        then its beginning.
    device : torch device that tasks compute on.
    command : what computes it; default: ``noisylib experiment <name>``.
    facts : what else the provenance of its tables says.
    """

    name: str
    description: str
    version: int
    tables: Mapping[str, Schema]
    tasks: Callable[[], Sequence[Task]]
    run: Callable[[Task, str | None], Rows]
    cost: Callable[[Task, str | None], float]
    optional: tuple[str, ...] = ()
    in_order: bool = False
    device: str = "cpu"
    command: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def load_experiment(name: str) -> Experiment:
    """Return an experiment by name.

    Raises
    ------
    UnknownNameError
        There is none of that name.
    """
    check_name("experiment", name, EXPERIMENTS)
    return importlib.import_module(EXPERIMENTS[name]).EXPERIMENT


def store_of(study: Experiment, results: str | Path) -> ExperimentStore:
    """Return where the rows of an experiment are."""
    return ExperimentStore(study.name, study.tables, results, study.optional, study.device)


@dataclass(frozen=True)
class Plan:
    """What an experiment asks for and what is left of it.

    Attributes
    ----------
    tasks : every chosen task by its id, in the order of the tables.
    missing : ids of those without rows, in the order in which they are computed.
    costs : expected work of each chosen task, by id.
    banks : checksum of each bank that is read, by "dataset-backbone".
    whole : whether all tasks of the experiment were chosen.
    """

    experiment: Experiment
    tasks: dict[str, Task]
    missing: list[str]
    costs: dict[str, float]
    banks: dict[str, str]
    whole: bool

    @property
    def cost(self) -> float:
        """Expected work of the missing tasks."""
        return sum(self.costs[task_id] for task_id in self.missing)


def plan_experiment(
    name: str | Experiment,
    results: str | Path = "results",
    *,
    banks: str | Path | None = None,
    datasets: Iterable[str] = (),
    backbones: Iterable[str] = (),
) -> Plan:
    """Return the tasks of an experiment and which of them are missing. Writes nothing.

    Parameters
    ----------
    name : key of EXPERIMENTS, or an experiment itself.
    results : folder with the collected tables and a sub-folder for each experiment.
    banks : folder of the feature banks; default: those shipped.
    datasets, backbones : tasks of these only; empty: of all.

    Raises
    ------
    UnknownNameError
        There is no such experiment, data set or backbone in it.
    MissingDataError
        Banks are missing; the text lists them all, with the commands that make them.
    NoisylibError
        A file of results is damaged.
    """
    study = name if isinstance(name, Experiment) else load_experiment(name)
    every = list(study.tasks())
    chosen = _restrict(every, list(datasets), list(backbones))
    sums = _checksums(study, chosen, banks)
    tasks = {
        task_digest(study, task, sums.get(f"{task.dataset}-{task.backbone}", "")): task for task in chosen
    }
    if len({task.name for task in tasks.values()}) != len(chosen):
        raise NoisylibError(
            f"experiment {study.name!r} has two tasks of one name or condition: give each its own."
        )
    root = None if banks is None else str(banks)
    costs = {task_id: study.cost(task, root) for task_id, task in tasks.items()}
    done = store_of(study, results).done()
    missing = [task_id for task_id in tasks if task_id not in done]
    if not study.in_order:
        missing.sort(key=lambda task_id: -costs[task_id])
    return Plan(study, tasks, missing, costs, sums, whole=len(chosen) == len(every))


def _restrict(tasks: list[Task], datasets: list[str], backbones: list[str]) -> list[Task]:
    for dataset in datasets:
        check_name("datasets", dataset, {task.dataset for task in tasks})
    for backbone in backbones:
        check_name("backbones", backbone, {task.backbone for task in tasks} - {""})
    chosen = [
        task
        for task in tasks
        if (not datasets or task.dataset in datasets) and (not backbones or task.backbone in backbones)
    ]
    if not chosen:
        raise ConfigError(
            f"no task has one of the datasets {', '.join(datasets)} and one of the backbones "
            f"{', '.join(backbones)}: leave one of the two out."
        )
    return chosen


def _checksums(study: Experiment, tasks: Iterable[Task], banks: str | Path | None) -> dict[str, str]:
    """Return the checksum of each bank, a hash over all its features."""
    pairs = list(dict.fromkeys((task.dataset, task.backbone) for task in tasks if task.backbone))
    if missing := absent_banks(pairs, banks):
        raise MissingDataError(
            f"experiment {study.name!r} reads {len(pairs)} feature banks. {len(missing)} of them are not in "
            f"{bank_root(banks)}. Make them with\n"
            + "\n".join(f"  {bank_command(p, banks)}" for p in missing)
        )
    return {
        f"{dataset}-{backbone}": load_bank(dataset, backbone, banks).checksum for dataset, backbone in pairs
    }


def task_digest(study: Experiment, task: Task, bank_checksum: str) -> str:
    """Return 16 hex digits that change with anything that could change the rows of a task."""
    content = {
        "experiment": study.name,
        "version": study.version,
        "results_version": RESULTS_VERSION,
        "columns": {
            table: [[name, column.kind] for name, column in schema.items()]
            for table, schema in study.tables.items()
        },
        "dataset": task.dataset,
        "backbone": task.backbone,
        "bank": bank_checksum,
        "condition": asdict(task.condition),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
