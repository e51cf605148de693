"""Scores of all candidates under all conditions: the table of `advice` and what the archive already has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noisylib.analysis.families import family
from noisylib.candidates import CANDIDATES
from noisylib.errors import NoisylibError
from noisylib.study.advice import ARCHIVED, HEAD, TABLE
from noisylib.study.advice_variants import CLEAN, SEEDS
from noisylib.study.archive import load_archive
from noisylib.study.experiment_tables import load_table

if TYPE_CHECKING:
    import pandas as pd

# A condition is one set of labels per seed; rows of all candidates share it.
CONDITION_KEY = ("dataset", "backbone", "variant", "noise_type", "noise_rate")


def advice_rows(results: str | Path = "results", *, methods: tuple[str, ...] = ARCHIVED) -> pd.DataFrame:
    """Return one row per condition, seed and candidate.

    The columns are those of the table of `advice`, and ``source``: "archive" for runs that the archive has,
    "advice" for those that were trained for it. Runs without noise are there once, as "symmetric".

    Parameters
    ----------
    results : folder with archive.parquet and advice.parquet, and the provenance of both.
    methods : rows taken from the archive.

    Raises
    ------
    MissingDataError
        A table or its provenance is not there.
    NoisylibError
        A table is damaged, or a condition and seed has a candidate twice or not at all.
    """
    import pandas as pd

    new = load_table(Path(results) / "advice.parquet")[0].drop(columns="task_id").assign(source="advice")
    rows = pd.concat([archived_rows(results, methods), new], ignore_index=True)
    _check(rows, results)
    return rows


def archived_rows(results: str | Path = "results", methods: tuple[str, ...] = ARCHIVED) -> pd.DataFrame:
    """Return what the archive has of some methods, with the columns of `advice_rows`."""
    rows = load_archive(Path(results) / "archive.parquet")[0]
    # Noise at rate 0 is the same labels under every type.
    once = (rows["noise_rate"] > 0) | (rows["noise_type"] == CLEAN[0])
    rows = rows[once & (rows["head"] == HEAD) & rows["method"].isin(methods) & rows["seed"].isin(SEEDS)]
    rows = rows.assign(
        candidate=rows["method"],
        variant="",
        family=rows["dataset"].map(family),
        given_rate=float("nan"),
        source="archive",
    )
    return rows[[*TABLE, "source"]].reset_index(drop=True)


def _check(rows: pd.DataFrame, results: str | Path) -> None:
    keys = [*CONDITION_KEY, "seed"]
    count = rows.groupby([*keys, "candidate"]).size().unstack()
    count = count.reindex(columns=list(CANDIDATES)).fillna(0)
    wrong = count[(count != 1).any(axis=1)]
    if len(wrong):
        first = ", ".join(f"{name} {value}" for name, value in zip(keys, wrong.index[0], strict=True))
        lacks = [name for name in CANDIDATES if wrong.iloc[0][name] != 1]
        raise NoisylibError(
            f"{results}: {len(wrong)} conditions do not have every candidate once, first {first}: "
            f"{', '.join(lacks)}. Make the tables with 'noisylib experiment advice --collect' and "
            "'noisylib collect'."
        )
