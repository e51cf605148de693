"""The command line of experiments: ``noisylib experiment --help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noisylib.cli_engine import WAIT, Backend, Jobs, Scheduler, Wait, names_of, run_tasks
from noisylib.progress import duration


def experiment(
    name: Annotated[str, typer.Argument(help="One of 'noisylib list experiments'.")],
    jobs: Jobs = "auto",
    backend: Backend = "processes",
    scheduler: Scheduler = "",
    wait: Wait = WAIT,
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
    from noisylib.study.engines import open_engine
    from noisylib.study.experiment_runner import collect_experiment, remaining_seconds
    from noisylib.study.experiments import plan_experiment

    only = {"datasets": names_of(datasets), "backbones": names_of(backbones)}
    with open_engine(jobs, "cpu", backend=backend, scheduler=scheduler, wait=wait) as engine:
        plan = plan_experiment(name, results, banks=banks, **only)
        total, missing = len(plan.tasks), len(plan.missing)
        chosen = "" if plan.whole else " (a part of the experiment)"
        typer.echo(f"{name}: {total} tasks{chosen}, {total - missing} done, {missing} missing; {engine}")
        if missing:
            seconds = remaining_seconds(plan, results, jobs=engine.jobs)
            if seconds is not None:
                typer.echo(f"about {duration(seconds)} to go, as the finished tasks tell")
        if dry_run:
            return
        if missing:
            run_tasks(plan, results, engine, banks)
    if collect:
        for path, (rows, written) in collect_experiment(plan, results).items():
            typer.echo(f"{rows} rows in {path}" + ("" if written else ", which held them already"))
