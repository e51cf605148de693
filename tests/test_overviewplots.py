"""Figures of a whole study: what a column, a dot, a line and a point stand for."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import overviewplots, plotstyle

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"one": "Set one", "two": "Set two", "a": "Backbone A", "b": "Backbone B", "elr": "ELR", "ce": "CE"}
RATES = (0.0, 0.4)


def made_cells() -> pd.DataFrame:
    """CE has 0.8 - rate; ELR is as good on clean labels, else 0.06 better (symmetric) or 0.02 worse."""
    records = []
    for dataset, backbone, noise, rate, method in product(
        ("one", "two"), "ab", ("asymmetric", "symmetric"), RATES, ("elr", "ce")
    ):
        gain = 0.0 if rate == 0 or method == "ce" else 0.06 if noise == "symmetric" else -0.02
        other = 0.0 if rate == 0 else max(0.06 if noise == "symmetric" else -0.02, 0.0)
        records.append(
            {
                "dataset": dataset,
                "backbone": backbone,
                "noise_type": noise,
                "noise_rate": rate,
                "method": method,
                "balanced_accuracy_mean": 0.8 - rate + gain - (0.1 if backbone == "b" else 0),
                "accuracy_mean": 0.9 - rate,
                "dead_classes_mean": {0.0: 0.0, 0.4: 0.2 if noise == "symmetric" else 1.0}[rate],
                "over_reference": gain,
                "gap_to_best": gain - other,
            }
        )
    return pd.DataFrame(records)


def heat():
    return overviewplots.condition_heatmap(made_cells(), TITLES, "ce")


def curves():
    return overviewplots.rate_curves(made_cells(), TITLES)


def scatter():
    return overviewplots.accuracy_scatter(made_cells(), TITLES)


@pytest.mark.parametrize("draw", [heat, curves, scatter])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def test_a_column_is_a_condition_and_the_reference_is_the_first_row() -> None:
    axis = heat().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["CE", "ELR"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "40"] * 4
    (mesh,) = axis.collections
    colours = np.ma.filled(mesh.get_array(), np.nan)
    kept = colours[:, ~np.isnan(colours).all(axis=0)]
    # Symmetric comes before asymmetric, whatever the order of the rows.
    np.testing.assert_allclose(kept, [[0] * 8, [0, 6, 0, -2] * 2], atol=1e-9)
    assert colours.shape == (2, 11), "three gaps: two between kinds of noise, one between backbones"
    assert mesh.norm.vmin == -mesh.norm.vmax


def test_numbers_are_the_scores_of_the_reference() -> None:
    texts = [text.get_text() for text in heat().axes[1].texts]
    assert texts[:8] == ["80", "40", "80", "40", "70", "30", "70", "30"]
    assert texts.count("Symmetric") == texts.count("Asymmetric") == 2
    assert {"Set two", "Backbone A", "Backbone B"} <= set(texts)


def test_dots_mark_the_best_and_ties_share_them() -> None:
    axis = heat().axes[0]
    dots = [list(line.get_ydata()) for line in axis.get_lines()]
    ce, elr = overviewplots.BELOW, overviewplots.FIRST + 0.5
    assert dots == [[ce, elr], [elr], [ce, elr], [ce]] * 2
    assert axis.get_lines()[0].get_xdata()[0] == 0.5, "in the middle of its column"


def test_lines_are_means_over_backbones_in_the_style_of_the_method() -> None:
    axes = curves().axes
    assert axes[0].get_title(loc="left") == "Set one"
    assert axes[0].get_ylabel().startswith("Symmetric")
    lines = {line.get_label(): line for line in axes[0].get_lines()}
    assert list(lines) == ["ELR", "CE"]
    np.testing.assert_allclose(lines["CE"].get_xdata(), [0, 40])
    np.testing.assert_allclose(lines["CE"].get_ydata(), [75, 35])  # (80 + 70) / 2 and (40 + 30) / 2
    np.testing.assert_allclose(lines["ELR"].get_ydata(), [75, 41])
    assert lines["ELR"].get_marker() == plotstyle.method_styles(["elr"])["elr"].marker
    asymmetric = {line.get_label(): line for line in axes[2].get_lines()}
    np.testing.assert_allclose(asymmetric["ELR"].get_ydata(), [75, 33])


def test_points_are_told_apart_by_their_dead_classes() -> None:
    axis = scatter().axes[0]
    alive, some, one = (points.get_offsets() for points in axis.collections)
    assert (len(alive), len(some), len(one)) == (8, 4, 4)
    np.testing.assert_allclose(sorted(map(tuple, one)), [(50, 28), (50, 30), (50, 38), (50, 40)])
    diagonal = axis.get_lines()[0]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert axis.get_xlim() == axis.get_ylim()
