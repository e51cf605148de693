"""The archived tables: complete, unaltered, and still what this code computes.

Which rows are trained again changes with the table and with the week, so that many are looked at in time, and
a failure of this week comes again on every machine of this week.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisylib.seeding import numpy_generator
from noisylib.study import StudyConfig, collect, load_config, plan_study
from noisylib.study.archive import load_archive
from noisylib.study.plan import checksums, run_ids
from noisylib.study.rerun import Rerun, chunks_holding, retrain
from noisylib.study.tables import COLUMNS

ROOT = Path(__file__).parents[2]
ARCHIVE, ARMS = ROOT / "results" / "archive.parquet", ROOT / "results" / "arms.parquet"
CONFIGS = {
    ARCHIVE: [ROOT / "configs" / "archive.yaml"],
    ARMS: sorted((ROOT / "configs" / "arms").glob("*.yaml")),
}

# Sets whose runs take a fraction of a second, and how many stored seconds of them are trained again.
SMALL = ("breastmnist", "retinamnist")
BUDGET = 8.0

# Other processors sum in another order, and so do banks of another width: the table was made with up to 32
# heads in one. Of rows on small test sets, one image more or less in one of the ten scored epochs is up to
# 1e-2 / class size, and training amplifies what it starts from.
ROW, MEAN = 0.03, 0.003

needs = [
    pytest.param(
        path, marks=pytest.mark.skipif(not path.is_file(), reason=f"no {path.name} here; make archive")
    )
    for path in (ARCHIVE, ARMS)
]


@pytest.mark.parametrize("path", needs)
def test_a_table_holds_exactly_the_runs_of_its_studies(path: Path) -> None:
    rows, provenance = load_archive(path)  # checks digest, columns, duplicates and NaN
    assert list(rows.columns) == list(COLUMNS)
    studies = [load_config(config) for config in CONFIGS[path]]
    assert list(provenance["studies"]) == [study.name for study in studies]
    for study in studies:
        entry, of_study = provenance["studies"][study.name], rows[rows.study == study.name]
        sums = checksums(study.load_banks())
        assert list(of_study.run_id) == list(run_ids(study, sums).values())
        assert entry["digest"] == study.digest
        assert entry["runs"] == len(of_study)
        assert entry["core_seconds"] == pytest.approx(of_study.seconds.sum(), abs=0.051)
        for (dataset, backbone), checksum in sums.items():
            assert provenance["banks"][f"{dataset}-{backbone}"] == checksum
        plan = plan_study(study, ROOT / "results", create=False)
        assert plan.missing == 0
    assert (rows.seed == rows.seed_train).all()
    for column in ("accuracy", "balanced_accuracy", "realised_rate"):
        assert rows[column].between(0, 1).all()
    mean_recall = [np.mean(recall) for recall in rows.recall]
    np.testing.assert_allclose(mean_recall, rows.balanced_accuracy, atol=1e-6)


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="no archive.parquet here; make archive")
def test_the_archive_is_the_full_grid_of_6000_runs() -> None:
    rows, _ = load_archive(ARCHIVE)
    assert len(rows) == 6000
    condition = ["dataset", "backbone", "noise_type", "noise_rate"]
    assert [rows[name].nunique() for name in condition] == [5, 3, 2, 5]
    assert rows.groupby(condition).ngroups == 150
    assert rows.method.nunique() == 8
    cells = rows.groupby([*condition, "method"]).seed.agg(["size", "nunique"])
    assert len(cells) == 1200
    assert (cells == 5).all(axis=None)
    assert not rows.duplicated([*condition, "method", "seed"]).any()
    assert set(rows["head"]) == {"adapter"}


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="no archive.parquet here; make archive")
def test_rows_of_the_archive_come_out_again() -> None:
    _, provenance = load_archive(ARCHIVE)
    config = replace(load_config(CONFIGS[ARCHIVE][0]), datasets=SMALL)
    table = collect(config, ROOT / "results")
    again, drawn_by = _sample(config, table, provenance["sha256"])
    _judge(again, f"drawn by {drawn_by}\n{again.listing()}\n{again.summary()}")


def _sample(config: StudyConfig, table: pd.DataFrame, digest: str) -> tuple[Rerun, str]:
    """Train chunks of a draw that changes with table and week again, as many as fit into the budget."""
    year, week, _ = datetime.now(UTC).isocalendar()
    seconds = table.set_index("run_id").seconds
    chunks = chunks_holding(config, set(table.run_id), "cpu", None)
    left, picked = BUDGET, []
    for i in numpy_generator("archive rows", digest, year, week).permutation(len(chunks)):
        cost = seconds[list(chunks[i].run_ids)].sum()
        if cost <= left:
            left -= cost
            picked.append(chunks[i].run_ids[0])
    return retrain(config, table, picked, jobs=1, device="cpu"), f"{digest[:12]}, {year} week {week}"


def _judge(again: Rerun, told: str) -> None:
    assert again.largest <= ROW, told
    assert again.rows.difference.abs().mean() <= MEAN, told


def test_the_comparison_finds_what_it_is_for() -> None:
    """On rows of its own, so that it is seen to fail before there is an archive, and after."""
    rows = pd.DataFrame({"difference": [0.0] * 9 + [0.02], "drawn": True, "equal": False})
    again = Rerun(rows, "a", "b")
    _judge(again, "")
    for bad in ([0.0] * 9 + [0.04], [0.004] * 10):
        with pytest.raises(AssertionError, match="which week"):
            _judge(replace(again, rows=rows.assign(difference=bad)), "which week")
