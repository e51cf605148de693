"""The benchmark of the ways to tune: what it times is what it says, and its ratios are of its seconds."""

from __future__ import annotations

import importlib
import json
from types import ModuleType

import pytest
import torch


@pytest.fixture
def benchmark(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/tuning.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.tuning")


def test_the_workload_is_noisy_digits(benchmark: ModuleType) -> None:
    pixels, rows, y = benchmark._images(benchmark.Setting("tiny", 16, 200))
    assert (len(rows), len(pixels.class_names), pixels.size) == (200, 10, 16)
    assert (pixels.split[rows] == 0).all()
    # The sampler is exact up to the rounding of each class: 10 classes move the rate by at most 10 / 200 / 2.
    assert (y != pixels.labels[rows]).mean() == pytest.approx(0.4, abs=0.025)


def test_quick_measurement(benchmark: ModuleType) -> None:
    results = json.loads(json.dumps(benchmark.run(True, torch.device("cpu"))))
    assert all(key.startswith("tuning.") for key in results)
    rows, shown = results["tuning.seconds"], benchmark.table(results)
    assert list(rows) == ["features", "lp_ce", "fft_ce", "fft_elr", "turn"]
    for row in rows.values():
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["title"] in shown
    for key, above, below in (
        ("turn_to_fft", "turn", "fft_ce"),
        ("turn_to_lp", "turn", "lp_ce"),
        ("fft_to_lp", "fft_ce", "lp_ce"),
    ):
        ratio = rows[above]["median"] / rows[below]["median"]
        assert results[f"tuning.{key}"] == pytest.approx(ratio)
    assert f"{results['tuning.turn_to_fft']:.2f} x" in shown
    assert 0 < results["tuning.drawn_share"] <= 1
    assert f"draws {results['tuning.drawn_share']:.0%}" in shown
    # All phases of TURN together are its time, up to what lies between them.
    assert sum(results["tuning.turn_phases"].values()) <= rows["turn"]["max"]
    assert set(results["tuning.turn_phases"]) == {"features", "probe", "cleaning", "tuning"}
