"""The command line: ``noisylib --help``."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from noisylib.cli_embeddings import clean, predict, recommend, train
from noisylib.cli_engine import WAIT, Backend, Jobs, Report, Scheduler, Wait, with_bar
from noisylib.cli_experiments import experiment
from noisylib.cli_finetune import finetune
from noisylib.cli_refit import refit
from noisylib.errors import MissingExtraError, NoisylibError
from noisylib.progress import duration

app = typer.Typer(
    help="Train classifiers on frozen foundation-model features when the labels are wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
features_app = typer.Typer(help="Turn images into feature banks.", no_args_is_help=True)
app.add_typer(features_app, name="features")

Results = Annotated[Path, typer.Option(help="Folder that holds one sub-folder of rows per study.")]
Banks = Annotated[Path | None, typer.Option(help="Folder of feature banks; default: those shipped.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda or cuda:N.")]


class Listing(StrEnum):
    """What `noisylib list` can list."""

    datasets = "datasets"
    backbones = "backbones"
    methods = "methods"
    chapters = "chapters"
    experiments = "experiments"


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Study file, such as configs/embedded.yaml.")],
    jobs: Jobs = "auto",
    device: Device = "auto",
    backend: Backend = "processes",
    scheduler: Scheduler = "",
    wait: Wait = WAIT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
    precision: Annotated[
        str, typer.Option(help="Of products: float32, tf32 (NVIDIA GPUs) or bfloat16; default: the study's.")
    ] = "",
    memory_limit: Annotated[
        str, typer.Option(help="What features may take in each process, such as 8GiB; more stays on disk.")
    ] = "auto",
    results: Results = Path("results"),
    banks: Banks = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Keep rows of a changed configuration that still apply.")
    ] = False,
) -> None:
    """Run a study. What is done is not done again; Ctrl-C loses at most the chunks in flight."""
    from noisylib.memory import parse_bytes
    from noisylib.study import plan_study, run_study
    from noisylib.study.config import load_config
    from noisylib.study.engines import open_engine
    from noisylib.study.runner import estimate_seconds, sized

    limit, study = parse_bytes(memory_limit), load_config(config)
    study = replace(study, precision=precision) if precision else study
    with open_engine(jobs, device, backend=backend, scheduler=scheduler, wait=wait) as engine:
        plan = plan_study(study, results, banks=banks, device=engine.kind, extend=extend, create=not dry_run)
        done = plan.total - plan.missing
        typer.echo(
            f"{plan.config.name} ({plan.config.digest}): {plan.total} runs, {done} done, {plan.missing} "
            f"missing in {len(plan.chunks)} chunks; {sized(engine, plan, banks, limit)}"
        )
        if not plan.chunks:
            return
        if engine.local:  # how fast other machines are is not known here
            typer.echo(f"about {duration(estimate_seconds(plan, engine.jobs, engine.device))} to go")
        if dry_run:
            return

        def work(report: Report) -> None:
            run_study(
                plan,
                results,
                banks=banks,
                memory_limit=limit,
                engine=engine,
                on_chunk=lambda chunk, seconds: report(len(chunk.runs), chunk.cost, seconds),
            )

        with_bar(work, done, plan.total, plan.cost, "runs", results / plan.config.name)


@app.command()
def collect(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="One or more study files.")],
    out: Annotated[
        Path | None, typer.Option(help="Parquet or CSV file; default: <results>/<study>.parquet.")
    ] = None,
    results: Results = Path("results"),
    banks: Banks = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a study that is not finished.")] = False,
) -> None:
    """Write all rows of studies as one table; a Parquet file gets a JSON file on their making beside it."""
    from noisylib.study.archive import collect_archive
    from noisylib.study.config import load_config

    if out is None and len(configs) > 1:
        raise NoisylibError("several studies make one table: name it by --out results/NAME.parquet.")
    studies = [load_config(config) for config in configs]
    out = out or results / f"{studies[0].name}.parquet"
    rows, written = collect_archive(studies, out, results=results, banks=banks, partial=partial)
    typer.echo(f"{len(rows)} runs in {out}" + ("" if written else ", which held them already"))


@app.command()
def rerun(
    config: Annotated[Path, typer.Argument(help="File of a finished study, such as configs/archive.yaml.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows to draw at random.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    alone: Annotated[
        bool, typer.Option("--alone", help="Train drawn rows only, not all that were trained with them.")
    ] = False,
    jobs: Jobs = "auto",
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N; default: as the stored rows.")
    ] = None,
    backend: Backend = "processes",
    scheduler: Scheduler = "",
    wait: Wait = WAIT,
    results: Results = Path("results"),
    banks: Banks = None,
) -> None:
    """Train random rows of a finished study again and compare; 1 is returned if one is off by over 0.001."""
    from noisylib.study.engines import open_engine
    from noisylib.study.rerun import device_of
    from noisylib.study.rerun import rerun as run_again

    device = device or device_of(config, results, banks=banks)
    with open_engine(jobs, device, backend=backend, scheduler=scheduler, wait=wait) as engine:
        again = run_again(config, results, rows=rows, seed=seed, alone=alone, engine=engine, banks=banks)
    typer.echo(again.listing())
    typer.echo(again.summary())
    if not again.holds:
        raise typer.Exit(1)


for command in (experiment, finetune, refit):
    app.command()(command)
for command in (recommend, clean, train, predict):
    app.command(rich_help_panel="Your own embeddings")(command)


@app.command("list")
def list_names(
    what: Annotated[Listing, typer.Argument(help="datasets, backbones, methods, chapters or experiments")],
) -> None:
    """List what can be named in a study, a chapter or a command."""
    from noisylib import listing

    typer.echo(listing.render(what.value))


@app.command()
def cite(
    methods: Annotated[list[str], typer.Argument(help="One or more; see 'noisylib list methods'.")],
) -> None:
    """Print the BibTeX of the papers behind methods."""
    from noisylib import citations

    citations.cite(methods)


@app.command()
def book(
    chapter: Annotated[
        str | None, typer.Argument(help="One chapter; default: all. See 'noisylib list chapters'.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="KEY VALUE", help="For that chapter; may be repeated."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Execute pages that are up to date as well.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where a notebook with changed parameters goes.")] = None,
    jobs: Annotated[int, typer.Option(help="Pages executed at once; 0 takes one per core.")] = 1,
) -> None:
    """Execute the book's chapters that are out of date, or one chapter with other parameters."""
    from noisylib.book import parse_overrides, run_book

    if parameter and chapter is None:
        raise NoisylibError("-p needs a chapter: noisylib book CHAPTER -p KEY VALUE.")
    pairs = [(key, value) for key, _, value in (text.partition("=") for text in parameter or [])]
    values = parse_overrides(chapter, pairs) if chapter and pairs else {}
    run_book(chapter, values, force=force, out=out, jobs=jobs, echo=typer.echo)


