"""The fitted files of the package, made anew from the archived tables.

They are functions of tables that are in the repository, so that anyone can see where every number comes from,
and a change of a table that was not followed by a refit shows.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.analysis.class_risk import check_class_risk, class_rows, fit_class_risk
from noisylib.analysis.selector import METRICS
from noisylib.analysis.selector_cases import KEY, Cases, cases
from noisylib.analysis.selector_fit import fit_selector
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest, write_aside
from noisylib.study.advice_rows import advice_rows
from noisylib.study.archive import load_archive
from noisylib.study.experiment_tables import load_table

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("archive", "advice", "conditions")
# Numbers of two machines may differ in the last digits that are written.
TOLERANCE = 2e-3
LINE = 110


def fitted_folder() -> Path:
    """Return the folder of the files that come with the package."""
    return Path(str(files("noisylib") / "fitted"))


def refit(results: str | Path = "results") -> dict[str, dict[str, Any]]:
    """Return the content of every fitted file, by name.

    Raises
    ------
    MissingDataError, NoisylibError
        A table is not there, damaged or incomplete.
    """
    from noisylib.study.fit_noise_rate import fit_noise_rate

    conditions = condition_rows(results)
    return {"noise_rate.json": fit_noise_rate(conditions), "selector.json": refit_selector(results)}


def refit_selector(results: str | Path = "results") -> dict[str, Any]:
    """Return the content of selector.json: the rules, and the risk of classes that are never predicted."""
    rows, conditions = advice_rows(results), condition_rows(results)
    classes = risk_rows(rows, conditions)
    content = fit_selector({metric: cases(rows, conditions, score=metric) for metric in METRICS})
    held_out = check_class_risk(classes)
    risk = rounded(fit_class_risk(classes)) | {
        "held_out": rounded({name: row.dropna().to_dict() for name, row in held_out.iterrows()})
    }
    table = content.pop("conditions")
    return content | {"made_from": digests(results), "class_risk": risk, "conditions": table}


def condition_rows(results: str | Path = "results") -> pd.DataFrame:
    """Return the table of descriptors, one row per condition and seed."""
    return load_table(Path(results) / "conditions.parquet")[0]


def risk_rows(rows: pd.DataFrame, conditions: pd.DataFrame) -> pd.DataFrame:
    """Return every class of every run, as `noisylib.analysis.class_risk.class_rows` has them."""
    return class_rows(rows, conditions, [*KEY, "seed"])


def pools(results: str | Path = "results", metric: str = "balanced_accuracy") -> dict[str, Cases]:
    """Return the conditions by pool: "recommended", methods told nothing, and "told", the archive's own.

    Both with the descriptors of the same noisy labels; the archive's scores are means over all its seeds.
    """
    conditions = condition_rows(results)
    archived = load_archive(Path(results) / "archive.parquet")[0]
    return {
        "recommended": cases(advice_rows(results), conditions, score=metric),
        "told": cases(archived, conditions, score=metric),
    }


def digests(results: str | Path = "results") -> dict[str, str]:
    """Return the first 16 hexadecimal digits of the SHA-256 of each table."""
    found = {}
    for name in TABLES:
        path = Path(results) / f"{name}.parquet"
        if not path.is_file():
            raise MissingDataError(f"{path} is not there: 'noisylib experiment advice --collect' makes it.")
        found[path.name] = file_digest(path)[:16]
    return found


def write_fitted(contents: dict[str, dict[str, Any]], folder: str | Path | None = None) -> list[Path]:
    """Write the fitted files, each aside and renamed; return their paths."""
    folder = fitted_folder() if folder is None else Path(folder)
    for name, content in contents.items():
        with write_aside(folder / name) as aside:
            aside.write_text(as_text(content) + "\n", encoding="utf-8")
    return [folder / name for name in contents]


def differing(contents: dict[str, dict[str, Any]], folder: str | Path | None = None) -> list[str]:
    """Return what differs from the fitted files, as text; numbers that agree to three digits do not."""
    folder = fitted_folder() if folder is None else Path(folder)
    found = []
    for name, content in contents.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is not there")
            continue
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise NoisylibError(f"{path} is no JSON file ({error}).") from error
        found += [f"{name}: {place}" for place in _differences(old, json.loads(as_text(content)), "")]
    return found


def _differences(old: Any, new: Any, place: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            text
            for key in keys
            for text in (
                _differences(old[key], new[key], f"{place}/{key}")
                if key in old and key in new
                else [f"{place}/{key}"]
            )
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [text for i, (a, b) in pairs for text in _differences(a, b, f"{place}/{i}")]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, new))
    same = abs(old - new) <= TOLERANCE * max(abs(old), abs(new)) + 1e-6 if numbers else old == new
    return [] if same else [place]


def rounded(value: Any, digits: int = 4) -> Any:
    """Return the numbers in nested dicts with few significant digits."""
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part, digits) for part in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def as_text(value: Any, depth: int = 0) -> str:
    """Return JSON in which whatever fits into a line has one, so that people can read it."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(line) + depth <= LINE or not isinstance(value, dict | list) or not value or _row(value):
        return line
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(key)}: {as_text(part, depth + 1)}" for key, part in value.items()]
    else:
        parts = [pad + as_text(part, depth + 1) for part in value]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return first + "\n" + ",\n".join(parts) + "\n" + " " * depth + last


def _row(value: Any) -> bool:
    """Return whether this is a row of a table, or a list of numbers: one line, however long."""
    return "condition" in value if isinstance(value, dict) else all(isinstance(v, int | float) for v in value)
