"""Pairs of methods: signed ranks, Holm's correction and the posterior, by hand and in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.pairwise import bayesian_signed_rank, wilcoxon_holm
from noisylib.errors import NoisylibError

RANDOM = pd.DataFrame(
    np.random.default_rng(0).normal([0.5, 0.51, 0.52, 0.6], 0.03, (40, 4)), columns=list("abcd")
)


def differing(*differences: float) -> pd.DataFrame:
    """Return scores of a and b with a - b as given."""
    b = np.full(len(differences), 0.5)
    return pd.DataFrame({"a": b + differences, "b": b})


def test_wilcoxon_by_hand() -> None:
    # Ranks of the sizes 5, 4, 3, 2, 1, the last one negative: W+ = 14, W- = 1. Of the 32 equally probable
    # signs, two give a smaller sum of 1 or less for b, and two for a.
    table = wilcoxon_holm(differing(0.05, 0.04, 0.03, 0.02, -0.01))
    pair = table.iloc[0]
    assert (pair["a"], pair["b"], len(table)) == ("a", "b", 1)
    assert pair["statistic"] == 1
    assert pair["p_value"] == pytest.approx(4 / 32)
    assert pair["p_holm"] == pytest.approx(4 / 32)
    assert pair["effect"] == pytest.approx((14 - 1) / 15)
    assert pair["mean_difference"] == pytest.approx(0.13 / 5)
    assert pair["median_difference"] == pytest.approx(0.03)


def test_the_effect_has_the_sign_of_the_better_method() -> None:
    assert wilcoxon_holm(differing(*[0.1] * 6))["effect"].item() == 1
    assert wilcoxon_holm(differing(*[-0.1] * 6))["effect"].item() == -1
    assert wilcoxon_holm(-differing(0.05, 0.04, 0.03, 0.02, -0.01))["effect"].item() == pytest.approx(
        -13 / 15
    )


def test_equal_conditions_do_not_count() -> None:
    without = wilcoxon_holm(differing(0.05, 0.04, 0.03, 0.02, -0.01)).iloc[0]
    with_zeros = wilcoxon_holm(differing(0, 0.05, 0.04, 0, 0.03, 0.02, -0.01)).iloc[0]
    same = ["statistic", "p_value", "effect"]
    assert with_zeros[same].tolist() == without[same].tolist()
    alike = wilcoxon_holm(differing(0, 0, 0)).iloc[0]
    assert alike[[*same, "p_holm"]].tolist() == [0, 1, 0, 1]


def test_differences_that_differ_by_rounding_are_ties() -> None:
    # 0.3 - 0.2 and 0.2 - 0.1 are not the same number: without ties W- would be 1.5, with them it is 2.
    scores = pd.DataFrame({"a": [0.3, 0.2, 0.4, 0.7], "b": [0.2, 0.1, 0.5, 0.5]})
    pair = wilcoxon_holm(scores).iloc[0]
    assert pair["statistic"] == 2
    assert pair["effect"] == pytest.approx((8 - 2) / 10)


def test_holm_by_hand() -> None:
    table = wilcoxon_holm(RANDOM)
    assert list(zip(table["a"], table["b"], strict=True)) == [
        ("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d"),
    ]  # fmt: skip
    order = np.argsort(table["p_value"].to_numpy())
    largest = 0.0
    for place, pair in enumerate(order):
        largest = max(largest, min(1, (6 - place) * table["p_value"][pair]))
        assert table["p_holm"][pair] == pytest.approx(largest)
    assert (table["p_holm"] > table["p_value"])[order[:-1]].all()


def test_the_posterior_of_one_condition_in_closed_form() -> None:
    # One difference outside the region of equivalence and the prior's half observation at 0: the weight v
    # of the latter has a Beta(1/2, 1) distribution, P(v < x) = sqrt(x). The share of "equivalent" is v^2,
    # so a wins a draw if v < sqrt(1/2).
    draws = 20000
    a, equivalent, b = bayesian_signed_rank(differing(0.1), draws=draws).iloc[0, 2:]
    error = 4 * 0.5 / np.sqrt(draws)
    assert a == pytest.approx(0.5**0.25, abs=error)
    assert equivalent == pytest.approx(1 - 0.5**0.25, abs=error)
    assert b == 0
    assert bayesian_signed_rank(differing(-0.1)).iloc[0]["p_b_better"] == pytest.approx(0.5**0.25, abs=0.03)


def test_the_posterior_of_clear_cases() -> None:
    columns = ["p_a_better", "p_equivalent", "p_b_better"]
    for difference, expected in ((0.1, [1, 0, 0]), (0.009, [0, 1, 0]), (-0.1, [0, 0, 1])):
        table = bayesian_signed_rank(differing(*[difference] * 30), rope=0.01)
        assert table[columns].to_numpy().tolist() == [expected]
    assert bayesian_signed_rank(differing(*[0.009] * 30), rope=0.005)["p_a_better"].item() == 1
    table = bayesian_signed_rank(RANDOM, draws=500)
    np.testing.assert_allclose(table[columns].sum(axis=1), 1)


def test_the_posterior_depends_on_the_seed_and_on_nothing_else() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global generator must stay as it is
    table = bayesian_signed_rank(RANDOM, draws=500)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    pd.testing.assert_frame_equal(table, bayesian_signed_rank(RANDOM, draws=500))
    assert not table.equals(bayesian_signed_rank(RANDOM, draws=500, seed=1))
    alone = bayesian_signed_rank(RANDOM[["b", "c"]], draws=500)
    assert alone.iloc[0].tolist() == table.iloc[3].tolist()


def test_bad_input_is_refused() -> None:
    with pytest.raises(NoisylibError, match="rope=0: "):
        bayesian_signed_rank(RANDOM, rope=0)
    for function in (wilcoxon_holm, bayesian_signed_rank):
        with pytest.raises(NoisylibError, match=r"two methods, the scores have \['a'\]"):
            function(RANDOM[["a"]])
        with pytest.raises(NoisylibError, match="1 of 40"):
            function(RANDOM.replace(RANDOM.iloc[7, 2], np.nan))
