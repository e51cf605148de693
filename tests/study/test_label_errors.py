"""The label-errors experiment: measures by hand, detectors on made evidence, rows on a small table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noisylib.comparison import noisy_labels
from noisylib.confident import keep_mask
from noisylib.evidence import Evidence
from noisylib.features.bank import load_bank
from noisylib.label_quality import clean_probability, predicted_labels
from noisylib.noise_estimate import estimate_noise
from noisylib.study import label_errors
from noisylib.study.experiment_runner import collect_experiment, run_experiment
from noisylib.study.experiment_tables import load_table
from noisylib.study.experiments import Task, plan_experiment
from noisylib.study.label_errors import (
    DETECTORS,
    EXPERIMENT,
    PROBABILITIES,
    Condition,
    Judgement,
    confident_transition,
    judgements,
    measures,
    tasks,
)

NOISES = (("symmetric", 0.0), ("symmetric", 0.3))
SMALL = replace(
    EXPERIMENT,
    tasks=lambda: [Task("small", "breast_cancer", "raw", Condition(NOISES, seeds=(0, 2), folds=2))],
)


def made(n: int = 90) -> tuple[Evidence, np.ndarray]:
    """Three classes that overlap a little, a fifth of the labels wrong."""
    g = np.random.default_rng(0)
    y_true = np.arange(n) % 3
    P = g.dirichlet(np.ones(3), n) + 2 * np.eye(3)[y_true]
    y = np.where(np.arange(n) % 5 == 0, (y_true + 1) % 3, y_true)
    neighbours = np.stack([g.choice(np.flatnonzero(y_true == c), 11) for c in y_true])
    return Evidence(y, P / P.sum(1, keepdims=True), neighbours), y_true


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    plan = plan_experiment(SMALL, folder)
    run_experiment(plan, folder)
    (path,) = collect_experiment(plan, folder)
    return load_table(path)[0]


def test_the_tasks_are_all_banks_with_both_noises_at_two_rates_and_none() -> None:
    every = tasks()
    assert len({(task.dataset, task.backbone) for task in every}) == len(every) == 15
    (condition,) = {task.condition for task in every}
    assert set(condition.noises) == {
        ("symmetric", 0.0),
        *((kind, rate) for kind in ("symmetric", "asymmetric") for rate in (0.2, 0.4)),
    }
    assert condition.seeds == (0, 1, 2)


def test_another_calibration_is_another_task(monkeypatch) -> None:
    before = tasks()[0].condition
    monkeypatch.setattr(label_errors, "calibration_digest", lambda: "other")
    assert tasks()[0].condition == replace(before, calibration="other")
    assert before.calibration != "other"


def test_every_run_has_a_row_for_every_detector(rows) -> None:
    runs = rows.groupby(["noise_rate", "seed"])
    assert set(runs.groups) == {(0.0, 0), (0.0, 2), (0.3, 0), (0.3, 2)}
    assert all(list(part["detector"]) == list(DETECTORS) for _, part in runs)
    bank = load_bank("breast_cancer", "raw")
    for (rate, seed), part in runs:
        (noise,) = noisy_labels(bank, "symmetric", rate, (seed,))
        assert set(part["realised_rate"]) == {noise.realised_rate}
        assert part["estimated_rate"].nunique() == 1
    assert set(rows["head"]) == {"linear"}
    assert set(rows["class_map"]) == {""}


def test_rows_know_what_cannot_be_measured(rows) -> None:
    clean, noisy = rows[rows["noise_rate"] == 0], rows[rows["noise_rate"] > 0]
    about_wrong = ["auroc", "average_precision", "precision_at_errors", "recall"]
    assert clean[about_wrong].isna().all(axis=None)
    assert noisy[[*about_wrong, "precision"]].notna().all(axis=None)
    assert (noisy["auroc"] > 0.75).all()
    for _, row in rows.iterrows():
        probability = row["detector"] in PROBABILITIES
        assert np.isnan(row["brier"]) != probability
        assert (
            row["bin_counts"].sum() == (len(load_bank("breast_cancer", "raw").part("train")[1])) * probability
        )
        assert np.isnan(row["suggested_right"]) == (not row["detector"].startswith("clean_probability"))
    assert (clean["precision"].isna() == (clean["flagged_share"] == 0)).all()
    assert (clean["precision"].dropna() == 0).all()


def test_rows_of_a_detector_follow_from_its_evidence(rows) -> None:
    bank = load_bank("breast_cancer", "raw")
    X, y_true = bank.part("train")
    (noise,) = noisy_labels(bank, "symmetric", 0.3, (2,))
    (evidence,) = label_errors.collect_evidence(X, noise.y_noisy, 2, seeds=(2,), folds=2, device="cpu")
    p = clean_probability(evidence)
    (row,) = rows.query("noise_rate == 0.3 and seed == 2 and detector == 'clean_probability'").to_dict(
        "records"
    )
    assert row["mean_probability"] == pytest.approx(p.mean(), abs=1e-5)
    assert row["brier"] == pytest.approx(np.mean((p - ~noise.flipped) ** 2), abs=1e-5)
    assert row["suggested_right"] == pytest.approx((predicted_labels(evidence) == y_true).mean(), abs=0.01)
    assert row["estimated_rate"] == pytest.approx(estimate_noise(evidence).rate, abs=1e-5)


def test_only_asymmetric_noise_follows_a_map() -> None:
    (noise,) = noisy_labels(load_bank("breast_cancer", "raw"), "symmetric", 0.3, (0,))
    estimate = estimate_noise(made()[0])
    for kind, name in (("symmetric", ""), ("asymmetric", "default")):
        row = label_errors._told(tasks()[0], (kind, 0.3, 0), noise, estimate)
        assert (row["noise_type"], row["class_map"], row["noise_rate"]) == (kind, name, 0.3)


def test_a_detector_is_what_it_says() -> None:
    evidence, y_true = made()
    T = np.eye(3) * 0.7 + 0.1
    found = judgements(evidence, estimate_noise(evidence), T)
    assert list(found) == list(DETECTORS)
    P, y, n = evidence.held_out, evidence.y, np.arange(90)
    own = P[n, y]
    others = np.where(np.eye(3, dtype=bool)[y], -1, P).max(1)
    np.testing.assert_allclose(found["cleanlab_self_confidence"].scores, own)
    np.testing.assert_allclose(found["cleanlab_margin"].scores, (own - others + 1) / 2)
    np.testing.assert_array_equal(found["knn"].scores, (y[evidence.neighbours] == y[:, None]).mean(1))
    np.testing.assert_allclose(found["self_confidence_knn"].scores, (own + evidence.neighbour_share) / 2)
    for key, matrix in (
        ("clean_probability", None),
        ("clean_probability_told", T),
        ("clean_probability_confident", confident_transition(evidence)),
    ):
        np.testing.assert_array_equal(found[key].scores, clean_probability(evidence, T=matrix))
        np.testing.assert_array_equal(found[key].flagged, found[key].scores < 0.5)
        np.testing.assert_array_equal(found[key].suggested, predicted_labels(evidence, T=matrix))
    lonely = Evidence(y, P, np.roll(n, 1)[:, None])  # neighbours that know nothing change nothing there
    of_head = judgements(lonely, estimate_noise(evidence), T)["clean_probability_head"]
    np.testing.assert_array_equal(found["clean_probability_head"].scores, of_head.scores)
    torn = Evidence(
        y, P, np.stack([np.roll(n, 1), np.roll(n, 2)], 1)
    )  # mostly a vote for each of two classes
    both = judgements(torn, estimate_noise(evidence), T)["self_confidence_knn"].flagged
    np.testing.assert_array_equal(both, (P + torn.neighbour_votes).argmax(1) != y)
    assert (both != (torn.neighbour_votes.argmax(1) != y)).any()
    kept = keep_mask(y, P).numpy()
    issues = found["cleanlab_issues"]
    np.testing.assert_array_equal(issues.flagged, ~kept)
    np.testing.assert_allclose(issues.scores, found["cleanlab_margin"].scores + 2 * kept)
    assert issues.scores[kept].min() > issues.scores[~kept].max()
    for key in ("cleanlab_self_confidence", "cleanlab_margin", "cleanlab_entropy"):
        np.testing.assert_array_equal(found[key].flagged, others > own)
    plurality = np.array([np.bincount(y[near]).argmax() for near in evidence.neighbours])
    np.testing.assert_array_equal(found["knn"].flagged, plurality != y)
    assert found["knn"].flagged[y != y_true].mean() > 0.9


def test_confident_transition_of_hand_counts() -> None:
    # Thresholds are .8 and .7. Label 0: three confident in 0, one in 1. Label 1: two in 1.
    P = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.2, 0.8], [0.3, 0.7], [0.3, 0.7]])
    evidence = Evidence(np.array([0, 0, 0, 0, 1, 1]), P, np.zeros((6, 1), int))
    np.testing.assert_allclose(confident_transition(evidence), [[1, 0], [1 / 3, 2 / 3]])
    empty = Evidence(evidence.y, np.column_stack([P, np.zeros(6)]), evidence.neighbours)
    np.testing.assert_allclose(confident_transition(empty)[2], [0, 0, 1])


def test_measures_by_hand() -> None:
    y = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    y_true = np.array([0, 1, 0, 1, 1, 2, 0, 2])
    evidence = Evidence(y, np.full((8, 3), 1 / 3), np.zeros((8, 1), int))
    scores = np.array([0.9, 0.2, 0.45, 1.0, 0.4, 0.4, 0.1, 0.95])
    suggested = np.array([0, 1, 1, 1, 1, 1, 0, 2])
    found = measures("knn", Judgement(scores, scores < 0.5, suggested), y_true, evidence)
    # Wrong: .2, .4, .1. Right: .9, .45, 1, .4, .95.
    assert found["auroc"] == pytest.approx((5 + 4.5 + 5) / 15)
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)  # the tie is one step of two
    assert found["precision_at_errors"] == pytest.approx(2 / 3)  # .1, .2 and the first of the two .4
    np.testing.assert_allclose(found["class_auroc"], [1.0, (2 + 1.5) / 4, np.nan])
    assert found["flagged_share"] == 5 / 8
    assert found["precision"] == 3 / 5
    assert found["recall"] == 1
    assert found["suggested_right"] == 6 / 8
    assert found["mean_probability"] == pytest.approx(4.4 / 8)
    assert found["brier"] == pytest.approx(
        (0.1**2 + 0.2**2 + 0.55**2 + 0 + 0.6**2 + 0.4**2 + 0.1**2 + 0.05**2) / 8
    )
    assert found["bin_counts"].tolist() == [0, 1, 1, 0, 3, 0, 0, 0, 0, 3]
    assert found["bin_probability"][4] == pytest.approx(1.25 / 3)
    assert found["bin_right"][[1, 2, 4, 9]].tolist() == [0, 0, 2 / 3, 1]
    assert np.isnan(found["bin_right"][0])


def test_measures_without_wrong_labels_and_without_flags() -> None:
    y = np.array([0, 1, 0, 1])
    evidence = Evidence(y, np.full((4, 2), 0.5), np.zeros((4, 1), int))
    found = measures("cleanlab_margin", Judgement(np.ones(4), np.zeros(4, bool)), y, evidence)
    for key in ("auroc", "average_precision", "precision_at_errors", "precision", "recall", "brier"):
        assert np.isnan(found[key])
    assert np.isnan(found["class_auroc"]).all()
    assert found["flagged_share"] == 0


def test_average_precision_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score

    g = np.random.default_rng(0)
    scores, wrong = g.integers(0, 20, 200) / 20, g.random(200) < 0.3
    assert label_errors._average_precision(scores, wrong) == pytest.approx(
        average_precision_score(wrong, -scores)
    )


def test_cost_grows_with_runs() -> None:
    (task,) = SMALL.tasks()
    once = replace(task, condition=replace(task.condition, seeds=(0,)))
    assert EXPERIMENT.cost(once, None) < EXPERIMENT.cost(task, None) < 2.01 * EXPERIMENT.cost(once, None)
