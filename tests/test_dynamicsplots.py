"""Figures of training dynamics: lines are means over seeds in percent, with their reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import dynamicsplots, plotstyle

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ce": "Cross entropy", "elr": "ELR"}
COLUMNS = ["clean_learned", "memorised", "recovered", "balanced_accuracy"]
FLOORS = dict(zip(COLUMNS, (0.1, 0.2, 0.3, 0.4), strict=True))


def learning():
    rows = [
        {"method": m, "seed": s, "epoch": e, **{c: 0.1 * e + 0.2 * s for c in COLUMNS}}
        for m in TITLES for s in (0, 1) for e in (1, 2, 3)
    ]  # fmt: skip
    return dynamicsplots.learning_curves(pd.DataFrame(rows), TITLES, FLOORS, [1, 2])


def selection():
    rows = [("elr", 0, e, 0.5, 0.1 * e) for e in (2, 3)]
    frame = pd.DataFrame(rows, columns=["method", "seed", "epoch", "selected", "precision"])
    return dynamicsplots.selection_curves(frame, {"elr": "ELR"}, 0.6)


@pytest.mark.parametrize("draw", [learning, selection])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_lines_are_means_over_seeds_in_the_style_of_the_method() -> None:
    axis = learning().axes[0]
    line = lines(axis)["ELR"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), [20, 30, 40])  # 10 e, and 20 more for the second seed
    assert line.get_marker() == plotstyle.method_styles(["elr"])["elr"].marker
    band = axis.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(10)
    assert band[:, 1].max() == pytest.approx(50)


def test_each_panel_has_its_own_floor_and_the_falls_of_the_learning_rate() -> None:
    for axis, floor in zip(learning().axes, FLOORS.values(), strict=True):
        across = [line for line in axis.get_lines() if len(set(np.round(line.get_ydata(), 9))) == 1]
        assert [line.get_ydata()[0] for line in across] == pytest.approx([100 * floor])
        upright = [line.get_xdata()[0] for line in axis.get_lines() if len(set(line.get_xdata())) == 1]
        assert upright == [1.5, 2.5]


def test_the_legend_explains_the_reference() -> None:
    texts = [text.get_text() for text in learning().legends[0].get_texts()]
    assert texts == ["Cross entropy", "ELR", "always the largest class"]
    axis = selection().axes[1]
    np.testing.assert_array_equal(lines(axis)["ELR"].get_xdata(), [2, 3])
    np.testing.assert_allclose(lines(axis)["ELR"].get_ydata(), [20, 30])


def test_no_selection_draws_the_reference_alone() -> None:
    empty = pd.DataFrame(columns=["method", "seed", "epoch", "selected", "precision"])
    figure = dynamicsplots.selection_curves(empty, {}, 0.6)
    assert len(figure.axes[0].get_lines()) == 1
