"""Claims: ranks and wins by hand, and verdicts that turn with the rows."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book import claims
from noisylib.errors import NoisylibError


def test_ranks_and_wins_share_ties() -> None:
    scores = pd.DataFrame({"ce": [0.5, 0.9, 0.2], "elr": [0.5, 0.8, 0.4], "gce": [0.1, 0.7, 0.3]})
    table = claims.rank_table(scores)
    # Row 1 is a tie of two: rank 1.5 and half a win each.
    assert table["mean_rank"]["ce"] == pytest.approx((1.5 + 1 + 3) / 3)
    assert table["mean_rank"]["elr"] == pytest.approx((1.5 + 2 + 1) / 3)
    assert dict(table["wins"]) == pytest.approx({"ce": 1.5, "elr": 1.5, "gce": 0})
    assert table["wins"].sum() == len(scores)
    assert table["mean_rank"].sum() == pytest.approx(3 * 4 / 2)
    assert table.index[0] == "elr"


def test_the_clean_condition_counts_twice_or_once() -> None:
    rows = study_rows(("ham10000", "pbc"))
    assert len(claims.condition_scores(rows)) == 2 * 2 * 3
    assert len(claims.condition_scores(rows, distinct=True)) == 2 * (2 * 3 - 1)


def test_a_method_without_a_condition_is_an_error() -> None:
    rows = study_rows()
    hole = (rows["method"] == "elr") & (rows["noise_rate"] == 0.4) & (rows["noise_type"] == "symmetric")
    with pytest.raises(NoisylibError, match="1 of 6 conditions lack a method"):
        claims.condition_scores(rows[~hole])


def test_cost_is_best_minus_worst() -> None:
    cost = claims.choice_cost(claims.condition_scores(study_rows()))
    assert cost["cost"].to_numpy() == pytest.approx([0.2] * 6)


def verdict(rows: pd.DataFrame, start: str) -> str:
    table = claims.verdicts(rows)
    return table.loc[table["Claim"].str.startswith(start), "Verdict"].item()


def test_verdicts_turn_with_the_rows() -> None:
    rows = study_rows()
    assert verdict(rows, "ELR wins") == "**not reproduced**"
    assert verdict(rows, "No method") == "**not reproduced**"  # cross entropy wins everywhere
    assert verdict(rows, "The cost") == "**not reproduced**"  # 20 points everywhere
    assert verdict(rows, "Small-loss") == "**not reproduced**"  # no dead class

    hard = (rows["noise_rate"] == 0.4) & (rows["noise_type"] == "asymmetric")
    rows.loc[hard & (rows["method"] == "coteaching"), "balanced_accuracy"] -= 0.1
    assert verdict(rows, "The cost") == "**not reproduced**"  # 30 points are not twice 20
    lost = hard & (rows["method"] == "coteaching")
    rows.loc[lost, "dead_classes"] = 2
    rows.loc[lost, "balanced_accuracy"] -= 0.15
    assert verdict(rows, "Small-loss") == "**reproduced**"
    assert verdict(rows, "The cost") == "**reproduced**"  # 45 points against 20

    rows.loc[rows["method"] == "elr", "balanced_accuracy"] += 0.5
    assert verdict(rows, "ELR wins") == "**reproduced**"


def test_the_verdict_on_cufit_follows_its_mean_rank() -> None:
    rows = study_rows(methods=("ce", "elr", "cufit"))  # in this order in every condition
    table = claims.verdicts(rows).set_index("Claim")
    assert table.loc["CUFIT has the best mean rank.", "Verdict"] == "**not reproduced**"
    assert table.loc["CUFIT has the best mean rank.", "Ours"] == (
        "CUFIT-head has mean rank 3.00 among 3 methods, place 3; Cross entropy has the best, 1.00"
    )
    rows.loc[rows["method"] == "cufit", "balanced_accuracy"] += 1
    assert verdict(rows, "CUFIT") == "**reproduced**"
    # A tie at the top is not beaten by anybody.
    rows = study_rows(methods=("ce", "elr", "cufit"))
    best = rows.loc[rows["method"] == "ce", "balanced_accuracy"].to_numpy()
    rows.loc[rows["method"] == "cufit", "balanced_accuracy"] = best
    assert verdict(rows, "CUFIT") == "**reproduced**"


def test_what_cannot_be_tested_says_why() -> None:
    rows = study_rows(methods=("ce", "ls", "gce"))
    assert verdict(rows, "CUFIT") == "**cannot be tested here**: CUFIT-head is not among the rows"
    assert verdict(rows, "ELR wins") == "**cannot be tested here**: ELR is not among the rows"
    table = claims.verdicts(rows)
    assert len(table) == len(claims.CLAIMS)
    untested = table["Verdict"].str.startswith("**cannot")
    assert (table.loc[untested, "Verdict"].str.len() > len("**cannot be tested here**: ")).all()
    assert (table.loc[untested, "Ours"] == "").all()


def test_without_asymmetric_noise_its_claims_cannot_be_tested() -> None:
    rows = study_rows()
    for part in (
        rows[rows["noise_type"] == "symmetric"],
        rows[(rows["noise_type"] == "symmetric") | (rows["noise_rate"] == 0)],
    ):
        assert verdict(part, "The cost") == (
            "**cannot be tested here**: the rows have no asymmetric condition"
        )
        assert verdict(part, "Small-loss").startswith("**cannot be tested here**: Co-teaching and cross")
    noisy = rows[rows["noise_rate"] > 0]
    assert verdict(noisy, "The cost") == "**cannot be tested here**: the rows have no clean condition"


def test_a_friedman_test_needs_three_methods() -> None:
    assert verdict(study_rows(methods=("ce", "elr")), "The methods differ") == (
        "**cannot be tested here**: the Friedman test needs three methods, the rows have 2"
    )
    # Three methods in the same order in all of 12 conditions: chi2 = 12 * (3 - 1) = 24, p = exp(-12).
    table = claims.verdicts(study_rows(("ham10000", "pbc"))).set_index("Claim")
    assert table.loc["The methods differ.", "Ours"] == "χ² = 24.0 (k = 3, 12 conditions), p = 6e-06"
    assert table.loc["The methods differ.", "Verdict"] == "**reproduced**"


def test_one_method_has_nothing_to_be_compared_with() -> None:
    table = claims.verdicts(study_rows(methods=("elr",)))
    assert table["Verdict"].str.startswith("**cannot be tested here**").all()


def test_a_tie_is_not_more_wins_than_any_other() -> None:
    # ELR listed first and last: neither order may decide a tie.
    for methods in (("elr", "ce", "gce"), ("ce", "gce", "elr")):
        rows = study_rows(methods=methods)
        for method in methods:
            rows.loc[rows["method"] == method, "balanced_accuracy"] = 0.5
        assert verdict(rows, "ELR wins") == "**not reproduced**"
        assert verdict(rows, "The methods differ") == "**not reproduced**"
        table = claims.verdicts(rows).set_index("Claim")
        assert table.loc["ELR wins the most conditions.", "Ours"] == "2.0 of 6"
        assert table.loc["No method wins everywhere.", "Ours"] == (
            "Cross entropy and Generalised cross entropy and ELR win most, 33 % of conditions each"
        )
        # One condition more than the others: now it leads.
        lead = (rows["method"] == "elr") & (rows["noise_type"] == "symmetric") & (rows["noise_rate"] == 0.2)
        rows.loc[lead, "balanced_accuracy"] += 0.1
        assert verdict(rows, "ELR wins") == "**reproduced**"


def test_every_claim_is_measured_by_a_criterion_or_says_what_is_missing() -> None:
    assert len(claims.criteria_table()) == sum(bool(claim.criterion) for claim in claims.CLAIMS)
    for claim in claims.CLAIMS:
        assert (claim.measure is None) == bool(claim.missing), claim.text
        assert (claim.measure is not None) == bool(claim.criterion), claim.text


def test_ranks_table_has_both_counts() -> None:
    table = claims.ranks_table(study_rows())
    assert list(table["Method"]) == ["Cross entropy", "ELR", "Co-teaching†"]
    assert list(table["Wins"]) == ["6.0", "0.0", "0.0"]
    assert list(table["Wins, distinct"]) == ["5.0", "0.0", "0.0"]


def test_the_note_on_the_leader_compares_it_with_cross_entropy_on_clean_labels() -> None:
    rows = study_rows(methods=("ce", "elr", "dividemix"))
    assert claims.leader_note(rows) == "", "cross entropy leads, and is compared with nothing"
    baseline = rows[(rows["method"] == "ce") & (rows["noise_rate"] == 0)]
    mine = rows["method"] == "dividemix"
    for score, value in (("balanced_accuracy", 0.95), ("accuracy", 0.5)):
        rows.loc[mine, score] = value
    note = claims.leader_note(rows)
    gains = 100 * (0.95 - baseline["balanced_accuracy"].mean()), 100 * (0.5 - baseline["accuracy"].mean())
    assert f"by {gains[0]:+.1f} points of balanced accuracy and {gains[1]:+.1f} points of accuracy" in note
    assert note.startswith("DivideMix† has the best mean rank")
    assert "near uniform" in note
    assert claims.leader_note(rows[rows["noise_rate"] > 0]) == ""
