"""The benchmark's peers compute what the bank computes, and its command writes what it promises."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from _tiny_extraction import tiny_backbone, tiny_images
from blobs import blobs

from noisylib.heads import HeadBank
from noisylib.recipe import Recipe
from noisylib.seeding import torch_generator
from noisylib.training import train_bank

K, D, N, R, SEED = 3, 6, 50, 4, 3
RECIPE = Recipe(
    epochs=3, batch_size=16, learning_rate=0.01, weight_decay=0.01, decay_at=(), score_epochs=1, width=5
)
PEERS = ("tight_loop", "dataloader_loop", "vmap_ensemble", "module_dict")
RATIOS = (
    *("speedup_tight", "speedup_dataloader", "speedup_vmap", "speedup_moduledict"),
    *("gemm_fraction", "gemm_fraction_plain", "two_process_speedup"),
)


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return module


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("head", ["adapter", "linear"])
def test_peer_trains_the_same_heads_as_the_bank(head: str, name: str, load) -> None:
    X, y = blobs(N, K, D)
    X = (X - X.mean(0)) / X.std(0)
    X_test, y_test = blobs(20, K, D, seed=1)
    Y = np.stack([np.roll(y, r) for r in range(R)])
    recipe = replace(RECIPE, standardise=False)
    more = {"recipe": recipe, "dtype": torch.float64, "device": "cpu", "seeds": [SEED] * R}
    expected = train_bank(X, Y, X_test, y_test, n_classes=K, method="ce", head=head, **more).test_logits

    peers = load("peers")
    start = HeadBank(head, [SEED], D, K, runs_per_seed=R, width=5, dtype=torch.float64)
    heads = peers.heads_like(start)
    orders = [
        torch.randperm(N, generator=torch_generator("batches", SEED, epoch)) for epoch in range(recipe.epochs)
    ]
    features = torch.as_tensor(X)
    getattr(peers, name)(heads, features, torch.as_tensor(Y), orders, recipe)
    with torch.no_grad():
        got = np.stack([head(torch.as_tensor(X_test)).numpy() for head in heads])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
    # The agreement is not that of heads that never moved.
    untrained = start.forward(start.prepare(torch.as_tensor(X_test)))[0, 0].numpy()
    assert np.abs(got - untrained).max() > 0.1


def test_timed_epochs_counts_the_second_epoch_of_every_run(load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of two epochs; the clock moves by 10 in a first epoch and by 1 in a second."""
    workload, now = load("workload"), 0.0
    monkeypatch.setattr(workload, "clock", lambda device: now)
    epochs = workload.TimedEpochs(N, torch.device("cpu"))
    for _run in range(2):
        for lasts, order in zip((10.0, 1.0), epochs, strict=True):
            assert sorted(order.tolist()) == list(range(N))
            now += lasts
    assert epochs.seconds == 2.0


