"""The text and tables on rankings: facts by hand, and sentences that stay true when methods tie."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.analysis import places, ranking
from noisylib.analysis.scores import condition_scores
from noisylib.book.claims import published
from noisylib.book.describe import rankings as describe_rankings
from noisylib.book.tables import NBSP

PAIRS = [("ce", "elr"), ("ce", "coteaching"), ("elr", "coteaching")]
TESTS = pd.DataFrame(PAIRS, columns=["a", "b"]).assign(
    mean_difference=[0.1, 0.2, 0.1], median_difference=[0.1, 0.2, -0.05], p_holm=[0.04, 2e-9, 0.3]
)
BAYES = pd.DataFrame(PAIRS, columns=["a", "b"]).assign(
    p_a_better=[0.97, 0.0, 0.1], p_equivalent=[0.02, 0.99, 0.5], p_b_better=[0.01, 0.01, 0.4]
)


def every() -> pd.DataFrame:
    """Two data sets, cross entropy before ELR before Co-teaching in all of 12 conditions."""
    return condition_scores(study_rows(("ham10000", "pbc")))


def distinct() -> pd.DataFrame:
    return condition_scores(study_rows(("ham10000", "pbc")), distinct=True)


def draws(scores: pd.DataFrame) -> pd.DataFrame:
    table = ranking.rank_table(scores).assign(low=1.25, high=2.5, wins_low=0.4, wins_high=7.6)
    return table.assign(p_best=[0.75, *[0.25 / (len(table) - 1)] * (len(table) - 1)])


def test_regimes_cover_every_condition_once_in_a_fixed_order() -> None:
    parts = describe_rankings.regimes(distinct())
    assert {name: len(part) for name, part in parts.items()} == {
        "Clean": 2, "Symmetric, low": 2, "Symmetric, high": 2, "Asymmetric, low": 2, "Asymmetric, high": 2,
    }  # fmt: skip
    assert list(parts)[:2] == ["Clean", "Symmetric, low"]
    low = parts["Symmetric, low"].index.get_level_values("noise_rate")
    assert set(low) == {0.2}
    assert sum(len(part) for part in describe_rankings.regimes(every()).values()) == 12
    assert list(describe_rankings.regimes(distinct().query("noise_rate == 0"))) == ["Clean"]


def test_p_values_keep_two_digits() -> None:
    assert [describe_rankings.p_text(p) for p in (1.0, 0.0456, 0.001, 0.00099, 4.76e-68, 0.0)] == [
        "1", "0.046", "0.001", "9.9e-04", "4.8e-68", "0",
    ]  # fmt: skip


def test_names_are_joined_as_titles() -> None:
    assert describe_rankings.joined(["elr"]) == "ELR"
    assert describe_rankings.joined(["elr", "ce", "coteaching"]) == "Cross entropy, Co-teaching† and ELR"


def test_rank_rows_are_best_first_with_their_intervals() -> None:
    table = describe_rankings.rank_rows(draws(every()).iloc[::-1])
    assert list(table["Method"]) == ["Cross entropy", "ELR", "Co-teaching†"]
    assert list(table["Mean rank"]) == ["1.00", "2.00", "3.00"]
    assert list(table["Wins"]) == ["12.0", "0.0", "0.0"]
    assert table["Interval of rank"][0] == f"1.25{NBSP}to{NBSP}2.50"
    assert table["Interval of wins"][0] == f"0{NBSP}to{NBSP}8"
    assert list(table.iloc[:, -1]) == ["75", "12", "12"]


def test_the_friedman_table_ends_with_the_papers_own_arithmetic() -> None:
    table = describe_rankings.friedman_rows({"All": every(), "Distinct": distinct()}, 0.05)
    assert list(table) == ["Statistic", "All", "Distinct", "Paper, from its χ²"]
    lines = {name: cells for name, *cells in table.itertuples(index=False, name=None)}
    assert lines["Conditions"] == ["12", "10", "150"]
    assert lines["Methods"] == ["3", "3", "8"]
    # The same order of three methods everywhere: M (k - 1), p = exp(-M), W = 1, and F divides by zero.
    assert lines["Friedman χ²"] == ["24.0", "20.0", "333.2"]
    assert lines["p-value of χ²"] == ["6.1e-06", "4.5e-05", "4.8e-68"]
    assert lines["Kendall's W"] == ["1.00", "1.00", "0.32"]
    # 149 x 333.2 / (1050 - 333.2) = 69.26.
    assert lines["Iman-Davenport F"] == ["inf", "inf", "69.3"]
    assert lines["p-value of F"][:2] == ["0", "0"]
    # 2.344 sqrt(12 / (6 M)) and 3.031 sqrt(72 / 900).
    assert lines["Critical difference"] == ["0.96", "1.05", "0.86"]
    assert pytest.approx(ranking.friedman_p(333.2, 8), rel=0.02) == published.P_VALUE


def test_leaving_out_the_deciding_data_set_changes_the_leader() -> None:
    scores = every()
    pbc = scores.index.get_level_values("dataset") == "pbc"
    scores.loc[pbc, "elr"] += 0.5
    scores.loc[pbc & (scores.index.get_level_values("noise_rate") == 0), "coteaching"] += 0.9
    table = describe_rankings.leave_one_out_rows(scores)
    assert list(table["Left out"]) == ["*none*", "HAM10000", "PBC blood cells"]
    # On pbc: ELR, cross entropy, Co-teaching; where it is clean Co-teaching, ELR, cross entropy.
    # Over both: ELR (6 x 2 + 4 x 1 + 2 x 2) / 12, cross entropy (6 x 1 + 4 x 2 + 2 x 3) / 12, the same.
    assert list(table["Best mean rank"]) == [
        "Cross entropy and ELR, 1.67",
        "ELR, 1.33",
        "Cross entropy, 1.00",
    ]
    # Co-teaching (6 x 3 + 4 x 3 + 2 x 1) / 12 and (4 x 3 + 2 x 1) / 6, cross entropy (4 x 2 + 2 x 3) / 6.
    assert list(table["Next"]) == ["Co-teaching†, 2.67", "Cross entropy and Co-teaching†, 2.33", "ELR, 2.00"]
    assert list(table["Most wins"]) == ["Cross entropy, 6.0", "ELR, 4.0", "Cross entropy, 6.0"]


def test_a_tie_of_all_has_no_next_and_one_data_set_is_not_left_out() -> None:
    scores = condition_scores(study_rows()) * 0 + 0.5
    table = describe_rankings.leave_one_out_rows(scores)
    assert list(table["Left out"]) == ["*none*"]
    assert table["Best mean rank"][0] == "Cross entropy, Co-teaching† and ELR, 2.00"
    assert table["Next"][0] == "nobody"


def test_pair_rows_join_both_tests() -> None:
    table = describe_rankings.pair_rows(TESTS, BAYES)
    assert list(table["A"]) == ["Cross entropy", "Cross entropy", "ELR"]
    assert list(table.iloc[2, 2:]) == ["+10.0", "-5.0", "0.3", "10", "50", "40"]
    assert table["p, Holm"][1] == "2.0e-09"
    with pytest.raises(ValueError, match="one-to-one"):
        describe_rankings.pair_rows(pd.concat([TESTS, TESTS]), BAYES)


def test_facts_of_the_tests_count_pairs() -> None:
    scores = pd.concat([distinct()] * 3, keys=range(3)).droplevel(0)
    scores.index = pd.MultiIndex.from_tuples(
        [(d, f"{b}{i}", *rest) for i, (d, b, *rest) in enumerate(scores.index)], names=scores.index.names
    )
    pbc = scores.index.get_level_values("dataset") == "pbc"
    # ELR beats cross entropy on pbc: mean ranks 1.5, 1.5 and 3; the critical difference is 0.605.
    scores.loc[pbc, "elr"] += 0.15
    facts = describe_rankings.test_facts(every(), scores, TESTS, BAYES, 0.05)
    assert facts["nemenyi"] == 2
    assert facts["same_order"] == 2
    # All equal on pbc: mean ranks 1.5, 2 and 2.5, and the outer two have no order there.
    scores.loc[pbc] = 0.5
    tied = describe_rankings.test_facts(every(), scores, TESTS, BAYES, 0.05)
    assert (tied["nemenyi"], tied["same_order"]) == (1, 0)
    assert (facts["chi2"], facts["p"], facts["kendall_w"]) == (pytest.approx(24), "6.1e-06", pytest.approx(1))
    assert (facts["paper_chi2"], facts["paper_p"], facts["published_p"]) == (333.2, "4.8e-68", "4.8e-68")
    assert facts["paper_w"] == pytest.approx(333.2 / 1050)
    assert (facts["pairs"], facts["wilcoxon"], facts["bayes_better"], facts["bayes_equal"]) == (3, 2, 1, 1)
    assert facts["sure"] == pytest.approx(95)
    facts |= describe_rankings.ranking_facts(every(), distinct(), draws(every()), 0.01)
    assert {type(value) for value in facts.values()} == {int, float, str}, (
        "NumPy's numbers print with their type"
    )


def test_facts_of_the_ranking() -> None:
    facts = describe_rankings.ranking_facts(every(), distinct(), draws(every()), 0.01)
    assert (facts["conditions"], facts["distinct"], facts["datasets"], facts["methods"]) == (12, 10, 2, 3)
    assert (facts["leader"], facts["leader_rank"], facts["leader_draws"]) == ("Cross entropy", 1.0, 75.0)
    assert (facts["leader_low"], facts["leader_high"]) == (1.25, 2.5)
    assert (facts["most"], facts["most_wins"], facts["most_share"]) == ("Cross entropy", 12.0, 100.0)
    assert (facts["winning"], facts["narrow"], facts["narrow_share"]) == (1, 0, 0.0)
    assert (facts["left_out"], facts["stays"], facts["smallest_p"]) == (2, 2, 0.5)
    assert facts["regimes"].startswith("Cross entropy (clean, 1.00); Cross entropy (symmetric, low, 1.00)")
    scores = every()
    scores.loc[scores.index.get_level_values("dataset") == "pbc", "elr"] += (
        0.15  # first on pbc, second elsewhere
    )
    shared = describe_rankings.ranking_facts(scores, distinct(), draws(scores), 0.01)
    assert (shared["leader"], shared["leader_rank"], shared["stays"]) == ("Cross entropy and ELR", 1.5, 0)
    # A lead of 10 points is narrow in a wider region of equivalence, and not at its very edge.
    assert describe_rankings.ranking_facts(every(), distinct(), draws(every()), 0.11)["narrow"] == 10
    assert describe_rankings.ranking_facts(every(), distinct(), draws(every()), 0.1)["narrow"] == 0


def test_diagrams_use_the_number_of_conditions() -> None:
    wide, narrow = describe_rankings.diagrams({"Ten": distinct(), "Twelve": every()}, 0.05)
    assert (wide.title, list(wide.mean_ranks)) == ("Ten", ["ce", "elr", "coteaching"])
    # q of three methods is 2.344: 2.344 sqrt(3 x 4 / (6 M)) = 1.048 and 0.957; neighbours are 1 apart.
    assert wide.width == pytest.approx(2.344 * (12 / 60) ** 0.5, abs=1e-3)
    assert wide.cliques == [("ce", "elr"), ("elr", "coteaching")]
    assert narrow.cliques == []


def test_rows_of_the_winners_have_titles() -> None:
    won = places.winners(distinct())
    won.loc[won["dataset"] == "pbc", "backbone"] = "own"
    assert describe_rankings.condition_titles(won) == {
        ("ham10000", "deit_tiny"): ("HAM10000", "DeiT-Ti"),
        ("pbc", "own"): ("PBC blood cells", "own"),
    }


def test_the_best_of_those_that_are_told_nothing_is_named() -> None:
    boot = pd.DataFrame({"mean_rank": [1.2, 2.0, 2.8]}, index=["coteaching", "elr", "ce"])
    text = describe_rankings.best_untold(boot)
    assert text == "Among the methods that are told nothing of the noise, the best mean rank is 2.00: ELR."
    assert describe_rankings.best_untold(boot.drop(index="coteaching")) == "", "all are told nothing"
    assert describe_rankings.best_untold(boot.loc[["coteaching"]]) == "", "none is"
