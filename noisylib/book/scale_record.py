"""The record of the benchmarks for the chapter on large studies: with all parts its model is made from."""

from __future__ import annotations

from pathlib import Path

from noisylib.book.benchmark_record import benchmark_files, read_record
from noisylib.errors import MissingDataError

PARTS = ("roofline", "scaling", "methods")


def measured_files(device: str) -> list[Path]:
    """Return the record of `device` and those of others that are there.

    Raises
    ------
    MissingDataError
        There is no record, or it lacks one of `PARTS`; the text has the command that measures them.
    """
    paths = benchmark_files(device)
    lacks = [part for part in PARTS if part not in read_record(device).parts]
    if lacks:
        flags = " ".join(f"--{part}" for part in lacks)
        raise MissingDataError(
            f"{paths[0]} lacks {', '.join(lacks)}, which the cost model is made from and checked with: run "
            f"'python -m benchmarks --device {device} --no-heads {flags}'."
        )
    return paths
