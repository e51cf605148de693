"""The benchmark of the methods trains what `train_bank` trains, and its ratios are those it names."""

from __future__ import annotations

import importlib
import json
import math
from types import ModuleType

import numpy as np
import pytest
import torch

from noisylib.methods import METHODS, RANKED, make_method
from noisylib.recipe import Recipe
from noisylib.training import train_bank

CPU = torch.device("cpu")


@pytest.fixture
def methods(root, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/methods.py, which is not part of the installed package."""
    monkeypatch.syspath_prepend(root)
    return importlib.import_module("benchmarks.methods")


@pytest.fixture
def studybank(methods: ModuleType) -> ModuleType:
    """benchmarks/studybank.py."""
    return importlib.import_module("benchmarks.studybank")


def test_cost_by_hand(methods: ModuleType) -> None:
    """Three rounds of two networks; the machine halves its speed in the second."""
    rule, Timing = make_method("coteaching"), methods.Timing
    ce = [Timing(0.0, 1.0), Timing(0.0, 2.0), Timing(1.0, 1.0)]
    timings = [Timing(10.0, 3.0), Timing(20.0, 6.0), Timing(5.0, 4.0)]
    row = methods.cost(rule, timings, ce, epochs=10)
    # Whole runs: 40, 80 and 45 seconds against 10, 20 and 11.
    assert row["per_run"] == pytest.approx(4.0)
    assert (row["per_run_min"], row["per_run_max"]) == pytest.approx((4.0, 45 / 11))
    assert row["per_network_epoch"] == pytest.approx(1.5)  # of 3, 3 and 4 over two networks
    assert row["share_once"] == pytest.approx(0.25)  # of 10/40, 20/80 and 5/45
    assert (row["seconds_per_run"], row["seconds_once"]) == (45.0, 10.0)
    assert (row["title"], row["networks"], row["ranked"]) == ("Co-teaching", 2, True)
    voting = methods.cost(make_method("knn"), [Timing(2.0, 0.0)], [Timing(0.0, 1.0)], epochs=10)
    assert (voting["per_run"], voting["per_network_epoch"], voting["share_once"]) == (0.2, None, 1.0)


def test_time_before_the_first_epoch_is_kept_apart(
    methods: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that moves by 12 while a bank is built and by 4 in an epoch, which four runs share."""
    now = 0.0
    build, train = methods.BankInTraining.__init__, methods.BankInTraining.train_epoch

    def moves(method, seconds):
        def moved(*args):
            nonlocal now
            method(*args)
            now += seconds

        return moved

    monkeypatch.setattr(methods, "clock", lambda device: now)
    monkeypatch.setattr(methods.BankInTraining, "__init__", moves(build, 12.0))
    monkeypatch.setattr(methods.BankInTraining, "train_epoch", moves(train, 4.0))
    bank = methods.made_bank(*methods.QUICK.made)
    timed = methods.TimedBank(make_method("ce"), bank, methods.QUICK, CPU)
    assert timed.timing() == methods.Timing(once=3.0, epoch=0.0)
    for epoch in range(3):
        timed.train(epoch)
    assert timed.timing() == methods.Timing(once=3.0, epoch=1.0)
    assert timed.timing().run(50) == 53.0


@pytest.mark.parametrize("name", ["ce", "dividemix", "turn", "ann"])
def test_timed_bank_trains_what_train_bank_trains(name: str, methods: ModuleType) -> None:
    setting, rule = methods.QUICK, make_method(name)
    bank = methods.made_bank(*setting.made)
    timed = methods.TimedBank(rule, bank, setting, CPU)
    for epoch in range(setting.epochs):
        timed.train(epoch)
    noise = [bank.labels(run) for run in range(4)]
    expected = train_bank(
        bank.train[0],
        np.stack([n.y_noisy for n in noise]),
        *bank.test,
        n_classes=7,
        method=rule,
        seeds=[0, 0, 1, 1],
        noise_rates=[n.realised_rate for n in noise],
        noise_types=["symmetric", "asymmetric"] * 2,
        recipe=Recipe(epochs=10, score_epochs=2),
        device="cpu",
    )
    got = timed.recorder.results(0.0)
    assert got.epochs == expected.epochs
    np.testing.assert_array_equal(got.test_logits, expected.test_logits)
    np.testing.assert_array_equal(got.balanced_accuracy, expected.balanced_accuracy)


def test_a_round_trains_an_epoch_of_each_method_in_turn(
    methods: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched:
        def __init__(self, rule, bank, setting, device) -> None:
            self.name = rule.name
            seen.append((self.name, "built"))

        def train(self, epoch: int) -> None:
            seen.append((self.name, epoch))

        def timing(self) -> str:
            return f"timing of {self.name}"

    monkeypatch.setattr(methods, "TimedBank", Watched)
    rules = {name: make_method(name) for name in ("gce", "ce")}
    timings = methods.one_round(rules, None, methods.Setting(epochs=2), CPU)
    assert seen == [(name, what) for what in ("built", 0, 1) for name in ("gce", "ce")]
    assert timings == {"gce": "timing of gce", "ce": "timing of ce"}


def test_every_round_has_every_method_and_another_order(
    methods: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method number i takes i + 1 seconds per epoch in every round."""
    orders, names = [], list(METHODS)

    def one_round(rules, bank, setting, device):
        orders.append((list(rules), bank.source, setting))
        return {name: methods.Timing(0.0, names.index(name) + 1.0) for name in rules}

    monkeypatch.setattr(methods, "one_round", one_round)
    setting = methods.Setting(made=(200, 4), rounds=4)
    results = methods.measure(setting, CPU)
    warm, *rounds = orders
    assert warm[2] == methods.QUICK
    assert [used for *_, used in rounds] == [setting] * 4
    assert all(sorted(order) == sorted(names) for order, *_ in rounds)
    assert len({order[0] for order, *_ in rounds}) == 4
    assert [row["per_run"] for row in results["methods.costs"].values()] == list(range(1, len(names) + 1))
    # The dearest of the ranked eight, per network: DivideMix, sixth, has two; forward, fourth, has one.
    per_network = {name: (names.index(name) + 1) / make_method(name).n_nets for name in RANKED}
    assert results["methods.dearest_ranked"] == max(per_network, key=per_network.get)
    assert results["methods.dearest_ranked_per_network_epoch"] == max(per_network.values())


def test_banks_are_as_large_as_a_study_makes_them(methods: ModuleType) -> None:
    """Ten runs, which here is one seed, on a CPU; a method that trains nothing takes all."""
    setting, cuda = methods.Setting(), torch.device("cuda")
    for name, seeds in (("ce", 1), ("coteaching", 1), ("dividemix", 1), ("cufit", 1), ("knn", 3)):
        assert setting.seeds_of(make_method(name), CPU) == seeds
        assert setting.seeds_of(make_method(name), cuda) == 3


def test_ten_epochs_keep_the_shares_of_fifty(methods: ModuleType) -> None:
    setting, whole = methods.Setting(), Recipe()
    assert setting.study_epochs == whole.epochs == 50
    assert setting.recipe.score_epochs / setting.epochs == whole.score_epochs / whole.epochs
    assert setting.recipe.batch_size == whole.batch_size
    for name in ("dividemix", "unicon"):
        rule = make_method(name)
        assert rule.warm_up_epochs(setting.epochs) / setting.epochs == rule.warm_up_epochs(50) / 50
    probe = make_method("turn").probe
    assert round(probe * setting.epochs) / setting.epochs == round(probe * 50) / 50


def test_made_bank_looks_like_the_shipped_one(studybank: ModuleType) -> None:
    made, shipped = studybank.made_bank(*studybank.SHIPPED), studybank.shipped_bank()
    assert shipped.train[0].shape == studybank.SHIPPED
    assert made.train[0].shape == pytest.approx(studybank.SHIPPED, rel=0.001)
    assert len(made.test[1]) == pytest.approx(len(shipped.test[1]), rel=0.05)
    assert made.class_map == shipped.class_map
    for bank in (made, shipped):
        frequency = np.sort(np.bincount(bank.train[1], minlength=7) / len(bank.train[1]))
        assert frequency[0] == pytest.approx(0.0115, abs=0.003)
        assert frequency[-1] == pytest.approx(0.67, abs=0.01)
    assert len(studybank.made_bank(50, 3).train[1]) >= 7 * studybank.FEWEST


def test_runs_alternate_between_two_kinds_of_noise(studybank: ModuleType) -> None:
    bank = studybank.made_bank(1000, 3)
    first, second, third = (bank.labels(run) for run in range(3))
    assert [n.noise_type for n in (first, second, third)] == ["symmetric", "asymmetric", "symmetric"]
    assert first.realised_rate == pytest.approx(0.3, abs=0.01)
    mapped = np.isin(bank.train[1], list(bank.class_map))
    assert second.flipped[mapped].mean() == pytest.approx(0.4, abs=0.02)
    assert not second.flipped[~mapped].any()
    assert (first.y_noisy != third.y_noisy).any()


def test_made_data_stands_in_for_an_absent_bank(
    methods: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    assert methods.find_bank(methods.Setting()).source == "ham10000-deit_tiny, as shipped"
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path))
    absent = methods.find_bank(methods.Setting())
    assert absent.source == "made"
    assert absent.train[0].shape == pytest.approx((8012, 192), rel=0.001)


def test_a_small_measurement_has_every_key(methods: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = methods.Setting(made=(210, 4), seeds=1, runs_per_seed=2, epochs=2, rounds=1)
    monkeypatch.setattr(methods, "QUICK", setting)
    results = json.loads(json.dumps(methods.run(True, CPU)))
    assert all(key.startswith("methods.") for key in results)
    costs, shown = results["methods.costs"], methods.table(results).splitlines()
    assert list(costs) == list(METHODS)
    for name, row in costs.items():
        rule = make_method(name)
        line = next(line for line in shown if line[2:].startswith(f"{rule.title} "))
        assert line.startswith("*") == rule.ranked == row["ranked"]
        assert f"{row['per_run']:.2f} x" in line
        assert math.isfinite(row["per_run"])
        assert 0 < row["per_run_min"] <= row["per_run"] <= row["per_run_max"]
        assert 0 < row["share_once"] <= 1
        if rule.n_nets:
            assert f"{row['per_network_epoch']:.2f} x" in line
        else:
            assert row["share_once"] == 1
    assert (costs["ce"]["per_run"], costs["ce"]["per_network_epoch"]) == (1, 1)
    assert results["methods.dearest_ranked"] in RANKED
    assert results["methods.setting"]["runs_at_once"]["cufit"] == 2
    assert results["methods.setting"]["n_samples"] == len(methods.made_bank(210, 4).train[1])
