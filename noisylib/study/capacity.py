"""How many worker processes this machine has cores, memory and GPUs for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import torch

from noisylib.devices import usable_cores
from noisylib.features.bank import bank_path
from noisylib.study.plan import Chunk

log = logging.getLogger(__name__)

# Private memory of a worker process that has trained something small.
PROCESS_BYTES = 350e6

# A bank is stored in float16. A worker holds it so, in float32, and as standardised training features, and
# copies parts of it while they are made.
BANK_COPIES = 8


def auto_jobs(device: str, need: float = 0.0) -> int:
    """Return how many worker processes to start on this machine.

    Parameters
    ----------
    device : torch device. On "cuda" there is one process for each visible GPU; on "cuda:N", one.
    need : bytes that a worker may take, if known; as many workers as free memory holds.
    """
    where = torch.device(device)
    if where.type == "cuda":
        return max(1, torch.cuda.device_count()) if where.index is None else 1
    cores, free = usable_cores(), free_memory()
    if not need or free is None or free >= cores * need:
        return cores
    jobs = max(1, int(free // need))
    log.info("%.1f GB of memory are free, for %d processes of up to %.1f GB", free / 1e9, jobs, need / 1e9)
    return jobs


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


def memory_need(chunks: Iterable[Chunk], banks: str | Path | None = None) -> float:
    """Return the bytes that a worker process may take for the largest of the chunks, by the size of its bank.

    A rough bound; what heads take beside the features is small on a CPU, where few are trained at once.
    """
    pairs = {(chunk.runs[0].dataset, chunk.runs[0].backbone) for chunk in chunks}
    files = [bank_path(dataset, backbone, banks) for dataset, backbone in pairs]
    return PROCESS_BYTES + BANK_COPIES * max((f.stat().st_size for f in files if f.is_file()), default=0)
