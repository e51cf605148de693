"""The experiment `conditions`: descriptors of the labels as they are observed, and the truth beside them."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.descriptors import DESCRIPTORS, describe
from noisylib.evidence import collect_evidence
from noisylib.study.advice_variants import Bed, Source, noisy_labels, samples_of, sources
from noisylib.study.conditions import TABLE, Condition, cost, run, tasks
from noisylib.study.experiment_tables import to_arrow
from noisylib.study.experiments import Task

# Priors 4 : 2 : 1 of 350.
SMALL = Source("bed", "", Bed(3, 4, 350, 4.0, 4.0, n_test=30))
NOISES = (("symmetric", 0.0), ("symmetric", 0.2), ("asymmetric", 0.4))
TASK = Task("bed", "bed", "", Condition(SMALL, NOISES, seeds=(0, 1)))


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return run(TASK, None)["conditions"]


def test_one_task_for_each_training_set() -> None:
    assert [task.condition.source for task in tasks()] == sources()
    assert all(task.condition.noises == task.condition.source.noises for task in tasks())
    assert len({task.name for task in tasks()}) == len(tasks())


def test_rows_fit_the_table_and_hold_the_truth(rows: list[dict]) -> None:
    assert to_arrow(rows, TABLE, "id", "test").num_rows == 6
    seen = [(row["noise_type"], row["noise_rate"], row["seed"]) for row in rows]
    assert seen == [(kind, rate, seed) for seed in (0, 1) for kind, rate in NOISES]
    for row in rows:
        assert np.asarray(row["class_true_counts"]).tolist() == [200, 100, 50]
        np.testing.assert_allclose(row["class_flip_rate"], row["noise_rate"])
        flipped = np.dot(row["class_flip_rate"], row["class_true_counts"]) / 350
        assert row["realised_rate"] == pytest.approx(flipped)
        # Per observed class, right labels are those that did not leave it.
        right = np.multiply(row["class_true_purity"], row["class_counts"])
        np.testing.assert_allclose(right, (1 - row["noise_rate"]) * np.array([200, 100, 50]))
    # Of 200, 100 and 50, four tenths go on to the next class: 120 + 20, 60 + 80, 30 + 40.
    assert np.asarray(rows[2]["class_counts"]).tolist() == [140, 140, 70]


def test_descriptors_are_those_of_the_run_alone(rows: list[dict]) -> None:
    samples = samples_of(SMALL)
    for r, (kind, rate, seed) in ((1, ("symmetric", 0.2, 0)), (5, ("asymmetric", 0.4, 1))):
        labels = noisy_labels(SMALL, samples, kind, rate, seed)
        (evidence,) = collect_evidence(samples.X, labels.y_noisy, 3, seeds=[seed])
        alone = describe(samples.X, evidence)
        assert {name: rows[r][name] for name in DESCRIPTORS} == pytest.approx(alone.scalars(), abs=1e-4)
        np.testing.assert_allclose(rows[r]["class_recall"], alone.class_recall, atol=1e-4)


def test_noise_shows_in_the_descriptors(rows: list[dict]) -> None:
    agreement = [row["neighbour_agreement"] for row in rows]
    assert agreement[0] > agreement[1] > agreement[2]
    assert agreement[3] > agreement[4] > agreement[5]


def test_cost_grows_with_runs_and_samples() -> None:
    whole = cost(TASK, None)
    one_seed = Task("bed", "bed", "", Condition(SMALL, NOISES, seeds=(0,)))
    assert whole / 2 <= cost(one_seed, None) < whole
    larger = Source("bed", "", Bed(3, 4, 700, 4.0, 4.0, n_test=30))
    assert cost(Task("bed", "bed", "", Condition(larger, NOISES, seeds=(0, 1))), None) >= 2 * whole