@pytest.mark.parametrize("name", PEERS)
def test_peer_sets_up_before_it_asks_for_an_order(name: str, load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimisers, loaders and stacked parameters are no part of an epoch."""
    peers, (X, y), events = load("peers"), blobs(N, K, D), []

    def noted(what):
        def run(*args, **kwargs):
            events.append("made")
            return what(*args, **kwargs)

        return run

    for made in ("DataLoader", "stack_module_state", "_adam"):
        monkeypatch.setattr(peers, made, noted(getattr(peers, made)))

    class Orders:
        def __iter__(self):
            for _ in range(2):
                events.append("epoch")
                yield torch.arange(N)

    heads = peers.heads_like(HeadBank("adapter", [0], D, K, width=5, dtype=torch.float64))
    getattr(peers, name)(heads, torch.as_tensor(X), torch.as_tensor(y)[None], Orders(), RECIPE)
    assert events[0] == "made"
    assert events[-2:] == ["epoch", "epoch"]
    assert events.count("epoch") == 2


def test_extraction_is_measured_as_the_command_runs_it(load, tmp_path: Path, monkeypatch) -> None:
    extraction, seen = load("extraction"), []
    whole, bare = extraction.extract_features, extraction.forward

    def watched_whole(*args, **kwargs):
        seen.append(("whole", torch.get_num_threads()))
        bank = whole(*args, **kwargs)
        assert kwargs["out"].is_file()
        return bank

    def watched_bare(*args):
        seen.append(("bare", torch.get_num_threads()))
        return bare(*args)

    monkeypatch.setattr(extraction, "extract_features", watched_whole)
    monkeypatch.setattr(extraction, "forward", watched_bare)
    before = torch.get_num_threads()
    rates = extraction.measure(
        tiny_images(22), tiny_backbone(tmp_path), batch_size=8, rounds=2, threads=before + 1
    )
    # Batches of 8, 8 and 6: two sizes to warm, then two rounds, of which the second is turned round.
    names = ["bare"] * 2 + ["bare"] * 3 + ["whole"] + ["whole"] + ["bare"] * 3
    assert seen == [(name, before + 1) for name in names]
    assert torch.get_num_threads() == before
    bare_s, whole_s = (rates["extraction.seconds"][name] for name in ("bare", "whole"))
    ratios = [b / w for b, w in zip(bare_s, whole_s, strict=True)]
    assert rates["extraction.fraction_of_forward"] == pytest.approx(sum(ratios) / 2)
    assert rates["extraction.images_per_s"] == pytest.approx(22 / (sum(whole_s) / 2))
    assert rates["extraction.forward_images_per_s"] == pytest.approx(22 / (sum(bare_s) / 2))
    assert rates["extraction.setting"]["torch_threads"] == before + 1
    assert (rates["extraction.setting"]["images"], rates["extraction.setting"]["image_size"]) == (
        22,
        [40, 30],
    )


def test_made_images_are_of_the_official_size(load, tmp_path: Path) -> None:
    extraction = load("extraction")
    images = extraction.made_images(tmp_path, 70)
    assert len(images) == 70
    assert len(list(tmp_path.iterdir())) == 64
    assert images.image(69).size == (600, 450)
    part = extraction.first_images(images, 3)
    assert (part.keys, part.labels.tolist(), part.split.tolist()) == (("0", "1", "2"), [0, 1, 2], [1, 1, 1])


def test_the_bank_is_split_as_a_study_splits_it(load, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 runs of 5 seeds, in banks of as many whole seeds as `train_bank` trains at once."""
    workload = load("workload")
    work = workload.Workload(workload.Setting(n_samples=10), torch.device("cpu"))
    for at_once, chunks in ((32, [[0, 1, 2], [3, 4]]), (10, [[0], [1], [2], [3], [4]]), (3, [[0]])):
        monkeypatch.setattr(workload, "runs_at_once", lambda *args, n=at_once, **kwargs: n)
        assert work.chunks()[: len(chunks)] == chunks


def test_the_second_epoch_of_every_part_is_timed(load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts report two epochs each; the clock moves by 10 in a first epoch and by 1 in a second."""
    workload, now = load("workload"), 0.0
    monkeypatch.setattr(workload, "clock", lambda device: now)

    def train_bank(*args, progress, seeds, **kwargs) -> None:
        nonlocal now
        assert seeds == [4, 4, 7, 7]
        for lasts in (10.0, 1.0) * 2:
            now += lasts
            progress()

    monkeypatch.setattr(workload, "train_bank", train_bank)
    work = workload.Workload(workload.QUICK, torch.device("cpu"))
    assert work.train([4, 7]) == 2.0


def test_a_single_bank_trains_what_train_bank_trains(load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second epoch is timed, scores included; the bank is not split."""
    workload, seen = load("workload"), []

    class Watched(workload.Recorder):
        def after_epoch(self, epoch: int) -> None:
            super().after_epoch(epoch)
            seen.append((self.bank.y.shape[:2], self.bank.networks.parameters[0].clone()))

    monkeypatch.setattr(workload, "Recorder", Watched)
    monkeypatch.setattr("noisylib.training.Recorder", Watched)
    work = workload.Workload(workload.QUICK, torch.device("cpu"))
    assert work.train_at_once([0, 1], 2) > 0
    work.train([0, 1])
    shapes, parameters = zip(*seen, strict=True)
    assert shapes == ((2, 2),) * 4
    assert torch.equal(parameters[1], parameters[3])
    assert not torch.equal(parameters[0], parameters[1])


def test_flops_of_an_epoch_by_hand(load) -> None:
    """N = 10 in batches of 4: two of 4 samples and one of 2. D = 3, K = 2, width 64."""
    workload = load("workload")
    setting = workload.Setting(n_features=3, n_classes=2, n_samples=10, batch_size=4, seeds=1)
    work = workload.Workload(setting, torch.device("cpu"))
    # A sample: V twice, W twice, and the hidden layer's part of the logits three times.
    sample = 2 * (2 * 3 * 64 + 2 * 3 * 2 + 3 * 64 * 2)
    assert work.plain_flops_per_head_epoch() == 10 * sample
    fold = 3 * 2 * 2 * 3 * 64  # W U and its two gradients
    assert work.flops_per_head_epoch() == 10 * sample + 3 * fold


def test_rounds_time_every_case_equally_often(load) -> None:
    heads = load("heads")
    case = heads.Case("made", 4, iter([8.0, 2.0, 4.0]).__next__)
    for _ in range(3):
        case.measure()
    assert case.seconds == [2.0, 0.5, 1.0]
    assert case.median == 1.0
    assert [case.summary()[key] for key in ("min", "median", "max")] == [0.5, 1.0, 2.0]


def test_quick_run_writes_every_key(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--device", "cpu", "--out", str(out)]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    results = json.loads(out.read_text())
    for key in RATIOS:
        value = results[f"heads.{key}"]
        assert math.isfinite(value), key
        assert value > 0, key
    for name in ("bank", "tight", "dataloader", "vmap", "moduledict"):
        row = results["heads.seconds_per_head_epoch"][name]
        assert 0 < row["min"] <= row["median"] <= row["max"], name
        assert len(row["all"]) == results["heads.setting"]["repeats"]
        assert row["title"] in shown
    assert list(results["measured"]) == ["heads"]
    facts = results["measured"]["heads"]
    assert facts["quick"] is True
    assert facts["seconds"] > 0
    assert facts["machine"]["torch"] == torch.__version__
    assert facts["machine"]["torch_threads"] == 1
    assert {"cpu", "cores"} <= set(facts["machine"])
    assert len(facts["date"]) == len("2025-01-31")
    assert not {"host", "hostname", "node"} & set(facts["machine"])


OLD = {
    "heads.speedup_tight": 3.0,
    "mixtures.of_an_older_version": 1.0,
    "measured": {
        "heads": {"date": "2025-01-31", "machine": {"cpu": "another"}},
        "mixtures": {"date": "2025-01-31", "machine": {"cpu": "another"}},
    },
}


def test_a_part_that_is_not_measured_keeps_its_numbers_and_their_date(
    load, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "cpu.json"
    out.write_text(json.dumps(OLD))
    load("__main__").main(
        ["--quick", "--no-heads", "--mixtures", "--methods", "--device", "cpu", "--out", str(out)]
    )
    results = json.loads(out.read_text())
    assert results["heads.speedup_tight"] == 3.0
    assert results["measured"]["heads"] == OLD["measured"]["heads"]
    assert "mixtures.of_an_older_version" not in results
    assert {"methods.costs", "mixtures.speedup"} <= set(results)
    for part in ("methods", "mixtures"):
        assert results["measured"][part]["machine"]["torch"] == torch.__version__
    shown = capsys.readouterr().out
    assert "kept from 2025-01-31, another: heads" in shown
    assert "kept from 2025-01-31, another: mixtures" not in shown
    assert load("methods").table(results) in shown
    assert load("mixtures").table(results) in shown


def test_parts_on_file_before_a_later_one_fails(load, tmp_path: Path, monkeypatch) -> None:
    main, out = load("__main__"), tmp_path / "cpu.json"

    def fails(quick: bool, device: torch.device) -> dict:
        raise RuntimeError("broken")

    monkeypatch.setattr(load("methods"), "run", lambda quick, device: {"methods.made": 1})
    monkeypatch.setattr(load("methods"), "table", lambda numbers: "a table")
    monkeypatch.setattr(load("mixtures"), "run", fails)
    with pytest.raises(RuntimeError, match="broken"):
        main.main(["--no-heads", "--methods", "--mixtures", "--device", "cpu", "--out", str(out)])
    results = json.loads(out.read_text())
    assert results["methods.made"] == 1
    assert list(results["measured"]) == ["methods"]
    assert results["measured"]["methods"]["quick"] is False


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"heads.made": 1}', '{"heads.made": 1, "measured": {}}', '{"measured": 3}']
)
def test_a_file_that_is_no_record_stops_before_measuring(
    content: str, load, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "other.json"
    out.write_text(content)
    monkeypatch.setattr(load("heads"), "run", lambda quick, device: pytest.fail("measured"))
    with pytest.raises(SystemExit, match=r"other\.json is not a record"):
        load("__main__").main(["--device", "cpu", "--out", str(out)])
    assert out.read_text() == content


def test_which_parts_are_measured(load, capsys: pytest.CaptureFixture) -> None:
    parse = load("__main__").parse
    assert parse([])[1] == ["heads"]
    assert parse(["--mixtures", "--extraction"])[1] == ["heads", "extraction", "mixtures"]
    assert parse(["--no-heads", "--methods"])[1] == ["methods"]
    assert parse(["--no-heads", "--archive-whole"])[1] == ["archive"]
    assert set(parse(["--all", "--quick"])[1]) == {"heads", *load("__main__").MORE}
    with pytest.raises(SystemExit):
        parse(["--all", "--no-heads"])
    assert "--all measures every part" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--no-heads"])
    assert "give a part" in capsys.readouterr().err


def test_a_part_files_only_its_own_keys(load) -> None:
    with pytest.raises(ValueError, match=r"heads\.b"):
        load("record").merge({}, "methods", {"methods.a": 1, "heads.b": 2}, {})


def test_the_filed_numbers_are_no_quick_ones(root: Path, load) -> None:
    for path in (root / "benchmarks" / "results").glob("*.json"):
        measured = load("record").read(path)["measured"]
        assert measured
        assert not any(facts["quick"] for facts in measured.values())


def test_a_part_without_a_module_is_left_out(
    load, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    main, out = load("__main__"), tmp_path / "cpu.json"
    monkeypatch.setitem(main.MORE, "unwritten", "a part that nobody wrote")
    monkeypatch.setattr(load("mixtures"), "run", lambda quick, device: {"mixtures.speedup": 20.0})
    monkeypatch.setattr(load("mixtures"), "table", lambda numbers: "a table")
    main.main(["--no-heads", "--mixtures", "--unwritten", "--device", "cpu", "--out", str(out)])
    assert list(json.loads(out.read_text())["measured"]) == ["mixtures"]
    shown = capsys.readouterr().out
    assert "there is no module for unwritten: left out" in shown
    assert "mixtures of many runs, against scikit-learn  at least 20.00 x   20.00 x      yes" in shown


def test_the_archive_is_run_whole_when_asked(load, monkeypatch, tmp_path: Path) -> None:
    asked = []
    for part in ("archive", "mixtures"):
        monkeypatch.setattr(load(part), "table", lambda numbers: "")
        monkeypatch.setattr(load(part), "run", lambda quick, device, **more: asked.append(more) or {})
    run = ["--no-heads", "--mixtures", "--device", "cpu", "--quick"]
    load("__main__").main([*run, "--archive"])
    load("__main__").main([*run, "--archive-whole"])
    assert asked == [{}, {}, {}, {"whole": True}]


MADE = {
    "heads.speedup_tight": 3.999,
    "heads.gemm_fraction": 0.6,
    "heads.two_process_speedup": 1.85,
    "heads.setting": {"runs": 50, "head": "adapter", "n_features": 192},
    "linear.gemm_fraction": 0.59,
    "archive.whole": {"wall_seconds": 179.0},
    "archive.estimated_seconds": 7200.0,
    "engine.killed_worker": {"chunks_repeated": 2},
    "scaling.curves": {"R": {"slope": 0.9, "slope_upper_half": None}},
    "precision.speedup": {"bfloat16": 1.5},
    "measured": {"linear": {"quick": True}},
}


@pytest.mark.parametrize(
    ("device", "aims", "reached"),
    [
        ("cpu", 5, {"tight": "no", "D=192: share": "yes", "two": "yes", "batch": "no", "killed": "no"}),
        ("cuda", 4, {"tight": "no", "D=192: share": "", "batch": "yes", "run *": "yes", "killed": "no"}),
    ],
)
def test_the_summary_says_what_is_reached(device: str, aims: int, reached: dict, load) -> None:
    """What is compared is what was measured and not what is shown: 3.999 is shown as 4.00."""
    shown = load("summary").table(MADE, device, ["heads", "linear", "precision"])
    lines = shown.splitlines()
    for words, verdict in reached.items():
        line = next(line for line in lines if words in line)
        assert line.endswith(verdict or "60%"), line
    assert next(line for line in lines if "tight" in line).startswith("50 adapter heads, D=192:")
    assert f"2 of {aims} aims reached" in shown
    assert any(
        line.startswith("the archive in one process, estimated *") and "120.0 min" in line for line in lines
    )
    assert any(line.startswith("bfloat16 against float32  ") for line in lines)
    assert sum("growth" in line for line in lines) == 1  # a slope that is not on file is no row
    assert lines[-2:] == ["* measured before", "tiny sizes, whose numbers mean nothing: linear"]


def test_a_summary_of_nothing_is_empty(load) -> None:
    assert load("summary").table({"measured": {}}, "cpu", []) == ""


def test_a_gpu_is_measured_at_a_size_that_fills_it(load, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = load("heads")
    monkeypatch.setattr(heads, "measure", lambda setting, device: {})
    monkeypatch.setattr(heads, "measure_wide", lambda setting, device: {"wide": setting})
    assert heads.run(False, torch.device("cpu")) == {}
    wide = heads.run(False, torch.device("cuda"))["wide"]
    assert (wide.n_features, wide.runs, wide.batch_size) == (768, 50, 512)


def test_the_wide_bank_has_a_fraction(load) -> None:
    heads, workload = load("heads"), load("workload")
    results = heads.measure_wide(workload.QUICK, torch.device("cpu"))
    assert results["heads.gemm_fraction_wide"] > 0
    assert results["heads.setting_wide"]["runs"] == 6


def test_caches_are_read_from_the_system(load, tmp_path: Path) -> None:
    for index, (kind, level, size) in enumerate(
        [("Data", "1", "32K"), ("Instruction", "1", "64K"), ("Unified", "2", "1024K")]
    ):
        (tmp_path / f"index{index}").mkdir()
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (tmp_path / f"index{index}" / name).write_text(f"{text}\n")
    (tmp_path / "index3").mkdir()  # one that says nothing
    cache_sizes = load("machine").cache_sizes
    assert cache_sizes(tmp_path) == {"L1": "32K", "L2": "1024K"}
    assert cache_sizes(tmp_path / "absent") == {}
