"""Figures of the choice of a method: cells, dots and lines are the numbers, where they belong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import adviceplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


def heat():
    rows = [("light", "balanced", "good", 3, "b", 0.02, 0.01), ("light", "unequal", "weak", 5, "a", 0.0, 0.3),
            ("heavy", "balanced", "weak", 7, "b", 0.1, 0.0)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["noise", "classes", "features", "conditions", "use", "a", "b"])
    return adviceplots.regime_heatmap(frame, {"a": "A", "b": "B"})


def table(mean: float, names=("selector", "fixed", "always elr")) -> pd.DataFrame:
    rows = {n: {"mean": mean + i / 100, "low": mean, "high": mean + i / 50} for i, n in enumerate(names)}
    frame = pd.DataFrame(rows).T
    return frame.rename(columns={"low": "mean_low_bank", "high": "mean_high_bank"})


def forest():
    panels = {"One": table(0.01), "Two": table(0.02, ("selector", "fixed"))}
    names = {"selector": "selector", "fixed": "best fixed", "always elr": "always ELR"}
    return adviceplots.regret_forest(panels, names, "bank", [0.005, 0.01])


def scatter():
    rows = [("skin", "clean", 0.0, 0.01), ("skin", "symmetric", 0.2, 0.25), ("blood", "asymmetric", 0.3, 0.1),
            ("made", "symmetric", 0.9, 0.9)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["group", "kind", "realised_rate", "estimate"])
    return adviceplots.rate_scatter(frame, ["blood", "skin"], 0.05)


@pytest.mark.parametrize("draw", [heat, forest, scatter])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def test_heat_map_has_points_and_frames_whom_to_use() -> None:
    axis = heat().axes[0]
    assert [text.get_text() for text in axis.texts] == ["2.0", "1.0", "0.0", "30.0", "10.0", "0.0"]
    assert [int(frame.get_x()) for frame in axis.patches] == [1, 0, 1]
    assert [label.get_text() for label in axis.get_yticklabels()][1] == "light, unequal, weak (5)"
    assert [line.get_ydata()[0] for line in axis.get_lines()] == [2]  # between kinds of noise only


def test_forest_has_dots_intervals_and_the_target_of_each_panel() -> None:
    one, two = forest().axes
    dots = [line for line in one.get_lines() if line.get_marker() not in ("None", None, "")]
    np.testing.assert_allclose([line.get_xdata()[0] for line in dots], [1, 2, 3])
    assert [line.get_ydata()[0] for line in dots] == [0, 1, 2]
    ends = [segments.get_segments()[0][:, 0] for segments in one.collections]
    np.testing.assert_allclose(ends, [[1, 1], [1, 3], [1, 5]])
    goals = [axis.get_lines()[-1].get_xdata()[0] for axis in (one, two)]
    np.testing.assert_allclose(goals, [0.5, 1])
    assert len(two.collections) == 2  # it has no third way to choose
    assert [label.get_text() for label in one.get_yticklabels()] == ["selector", "best fixed", "always ELR"]
    assert one.get_ylim()[0] > one.get_ylim()[1]


def test_scatter_has_clean_labels_in_both_panels_and_only_the_groups_asked_for() -> None:
    figure = scatter()
    symmetric, asymmetric = figure.axes
    assert symmetric.get_title(loc="left") == "Symmetric noise"
    lines = [{line.get_label(): line for line in axis.get_lines()} for axis in (symmetric, asymmetric)]
    np.testing.assert_allclose(lines[0]["skin"].get_xdata(), [0.3, 20.3])
    np.testing.assert_allclose(lines[0]["skin"].get_ydata(), [1, 25])
    np.testing.assert_allclose(lines[1]["skin"].get_ydata(), [1])
    np.testing.assert_allclose(lines[1]["blood"].get_xdata(), [29.7])
    assert set(lines[0]) == {"right", "blood", "skin"}
    assert symmetric.get_xlim()[1] < 90
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "within 5 points",
        "right",
        "blood",
        "skin",
    ]
