"""The collapse experiment: purities and rates of its noises by hand, its samples, and what its rows say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noisylib.features.bank import load_bank
from noisylib.features.longtail import FREQUENCY_MAPS
from noisylib.recipe import Recipe
from noisylib.study import collapse
from noisylib.study.collapse import HAM_MAPS, TABLE, cost, run, tasks
from noisylib.study.collapse_arms import Arm, Bed, Condition, arm_noise, samples_of
from noisylib.study.experiment_tables import to_arrow
from noisylib.study.experiments import Task
from noisylib.training import train_bank

# At imbalance 32 every class is twice the next one: 320, 160, 80, 40, 20 and 10 of 630.
SMALL = Bed(n_train=630, n_test=120)
QUICK = Recipe(epochs=3, score_epochs=2, learning_rate=0.02, width=8)
ARMS = tuple(Arm(name, asymmetry) for name in FREQUENCY_MAPS for asymmetry in (0.0, 0.5, 1.0))
BED = Task("bed", "bed", "", Condition("ce", "mlp", ARMS, imbalance=32.0, bed=SMALL, recipe=QUICK))
TASKS = {task.name: task for task in tasks()}
MEASURED = ("accuracy", "balanced_accuracy", "dead_classes", "recall")


def purity(name: str, asymmetry: float = 1.0) -> list[float]:
    return arm_noise(Arm(name, asymmetry), "bed", samples_of(BED), 0).purity.tolist()


def changed(task: Task, **changes) -> Task:
    return replace(task, condition=replace(task.condition, **changes))


def test_purity_by_hand() -> None:
    """Of 2n and n that are swapped at .4: 1.2 n of 1.6 n are right, .6 n of 1.4 n. And so on."""
    assert samples_of(BED).class_counts.tolist() == [320, 160, 80, 40, 20, 10]
    assert purity("equals") == pytest.approx([3 / 4, 3 / 7] * 3)
    assert purity("extremes") == pytest.approx(
        [192 / 196, 96 / 104, 48 / 64, 24 / 56, 12 / 76, 6 / 134]
    )  # kept over kept + what comes from the partner: 4, 8, 16, 32, 64 and 128
    assert purity("majority") == pytest.approx([192 / (192 + 124), 96 / (96 + 128), 1, 1, 1, 1])
    # Symmetric: .08 of everybody else's samples come in, 49.6 of 620 into the rarest class.
    assert purity("majority", 0.0)[5] == pytest.approx(6 / (6 + 49.6), abs=0.01)


def test_purity_at_equal_sizes_does_not_depend_on_the_pairs() -> None:
    balanced = samples_of(changed(BED, imbalance=1.0, bed=replace(SMALL, n_train=600)))
    for name in ("equals", "extremes"):
        noise = arm_noise(Arm(name, 1.0), "bed", balanced, 0)
        np.testing.assert_allclose(noise.purity, 0.6)


def test_asymmetry_blends_map_and_uniform_noise() -> None:
    """A quarter of .4 goes to the partner and three quarters evenly to all five others."""
    T = arm_noise(Arm("extremes", 0.25), "bed", samples_of(BED), 0).T
    np.testing.assert_allclose(T[0], [0.6, 0.06, 0.06, 0.06, 0.06, 0.16])


# By bank and method: "ce" trains all arms.
@pytest.mark.parametrize("name", ["bed-100-ce", "bed-1-ce", "pbc-100-ce", "pbc-10-ce", "ham10000-ce"])
def test_all_arms_of_a_rate_flip_the_same_number(name: str) -> None:
    """Each class is rounded by less than one sample, so the counts of two arms differ by K at most."""
    task = TASKS[name]
    samples = samples_of(task)
    for arm in task.condition.arms:
        noise = arm_noise(arm, task.dataset, samples, 0)
        kept = np.diag(noise.class_counts)
        if arm.map != "catalogue_majority" or not arm.asymmetry:
            assert (np.abs(kept - (1 - arm.noise_rate) * samples.class_counts) < 1).all(), arm
            off = abs(noise.realised_rate - arm.noise_rate)
            assert off * len(samples.y) < len(kept), arm


def test_the_catalogue_leaves_naevi_alone() -> None:
    samples = samples_of(TASKS["ham10000-ce"])
    noise = arm_noise(Arm("catalogue_majority", 1.0), "ham10000", samples, 0)
    naevi = samples.class_names.index("nv")
    assert not noise.flipped[samples.y == naevi].any()
    assert noise.realised_rate == pytest.approx(0.4 * (1 - 5364 / 8012), abs=1e-3)
    # By frequency, naevi (the most frequent) and melanoma (the second) do flip.
    by_frequency = arm_noise(Arm("majority", 1.0), "ham10000", samples, 0).T
    assert by_frequency[naevi, samples.class_names.index("mel")] == pytest.approx(0.4)
    assert (np.delete(by_frequency[:, naevi], naevi) == 0.4).all()
    cyclic = arm_noise(Arm("cyclic", 1.0), "ham10000", samples, 0).T
    np.testing.assert_allclose(cyclic, 0.6 * np.eye(7) + 0.4 * np.roll(np.eye(7), 1, axis=1))
    default = arm_noise(Arm("default", 1.0), "ham10000", samples, 0).T
    assert default[naevi, samples.class_names.index("mel")] == pytest.approx(0.4)
    assert default[samples.class_names.index("akiec"), samples.class_names.index("bcc")] == 0.4


def test_bed_trains_on_a_tail_and_is_scored_on_balanced_classes() -> None:
    balanced, tailed = samples_of(TASKS["bed-1-ce"]), samples_of(TASKS["bed-100-ce"])
    assert (len(balanced.y), len(tailed.y)) == (4000, 4000)
    assert np.bincount(tailed.y_test).tolist() == [1000] * 6
    np.testing.assert_array_equal(balanced.X_test, tailed.X_test)
    assert tailed.class_counts[0] / tailed.class_counts[5] == pytest.approx(100, rel=0.03)
    # Six normals, one of them 3 / sqrt(2) ahead: P(it is the largest), by a sum over its value.
    t = np.linspace(-9, 12, 20_001)
    density = np.exp(-((t - 3 / np.sqrt(2)) ** 2) / 2) / np.sqrt(2 * np.pi)
    below = np.cumsum(np.exp(-(t**2) / 2)) / np.exp(-(t**2) / 2).sum()
    assert balanced.bayes_balanced == pytest.approx((density * below**5).sum() * (t[1] - t[0]), abs=1e-3)
    assert 0.75 < balanced.bayes_balanced < 0.85
    assert tailed.bayes_balanced < balanced.bayes_balanced


def test_tails_of_pbc_have_one_size_and_the_test_part_stays() -> None:
    bank = load_bank("pbc", "deit_tiny")
    for imbalance in (1, 10, 30, 100):
        samples = samples_of(TASKS[f"pbc-{imbalance}-ce"])
        # The 2,662 neutrophils at 100 : 1 set it: their share is 1 / (1 + r + ... + r^7), r = 100^(-1/7).
        assert len(samples.y) == int(2662 * sum(100 ** (-i / 7) for i in range(8)))
        assert samples.class_counts.max() / samples.class_counts.min() == pytest.approx(imbalance, rel=0.03)
        np.testing.assert_array_equal(samples.y_test, bank.part("test")[1])
        assert samples.imbalance == imbalance
        assert np.isnan(samples.bayes_balanced)


def test_ham10000_is_as_it_is() -> None:
    samples, (X, y) = samples_of(TASKS["ham10000-ce"]), load_bank("ham10000", "deit_tiny").part("train")
    np.testing.assert_array_equal(samples.X, X)
    np.testing.assert_array_equal(samples.y, y)
    assert samples.imbalance == 5364 / 92


def test_tasks_cover_the_sweep_and_fit_the_cache() -> None:
    assert len(TASKS) == len(tasks()) == 6 * (5 + 4 + 1)
    for task in TASKS.values():
        arms = task.condition.arms
        assert len(set(arms)) == len(arms)
        distinct = {(arm.noise_rate, arm.asymmetry, arm.asymmetry and arm.map) for arm in arms}
        assert 3 * len(distinct) <= 45
        assert cost(task, None) > 0
    assert len(TASKS["bed-10-coteaching"].condition.arms) == 3 * 5
    assert {arm.asymmetry for arm in TASKS["bed-10-ce_balanced"].condition.arms} == {0.0, 1.0}
    ham = TASKS["ham10000-coteaching_quota"].condition.arms
    assert {(arm.map, arm.asymmetry) for arm in ham if arm.noise_rate == 0.2} == {(m, 1.0) for m in HAM_MAPS}
    assert Arm("none", 0.0, 0.0) in TASKS["pbc-30-ce"].condition.arms
    # Twice the networks, and no run without noise: 39 pairs against 42 heads.
    assert cost(TASKS["bed-3-coteaching"], None) / cost(TASKS["bed-3-ce"], None) == pytest.approx(2 * 39 / 42)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return run(changed(BED, method="coteaching"), None)["collapse"]


def test_rows_are_complete_and_fit_their_table(rows: list[dict]) -> None:
    assert to_arrow(rows, TABLE, "id", "test").num_rows == 9 * 3
    seen = {(row["map"], row["asymmetry"], row["seed"]) for row in rows}
    assert seen == {(arm.map, arm.asymmetry, seed) for arm in ARMS for seed in (0, 1, 2)}
    for row in rows:
        assert row["class_counts"].tolist() == [320, 160, 80, 40, 20, 10]
        assert row["min_purity"] == row["purity"].min()
        assert row["realised_rate"] == pytest.approx(0.4, abs=6 / 630)
        assert (row["source"], row["imbalance"], row["noise_rate"]) == ("bed", 32.0, 0.4)
        assert row["class_map"] == ("" if row["asymmetry"] == 0 else row["map"])
        assert row["noise_type"] == ("symmetric" if row["asymmetry"] == 0 else "asymmetric")
        assert row["dead_classes"] == (row["recall"] == 0).sum()
        assert row["balanced_accuracy"] == pytest.approx(row["recall"].mean())
        assert row["accuracy"] == pytest.approx(row["balanced_accuracy"]), "the test part is balanced"


def test_symmetric_noise_is_trained_once_for_all_maps(rows: list[dict], monkeypatch) -> None:
    by_map = {name: [r for r in rows if r["map"] == name and r["asymmetry"] == 0] for name in FREQUENCY_MAPS}
    for row, same in zip(by_map["equals"], by_map["majority"], strict=True):
        assert {name: row[name] for name in ("seed", "accuracy", "min_purity")} == {
            name: same[name] for name in ("seed", "accuracy", "min_purity")
        }
    calls = []

    def spy(X: np.ndarray, y_noisy: np.ndarray, *arguments, **more):
        calls.append((y_noisy, more))
        return train_bank(X, y_noisy, *arguments, **more)

    monkeypatch.setattr(collapse, "train_bank", spy)
    run(changed(BED, arms=(Arm("none", 0.0, 0.0), *ARMS)), None)
    ((labels, more),) = calls
    assert len(labels) == 8 * 3  # 3 maps x 2 asymmetries, the symmetric one and clean labels
    # Clean labels are the same for all seeds, their trainings are not.
    assert sorted(more["seeds"]) == [0] * 8 + [1] * 8 + [2] * 8
    # What is told goes with the labels of its run.
    assert sorted(more["noise_types"]) == ["asymmetric"] * 18 + ["symmetric"] * 6
    y = samples_of(BED).y
    np.testing.assert_allclose(more["noise_rates"], (labels != y).mean(1))
    moved = [np.bincount(run_labels[y == 0], minlength=6) / 320 for run_labels in labels]
    np.testing.assert_allclose(more["transitions"][:, 0], moved)


def test_rows_do_not_depend_on_what_is_trained_along(rows: list[dict]) -> None:
    """Alone or in a bank: the same labels, and the same scores but for the order of float32 sums."""
    for seeds, arms in (((1,), ARMS), ((0, 2), ARMS[4:5])):
        part = run(changed(BED, method="coteaching", seeds=seeds, arms=arms), None)["collapse"]
        for row in part:
            (same,) = [
                other
                for other in rows
                if all(other[name] == row[name] for name in ("map", "asymmetry", "seed"))
            ]
            for name in TABLE.keys() - set(MEASURED):
                np.testing.assert_array_equal(row[name], same[name], err_msg=name)
            np.testing.assert_allclose(row["recall"], same["recall"], atol=0.051)
            assert row["accuracy"] == pytest.approx(same["accuracy"], abs=0.01)


def test_a_row_is_its_own_training(rows: list[dict]) -> None:
    samples, arm, seed = samples_of(BED), Arm("majority", 1.0), 2
    noise = arm_noise(arm, "bed", samples, seed)
    alone = train_bank(
        samples.X, noise.y_noisy, samples.X_test, samples.y_test, n_classes=6, method="coteaching",
        head="mlp", seeds=[seed], noise_rates=[noise.realised_rate], recipe=QUICK,
    )  # fmt: skip
    (row,) = [r for r in rows if (r["map"], r["asymmetry"], r["seed"]) == ("majority", 1.0, seed)]
    np.testing.assert_array_equal(row["purity"], noise.purity)
    np.testing.assert_allclose(row["recall"], alone.recall[0], atol=0.051)
    assert row["accuracy"] == pytest.approx(alone.accuracy[0], abs=0.01)


@pytest.mark.parametrize("method", collapse.METHODS)
def test_every_method_runs(method: str) -> None:
    (row,) = run(changed(BED, method=method, arms=ARMS[2:3], seeds=(0,)), None)["collapse"]
    assert row["method"] == method
    assert row["balanced_accuracy"] > 1 / 6
