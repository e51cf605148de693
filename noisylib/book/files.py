"""The files that chapters read: banks, rows of studies, tables of experiments, fitted rules."""

from __future__ import annotations

import os
from pathlib import Path

from noisylib.book.parameter_names import ROOT
from noisylib.errors import MissingDataError, check_name


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


def table_files(name: str) -> list[Path]:
    """Return the collected table of an experiment and its provenance, or raise with what makes them."""
    path = results_root() / f"{name}.parquet"
    if not path.is_file():
        # Tables of fine-tuning start with the name of their study, and need images, which no archive holds.
        studies = [config.stem for config in (ROOT / "configs").glob("turn_*.yaml")]
        study = max((study for study in studies if f"{name}_".startswith(f"{study}_")), key=len, default="")
        command = f"noisylib finetune configs/{study}.yaml --data DATA --collect" if study else "make archive"
        raise MissingDataError(f"no table {path}. Make it with '{command}'.")
    return [path, *_provenance_of(path)]


def fitted_files() -> list[Path]:
    """Return what the package has learned from archived rows, which digests of its code do not cover."""
    return sorted((ROOT / "noisylib" / "fitted").glob("*.json"))


def results_root() -> Path:
    """Return the folder of results: $NOISYLIB_RESULTS, else ``results`` of the checkout."""
    return Path(os.environ.get("NOISYLIB_RESULTS") or ROOT / "results")