@features_app.command("extract")
def extract(
    dataset: Annotated[str, typer.Argument(help="Image set; see 'noisylib list datasets'.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the official files of the set.")],
    backbone: Annotated[
        str, typer.Option(help="Frozen network; see 'noisylib list backbones'.")
    ] = "deit_tiny",
    weights: Annotated[
        Path | None, typer.Option(help="Local checkpoint; default: the hub's, cached or fetched.")
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Seeded random weights, as a floor to compare with.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="What the bank calls its backbone, for weights of your own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Bank to write; default: in the folder of the shipped banks.")
    ] = None,
    views: Annotated[
        int, typer.Option(help="Augmented versions of each training image to store too: 0, or 2 and more.")
    ] = 0,
    components: Annotated[
        int, typer.Option(help="Keep this many principal components of the training split; 0 keeps all.")
    ] = 0,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.")] = 64,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch absent files of a MedMNIST or CIFAR set.")
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (bfloat16 where the processor has it), bfloat16 or float32.")
    ] = "auto",
    resume: Annotated[bool, typer.Option(help="Go on with what a stopped extraction left.")] = True,
) -> None:
    """Run every image of a set through a frozen backbone and write the feature bank."""
    from noisylib.features.extract import extract_bank

    bank = extract_bank(
        dataset,
        data,
        backbone,
        weights=weights,
        pretrained=not random_weights,
        name=name,
        out=out,
        views=views,
        components=components,
        batch_size=batch_size,
        device=device,
        precision=precision,
        resume=resume,
        download=download,
    )
    seen = f" and {views} views of each training image" if views else ""
    typer.echo(
        f"{bank.n_samples} images{seen}, {bank.n_features} features each: "
        f"{bank.meta.dataset}-{bank.meta.backbone}"
    )


@features_app.command("study")
def extract_study(
    config: Annotated[Path, typer.Argument(help="Study file, such as configs/paper.yaml.")],
    data: Annotated[
        Path, typer.Option(help="Folder with one folder of official files per set; medmnist/ for MedMNIST.")
    ],
    banks: Banks = None,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.")] = 64,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch absent files of MedMNIST and CIFAR sets.")
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (bfloat16 where the processor has it), bfloat16 or float32.")
    ] = "auto",
) -> None:
    """Make all feature banks of a study that are missing. The same command goes on where it was stopped."""
    from noisylib.study import load_config
    from noisylib.study.banks import extract_banks

    made = extract_banks(
        load_config(config),
        data,
        banks=banks,
        batch_size=batch_size,
        download=download,
        device=device,
        precision=precision,
        echo=typer.echo,
    )
    where = "" if banks is None else f" --banks {banks}"
    typer.echo(f"{len(made)} banks made; next: noisylib run {config}{where}")


def join_parameters(arguments: list[str]) -> list[str]:
    """Turn papermill's ``-p KEY VALUE`` into one token, ``-p KEY=VALUE``, which is accepted as well."""
    joined, rest = [], iter(arguments)
    for token in rest:
        joined.append(token)
        if token in ("-p", "--parameter"):
            key = next(rest, None)
            value = None if key is None or "=" in key else next(rest, None)
            if key is None or ("=" not in key and value is None):
                raise NoisylibError("-p needs a key and a value, for example -p noise_rate 0.3.")
            joined.append(key if value is None else f"{key}={value}")
    return joined


def main() -> None:
    """Run the command line; errors meant for people are one message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(join_parameters(sys.argv[1:]))
    except (NoisylibError, MissingExtraError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
