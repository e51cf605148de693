"""The book's chapters as data: notebook, parameters, pages, and the files each one reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.book.case_parameters import CollapseParameters, DetectionParameters, OverlapParameters
from noisylib.book.parameter_names import ROOT
from noisylib.book.parameters import (
    BenchmarkParameters,
    ClaimsParameters,
    CostParameters,
    DatasetsParameters,
    DynamicsParameters,
    MethodsParameters,
    NoiseParameters,
    OverviewParameters,
    QuickstartParameters,
    RankingsParameters,
    SensitivityParameters,
)
from noisylib.errors import ConfigError, MissingDataError, check_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Page:
    """One page of the book: a notebook executed with some parameters of its own.

    `title` replaces the notebook's heading where one notebook makes several pages.
    """

    slug: str
    title: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chapter:
    """One notebook: its parameters, the pages made from it, and the files it reads.

    `reads` maps parameters (as attributes) to files; it raises MissingDataError with the command that makes
    them if they are absent.
    """

    key: str
    title: str
    notebook: str
    parameters: type
    pages: tuple[Page, ...]
    reads: Callable[[Any], list[Path]]


def bank_files(datasets: list[str], backbone: str) -> list[Path]:
    """Return the bank files of `datasets`; feature tables that need no file have none."""
    from noisylib.features.bank import bank_path, load_bank

    paths = [bank_path(dataset, backbone) for dataset in datasets]
    for dataset, path in zip(datasets, paths, strict=True):
        if not path.is_file():
            load_bank(dataset, backbone)  # a table that needs no file, or an error with the command
    return [path for path in paths if path.is_file()]


def probe_files() -> list[Path]:
    """Return the file of stored probes beside the banks, if there is one."""
    from noisylib.features.bank import bank_root
    from noisylib.features.probe import PROBES_FILE

    return [path for path in (bank_root() / PROBES_FILE,) if path.is_file()]


def study_files(study: str) -> list[Path]:
    """Return the config of a study and the files that hold its rows; none yet is an error with the command.

    Rows lie in chunk files of the study's own folder, or in a collected table of its name.
    """
    import yaml

    config = ROOT / "configs" / f"{study}.yaml"
    if not config.is_file():
        check_name("study", study, [path.stem for path in config.parent.glob("*.yaml")])
    # Read plainly: the study's own reader checks everything, and takes the import of torch for it.
    name = str(yaml.safe_load(config.read_text(encoding="utf-8"))["name"])
    results = results_root() / name
    rows = sorted([*results.rglob("*.parquet"), *results_root().glob(f"{name}.parquet")])
    if not rows:
        raise MissingDataError(
            f"study={study!r} has no results in {results}. Make them with "
            f"'noisylib run configs/{study}.yaml'."
        )
    return [config, *rows, *_provenance_of(results_root() / f"{name}.parquet")]


def arm_files() -> list[Path]:
    """Return the table of the arms and its provenance, or raise MissingDataError with what makes them."""
    path = results_root() / "arms.parquet"
    if not path.is_file():
        raise MissingDataError(f"no table of the arms at {path}. Make it with 'make archive'.")
    return [path, *_provenance_of(path)]


def _provenance_of(table: Path) -> list[Path]:
    return [path for path in (table.with_suffix(".json"),) if path.is_file()]


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


def table_files(name: str) -> list[Path]:
    """Return the collected table of an experiment and its provenance, or raise with what makes them."""
    path = results_root() / f"{name}.parquet"
    if not path.is_file():
        raise MissingDataError(f"no table {path}. Make it with 'make archive'.")
    return [path, *_provenance_of(path)]


def results_root() -> Path:
    """Return the folder of results: $NOISYLIB_RESULTS, else ``results`` of the checkout."""
    return Path(os.environ.get("NOISYLIB_RESULTS") or ROOT / "results")


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


_BENCHMARKS = {
    "breastmnist": "BreastMNIST: breast ultrasound",
    "retinamnist": "RetinaMNIST: grades of diabetic retinopathy",
    "pneumoniamnist": "PneumoniaMNIST: chest X-ray",
    "ham10000": "HAM10000: pigmented skin lesions",
    "pbc": "PBC: peripheral blood cells",
}

CHAPTERS: dict[str, Chapter] = {
    chapter.key: chapter
    for chapter in (
        Chapter(
            "quickstart",
            "Quickstart: from a feature bank to a table",
            "notebooks/quickstart.ipynb",
            QuickstartParameters,
            (Page("quickstart"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "datasets",
            "Data sets and their features",
            "notebooks/datasets.ipynb",
            DatasetsParameters,
            (Page("datasets"),),
            lambda p: bank_files(p.datasets, p.backbone) + probe_files(),
        ),
        Chapter(
            "noise",
            "How labels go wrong",
            "notebooks/noise.ipynb",
            NoiseParameters,
            (Page("noise"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "methods",
            "Eight methods on one page",
            "notebooks/methods.ipynb",
            MethodsParameters,
            (Page("methods"),),
            lambda p: [],
        ),
        Chapter(
            "dynamics",
            "Training dynamics: what is learned, and what is kept",
            "notebooks/dynamics.ipynb",
            DynamicsParameters,
            (Page("dynamics"),),
            lambda p: bank_files([p.dataset], p.backbone),
        ),
        Chapter(
            "benchmark",
            "Benchmark on one data set",
            "notebooks/benchmark.ipynb",
            BenchmarkParameters,
            tuple(Page(f"benchmark-{name}", title, {"dataset": name}) for name, title in _BENCHMARKS.items()),
            lambda p: bank_files([p.dataset], p.backbone) + study_files(p.study),
        ),
        Chapter(
            "overview",
            "150 conditions at a glance",
            "notebooks/overview.ipynb",
            OverviewParameters,
            (Page("overview"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "rankings",
            "Who wins, and does it mean anything?",
            "notebooks/rankings.ipynb",
            RankingsParameters,
            (Page("rankings"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "cost",
            "What the choice of a method costs",
            "notebooks/cost.ipynb",
            CostParameters,
            (Page("cost"),),
            lambda p: study_files(p.study),
        ),
        Chapter(
            "sensitivity",
            "What the ranking depends on",
            "notebooks/sensitivity.ipynb",
            SensitivityParameters,
            (Page("sensitivity"),),
            lambda p: study_files(p.study) + arm_files(),
        ),
        Chapter(
            "overlap",
            "Do clean and noisy losses overlap?",
            "notebooks/overlap.ipynb",
            OverlapParameters,
            (Page("overlap"),),
            lambda p: bank_files([p.dataset], p.backbone) + table_files("overlap"),
        ),
        Chapter(
            "detection",
            "Who finds the clean samples?",
            "notebooks/detection.ipynb",
            DetectionParameters,
            (Page("detection"),),
            lambda p: bank_files([p.dataset], p.backbone) + table_files("detection"),
        ),
        Chapter(
            "collapse",
            "High accuracy, dead classes",
            "notebooks/collapse.ipynb",
            CollapseParameters,
            (Page("collapse"),),
            lambda p: (
                bank_files([p.dataset], p.backbone)
                + table_files("collapse")
                + study_files("archive")
                + arm_files()
            ),
        ),
        Chapter(
            "claims",
            "Published claims beside our numbers",
            "notebooks/claims.ipynb",
            ClaimsParameters,
            (Page("claims"),),
            lambda p: [
                *(path for study in p.studies for path in study_files(study)),
                *(arm_files() if (results_root() / "arms.parquet").is_file() else ()),
                *(
                    path
                    for name in ("overlap", "detection", "collapse")
                    if (results_root() / f"{name}.parquet").is_file()
                    for path in table_files(name)
                ),
            ],
        ),
    )
}


def chapter_info(key: str) -> Chapter:
    """Return the chapter called `key`, or suggest the nearest name."""
    return CHAPTERS[check_name("chapter", key, CHAPTERS)]
