"""The benchmark of growth finds the slopes of power laws, and measures memory in fresh processes."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from types import ModuleType

import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def scaling(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/scaling.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.scaling")


def test_slopes_of_power_laws(scaling: ModuleType) -> None:
    values = [1, 4, 16, 64]
    for power in (0.0, 0.5, 1.0, 2.0):
        assert scaling.slope(values, [3.0 * v**power for v in values]) == pytest.approx(power, abs=1e-12)


def test_the_larger_half_has_a_slope_of_its_own(scaling: ModuleType) -> None:
    """Flat to 16 and proportional from there."""
    seconds = {1: 16.0, 4: 16.0, 16: 16.0, 64: 64.0, 256: 256.0}
    cases = {v: scaling.Case(f"R={v}", 1, lambda s=s: s) for v, s in seconds.items()}
    for case in cases.values():
        case.measure()
    record = scaling.Curve(cases).record()
    assert record["values"] == list(seconds)
    assert record["seconds"] == list(seconds.values())
    assert record["slope_upper_half"] == pytest.approx(1.0)
    # Least squares of (0, 0, 0, 1, 2) on (0, 1, 2, 3, 4), both in units of log 4.
    assert record["slope"] == pytest.approx(0.5)
    short = scaling.Curve({v: cases[v] for v in (1, 4, 16)}).record()
    assert short["slope_upper_half"] is None


def test_memory_is_a_line(scaling: ModuleType) -> None:
    line = scaling.memory_line([10, 20, 40], [130, 230, 430])
    assert line["bytes_per_head"] == pytest.approx(10)
    assert line["fixed_bytes"] == pytest.approx(30)


def test_one_size_changes_at_a_time(scaling: ModuleType) -> None:
    base = scaling.BASE
    assert scaling.with_size(base, "D", 48) == replace(base, n_features=48)
    assert scaling.with_size(base, "K", 3) == replace(base, n_classes=3)
    assert scaling.with_size(base, "N", 99) == replace(base, n_samples=99)
    for axis, values in scaling.AXES.items():
        assert max(values) / min(values) >= 16, axis
        for value in values:
            setting = scaling.with_size(base, axis, value)
            assert {"R": setting.runs, "N": setting.n_samples}.get(axis, value) == value
    assert (scaling.with_size(base, "R", 3).seeds, scaling.with_size(base, "R", 160).seeds) == (1, 16)


def test_peak_of_a_process_that_takes_and_gives_back(scaling: ModuleType) -> None:
    before = scaling._peak(reset=True)
    held = bytearray(64 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    assert scaling._peak() - before >= 60 * 2**20
    del held
    assert scaling._peak() - before >= 60 * 2**20  # it is a peak
    assert scaling._peak(reset=True) - before < 60 * 2**20


def test_memory_of_a_bank_is_that_of_its_data(scaling: ModuleType) -> None:
    """20,000 x 100 features are 8 MB in single precision, of which there is a copy, and LN(x) beside it."""
    large = replace(scaling.QUICK, n_samples=20_000, n_features=100)
    assert 16e6 < scaling.peak_memory(large, CPU) < 160e6


def test_a_process_that_fails_says_why(scaling: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="no such method"):
        scaling.peak_memory(replace(scaling.QUICK, method="no such method"), CPU)


def test_quick_measurement_has_every_key(scaling: ModuleType) -> None:
    results = json.loads(json.dumps(scaling.run(True, CPU)))
    assert set(results) == {"scaling.curves", "scaling.memory", "scaling.setting"}
    curves, memory = results["scaling.curves"], results["scaling.memory"]
    assert list(curves) == ["R", "N", "D", "K"]
    shown = scaling.table(results)
    for axis, curve in curves.items():
        assert curve["values"] == list(scaling.QUICK_AXES[axis])
        assert curve["slope"] == pytest.approx(scaling.slope(curve["values"], curve["seconds"]))
        assert all(len(seconds) == scaling.QUICK.repeats for seconds in curve["all"])
        assert f"slope {curve['slope']:.2f}" in shown
    assert (memory["R"], len(memory["peak_bytes"])) == ([2, 4], 2)
    assert [results["scaling.setting"][axis] for axis in "RNDK"] == [2, 64, 8, 7]
