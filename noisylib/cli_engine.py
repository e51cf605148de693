"""What the commands that run something share: options of the engine, and the loop with bar and Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisylib.progress import Progress, duration

if TYPE_CHECKING:
    from noisylib.study.engines import Engine
    from noisylib.study.experiments import Plan

Jobs = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="Worker processes; auto: as many as cores and GPUs, and memory in 'run', allow.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(help="processes, or dask: workers of a Dask cluster, on this machine without --scheduler."),
]
Scheduler = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Dask scheduler to use, as tcp://host:8786, or its scheduler file; implies --backend dask.",
    ),
]
Wait = Annotated[float, typer.Option(min=0.0, help="Seconds to wait for a first worker at --scheduler.")]
WAIT = 60.0

Report = Callable[[int, float, float], None]  # items, their expected work, seconds since the start


def with_bar(
    run: Callable[[Report], None], done: int, total: int, cost: float, unit: str, rows: Path
) -> None:
    """Run something under a bar; Ctrl-C says what is kept and ends with 130.

    Parameters
    ----------
    run : called with a function to report finished items to.
    done, total : items that were finished before, and all.
    cost : expected work of the others.
    unit : what the items are called.
    rows : folder of what comes out.
    """
    bar = Progress(done, total, cost, unit, typer.echo)
    try:
        run(bar.add)
    except KeyboardInterrupt:
        bar.close()
        typer.echo(
            f"stopped: {bar.done} of {total} {unit} are kept; the same command goes on from there", err=True
        )
        raise typer.Exit(130) from None
    except BaseException:
        bar.close()
        raise
    bar.close()
    typer.echo(f"finished in {duration(bar.seconds)}; rows in {rows}")


def run_tasks(plan: Plan, results: Path, engine: Engine, banks: Path | None = None) -> None:
    """Compute the missing tasks of an experiment under a bar."""
    from noisylib.study.experiment_runner import run_experiment

    def run(report: Report) -> None:
        run_experiment(
            plan,
            results,
            banks=banks,
            engine=engine,
            on_task=lambda task_id, seconds: report(1, plan.costs[task_id], seconds),
        )

    total = len(plan.tasks)
    with_bar(run, total - len(plan.missing), total, plan.cost, "tasks", results / plan.experiment.name)


def names_of(text: str) -> list[str]:
    """Return the entries of NAME,NAME,..."""
    return [name.strip() for name in text.split(",") if name.strip()]
