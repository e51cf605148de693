"""The benchmark's claims on made rows: numbers by hand, and verdicts that turn with the rows."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.claims import benchmark as claims_benchmark
from noisylib.book.claims import measures as claims_measures
from noisylib.book.claims.claim import FAILED, PARTLY, REPRODUCED, UNTESTED, Finding, Study, find

TWO = ("ham10000", "pbc")


def measured(rows: pd.DataFrame, key: str) -> Finding:
    (claim,) = (claim for claim in claims_benchmark.CLAIMS if claim.key == key)
    return find(claim, Study("made", rows))


def verdict(rows: pd.DataFrame, key: str) -> str:
    return measured(rows, key).verdict


def test_the_size_must_be_the_papers_and_nothing_may_be_missing() -> None:
    rows = study_rows()
    assert measured(rows, "B1").value == "6 conditions, 54 runs"
    assert verdict(rows, "B1") == PARTLY
    assert verdict(rows.iloc[1:], "B1") == FAILED
    sizes = {"datasets": tuple("abcdefghijklmno"), "methods": tuple("ABCDEFGH"), "seeds": 5}
    grid = study_rows(**sizes)  # 15 sets x 2 kinds x 3 rates
    more = grid[grid["noise_rate"] > 0].assign(noise_rate=lambda r: r["noise_rate"] + 0.1)
    assert verdict(pd.concat([grid, more]), "B1") == REPRODUCED  # 15 x 2 x 5 = 150


def test_a_share_of_half_the_wins_is_universal_in_part() -> None:
    rows = study_rows()
    assert measured(rows, "B2").value == "100 %"  # cross entropy wins everywhere
    assert verdict(rows, "B2") == FAILED
    rows.loc[(rows["method"] == "elr") & (rows["noise_type"] == "symmetric"), "balanced_accuracy"] += 1
    assert verdict(rows, "B2") == PARTLY  # 3 of 6 each
    assert "Cross entropy and ELR" in measured(rows, "B2").note
    rows.loc[(rows["method"] == "coteaching") & (rows["noise_rate"] == 0), "balanced_accuracy"] += 2
    assert verdict(rows, "B2") == REPRODUCED  # 2 each
    assert measured(rows, "B2").value == "33 %"


def test_elr_must_win_more_than_any_other() -> None:
    # Listed first and last: neither order may decide a tie.
    for methods in (("elr", "ce", "gce"), ("ce", "gce", "elr")):
        rows = study_rows(methods=methods)
        rows["balanced_accuracy"] = 0.5
        assert verdict(rows, "B3") == PARTLY  # a tie of all three: nobody has more
        assert measured(rows, "B3").value == "2.0 of 6"
        lead = (rows["method"] == "elr") & (rows["noise_type"] == "symmetric") & (rows["noise_rate"] == 0.2)
        rows.loc[lead, "balanced_accuracy"] += 0.1
        assert verdict(rows, "B3") == REPRODUCED
        assert measured(rows, "B3").value == "2.7 of 6"  # 1 and five thirds
    rows = study_rows(methods=("ce", "elr", "gce"))
    assert verdict(rows, "B3") == PARTLY  # only cross entropy has more
    rows.loc[(rows["method"] == "gce") & (rows["noise_rate"] == 0), "balanced_accuracy"] += 1
    assert verdict(rows, "B3") == FAILED  # now two have


def test_cufit_is_best_second_or_neither() -> None:
    rows = study_rows(methods=("ce", "elr", "cufit"))  # in this order in every condition
    found = measured(rows, "B4")
    assert (found.verdict, found.value) == (FAILED, "3.00")
    assert found.note == (
        "place 3 of 3; Cross entropy has the best mean rank, 1.00; "
        "by accuracy in place of balanced accuracy 3.00"
    )
    turned = rows.assign(accuracy=1 - rows["accuracy"])
    assert measured(turned, "B4").note.endswith("by accuracy in place of balanced accuracy 1.00")
    assert measured(turned, "B3").note.endswith("by accuracy in place of balanced accuracy 0.0")
    mine = rows["method"] == "cufit"
    best = rows.loc[rows["method"] == "ce", "balanced_accuracy"].to_numpy()
    rows.loc[mine, "balanced_accuracy"] = best - 0.05
    assert verdict(rows, "B4") == PARTLY
    rows.loc[mine, "balanced_accuracy"] = best  # a tie at the top is not beaten by anybody
    assert verdict(rows, "B4") == REPRODUCED


def test_ranks_and_wins_have_intervals_over_two_data_sets() -> None:
    rows = study_rows(TWO, methods=("ce", "elr", "cufit"))
    swap = rows["dataset"] == "pbc"
    rows.loc[swap & (rows["method"] == "cufit"), "balanced_accuracy"] += 1
    rows.loc[swap & (rows["method"] == "elr"), "balanced_accuracy"] += 2
    # On one set the order is ce, elr, cufit, on the other elr, cufit, ce; one draw in four is either alone.
    assert measured(rows, "B4").interval == "2.00 to 3.00"
    assert measured(rows, "B3").interval == "0.0 to 12.0"
    assert measured(rows, "B2").interval == "50 to 100"
    assert measured(study_rows(methods=("ce", "elr", "cufit")), "B4").interval == ""


def test_the_friedman_test_and_its_agreement() -> None:
    # Three methods in the same order in all of 12 conditions: chi2 = 12 * (3 - 1) = 24, p = exp(-12), W = 1.
    rows = study_rows(TWO)
    found = measured(rows, "B5")
    assert (found.verdict, found.value) == (REPRODUCED, "χ² = 24.0")
    assert found.note == "p = 6.1e-06 (k = 3, 12 conditions)"
    assert measured(rows, "B6").value == "W = 1.00"
    assert verdict(rows, "B6") == FAILED
    assert verdict(study_rows(), "B5") == PARTLY  # chi2 = 12, p = exp(-6) = 0.0025
    rows["balanced_accuracy"] = 0.5
    assert verdict(rows, "B5") == FAILED
    assert measured(study_rows(methods=("ce", "elr")), "B5") == Finding(
        UNTESTED,
        note="the Friedman test needs three methods and two conditions, the rows have 2 and 6",
    )


@pytest.mark.parametrize(
    ("ours", "ends", "expected"),
    [
        (10.0, (5.0, 11.0), REPRODUCED),
        (14.9, (9.0, 20.0), REPRODUCED),
        (15.1, (9.0, 20.0), PARTLY),  # too far off, whatever the interval
        (6.6, (2.0, 20.0), PARTLY),
        (10.5, (10.2, 11.0), PARTLY),  # near, and yet outside
        (10.0, None, PARTLY),
        (20.1, (9.0, 30.0), FAILED),
        (4.9, (4.0, 30.0), FAILED),
    ],
)
def test_a_number_needs_interval_and_size(
    ours: float, ends: tuple[float, float] | None, expected: str
) -> None:
    assert claims_measures._digits(ours, 10.0, ends) == expected


def with_costs(clean: dict[str, float], hard: dict[str, float]) -> pd.DataFrame:
    """Return rows of two sets whose best method is so many points above the worst; 20 elsewhere."""
    rows = study_rows(tuple(clean))
    worst = rows["method"] == "coteaching"
    for costs, part in ((clean, rows["noise_rate"] == 0), (hard, rows["noise_rate"] == 0.4)):
        if part.any():
            for dataset, cost in costs.items():
                at = worst & part & (rows["dataset"] == dataset)
                rows.loc[at, "balanced_accuracy"] += 0.2 - cost / 100
                # The method between the two must stay there.
                middle = (rows["method"] == "elr") & part & (rows["dataset"] == dataset)
                rows.loc[middle, "balanced_accuracy"] += 0.1
    return rows


def test_costs_are_held_against_the_papers() -> None:
    rows = with_costs({"ham10000": 4, "pbc": 6}, {"ham10000": 20, "pbc": 16})
    clean, hard, growth = (measured(rows, key) for key in ("B7", "B8", "B9"))
    assert (clean.value, clean.interval, clean.verdict) == ("5.0 pp", "4.0 to 6.0", REPRODUCED)
    assert (hard.value, hard.interval, hard.verdict) == ("18.0 pp", "16.0 to 20.0", REPRODUCED)
    assert (growth.value, growth.verdict) == ("3.6 times", REPRODUCED)
    assert growth.interval == "2.7 to 5.0"  # 16 / 6 and 20 / 4
    for clean_cost, hard_cost, expected in ((10, 29, PARTLY), (10, 16, PARTLY), (10, 14, FAILED)):
        assert verdict(with_costs({"pbc": clean_cost}, {"pbc": hard_cost}), "B9") == expected
    assert verdict(study_rows(), "B9") == FAILED  # 20 points everywhere
    assert measured(study_rows(), "B9").interval == ""


def test_costs_need_their_conditions() -> None:
    rows = study_rows()
    symmetric = rows[(rows["noise_type"] == "symmetric") | (rows["noise_rate"] == 0)]
    for key in ("B8", "B9"):
        assert measured(symmetric, key).note == "the rows have no asymmetric noise of 40 %"
    assert measured(rows[rows["noise_rate"] < 0.4], "B8").verdict == UNTESTED
    assert measured(rows[rows["noise_rate"] > 0], "B7").note == "the rows have no clean condition"
    assert measured(rows[rows["noise_type"] == "symmetric"], "B7").value == "20.0 pp"
    rows.loc[rows["noise_rate"] == 0, "balanced_accuracy"] = 0.5
    assert "equal on clean labels" in measured(rows, "B9").note


def test_co_teaching_hides_and_loses_classes() -> None:
    rows = study_rows()
    assert verdict(rows, "B10") == PARTLY  # below cross entropy, but accuracy is only 5 points higher
    hard = (
        (rows["noise_rate"] == 0.4) & (rows["noise_type"] == "asymmetric") & (rows["method"] == "coteaching")
    )
    rows.loc[hard, "accuracy"] += 0.16
    found = measured(rows, "B10")
    # Co-teaching: 0.9 - 0.4 - 0.2 + 0.01 on average, cross entropy 0.2 above it.
    assert found == Finding(
        REPRODUCED,
        "21.0 pp",
        "21.0 to 21.0",
        "accuracy 52.0 %, balanced accuracy 31.0 %; balanced accuracy of cross entropy 51.0 %",
    )
    rows.loc[hard, ["accuracy", "balanced_accuracy"]] += 0.3
    assert verdict(rows, "B10") == PARTLY
    rows.loc[hard, "accuracy"] -= 0.16
    assert verdict(rows, "B10") == FAILED

    assert verdict(rows, "B11") == FAILED
    rows.loc[hard & (rows["seed_noise"] == 1), "dead_classes"] = 2
    found = measured(rows, "B11")
    assert (found.verdict, found.value) == (PARTLY, "0.7")
    assert found.note == "1 of 3 runs lose a class, the most is 2"
    rows.loc[hard, "dead_classes"] = 1
    assert verdict(rows, "B11") == REPRODUCED


def test_co_teaching_is_measured_on_ham10000_only() -> None:
    assert (
        measured(study_rows(("pbc",)), "B11").note == "the rows have no asymmetric noise of 40 % on HAM10000"
    )
    assert measured(study_rows(methods=("ce", "elr")), "B10").note == "Co-teaching is not among the rows"
    assert (
        measured(study_rows(methods=("coteaching", "elr")), "B10").note
        == "Cross entropy is not among the rows"
    )


def test_one_method_has_nothing_to_be_compared_with() -> None:
    rows = study_rows(methods=("elr",))
    for key in ("B2", "B3", "B5", "B7", "B9"):
        assert measured(rows, key).note == "the rows have one method, and nothing to compare it with"
    assert measured(study_rows(methods=("ce", "gce")), "B4").note == "CUFIT-head is not among the rows"


def test_the_note_on_the_leader_compares_it_with_cross_entropy_on_clean_labels() -> None:
    rows = study_rows(methods=("ce", "elr", "dividemix"))
    assert claims_benchmark.leader_note(Study("made", rows)) == "", "cross entropy leads"
    baseline = rows[(rows["method"] == "ce") & (rows["noise_rate"] == 0)]
    mine = rows["method"] == "dividemix"
    for score, value in (("balanced_accuracy", 0.95), ("accuracy", 0.5)):
        rows.loc[mine, score] = value
    note = claims_benchmark.leader_note(Study("made", rows))
    gains = 100 * (0.95 - baseline["balanced_accuracy"].mean()), 100 * (0.5 - baseline["accuracy"].mean())
    assert f"by {gains[0]:+.1f} points of balanced accuracy and {gains[1]:+.1f} points of accuracy" in note
    assert note.startswith("On made, DivideMix† has the best mean rank")
    assert "near uniform" in note
    assert claims_benchmark.leader_note(Study("made", rows[rows["noise_rate"] > 0])) == ""
