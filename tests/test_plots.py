"""Figures: drawn data, one fixed style per method, an opaque light background."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib import bankplots, plots, plotstyle
from noisylib.book import tables
from noisylib.methods import METHODS, RANKED

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
CLASSES = ["a", "b", "c", "d"]


def curves():
    rows = study_rows()
    titles = tables.method_titles(list(rows["method"].unique()))
    return plots.accuracy_curves(tables.summarise(rows), titles, chance=0.25, majority=0.6)


def recall():
    frame = pd.DataFrame([[0.5, 0.0, 1, 0.2], [0.5, 0.004, 1, 0]], index=["CE", "ELR"], columns=CLASSES)
    return plots.recall_heatmap(frame, [10, 2, 7, 1])


def matrices():
    return plots.transition_heatmaps({"symmetric": np.eye(4), "pairflip": np.full((4, 4), 0.25)}, CLASSES)


def sizes():
    records = [("One", name, "train", 10 * (i + 1)) for i, name in enumerate(CLASSES)]
    return bankplots.class_sizes(pd.DataFrame(records, columns=["dataset", "class", "split", "samples"]))


def maps():
    frame = pd.DataFrame({"dataset": "One", "class": ["a", "b"] * 5, "x": range(10), "y": range(10)})
    return bankplots.projections(frame)


def purity():
    frame = pd.DataFrame(
        {"noise": "symmetric", "class": CLASSES, "share": [0.1, 0.2, 0.3, 0.4], "purity": [0.2, 0.6, 0.8, 1]}
    )
    return plots.purity_curves(frame, 0.4)


@pytest.mark.parametrize("draw", [curves, recall, matrices, sizes, maps, purity])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    figure = draw()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert all(axis.get_facecolor() == (1, 1, 1, 1) for axis in figure.axes if axis.axison)
    assert figure.get_size_inches()[0] == plotstyle.WIDTH
    assert not plt.get_fignums(), "an open figure would be shown twice in a notebook"
    assert dict(matplotlib.rcParams) == before, "a figure must not change the caller's settings"


def test_curves_show_means_in_percent_with_a_style_per_method() -> None:
    figure = curves()
    axis = figure.axes[0]
    lines = {line.get_label(): line for line in axis.get_lines()}
    np.testing.assert_allclose(lines["ELR"].get_xdata(), [0, 20, 40])
    np.testing.assert_allclose(lines["ELR"].get_ydata(), [81, 61, 41])
    looks = {(line.get_marker(), line.get_color()) for label, line in lines.items() if label[0] != "_"}
    assert len(looks) == 3
    assert [axis.get_title("left") for axis in figure.axes[:2]] == ["Symmetric noise", "Asymmetric noise"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["Cross entropy", "Co-teaching†", "ELR"]


def test_a_method_keeps_its_style_whatever_is_drawn_with_it() -> None:
    every = plotstyle.method_styles(list(METHODS))
    assert plotstyle.method_styles(["elr"])["elr"] == every["elr"]
    variant = plotstyle.method_styles(["elr-weak", "elr"])
    assert variant["elr"] == every["elr"]
    assert variant["elr-weak"] not in every.values()


def test_styles_differ_in_colour_and_marker_for_many_methods() -> None:
    looks = [(style.color, style.marker) for style in map(plotstyle.style_of, range(110))]
    assert len(set(looks)) == 110
    first = [plotstyle.style_of(i).marker for i in range(10)]
    assert len(set(first)) == 10, "colour must not stand alone"


def test_the_ranked_methods_differ_in_colour_and_in_marker() -> None:
    styles = plotstyle.method_styles(RANKED)
    assert len(RANKED) == 8
    assert len({style.color for style in styles.values()}) == 8
    assert len({style.marker for style in styles.values()}) == 8
    assert plotstyle.method_styles(["cufit", "ce"])["cufit"] == styles["cufit"]
    looks = {(style.color, style.marker) for style in plotstyle.method_styles(list(METHODS)).values()}
    assert len(looks) == len(METHODS)


def test_palette_is_seaborns_colour_blind_one() -> None:
    seaborn = pytest.importorskip("seaborn")
    assert {colour.lower() for colour in seaborn.color_palette("colorblind").as_hex()} == set(
        plotstyle.COLOURS
    )


def test_only_classes_that_are_never_found_are_framed() -> None:
    frames = [p for p in recall().axes[0].patches if not p.get_fill()]
    cells = {(round(p.get_x() - 0.04), round(p.get_y() - 0.06)) for p in frames}
    assert cells == {(1, 0), (3, 1)}  # (class, method); 0.4 % is rare, not dead


def test_matrices_print_percent_and_leave_zeros_empty() -> None:
    texts = [text.get_text() for text in matrices().axes[0].texts]
    assert sorted(texts) == [""] * 12 + ["100"] * 4


def test_class_sizes_are_in_order_and_labelled() -> None:
    axis = sizes().axes[0]
    (line,) = axis.get_lines()
    assert list(line.get_xdata()) == [10, 20, 30, 40]
    assert axis.get_xscale() == "log"
    assert axis.get_xlim()[0] <= 10
    assert [text.get_text() for text in axis.texts] == ["10", "20", "30", "40"]


def test_expected_purity_passes_through_its_closed_form() -> None:
    line = next(line for line in purity().axes[0].get_lines() if line.get_label() == "expected")
    share, value = np.asarray(line.get_xdata()) / 100, np.asarray(line.get_ydata()) / 100
    np.testing.assert_allclose(value, share * 0.6 / (share * 0.6 + (1 - share) * 0.4 / 3))
