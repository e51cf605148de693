"""The record of the benchmarks, as a chapter reads it: any part may be absent, and then is said to be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisylib.book.parameter_names import ROOT
from noisylib.errors import MissingDataError, NoisylibError, check_name

DEVICES = ("cpu", "cuda")
NAMES = {"cpu": "processor", "cuda": "GPU"}


def benchmark_root() -> Path:
    """Return the folder of records: $NOISYLIB_BENCHMARKS, else ``benchmarks/results`` of the checkout."""
    return Path(os.environ.get("NOISYLIB_BENCHMARKS") or ROOT / "benchmarks" / "results")


def benchmark_files(device: str) -> list[Path]:
    """Return the record of `device` and those of the others that are there.

    Raises
    ------
    MissingDataError
        `device` has no record; the text has the command that makes it.
    """
    path = benchmark_root() / f"{check_name('record', device, DEVICES)}.json"
    if not path.is_file():
        raise MissingDataError(
            f"record={device!r}: there is no {path}. Make it with 'python -m benchmarks --device {device}' "
            "on a machine that has one."
        )
    others = (benchmark_root() / f"{other}.json" for other in DEVICES if other != device)
    return [path, *(other for other in others if other.is_file())]


@dataclass(frozen=True, eq=False)
class Record:
    """What was measured on one kind of device.

    Attributes
    ----------
    device : "cpu" or "cuda".
    values : "<part>.<name>" -> number, text, list or mapping; "measured" says of each part when and on what.
    """

    device: str
    values: Mapping[str, Any]

    @property
    def parts(self) -> list[str]:
        """The parts that were measured, in the order of the file."""
        return list(self.values["measured"])

    def has(self, *keys: str) -> bool:
        """Say whether all `keys` are there and hold something."""
        return all(self.get(key) not in (None, {}, []) for key in keys)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of "<part>.<name>"; "<part>.<name>/<entry>" looks into a mapping."""
        name, _, entry = key.partition("/")
        value = self.values.get(name)
        if entry:
            value = value.get(entry) if isinstance(value, Mapping) else None
        return default if value is None else value

    def setting(self, part: str) -> Mapping[str, Any]:
        """Return what the part was measured with; empty if that is not known."""
        return self.get(f"{part}.setting", {})

    def absent(self, what: str, *parts: str) -> str:
        """Return the sentence that stands where `what` of these parts would be shown."""
        flags = [f"--{part}" for part in parts if part != "heads"]
        core = [] if "heads" in parts else ["--no-heads"]  # the training core is measured unless told not to
        command = " ".join(["python -m benchmarks", f"--device {self.device}", *core, *flags])
        return f"{what} not been measured on a {NAMES[self.device]} yet; `{command}` does it."


def read_record(device: str) -> Record:
    """Return the record of `device`.

    Raises
    ------
    MissingDataError
        There is none.
    NoisylibError
        The file is no record of the benchmarks.
    """
    path = benchmark_files(device)[0]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        whole = all("date" in facts and "machine" in facts for facts in values["measured"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise NoisylibError(
            f"{path} is not a record of the benchmarks: move it away and measure again with "
            f"'python -m benchmarks --device {device}'."
        )
    return Record(device, values)


def other_record(device: str) -> Record | None:
    """Return the record of the other kind of device, if there is one."""
    (other,) = (name for name in DEVICES if name != device)
    return read_record(other) if (benchmark_root() / f"{other}.json").is_file() else None


def source(record: Record, *parts: str) -> str:
    """Return what a caption says of `parts`: machine, torch and days, once each; and which mean nothing.

    Parts that are absent are left out; all parts if none is named.
    """
    measured = record.values["measured"]
    chosen = [part for part in parts or record.parts if part in measured]
    if not chosen:
        return "Nothing of this has been measured."
    days: dict[str, set[str]] = {}
    for part in chosen:
        days.setdefault(_machine(measured[part]["machine"]), set()).add(str(measured[part]["date"]))
    texts = [f"{where}, {' and '.join(sorted(when))}" for where, when in days.items()]
    text = f"Measured on {'; '.join(texts)}."
    quick = [part for part in chosen if measured[part].get("quick")]
    if quick:
        text += f" The sizes of {', '.join(quick)} are those of a trial run, whose times mean nothing."
    return text


def _machine(machine: Mapping[str, Any]) -> str:
    cores = machine.get("cores")
    where = machine.get("gpu") or machine.get("cpu") or "an unnamed processor"
    if cores and "gpu" not in machine:
        where += f" ({cores} core{'' if cores == 1 else 's'})"
    return f"{where} with torch {str(machine.get('torch', 'unknown')).partition('+')[0]}"


def walk(record: Record, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the entries of a mapping of mappings, such as "heads.seconds_per_head_epoch"."""
    for name, entry in record.get(key, {}).items():
        if isinstance(entry, Mapping):
            yield name, entry
