"""Where rows live: one Parquet file per finished chunk, written aside and renamed, and collected tables."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.errors import ConfigError, NoisylibError, WriteError
from noisylib.files import write_aside
from noisylib.study.config import RESULTS_VERSION, StudyConfig
from noisylib.study.tables import COLUMNS, is_of_experiment, read_provenance, read_table

if TYPE_CHECKING:
    import pandas as pd

LOG_FILE = "log.json"


class ResultStore:
    """Rows of one study: chunk files in ``<results>/<study name>/``, collected tables in ``<results>/``.

    Chunk files merge by copying: a file made on another machine with the same configuration and
    banks counts as done once it lies in the folder. Rows of ``<results>/*.parquet`` that carry the
    study's name and ids count as well, so that a collected table stands for the files it was made of.
    """

    def __init__(self, config: StudyConfig, results: str | Path = "results") -> None:
        self.config = config
        self.folder = Path(results) / config.name

    def open(self, *, extend: bool = False, create: bool = True) -> None:
        """Check that the folder belongs to this configuration and, unless `create` is False, create it.

        Raises
        ------
        ConfigError
            The folder, or a collected table, was made by another configuration and `extend` is False.
        """
        record = self.folder / "study.json"
        mine = {"digest": self.config.digest, "config": self.config.plain()}
        records = self._described()
        if record.is_file():
            folder = json.loads(record.read_text(encoding="utf-8"))
            # A folder that was extended to this configuration stays so before its table is collected again.
            records = {} if folder["digest"] == mine["digest"] else {**records, self.folder: folder}
        for place, theirs in records.items() if not extend else ():
            if theirs["digest"] != mine["digest"]:
                raise ConfigError(
                    f"{place} was written by another configuration; they differ in "
                    f"{', '.join(self._changes(theirs))}. "
                    "Use another --results folder, give the study another name, or pass --extend to keep the "
                    "runs that both have and add the new ones."
                )
        self.history()  # a log that cannot be gone on with is said before hours of training
        if not create:
            return
        remove_old_parts(self.folder)
        write_text(record, json.dumps(mine, indent=1, sort_keys=True))

    def done(self) -> set[str]:
        """Return the run ids that have a row."""
        return self.trained() | {run_id for ids in self.collected().values() for run_id in ids}

    def trained(self) -> set[str]:
        """Return the run ids that have a row in a chunk file."""
        import pyarrow.parquet as pq

        ids: set[str] = set()
        for path in self._chunks():
            try:
                ids.update(pq.read_table(path, columns=["run_id"]).column("run_id").to_pylist())
            except (OSError, ValueError, KeyError) as error:
                raise NoisylibError(
                    f"{path} is not a readable results file ({error}). Delete it and run again."
                ) from error
        return ids

    def collected(self) -> dict[Path, list[str]]:
        """Return the run ids that each collected table holds under the name of this study."""
        tables = {path: read_table(path, ["study", "run_id"]) for path in self._tables()}
        of_study = {path: rows.loc[rows["study"] == self.config.name] for path, rows in tables.items()}
        for path, rows in of_study.items():
            if len(rows):
                read_provenance(path)  # a table that was changed by hand is none of results
        return {path: rows["run_id"].tolist() for path, rows in of_study.items() if len(rows)}

    def strangers(self, run_ids: Iterable[str], sums: Mapping[tuple[str, str], str]) -> str:
        """Return a sentence on rows that collected tables hold under this name for other runs, or "".

        The bank checksums, by (dataset, backbone), and the provenance of a table tell why.
        """
        mine, found = set(run_ids), []
        described = self._described()
        for path, ids in self.collected().items():
            if others := len(set(ids) - mine):
                why = self._why(read_provenance(path) or {}, described.get(path), sums)
                found.append(
                    f"{others} of the {len(ids)} rows of study {self.config.name!r} in {path} belong to "
                    f"another version of it and do not count: {why}."
                )
        return " ".join(found)

    def _why(
        self, provenance: dict[str, Any], theirs: dict[str, Any] | None, sums: Mapping[tuple[str, str], str]
    ) -> str:
        banks = {f"{dataset}-{backbone}": checksum for (dataset, backbone), checksum in sums.items()}
        old = provenance.get("banks", {})
        changed = [name for name, checksum in banks.items() if old.get(name, checksum) != checksum]
        reasons = [f"the bank {name} has changed" for name in changed]
        version = provenance.get("results_version", RESULTS_VERSION)
        if version != RESULTS_VERSION:
            reasons.append(f"training has changed (results version {version} then, {RESULTS_VERSION} now)")
        if theirs and (keys := self._changes(theirs)):
            reasons.append(f"the configuration has changed in {', '.join(keys)}")
        return ", and ".join(reasons) or "a bank, the configuration or the way of training has changed"

    def _changes(self, theirs: dict[str, Any]) -> list[str]:
        mine, theirs = self.config.plain(), theirs["config"]
        return [k for k in {**mine, **theirs} if theirs.get(k) != mine.get(k) and k != "description"]

    def _described(self) -> dict[Path, dict[str, Any]]:
        """Return what provenance says of this study, by table."""
        records = {path: read_provenance(path) or {} for path in self.collected()}
        entries = {path: record.get("studies", {}).get(self.config.name) for path, record in records.items()}
        return {path: entry for path, entry in entries.items() if entry}

    def add(self, rows: list[dict[str, Any]]) -> Path:
        """Write the rows of one finished chunk."""
        import pandas as pd

        first = rows[0]
        ids = hashlib.sha256("".join(row["run_id"] for row in rows).encode()).hexdigest()[:12]
        path = (
            self.folder
            / f"{first['dataset']}-{first['backbone']}-{first['method']}-{first['head']}-{ids}.parquet"
        )
        try:
            with write_aside(path) as aside:
                pd.DataFrame(rows).to_parquet(aside, index=False)
        except WriteError as error:
            raise WriteError(f"{error} Finished chunks are safe: run the same command again.") from error
        return path

    def rows(
        self,
        run_ids: Iterable[str],
        *,
        partial: bool = False,
        sums: Mapping[tuple[str, str], str] | None = None,
    ) -> pd.DataFrame:
        """Return one row per run id, in that order; a chunk file goes before a collected table.

        Raises
        ------
        ConfigError
            Some runs have no row and `partial` is False. Bank checksums `sums` help to say why.
        """
        import pandas as pd

        run_ids = list(run_ids)
        self.done()  # names an unreadable file
        frames = [pd.read_parquet(path) for path in self._chunks()]
        for path in self.collected():
            table = read_table(path)
            frames.append(table[table["study"] == self.config.name])
        table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
        table = table.drop_duplicates("run_id").set_index("run_id", drop=False)
        have = [run_id for run_id in run_ids if run_id in table.index]
        if len(have) < len(run_ids) and not partial:
            others = self.strangers(run_ids, sums or {})
            raise ConfigError(
                f"{self.folder} holds {len(have)} of the {len(run_ids)} runs of study {self.config.name!r}: "
                f"finish it with 'noisylib run configs/{self.config.name}.yaml'. {others}".strip()
            )
        return table.loc[have].reset_index(drop=True)

    def log(self, **entry: Any) -> None:
        """Append one run of the engine (when, how long, on what) to the log of the study."""
        append_log(self.folder, entry)

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of the log, oldest first."""
        return read_log(self.folder)

    def sessions(self) -> list[dict[str, Any]]:
        """Return the log, after what collected tables know of earlier ones, each entry once."""
        entries = [e for entry in self._described().values() for e in entry["sessions"]] + self.history()
        return [entry for i, entry in enumerate(entries) if entry not in entries[:i]]

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _tables(self) -> list[Path]:
        return sorted(p for p in self.folder.parent.glob("*.parquet") if not is_of_experiment(p))


def remove_old_parts(folder: Path) -> None:
    """Delete what killed processes left of half-written files."""
    for left in folder.glob(".*.part"):
        if time.time() - left.stat().st_mtime > 3600:  # a younger one may belong to a living process
            left.unlink()


def append_log(folder: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry to the log in a folder."""
    write_text(folder / LOG_FILE, json.dumps([*read_log(folder), entry], indent=1))


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of the log in a folder, oldest first.

    Raises
    ------
    NoisylibError
        The log is not readable.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [{**entry} for entry in entries]
    except (ValueError, TypeError) as error:
        raise NoisylibError(
            f"{path} is not a readable log ({error}). Delete it; rows do not depend on it."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it."""
    with write_aside(path) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
