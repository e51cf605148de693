"""Rows of fine-tuning studies from arrays small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.finetuning.selection import Selection
from noisylib.study.finetune_labels import TrainingLabels
from noisylib.study.finetune_tables import above_threshold, cleaning_rows, test_scores, training_scores

nan = float("nan")
Y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
TRUE = np.array([0, 0, 1, 0, 1, 1, 0, 1])  # samples 2 and 6 are wrong
POSTERIOR = np.array([0.9, 0.65, 0.45, 0.1, 0.75, 0.55, 0.85, 0.3])
LOSSES = np.array([0.1, 0.3, 2.0, 0.9, 0.2, 0.4, 0.35, 0.8])
test_scores.__test__ = False  # a function of the package, not a test


def labels(true: np.ndarray = TRUE) -> TrainingLabels:
    return TrainingLabels(Y, true, {})


def selection(clean: list[int], drawn: list[int]) -> Selection:
    masks = [np.isin(np.arange(8), rows) for rows in (clean, drawn)]
    counts = np.bincount(Y[masks[0]], minlength=2)
    return Selection(LOSSES, POSTERIOR, *masks, counts, int(counts.min()))


def rows_of(**changes) -> dict[float, dict]:
    chosen = {"tau": 0.6, "balanced": True, "true": TRUE, "drawn": [0, 1, 4, 6]} | changes
    found = cleaning_rows(
        {"label": "TURN"}, [selection([0, 1, 4, 6], chosen["drawn"])], labels(chosen["true"]), 2,
        tau=chosen["tau"], balanced=chosen["balanced"],
    )  # fmt: skip
    return {row["tau"]: row for row in found}


def test_cleaning_at_every_threshold() -> None:
    rows = rows_of()
    assert list(rows) == [0.4, 0.5, 0.6, 0.7, 0.8]
    # tau 0.4 keeps 0 1 2 | 4 5 6, of which 2 and 6 are wrong.
    assert (rows[0.4]["clean"], rows[0.4]["n"], rows[0.4]["drawn"], rows[0.4]["lost"]) == (6, 3, 6, 0)
    assert rows[0.4]["purity"] == pytest.approx(4 / 6)
    assert rows[0.4]["recall_right"] == pytest.approx(4 / 6)  # 0 1 3 4 5 7 are right; 0 1 4 5 are kept
    # 0.5 keeps 0 1 | 4 5 6: two of each class would be drawn of the five.
    assert (rows[0.5]["clean"], rows[0.5]["n"], rows[0.5]["drawn"]) == (5, 2, 4)
    assert rows[0.5]["lost"] == pytest.approx(1 / 5)
    # The run's own: 0 1 | 4 6.
    assert (rows[0.6]["clean"], rows[0.6]["n"], rows[0.6]["drawn"]) == (4, 2, 4)
    assert rows[0.6]["purity"] == rows[0.6]["purity_drawn"] == 0.75
    assert rows[0.6]["clean_counts"].tolist() == [2, 2]
    assert rows[0.6]["observed_counts"].tolist() == [4, 4]
    assert rows[0.6]["right_counts"].tolist() == [3, 3]
    assert rows[0.6]["class_purity"] == [1, 0.5]
    # 0.7 keeps 0 | 4 6.
    assert (rows[0.7]["n"], rows[0.7]["drawn"], rows[0.7]["lost"]) == (1, 2, pytest.approx(1 / 3))
    assert rows[0.8]["class_purity"] == [1, 0]
    assert all(np.isnan(rows[tau]["purity_drawn"]) for tau in (0.4, 0.5, 0.7, 0.8))
    # Of the 6 right labels, sample 2 has a higher loss than all and sample 6 than three: 0.1, 0.3, 0.2.
    assert rows[0.6]["auroc"] == pytest.approx((6 + 3) / 12)
    assert all(row["run_tau"] == 0.6 and row["balanced"] and row["epoch"] == 0 for row in rows.values())


def test_without_balance_all_clean_samples_are_drawn() -> None:
    rows = rows_of(balanced=False)
    assert [rows[tau]["drawn"] for tau in (0.4, 0.5, 0.6)] == [6, 5, 4]
    assert all(row["lost"] == 0 for row in rows.values())


def test_a_threshold_of_its_own_has_a_row_of_its_own() -> None:
    rows = rows_of(tau=0.65, drawn=[0, 4])
    assert list(rows) == [0.4, 0.5, 0.6, 0.65, 0.7, 0.8]
    assert rows[0.65]["drawn"] == 2
    assert rows[0.65]["purity_drawn"] == 1
    assert np.isnan(rows[0.6]["purity_drawn"])


def test_labels_that_nobody_knows_are_not_counted() -> None:
    rows = rows_of(true=np.full(8, -1))
    assert all(np.isnan(rows[0.6][name]) for name in ("purity", "purity_drawn", "recall_right", "auroc"))
    assert rows[0.6]["clean"] == 4
    # Known are samples 0 (right) and 6 (wrong).
    rows = rows_of(true=np.array([0, -1, -1, -1, -1, -1, 0, -1]))
    assert (rows[0.6]["purity"], rows[0.6]["auroc"]) == (0.5, 1)
    assert np.isnan(rows[0.7]["class_purity"][0]) == np.False_


def test_each_observed_class_keeps_one_sample() -> None:
    assert np.flatnonzero(above_threshold(POSTERIOR, Y, 2, 0.95)).tolist() == [0, 6]


def test_scores_of_the_test_images() -> None:
    logits = np.array([[2, 1, 0], [0, 1, 0], [3, 0, 1], [0, 0, 1]])
    scores = test_scores(logits, np.array([0, 0, 1, 1]), 3)  # predicted 0 1 0 2; class 2 is absent
    assert (scores["accuracy"], scores["n_test"]) == (0.25, 4)
    assert scores["balanced_accuracy"] == pytest.approx((0.5 + 0) / 2)
    assert scores["dead_classes"] == 1
    np.testing.assert_equal(scores["recall"], [0.5, 0, nan])


def test_memorised_is_of_the_wrong_labels_only() -> None:
    logits = np.eye(2)[[0, 0, 0, 1, 1, 1, 0, 0]]
    scores = training_scores(logits, labels())
    assert scores["memorised"] == 0.5  # of samples 2 and 6, the label of 2 is predicted
    assert scores["train_accuracy_noisy"] == 5 / 8
    assert scores["train_accuracy_clean"] == 5 / 8
    unknown = training_scores(logits, labels(np.full(8, -1)))
    assert np.isnan(unknown["memorised"])
    assert np.isnan(unknown["train_accuracy_clean"])
    assert np.isnan(training_scores(logits, labels(Y))["memorised"])  # no label is wrong
