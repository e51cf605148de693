"""Where rows live: one Parquet file per finished chunk, written aside and renamed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.errors import ConfigError, NoisylibError, WriteError
from noisylib.files import write_aside
from noisylib.study.config import StudyConfig

if TYPE_CHECKING:
    import pandas as pd


class ResultStore:
    """Rows of one study in ``<results>/<study name>/``.

    Chunk files merge by copying: a file made on another machine with the same configuration and
    banks counts as done once it lies in the folder.
    """

    def __init__(self, config: StudyConfig, results: str | Path = "results") -> None:
        self.config = config
        self.folder = Path(results) / config.name

    def open(self, *, extend: bool = False, create: bool = True) -> None:
        """Check that the folder belongs to this configuration and, unless `create` is False, create it.

        Raises
        ------
        ConfigError
            The folder was written by another configuration and `extend` is False.
        """
        record = self.folder / "study.json"
        mine = {"digest": self.config.digest, "config": _plain(self.config)}
        if record.is_file():
            theirs = json.loads(record.read_text(encoding="utf-8"))
            if theirs["digest"] != mine["digest"] and not extend:
                keys = [k for k, v in mine["config"].items() if theirs["config"].get(k) != v]
                raise ConfigError(
                    f"{self.folder} was written by another configuration; they differ in {', '.join(keys)}. "
                    "Use another --results folder, give the study another name, or pass --extend to keep the "
                    "runs that both have and add the new ones."
                )
        if not create:
            return
        for left in self.folder.glob(".*.part"):
            if time.time() - left.stat().st_mtime > 3600:  # a younger one may belong to a living process
                left.unlink()
        self._write_text(record, json.dumps(mine, indent=1, sort_keys=True))

    def done(self) -> set[str]:
        """Return the run ids that have a row."""
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

    def rows(self, run_ids: Iterable[str], *, partial: bool = False) -> pd.DataFrame:
        """Return one row per run id, in that order.

        Raises
        ------
        ConfigError
            Some runs have no row and `partial` is False.
        """
        import pandas as pd

        run_ids = list(run_ids)
        self.done()  # names an unreadable file
        frames = [pd.read_parquet(path) for path in self._chunks()]
        table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"run_id": []})
        table = table.drop_duplicates("run_id").set_index("run_id", drop=False)
        have = [run_id for run_id in run_ids if run_id in table.index]
        if len(have) < len(run_ids) and not partial:
            raise ConfigError(
                f"{self.folder} holds {len(have)} of the {len(run_ids)} runs of study {self.config.name!r}: "
                f"finish it with 'noisylib run configs/{self.config.name}.yaml'."
            )
        return table.loc[have].reset_index(drop=True)

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _write_text(self, path: Path, text: str) -> None:
        with write_aside(path) as aside:
            aside.write_text(text + "\n", encoding="utf-8")


def _plain(config: StudyConfig) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(config)))
