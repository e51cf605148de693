"""What the chapter on large studies says of disks and the network: features come in, rows go out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisylib.analysis.bank_memory import STORED
from noisylib.analysis.cost_model import Costs
from noisylib.analysis.workload import Workload
from noisylib.book.describe.lp_fft_turn_cost import number
from noisylib.book.describe.scale import chunks_of, plans
from noisylib.book.describe.scale_memory import chunk, size
from noisylib.book.files import results_root

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.scale_parameters import ScaleParameters

SAMPLE_BYTES = 17  # of a bank's file beside the features: label and group, int64, and split


def disk_words(p: ScaleParameters, costs: Costs, record: Mapping[str, Any]) -> str:
    """Return how fast features would have to come from a disk so that training does not wait for it."""
    at_once = chunk(p, p.samples).heads_at_once
    work = replace(chunk(p, p.samples), runs=min(p.runs_per_chunk, Workload.runs_per_seed, at_once))
    per_sample = sum(costs.epoch_seconds(work).values()) / work.samples
    rate = STORED * p.n_features / per_sample
    text = (
        f"A core that trains {work.runs} heads at a time goes through {number(1 / per_sample)} samples a "
        f"second. Features that lie on disk as float16 must then come at {size(rate)} a second for each "
        f"core, in an order that is new in every epoch, {size(p.n_features * STORED)} at a time. "
    )
    slowdown = record.get("mapped.slowdown")
    if slowdown:
        parts = [f"{value:.2f} times for {head} heads" for head, value in slowdown.items()]
        return text + f"Measured, training from mapped features takes {' and '.join(parts)} as long."
    return text + "What training from mapped features costs has not been measured yet."


def bank_file(p: ScaleParameters, samples: int) -> float:
    """Return the bytes of a bank's file, test samples included."""
    rows = samples + round(p.test_share * samples)
    return rows * (STORED * p.n_features + SAMPLE_BYTES)


def archive_path() -> Path:
    """Return the table of the archive, whose rows say what a row takes."""
    return results_root() / "archive.parquet"


def traffic_table(p: ScaleParameters, row_bytes: Mapping[str, float]) -> pd.DataFrame:
    """Return per plan: the bank's file, what is sent to every worker, result rows and the files they lie in.

    Parameters
    ----------
    row_bytes : from `result_bytes`.
    """
    import pandas as pd

    workers = max(p.cores)
    rows = []
    for plan in plans(p).values():
        chunks, file = chunks_of(p, plan.work.runs), bank_file(p, plan.work.samples)
        rows.append(
            {
                "Study": plan.title,
                "Bank's file": size(file),
                "Sent, 2 workers": size(2 * file),
                f"Sent, {workers:,} workers": size(workers * file),
                f"Sent, {p.n_gpus:,} GPUs": size(p.n_gpus * file),
                "Chunk files": f"{chunks:,}",
                "On disk": size(chunks * row_bytes["file"]),
                "Collected": size(plan.work.runs * row_bytes["row"]),
            }
        )
    return pd.DataFrame(rows)


def result_bytes(rows: pd.DataFrame, runs_per_chunk: int) -> dict[str, float]:
    """Return bytes on disk of a collected row ("row") and of a chunk's file ("file"), by writing them.

    Parameters
    ----------
    rows : of the archive; as many as a chunk has are written as one, and all as a collected table.
    """
    part = rows.iloc[:runs_per_chunk]
    return {
        "row": _parquet(rows) / len(rows),
        "file": _parquet(part) * max(1.0, runs_per_chunk / len(part)),
    }


def _parquet(rows: pd.DataFrame) -> int:
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    return buffer.getbuffer().nbytes
