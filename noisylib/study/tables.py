"""Collected tables: their columns, the provenance beside them, and what may not be in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest

if TYPE_CHECKING:
    import pandas as pd

# The order of a collected table; results/README.md says what each holds.
COLUMNS = (
    "study", "run_id", "dataset", "backbone", "noise_type", "noise_rate", "realised_rate", "class_map",
    "method", "head", "seed", "seed_noise", "seed_train", "accuracy", "balanced_accuracy", "dead_classes",
    "views", "recall", "epochs", "seconds", "device", "version", "torch_version",
)  # fmt: skip


# The last column of the tables of experiments, which tells them from tables of runs.
TASK_ID = "task_id"


def is_of_experiment(table: str | Path) -> bool:
    """Return whether a table holds rows of an experiment and not runs of a study; damaged ones do not."""
    import pyarrow.parquet as pq

    try:
        return TASK_ID in pq.read_schema(table).names
    except (OSError, ValueError):
        return False


def provenance_path(table: str | Path) -> Path:
    """Return where the provenance of a table is: beside it, under the same stem."""
    return Path(table).with_suffix(".json")


def read_provenance(table: str | Path) -> dict[str, Any] | None:
    """Return what is known of a table's making, or None if nothing lies beside it.

    Raises
    ------
    NoisylibError
        The provenance is unreadable, or the table is not the file that it describes.
    """
    table, path = Path(table), provenance_path(table)
    if not path.is_file():
        return None
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        stated = provenance["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise NoisylibError(f"{path} is not a readable provenance file ({error}). {_TAKE_BOTH}") from error
    found = file_digest(table)
    if found != stated:
        raise NoisylibError(
            f"{table} has SHA-256 {found[:12]}, its provenance {path.name} says {str(stated)[:12]}: "
            f"one of them was changed or damaged. {_TAKE_BOTH}"
        )
    return provenance


def require_provenance(table: str | Path, made_by: str) -> dict[str, Any]:
    """Return what is known of a table's making; `made_by` ends the message if one of the two is not there.

    Raises
    ------
    MissingDataError
        The table or its provenance is not there.
    NoisylibError
        As `read_provenance`.
    """
    table = Path(table)
    for file in (table, provenance_path(table)):
        if not file.is_file():
            raise MissingDataError(f"no file {file}: {made_by}")
    return read_provenance(table) or {}


_TAKE_BOTH = "Take both from one place, or delete both and collect the study again."


def read_table(table: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Return a collected table, or some of its columns.

    Raises
    ------
    NoisylibError
        It is not readable, or lacks `columns` or, if none are named, the study or run id of its rows.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        here = pq.read_schema(table).names
        missing = [name for name in columns or ("study", "run_id") if name not in here]
        if not missing:
            return pd.read_parquet(table, columns=columns)
    except (OSError, ValueError) as error:
        raise NoisylibError(
            f"{table} is not a readable table of runs ({error}). Take a fresh copy, or delete it and its "
            "rows are trained again."
        ) from error
    raise NoisylibError(
        f"{table} has no column {', '.join(missing)}, so it is no table of runs: keep it outside the results "
        "folder."
    )


def check_rows(rows: pd.DataFrame, source: str) -> None:
    """Raise NoisylibError unless rows have all columns, no run twice and a number wherever one belongs."""
    import numpy as np

    missing = [name for name in COLUMNS if name not in rows]
    unknown = [name for name in rows if name not in COLUMNS]
    if missing or unknown:
        raise NoisylibError(
            f"{source}: columns are missing ({', '.join(missing) or 'none'}) or unknown "
            f"({', '.join(unknown) or 'none'})."
        )
    twice = rows.loc[rows["run_id"].duplicated(keep=False)]
    if len(twice):
        raise NoisylibError(
            f"{source}: {len(twice)} rows share their run_id with another: {_first(twice)}. Studies that are "
            "collected together may not have a run in common."
        )
    numbers = rows.select_dtypes("number")
    no_number = [not np.isfinite(recall).all() for recall in rows["recall"]]
    empty = rows.isna().any(axis=1) | ~np.isfinite(numbers).all(axis=1) | np.array(no_number, dtype=bool)
    if empty.any():
        raise NoisylibError(f"{source}: {empty.sum()} rows have NaN or no value: {_first(rows[empty])}.")


def _first(rows: pd.DataFrame, n: int = 5) -> str:
    named = [
        f"{row.dataset} {row.backbone} {row.noise_type} {row.noise_rate:g} {row.method} seed {row.seed_train}"
        for row in rows.head(n).itertuples()
    ]
    return "; ".join(named) + ("; ..." if len(rows) > n else "")
