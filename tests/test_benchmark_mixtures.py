"""The benchmark of the mixtures times what it says, and both sides compute the same posteriors."""

from __future__ import annotations

import importlib
import json
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture


@pytest.fixture
def benchmark(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/mixtures.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.mixtures")


def test_made_losses_are_scaled_mixtures(benchmark: ModuleType) -> None:
    losses = benchmark.made_losses(5, 400)
    assert (losses.shape, losses.dtype) == ((5, 400), torch.float64)
    assert losses.amin(1).tolist() == [0.0] * 5
    assert losses.amax(1).tolist() == [1.0] * 5
    assert torch.equal(losses, benchmark.made_losses(5, 400))
    # Two groups: the means of the lower and the upper quarter are several inner deviations apart.
    lower, upper = losses.sort(1).values.split([100, 300], 1)[0], losses.sort(1).values[:, 300:]
    assert ((upper.mean(1) - lower.mean(1)) > 2 * lower.std(1)).all()


def test_hard_start_by_hand(benchmark: ModuleType) -> None:
    """Mean 3.25; groups {0, 1, 2} and {10}, whose middle, 5.5, splits alike."""
    start = benchmark.hard_start(np.array([0.0, 10.0, 1.0, 2.0]))
    assert start["weights_init"].tolist() == [0.75, 0.25]
    assert start["means_init"].tolist() == [[1.0], [10.0]]
    variances = 1 / start["precisions_init"][:, 0, 0]
    assert variances.tolist() == pytest.approx([2 / 3 + benchmark.REG, benchmark.REG])


def test_both_sides_compute_the_same_posteriors(benchmark: ModuleType) -> None:
    losses = benchmark.made_losses(6, 300)
    rows = losses.numpy()
    same = benchmark.loop(rows, [benchmark.hard_start(row) for row in rows])
    np.testing.assert_allclose(benchmark.low_posterior(losses).numpy(), same, rtol=0, atol=1e-9)
    # And scikit-learn's own start, which may lead elsewhere, is what the loop has without one.
    as_written = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(
        rows[0][:, None]
    )
    low = as_written.predict_proba(rows[0][:, None])[:, as_written.means_.argmin()]
    np.testing.assert_array_equal(benchmark.loop(rows[:1], [{}])[0], low)


def test_a_case_times_one_call(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by 3 seconds per call: four calls in a round are 3 seconds each."""
    now = 0.0

    def run() -> None:
        nonlocal now
        now += 3.0

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now)
    case = benchmark._case("made", 4, run)
    case.measure()
    assert now == 12.0
    assert case.seconds == [3.0]


def test_quick_measurement_has_every_key(benchmark: ModuleType) -> None:
    results = json.loads(json.dumps(benchmark.measure(quick=True)))
    assert all(key.startswith("mixtures.") for key in results)
    for key in ("speedup", "speedup_same_start", "mean_iterations"):
        assert math.isfinite(results[f"mixtures.{key}"])
        assert results[f"mixtures.{key}"] > 0
    assert results["mixtures.largest_difference"] < 1e-9
    assert results["mixtures.setting"]["torch_threads"] == torch.get_num_threads()
    rows, shown = results["mixtures.seconds"], benchmark.table(results)
    assert list(rows) == ["tensor", "loop", "loop_same_start"]
    for row in rows.values():
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert len(row["all"]) == results["mixtures.setting"]["rounds"]
        assert row["title"] in shown
    speedup = rows["loop"]["median"] / rows["tensor"]["median"]
    assert results["mixtures.speedup"] == pytest.approx(speedup)
    assert f"{speedup:.1f} x" in shown
    same = rows["loop_same_start"]["median"] / rows["tensor"]["median"]
    assert results["mixtures.speedup_same_start"] == pytest.approx(same)
