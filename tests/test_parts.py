"""How runs are cut into parts, what happens when memory runs out, and that neither changes a result."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields

import numpy as np
import pytest
import torch
from small_bank import SHORT, facts, noisy, small, train

from noisylib import parts, training
from noisylib.errors import NoisylibError
from noisylib.methods import make_method
from noisylib.parts import merge, runs_at_once, split_runs, step_bytes
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.training import BankInTraining

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SEEDS = [4, 9, 4, 9, 7, 4, 9]  # runs of one seed lie apart
WHOLE = 100


@pytest.mark.parametrize(
    ("seeds", "at_once", "expected"),
    [
        ([0, 0, 1, 1], 4, [[0, 1, 2, 3]]),
        ([0, 0, 1, 1], 3, [[0, 1], [2, 3]]),  # whole seeds, though three would fit
        ([5, 6, 5, 6], 2, [[0, 2], [1, 3]]),
        ([5, 6, 5, 6, 7], 3, [[0, 2], [1, 3, 4]]),
        ([8] * 5, 2, [[0, 1], [2, 3], [4]]),
        ([8] * 7, 3, [[0, 1, 2], [3, 4], [5, 6]]),  # pieces of nearly one size
        ([8] * 4 + [1], 3, [[0, 1], [2, 3, 4]]),  # what is left of a part takes the next seed
        ([3, 2, 1], 1, [[0], [1], [2]]),
        ([3], 50, [[0]]),
    ],
)
def test_runs_are_cut_by_seed(seeds: list[int], at_once: int, expected: list[list[int]]) -> None:
    assert split_runs(seeds, at_once) == expected


def test_every_run_is_in_one_part_that_is_not_too_large() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        seeds = random.integers(0, 6, random.integers(1, 40)).tolist()
        at_once = int(random.integers(1, 15))
        cut = split_runs(seeds, at_once)
        assert sorted(run for part in cut for run in part) == list(range(len(seeds)))
        assert all(1 <= len(part) <= at_once for part in cut)
        for seed in set(seeds):
            held = [part for part in cut if any(seeds[run] == seed for run in part)]
            assert len(held) <= -(-seeds.count(seed) // at_once), "a seed that fits is whole"


def same(a: RunResults, b: RunResults) -> None:
    """Both have the same numbers, but for the time."""
    for field in fields(RunResults):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            np.testing.assert_allclose(x, y, rtol=0, atol=1e-12, err_msg=field.name)
        elif field.name != "seconds" and field.name != "trace":
            assert x == y, field.name
    assert a.trace.keys() == b.trace.keys()
    for name, values in a.trace.items():
        np.testing.assert_allclose(values, b.trace[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch):
    """Set how many runs a bank may have."""
    return lambda runs: monkeypatch.setattr(training, "runs_at_once", lambda *a, **k: runs)


# One network, two that select, three of two kinds, batches of a run's own, and no network at all.
KINDS = ["ce", "elr", "coteaching", "cufit", "dividemix", "turn", "knn"]


@pytest.mark.parametrize("method", KINDS)
def test_runs_cut_into_parts_give_the_results_of_one_bank(method: str, at_once) -> None:
    options = {"seeds": SEEDS, "trace": True}
    at_once(WHOLE)
    together = train(noisy(len(SEEDS)), method, **options)
    for runs in (4, 1):
        at_once(runs)
        same(train(noisy(len(SEEDS)), method, **options), together)


def one(number: float) -> RunResults:
    """Results of one run of two classes and one test sample, all of them `number`."""
    row, table = np.full(1, number), np.full((1, 2), number)
    trace = {"loss": np.full((1, 1, 1, 3), number)}
    return RunResults(
        row, row, table, row, table[:, None], [0], table[None], row[None], trace,
        "cached", number,
    )  # fmt: skip


def test_parts_are_put_in_the_order_of_their_runs() -> None:
    merged = merge([([2], one(20)), ([0], one(1)), ([1], one(300))])
    for name in ("accuracy", "balanced_accuracy", "dead_classes"):
        assert getattr(merged, name).tolist() == [1, 300, 20]
    assert merged.recall.tolist() == [[1, 1], [300, 300], [20, 20]]
    assert merged.test_logits[:, 0, 0].tolist() == [1, 300, 20]
    assert merged.recall_history.tolist() == [[[1, 1], [300, 300], [20, 20]]]
    assert merged.accuracy_history.tolist() == [[1, 300, 20]]
    assert merged.trace["loss"][0, 0].tolist() == [[1] * 3, [300] * 3, [20] * 3]
    assert (merged.epochs, merged.views, merged.seconds) == ([0], "cached", 321)


class Full:
    """A device whose memory ends in the second epoch of a bank of more than `most` runs."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried, self.failed = [], []
        original = BankInTraining.train_epoch

        def train_epoch(bank: BankInTraining, epoch: int, *more: object) -> None:
            runs = len(bank.layout.gather(bank.y))
            if epoch == 0:
                self.tried.append(runs)
                assert [ref for ref in self.failed if ref() is not None] == [], "a bank that failed lives on"
            if epoch == 1 and runs > most:
                self.failed.append(weakref.ref(bank))
                self.failed.append(weakref.ref(bank.networks.banks[0]))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            original(bank, epoch, *more)

        monkeypatch.setattr(BankInTraining, "train_epoch", train_epoch)


