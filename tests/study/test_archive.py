"""Collected tables: what is written, what counts as done, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tinystudy import CONFIG, run

from noisylib.errors import ConfigError, MissingDataError, NoisylibError
from noisylib.features.bank import load_bank
from noisylib.files import file_digest
from noisylib.study import archive, collect, config, plan_study, run_study, store
from noisylib.study.archive import collect_archive, load_archive
from noisylib.study.tables import COLUMNS, check_rows

ARM = replace(CONFIG, name="arm", seeds=(5,))
VARIANT = replace(CONFIG, name="variant", recipe=replace(CONFIG.recipe, width=5), seeds=(0,))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return a results folder with three finished studies and no table."""
    results = tmp_path_factory.mktemp("finished")
    for study in (CONFIG, ARM, VARIANT):
        run(results, study)
    return results


@pytest.fixture
def results(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


@pytest.fixture
def clone(results, tmp_path) -> Path:
    """Return a results folder that has the table of one study and no chunk file, as a fresh clone."""
    collect_archive([CONFIG], results / "archive.parquet", results=results)
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("archive.parquet", "archive.json"):
        shutil.copy(results / name, folder / name)
    return folder


def test_a_table_stands_for_its_chunk_files(results, clone) -> None:
    plan = plan_study(CONFIG, clone)
    assert (plan.total, plan.missing) == (16, 0)
    assert_frame_equal(collect(CONFIG, clone), collect(CONFIG, results))
    assert list(collect(CONFIG, clone).columns) == list(COLUMNS)
    longer = replace(CONFIG, seeds=(0, 1, 2))
    plan = plan_study(longer, clone, extend=True)
    assert plan.missing == 8
    run_study(plan, clone)
    assert sorted(set(collect(longer, clone).seed)) == [0, 1, 2]


def test_rows_of_a_table_count_for_the_study_they_name(clone) -> None:
    """The same runs under another study's name are that study's to train."""
    assert plan_study(replace(CONFIG, name="other"), clone).missing == 16


def test_a_chunk_file_goes_before_a_table(results, clone) -> None:
    shutil.copytree(results / "tiny", clone / "tiny")
    path = next((clone / "tiny").glob("*-ce-*.parquet"))
    pd.read_parquet(path).assign(seconds=77.0).to_parquet(path)
    assert (collect(CONFIG, clone).query("method == 'ce'").seconds == 77).all()


def test_what_a_table_and_its_provenance_say(results) -> None:
    out = results / "arms.parquet"
    rows, written = collect_archive([ARM, VARIANT], out, results=results)
    assert written
    loaded, provenance = load_archive(out)
    assert_frame_equal(loaded, rows)
    assert list(loaded.columns) == list(COLUMNS)
    assert list(loaded.study) == ["arm"] * 8 + ["variant"] * 8
    assert (loaded.seed == loaded.seed_train).all()
    assert loaded.recall.map(len).eq(2).all()
    assert provenance["runs"] == 16
    assert provenance["sha256"] == file_digest(out)
    assert provenance["banks"] == {"breast_cancer-raw": load_bank("breast_cancer", "raw").checksum}
    assert provenance["results_version"] == config.RESULTS_VERSION
    arm = provenance["studies"]["arm"]
    assert arm["digest"] == ARM.digest
    assert arm["config"]["seeds"] == [5]
    assert arm["core_seconds"] == pytest.approx(loaded.seconds[:8].sum(), abs=0.0011)
    (session,) = arm["sessions"]
    assert (session["runs"], session["jobs"]) == (8, 1)
    assert session["device"] in provenance["device"]
    logs = [json.loads((results / name / "log.json").read_text()) for name in ("arm", "variant")]
    wall = sum(entry["seconds"] for log in logs for entry in log)
    assert provenance["wall_seconds"] == pytest.approx(wall, abs=0.0011)
    assert provenance["trained_with"]["torch"] == sorted(set(loaded.torch_version))


def test_a_table_that_is_up_to_date_keeps_its_provenance(clone) -> None:
    """A clone has no log; collecting there must not lose how long training took."""
    before = {path: path.read_bytes() for path in clone.iterdir()}
    time.sleep(0.01)
    _, written = collect_archive([CONFIG], clone / "archive.parquet", results=clone)
    assert not written
    assert {path: path.read_bytes() for path in clone.iterdir()} == before
    longer = replace(CONFIG, seeds=(0, 1, 2))
    run_study(plan_study(longer, clone, extend=True), clone)
    _, written = collect_archive([longer], clone / "archive.parquet", results=clone)
    assert written
    rows, provenance = load_archive(clone / "archive.parquet")
    assert [s["runs"] for s in provenance["studies"]["tiny"]["sessions"]] == [16, 8]
    assert len(rows) == 24


def test_a_table_does_not_lose_runs_to_a_smaller_one(clone, monkeypatch) -> None:
    before = (clone / "archive.parquet").read_bytes()
    with pytest.raises(ConfigError, match=r"archive.parquet holds 8 runs that are not among the 8 .*--out"):
        collect_archive([replace(CONFIG, seeds=(0,))], clone / "archive.parquet", results=clone)
    monkeypatch.setattr(config, "RESULTS_VERSION", 99)
    with pytest.raises(ConfigError, match="holds 16 runs that are not among the 0 collected now"):
        collect_archive([CONFIG], clone / "archive.parquet", results=clone, partial=True)
    assert (clone / "archive.parquet").read_bytes() == before


def test_a_study_that_was_extended_stays_so_before_it_is_collected_again(clone) -> None:
    longer = replace(CONFIG, seeds=(0, 1, 2))
    run_study(plan_study(longer, clone, extend=True), clone)
    assert plan_study(longer, clone).missing == 0
    with pytest.raises(ConfigError, match="differ in seeds"):
        plan_study(replace(CONFIG, seeds=(0, 1, 2, 3)), clone)


def test_a_csv_copy_leaves_the_provenance_of_the_table_alone(clone) -> None:
    rows, _ = collect_archive([CONFIG], clone / "archive.csv", results=clone)
    assert len(pd.read_csv(clone / "archive.csv")) == len(rows) == 16
    load_archive(clone / "archive.parquet")


def test_a_table_of_another_version_is_counted_and_explained(clone, monkeypatch, caplog) -> None:
    monkeypatch.setattr(config, "RESULTS_VERSION", 99)
    monkeypatch.setattr(store, "RESULTS_VERSION", 99)
    says = r"16 of the 16 rows of study 'tiny' in .*archive\.parquet belong to another version"
    with caplog.at_level(logging.WARNING):
        assert plan_study(CONFIG, clone, create=False).missing == 16
    assert "do not count: training has changed (results version 2 then, 99 now)" in caplog.text
    with pytest.raises(ConfigError, match=f"holds 0 of the 16 runs .*{says}"):
        collect(CONFIG, clone)


def test_a_changed_bank_is_named(clone, caplog) -> None:
    path = clone / "archive.parquet"
    table, record = pd.read_parquet(path), json.loads(path.with_suffix(".json").read_text())
    table.loc[table.method == "ce", "run_id"] = [f"{i:016x}" for i in range(8)]
    table.to_parquet(path, index=False)
    record |= {"banks": {"breast_cancer-raw": "0" * 64}, "sha256": file_digest(path)}
    path.with_suffix(".json").write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING):
        assert plan_study(CONFIG, clone, create=False).missing == 8
    assert "8 of the 16 rows of study 'tiny'" in caplog.text
    assert "the bank breast_cancer-raw has changed" in caplog.text


