"""Archives: the rows of finished studies as one table, with a record of how they were made beside it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import noisylib
from noisylib.errors import ConfigError, NoisylibError
from noisylib.features.bank import load_bank
from noisylib.files import file_digest, write_aside
from noisylib.study.banks import needed_banks
from noisylib.study.config import RESULTS_VERSION, StudyConfig, load_config
from noisylib.study.runner import collect
from noisylib.study.store import ResultStore
from noisylib.study.tables import (
    check_rows,
    provenance_path,
    read_provenance,
    read_table,
    require_provenance,
)

if TYPE_CHECKING:
    import pandas as pd


def collect_archive(
    configs: Sequence[str | Path | StudyConfig],
    out: str | Path,
    *,
    results: str | Path = "results",
    banks: str | Path | None = None,
    partial: bool = False,
) -> tuple[pd.DataFrame, bool]:
    """Write the rows of studies as one table, and its provenance beside it under the same stem.

    A table that already holds exactly these rows, made by these configurations, is left as it is: its
    provenance knows how the rows were made, and a clone that only has the table does not.

    Parameters
    ----------
    configs : studies, finished unless `partial`; no two of one name, and no run in two of them.
    out : ``.parquet`` file, or ``.csv``, which gets no provenance.

    Returns
    -------
    rows, and whether anything was written.

    Raises
    ------
    ConfigError
        A study is not finished, two have one name, `out` is of another kind, or it is a table with more
        rows, some of which would be lost.
    NoisylibError
        A run is there twice, or a row has a NaN.
    """
    import pandas as pd

    studies, out = [load_config(config) for config in configs], Path(out)
    names = [study.name for study in studies]
    if len(set(names)) != len(names):
        raise ConfigError(f"two studies have one name: {', '.join(names)}. Rename one.")
    if out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"out={out}: a name ending in .parquet or .csv is needed.")
    tables = [collect(study, results, banks=banks, partial=partial) for study in studies]
    rows = pd.concat(tables, ignore_index=True)
    check_rows(rows, f"the rows of {', '.join(names)}")
    pairs = zip(studies, tables, strict=True)
    entries = {study.name: _study_entry(study, table, results) for study, table in pairs}
    if out.suffix == ".parquet" and out.is_file():
        older = read_provenance(out) or {}
        table = read_table(out)
        if older.get("studies") == entries and _same(table, rows):
            return rows, False
        if len(rows) < len(table) and (lost := len(set(table["run_id"]) - set(rows["run_id"]))):
            raise ConfigError(
                f"{out} holds {lost} runs that are not among the {len(rows)} collected now, and would lose "
                "them: choose another --out, or move it away first."
            )
    if out.suffix == ".csv":  # a copy for other programs, perhaps beside the table that has the provenance
        with write_aside(out) as aside:
            rows.to_csv(aside, index=False)
        return rows, True
    with write_aside(out) as aside:
        rows.to_parquet(aside, index=False, compression="zstd")
    record = _provenance(studies, rows, entries, out, banks)
    with write_aside(provenance_path(out)) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return rows, True


def load_archive(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of an archive and its provenance, both checked.

    Raises
    ------
    MissingDataError
        The table or its provenance is not there.
    NoisylibError
        The table is not the file its provenance describes, or has other columns or another number of rows
        than it should, a run twice, or a NaN.
    """
    path = Path(path)
    made_by = "an archive is a table and its provenance, made by 'noisylib collect'."
    provenance, rows = require_provenance(path, made_by), read_table(path)
    check_rows(rows, str(path))
    if len(rows) != provenance["runs"]:
        raise NoisylibError(f"{path} has {len(rows)} rows, its provenance says {provenance['runs']}.")
    return rows, provenance


def _study_entry(study: StudyConfig, rows: pd.DataFrame, results: str | Path) -> dict[str, Any]:
    """Return how the rows of one study were made."""
    sessions = ResultStore(study, results).sessions()
    return {
        "digest": study.digest,
        "config": study.plain(),
        "runs": len(rows),
        "core_seconds": round(float(rows["seconds"].sum()), 3),
        "wall_seconds": round(sum(session["seconds"] for session in sessions), 3),
        "sessions": sessions,
    }


def _provenance(
    studies: Iterable[StudyConfig],
    rows: pd.DataFrame,
    entries: dict[str, dict[str, Any]],
    out: Path,
    banks: str | Path | None,
) -> dict[str, Any]:
    sessions = [session for entry in entries.values() for session in entry["sessions"]]
    pairs = sorted({pair for study in studies for pair in needed_banks(study)})
    return {
        "table": out.name,
        "sha256": file_digest(out),
        "runs": len(rows),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": sorted({session["device"] for session in sessions}),
        "cores": sorted({session["cores"] for session in sessions}),
        "wall_seconds": round(sum(entry["wall_seconds"] for entry in entries.values()), 3),
        "core_seconds": round(sum(entry["core_seconds"] for entry in entries.values()), 3),
        "results_version": RESULTS_VERSION,
        "commit": commit(),
        "trained_with": {
            "noisylib": sorted(rows["version"].unique()),
            "torch": sorted(rows["torch_version"].unique()),
        },
        "collected_with": versions(),
        "banks": {
            f"{dataset}-{backbone}": load_bank(dataset, backbone, banks).checksum
            for dataset, backbone in pairs
        },
        "studies": entries,
    }


def versions() -> dict[str, str]:
    """Return the versions of all that makes a table, and the processor instructions that torch uses."""
    import pandas as pd
    import pyarrow as pa

    return {
        "noisylib": noisylib.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "pyarrow": pa.__version__,
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def commit() -> str | None:
    """Return the commit of the checkout this code lies in, or None outside one."""
    root = Path(noisylib.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _same(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Return whether two tables hold the same rows in the same order."""
    if list(old.columns) != list(new.columns) or len(old) != len(new):
        return False
    recall = zip(old["recall"], new["recall"], strict=True)
    return all(np.array_equal(a, b) for a, b in recall) and old.drop(columns="recall").equals(
        new.drop(columns="recall")
    )
