"""The command line of experiments: ``noisylib experiment --help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noisylib.progress import Progress, duration


def experiment(
    name: Annotated[str, typer.Argument(help="One of 'noisylib list experiments'.")],
    jobs: Annotated[int, typer.Option(help="Worker processes; 0 takes one per core.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Write the tables when all tasks are done.")
    ] = False,
    datasets: Annotated[str, typer.Option(help="Tasks of these sets only: NAME,NAME,...")] = "",
    backbones: Annotated[str, typer.Option(help="Tasks of these backbones only: NAME,NAME,...")] = "",
    results: Annotated[
        Path, typer.Option(help="Folder of the tables, with a sub-folder of rows per experiment.")
    ] = Path("results"),
    banks: Annotated[
        Path | None, typer.Option(help="Folder of feature banks; default: those shipped.")
    ] = None,
) -> None:
    """Run an experiment behind a chapter. What is done is not done again; Ctrl-C keeps finished tasks."""
    from noisylib.devices import usable_cores
    from noisylib.study.experiment_runner import collect_experiment, remaining_seconds
    from noisylib.study.experiments import plan_experiment

    jobs = usable_cores() if jobs < 1 else jobs
    only = {"datasets": _names(datasets), "backbones": _names(backbones)}
    plan = plan_experiment(name, results, banks=banks, **only)
    total, missing = len(plan.tasks), len(plan.missing)
    chosen = "" if plan.whole else " (a part of the experiment)"
    typer.echo(
        f"{name}: {total} tasks{chosen}, {total - missing} done, {missing} missing; "
        f"{jobs} process{'es' if jobs > 1 else ''}"
    )
    if missing:
        seconds = remaining_seconds(plan, results, jobs=jobs)
        if seconds is not None:
            typer.echo(f"about {duration(seconds)} to go, as the finished tasks tell")
    if dry_run:
        return
    if missing:
        _run(plan, results, jobs, banks)
    if collect:
        for path, (rows, written) in collect_experiment(plan, results).items():
            typer.echo(f"{rows} rows in {path}" + ("" if written else ", which held them already"))


def _run(plan, results: Path, jobs: int, banks: Path | None) -> None:
    from noisylib.study.experiment_runner import run_experiment

    total = len(plan.tasks)
    bar = Progress(total - len(plan.missing), total, plan.cost, "tasks", typer.echo)
    try:
        run_experiment(
            plan,
            results,
            jobs=jobs,
            banks=banks,
            on_task=lambda task_id, seconds: bar.add(1, plan.costs[task_id], seconds),
        )
    except KeyboardInterrupt:
        bar.close()
        typer.echo(
            f"stopped: {bar.done} of {total} tasks are kept; the same command goes on from there", err=True
        )
        raise typer.Exit(130) from None
    bar.close()
    typer.echo(f"finished in {duration(bar.seconds)}; rows in {results / plan.experiment.name}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
