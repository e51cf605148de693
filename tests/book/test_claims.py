"""Claims: how a verdict follows, the bootstrap that gives the intervals, and what the page shows."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.claims import analogues as claims_analogues
from noisylib.book.claims import benchmark as claims_benchmark
from noisylib.book.claims import claim as claims
from noisylib.book.claims import describe as describe_claims
from noisylib.book.claims import turn as claims_turn
from noisylib.book.claims.claim import (
    FAILED,
    OVER_SEEDS,
    PARTLY,
    REPRODUCED,
    UNTESTED,
    Claim,
    Finding,
    Result,
    Study,
)
from noisylib.book.tables import NBSP
from noisylib.errors import MissingDataError

ALL = (*claims_benchmark.CLAIMS, *claims_turn.CLAIMS, *claims_analogues.ANALOGUES)


def test_the_stricter_criterion_comes_first() -> None:
    assert claims.grade(True, False) == REPRODUCED
    assert claims.grade(True, True) == REPRODUCED
    assert claims.grade(False, True) == PARTLY
    assert claims.grade(False, False) == FAILED


def test_every_claim_is_measured_by_two_criteria_or_says_what_is_missing() -> None:
    keys = [claim.key for claim in ALL]
    assert len(set(keys)) == len(keys)
    for claim in ALL:
        assert claim.paper, claim.key
        measured = claim.measure is not None
        assert measured != bool(claim.missing), claim.key
        assert measured == bool(claim.full) == bool(claim.partly) == bool(claim.rows), claim.key
        assert measured or not claim.over, claim.key


def test_an_interval_draws_whole_data_sets() -> None:
    frame = pd.DataFrame({"dataset": ["a", "a", "b"], "score": [0.0, 0.0, 3.0]})
    # Two data sets: aa, ab or bb with probability 1/4, 1/2, 1/4, and means 0, 1 (a has two rows) and 3.
    assert claims.interval(frame, lambda drawn: drawn["score"].mean()) == (0.0, 3.0)
    sizes = set()
    claims.interval(frame, lambda drawn: sizes.add(len(drawn)) or 0.0)
    assert sizes == {4, 3, 2}


def test_an_interval_cuts_both_tails() -> None:
    # Of three data sets one scores 3: the mean is how often it is drawn. P(up to 2) = 26/27 = 0.963, so that
    # 3 is in an interval that leaves out 2.5 % at each end, and would not be in one that leaves out 5 %.
    for top, ends in ((3.0, (0.0, 3.0)), (-3.0, (-3.0, 0.0))):
        frame = pd.DataFrame({"dataset": ["a", "b", "c"], "score": [top, 0.0, 0.0]})
        assert claims.interval(frame, lambda drawn: drawn["score"].mean()) == ends


def test_an_interval_may_be_over_seeds_and_needs_two_clusters() -> None:
    rows = study_rows(methods=("ce",))
    mean = rows["balanced_accuracy"].mean()  # seeds differ by 0.01
    ends = claims.interval(rows, lambda drawn: drawn["balanced_accuracy"].mean(), OVER_SEEDS)
    # Three seeds: all draws the lowest (or the highest) with probability 1/27 > 0.025.
    assert ends == pytest.approx((mean - 0.01, mean + 0.01))
    assert claims.interval(rows, lambda drawn: drawn["balanced_accuracy"].mean()) is None
    assert not claims.inside(mean, None)
    assert claims.inside(mean, ends)
    assert claims.ends_text(None, 1) == ""
    assert claims.ends_text((0.1234, 0.5), 1, 100) == "12.3 to 50.0"


def test_what_the_rows_lack_is_a_finding_with_the_reason() -> None:
    claim = Claim("X", "", "", measure=lambda study: study.need("elr", "gce"))
    found = claims.find(claim, Study("made", study_rows(methods=("ce",))))
    assert found == Finding(UNTESTED, note="ELR and Generalised cross entropy are not among the rows")
    assert claims.find(Claim("X", "", "", missing="needs more"), Study("", study_rows())) == Finding(
        UNTESTED, note="needs more"
    )


def test_incomplete_conditions_are_left_out_and_counted() -> None:
    rows = study_rows()
    hole = (rows["method"] == "elr") & (rows["noise_rate"] == 0.4) & (rows["noise_type"] == "symmetric")
    study = Study("made", rows[~hole])
    assert len(study.blocks.scores) == 5
    assert len(study.complete_rows()) == 5 * 3 * 3
    table = describe_claims.scope_table([study]).iloc[0]
    assert (table["Conditions"], table["Distinct"], table["Left out"], table["Runs"]) == (5, 4, 1, 51)


def result(*findings: Finding) -> Result:
    claim = Claim("B7", "Text", "4.5 pp", "full", "less", "rate 0", "seeds", (("Cost", "cost.ipynb"),), len)
    return Result(claim, dict(zip(("archive", "embedded"), findings, strict=False)))


def test_verdicts_that_differ_name_their_study() -> None:
    same = result(Finding(PARTLY, "5 pp"), Finding(PARTLY, "6 pp", "1 to 2"))
    table = describe_claims.verdict_table([same, result(Finding(FAILED, "1"), Finding(UNTESTED, note="why"))])
    assert list(table["Verdict"]) == [
        "**partly reproduced**",
        "**not reproduced** (archive); not testable here (embedded)",
    ]
    assert list(table["archive"]) == ["5 pp", "1"]
    assert list(table["embedded"]) == [f"6 pp (1{NBSP}to{NBSP}2)", "\N{EN DASH}"]
    assert list(table["Claim"]) == ["[B7](#claim-b7) Text"] * 2


def test_details_hold_criterion_numbers_reason_rows_and_chapter() -> None:
    text = describe_claims.details(
        [result(Finding(FAILED, "1 pp", "0 to 2", "more"), Finding(UNTESTED, note="why"))]
    )
    assert text.data.splitlines() == [
        "(claim-b7)=",
        "**B7. Text.** Paper: 4.5 pp. *Reproduced if* full; *partly if* less.",
        "",
        "- archive: **not reproduced**. 1 pp (0 to 2); more.",
        "- embedded: not testable here: why.",
        "- Rows: rate 0. Interval: 95 % percentile bootstrap over seeds. See [Cost](cost.ipynb).",
    ]


def test_the_sentence_at_the_top_counts_verdicts_per_study() -> None:
    results = [
        result(Finding(PARTLY), Finding(UNTESTED)),
        result(Finding(PARTLY), Finding(REPRODUCED)),
        result(Finding(REPRODUCED), Finding(REPRODUCED)),
    ]
    assert describe_claims.glance(results).data.splitlines() == [
        "- **archive**: of 3 claims, 1 reproduced, 2 partly reproduced.",
        "- **embedded**: of 3 claims, 2 reproduced, 1 not testable here.",
    ]


def test_studies_and_arms_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rows_of(name: str, *, head: str) -> tuple[pd.DataFrame, str]:
        asked.append((name, head))
        return study_rows(), f"source of {name}"

    def no_arms() -> tuple[pd.DataFrame, str]:
        raise MissingDataError("no table")

    monkeypatch.setattr(describe_claims, "study_rows", rows_of)
    studies = describe_claims.load_studies(["embedded", "archive", "embedded"], "adapter")
    assert asked == [("embedded", "adapter"), ("archive", "adapter")]
    assert [study.source for study in studies] == ["source of embedded", "source of archive"]

    monkeypatch.setattr(describe_claims, "arm_rows", lambda: (study_rows().assign(study="heads"), "arms"))
    both = describe_claims.load_arms(studies[0])
    assert list(both.rows["study"].unique()) == ["made", "heads"]
    assert both.source == "source of embedded; arms: arms"
    monkeypatch.setattr(describe_claims, "arm_rows", no_arms)
    alone = describe_claims.load_arms(studies[0])
    assert len(alone.rows) == len(study_rows())
    found = claims.evaluate(claims_analogues.ANALOGUES, [alone])
    assert {finding.verdict for r in found for finding in r.findings.values()} == {UNTESTED}
