"""The roofline counts what operations do, and says which ceiling bounds them."""

from __future__ import annotations

import importlib
import json
from types import ModuleType

import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture
def roofline(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/roofline.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.roofline")


@pytest.fixture
def operations(roofline: ModuleType) -> ModuleType:
    """benchmarks/operations.py."""
    return importlib.import_module("benchmarks.operations")


def count(operations: ModuleType, run) -> dict:
    with operations.Counting() as counting:
        run()
    return dict(counting.tallies)


def test_products_are_counted_by_hand(operations: ModuleType) -> None:
    """Two products of (3, 4) and (4, 5), single precision."""
    a, b, c = torch.ones(2, 3, 4), torch.ones(2, 4, 5), torch.ones(2, 3, 5)
    read = 4 * 2 * (3 * 4 + 4 * 5)
    for run, moved in (
        (lambda: torch.bmm(a, b), read + 4 * 30),
        (lambda: torch.bmm(a, b, out=c), read + 4 * 30),
        (lambda: c.baddbmm_(a, b), read + 2 * 4 * 30),  # what is added to is read and written
        (lambda: torch.bmm(a[:1].expand(2, 3, 4), b), read - 4 * 12 + 4 * 30),
    ):
        tally = count(operations, run)["products"]
        assert (tally.flops, tally.bytes, tally.calls) == (2 * 2 * 3 * 4 * 5, moved, 1)


def test_rows_are_gathered_and_not_the_whole(operations: ModuleType) -> None:
    X, index = torch.ones(1000, 6), torch.tensor([1, 5, 7])
    out = torch.empty(3, 6)
    for run in (lambda: X.index_select(0, index), lambda: torch.index_select(X, 0, index, out=out)):
        tally = count(operations, run)["gather"]
        assert tally.bytes == 2 * 4 * 18 + 8 * 3


def test_views_are_nothing_and_sums_are_of_the_logits(operations: ModuleType) -> None:
    X = torch.ones(4, 6)
    assert count(operations, lambda: X.view(6, 4).mT[:2]) == {}
    found = count(operations, lambda: X.sum())
    assert list(found) == ["loss"]
    assert found["loss"].bytes == 4 * 24 + 4
    assert list(count(operations, lambda: X.sqrt())) == ["rest"]


def test_adam_reads_four_tensors_and_writes_three(operations: ModuleType) -> None:
    p, g, m, v = (torch.ones(10) for _ in range(4))
    step = torch.ones(())

    def run() -> None:
        torch._fused_adam_(
            [p], [g], [m], [v], [], [step],
            lr=0.1, beta1=0.9, beta2=0.99, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    tally = count(operations, run)["optimiser"]
    # The fused kernel's schema lets it write the gradient as well, which it does not: eight passes at most.
    assert 7 * 40 <= tally.bytes <= 8 * 40 + 8
    assert tally.flops == operations.NOMINAL["_fused_adam"] * 10


def test_what_the_mode_adds_is_taken_off(operations: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product takes 5 seconds and the mode adds 2 to each of its calls; an epoch of four steps takes 60."""
    now, product, sum_ = 0.0, 5.0, 3.0

    class Timing:
        on = False

        def __init__(self, device) -> None:
            self.tallies = {}

        def __enter__(self):
            Timing.on = True
            return self

        def __exit__(self, *error) -> None:
            Timing.on = False
            self.tallies = {
                "products": operations.Tally(calls=8, seconds=8 * (product + 2)),
                "loss": operations.Tally(calls=4, seconds=4 * (sum_ + 2)),
                "rest": operations.Tally(calls=9, seconds=1000.0),
            }

    def epoch() -> None:
        nonlocal now
        now += 200.0 if Timing.on else 60.0
        torch.ones(2, 2).mm(torch.ones(2, 2)).sum()

    monkeypatch.setattr(operations, "Timing", Timing)
    monkeypatch.setattr(operations, "clock", lambda device: now)
    monkeypatch.setattr(operations, "mode_seconds", lambda device: 2.5)
    parts, bare = operations.split_step(epoch, 4, CPU, rounds=2, dispatch=0.5)
    assert bare == [15.0, 15.0]
    assert {name: part.seconds for name, part in parts.items()} == {
        "products": 10.0,
        "loss": 3.0,
        "rest": 2.0,
    }
    assert parts["products"].flops == 16 / 4


def test_bounds_by_hand(roofline: ModuleType, operations: ModuleType) -> None:
    """100 flops and 10 bytes a second up to 50 bytes, 2 beyond; 3 seconds to dispatch."""
    ceilings, Tally = roofline.Ceilings(100.0, {50: 10.0, 200: 2.0}, 3.0), operations.Tally
    assert ceilings.bound(Tally(1000.0, 40.0, 1)) == ("arithmetic", 10.0)
    assert ceilings.bound(Tally(1000.0, 60.0, 1)) == ("memory", 30.0)
    assert ceilings.bound(Tally(1000.0, 60.0, 11)) == ("dispatch", 30.0)
    assert ceilings.bound(Tally(0.0, 400.0, 1)) == ("memory", 200.0)  # larger than all: the largest
    assert roofline.bandwidth_of(80, 10.0, 2.0) == 10.0
    assert roofline.bandwidth_of(80, 10.0, 9.0) == 16.0


def test_quick_measurement_has_every_key(roofline: ModuleType) -> None:
    results = json.loads(json.dumps(roofline.run(True, CPU)))
    assert all(key.startswith("roofline.") for key in results)
    setting, shown = roofline.QUICK, roofline.table(results)
    assert list(results["roofline.gemm"]) == [str(n) for n in setting.gemm_sizes]
    assert list(results["roofline.bandwidth"]) == [str(size) for size in setting.working_sets]
    assert results["roofline.dispatch_seconds"] > 0
    by_head = {head: {} for head in ("adapter", "linear")}
    for row in results["roofline.operations"]:
        by_head[row["head"]][row["name"]] = row
        assert row["bound"] in ("arithmetic", "memory", "dispatch")
        assert f"{row['title']}  " in shown
    assert list(by_head["adapter"]) == ["products", "activation", "optimiser", "gather", "loss", "rest"]
    assert list(by_head["linear"]) == ["products", "optimiser", "gather", "loss", "rest"]
    for head, step in results["roofline.steps"].items():
        rows = by_head[head].values()
        assert sum(row["reachable_seconds"] for row in rows) == pytest.approx(step["reachable_seconds"])
        assert sum(row["seconds"] for row in rows) >= step["seconds"] * (1 - 1e-9)
        assert results["roofline.setting"][head]["n_features"] == setting.heads[head]


def test_the_products_of_a_step_are_those_that_the_bank_states(
    roofline: ModuleType, operations: ModuleType
) -> None:
    """What passes through the dispatcher is what `HeadBank.step_flops` counts."""
    from noisylib.heads import HeadBank

    setting = roofline.QUICK
    for head, n_features in setting.heads.items():
        epoch = roofline.epoch_of(head, n_features, setting, CPU)
        counted = count(operations, epoch)["products"].flops
        bank = HeadBank(head, [0], n_features, setting.n_classes)
        assert counted == setting.steps * setting.runs * bank.step_flops(setting.batch_size)