@pytest.mark.parametrize("method", ["ce", "coteaching", "turn"])
@pytest.mark.parametrize(
    ("most", "tried"), [(4, [7, 3, 4]), (3, [7, 3, 4, 2, 2]), (1, [7, 3, 2, 1, 1, 1, 1, 1, 1, 1])]
)
def test_when_memory_runs_out_half_the_runs_go_on(
    most: int, tried: list[int], method: str, at_once, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven runs of seeds of 3, 3 and 1: half of them, four, are 3, and 3 + 1; half of three is 2.

    What did not fit once is not tried again with the runs that are left.
    """
    at_once(WHOLE)
    options = {"seeds": SEEDS, "trace": True}
    together = train(noisy(len(SEEDS)), method, **options)
    full = Full(most, monkeypatch)
    same(train(noisy(len(SEEDS)), method, **options), together)
    assert full.tried == tried


def test_a_bank_that_failed_is_gone_before_the_next_begins(at_once, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not when the collector of circles comes by; and then the GPU's cache is emptied."""
    at_once(WHOLE)
    full, emptied = Full(2, monkeypatch), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append([ref() for ref in full.failed]))
    gc.collect()
    gc.disable()
    try:
        train(noisy(4), seeds=[1, 1, 2, 2])
    finally:
        gc.enable()
    assert full.tried == [4, 2, 2]
    assert emptied == [[None, None]]


def test_progress_adds_up_where_memory_runs_out(at_once, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four runs of four epochs: the first epoch of all four is for nothing."""
    at_once(WHOLE)
    Full(2, monkeypatch)
    seen = []
    train(noisy(4), seeds=[1, 1, 2, 2], progress=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 16) for done in (4, 2, 4, 6, 8, 10, 12, 14, 16)]


def test_progress_adds_up_over_parts(at_once) -> None:
    at_once(2)
    seen = []
    train(noisy(3), seeds=[1, 1, 2], progress=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 12) for done in (2, 4, 6, 8, 9, 10, 11, 12)]


def test_a_single_run_that_is_too_large_is_an_error(at_once, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(WHOLE)
    full = Full(0, monkeypatch)
    with pytest.raises(NoisylibError, match=r"single run.*batch_size.*2\.00 GiB") as caught:
        train(noisy(2), seeds=[1, 2])
    assert full.tried == [2, 1]
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_not_taken_for_memory(at_once, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(WHOLE)
    tried = []

    def broken(*arguments: object) -> None:
        tried.append(1)
        raise RuntimeError("something else")

    monkeypatch.setattr(BankInTraining, "train_epoch", broken)
    with pytest.raises(RuntimeError, match="something else"):
        train(noisy(2))
    assert tried == [1]


SMALL = {"n_samples": 100, "n_features": 10, "n_classes": 3, "recipe": Recipe(batch_size=16)}


def test_bytes_of_a_step() -> None:
    """A linear head has 33 parameters, each four times, and 3 logits per sample; co-teaching two heads."""
    sizes = (10, 3, Recipe(batch_size=16))
    assert step_bytes(make_method("ce"), "linear", *sizes) == 4 * (4 * 33 + 3 * 16) == 720
    assert step_bytes(make_method("coteaching"), "linear", *sizes) == 1440
    # V and U of 10 x 64, a linear layer; 64 values before and after the bend.
    adapter = 4 * (4 * (2 * 640 + 33) + (128 + 3) * 16)
    assert step_bytes(make_method("ce"), "adapter", *sizes) == adapter
    assert step_bytes(make_method("cufit"), "adapter", *sizes) == 720 + 2 * adapter


@pytest.mark.parametrize(
    ("method", "runs"),
    [
        ("ce", 38_010),  # 7e8 bytes / (4 (4 33 + 3 1024) + 100 (8 + 48))
        ("elr", 35_685),  # and 100 times 12 more: it remembers a row of 3 per sample
        ("coteaching", 19_427),  # / (8 (4 33 + 3 1024) + 100 (8 + 96))
    ],
)
def test_a_gpu_takes_what_fits_its_free_memory(
    method: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "free_bytes", lambda device: 10**9)
    assert runs_at_once(make_method(method), "linear", **SMALL, device=CUDA) == runs
    monkeypatch.setattr(parts, "free_bytes", lambda device: 1000)
    assert runs_at_once(make_method(method), "linear", **SMALL, device=CUDA) == 1


def test_free_memory_counts_what_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (100, 1000)), ("memory_reserved", 50), ("memory_allocated", 20)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert parts.free_bytes(CUDA) == 130


def test_a_cpu_takes_what_fits_its_cache() -> None:
    assert runs_at_once(make_method("ce"), "linear", **SMALL, device=CPU) == 2**21 // 720
    wide = SMALL | {"n_features": 192, "n_classes": 7, "recipe": Recipe()}
    assert runs_at_once(make_method("ce"), "adapter", **wide, device=CPU) == 10  # four would fit


def test_training_asks_how_many_runs_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def listening(*arguments: object, **more: object) -> int:
        asked.append((arguments, more))
        return 1

    monkeypatch.setattr(training, "runs_at_once", listening)
    train(noisy(2), "elr", head="linear", **facts(2))
    method, sizes = small("elr"), {"n_samples": 60, "n_features": 5, "n_classes": 3}
    assert asked == [((method, "linear"), sizes | {"recipe": SHORT, "device": CPU})]
