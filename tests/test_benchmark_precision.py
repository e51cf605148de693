"""The benchmark of lower precision: its differences and ratios by hand, and that it trains pairs."""

from __future__ import annotations

import importlib
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def bench(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/precision.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.precision")


def scores(*balanced: float) -> SimpleNamespace:
    return SimpleNamespace(balanced_accuracy=np.array(balanced), accuracy=np.array(balanced) / 2)


def test_differences_by_hand(bench: ModuleType) -> None:
    """Two banks of one condition and two seeds: 0.5 to 0.25, 0.5 to 0.75, 0 and 0.125 stay."""
    single, low = [scores(0.5, 0.5), scores(0.0, 0.125)], [scores(0.25, 0.75), scores(0.0, 0.125)]
    assert bench.effect(low, single, 2) == {
        "mean": 0.0,
        "largest": 0.25,
        "seeds": 0.125,
        "all": [-0.25, 0.25, 0.0, 0.0],
        "accuracy_mean": 0.0,
        "accuracy_largest": 0.125,
        "accuracy_seeds": 0.0625,
        "accuracy_all": [-0.125, 0.125, 0.0, 0.0],
        "runs": 4,
    }
    assert bench.effect([scores(0.25)], [scores(0.5)], 1)["mean"] == -0.25


def test_results_follow_the_schema_and_the_setting(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train_bank(X: np.ndarray, y: np.ndarray, *test: np.ndarray, **more) -> SimpleNamespace:
        asked.append((more["method"], more["precision"], more["seeds"], y.tobytes()))
        return scores(*(0.5 if more["precision"] == "float32" else 0.75,) * len(y))

    seconds = iter(range(1000))
    monkeypatch.setattr(bench, "train_bank", train_bank)
    monkeypatch.setattr(bench, "clock", lambda device: next(seconds) ** 2)
    results = bench.run(True, CPU)
    names = ["ce", "gce", "elr", "coteaching", "dividemix"]
    assert [a[:3] for a in asked] == [(n, p, [0, 1]) for p in ("float32", "bfloat16") for n in names]
    assert [a[3] for a in asked[:5]] == [a[3] for a in asked[5:]], "both see the same labels"
    assert list(results["precision.effect"]) == names
    for row in results["precision.effect"].values():
        assert (row["mean"], row["largest"], row["seeds"], row["runs"]) == (0.25, 0.25, 0.0, 2)
    heads = ("adapter D=16", "linear D=16")
    assert list(results["precision.speedup"]) == [f"bfloat16, {head}" for head in heads]
    timed = results["precision.seconds_per_head_epoch"]
    for head in heads:
        kind = head.split()[0]
        slow, fast = (timed[f"{kind}, D=16, {p}"]["median"] for p in ("float32", "bfloat16"))
        assert results["precision.speedup"][f"bfloat16, {head}"] == slow / fast
    text = bench.table(results)
    assert "+25.00    25.00          0.00" in text
    assert all(f"bfloat16, {head}" in text for head in heads)
