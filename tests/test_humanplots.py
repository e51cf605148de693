"""Figures of human labels: what is drawn are the numbers, in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import humanplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
T = np.array([[0.9, 0.1, 0], [0.004, 0.996, 0], [0.2, 0.3, 0.5]])
SCORES = pd.DataFrame(
    [
        (name, noise, method, seed, 0.5 + 0.1 * seed + 0.05 * (noise == "human") + 0.2 * (method == "elr"))
        for name in ("aggregate", "worst")
        for noise in ("human", "symmetric")
        for method in ("ce", "elr")
        for seed in (0, 1)
    ],
    columns=["labels", "noise", "method", "seed", "balanced_accuracy"],
)


def maps():
    return humanplots.transition_maps({"People": T, "Even": np.eye(3)}, ["a", "b", "c"])


def rates():
    frame = pd.DataFrame({"aggregate": [0.1, 0.05], "worst": [0.4, 0.2]}, index=["cat", "ship"])
    return humanplots.class_rates(frame)


def votes():
    return humanplots.right_votes([1, 2, 7], [2.0, 3.0, 5.0])


def scores():
    return humanplots.method_scores(SCORES, {"ce": "Cross entropy", "elr": "ELR"})


@pytest.mark.parametrize("draw", [maps, rates, votes, scores])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def test_maps_write_percent_and_leave_out_what_rounds_to_nothing() -> None:
    axis = maps().axes[0]
    assert [text.get_text() for text in axis.texts] == ["90", "10", "", "", "100", "", "20", "30", "50"]
    assert axis.get_title(loc="left") == "People"
    assert axis.collections[0].get_clim() == (0, humanplots.BRIGHTEST)


def test_rates_are_in_the_order_given_from_the_top() -> None:
    axis = rates().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cat", "ship"]
    worst = next(line for line in axis.get_lines() if line.get_label() == "worst")
    np.testing.assert_allclose(worst.get_xdata(), [40, 20])
    assert worst.get_ydata()[0] > worst.get_ydata()[1]
    dotted = [line.get_xdata()[0] for line in axis.get_lines() if str(line.get_label()).startswith("_")]
    np.testing.assert_allclose(dotted, [7.5, 30])


def test_votes_are_shares_of_the_images() -> None:
    heights = [bar.get_height() for bar in votes().axes[0].patches]
    np.testing.assert_allclose(heights, [10, 20, 70, 20, 30, 50])


def test_scores_have_a_mark_at_the_mean_and_a_dot_for_each_seed() -> None:
    figure = scores()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["aggregate", "worst"]
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ELR", "Cross entropy"]
    lines = [(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata())) for line in axis.get_lines()]
    marks = {round(float(y[0]), 2): float(x[0]) for x, y in lines if len(x) == 1}
    assert marks == pytest.approx({0.13: 80, -0.13: 75, 1.13: 60, 0.87: 55})
    assert sorted(len(x) for x, _ in lines) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["people", "symmetric"]
