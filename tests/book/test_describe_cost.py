"""What the chapter on the cost says: tables by hand, and texts that turn with the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.analysis.cost import cost_curve, cost_growth
from noisylib.analysis.regret import extremes, regret
from noisylib.analysis.scores import condition_scores
from noisylib.book.describe import cost as describe_cost
from noisylib.book.describe import regret as describe_regret

HARD, EASY = ("asymmetric", 0.4), ("asymmetric", 0.0)


def made_rows() -> pd.DataFrame:
    """Two sets, three methods .1 apart; at asymmetric 40 % the told one is far behind on one of the sets."""
    rows = study_rows(("ham10000", "pbc"))
    lost = (rows["method"] == "coteaching") & (rows["noise_rate"] == 0.4) & (rows["noise_type"] == HARD[0])
    rows.loc[lost & (rows["dataset"] == "pbc"), "balanced_accuracy"] -= 0.2
    return rows


def facts_of(rows: pd.DataFrame) -> dict:
    scores = condition_scores(rows)
    curve = cost_curve(rows, permutations=10)
    ends = describe_cost.hardest(curve), describe_cost.easiest(curve)
    return describe_cost.cost_facts(curve, describe_cost.free_cost(scores), cost_growth(scores, *ends))


def test_ends_are_asymmetric_where_there_is_such_noise() -> None:
    curve = cost_curve(made_rows(), permutations=10)
    assert (describe_cost.hardest(curve), describe_cost.easiest(curve)) == (HARD, EASY)
    other = curve[curve["noise_type"] == "symmetric"]
    assert describe_cost.hardest(other[other["noise_rate"] < 0.4]) == ("symmetric", 0.2)


def test_facts_are_in_points() -> None:
    facts = facts_of(made_rows())
    # .2 everywhere but .4 in one of two sets; the two methods that are told nothing are .1 apart.
    assert facts["easy_mean"] == pytest.approx(20)
    assert (facts["hard_mean"], facts["hard_max"]) == pytest.approx((30, 40))
    assert (facts["hard_low"], facts["hard_high"]) == pytest.approx((20, 40))
    assert (facts["growth"], facts["growth_low"], facts["growth_high"]) == pytest.approx((10, 0, 20))
    assert facts["ratio"] == pytest.approx(1.5)
    assert (facts["easy_untold"], facts["hard_untold"]) == pytest.approx((10, 10))
    assert (facts["easy_noise"], facts["hard_noise"]) == (
        "clean labels",
        "40\N{NO-BREAK SPACE}% asymmetric noise",
    )
    assert (facts["paper_easy"], facts["paper_hard"]) == (4.5, 18.8)


def test_the_reading_turns_with_the_band() -> None:
    facts = facts_of(made_rows())
    for low, high, start in ((1, 3, "The band lies above 0"), (-3, -1, "The band lies below 0"),
                             (-1, 2, "The band holds 0"), (np.nan, np.nan, "A single data set")):  # fmt: skip
        assert describe_cost.reading(facts | {"growth_low": low, "growth_high": high}).startswith(start)


def test_the_reading_says_what_seeds_and_told_methods_make() -> None:
    text = describe_cost.reading(facts_of(made_rows()))
    assert "a gap of 0.0 points on clean labels and 0.0 points on 40" in text  # seeds move all methods alike
    assert "still differ by 20.0 and 30.0 points" in text
    assert text.endswith("told nothing of the noise the cost is 10.0 and 10.0 points.")
    alone = describe_cost.reading(facts_of(study_rows(methods=("ce", "coteaching"), seeds=1)))
    assert "One seed says nothing of its noise" in alone
    assert "told nothing" not in alone, "cross entropy alone is no choice"


def test_cost_table_has_clean_once_and_the_paper_where_it_says_something() -> None:
    rows = made_rows()
    table = describe_cost.cost_table(
        cost_curve(rows, permutations=10), describe_cost.free_cost(condition_scores(rows))
    ).set_index("Noise")
    names = [name.replace("\N{NO-BREAK SPACE}", " ") for name in table.index]
    assert names == ["Clean", "Symmetric 20 %", "Symmetric 40 %", "Asymmetric 20 %", "Asymmetric 40 %"]
    assert list(table["Mean"]) == ["20.0"] * 4 + ["30.0"]
    assert table["Band"].iloc[-1].replace("\N{NO-BREAK SPACE}", " ") == "20.0 to 40.0"
    assert list(table["Highest"]) == ["20.0"] * 4 + ["40.0"]
    assert list(table["Mean, told nothing"]) == ["10.0"] * 5
    assert list(table["Paper"]) == ["4.5", "", "", "", "18.8"]


def test_matrices_are_in_points_and_in_order() -> None:
    scores = condition_scores(made_rows())
    matrix = describe_cost.cost_matrix(scores)
    assert list(matrix.index) == [("HAM10000", "DeiT-Ti"), ("PBC blood cells", "DeiT-Ti")]
    assert list(matrix.columns) == [
        ("clean", 0.0), ("symmetric", 0.2), ("symmetric", 0.4), ("asymmetric", 0.2), HARD
    ]  # fmt: skip
    assert list(matrix.loc[("PBC blood cells", "DeiT-Ti")]) == pytest.approx([20] * 4 + [40])
    lost = describe_regret.regret_matrix(regret(scores))
    assert list(lost.columns) == list(matrix.columns)
    assert lost.loc["coteaching", HARD] == pytest.approx(30)
    assert lost.loc["random", HARD] == pytest.approx((0 + 10 + 30) / 3)


def test_regret_table_names_the_worst_place_and_who_makes_the_cost() -> None:
    scores = condition_scores(made_rows())
    table = describe_regret.regret_table(regret(scores), scores, HARD).set_index("Always")
    assert list(table.index) == ["Cross entropy", "ELR", "*one at random*", "Co-teaching†"]
    told = table.loc["Co-teaching†"]
    # 10 conditions: nine times 20 points and once 40.
    assert list(told[["Mean", "90th percentile", "Highest"]]) == ["22.0", "22.0", "40.0"]
    assert told["Highest at"] == "PBC blood cells, DeiT-Ti, asymmetric 40\N{NO-BREAK SPACE}%"
    assert list(table["Cost without it"]) == ["20.0", "30.0", "", "10.0"]


def test_two_methods_cannot_spare_one() -> None:
    scores = condition_scores(study_rows(methods=("ce", "elr")))
    assert set(describe_regret.regret_table(regret(scores), scores, HARD)["Cost without it"]) == {""}


def test_extremes_facts_count_methods() -> None:
    facts = describe_regret.extremes_facts(extremes(condition_scores(made_rows())))
    assert (facts["n_best"], facts["n_worst"], facts["n_both"]) == (1, 1, 0)
    assert (facts["most_best"], facts["share_best"]) == ("Cross entropy", 100)
    assert (facts["most_worst"], facts["share_worst"]) == ("Co-teaching†", 100)


def advice(**gains: float) -> str:
    rows = made_rows()
    rows["balanced_accuracy"] += rows["method"].map(gains).fillna(0)
    return describe_regret.advice(regret(condition_scores(rows)))


def test_advice_without_and_with_a_told_leader() -> None:
    plain = advice()
    assert plain.startswith("Always choosing **Cross entropy** loses least on average, 0.0 points")
    assert "is told of the noise" not in plain
    led = advice(coteaching=0.35)  # best by .15 everywhere but once, where it is .05 behind
    assert led.startswith(
        "Always choosing **Co-teaching†** loses least on average, 0.5 points, and at most 5.0"
    )
    assert "Of the methods that are told nothing, always choosing **Cross entropy**" in led
    assert "cross entropy, loses 13.5 points on average and at most 15.0" in led


def test_advice_names_the_safest_where_it_is_another() -> None:
    # ELR is .04 ahead once, cross entropy .1 ahead elsewhere: the mean and the highest regret disagree.
    rows = study_rows(("ham10000", "pbc"), methods=("ce", "elr"))
    once = (rows["noise_rate"] == 0.4) & (rows["noise_type"] == HARD[0]) & (rows["method"] == "ce")
    rows.loc[once & (rows["dataset"] == "pbc"), "balanced_accuracy"] -= 0.5
    text = describe_regret.advice(regret(condition_scores(rows)))
    assert text.startswith(
        "Always choosing **Cross entropy** loses least on average, 4.0 points, and at most 40.0"
    )
    assert "ELR has the smallest highest loss, 10.0 points, and loses 9.0 on average" in text


def test_the_growth_is_told_apart_by_data_set() -> None:
    text = describe_cost.growth_by_dataset(condition_scores(made_rows()), HARD, EASY)
    # 20 points at either end on one set, 20 and 40 on the other.
    assert text.startswith("It grows on 1 of 2 data sets, least on HAM10000, +0.0 points,")
    assert text.endswith("and most on PBC blood cells, +20.0.")
    alone = made_rows().query("dataset == 'pbc'")
    assert describe_cost.growth_by_dataset(condition_scores(alone), HARD, EASY) == ""


def test_methods_that_are_one_training_on_clean_labels_are_named() -> None:
    rows = made_rows()
    assert describe_regret.equal_when_clean(condition_scores(rows)) == ""
    same = (rows["noise_rate"] == 0) & rows["method"].isin(["ce", "coteaching"])
    rows.loc[same, "balanced_accuracy"] = 0.5
    text = describe_regret.equal_when_clean(condition_scores(rows))
    assert text.startswith("Cross entropy and Co-teaching† have equal scores in every clean condition")
    assert describe_regret.equal_when_clean(condition_scores(rows[rows["noise_rate"] > 0])) == ""
