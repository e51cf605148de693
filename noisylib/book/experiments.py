"""Rows of the collected tables of experiments, and what a caption says of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from noisylib.book.files import table_files
from noisylib.errors import ConfigError, check_name

if TYPE_CHECKING:
    import pandas as pd

# What tells one training run from another, as far as a table has the column.
RUN = ("dataset", "backbone", "head", "noise_type", "noise_rate", "class_map", "seed", "method", "source",
       "imbalance", "asymmetry", "map", "variant", "candidate", "image_size", "label")  # fmt: skip


def experiment_rows(name: str, **only: Any) -> tuple[pd.DataFrame, str]:
    """Return archived rows of the table `name`, and what a caption says of them.

    Parameters
    ----------
    name : "overlap", "detection" or "collapse": ``<name>.parquet`` among the results.
    only : column=value, or column=values: rows with these values only.

    Raises
    ------
    MissingDataError
        There is no such table, or no provenance beside it.
    ConfigError
        No row has all the values that are asked for. UnknownNameError if one of them, a text, occurs nowhere.
    NoisylibError
        The table is not what its provenance describes.
    """
    from noisylib.study.experiment_tables import load_table

    path = table_files(name)[0]
    rows, record = load_table(path)
    for column, wanted in only.items():
        values = list(wanted) if isinstance(wanted, Collection) and not isinstance(wanted, str) else [wanted]
        for value in values:
            if isinstance(value, str):
                check_name(f"{column} of the table {name!r}", value, set(rows[column]))
        rows = rows[rows[column].isin(values)]
    if rows.empty:
        raise ConfigError(f"the table {name!r} has no row with {only}: change one of them.")
    return rows.reset_index(drop=True), describe_rows(rows, record)


def describe_rows(rows: pd.DataFrame, record: dict[str, Any]) -> str:
    """Return what a caption says of archived rows: runs, seeds, experiment, table and its checksum."""
    runs = len(rows[[column for column in RUN if column in rows]].drop_duplicates())
    counts = [_count(runs, "run"), _count(rows["seed"].nunique(), "seed")]
    table = f"experiment {record['experiment']}, table {record['table']}, checksum {record['sha256'][:8]}"
    return ", ".join([*counts, table])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
