"""The experiment `advice`: its training sets by hand, the archive's own labels, and what methods are told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from noisylib.candidates import CANDIDATES
from noisylib.errors import NoisylibError
from noisylib.features.bank import load_bank
from noisylib.recipe import Recipe
from noisylib.study import advice
from noisylib.study.advice import ARCHIVED, TABLE, calibration_digest, cost, run, task_of, tasks
from noisylib.study.advice_variants import (
    ARCHIVED_NOISES,
    BEDS,
    VARIANT_NOISES,
    Bed,
    Source,
    noisy_labels,
    proportional,
    run_groups,
    samples_of,
    sources,
)
from noisylib.study.config import load_config
from noisylib.study.experiment_tables import to_arrow
from noisylib.study.experiments import Task, task_digest
from noisylib.study.inputs import run_noise
from noisylib.training import train_bank

QUICK = Recipe(epochs=2, score_epochs=1, width=4)
SMALL = Source("bed", "", Bed(3, 4, 150, 3.0, 4.0, n_test=60))
EVERY = {source.name: source for source in sources()}
TASKS = {task.name: task for task in tasks()}


def quick(key: str, source: Source = SMALL, **changes) -> Task:
    task = task_of(source, CANDIDATES[key])
    return replace(task, condition=replace(task.condition, recipe=QUICK, **changes))


def test_training_sets() -> None:
    """15 banks; 500 of four sets and 1,500 of three; two tails of PBC and one of PneumoniaMNIST; 12 beds."""
    assert len(EVERY) == len(sources()) == 15 + 3 * (4 + 3) + 3 * (2 + 1) + 12
    variants = pd.Series([source.variant for source in EVERY.values() if source.backbone]).value_counts()
    assert variants.to_dict() == {"": 15, "n500": 12, "n1500": 9, "tail10": 6, "tail30": 3}
    assert len({bed.name for bed in BEDS}) == 12
    assert BEDS[7].name == "k8-d256-n2000-s3-i50"
    assert EVERY["bed-k8-d256-n2000-s3-i50"].part is BEDS[7]
    for source in EVERY.values():
        assert source.noises == (VARIANT_NOISES if source.variant else ARCHIVED_NOISES)
    assert (len(ARCHIVED_NOISES), len(VARIANT_NOISES)) == (9, 5)


def test_tasks_are_what_the_archive_lacks() -> None:
    assert len(TASKS) == len(tasks()) == 15 * 3 + 42 * 9
    whole = [task for task in TASKS.values() if not task.condition.source.variant]
    assert {task.condition.candidate for task in whole} == {"dividemix", "turn", "coteaching"}
    assert set(ARCHIVED) == set(CANDIDATES) - {"dividemix", "turn", "coteaching"}
    told = {task.condition.calibration for task in TASKS.values() if task.condition.candidate == "coteaching"}
    assert told == {calibration_digest()}
    others = {
        task.condition.calibration for task in TASKS.values() if task.condition.candidate != "coteaching"
    }
    assert others == {""}


def test_ids_change_with_the_calibration_and_the_options(monkeypatch) -> None:
    def digest(task: Task) -> str:
        return task_digest(advice.EXPERIMENT, task, "bank")

    source, coteaching = EVERY["pbc-deit_tiny"], CANDIDATES["coteaching"]
    assert digest(task_of(source, coteaching, "a")) != digest(task_of(source, coteaching, "b"))
    assert digest(task_of(source, CANDIDATES["turn"], "a")) == digest(
        task_of(source, CANDIDATES["turn"], "b")
    )
    rule = advice.shipped_rule()
    for changes in ({"intercept": rule.intercept + 1e-6}, {"weight": -rule.weight}, {"lowest": rule.mean}):
        monkeypatch.setattr(advice, "shipped_rule", lambda changes=changes: replace(rule, **changes))
        ids = {digest(task) for task in tasks() if task.condition.candidate == "coteaching"}
        assert not ids & {digest(task) for task in TASKS.values()}
    assert TASKS["pbc-deit_tiny-dividemix"].condition.options == (
        *(("alpha", 0.5), ("unlabelled_weight", 0.0), ("warm_up_penalty", 0.0)),
    )


def test_parts_have_the_classes_in_proportion() -> None:
    y = np.repeat([0, 1, 2], [5, 3, 2])
    # 2.5, 1.5 and 1 of 5: the one that is left goes to the lower of two equal remainders.
    assert np.bincount(y[proportional(y, 3, 5)]).tolist() == [3, 1, 1]
    assert proportional(y, 3, 10).tolist() == list(range(10))
    # 9.7, .2 and .1 of 10: rare classes keep a sample, and the frequent one pays.
    rare = np.repeat([0, 1, 2], [97, 2, 1])
    assert np.bincount(rare[proportional(rare, 3, 10)]).tolist() == [8, 1, 1]
    assert set(proportional(rare, 3, 10)) < set(proportional(rare, 3, 50))
    # A class that nobody has stays empty.
    assert np.bincount(y[proportional(y, 4, 5)], minlength=4).tolist() == [3, 1, 1, 0]
    for n in (2, 11):
        with pytest.raises(NoisylibError, match=f"n={n} of 10"):
            proportional(y, 3, n)


def test_small_parts_of_a_bank() -> None:
    bank, source = load_bank("ham10000", "deit_tiny"), EVERY["ham10000-deit_tiny-n500"]
    samples, (X, y) = samples_of(source), bank.part("train")
    assert len(samples.y) == 500
    # The rarest of seven has 92 of 8,012.
    np.testing.assert_allclose(samples.class_counts, np.bincount(y) * 500 / 8012, atol=1)
    assert samples.class_counts.min() == 6
    np.testing.assert_array_equal(samples.X_test, bank.part("test")[0])
    assert len(set(samples.X[:, 0]) - set(X[:, 0])) == 0


def test_tails_of_pbc_have_one_size() -> None:
    for imbalance in (10, 30):
        samples = samples_of(EVERY[f"pbc-deit_tiny-tail{imbalance}"])
        # The 2,662 neutrophils at 30 : 1 set it: their share is 1 / (1 + r + ... + r^7), r = 30^(-1/7).
        assert len(samples.y) == int(2662 * sum(30 ** (-i / 7) for i in range(8)))
        assert samples.class_counts.max() / samples.class_counts.min() == pytest.approx(imbalance, rel=0.02)


def test_beds_are_tested_as_they_are_trained() -> None:
    """Priors 4 : 2 : 1 of 700, other samples; wrong labels go to the next class."""
    source = Source("bed", "", Bed(3, 4, 700, 3.0, 4.0, n_test=700))
    samples = samples_of(source)
    assert samples.class_counts.tolist() == np.bincount(samples.y_test).tolist() == [400, 200, 100]
    assert not np.isin(samples.X_test[:, 0], samples.X[:, 0]).any()
    noise = noisy_labels(source, samples, "asymmetric", 0.4, 0)
    assert noise.class_counts.tolist() == [[240, 160, 0], [0, 120, 80], [40, 0, 60]]


def test_labels_are_those_of_the_archive(root) -> None:
    config = load_config(root / "configs" / "archive.yaml")
    for name in ("retinamnist-mobilenetv2", "breastmnist-deit_tiny"):
        source = EVERY[name]
        bank, samples = load_bank(source.dataset, source.backbone), samples_of(source)
        runs = [
            run
            for run in config.runs()
            if (run.dataset, run.backbone) == (source.dataset, source.backbone)
            and run.method.name == "ce"
            and run.seed_noise < 3
            and (run.noise_type, run.noise_rate) in source.noises
        ]
        assert len(runs) == 27
        for spec in runs:
            ours = noisy_labels(source, samples, spec.noise_type, spec.noise_rate, spec.seed_noise)
            np.testing.assert_array_equal(ours.y_noisy, run_noise(spec, bank).y_noisy)


def test_scores_are_those_of_the_archive(root) -> None:
    """A run that the archive has, trained here alone, is the same but for the order of float32 sums."""
    task = task_of(EVERY["breastmnist-deit_tiny"], CANDIDATES["ce"])
    task = replace(task, condition=replace(task.condition, noises=(("asymmetric", 0.3),), seeds=(1,)))
    ((row,),) = run(task, None).values()
    rows = pd.read_parquet(root / "results" / "archive.parquet")
    keys = ("dataset", "backbone", "noise_type", "noise_rate", "seed", "class_map", "head")
    for key in keys:
        rows = rows[rows[key] == row[key]]
    (archived,) = rows[rows["method"] == "ce"].to_dict("records")
    assert row["realised_rate"] == archived["realised_rate"]
    assert row["balanced_accuracy"] == pytest.approx(archived["balanced_accuracy"], abs=0.01)
    assert row["accuracy"] == pytest.approx(archived["accuracy"], abs=0.01)


def test_groups_are_whole_seeds_of_few_heads() -> None:
    assert [len(runs) for runs in run_groups(ARCHIVED_NOISES, (0, 1, 2), 2)] == [9, 9, 9]
    assert [len(runs) for runs in run_groups(ARCHIVED_NOISES, (0, 1, 2), 1)] == [27]
    assert [len(runs) for runs in run_groups(VARIANT_NOISES, (0, 1, 2), 2)] == [15]
    first, second = run_groups((("symmetric", 0.2), ("asymmetric", 0.2)), (0, 1), 9)
    assert first == [("symmetric", 0.2, 0), ("asymmetric", 0.2, 0)]
    assert second == [("symmetric", 0.2, 1), ("asymmetric", 0.2, 1)]


@pytest.mark.parametrize("key", ["dividemix", "turn"])
def test_rows_fit_the_table_and_say_what_they_are_of(key: str) -> None:
    rows = run(quick(key), None)["advice"]
    assert to_arrow(rows, TABLE, "id", "test").num_rows == 15
    seen = [(row["noise_type"], row["noise_rate"], row["seed"]) for row in rows]
    assert seen == [(kind, rate, seed) for seed in (0, 1, 2) for kind, rate in VARIANT_NOISES]
    for row in rows:
        assert row["realised_rate"] == pytest.approx(row["noise_rate"], abs=0.01)
        assert row["class_map"] == ("cyclic" if row["noise_type"] == "asymmetric" else "")
        assert (row["variant"], row["family"]) == ("k3-d4-n150-s3-i4", "made")
        assert (row["candidate"], row["head"]) == (key, "adapter")
        assert row["balanced_accuracy"] == pytest.approx(row["recall"].mean())
        assert row["accuracy"] == pytest.approx(np.average(row["recall"], weights=[34, 17, 9]))
        assert np.isnan(row["given_rate"])


def test_rates_are_estimated_and_nothing_else_is_told(monkeypatch) -> None:
    """The estimates 0, .1, .2, ... are given in order, within [.01, .6]."""
    given, trained = [], []

    def estimate(evidence) -> SimpleNamespace:
        given.append(evidence.y)
        return SimpleNamespace(rate=(len(given) - 1) / 10)

    def spy(X, y_noisy, X_test, y_test, **more):
        trained.append((y_noisy, more))
        return train_bank(X, y_noisy, X_test, y_test, **more)

    monkeypatch.setattr(advice, "estimate_noise", estimate)
    monkeypatch.setattr(advice, "train_bank", spy)
    rows = run(quick("coteaching", seeds=(0, 1)), None)["advice"]
    expected = [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6]
    ((labels, more),) = trained
    np.testing.assert_allclose([row["given_rate"] for row in rows], expected)
    np.testing.assert_allclose(more["noise_rates"], expected)
    assert not {"noise_types", "transitions"} & more.keys()
    np.testing.assert_array_equal(np.stack(given), labels)  # each estimate is of the labels it is given for
    y = samples_of(SMALL).y
    np.testing.assert_allclose((labels != y).mean(1), [row["realised_rate"] for row in rows])


def test_methods_that_are_told_nothing_get_nothing(monkeypatch) -> None:
    seen = []

    def spy(*arrays, **more):
        seen.append(more)
        return train_bank(*arrays, **more)

    monkeypatch.setattr(advice, "train_bank", spy)
    run(quick("dividemix", seeds=(0,)), None)
    assert seen[0]["noise_rates"] is None
    assert seen[0]["method"] == CANDIDATES["dividemix"].method


def test_cost_counts_networks_runs_and_steps() -> None:
    ce, coteaching, dividemix = (cost(quick(key), None) for key in ("ce", "coteaching", "dividemix"))
    assert coteaching / ce == pytest.approx(2 * CANDIDATES["coteaching"].method.step_cost)
    assert dividemix / ce == pytest.approx(2 * CANDIDATES["dividemix"].method.step_cost)
    assert cost(quick("ce", seeds=(0,)), None) == pytest.approx(ce / 3)
