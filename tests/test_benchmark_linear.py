"""The benchmark of linear heads compares solvers of one problem, and its ratios are of its seconds."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch

from noisylib.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture
def linear(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/linear.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.linear")


def test_made_classes_are_noisy_and_held_out_ones_are_not(linear: ModuleType) -> None:
    setting = replace(linear.QUICK, n_samples=700, n_features=20)
    data = linear.made_classes(setting, held_out=140)
    assert (data.X.shape, data.Y.shape, data.X_test.shape) == ((700, 20), (6, 700), (140, 20))
    assert np.bincount(data.y_test).tolist() == [20] * 7
    assert len(np.unique(data.Y, axis=0)) == 6  # every run has a draw of its own
    centres = np.stack([data.X_test[data.y_test == k].mean(0) for k in range(7)])
    nearest = ((data.X[:, None] - centres) ** 2).sum(-1).argmin(1)
    clean = np.mean(nearest == data.Y, axis=1)
    assert ((clean > 0.65) & (clean < 0.85)).all()  # four fifths of the labels are right


def test_both_solve_the_same_problem(linear: ModuleType) -> None:
    """With enough epochs, the bank ends where scikit-learn does: no minimum is lower than the other's."""
    setting = replace(linear.QUICK, n_samples=280, n_features=4, n_classes=3, batch_size=280)
    recipe = Recipe(
        epochs=1500, batch_size=280, learning_rate=0.03, weight_decay=1e-3, score_epochs=1, standardise=False
    )
    finished = linear.FinishedRuns(setting, CPU, recipe)
    quality = finished.quality()
    for key, value in quality["sklearn"].items():
        assert quality["bank"][key] == pytest.approx(value, abs=2e-3), key
    assert quality["bank"]["training_loss"] > quality["bank"]["held_out_loss"]  # of noisy and of clean labels
    model = finished._fit(finished.data.Y[0])
    assert pytest.approx(1 / (280 * 1e-3)) == model.C


def test_loss_by_hand(linear: ModuleType) -> None:
    """Two runs of one sample: probabilities 1/2 and 3/4 of the labels."""
    logits = np.log([[[1.0, 1.0]], [[3.0, 1.0]]])
    expected = -(np.log(1 / 2) + np.log(3 / 4)) / 2
    assert linear._loss(logits, np.array([[1], [0]])) == pytest.approx(expected)


def test_quick_measurement_has_every_key(linear: ModuleType) -> None:
    results = json.loads(json.dumps(linear.run(True, CPU)))
    assert all(key.startswith("linear.") for key in results)
    epochs, runs = results["linear.seconds_per_head_epoch"], results["linear.seconds_per_run"]
    assert list(epochs) == ["bank", "tight", "vmap"]
    assert list(runs) == ["bank", "sklearn"]
    for key, rows, other in (
        ("tight", epochs, "tight"), ("vmap", epochs, "vmap"), ("sklearn", runs, "sklearn")
    ):  # fmt: skip
        ratio = rows[other]["median"] / rows["bank"]["median"]
        assert results[f"linear.speedup_{key}"] == pytest.approx(ratio)
    setting = results["linear.setting"]
    assert (setting["head"], setting["runs"], setting["epochs"]) == ("linear", 6, 4)
    # A head of D = 16 and K = 7 on N = 256 samples: a product and its gradient.
    rate = 4 * 16 * 7 * 256 / epochs["bank"]["median"] / 1e9
    assert results["linear.gemm_fraction"] == pytest.approx(rate / results["linear.gemm_gflops"])
    assert len(results["linear.iterations"]) == setting["repeats"]
    shown = linear.table(results)
    for row in (*epochs.values(), *runs.values()):
        assert row["title"] in shown
    for row in results["linear.quality"].values():
        assert f"{row['held_out_accuracy']:.1%}" in shown


def test_a_gpu_gets_larger_batches(linear: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "measure", lambda setting, device: setting)
    on_cpu, on_gpu = (linear.run(False, torch.device(name)) for name in ("cpu", "cuda"))
    assert (on_cpu.n_features, on_cpu.n_samples, on_cpu.runs, on_cpu.batch_size) == (768, 8000, 50, 128)
    assert on_gpu == replace(on_cpu, batch_size=512)
