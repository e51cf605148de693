"""Scores on the bed against closed forms, and what the text and the table make of them."""

from __future__ import annotations

from dataclasses import replace
from math import erf, sqrt

import numpy as np
import pandas as pd
import pytest

from noisylib.book.describe import bed as describe_bed
from noisylib.recipe import Recipe


def scene(priors=(0.5, 0.5), separation=2.0, types=("asymmetric", "symmetric"), seeds=(3, 4)):
    return describe_bed.make_scene(separation, list(priors), list(types), 0.3, 60, list(seeds))


def test_accuracy_of_bayes_rule_is_its_closed_form() -> None:
    # Two equal classes at distance d: each is right with probability Phi(d / 2).
    two = scene()
    expected = 0.5 * (1 + erf(1 / sqrt(2)))
    recall = two.expected_recall(two.bed.bayes_predict(two.grid))
    # The boundary falls between two columns of the grid.
    assert recall == pytest.approx([expected, expected], abs=2e-2)
    assert recall.mean() == pytest.approx(expected, abs=1e-3)


def test_expected_recall_knows_the_covariance() -> None:
    """Deviation 2 instead of 1 at the same means: as if the distance were half."""
    two = scene()
    ticks = np.linspace(-9, 9, 181)
    wide = replace(two, bed=replace(two.bed, covariance=np.diag([4.0, 0.5])), ticks=ticks)
    expected = 0.5 * (1 + erf(0.5 / sqrt(2)))
    assert wide.expected_recall(wide.bed.bayes_predict(wide.grid)).mean() == pytest.approx(expected, abs=1e-3)


def test_a_constant_answer_has_the_recall_and_accuracy_it_must_have() -> None:
    three = scene(priors=(0.5, 0.3, 0.2))
    constant = np.full((2, 2, len(three.grid)), 1)
    np.testing.assert_allclose(three.expected_recall(constant[0, 0]), [0, 1, 0], atol=1e-12)
    scores = describe_bed.bed_scores(three, {"ce": constant}).set_index("method").loc["ce"]
    assert scores["accuracy"].to_numpy() == pytest.approx([0.3] * 4)
    assert scores["balanced_accuracy"].to_numpy() == pytest.approx([1 / 3] * 4)
    assert list(zip(scores["noise_type"], scores["seed"], strict=True)) == [
        ("asymmetric", 3), ("asymmetric", 4), ("symmetric", 3), ("symmetric", 4),
    ]  # fmt: skip


def test_priors_need_not_sum_to_one_and_points_are_shared_by_the_seeds() -> None:
    three = scene(priors=(1.0, 0.6, 0.4))
    np.testing.assert_allclose(three.bed.priors, [0.5, 0.3, 0.2])
    first, second = three.noisy["asymmetric"]
    assert (first.y_noisy != second.y_noisy).any()
    np.testing.assert_array_equal(np.bincount(three.y), [30, 18, 12])
    assert len(three.X) == 60
    # Asymmetric noise takes each class for the next one around the circle.
    wrong = first.flipped
    np.testing.assert_array_equal(first.y_noisy[wrong], (three.y[wrong] + 1) % 3)
    assert wrong.sum() == 9 + 5 + 4  # 0.3 of 30, 18 and 12, rounded by largest remainder


def test_predictions_are_in_the_order_of_noise_types_and_seeds() -> None:
    both, one = scene(), scene(types=("symmetric",))
    recipe = Recipe(epochs=3, score_epochs=1, batch_size=16)
    every = describe_bed.train_on_scene(both, ["ce"], head="linear", recipe=recipe)["ce"]
    alone = describe_bed.train_on_scene(one, ["ce"], head="linear", recipe=recipe)["ce"]
    assert every.shape == (2, 2, describe_bed.POINTS**2)
    # A run does not depend on its neighbours, but for a point on the very boundary.
    assert (every[1] == alone[0]).mean() > 0.999
    assert (every[0] != every[1]).mean() > 0.001


@pytest.fixture
def scores() -> pd.DataFrame:
    """Accuracy 0.7 + 0.1 seed for CE, 0.9 for Co-teaching; balanced is 0.05 lower; swapped for symmetric."""
    rows = []
    for noise, better in (("asymmetric", "coteaching"), ("symmetric", "ce")):
        worse = "ce" if better == "coteaching" else "coteaching"
        for s, seed in enumerate((3, 4)):
            for method, accuracy in ((worse, 0.7 + 0.1 * s), (better, 0.9), (describe_bed.BAYES, 0.95)):
                rows.append((method, noise, seed, accuracy, accuracy - 0.05))
    return pd.DataFrame(rows, columns=["method", "noise_type", "seed", "accuracy", "balanced_accuracy"])


def test_table_has_means_and_deviations_and_bayes_last(scores: pd.DataFrame) -> None:
    table = describe_bed.bed_table(scores)
    headings = [
        f"{noise}: {score}" for noise in ("Asymmetric", "Symmetric") for score in ("accuracy", "balanced")
    ]
    assert list(table.columns) == ["Method", *headings]
    cells = [[str(cell).replace("\xa0", " ") for cell in row] for row in table.to_numpy()]
    deviation = 100 * 0.1 / sqrt(2)  # of 0.7 and 0.8, with n - 1
    assert cells[0][:3] == ["Cross entropy", f"75.0 ± {deviation:.1f}", f"70.0 ± {deviation:.1f}"]
    assert cells[1] == ["Co-teaching†", "90.0 ± 0.0", "85.0 ± 0.0", f"75.0 ± {deviation:.1f}", "70.0 ± 7.1"]
    assert cells[2] == ["*Bayes' rule*", "95.0", "90.0", "95.0", "90.0"]


def test_facts_name_best_and_worst_of_the_first_and_the_last_noise(scores: pd.DataFrame) -> None:
    facts = describe_bed.bed_facts(scene(priors=(0.5, 0.3, 0.2)), scores)
    assert (facts["first_best"], facts["first_worst"]) == ("Co-teaching†", "Cross entropy")
    assert (facts["last_best"], facts["last_worst"]) == ("Cross entropy", "Co-teaching†")
    assert facts["first_best_score"] == pytest.approx(90)
    assert facts["last_worst_score"] == pytest.approx(75)
    assert facts["bayes"] == pytest.approx(95)
    # All 30 % go to one class under asymmetric noise, and are shared by two under symmetric noise.
    assert (facts["first_rival"], facts["last_rival"]) == (pytest.approx(30), pytest.approx(15))
    assert facts["ce_title"] == "Accuracy 70.0 % (Bayes 95.0 %)"  # seed 3, asymmetric
    assert facts["provenance"] == "8 runs, 2 per method and kind of noise."
