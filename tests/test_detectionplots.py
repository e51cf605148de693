"""Figures of detection: lines, dots and bars are the numbers in percent, in the panels they belong to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import detectionplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"loss": "Small loss", "agreement": "Agreement"}
CHANCE = {"asymmetric": 0.6, "symmetric": 0.7}
ROWS = {("a", "x"): "A, X", ("a", "y"): "A, Y", ("b", "x"): "B, X"}


def curves():
    lines = pd.DataFrame(
        [(kind, "loss", f, right + 0.2 * (1 - f)) for kind, right in CHANCE.items() for f in (0.5, 1.0)],
        columns=["noise_type", "detector", "fraction", "precision"],
    )
    points = pd.DataFrame(
        [("asymmetric", "agreement", 0.4, 0.75), ("symmetric", "agreement", 0.5, 0.95)], columns=lines.columns
    )
    return detectionplots.precision_curves(lines, points, TITLES, CHANCE, "agreement")


def dots():
    frame = pd.DataFrame(
        [("big", 90, "loss", 0.9, 0.8), ("small", 10, "loss", np.nan, 0.0),
         ("big", 90, "agreement", 0.7, 0.6), ("small", 10, "agreement", 0.5, 0.4)],
        columns=["class", "images", "detector", "precision", "recall"],
    )  # fmt: skip
    return detectionplots.class_dots(frame, TITLES)


def drops():
    frame = pd.DataFrame(
        [(*row, key, 0.1 + 0.1 * i, 0.05 + 0.1 * i, 0.15 + 0.1 * i) for row in ROWS for i, key in
         enumerate(("loss", "agreement"))],
        columns=["dataset", "backbone", "detector", "mean", "low", "high"],
    )  # fmt: skip
    panels = {"One": {"loss": "small loss", "agreement": "agrees"}, "Two": {"loss": "small loss"}}
    return detectionplots.drop_dots(frame, panels, ROWS, {"paper": 0.13})


def bars():
    frame = pd.DataFrame(
        [(*row, "set", 0.06, 0.1, -0.05, 0.01) for row in ROWS],
        columns=["dataset", "backbone", "detector", "total", "p", "q", "r"],
    )
    return detectionplots.part_bars(frame, {"set": "Set"}, {"p": "P", "q": "Q", "r": "R"}, ROWS)


@pytest.mark.parametrize("draw", [curves, dots, drops, bars])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_curves_stand_in_the_panel_of_their_noise() -> None:
    first, second = curves().axes
    assert first.get_title(loc="left") == "Asymmetric noise"
    np.testing.assert_allclose(lines(first)["Small loss"].get_xdata(), [50, 100])
    np.testing.assert_allclose(lines(first)["Small loss"].get_ydata(), [70, 60])
    np.testing.assert_allclose(lines(second)["Small loss"].get_ydata(), [80, 70])


def test_sets_are_points_and_their_size_is_the_matched_number() -> None:
    for axis, x, y, right in zip(curves().axes, (40, 50), (75, 95), (60, 70), strict=True):
        drawn = lines(axis)
        assert (drawn["Agreement"].get_xdata()[0], drawn["Agreement"].get_ydata()[0]) == (x, pytest.approx(y))
        assert drawn["matched m"].get_xdata()[0] == pytest.approx(x)
        assert drawn["fixed m"].get_xdata()[0] == pytest.approx(right)
        assert drawn["random"].get_ydata()[0] == pytest.approx(right)


def test_a_perfect_ranking_is_right_until_the_right_labels_end() -> None:
    line = lines(curves().axes[0])["perfect ranking"]
    at = dict(zip(np.round(line.get_xdata()).astype(int), line.get_ydata(), strict=True))
    assert at[60] == pytest.approx(100)
    assert at[80] == pytest.approx(75)
    assert at[100] == pytest.approx(60)


def test_classes_are_ordered_by_size_with_the_largest_on_top() -> None:
    precision, recall = dots().axes
    assert [label.get_text() for label in precision.get_yticklabels()] == ["small (10)", "big (90)"]
    np.testing.assert_allclose(lines(precision)["Small loss"].get_xdata(), [np.nan, 90])
    np.testing.assert_allclose(lines(recall)["Agreement"].get_xdata(), [40, 60])
    assert precision.get_ylim()[0] < precision.get_ylim()[1]


def test_drops_have_intervals_and_the_published_line() -> None:
    figure = drops()
    one, two = figure.axes
    assert [axis.get_title(loc="left") for axis in (one, two)] == ["One", "Two"]
    assert set(lines(two)) == {"small loss", "paper"}
    np.testing.assert_allclose(lines(one)["agrees"].get_xdata(), [20] * 3)
    ends = one.collections[1].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in ends], [[15, 25]] * 3)
    assert lines(one)["paper"].get_xdata()[0] == pytest.approx(13)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small loss", "agrees", "paper"]


def test_rows_run_downwards_with_a_gap_between_data_sets() -> None:
    axis = drops().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(ROWS.values())
    np.testing.assert_allclose(axis.get_yticks(), [0, 1, 2.5])
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def test_bars_stack_gains_to_the_left_and_the_diamond_is_the_sum() -> None:
    axis = bars().axes[0]
    first = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axis.patches[::3]]
    assert first == [(0, 10), (0, -5), (10, 1)]
    np.testing.assert_allclose(lines(axis)["drop"].get_xdata(), [6] * 3)
