"""Figures of places and winners: every bar, tile and number drawn is the one of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import placeplots, plotstyle

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ce": "Cross entropy", "elr": "ELR"}
WON = pd.DataFrame(
    [
        ("pbc", "a", "symmetric", 0.0, "ce", 0.08),
        ("pbc", "a", "asymmetric", 0.4, "elr", 0.02),
        ("pbc", "a", "symmetric", 0.2, "", 0.0),
        ("ham10000", "a", "asymmetric", 0.4, "elr", 0.001),
        ("ham10000", "b", "asymmetric", 0.4, "ce", 0.003),
    ],
    columns=["dataset", "backbone", "noise_type", "noise_rate", "winner", "lead"],
)
ROWS = {("pbc", "a"): ("PBC", "Backbone A"), ("ham10000", "a"): ("HAM10000", "Backbone A")}
ROWS[("ham10000", "b")] = ("HAM10000", "Backbone B")


def bars():
    clean = pd.DataFrame([[0.75, 0.25], [0.25, 0.75]], index=["elr", "ce"], columns=[1, 2])
    noisy = pd.DataFrame([[0.0, 1.0], [1.0, 0.0]], index=["elr", "ce"], columns=[1, 2])
    return placeplots.place_bars(
        {"Clean": clean, "Symmetric, low": noisy}, {"Clean": 4, "Symmetric, low": 8}, TITLES
    )


def tiles():
    return placeplots.winner_tiles(WON, TITLES, ROWS)


@pytest.mark.parametrize("draw", [bars, tiles])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_bars_follow_the_titles_and_end_at_a_hundred() -> None:
    clean, noisy = bars().axes
    assert [label.get_text() for label in clean.get_yticklabels()] == ["Cross entropy", "ELR"]
    first, second = clean.containers
    np.testing.assert_allclose([bar.get_width() for bar in first], [25, 75])
    np.testing.assert_allclose([bar.get_x() for bar in second], [25, 75])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in second], 100)
    assert texts(clean) == ["1.8", "1.2"]  # 0.25 x 1 + 0.75 x 2, and the other way round
    assert texts(noisy) == ["1.0", "2.0"]
    assert "8 conditions" in noisy.get_title(loc="left")
    assert first[0].get_y() < first[1].get_y()
    assert clean.yaxis_inverted()


def test_tiles_have_the_winners_marker_and_lead_where_the_condition_is() -> None:
    pbc, ham = tiles().axes
    assert [label.get_text() for label in ham.get_xticklabels()] == ["clean", "20 %", "40 %"]
    places = dict(zip([label.get_text() for label in ham.get_xticklabels()], ham.get_xticks(), strict=True))
    numbers = {text.get_text(): text.get_position()[0] for text in pbc.texts}
    assert numbers == pytest.approx(
        {"8.0": places["clean"] + 0.4, "tie": places["20 %"] + 0.4, "2.0": places["40 %"] + 0.4}
    )
    styles = plotstyle.method_styles(list(TITLES))
    marks = sorted((line.get_xdata()[0] + 0.27, line.get_marker()) for line in pbc.get_lines())
    assert [x for x, _ in marks] == pytest.approx([places["clean"], places["40 %"]])
    assert [marker for _, marker in marks] == [styles["ce"].marker, styles["elr"].marker]
    assert pbc.get_title(loc="left") == "PBC"
    assert texts(ham)[:2] == ["0.1", "0.3"]
    assert [text.get_position()[1] for text in ham.texts[:2]] == [0, 1]
    assert [label.get_text() for label in ham.get_yticklabels()] == ["Backbone A", "Backbone B"]
    assert ham.yaxis_inverted()


def test_a_larger_lead_has_a_stronger_colour_up_to_a_limit() -> None:
    strengths = [patch.get_alpha() for axis in tiles().axes for patch in axis.patches]
    assert strengths[0] == pytest.approx(0.12 + 0.5)  # 8 points are beyond the limit of 4
    assert strengths[1] == pytest.approx(0.12 + 0.25)
    assert strengths[2] is None  # a tie is grey
    assert strengths[3] < strengths[1]


def test_only_winners_are_in_the_legend_and_kinds_stand_apart() -> None:
    alone = WON[WON["winner"] != "ce"]
    figure = placeplots.winner_tiles(alone, TITLES, ROWS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ELR"]
    assert figure.axes[-1].get_xticks().tolist() == [0, 1.25]
    assert [text for text in texts(figure.axes[-1]) if "noise" in text] == [
        "Symmetric noise",
        "Asymmetric noise",
    ]
