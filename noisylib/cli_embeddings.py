"""The command line for embeddings of your own: recommend, clean, train and predict."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from noisylib.errors import NoisylibError
from noisylib.progress import Progress, duration

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Embeddings: .npz, .safetensors, .parquet or .csv.")
]
Features = Annotated[
    str | None, typer.Option(help="Array, column of lists, or start of the columns that hold the features.")
]
Labels = Annotated[str | None, typer.Option(help="Array or column that holds the labels.")]
Split = Annotated[
    str | None,
    typer.Option(help="Part to read: train, val, test or all; default: train, if there are parts."),
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda or cuda:N.")]


class Metric(StrEnum):
    """Scores to do well in."""

    balanced_accuracy = "balanced_accuracy"
    accuracy = "accuracy"


class Head(StrEnum):
    """Kinds of heads."""

    linear = "linear"
    mlp = "mlp"
    adapter = "adapter"


def recommend(
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    metric: Annotated[Metric, typer.Option(help="Score to do well in.")] = Metric.balanced_accuracy,
    methods: Annotated[str, typer.Option(help="Choose among these only: NAME,NAME,...")] = "",
    features: Features = None,
    labels: Labels = None,
    split: Split = None,
    seed: Seed = 0,
) -> None:
    """Say which method suits embeddings with doubtful labels, how many are wrong, and what could go wrong."""
    from noisylib.recommendation import recommend as choose

    read = _read(file, features, labels, split)
    with _following("steps", 100) as progress:
        found = choose(
            read.X, read.labels(), metric=metric.value, methods=_names(methods), seed=seed, progress=progress
        )
    if as_json:
        typer.echo(json.dumps({"file": str(file), **found.to_dict()}, indent=1, allow_nan=False))
    else:
        typer.echo(found.explain(str(file), _again(file, features, labels, split)))


def clean(
    file: File,
    out: Annotated[Path, typer.Option(help="CSV file to write, the most suspect label first.")],
    features: Features = None,
    labels: Labels = None,
    split: Split = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Write how likely each label is right, which are flagged as wrong, and what they might be instead."""
    from noisylib.evidence import collect_evidence
    from noisylib.label_quality import clean_probability, flag, predicted_labels
    from noisylib.recommendation_inputs import check_data

    _check_out(out, ".csv", file)
    read = _read(file, features, labels, split)
    data = check_data(read.X, read.labels())
    with _following("steps", 100) as progress:
        (evidence,) = collect_evidence(
            data.X, data.y, len(data.classes), seeds=[seed], device=device, progress=progress
        )
    probability = clean_probability(evidence)
    flagged, suggested = flag(probability), data.classes[predicted_labels(evidence)]
    order = np.argsort(probability, kind="stable")
    columns = {
        "row": read.rows,
        "id": read.ids,
        "label": data.classes[data.y],
        "clean_probability": [f"{p:.4f}" for p in probability],
        "suggested_label": suggested,
        "flagged": flagged.astype(int),
    }
    _write(out, columns, order)
    for warning in data.warnings:
        typer.echo(f"beware: {warning}", err=True)
    n = int(flagged.sum())
    typer.echo(f"{n:,} of {len(order):,} labels flagged ({n / len(order):.1%}): {out}, most suspect first")


