"""Figures of sensitivity: what is drawn where, from frames with known numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import plotstyle, sensitivityplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ce": "Cross entropy", "elr": "ELR"}


def moves():
    frame = pd.DataFrame({"Cross entropy": [0.04, -1.5], "ELR": [2.0, 0.0]}, index=["one", "other"])
    return sensitivityplots.rank_moves(frame)


def dots():
    scores = {("a", "ce"): 0.1, ("a", "elr"): 0.2, ("b", "ce"): 0.3, ("b", "elr"): 0.25}
    rows = [
        {"panel": panel, "variant": variant, "method": method, "score": score + (panel == "late") / 2}
        for panel in ("early", "late") for (variant, method), score in scores.items()
    ]  # fmt: skip
    return sensitivityplots.variant_dots(pd.DataFrame(rows), TITLES)


def rates():
    rows = [
        {"panel": p, "noise_rate": r, "method": m, "score": 0.5 - r + s / 10, "dead": 2.0}
        for p in ("x", "y") for r in (0.4, 0.0, 0.2) for m in TITLES for s in (0, 1)
    ]  # fmt: skip
    scores = {"score": ("Score (%)", 100), "dead": ("Dead", 1)}
    return sensitivityplots.rate_panels(pd.DataFrame(rows), TITLES, scores)


def drops():
    rows = [("pairs", "mel", 0.2, 0.4), ("pairs", "nv", 0.9, -0.1), ("cycle", "mel", 0.95, 0.05)]
    return sensitivityplots.purity_drops(pd.DataFrame(rows, columns=["panel", "class", "purity", "drop"]))


def margins():
    rows = [("A", 0.05, 0.01, True), ("A", 0.01, 0.02, False), ("B", 0.03, np.nan, False)]
    columns = ["dataset", "margin", "standard_error", "clear"]
    return sensitivityplots.winner_margins(pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize("draw", [moves, dots, rates, drops, margins])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_moves_are_written_in_their_cells_and_white_is_no_move() -> None:
    axis = moves().axes[0]
    assert [text.get_text() for text in axis.texts] == ["0", "+2.0", "-1.5", "0"]
    mesh = axis.collections[0]
    assert mesh.get_clim() == (-2, 2)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "other"]


def test_dots_stand_at_their_score_with_the_first_method_on_top() -> None:
    figure = dots()
    early, late = figure.axes
    np.testing.assert_allclose(lines(early)["a"].get_xdata(), [10, 20])
    np.testing.assert_allclose(lines(late)["b"].get_xdata(), [80, 75])
    np.testing.assert_array_equal(lines(early)["a"].get_ydata(), [0, 1])
    assert early.yaxis_inverted()
    assert (early.get_title("left"), late.get_title("left")) == ("early", "late")
    assert lines(early)["a"].get_marker() != lines(early)["b"].get_marker()
    (spans,) = early.collections  # one bar per method, from its lowest to its highest variant
    np.testing.assert_allclose([bar[:, 0] for bar in spans.get_segments()], [[10, 30], [20, 25]])
    assert legend(figure) == ["a", "b"]


def test_rate_lines_are_means_in_the_style_of_the_method() -> None:
    figure = rates()
    assert len(figure.axes) == 4
    line = lines(figure.axes[0])["ELR"]
    np.testing.assert_allclose(line.get_xdata(), [0, 20, 40])
    np.testing.assert_allclose(line.get_ydata(), [55, 35, 15])  # 50 - 100 r, and 5 as the mean of 0 and 10
    assert line.get_marker() == plotstyle.method_styles(["elr"])["elr"].marker
    np.testing.assert_allclose(lines(figure.axes[3])["ELR"].get_ydata(), 2)
    assert [axis.get_ylabel() for axis in figure.axes] == ["Score (%)", "", "Dead", ""]
    assert legend(figure) == ["Cross entropy", "ELR"]


def test_purity_points_carry_their_class() -> None:
    figure = drops()
    axis = figure.axes[0]
    np.testing.assert_allclose(lines(axis)["pairs"].get_xdata(), [20, 90])
    np.testing.assert_allclose(lines(axis)["pairs"].get_ydata(), [40, -10])
    assert [text.get_text() for text in axis.texts] == ["mel", "nv", "mel"]
    upright = [line.get_xdata()[0] for line in axis.get_lines() if list(line.get_ydata()) == [0, 1]]
    assert upright == [50], "half of the labels are right there"
    assert legend(figure) == ["pairs", "cycle"]


def test_clear_leads_are_filled_and_the_line_has_slope_two() -> None:
    figure = margins()
    axis = figure.axes[0]
    hollow, filled = (line for line in axis.get_lines() if line.get_xdata().tolist() in ([1.0], [2.0])[::-1])
    if hollow.get_markerfacecolor() != "none":
        hollow, filled = filled, hollow
    assert hollow.get_markerfacecolor() == "none"
    assert filled.get_xdata().tolist() == [1.0]
    assert filled.get_ydata().tolist() == [5.0]
    np.testing.assert_allclose(lines(axis)["two standard errors"].get_ydata(), [0, 4])
    assert legend(figure) == ["A", "B", "two standard errors"]


def test_a_single_seed_has_no_errors_and_still_draws() -> None:
    rows = [("A", 0.05, np.nan, False)]
    columns = ["dataset", "margin", "standard_error", "clear"]
    axis = sensitivityplots.winner_margins(pd.DataFrame(rows, columns=columns)).axes[0]
    np.testing.assert_allclose(lines(axis)["two standard errors"].get_xdata(), [0, 1])
