"""Studies on scikit-learn's tables: resume, kill, other configurations, full disks, corrupted files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from blobs import blobs
from pandas.testing import assert_frame_equal
from tinystudy import CONFIG, run

from noisylib import parts
from noisylib.errors import BankError, ConfigError, NoisylibError, WriteError
from noisylib.features.bank import BankMeta, FeatureBank, bank_path, load_bank
from noisylib.noise import inject
from noisylib.study import collect, inputs, plan_study, run_study, runner
from noisylib.study.config import parse_config
from noisylib.study.inputs import run_noise
from noisylib.study.runner import run_chunk
from noisylib.study.store import ResultStore
from noisylib.training import train_bank


def untimed(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def test_rows_are_what_train_bank_says(tmp_path) -> None:
    run(tmp_path)
    table = collect(CONFIG, tmp_path)
    assert len(table) == 16
    row = table[
        (table.method == "coteaching") & (table.noise_type == "asymmetric") & (table.noise_rate == 0.3)
    ].iloc[1]
    bank = load_bank("breast_cancer", "raw")
    X, y = bank.part("train")
    noise = inject(y, "asymmetric", 0.3, n_classes=2, seed=1, dataset="breast_cancer", class_map={0: 1})
    assert row.realised_rate == noise.realised_rate
    alone = train_bank(
        X, noise.y_noisy, *bank.part("test"), n_classes=2, method="coteaching", seeds=[1],
        noise_rates=[noise.realised_rate], recipe=CONFIG.recipe,
    )  # fmt: skip
    assert row.balanced_accuracy == pytest.approx(alone.balanced_accuracy[0], abs=0.02)
    np.testing.assert_allclose(row.recall, alone.recall[0], atol=0.05)
    assert (row.seed_noise, row.seed_train, row["head"], row.study) == (1, 1, "adapter", "tiny")


def test_workers_hand_over_realised_rates_and_training_seeds(tmp_path, monkeypatch) -> None:
    seen = []

    def spy(*arguments, **more):
        seen.append(more)
        return train_bank(*arguments, **more)

    monkeypatch.setattr(runner, "train_bank", spy)
    run(tmp_path, replace(CONFIG, noise_rates=(0.3,)))
    y = load_bank("breast_cancer", "raw").part("train")[1]
    for call in seen:
        assert call["seeds"] == [0, 0, 1, 1]
        # All of malignant (class 0) flip at 0.3, or all of both classes, rounded to whole samples.
        flips = [round(0.3 * (y == 0).sum()) + round(0.3 * (y == 1).sum()), round(0.3 * (y == 0).sum())]
        np.testing.assert_allclose(call["noise_rates"], np.array(flips * 2) / len(y), atol=1.5 / len(y))


def test_workers_hand_over_what_methods_are_told_and_views(tmp_path, monkeypatch) -> None:
    seen = []

    def spy(*arguments, **more):
        seen.append(more)
        return train_bank(*arguments, **more)

    monkeypatch.setattr(runner, "train_bank", spy)
    run(tmp_path, replace(CONFIG, methods=parse_config(_grid("dividemix", "wann")).methods))
    told = next(call for call in seen if call["method"].name == "dividemix")
    assert told["noise_types"] == ["symmetric", "symmetric", "asymmetric"] * 2
    y = load_bank("breast_cancer", "raw").part("train")[1]
    flipped = round(0.3 * (y == 0).sum()) / (y == 0).sum()
    np.testing.assert_allclose(told["transitions"][2], [[1 - flipped, flipped], [0, 1]], atol=1e-12)
    assert told["views"] is None
    table = collect(replace(CONFIG, methods=parse_config(_grid("dividemix", "wann")).methods), tmp_path)
    assert set(table.loc[table.method == "dividemix", "views"]) == {"feature dropout"}
    assert set(table.loc[table.method == "wann", "views"]) == {""}
    assert set(table.loc[table.method == "wann", "head"]) == {"none"}


def _grid(*methods: str) -> dict:
    return {
        "name": "tiny", "datasets": ["breast_cancer"], "backbones": ["raw"], "noise_types": ["symmetric"],
        "noise_rates": [0.3], "methods": list(methods), "seeds": [0],
    }  # fmt: skip


def test_labels_that_do_not_suffice_end_a_study_before_it_starts(tmp_path) -> None:
    """Four samples of class 1 in five folds: said when the study is planned, not in mid-run."""
    X, y = blobs(60, 3, 5)
    y[y == 1] = 0
    y[:4] = 1
    split = np.r_[np.zeros(50, np.uint8), np.full(10, 2, np.uint8)]
    y[50:] = np.arange(10) % 3
    bank = FeatureBank.from_arrays(X, y, split, ["a", "b", "c"], BankMeta("mine", "own"))
    bank.save(tmp_path / "mine-own.safetensors")
    config = parse_config(
        {**_grid("ce", "forward"), "datasets": ["mine"], "backbones": ["own"], "noise_rates": [0.0]}
    )
    with pytest.raises(NoisylibError, match="class 1 only 4 times"):
        plan_study(config, tmp_path / "results", banks=tmp_path)
    assert not list((tmp_path / "results").rglob("*.parquet"))


def test_a_bank_with_too_few_views_ends_a_study_before_it_starts(tmp_path) -> None:
    X, y = blobs(60, 3, 5)
    split = np.r_[np.zeros(50, np.uint8), np.full(10, 2, np.uint8)]
    views = np.repeat(X[None, :50], 2, axis=0)
    bank = FeatureBank.from_arrays(X, y, split, ["a", "b", "c"], BankMeta("mine", "own"), views=views)
    bank.save(tmp_path / "mine-own.safetensors")
    grid = {"datasets": ["mine"], "backbones": ["own"], "recipe": {"epochs": 2, "score_epochs": 1}}
    with pytest.raises(NoisylibError, match="views holds 2 versions of each sample, method 'unicon' needs 4"):
        plan_study(parse_config({**_grid("ce", "unicon"), **grid}), tmp_path / "results", banks=tmp_path)
    config = parse_config({**_grid("ce", "dividemix"), **grid})
    run_study(plan_study(config, tmp_path / "results", banks=tmp_path), tmp_path / "results", banks=tmp_path)
    table = collect(config, tmp_path / "results", banks=tmp_path)
    assert list(table.views) == ["", "cached"]


def test_noise_is_shared_by_methods_heads_and_training_seeds() -> None:
    bank = load_bank("breast_cancer", "raw")
    first = next(r for r in CONFIG.runs() if r.noise_rate == 0.3)
    labels = run_noise(first, bank).y_noisy
    for change in (
        {"seed_train": 9},
        {"head": "linear"},
        {"method": CONFIG.methods[1]},
        {"backbone": "other"},
    ):
        np.testing.assert_array_equal(run_noise(replace(first, **change), bank).y_noisy, labels)
    assert (run_noise(replace(first, seed_noise=9), bank).y_noisy != labels).any()


def test_runs_with_equal_labels_are_trained_once(tmp_path, monkeypatch) -> None:
    """Rate 0 is the same under both noise types: 8 runs of a chunk are 6 trainings, and 8 rows."""
    widths = []

    def spy(X, y, *arguments, **more):
        widths.append(len(y))
        return train_bank(X, y, *arguments, **more)

    monkeypatch.setattr(runner, "train_bank", spy)
    run(tmp_path)
    assert widths == [6, 6]
    table = collect(CONFIG, tmp_path).set_index(["method", "seed_train", "noise_type", "noise_rate"])
    for method in ("ce", "coteaching"):
        for seed in (0, 1):
            clean = table.loc[(method, seed)].xs(0.0, level="noise_rate")
            assert clean.accuracy.nunique() == 1
            noisy = table.loc[(method, seed)].xs(0.3, level="noise_rate")
            assert noisy.run_id.nunique() == 2


def test_a_finished_study_has_nothing_left_and_a_second_run_writes_nothing(tmp_path) -> None:
    run(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "tiny").glob("*.parquet")}
    assert run(tmp_path).missing == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "tiny").glob("*.parquet")} == before


def test_only_the_missing_runs_are_done_and_the_table_is_the_same(tmp_path) -> None:
    run(tmp_path / "a")
    whole = collect(CONFIG, tmp_path / "a")
    plan = plan_study(CONFIG, tmp_path / "b")
    assert len(plan.chunks) == 2
    run_study(replace(plan, chunks=plan.chunks[:1]), tmp_path / "b")
    again = plan_study(CONFIG, tmp_path / "b")
    assert [c.run_ids for c in again.chunks] == [c.run_ids for c in plan.chunks[1:]]
    with pytest.raises(ConfigError, match="holds 8 of the 16 runs"):
        collect(CONFIG, tmp_path / "b")
    assert len(collect(CONFIG, tmp_path / "b", partial=True)) == 8
    run(tmp_path / "b")
    assert_frame_equal(untimed(collect(CONFIG, tmp_path / "b")), untimed(whole))


def test_processes_and_one_process_agree(tmp_path) -> None:
    run(tmp_path / "one")
    run_study(plan_study(CONFIG, tmp_path / "two"), tmp_path / "two", jobs=2)
    assert_frame_equal(untimed(collect(CONFIG, tmp_path / "one")), untimed(collect(CONFIG, tmp_path / "two")))


def test_a_worker_that_was_killed_is_named_and_finished_chunks_stay(tmp_path, monkeypatch) -> None:
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def one_then_dead(*_, **__):
        def parallel(work):
            function, arguments, more = next(iter(work))
            yield function(*arguments, **more)
            raise TerminatedWorkerError("exit codes {SIGKILL(-9)}")

        return parallel

    monkeypatch.setattr(joblib, "Parallel", one_then_dead)
    with pytest.raises(NoisylibError, match="fewer --jobs than 2"):
        run_study(plan_study(CONFIG, tmp_path), tmp_path, jobs=2)
    monkeypatch.undo()
    assert plan_study(CONFIG, tmp_path).missing == 8


def test_kill_in_the_middle_of_a_chunk_loses_only_that_chunk(tmp_path) -> None:
    """SIGKILL while the second chunk trains; the next run does that chunk and no other."""
    run(tmp_path / "whole")
    script = (
        "import os, signal\n"
        "from tinystudy import CONFIG\n"
        "from noisylib.study import plan_study, run_study, runner\n"
        "train, calls = runner.train_bank, []\n"
        "def second_call_dies(*args, **more):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 2:\n"
        "        more['progress'] = lambda done, of: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return train(*args, **more)\n"
        "runner.train_bank = second_call_dies\n"
        f"run_study(plan_study(CONFIG, {str(tmp_path / 'cut')!r}), {str(tmp_path / 'cut')!r})\n"
    )
    paths = os.pathsep.join(str(folder) for folder in (*Path(__file__).parents[:3],))
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(collect(CONFIG, tmp_path / "cut", partial=True)) == 8
    assert run(tmp_path / "cut").missing == 8
    assert_frame_equal(
        untimed(collect(CONFIG, tmp_path / "cut")), untimed(collect(CONFIG, tmp_path / "whole"))
    )


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch) -> None:
    def full(frame, path, **more):
        Path(path).write_bytes(b"PAR1 half a file")
        raise OSError(28, "No space left on device")

    plan = plan_study(CONFIG, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(NoisylibError, match=r"No space left.*run the same command"):
            run_study(plan, tmp_path)
    assert sorted(p.name for p in (tmp_path / "tiny").iterdir()) == ["study.json"]
    run(tmp_path)
    assert len(collect(CONFIG, tmp_path)) == 16


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_file_that_the_system_refuses_ends_a_study_that_goes_on_later(tmp_path) -> None:
    """As on a full disk, but by the system: no file may grow over 6 kB, and a chunk has more."""
    script = (
        "import resource, signal\n"
        "from tinystudy import CONFIG\n"
        "from noisylib.errors import WriteError\n"
        "from noisylib.study import plan_study, run_study\n"
        f"folder = {str(tmp_path)!r}\n"
        "plan = plan_study(CONFIG, folder)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = lambda chunk, seconds: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "try:\n"
        "    run_study(plan, folder, on_chunk=limit)\n"
        "except WriteError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert "Finished chunks are safe: run the same command again." in done.stdout, done.stderr
    assert len(collect(CONFIG, tmp_path, partial=True)) == 8
    assert not list((tmp_path / "tiny").glob(".*"))
    assert run(tmp_path).missing == 8
    assert len(collect(CONFIG, tmp_path)) == 16


def test_a_folder_of_another_configuration_is_refused_and_can_be_extended(tmp_path) -> None:
    run(tmp_path)
    longer = replace(CONFIG, seeds=(0, 1, 2))
    with pytest.raises(ConfigError, match=r"another configuration; they differ in seeds\. .*--extend"):
        plan_study(longer, tmp_path)
    plan = plan_study(longer, tmp_path, extend=True)
    assert (plan.total, plan.missing) == (24, 8)
    run_study(plan, tmp_path)
    table = collect(longer, tmp_path)
    assert sorted(set(table.seed_train)) == [0, 1, 2]
    assert plan_study(longer, tmp_path).missing == 0


OWN = {
    "name": "own", "datasets": ["mine"], "backbones": ["model"], "noise_types": ["symmetric", "pairflip"],
    "noise_rates": [0.4], "methods": ["elr"], "seeds": [0], "recipe": {"epochs": 2, "score_epochs": 1},
}  # fmt: skip


def own_bank(folder: Path, classes: list[str], name: str = "mine", file: str = "") -> None:
    X, y = blobs(120, len(classes), 5)
    bank = FeatureBank.from_arrays(X, y, np.arange(120) % 2 * 2, classes, BankMeta(name, "model"))
    bank.save(folder / f"{file or name}-model.safetensors")


def test_a_bank_of_your_own_can_be_studied(tmp_path) -> None:
    own_bank(tmp_path, ["a", "b", "c"])
    config = parse_config(OWN)
    plan = plan_study(config, tmp_path / "results", banks=tmp_path)
    run_study(plan, tmp_path / "results", banks=tmp_path)
    assert len(collect(config, tmp_path / "results", banks=tmp_path)) == 2
    for change, message in (
        ({"noise_types": ["asymmetric"]}, "'mine', which is not in the catalogue"),
        ({"noise_types": ["symmetric"], "noise_rates": [0.7]}, r"noise_rate=0.7 is outside \[0, 0.666667\)"),
        ({"datasets": ["mne"]}, "Did you mean 'mine'"),
    ):
        with pytest.raises(NoisylibError, match=message):
            plan_study(parse_config({**OWN, **change}), tmp_path / "other", banks=tmp_path)
    assert not (tmp_path / "other").exists()


def test_class_maps_go_by_name_not_by_number(tmp_path) -> None:
    own_bank(tmp_path, ["vasc", "nv", "mel", "df", "bkl", "bcc", "akiec"], "ham10000")
    asymmetric = {**OWN, "datasets": ["ham10000"], "noise_types": ["asymmetric"]}
    config = parse_config(asymmetric)
    labels = run_noise(config.runs()[0], load_bank("ham10000", "model", tmp_path))
    expected = {
        (1, 2),
        (2, 1),
        (4, 5),
        (5, 4),
        (0, 3),
        (3, 0),
        (6, 5),
    }  # nv-mel, bkl-bcc, df-vasc, akiec to bcc
    off = {(i, j) for i, j in zip(*labels.T.nonzero(), strict=True) if i != j}
    assert off == expected
    own_bank(tmp_path, ["x", "y"], "pbc")
    with pytest.raises(NoisylibError, match="not among the classes x, y"):
        plan_study(parse_config({**asymmetric, "datasets": ["pbc"]}), tmp_path / "r", banks=tmp_path)


def test_a_renamed_bank_is_refused(tmp_path) -> None:
    own_bank(tmp_path, ["a", "b"], "mine", file="yours")
    with pytest.raises(NoisylibError, match="holds the bank mine-model"):
        load_bank("yours", "model", tmp_path)


def test_labels_of_rows_follow_the_configuration(tmp_path) -> None:
    run(tmp_path)
    renamed = replace(CONFIG, methods=(replace(CONFIG.methods[0], label="plain"), CONFIG.methods[1]))
    assert plan_study(renamed, tmp_path, extend=True).missing == 0
    assert set(collect(renamed, tmp_path).method) == {"plain", "coteaching"}


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(WriteError, match=r"cannot write .*study.json"):
        plan_study(CONFIG, blocked)


def test_a_plan_alone_writes_nothing(tmp_path) -> None:
    plan_study(CONFIG, tmp_path / "new", create=False)
    assert not (tmp_path / "new").exists()


def test_a_damaged_chunk_is_named(tmp_path) -> None:
    run(tmp_path)
    chunk = next((tmp_path / "tiny").glob("*ce*.parquet"))
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(NoisylibError, match=rf"{chunk.name} is not a readable results file.*Delete it"):
        plan_study(CONFIG, tmp_path)
    chunk.unlink()
    assert 0 < run(tmp_path).missing < 16


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    old, young = folder / ".a.parquet.x.part", folder / ".b.parquet.y.part"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    ResultStore(CONFIG, tmp_path).open()
    assert not old.exists()
    assert young.exists()


def test_copied_chunks_merge(tmp_path) -> None:
    for part, seeds in (("a", (0,)), ("b", (1,))):
        run(tmp_path / part, replace(CONFIG, seeds=seeds))
    target = tmp_path / "merged" / "tiny"
    target.mkdir(parents=True)
    for part in "ab":
        for path in (tmp_path / part / "tiny").glob("*.parquet"):
            (target / path.name).write_bytes(path.read_bytes())
    assert plan_study(CONFIG, tmp_path / "merged").missing == 0


def test_chunks_hold_whole_seeds_and_what_a_core_trains_at_once(tmp_path, monkeypatch) -> None:
    # An adapter of width 4 on 30 features and 2 classes has 302 parameters and 10 activations a sample; four
    # copies of the one and a batch of the other are 9,952 bytes, twice that for two networks.
    monkeypatch.setattr(parts, "CPU_STEP_BYTES", 20 * 9_952)
    wide = replace(CONFIG, seeds=tuple(range(10)), noise_rates=(0.0, 0.1, 0.2, 0.3, 0.4))
    sizes = {"ce": [], "coteaching": []}
    for chunk in plan_study(wide, tmp_path, create=False).chunks:
        assert set(Counter(run.seed_train for run in chunk.runs).values()) == {10}
        sizes[chunk.runs[0].method.name].append(len(chunk.runs))
    assert sizes == {"ce": [20] * 5, "coteaching": [10] * 10}
    assert len(plan_study(wide, tmp_path, create=False, device="cuda").chunks) == 2


def test_study_json_records_the_configuration(tmp_path) -> None:
    run(tmp_path)
    record = json.loads((tmp_path / "tiny" / "study.json").read_text())
    assert record["digest"] == CONFIG.digest
    assert record["config"]["recipe"]["epochs"] == 2


def test_a_bank_that_was_replaced_is_not_trained_under_the_old_id(tmp_path) -> None:
    """A worker that outlives a command reads the new file, and one that finds another bank says so."""
    config = replace(
        CONFIG,
        datasets=("mine",),
        backbones=("own",),
        methods=CONFIG.methods[:1],
        seeds=(0,),
        noise_types=("symmetric",),
    )
    path = bank_path("mine", "own", tmp_path)

    def made(seed: int) -> FeatureBank:
        X, y = blobs(60, 2, 3, seed=seed)
        return FeatureBank.from_arrays(X, y, [0] * 40 + [2] * 20, ["a", "b"], BankMeta("mine", "own"))

    made(0).save(path)
    old = plan_study(config, tmp_path / "old", banks=tmp_path)
    rows = [run_chunk(chunk, str(tmp_path), "cpu") for chunk in old.chunks]
    made(1).save(path)
    new = plan_study(config, tmp_path / "new", banks=tmp_path)
    assert [run_chunk(chunk, str(tmp_path), "cpu") for chunk in new.chunks] != rows
    inputs._read_bank.cache_clear()
    with pytest.raises(BankError, match="another bank, or was replaced"):
        run_chunk(old.chunks[0], str(tmp_path), "cpu")


def test_a_precision_that_the_device_lacks_is_refused_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(NoisylibError, match="tf32 is of NVIDIA GPUs"):
        plan_study(replace(CONFIG, precision="tf32"), tmp_path)
    assert not list(tmp_path.iterdir())
