"""An experiment that takes a blink: powers of numbers, two of them under a bank that scikit-learn brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noisylib.study.experiment_runner import run_experiment
from noisylib.study.experiment_tables import Column
from noisylib.study.experiments import Experiment, Plan, Rows, Task, plan_experiment


@dataclass(frozen=True)
class Number:
    """The number of a task."""

    number: int
    steps: tuple[int, ...] = (0, 1)


CALLS: list[str] = []  # names of the tasks that this process computed


def tasks() -> list[Task]:
    """Five tasks; the longest is neither the first nor the last."""
    bank, none = ("breast_cancer", "raw"), ("bed", "")
    return [Task(f"n{i}", *(bank if i < 2 else none), Number(i)) for i in (0, 1, 2, 4, 3)]


def run(task: Task, banks: str | None) -> Rows:
    """Two squares and one list of powers per number."""
    CALLS.append(task.name)
    n = task.condition.number
    return {
        "squares": [
            {"dataset": task.dataset, "step": s, "square": (n + s) ** 2} for s in task.condition.steps
        ],
        "powers": [{"number": n, "even": n % 2 == 0, "powers": [float(n), n**2], "gap": [float("nan")] * n}],
    }


def cost(task: Task, banks: str | None) -> float:
    """As much work as the number says."""
    return float(task.condition.number)


TABLES = {
    "squares": {"dataset": Column("str"), "step": Column("int"), "square": Column("float")},
    "powers": {
        "number": Column("int"),
        "even": Column("bool"),
        "powers": Column("floats"),
        "gap": Column("floats32", nan=True),
    },
}
TINY = Experiment("tiny", "Powers of five numbers.", 1, TABLES, tasks, run, cost)


def compute(results: Path, experiment: Experiment = TINY, **more) -> Plan:
    """Plan and run an experiment, and return the plan."""
    plan = plan_experiment(experiment, results, **more)
    run_experiment(plan, results)
    return plan