def train(
    file: File,
    out: Annotated[Path, typer.Option(help="Head to write, ending in .safetensors.")],
    method: Annotated[
        str, typer.Option(help="auto (the one that is recommended) or a name of 'noisylib list methods'.")
    ] = "auto",
    head: Annotated[Head, typer.Option(help="Kind of the head.")] = Head.adapter,
    noise_rate: Annotated[
        float | None, typer.Option(help="Share of wrong labels, if you know it; else it is estimated.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.")] = None,
    metric: Annotated[Metric, typer.Option(help="Score that 'auto' aims at.")] = Metric.balanced_accuracy,
    features: Features = None,
    labels: Labels = None,
    split: Split = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a head on embeddings with doubtful labels and keep it as safetensors."""
    from noisylib.candidates import able_candidates
    from noisylib.labels import encode_labels
    from noisylib.recipe import Recipe
    from noisylib.trained import train_head

    _check_out(out, ".safetensors", file)
    read = _read(file, features, labels, split)
    codes, classes = encode_labels(read.labels())
    told: dict[str, Any] = {} if noise_rate is None else {"noise_rate": noise_rate}
    if method == "auto":
        able = able_candidates(codes, len(classes), head.value)
        method, estimated = _recommended(read.X, read.labels(), metric, able, seed)
        told = {**estimated, **told}
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs, score_epochs=1)
    with _following("epochs", recipe.epochs) as progress:
        trained = train_head(
            read.X,
            codes,
            len(classes),
            method=method,
            head=head.value,
            seed=seed,
            classes=classes.tolist(),
            feature_names=read.column_names,
            recipe=recipe,
            device=device,
            progress=progress,
            **told,
        )
    trained.save(out)
    typer.echo(f"{trained.method} trained on {len(codes):,} samples of {len(classes)} classes; see {out}")
    typer.echo(f"next: noisylib predict {shlex.quote(str(out))} NEW_FILE --out predictions.csv")


def predict(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Head that 'noisylib train' wrote.")],
    file: File,
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    all_classes: Annotated[
        bool, typer.Option("--all-classes", help="Also write the probability of every class.")
    ] = False,
    features: Features = None,
    split: Annotated[str, typer.Option(help="Part to read: train, val, test or all.")] = "all",
) -> None:
    """Write the class that a trained head gives to each sample, and how probable it finds it."""
    from noisylib.trained_head import load_head

    _check_out(out, ".csv", head, file)
    trained = load_head(head)
    read = _read(file, features, None, split)
    X = read.X
    if trained.feature_names and read.column_names:
        X = X[:, trained.order_of(read.column_names)]
    P = trained.probabilities(X)
    columns = {
        "row": read.rows,
        "id": read.ids,
        "label": np.array(trained.classes)[P.argmax(axis=1)],
        "probability": [f"{p:.4f}" for p in P.max(axis=1)],
    }
    if all_classes:
        columns |= {f"probability of {name}": P[:, c].round(6) for c, name in enumerate(trained.classes)}
    _write(out, columns, np.arange(len(P)))
    typer.echo(f"{len(P):,} predictions in {out}")


def _read(file: Path, features: str | None, labels: str | None, split: str | None):
    """Return the embeddings of a file, and say on stderr what was read."""
    from noisylib.embedding_files import read_embeddings

    read = read_embeddings(file, features=features, labels=labels, split=split)
    typer.echo(read.summary(), err=True)
    return read


def _recommended(
    X: np.ndarray, y: np.ndarray, metric: Metric, methods: list[str], seed: int
) -> tuple[str, dict[str, float]]:
    """Return the recommended one of `methods`, and what it has to be told, as estimated."""
    from noisylib.candidates import CANDIDATES
    from noisylib.facts import HIGHEST_RATE, LOWEST_RATE
    from noisylib.recommendation import recommend as choose

    with _following("steps", 100) as progress:
        found = choose(X, y, metric=metric.value, methods=methods, seed=seed, progress=progress)
    typer.echo(f"recommended: {found.title} ({found.method})", err=True)
    rate = min(max(found.noise_rate, LOWEST_RATE), HIGHEST_RATE)
    return found.method, {"noise_rate": rate} if "noise_rate" in CANDIDATES[found.method].given else {}


def _again(file: Path, features: str | None, labels: str | None, split: str | None) -> str:
    """Return file and options as the next command needs them."""
    options = {"--features": features, "--labels": labels, "--split": split}
    words = [str(file), *(word for name, value in options.items() if value for word in (name, value))]
    return shlex.join(words)


@contextmanager
def _following(unit: str, steps: int) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told of the work done and all of it, and shows that on stderr as so many steps."""
    bar = Progress(0, steps, steps, unit, partial(typer.echo, err=True))

    def report(done: int, total: int) -> None:
        gone = done * steps // total - bar.done
        if gone > 0:
            bar.add(gone, gone, bar.seconds)

    try:
        yield report
    except KeyboardInterrupt:
        typer.echo(f"stopped after {duration(bar.seconds)}; nothing was written", err=True)
        raise typer.Exit(130) from None
    finally:
        bar.close()


def _check_out(out: Path, suffix: str, *inputs: Path) -> None:
    """Raise NoisylibError if the output has the wrong suffix or would overwrite an input."""
    if out.suffix.lower() != suffix:
        raise NoisylibError(f"--out {out}: a name that ends in {suffix} is needed.")
    if out.is_dir():
        raise NoisylibError(f"--out {out} is a folder: name a file.")
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise NoisylibError(f"--out {out} is the input: choose another name, it would be overwritten.")


def _write(path: Path, columns: dict[str, Sequence | None], order: Iterable[int]) -> None:
    """Write columns, those that are None left out, as CSV with the rows in an order."""
    from noisylib.files import write_aside

    kept = {name: values for name, values in columns.items() if values is not None}
    with write_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(kept)
        writer.writerows([values[i] for values in kept.values()] for i in order)


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] or None
