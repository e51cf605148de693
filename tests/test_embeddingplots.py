"""Figures of the report on one's own embeddings: what is drawn are the numbers, in percent or points."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure
from matplotlib.colors import to_hex

from noisylib import embeddingplots
from noisylib.plotstyle import COLOURS

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
RANKING = pd.DataFrame(
    [("ELR", 0.01, 0.0, 0.03), ("Mixup", 0.04, 0.02, 0.1), ("Plain", 0.05, 0.03, 0.2)],
    columns=["title", "regret", "low", "high"],
)
T = np.array([[0.9, 0.1, 0], [0.004, 0.996, 0], [0.2, 0.3, 0.5]])
NAMES = ["benign", 7, "a name that is far too long for an axis"]


def regrets():
    return embeddingplots.regret_dots(RANKING)


def noise():
    return embeddingplots.noise_and_risk({"Estimated": T, "True": np.eye(3)}, NAMES, [0.0, 0.25, 0.2], 0.2)


def doubt(wrong=None):
    return embeddingplots.doubt_histogram(np.array([0.02, 0.04, 0.32, 0.97, 1.0]), 0.5, wrong)


@pytest.mark.parametrize("draw", [regrets, noise, doubt])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def test_the_recommended_method_stands_on_top_in_a_colour_of_its_own() -> None:
    axis = regrets().axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ELR", "Mixup", "Plain"]
    assert axis.get_yticks().tolist() == [2, 1, 0]
    first, others = axis.lines
    assert (first.get_xydata().tolist(), others.get_xydata().tolist()) == ([[1, 2]], [[4, 1], [5, 0]])
    assert first.get_color() == COLOURS[0] != others.get_color()
    assert first.get_marker() != others.get_marker()
    ends = [segment[:, 0].tolist() for segment in axis.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[0, 3], [2, 10], [3, 20]])


def test_a_single_method_needs_no_entry_for_others() -> None:
    figure = embeddingplots.regret_dots(RANKING.head(1))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["recommended"]


def test_matrices_write_percent_and_leave_out_what_rounds_to_nothing() -> None:
    axes = noise().axes
    assert [axis.get_title(loc="left") for axis in axes] == ["Estimated", "True", "Risk"]
    texts = {text.get_position(): text.get_text() for text in axes[0].texts}
    assert texts == {(0, 0): "90", (1, 0): "10", (1, 1): "100", (0, 2): "20", (1, 2): "30", (2, 2): "50"}
    assert axes[0].images[0].get_array()[2, 0] == 20
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert labels == ["benign", "7", "a name that is far…"]
    assert axes[0].get_ylim()[0] > axes[0].get_ylim()[1]  # the first class is on top


def test_a_risk_above_the_limit_is_marked_by_colour_and_hatching() -> None:
    axis = noise().axes[-1]
    bars = axis.patches
    assert [bar.get_width() for bar in bars] == [0, 25, 20]
    assert [bar.get_hatch() is not None for bar in bars] == [False, True, False]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [COLOURS[5], COLOURS[3], COLOURS[5]]
    assert [text.get_text() for text in axis.texts] == ["0", "25", "20"]
    (limit,) = axis.lines
    assert limit.get_xdata() == [20, 20]


def test_many_classes_lose_numbers_first_and_then_names() -> None:
    figure = embeddingplots.noise_and_risk({"Estimated": np.eye(90)}, range(90), np.zeros(90), 0.2)
    matrix, risk = figure.axes
    assert not matrix.texts
    assert not risk.texts
    assert [text.get_text() for text in matrix.get_yticklabels()] == [str(c) for c in range(0, 90, 3)]


def test_the_histogram_counts_labels_and_stacks_the_wrong_on_the_right() -> None:
    heights = [bar.get_height() for bar in doubt().axes[0].patches]
    assert len(heights) == 20
    assert {i: h for i, h in enumerate(heights) if h} == {0: 2, 6: 1, 19: 2}
    axis = doubt(np.array([True, False, True, False, False])).axes[0]
    right, wrong = axis.patches[:20], axis.patches[20:]
    assert {i: b.get_height() for i, b in enumerate(right) if b.get_height()} == {0: 1, 19: 2}
    stacked = {i: (b.get_y(), b.get_height()) for i, b in enumerate(wrong) if b.get_height()}
    assert stacked == {0: (1, 1), 6: (0, 1)}
    assert all(bar.get_hatch() for bar in wrong)
    assert axis.lines[0].get_xdata() == [0.5, 0.5]
