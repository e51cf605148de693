"""How much memory there is, and amounts of it in words."""

from __future__ import annotations

import re
from pathlib import Path

from noisylib.errors import NoisylibError

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that programs may still take here, or None where nobody says.

    The least of what Linux calls available and what a container's limit leaves; files that Linux keeps in
    memory and can drop do not count as taken. `root` is for tests.
    """
    found = []
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    groups = root / "sys/fs/cgroup"
    for folder, limit, used, dropped in (
        (groups, "memory.max", "memory.current", "inactive_file"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, now = int((folder / limit).read_text()), int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such group, or its limit is "max"
            continue
        found.append(max(0, most - now + int(stat.get(dropped, 0))))
    return min(found, default=None)


def parse_bytes(text: str | int | None, argument: str = "memory_limit") -> int | None:
    """Return an amount of memory in bytes: 8GiB, 500MB, a plain number, or None for "auto".

    Raises
    ------
    NoisylibError
        It is neither, or less than one byte.
    """
    if text is None or str(text).strip().lower() == "auto":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", str(text).strip().upper())
    size = int(float(found[1]) * UNITS[found[2]]) if found and found[2] in UNITS else 0
    if isinstance(text, bool) or size < 1:
        raise NoisylibError(f"{argument}={text!r}: give bytes, such as 8GiB, 500MB or 1000000, or auto.")
    return size


def in_words(size: float) -> str:
    """Return bytes as people say them, such as 1.5 GB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"
