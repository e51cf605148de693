"""The command line of fine-tuning studies: ``noisylib finetune --help``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisylib.progress import Progress, duration

if TYPE_CHECKING:
    from noisylib.study.experiments import Plan


def finetune(
    config: Annotated[Path, typer.Argument(help="Study file, such as configs/turn_small.yaml.")],
    data: Annotated[
        str,
        typer.Option(help="Folders of the image sets, NAME=DIR,NAME=DIR,...; or one with a folder per set."),
    ] = "",
    weights: Annotated[
        str, typer.Option(help="Local checkpoints, BACKBONE=FILE,...; default: the hub's, cached or fetched.")
    ] = "",
    jobs: Annotated[int, typer.Option(help="Worker processes; 0 takes one per core, or one on a GPU.")] = 0,
    device: Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Write the tables when all tasks are done.")
    ] = False,
    only: Annotated[str, typer.Option(help="Tasks of these names only: PATTERN,... such as 'pbc-*'.")] = "",
    corrupt: Annotated[
        str, typer.Option(help="Images that cannot be read: stop at the first, or skip and count them.")
    ] = "stop",
    checkpoint: Annotated[
        bool | None,
        typer.Option(help="Keep checkpoints within tasks; default: in those of over ten minutes."),
    ] = None,
    miniature: Annotated[
        bool,
        typer.Option(
            "--miniature", help="The same study with made images and tiny networks, as a rehearsal."
        ),
    ] = False,
    results: Annotated[
        Path, typer.Option(help="Folder of the tables, with a sub-folder of rows per study.")
    ] = Path("results"),
    work: Annotated[
        Path | None, typer.Option(help="Folder of decoded images and frozen features; default: RESULTS/work.")
    ] = None,
    banks: Annotated[
        Path | None, typer.Option(help="Folder of the banks that noise is made from; default: those shipped.")
    ] = None,
) -> None:
    """Run a study of linear probes and full fine-tuning. What is done is not done again; Ctrl-C keeps it."""
    from noisylib.devices import pick_device, usable_cores
    from noisylib.errors import check_name
    from noisylib.study.experiment_runner import collect_experiment
    from noisylib.study.experiments import plan_experiment
    from noisylib.study.finetune_config import load_finetune_config
    from noisylib.study.finetune_plan import count, describe_study, require_inputs
    from noisylib.study.finetune_tasks import finetune_experiment, jobs_of

    study, patterns = load_finetune_config(config), _names(only)
    device = str(pick_device(check_name("--device", device, ("auto", "cpu", "cuda"))))
    jobs = (usable_cores() if device == "cpu" else 1) if jobs < 1 else jobs
    work = results / "work" if work is None else work
    if miniature:
        from noisylib.study.finetune_miniature import miniature_of

        study, source = miniature_of(study, work)
    else:
        source = _source(study, data, weights, work, banks, corrupt, device)
    if dry_run:
        for line in describe_study(study, source, results, only=patterns, workers=jobs):
            typer.echo(line)
        return
    require_inputs(study, source, jobs_of(study, patterns))
    experiment = finetune_experiment(
        study,
        source,
        only=patterns,
        checkpoints=checkpoint,
        command=f"noisylib finetune {config}{' --miniature' if miniature else ''}",
        on_open=lambda dataset, backbone: typer.echo(f"images of {dataset} for {backbone}"),
    )
    plan = plan_experiment(experiment, results)
    plan = replace(plan, whole=not patterns)
    total, missing = len(plan.tasks), len(plan.missing)
    typer.echo(
        f"{study.name}: {count(total, 'task')}, {total - missing} done, {missing} missing; "
        f"{count(jobs, 'process', 'es')} on {device}"
    )
    if missing:
        _run(plan, results, jobs)
    if collect:
        for path, (rows, written) in collect_experiment(plan, results).items():
            if rows:
                typer.echo(f"{rows} rows in {path}" + ("" if written else ", which held them already"))


def _source(study, data: str, weights: str, work: Path, banks: Path | None, corrupt: str, device: str):
    from noisylib.errors import check_name
    from noisylib.study.finetune_source import ImageSource, parse_files, parse_folders

    return ImageSource(
        work=work,
        image_size=study.image_size,
        limit=study.limit,
        roots=parse_folders(data, study.datasets),
        weights=parse_files(weights, study.backbones),
        banks=None if banks is None else str(banks),
        corrupt=check_name("--corrupt", corrupt, ("stop", "skip")),
        device=device,
    )


def _run(plan: Plan, results: Path, jobs: int) -> None:
    from noisylib.study.experiment_runner import run_experiment
    from noisylib.study.finetune_tasks import extract_frozen

    total = len(plan.tasks)
    extract_frozen(plan, lambda dataset, backbone: typer.echo(f"features of {dataset} under {backbone}"))
    bar = Progress(total - len(plan.missing), total, plan.cost, "tasks", typer.echo)
    try:
        run_experiment(
            plan,
            results,
            jobs=jobs,
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
