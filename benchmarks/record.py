"""The file of results: every part keeps its last measurement, with its own date and machine.

Keys ``<part>.<name>`` hold the numbers, and ``measured`` says of each part when, on what and for how long.
"""

from __future__ import annotations

import json
from pathlib import Path

from noisylib.files import write_aside

Record = dict[str, object]


def read(path: Path) -> Record:
    """Return the stored record; empty where there is no file yet.

    Raises
    ------
    ValueError
        The file is no such record.
    """
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text())
        parts = set(record["measured"])
    except (ValueError, KeyError, TypeError):
        parts, record = None, {}
    if parts is None or {key.partition(".")[0] for key in record} - {"measured"} != parts:
        raise ValueError(f"{path} is not a record of these benchmarks: move it, or choose another --out.")
    return record


def merge(old: Record, part: str, numbers: Record, facts: Record) -> Record:
    """Return `old` with one part's numbers and facts replaced; all that `old` had of the part is gone."""
    wrong = [key for key in numbers if not key.startswith(f"{part}.")]
    if wrong:
        raise ValueError(f"keys {wrong} of part {part!r} do not start with {part!r} and a dot.")
    kept = {key: value for key, value in old.items() if key.partition(".")[0] not in (part, "measured")}
    return {**kept, **numbers, "measured": {**old.get("measured", {}), part: facts}}


def kept_parts(record: Record, measured: list[str]) -> list[str]:
    """Return a line for each part of `record` that was not measured now."""
    return [
        f"kept from {facts['date']}, {facts['machine'].get('gpu', facts['machine']['cpu'])}: {part}"
        for part, facts in record["measured"].items()
        if part not in measured
    ]


def write(record: Record, path: Path) -> None:
    """Write the record, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
