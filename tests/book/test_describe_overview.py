"""The cells of a study: order, ranks and gaps by hand, and the sentences that are made from them."""

from __future__ import annotations

import pandas as pd
import pytest
from _rows import study_rows

from noisylib.book.describe import overview
from noisylib.errors import NoisylibError, UnknownNameError

NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def rows() -> pd.DataFrame:
    """HAM10000 before BreastMNIST; ce has 0.91 - rate, elr 0.81 - rate, coteaching 0.71 - rate."""
    return study_rows(("ham10000", "breastmnist"))


def test_cells_keep_the_order_of_the_study_and_put_the_best_first(rows) -> None:
    cells = overview.cells_frame(rows)
    assert len(cells) == 2 * 2 * 3 * 3
    assert list(cells["dataset"].unique()) == ["ham10000", "breastmnist"]
    assert list(cells["noise_type"].unique()) == ["symmetric", "asymmetric"]
    assert cells["noise_rate"][:9].to_list() == [0.0] * 3 + [0.2] * 3 + [0.4] * 3
    assert cells["method"][:3].to_list() == ["ce", "elr", "coteaching"]
    assert cells["rank"][:3].to_list() == [1, 2, 3]
    assert cells["gap_to_best"][:3].to_list() == pytest.approx([0, -0.1, -0.2])
    assert cells["over_reference"][:3].to_list() == pytest.approx([0, -0.1, -0.2])
    assert cells["balanced_accuracy_mean"][0] == pytest.approx(0.91)
    assert cells["balanced_accuracy_sd"][0] == pytest.approx(0.01)
    assert cells["runs"].eq(3).all()


def test_a_better_method_than_the_reference_is_above_it(rows) -> None:
    better = (rows["method"] == "elr") & (rows["noise_rate"] == 0.4)
    rows.loc[better, "balanced_accuracy"] += 0.15
    cells = overview.cells_frame(rows)
    at = cells[(cells["method"] == "elr") & (cells["noise_rate"] == 0.4)]
    assert at["rank"].eq(1).all()
    assert cells["method"][6:9].to_list() == ["elr", "ce", "coteaching"]
    assert at["over_reference"].to_list() == pytest.approx([0.05] * 4)
    facts = overview.overview_facts(rows, cells)
    # Of the 16 noisy cells of the two other methods the four of elr at 40 % are above, the rest below.
    assert facts["helped"] == pytest.approx(25)
    assert facts["hurt"] == pytest.approx(75)
    assert facts["most"] == pytest.approx(5)
    assert facts["most_method"] == "ELR"
    assert facts["most_where"] == f"HAM10000 under DeiT-Ti at 40{NBSP}% symmetric noise"
    assert facts["least"] == pytest.approx(-20)
    assert facts["least_method"] == "Co-teaching†"
    assert facts["winners"] == 2
    assert facts["reference_best"] == 8


def test_counts_of_the_grid(rows) -> None:
    facts = overview.overview_facts(rows, overview.cells_frame(rows))
    assert facts["runs"] == "108"
    assert facts["cells"] == "36"
    counts = {"datasets": 2, "backbones": 1, "kinds": 2, "rates": 3, "methods": 3, "seeds": 3}
    assert {name: facts[name] for name in counts} == counts
    assert facts["conditions"] == 12
    assert facts["distinct"] == 10  # the clean one of each set counts once
    assert facts["dead_cells"] == 0


def test_dead_classes_in_one_run_make_a_dead_cell(rows) -> None:
    rows.loc[0, "dead_classes"] = 1
    facts = overview.overview_facts(rows, overview.cells_frame(rows))
    assert facts["dead_cells"] == 1
    assert facts["dead_share"] == pytest.approx(100 / 36)


def test_incomplete_rows_and_rows_without_cross_entropy_are_refused(rows) -> None:
    with pytest.raises(NoisylibError, match="ncomplete conditions: 1"):
        overview.cells_frame(rows.drop(index=0))
    with pytest.raises(UnknownNameError, match="method of the rows='ce' is unknown"):
        overview.cells_frame(rows[rows["method"] != "ce"])


def test_the_note_names_the_pair_that_accuracy_does_not_tell_apart(rows) -> None:
    # As made, accuracies differ by 0.1 and agree on the winner; no pair is close.
    note = overview.accuracy_note(overview.cells_frame(rows))
    assert note == "In 0 of 12 conditions, accuracy and balanced accuracy name different winners."
    here = (
        (rows["dataset"] == "ham10000") & (rows["noise_type"] == "asymmetric") & (rows["noise_rate"] == 0.4)
    )
    rows.loc[here & (rows["method"] == "coteaching"), ["accuracy", "dead_classes"]] = [0.561, 2]
    rows.loc[here & (rows["method"] == "ce"), "accuracy"] = 0.56
    note = overview.accuracy_note(overview.cells_frame(rows)).replace(NBSP, " ")
    assert note.startswith("In 1 of 12 conditions")
    assert "on HAM10000 under DeiT-Ti at 40 % asymmetric noise" in note
    assert "Cross entropy (accuracy 56.0 %, balanced 51.0 %, 0.0 dead classes)" in note
    assert "and Co-teaching† (accuracy 56.1 %, balanced 31.0 %, 2.0 dead classes)" in note


def test_backbones_that_are_not_registered_keep_their_name() -> None:
    assert overview.backbone_title("deit_tiny") == "DeiT-Ti"
    assert overview.backbone_title("raw") == "raw"
