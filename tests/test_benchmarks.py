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
    *("gemm_fraction", "two_process_speedup"),
)


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return module


@pytest.mark.parametrize("name", PEERS)
def test_peer_trains_the_same_heads_as_the_bank(name: str, load) -> None:
    X, y = blobs(N, K, D)
    X = (X - X.mean(0)) / X.std(0)
    X_test, y_test = blobs(20, K, D, seed=1)
    Y = np.stack([np.roll(y, r) for r in range(R)])
    recipe = replace(RECIPE, standardise=False)
    more = {"recipe": recipe, "dtype": torch.float64, "device": "cpu", "seeds": [SEED] * R}
    expected = train_bank(X, Y, X_test, y_test, n_classes=K, method="ce", **more).test_logits

    peers = load("peers")
    start = HeadBank("adapter", [SEED], D, K, runs_per_seed=R, width=5, dtype=torch.float64)
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


def test_dataloader_shuffles_without_an_order(load) -> None:
    """Every sample once an epoch: with one batch an epoch, the order cannot matter."""
    peers, (X, y) = load("peers"), blobs(N, K, D)
    X, Y = torch.as_tensor(X), torch.as_tensor(y)[None]
    recipe = Recipe(batch_size=N)
    trained = []
    for order in (None, torch.arange(N)):
        heads = peers.heads_like(HeadBank("adapter", [0], D, K, dtype=torch.float64))
        peers.dataloader_loop(heads, X, Y, [order, order], recipe)
        trained.append(heads[0](X).detach())
    torch.testing.assert_close(*trained, rtol=0, atol=1e-9)


def test_the_bank_is_split_as_a_study_splits_it(load) -> None:
    """50 runs of 5 seeds: at most 32 heads of whole seeds, so 3 seeds and then 2."""
    workload = load("workload")
    work = workload.Workload(workload.Setting(n_samples=10), torch.device("cpu"))
    assert work.chunks() == [[0, 1, 2], [3, 4]]


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
    assert results["machine"]["torch"] == torch.__version__
    assert results["machine"]["torch_threads"] == 1
    assert {"cpu", "cores"} <= set(results["machine"])
    assert len(results["date"]) == len("2025-01-31")
    assert not {"host", "hostname", "node"} & set(results["machine"])
