"""How many worker processes this machine has cores, memory and GPUs for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import torch

from noisylib.devices import usable_cores
from noisylib.features.bank import bank_path
from noisylib.features.bank_shards import shard_folder
from noisylib.memory import free_memory
from noisylib.study.plan import Chunk

log = logging.getLogger(__name__)

# Private memory of a worker process that has trained something small.
PROCESS_BYTES = 350e6

# A bank is stored in float16, and a worker holds up to 34 bytes for each of its numbers while they are
# z-scored in double precision.
BANK_COPIES = 17


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


def memory_need(
    chunks: Iterable[Chunk], banks: str | Path | None = None, memory_limit: int | None = None
) -> float:
    """Return the bytes that a worker process may take for the largest of the chunks, by the size of its bank.

    A rough bound; what heads take beside the features is small on a CPU, where few are trained at once.
    Features over `memory_limit` stay on disk.
    """
    pairs = {(chunk.runs[0].dataset, chunk.runs[0].backbone) for chunk in chunks}
    features = BANK_COPIES * max((_bytes_of(bank_path(*pair, banks)) for pair in pairs), default=0)
    return PROCESS_BYTES + (features if memory_limit is None else min(features, memory_limit))


def _bytes_of(index: Path) -> int:
    """Return the size of a bank's file and of the shards beside it; 0 for a table without a file."""
    files = [index, *shard_folder(index).glob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())
