"""Rows of studies and arms, and what a caption says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.book.files import arm_files, results_root
from noisylib.book.parameter_names import ROOT
from noisylib.errors import ConfigError, check_name

if TYPE_CHECKING:
    import pandas as pd


def arm_rows(*studies: str) -> tuple[pd.DataFrame, str]:
    """Return the archived rows of some arms (all of them by default), and what a caption says of them.

    Raises
    ------
    UnknownNameError
        The table has no row of that arm.
    """
    from noisylib.book.tables import provenance
    from noisylib.study.archive import load_archive

    table, record = load_archive(arm_files()[0])
    for study in studies:
        check_name("study of the arms", study, set(table["study"]))
    rows = table[table["study"].isin(studies)] if studies else table
    digests = [record["studies"][name]["digest"] for name in sorted(set(rows["study"]))]
    return rows.reset_index(drop=True), provenance(rows, *digests)


def study_rows(
    study: str,
    *,
    dataset: str | None = None,
    backbone: str | None = None,
    head: str | None = None,
    methods: list[str] | None = None,
) -> tuple[pd.DataFrame, str]:
    """Return the rows of a finished study, some of them if asked, and what a caption says of them.

    Raises
    ------
    ConfigError
        The study is not finished, or has no row for what was asked.
    """
    from noisylib.book.tables import provenance
    from noisylib.study import collect, load_config

    config = load_config(ROOT / "configs" / f"{study}.yaml")
    rows = collect(config, results_root())
    asked = {"dataset": dataset, "backbone": backbone, "head": head}
    for column, value in asked.items():
        if value is not None:
            check_name(f"{column} of study {study!r}", value, set(rows[column]))
            rows = rows[rows[column] == value]
    for method in methods or []:
        check_name(f"method of study {study!r}", method, set(rows["method"]))
    if methods:
        rows = rows[rows["method"].isin(methods)]
    if rows.empty:
        raise ConfigError(
            f"study {study!r} has no row with {asked} and methods={methods}: change one of them."
        )
    return rows.reset_index(drop=True), provenance(rows, config.digest)
