"""The estimate of the archive is unbiased on made chunks, and says what it was made of."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def archive(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/archive.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.archive")


@dataclass(frozen=True)
class Made:
    """A chunk as far as the draw sees it."""

    cost: float
    runs: tuple = (0, 1)


def test_chunks_are_drawn_by_cost(archive: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs 6, 3 and 1 of 10. With five points the first comes three times, wherever the start is."""
    chunks = [Made(6.0), Made(3.0), Made(1.0)]
    counts = {chunk: 0 for chunk in chunks}
    for i in range(100):

        class Start:
            def random(self, i=i) -> float:
                return i / 100

        monkeypatch.setattr(archive, "numpy_generator", lambda *parts, start=Start: start())
        drawn = archive.draw(chunks, 5, "ce")
        assert drawn.count(chunks[0]) == 3
        for chunk in drawn:
            counts[chunk] += 1
    assert counts == {chunks[0]: 300, chunks[1]: 150, chunks[2]: 50}


def test_estimate_by_hand(archive: ModuleType) -> None:
    """Chunks of cost 2 and 4 took 6 and 4 seconds: 3 and 1 per unit, 2 on average; 100 units are 200 s."""
    sample = [archive.Sampled(Made(2.0), 6.0, 0.0), archive.Sampled(Made(4.0), 4.0, 0.0)]
    estimate = archive.Estimate.of(sample, 100.0)
    assert estimate.seconds == pytest.approx(200.0)
    assert estimate.error == pytest.approx(100.0 * math.sqrt(2) / math.sqrt(2))
    assert archive.Estimate.of(sample[:1], 100.0).error == 0.0
    assert sample[0].per_run == 3.0


def test_only_training_counts_for_all_epochs(archive: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk takes 10 seconds, of which its two runs train 3 each: 4 + 5 x 6."""
    now = 0.0

    def run_chunk(*args) -> list[dict]:
        nonlocal now
        now += 10.0
        return [{"seconds": 3.0}] * 2

    monkeypatch.setattr(archive, "run_chunk", run_chunk)
    monkeypatch.setattr(archive.time, "perf_counter", lambda: now)
    assert archive.train(Made(1.0), 5, "cpu") == archive.Sampled(Made(1.0), 34.0, 30.0)


def test_a_shorter_study_keeps_its_shares(archive: ModuleType) -> None:
    config = archive.load_config(archive.CONFIG)
    short = archive.shortened(config, 5)
    assert (short.recipe.epochs, short.recipe.score_epochs) == (10, 2)
    assert replace(short.recipe, epochs=50, score_epochs=10) == config.recipe
    changed = {m.name: dict(m.options) for m in short.methods if m.options}
    assert changed == {"forward": {"fold_epochs": 4}}
    assert [m.label for m in short.methods] == [m.label for m in config.methods]


def test_slower_beside_others_is_a_ratio_of_training(
    archive: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other chunk: 10 and 30 seconds alone, of which 8 and 20 in training; together 10 and 32."""
    one, other, third = Made(1.0), Made(2.0), Made(3.0)
    seen = []

    def train_chunks(chunks, *, jobs):
        seen.append((list(chunks), jobs))
        return [(one, [{"seconds": 1.0}] * 2), (third, [{"seconds": 3.2}] * 2)]

    monkeypatch.setattr(archive, "train_chunks", train_chunks)
    sample = {
        "ce": [archive.Sampled(one, 10.0, 8.0), archive.Sampled(other, 50.0, 40.0)],
        "ls": [archive.Sampled(third, 30.0, 20.0)],
    }
    slower = archive.beside_others(sample, archive.Setting(shorter=5), 2)
    assert seen == [([third, one], 2)]
    assert slower == pytest.approx((10 + 32) / 28)


def test_what_was_recorded(archive: ModuleType, tmp_path) -> None:
    found = archive.recorded()
    assert found["runs"] == 6000
    assert found["jobs"] >= 1
    assert found["core_seconds"] > found["wall_seconds"] > 0
    assert archive.recorded(tmp_path / "none.json") is None


def test_quick_measurement_has_every_key(archive: ModuleType) -> None:
    results = json.loads(json.dumps(archive.run(True, CPU, whole=True)))
    assert all(key.startswith("archive.") for key in results)
    per_run = results["archive.seconds_per_run"]
    assert list(per_run) == list(archive.QUICK_METHODS)
    shown, s = archive.table(results), results["archive.setting"]
    # Two methods, three backbones, two kinds of noise at five rates, two seeds.
    assert (s["runs"], s["epochs"], s["epochs_trained"]) == (120, 2, 1)
    total = sum(row["mean"] * 60 for row in per_run.values())
    assert results["archive.estimated_seconds"] == pytest.approx(total)
    assert results["archive.jobs"] == 1
    assert results["archive.estimated_wall_seconds"] == pytest.approx(total)
    for row in per_run.values():
        assert len(row["all"]) == len(row["banks"]) == s["chunks"]
        assert f"{row['title']:36}{row['mean']:15.3f}" in shown
    assert results["archive.whole"]["runs"] == 120
    assert "all 120 runs, run: " in shown
    assert "the archived table: " in shown


def test_a_gpu_runs_it_whole(archive: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "measure", lambda config, setting, device, *, whole: whole)
    assert archive.run(False, torch.device("cuda")) is True
    assert archive.run(False, CPU) is False
    assert archive.run(False, CPU, whole=True) is True
