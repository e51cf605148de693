"""The command line of fine-tuning studies: ``noisylib finetune --help``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from noisylib.cli_engine import WAIT, Backend, Jobs, Scheduler, Wait, names_of, run_tasks


def finetune(
    config: Annotated[Path, typer.Argument(help="Study file, such as configs/turn_small.yaml.")],
    data: Annotated[
        str,
        typer.Option(help="Folders of the image sets, NAME=DIR,NAME=DIR,...; or one with a folder per set."),
    ] = "",
    weights: Annotated[
        str, typer.Option(help="Local checkpoints, BACKBONE=FILE,...; default: the hub's, cached or fetched.")
    ] = "",
    jobs: Jobs = "auto",
    device: Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")] = "auto",
    backend: Backend = "processes",
    scheduler: Scheduler = "",
    wait: Wait = WAIT,
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
    from noisylib.devices import pick_device
    from noisylib.errors import check_name
    from noisylib.study.engines import open_engine
    from noisylib.study.experiment_runner import collect_experiment
    from noisylib.study.experiments import plan_experiment
    from noisylib.study.finetune_config import load_finetune_config
    from noisylib.study.finetune_plan import count, describe_study, require_inputs
    from noisylib.study.finetune_tasks import extract_frozen, finetune_experiment, jobs_of

    study, patterns = load_finetune_config(config), names_of(only)
    device = str(pick_device(check_name("--device", device, ("auto", "cpu", "cuda"))))
    work = (results / "work" if work is None else work).absolute()  # workers may stand elsewhere
    if miniature:
        from noisylib.study.finetune_miniature import miniature_of

        study, source = miniature_of(study, work)
    else:
        source = _source(study, data, weights, work, banks, corrupt, device)
    with open_engine(jobs, device, backend=backend, scheduler=scheduler, wait=wait) as engine:
        if dry_run:
            for line in describe_study(study, source, results, only=patterns, workers=engine.jobs):
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
        plan = replace(plan_experiment(experiment, results), whole=not patterns)
        total, missing = len(plan.tasks), len(plan.missing)
        typer.echo(
            f"{study.name}: {count(total, 'task')}, {total - missing} done, {missing} missing; {engine}"
        )
        if missing:
            extract_frozen(plan, lambda data, net: typer.echo(f"features of {data} under {net}"))
            run_tasks(plan, results, engine)
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
        roots=_absolute(parse_folders(data, study.datasets)),
        weights=_absolute(parse_files(weights, study.backbones)),
        banks=None if banks is None else str(banks.absolute()),
        corrupt=check_name("--corrupt", corrupt, ("stop", "skip")),
        device=device,
    )


def _absolute(paths):
    return tuple((name, path.absolute()) for name, path in paths)
