"""How winners stand beside the spread of seeds and under another score, by hand."""

from __future__ import annotations

import pytest
from _rows import study_rows

from noisylib.analysis.agreement import winner_margins
from noisylib.book.describe import winners as describe_winners


def test_facts_of_made_rows() -> None:
    rows = study_rows()
    facts = describe_winners.margin_facts(rows, winner_margins(rows))
    # Seeds are 0.01 apart and the same for all methods, so every lead of 0.1 is exact.
    assert facts["spread"] == pytest.approx(1)
    assert facts["margin"] == pytest.approx(10)
    assert facts["gap"] == pytest.approx(20)
    assert (facts["clear"], facts["conditions"], facts["clear_winners"]) == (6, 6, 1)
    # Student's t with 2 degrees of freedom: P(|t| > 2) = 1 - 2 / sqrt(2 + 4).
    assert facts["by_chance"] == pytest.approx(100 * (1 - 2 / 6**0.5))


def test_winners_by_both_scores() -> None:
    rows = study_rows(methods=("ce", "elr"))
    rows["accuracy"] = [0.6 if m == "elr" else 0.5 for m in rows["method"]]
    table = describe_winners.winners_table(rows, winner_margins(rows)).set_index("Method")
    assert table.loc["Cross entropy"].to_list() == ["1.00", "2.00", "6.0", "6", "0.0"]
    assert table.loc["ELR"].to_list() == ["2.00", "1.00", "0.0", "0", "6.0"]
