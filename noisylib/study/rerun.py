"""Train some rows of a finished study again and compare: do its numbers still come out of this code?"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.errors import ConfigError
from noisylib.seeding import numpy_generator
from noisylib.study.config import StudyConfig, load_config
from noisylib.study.engines import Engine
from noisylib.study.plan import Chunk, checksums, group_of, make_chunks, run_ids
from noisylib.study.processes import Processes
from noisylib.study.runner import collect, train_chunks
from noisylib.study.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# Of balanced accuracy, a fraction; what the same code on the same kind of processor must keep.
TOLERANCE = 1e-3

SHOWN = ["dataset", "backbone", "noise_type", "noise_rate", "method", "head", "seed"]


@dataclass(frozen=True)
class Rerun:
    """Rows of a study beside the same rows trained again.

    Attributes
    ----------
    rows : one row per run trained again: run_id, what it is, ``stored`` and ``new`` balanced accuracy
        (fractions), ``difference`` (new minus stored), ``equal`` (accuracy, balanced accuracy and every
        recall have the same bits) and ``drawn`` (False for runs that share a chunk with a drawn one).
    stored_on, device : processors the study and the new rows were trained on; the first "unknown" without
        a log.
    """

    rows: pd.DataFrame
    stored_on: str
    device: str

    @property
    def largest(self) -> float:
        """Largest absolute difference of balanced accuracy."""
        return float(self.rows["difference"].abs().max())

    @property
    def holds(self) -> bool:
        """Whether every difference is within `TOLERANCE`."""
        return bool((self.rows["difference"].abs() <= TOLERANCE).all())  # NaN is not within it

    def listing(self) -> str:
        """Return a line for each drawn row, and for every other one that is not equal."""
        shown = self.rows[self.rows["drawn"] | ~self.rows["equal"]].drop(columns="run_id")
        score, step = "{:.6f}".format, "{:+.1e}".format
        return shown.to_string(index=False, formatters={"stored": score, "new": score, "difference": step})

    def summary(self) -> str:
        """Return what came out, in four lines."""
        rows = self.rows
        verdict = "within" if self.holds else "NOT within"
        equal, drawn = int(rows["equal"].sum()), int(rows["drawn"].sum())
        return (
            f"{len(rows)} rows trained again ({drawn} drawn), {equal} of them equal to the last bit\n"
            f"largest difference of balanced accuracy: {self.largest:.2g}, {verdict} {TOLERANCE:g}\n"
            f"stored rows: {self.stored_on}\nnew rows:    {self.device}"
        )


def rerun(
    config: str | Path | StudyConfig,
    results: str | Path = "results",
    *,
    rows: int = 50,
    seed: int = 0,
    alone: bool = False,
    jobs: int = 0,
    device: str | None = None,
    banks: str | Path | None = None,
    engine: Engine | None = None,
) -> Rerun:
    """Draw rows of a finished study at random, train them again and compare.

    Parameters
    ----------
    rows : how many to draw; no more than there are.
    seed : of the draw.
    alone, jobs, device, banks, engine : of `retrain`.

    Raises
    ------
    ConfigError
        The study is not finished, or `rows` is not in 1 ... number of rows.
    """
    config = load_config(config)
    table = collect(config, results, banks=banks)
    if not 1 <= rows <= len(table):
        raise ConfigError(f"rows={rows}: study {config.name!r} has {len(table)}; draw 1 to {len(table)}.")
    drawn = numpy_generator("rerun", seed).choice(len(table), rows, replace=False)
    ids = table["run_id"].iloc[drawn].tolist()
    again = retrain(config, table, ids, alone=alone, jobs=jobs, device=device, banks=banks, engine=engine)
    sessions = ResultStore(config, results).sessions()
    stored_on = ", ".join(sorted({session["device"] for session in sessions})) or "unknown"
    return replace(again, stored_on=stored_on)


def device_of(
    config: str | Path | StudyConfig, results: str | Path = "results", *, banks: str | Path | None = None
) -> str:
    """Return the torch device that the rows of a finished study were made on."""
    return _made_on(collect(config, results, banks=banks))


def _made_on(rows: pd.DataFrame) -> str:
    return str(rows.sort_values("run_id")["device"].iloc[0])


def retrain(
    config: StudyConfig,
    table: pd.DataFrame,
    drawn: Iterable[str],
    *,
    alone: bool = False,
    jobs: int = 0,
    device: str | None = None,
    banks: str | Path | None = None,
    engine: Engine | None = None,
) -> Rerun:
    """Train the runs `drawn` of a study again and compare them with its table.

    The company a run is trained in decides the order in which products are summed: of 50 archived runs that
    were trained alone, 45 had the same balanced accuracy, and one was off by 0.004. So the whole chunk of
    every drawn run is trained and compared, which leaves no difference on the same processor.

    Parameters
    ----------
    table : from `noisylib.study.collect`.
    drawn : run ids.
    alone : train the drawn runs only; less work, and no longer always equal to the last bit.
    jobs : worker processes; 0 takes as many as fit.
    device : torch device; default: the kind that the rows were made on.
    engine : from `noisylib.study.engines.open_engine`, in place of `jobs` and `device`.
    """
    drawn, stored = set(drawn), table.set_index("run_id")
    made_on = _made_on(table[table["run_id"].isin(drawn)])
    engine = engine or Processes(jobs, device or made_on)
    chunks = chunks_holding(config, drawn, made_on, banks)
    if alone:
        chunks = [_only(chunk, drawn) for chunk in chunks]
    new = {}
    for i, (_, rows) in enumerate(train_chunks(chunks, engine=engine, banks=banks), start=1):
        new |= {row["run_id"]: row for row in rows if row["run_id"] in stored.index}
        log.info("%d of %d chunks, %d rows", i, len(chunks), len(new))
    return Rerun(_compare(table[table["run_id"].isin(set(new))], new, drawn), "unknown", engine.device_names)


def chunks_holding(
    config: StudyConfig, drawn: set[str], device: str, banks: str | Path | None
) -> list[Chunk]:
    """Return the chunks of the full study that hold drawn runs."""
    loaded = config.load_banks(banks)
    sums = checksums(loaded)
    ids = run_ids(config, sums)
    groups = {group_of(run) for run, run_id in ids.items() if run_id in drawn}
    near = {run: run_id for run, run_id in ids.items() if group_of(run) in groups}
    root = None if banks is None else str(banks)
    chunks = make_chunks(config, near, loaded, sums, device=device, banks=root)
    return [chunk for chunk in chunks if not drawn.isdisjoint(chunk.run_ids)]


def _only(chunk: Chunk, drawn: set[str]) -> Chunk:
    pairs = [pair for pair in zip(chunk.runs, chunk.run_ids, strict=True) if pair[1] in drawn]
    runs, ids = zip(*pairs, strict=True)
    return replace(chunk, runs=runs, run_ids=ids, cost=chunk.cost * len(runs) / len(chunk.runs))


def _compare(stored: pd.DataFrame, new: dict[str, dict[str, Any]], drawn: set[str]) -> pd.DataFrame:
    again = [new[run_id] for run_id in stored["run_id"]]
    rows = stored[["run_id", *SHOWN]].reset_index(drop=True)
    rows["stored"] = stored["balanced_accuracy"].to_numpy()
    rows["new"] = [row["balanced_accuracy"] for row in again]
    rows["difference"] = rows["new"] - rows["stored"]
    rows["equal"] = [
        old.accuracy == row["accuracy"]
        and old.balanced_accuracy == row["balanced_accuracy"]
        and np.array_equal(old.recall, row["recall"])
        for old, row in zip(stored.itertuples(), again, strict=True)
    ]
    rows["drawn"] = rows["run_id"].isin(drawn)
    return rows
