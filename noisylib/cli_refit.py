"""The command line of the fitted files: ``noisylib refit --help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def refit(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; end with 1 if a file is not what the tables give.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the archived tables.")] = Path("results"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the fitted files; default: that of the package.")
    ] = None,
) -> None:
    """Make the selector and the estimate of the noise rate anew from the archived tables."""
    from noisylib.study.refit import differing, write_fitted
    from noisylib.study.refit import refit as make

    contents = make(results)
    if not check:
        for path in write_fitted(contents, out):
            typer.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        return
    differences = differing(contents, out)
    for text in differences[:10]:
        typer.echo(text, err=True)
    if differences:
        more = f", {len(differences) - 10} of them not listed" if len(differences) > 10 else ""
        typer.echo(f"{len(differences)} differences{more}: run 'noisylib refit'", err=True)
        raise typer.Exit(1)
    typer.echo(f"{', '.join(contents)}: as the tables give them")
