"""Where the rows of experiments live: a Parquet file per task and table, and collected tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import noisylib
from noisylib.devices import device_name
from noisylib.errors import ConfigError, NoisylibError, WriteError
from noisylib.files import file_digest, write_aside
from noisylib.study.archive import commit, versions
from noisylib.study.config import RESULTS_VERSION
from noisylib.study.experiment_tables import (
    Schema,
    arrow_schema,
    check_table,
    describe,
    read_arrow,
    same_rows,
    to_arrow,
)
from noisylib.study.store import read_log, remove_old_parts, write_text
from noisylib.study.tables import TASK_ID, provenance_path, read_provenance

if TYPE_CHECKING:
    import pyarrow as pa

_MADE = b"noisylib"  # key of the record that a chunk file has in its metadata


class ExperimentStore:
    """Rows of one experiment: ``<name>/<table>-<task id>.parquet`` and ``<table>.parquet`` in ``results``.

    A task is done if each of its tables has its rows, in a file of its own or in the collected table. Of a
    table in `optional`, a task may have no rows; it is done all the same.
    """

    def __init__(
        self,
        name: str,
        tables: Mapping[str, Schema],
        results: str | Path,
        optional: Collection[str] = (),
        device: str = "cpu",
    ) -> None:
        self.name, self.tables, self.optional, self.device = name, tables, optional, device
        self.results = Path(results)
        self.folder = self.results / name

    def open(self) -> None:
        """Make the folder and clear it of half-written files, so that a bad place is said before the work.

        Raises
        ------
        WriteError
            The folder cannot be made or written to.
        """
        self.history()
        with write_aside(self.folder / ".writable"):
            pass
        (self.folder / ".writable").unlink()
        remove_old_parts(self.folder)

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of the log, oldest first."""
        return read_log(self.folder)

    def done(self) -> set[str]:
        """Return the ids of the tasks that have rows in every table.

        Raises
        ------
        NoisylibError
            A file of a task or a collected table is damaged, or is no table of this experiment.
        """
        have = [self._chunks(table).keys() | self.collected(table).keys() for table in self.tables]
        return set.intersection(*have)

    def _chunks(self, table: str) -> dict[str, dict[str, Any]]:
        """Return how each task with a file of rows for a table was made, by task id."""
        import pyarrow.parquet as pq

        known = {}
        for path in sorted(self.folder.glob(f"{table}-*.parquet")):
            try:
                made = json.loads(pq.read_schema(path).metadata[_MADE])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise NoisylibError(
                    f"{path} is not a readable results file ({error}). Delete it and run again."
                ) from error
            known[path.stem.removeprefix(f"{table}-")] = made
        return known

    def collected(self, table: str) -> dict[str, dict[str, Any]]:
        """Return what is known of the making of each task whose rows are in a collected table, by task id."""
        path = self.path(table)
        if not path.is_file():
            return self._without_rows(table)
        record = read_provenance(path)
        if record is None or not isinstance(record.get("tasks"), dict):
            raise NoisylibError(
                f"{path} has no provenance of an experiment beside it, in {provenance_path(path).name}: "
                "take both from one place, or move the table away."
            )
        return record["tasks"]

    def _without_rows(self, table: str) -> dict[str, dict[str, Any]]:
        """Return the making of the tasks of a table that was not written because none has a row there."""
        main = self.path(next(iter(self.tables)))
        record = (read_provenance(main) or {}) if table in self.optional and main.is_file() else {}
        return record.get("tasks", {}) if table in record.get("without_rows", ()) else {}

    def path(self, table: str) -> Path:
        """Return where a collected table is."""
        return self.results / f"{table}.parquet"

    def add(
        self,
        task_id: str,
        task: str,
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
        seconds: float,
        device: str = "",
    ) -> None:
        """Write the rows of one finished task, which took so long on a processor or GPU of that name.

        Raises
        ------
        NoisylibError
            The rows do not fit their tables. WriteError if they cannot be written.
        """
        import pyarrow.parquet as pq

        if rows.keys() != self.tables.keys():
            raise NoisylibError(
                f"task {task!r} of {self.name} gave rows for the tables {', '.join(sorted(rows)) or 'none'}: "
                f"it has to for {', '.join(self.tables)}."
            )
        made = {
            "task": task,
            "seconds": round(seconds, 3),
            "noisylib": noisylib.__version__,
            "torch": torch.__version__,
        }
        made |= {"device": device or device_name(self.device)}
        made |= {"made": datetime.now(UTC).isoformat(timespec="seconds")}
        # All are checked before one is written.
        arrow = {
            table: to_arrow(
                rows[table],
                schema,
                task_id,
                f"table {table!r}, task {task!r}",
                optional=table in self.optional,
            )
            for table, schema in self.tables.items()
        }
        try:
            for table, data in arrow.items():
                with write_aside(self._chunk(table, task_id)) as aside:
                    described = data.replace_schema_metadata({_MADE: json.dumps(made)})
                    pq.write_table(described, aside, compression="zstd")
        except WriteError as error:
            raise WriteError(f"{error} Finished tasks are safe: run the same command again.") from error

    def _chunk(self, table: str, task_id: str) -> Path:
        return self.folder / f"{table}-{task_id}.parquet"

    def seconds(self) -> dict[str, float]:
        """Return how long each done task took, by task id; files of tasks go before a collected table."""
        table = next(iter(self.tables))
        known = self.collected(table) | self._chunks(table)
        return {task_id: made["seconds"] for task_id, made in known.items()}

    def rows(self, table: str, ids: Sequence[str]) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
        """Return the rows of done tasks, in the order of `ids`, and how each was made.

        Raises
        ------
        NoisylibError
            Rows are damaged or of another schema.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        schema, chunks, old = self.tables[table], self._chunks(table), self.collected(table)
        collected = None
        if old.keys() & (set(ids) - chunks.keys()):
            written = self.path(table).is_file()
            collected = read_arrow(self.path(table)) if written else arrow_schema(schema).empty_table()
        parts = []
        for task_id in ids:
            if task_id in chunks:
                path = self._chunk(table, task_id)
                part = read_arrow(path)
            else:
                path = self.path(table)
                part = collected.filter(pc.equal(collected[TASK_ID], task_id))
            check_table(part, schema, str(path))
            parts.append(part)
        return pa.concat_tables(parts), {task_id: (old | chunks)[task_id] for task_id in ids}

    def collect(
        self, table: str, ids: Sequence[str], more: Mapping[str, Any], *, whole: bool
    ) -> tuple[int, bool]:
        """Write the rows of tasks as one table, and its provenance beside it.

        A table that holds exactly these rows already is left as it is. An optional table without any row is
        not written; the provenance of the first table names it.

        Parameters
        ----------
        ids : ids of done tasks, in the order of the table.
        more : what else the provenance says.
        whole : whether these are all tasks; a table does not lose tasks to a part of them.

        Returns
        -------
        number of rows, and whether anything was written.

        Raises
        ------
        ConfigError
            The table there holds tasks that are not among `ids`, and `whole` is False.
        """
        import pyarrow.parquet as pq

        path, old = self.path(table), self.collected(table)
        if (lost := old.keys() - set(ids)) and not whole:
            raise ConfigError(
                f"{path} holds {len(lost)} tasks that are not among the {len(ids)} collected now, and would "
                "lose them: collect all data sets and backbones, or into another --results folder."
            )
        rows, made = self.rows(table, ids)
        if table in self.optional and not rows.num_rows and not path.is_file():
            return 0, False
        if old and list(old) == list(ids) and same_rows(rows, read_arrow(path)):
            return rows.num_rows, False
        if table == next(iter(self.tables)) and self.optional:
            empty = [name for name in self.optional if not self.rows(name, ids)[0].num_rows]
            more = {**more, "without_rows": empty}
        before = (read_provenance(path) or {}).get("sessions", []) if old else []
        sessions = before + [entry for entry in self.history() if entry not in before]
        with write_aside(path) as aside:
            pq.write_table(rows, aside, compression="zstd")
        record = {
            "table": path.name,
            "experiment": self.name,
            **more,
            "sha256": file_digest(path),
            "rows": rows.num_rows,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": sorted({task["device"] for task in made.values()}),
            "wall_seconds": round(sum(entry["seconds"] for entry in sessions), 3),
            "core_seconds": round(sum(task["seconds"] for task in made.values()), 3),
            "results_version": RESULTS_VERSION,
            "commit": commit(),
            "collected_with": versions(),
            "columns": describe(self.tables[table]),
            "tasks": made,
            "sessions": sessions,
        }
        write_text(provenance_path(path), json.dumps(record, indent=1))
        return rows.num_rows, True
