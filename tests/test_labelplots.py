"""Figures of wrong labels: lines, points and cells are the numbers in percent, in their own panels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import labelplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ours": "Clean probability", "issues": "cleanlab, issues"}
NOISES = [("symmetric", 0.2), ("asymmetric", 0.4)]


def review():
    curves = pd.DataFrame(
        [("ours", 0.1, 0.9, 0.45), ("ours", 0.4, 0.5, 1.0)],
        columns=["detector", "fraction", "precision", "recall"],
    )
    sets = pd.DataFrame([("issues", 0.3, 0.4, 0.6)], columns=curves.columns)
    return labelplots.review_curves(curves, sets, TITLES, 0.2)


def reliability():
    bins = pd.DataFrame(
        [("ours", 0, 0.05, 0.1, 0.3), ("ours", 9, 0.95, 1.0, 0.7)],
        columns=["detector", "bin", "stated", "right", "share"],
    )
    return labelplots.reliability_lines(bins, {"ours": "Clean probability"})


def heatmap():
    index = pd.MultiIndex.from_tuples([(name, *noise) for name in ("a", "b") for noise in NOISES])
    matrix = pd.DataFrame([[0.9, 0.8], [0.7, 0.6], [0.5, 0.4], [1.0, 0.55]], index, ["issues", "ours"])
    return labelplots.auroc_heatmap(matrix, TITLES, {"a": "Alpha", "b": "Beta"})


def banks():
    index = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")])
    level = pd.DataFrame([[0.9, 0.8]] * 3, index, pd.MultiIndex.from_tuples(NOISES))
    lead = pd.DataFrame([[-0.0001, 0.05]] * 3, index, level.columns)
    return labelplots.bank_heatmaps(level, lead, {"a": "Alpha", "b": "Beta", "x": "X", "y": "Y"})


@pytest.mark.parametrize("draw", [review, reliability, heatmap, banks])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def numbers(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_a_review_has_precision_left_and_recall_right() -> None:
    precision, recall = review().axes
    assert precision.get_title(loc="left") == "Wrong among those looked at"
    np.testing.assert_allclose(lines(precision)["Clean probability"].get_xdata(), [10, 40])
    np.testing.assert_allclose(lines(precision)["Clean probability"].get_ydata(), [90, 50])
    np.testing.assert_allclose(lines(recall)["Clean probability"].get_ydata(), [45, 100])
    for axis, height in ((precision, 40), (recall, 60)):
        point = lines(axis)["flagged by cleanlab, issues"]
        np.testing.assert_allclose([point.get_xdata()[0], point.get_ydata()[0]], [30, height])


def test_perfect_and_random_reviews_bound_the_others() -> None:
    precision, recall = (lines(axis) for axis in review().axes)
    for found, at in ((precision, {10: 100, 20: 100, 40: 50}), (recall, {10: 50, 20: 100, 40: 100})):
        x, y = found["perfect ranking"].get_data()
        np.testing.assert_allclose(np.interp(list(at), x, y), list(at.values()), rtol=0.01)
    np.testing.assert_allclose(precision["random"].get_ydata(), 20)
    np.testing.assert_allclose(recall["random"].get_xdata(), recall["random"].get_ydata())


def test_reliability_stands_above_the_share_of_the_labels() -> None:
    upper, lower = reliability().axes
    line = lines(upper)["Clean probability"]
    np.testing.assert_allclose(line.get_xdata(), [5, 95])
    np.testing.assert_allclose(line.get_ydata(), [10, 100])
    np.testing.assert_allclose(lower.get_lines()[0].get_ydata(), [30, 70])
    np.testing.assert_allclose(lines(upper)["as stated"].get_data(), [[0, 100], [0, 100]])


def test_a_heat_map_has_the_columns_in_the_order_of_the_titles() -> None:
    (axis,) = heatmap().axes
    assert numbers(axis)[:2] == ["80.0", "90.0"]
    assert [label.get_text() for label in axis.get_xticklabels()] == list(TITLES.values())
    assert axis.get_yticklabels()[0].get_text() == "Alpha, symmetric 20 %"
    assert [line.get_ydata()[0] for line in axis.get_lines()] == [2]  # a rule between the data sets


def test_banks_have_their_level_left_and_their_lead_right() -> None:
    level, lead = banks().axes
    assert numbers(level)[:2] == ["90.0", "80.0"]
    assert numbers(lead)[:2] == ["0.0", "5.0"]  # no "-0.0"
    assert [label.get_text() for label in level.get_yticklabels()] == ["Alpha, X", "Alpha, Y", "Beta, X"]
    assert [label.get_text() for label in lead.get_xticklabels()] == ["Symm.\n20 %", "Asym.\n40 %"]
