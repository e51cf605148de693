"""Ranks, the Friedman test and the Nemenyi distance: by hand, in closed form and for the paper's numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.ranking import (
    cliques,
    critical_difference,
    friedman,
    friedman_p,
    rank_matrix,
    rank_table,
    win_matrix,
)
from noisylib.errors import NoisylibError

RANDOM = pd.DataFrame(np.random.default_rng(0).random((150, 8)).round(2), columns=list("abcdefgh"))


def frame(*rows: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list("abcdefgh")[: len(rows[0])])


def test_ranks_and_wins_share_ties() -> None:
    scores = pd.DataFrame({"ce": [0.5, 0.9, 0.2], "elr": [0.5, 0.8, 0.4], "gce": [0.1, 0.7, 0.3]})
    assert rank_matrix(scores).to_numpy().tolist() == [[1.5, 1.5, 3], [1, 2, 3], [3, 1, 2]]
    assert win_matrix(scores).to_numpy().tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]]
    table = rank_table(scores)
    assert list(table.index) == ["elr", "ce", "gce"]
    assert table["mean_rank"].to_list() == pytest.approx([4.5 / 3, 5.5 / 3, 8 / 3])
    assert table["wins"].to_list() == pytest.approx([1.5, 1.5, 0])


def test_scores_that_differ_by_rounding_are_ties() -> None:
    scores = frame((0.1 + 0.2, 0.3, 0.1))  # 0.30000000000000004 and 0.3
    assert rank_matrix(scores).to_numpy().tolist() == [[1.5, 1.5, 3]]
    assert win_matrix(scores).to_numpy().tolist() == [[0.5, 0.5, 0]]


def test_sums_of_ranks_and_wins() -> None:
    table = rank_table(RANDOM)
    assert table["mean_rank"].sum() == pytest.approx(8 * 9 / 2)
    assert table["wins"].sum() == pytest.approx(150)
    assert table["mean_rank"].is_monotonic_increasing


def test_friedman_by_hand() -> None:
    # Ranks (1 2 3), (1 3 2), (1 2 3), (2 1 3): sums 5, 8, 11 of M = 4.
    test = friedman(frame((0.9, 0.5, 0.1), (0.9, 0.1, 0.5), (0.8, 0.7, 0.6), (0.5, 0.9, 0.1)))
    chi2 = 12 * 4 / (3 * 4) * ((5**2 + 8**2 + 11**2) / 4**2 - 3 * 4**2 / 4)
    assert chi2 == 4.5
    assert test.statistic == pytest.approx(chi2)
    assert test.p_value == pytest.approx(math.exp(-chi2 / 2))  # 2 degrees of freedom
    davenport = 3 * chi2 / (4 * 2 - chi2)
    assert math.isclose(test.F, davenport)
    assert test.F_p_value == pytest.approx((1 + 2 * davenport / 6) ** -3)  # 2 and 6 degrees of freedom
    assert test.kendall_w == pytest.approx(chi2 / 8)
    assert (test.df, test.F_df, test.n_conditions, test.n_methods) == (2, (2, 6), 4, 3)


def test_friedman_corrects_for_ties() -> None:
    # Ranks (1 2.5 2.5), (1 2 3), (1.5 1.5 3): sums 3.5, 6, 8.5; two ties of two.
    test = friedman(frame((0.9, 0.5, 0.5), (0.9, 0.8, 0.7), (0.5, 0.5, 0.1)))
    plain = 12 / (3 * 3 * 4) * (3.5**2 + 6**2 + 8.5**2) - 3 * 3 * 4
    corrected = plain / (1 - 2 * (2**3 - 2) / (3 * (3**3 - 3)))
    assert corrected == pytest.approx(5)
    assert test.statistic == pytest.approx(corrected)


def test_all_conditions_in_one_order() -> None:
    scores = pd.DataFrame([np.arange(8) / 10] * 12)
    test = friedman(scores)
    assert test.statistic == pytest.approx(12 * 7)
    assert test.kendall_w == pytest.approx(1)
    assert (test.F, test.F_p_value) == (math.inf, 0)
    # The same with ties in the same places.
    assert friedman(pd.DataFrame([[0.9, 0.5, 0.5, 0.1]] * 5)).kendall_w == pytest.approx(1)


def test_all_tied_is_no_difference() -> None:
    test = friedman(pd.DataFrame(np.full((5, 4), 0.5)))
    assert (test.statistic, test.p_value, test.F, test.F_p_value, test.kendall_w) == (0, 1, 0, 1, 0)


def test_friedman_needs_three_methods_and_two_conditions() -> None:
    with pytest.raises(NoisylibError, match="have 2 and 3"):
        friedman(RANDOM.iloc[:3, :2])
    with pytest.raises(NoisylibError, match="have 8 and 1"):
        friedman(RANDOM.iloc[:1])


def test_the_p_value_of_the_paper_follows_from_its_statistic() -> None:
    x = 333.2  # with 7 degrees of freedom; the survival function of an odd number is a finite sum
    series = math.sqrt(2 * x / math.pi) * math.exp(-x / 2) * (1 + x / 3 + x**2 / 15)
    assert friedman_p(x, 8) == pytest.approx(math.erfc(math.sqrt(x / 2)) + series, rel=1e-9)
    assert f"{friedman_p(x, 8):.1e}" == "4.8e-68"


@pytest.mark.parametrize(
    ("m", "alpha", "expected"),
    [(150, 0.05, 0.857), (150, 0.10, 0.786), (135, 0.05, 0.904), (135, 0.10, 0.829)],
)
def test_critical_difference_of_eight_methods(m: int, alpha: float, expected: float) -> None:
    assert round(critical_difference(8, m, alpha), 3) == expected


def test_critical_difference_uses_the_published_quantiles() -> None:
    # Demšar (2006), table 5a; with m = k (k + 1) / 6 the distance is q itself.
    published = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for k, q in enumerate(published, start=2):
        assert critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=0.0012)
    assert critical_difference(8, 1, 0.10) / math.sqrt(8 * 9 / 6) == pytest.approx(2.780, abs=0.0005)
    # Of two methods the range is a difference of two: q is the two-sided quantile of a normal.
    assert critical_difference(2, 1) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize(("k", "m", "alpha"), [(1, 10, 0.05), (3, 0, 0.05), (3, 10, 0), (3, 10, 1)])
def test_critical_difference_of_nothing(k: int, m: int, alpha: float) -> None:
    with pytest.raises(NoisylibError, match=f"k={k}, m={m}, alpha={alpha}"):
        critical_difference(k, m, alpha)


def test_cliques_are_the_maximal_groups_within_reach() -> None:
    ranks = pd.Series({"d": 4.0, "a": 1.0, "c": 2.5, "b": 1.75, "e": 6.0})
    assert cliques(ranks, 1.6) == [("a", "b", "c"), ("c", "d")]
    assert cliques(ranks, 1.5) == [("a", "b"), ("b", "c")]  # exactly the distance apart is different
    assert cliques(ranks, 2.26) == [("a", "b", "c"), ("b", "c", "d"), ("d", "e")]
    assert cliques(ranks, 6) == [("a", "b", "c", "d", "e")]
    assert cliques(ranks, 0.5) == []
    assert cliques(pd.Series({"a": 1.5, "b": 1.5, "c": 3.0}), 0.1) == [("a", "b")]


def test_incomplete_scores_are_refused_and_listed() -> None:
    scores = RANDOM.copy()
    scores.iloc[3:10, 2] = np.nan
    scores.iloc[20, 5] = np.inf
    for function in (rank_matrix, win_matrix, rank_table, friedman):
        with pytest.raises(NoisylibError, match=r"8 of 150\. 3; 4; 5; 6; 7; and 3 more\. .*leave_out"):
            function(scores)


def test_conditions_and_methods_that_occur_twice_are_refused() -> None:
    with pytest.raises(NoisylibError, match=r"Occurs more than once: 0; 1\."):
        rank_table(RANDOM.iloc[[0, 1, 2, 0, 1, 0]])
    with pytest.raises(NoisylibError, match=r"Occurs more than once: b\."):
        rank_table(RANDOM[["a", "b", "b"]])