def test_a_table_of_another_configuration_is_refused_like_a_folder(clone) -> None:
    with pytest.raises(ConfigError, match=r"archive.parquet was written by .* differ in seeds\. .*--extend"):
        plan_study(replace(CONFIG, seeds=(0,)), clone)


def test_damaged_tables_are_named(clone) -> None:
    path = clone / "archive.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(NoisylibError, match=r"archive.parquet is not a readable table of runs"):
        plan_study(CONFIG, clone)
    table = pd.read_parquet(Path(clone.parent / "results" / "archive.parquet"))
    table.assign(balanced_accuracy=0.99).to_parquet(path, index=False)
    with pytest.raises(NoisylibError, match=r"archive.parquet has SHA-256 .* was changed or damaged"):
        plan_study(CONFIG, clone)
    path.write_bytes(whole)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(NoisylibError, match=r"archive.json is not a readable provenance file"):
        load_archive(path)
    path.with_suffix(".json").unlink()
    assert plan_study(CONFIG, clone).missing == 0  # a table of one's own needs no provenance
    with pytest.raises(MissingDataError, match=r"no file .*archive.json"):
        load_archive(path)
    pd.DataFrame({"x": [1]}).to_parquet(path)
    with pytest.raises(NoisylibError, match="has no column study, run_id, so it is no table of runs"):
        plan_study(CONFIG, clone)


def test_rows_that_may_not_be_archived(results) -> None:
    rows = collect(CONFIG, results)
    check_rows(rows, "x")
    twice = pd.concat([rows, rows.iloc[[3]]])
    with pytest.raises(
        NoisylibError, match=r"x: 2 rows share their run_id.*breast_cancer raw asymmetric 0.3 ce"
    ):
        check_rows(twice, "x")
    for column, value in (("accuracy", np.nan), ("seconds", np.inf), ("views", None)):
        bad = rows.copy()
        bad.loc[5, column] = value
        with pytest.raises(NoisylibError, match=r"x: 1 rows have NaN or no value: .* ce seed 1\."):
            check_rows(bad, "x")
    bad = rows.copy()
    bad.at[0, "recall"] = np.array([1.0, np.nan])
    with pytest.raises(NoisylibError, match="x: 1 rows have NaN"):
        check_rows(bad, "x")
    with pytest.raises(NoisylibError, match=r"columns are missing \(views\) or unknown \(sight\)"):
        check_rows(rows.rename(columns={"views": "sight"}), "x")


def test_studies_that_cannot_share_a_table(results) -> None:
    out = results / "t.parquet"
    with pytest.raises(ConfigError, match="two studies have one name"):
        collect_archive([CONFIG, CONFIG], out, results=results)
    same_runs = replace(CONFIG, name="copy")
    shutil.copytree(results / "tiny", results / "copy")
    with pytest.raises(NoisylibError, match="32 rows share their run_id"):
        collect_archive([CONFIG, same_runs], out, results=results)
    with pytest.raises(ConfigError, match=r"\.parquet or \.csv"):
        collect_archive([CONFIG], results / "t.xlsx", results=results)
    assert not list(results.glob("t.*"))


def test_the_commit_is_that_of_the_checkout_or_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(archive.noisylib, "__file__", str(tmp_path / "noisylib" / "__init__.py"))
    assert archive.commit() is None
    (tmp_path / ".git").mkdir()
    assert archive.commit() is None  # no repository that git can read
