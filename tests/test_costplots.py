"""Figures of the cost of the choice: what is drawn where, in points, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import costplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
PUBLISHED = {("clean", 0.0): 0.045, ("asymmetric", 0.4): 0.188}
REGIMES = pd.MultiIndex.from_tuples([("clean", 0.0), ("symmetric", 0.4), ("asymmetric", 0.4)])


def curve_frame() -> pd.DataFrame:
    """Asymmetric first and higher, and rates not in order: the figure sorts both."""
    rows = [
        (kind, rate, 0.1 + rate / 2, 0.2 + slope * rate, 0.05 + rate / 2, 0.15 + rate / 2, 0.04, 0.02, 0.08)
        for kind, slope in (("asymmetric", 2), ("symmetric", 1)) for rate in (0.4, 0.0, 0.2)
    ]  # fmt: skip
    names = ["mean", "max", "low", "high", "floor", "noise_floor", "held_out"]
    return pd.DataFrame(rows, columns=["noise_type", "noise_rate", *names])


def curves():
    return costplots.cost_curves(curve_frame(), PUBLISHED)


def costs():
    titles = pd.MultiIndex.from_tuples([("A", "one"), ("A", "two"), ("B", "one")])
    values = np.arange(9).reshape(3, 3) + 0.25
    return costplots.cost_heatmap(pd.DataFrame(values, index=titles, columns=REGIMES))


def regrets():
    frame = pd.DataFrame([[1, 2, 3], [0, 0, 0.04], [5, 6, 7]], index=["random", "elr", "ce"], columns=REGIMES)
    return costplots.regret_heatmap(frame, {"ce": "Cross entropy", "elr": "ELR", "random": "by lot"})


def counts():
    rows = [
        ("symmetric", 0.4, "ce", 1 / 3, 4.0, 4), ("clean", 0.0, "ce", 0.0, 2.0, 2),
        ("symmetric", 0.4, "elr", 3 + 2 / 3, 0.0, 4), ("clean", 0.0, "elr", 2.0, 0.0, 2),
    ]  # fmt: skip
    names = ["noise_type", "noise_rate", "method", "best", "worst", "n_conditions"]
    titles = {"ce": "Cross entropy", "elr": "ELR"}
    return costplots.extremes_heatmaps(pd.DataFrame(rows, columns=names), titles)


@pytest.mark.parametrize("draw", [curves, costs, regrets, counts])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_curves_are_in_points_and_in_order() -> None:
    figure = curves()
    assert [axis.get_title("left") for axis in figure.axes] == ["Symmetric noise", "Asymmetric noise"]
    for axis, highest in zip(figure.axes, ([20, 40, 60], [20, 60, 100]), strict=True):
        drawn = lines(axis)
        np.testing.assert_allclose(drawn["mean"].get_xdata(), [0, 20, 40])
        np.testing.assert_allclose(drawn["mean"].get_ydata(), [10, 20, 30])
        np.testing.assert_allclose(drawn["highest condition"].get_ydata(), highest)
        np.testing.assert_allclose(drawn["floor: names shuffled"].get_ydata(), [4] * 3)
        np.testing.assert_allclose(drawn["floor: seed noise"].get_ydata(), [2] * 3)
        np.testing.assert_allclose(drawn["picked on other seeds"].get_ydata(), [8] * 3)
        band = axis.collections[0].get_paths()[0].vertices
        assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((5, 35))
        assert axis.get_ylim()[0] == 0


def test_no_panel_cuts_the_highest_line_of_another() -> None:
    assert curves().axes[0].get_ylim()[1] >= 100


def test_the_paper_is_two_points_and_no_line() -> None:
    symmetric, asymmetric = (lines(axis)["the paper"] for axis in curves().axes)
    assert list(zip(*symmetric.get_data(), strict=True)) == [(0, 4.5)]
    np.testing.assert_allclose(np.transpose(asymmetric.get_data()), [[0, 4.5], [40, 18.8]])
    assert asymmetric.get_linestyle() == "None"
    assert [text.get_text() for text in curves().axes[1].texts] == ["4.5", "18.8"]


def test_lines_differ_in_colour_and_marker() -> None:
    drawn = lines(curves().axes[0]).values()
    assert len({line.get_color() for line in drawn}) == len({line.get_marker() for line in drawn}) == 6


def test_what_is_not_known_is_not_drawn() -> None:
    unknown = ["low", "high", "floor", "noise_floor", "held_out"]
    figure = costplots.cost_curves(curve_frame().assign(**dict.fromkeys(unknown, np.nan)), {})
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["mean", "highest condition"]
    assert not figure.axes[0].collections


def cells(axis, columns: int) -> list[list[str]]:
    """Return the numbers row by row; the last texts name the kinds of noise, one column each here."""
    grid = [text.get_text() for text in axis.texts][:-columns]
    return [grid[i : i + columns] for i in range(0, len(grid), columns)]


def labels(ticks) -> list[str]:
    return [tick.get_text() for tick in ticks]


def test_cost_heatmap_names_rows_rates_and_noise() -> None:
    (axis,) = costs().axes
    assert labels(axis.get_yticklabels()) == ["A, one", "A, two", "B, one"]
    assert labels(axis.get_xticklabels()) == ["0", "40", "40"]
    assert cells(axis, 3)[1] == ["3.2", "4.2", "5.2"]  # halves go to the even digit
    assert [text.get_text() for text in axis.texts][9:] == ["Clean", "Symmetric", "Asymmetric"]
    assert [text.get_position()[0] for text in axis.texts][9:] == [0.5, 1.5, 2.5]
    across = [line.get_ydata()[0] for line in axis.get_lines() if len(set(line.get_ydata())) == 1]
    assert across == [2], "a rule where the data set changes, and nowhere else"


def test_regrets_are_in_the_order_of_the_titles_with_chance_apart() -> None:
    (axis,) = regrets().axes
    assert labels(axis.get_yticklabels()) == ["Cross entropy", "ELR", "by lot"]
    assert cells(axis, 3) == [["5.0", "6.0", "7.0"], ["0.0", "0.0", "0.0"], ["1.0", "2.0", "3.0"]]
    across = [line.get_ydata()[0] for line in axis.get_lines() if len(set(line.get_ydata())) == 1]
    assert across == [2]


def test_counts_show_ties_as_fractions_and_zeros_as_nothing() -> None:
    best, worst = counts().axes
    assert best.get_title("left") == "Conditions where it is best"
    assert cells(best, 2) == [["", "0.3"], ["2", "3.7"]]
    assert cells(worst, 2) == [["2", "4"], ["", ""]]
    assert best.collections[0].get_clim() == worst.collections[0].get_clim() == (0, 4)


def test_numbers_stand_out_from_their_cells() -> None:
    def luminance(colour) -> float:  # of sRGB, as the web's contrast rules define it
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    (axis,) = costs().axes
    for text, cell in zip(axis.texts[:9], axis.collections[0].get_facecolors(), strict=True):
        light, dark = sorted((luminance(cell), luminance(matplotlib.colors.to_rgb(text.get_color()))))[::-1]
        assert (light + 0.05) / (dark + 0.05) > 4
