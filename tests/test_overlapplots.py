"""Figures of overlapping losses: what is drawn is what comes in, in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import overlapplots
from noisylib.analysis.overlap import loss_histogram

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
LOSSES = np.random.default_rng(0).lognormal(size=400)
FLIPPED = np.arange(400) < 150
VIEWS = {"last": "in-sample", "held_out": "out-of-fold"}


def views():
    counts = loss_histogram(LOSSES, FLIPPED, bins=10)
    notes = dict.fromkeys(VIEWS, "overlap 50 %")
    return overlapplots.view_densities(dict.fromkeys(VIEWS, counts), VIEWS, notes)


def grid():
    x = np.linspace(-2, 2, 5)
    panels = {
        (n, b): (x, np.full(5, 0.2), np.full(5, 0.1)) for n in ("20 %", "40 %") for b in ("A", "B", "C")
    }
    return overlapplots.density_grid(panels, dict.fromkeys(panels, "note"))


def epochs():
    rows = [
        {"noise_type": t, "seed": s, "epoch": e, "overlap": 0.1 * e + 0.2 * s, "auroc": 0.2 * e}
        | {"balanced_accuracy": 0.3}
        for t in ("asymmetric", "symmetric") for s in (0, 1) for e in (1, 2, 3)
    ]  # fmt: skip
    return overlapplots.epoch_curves(pd.DataFrame(rows), [1, 2])


def classes():
    rows = [
        {"view": view, "class": name, "n_clean": 1200, "n_flipped": 30.4}
        | {"corrected": x, "low": x - 0.1, "high": x + 0.1, "ceiling": 0.9}
        for view in VIEWS for name, x in (("a", 0.5), ("b", np.nan))
    ]  # fmt: skip
    return overlapplots.class_overlaps(pd.DataFrame(rows), VIEWS)


def errors():
    rows = [
        {"view": view, "dataset": d, "noise_type": t, "noise_rate": r, "corrected": 0.4, "test_error": 0.2}
        for view in VIEWS for d in ("x", "y") for t in ("symmetric", "asymmetric") for r in (0.2, 0.4)
    ]  # fmt: skip
    return overlapplots.overlap_against_error(
        pd.DataFrame(rows), {"test_error": "1 - accuracy"}, VIEWS, {"x": "X", "y": "Y"}
    )


def curve():
    rows = [
        {"separation": d, "noise_rate": r, "truth": 0.5, "corrected": 0.51, "low": 0.49, "high": 0.54}
        for d in (1.0, 2.0) for r in (0.1, 0.4)
    ]  # fmt: skip
    return overlapplots.bed_curve(pd.DataFrame(rows))


def bias():
    frame = {"n_flipped": [100, 1000], "expected": [0.5, 0.8], "value": [0.52, 0.81], "corrected": [0.7, 0.9]}
    return overlapplots.sampling_bias(pd.DataFrame(frame))


@pytest.mark.parametrize("draw", [views, grid, epochs, classes, errors, curve, bias])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_densities_are_shares_of_all_samples_over_the_width_of_a_bin() -> None:
    counts = loss_histogram(LOSSES, FLIPPED, bins=10)
    axis = views().axes[0]
    (wrong,) = axis.get_lines()
    width = counts.edges[1] - counts.edges[0]
    np.testing.assert_allclose(wrong.get_ydata(), counts.flipped[1:-1] / 150 / width)
    middles = np.exp((counts.edges[:-1] + counts.edges[1:]) / 2)
    np.testing.assert_allclose(wrong.get_xdata(), middles)
    clean = axis.collections[0].get_paths()[0].vertices[:, 1].max()
    assert clean == pytest.approx((counts.clean[1:-1] / 250 / width).max())
    shared = axis.collections[1].get_paths()[0].vertices[:, 1].max()
    both = np.minimum(counts.clean[1:-1] / 250, counts.flipped[1:-1] / 150)
    assert shared == pytest.approx(both.max() / width)
    assert axis.get_title(loc="left") == "In-sample\noverlap 50 %"


def test_the_grid_has_noises_down_and_backbones_across() -> None:
    figure = grid()
    assert [axis.get_ylabel() for axis in figure.axes] == ["20 %", "", "", "40 %", "", ""]
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == ["A", "B", "C"]
    assert all(axis.texts[0].get_text() == "note" for axis in figure.axes)


def test_epochs_are_means_with_a_band_and_the_falls_of_the_learning_rate() -> None:
    overlap, auroc, tested = epochs().axes
    line = lines(overlap)["Symmetric noise"]
    np.testing.assert_allclose(line.get_ydata(), [20, 30, 40])  # 10 e, and 20 more for the second seed
    np.testing.assert_allclose(lines(auroc)["Asymmetric noise"].get_ydata(), [0.2, 0.4, 0.6])
    np.testing.assert_allclose(lines(tested)["Asymmetric noise"].get_ydata(), [30] * 3)
    upright = [line.get_xdata()[0] for line in overlap.get_lines() if len(set(line.get_xdata())) == 1]
    assert upright == [1.5, 2.5]
    assert (
        len(
            {
                line.get_linestyle()
                for line in (lines(overlap)["Symmetric noise"], lines(overlap)["Asymmetric noise"])
            }
        )
        == 2
    )


def test_classes_have_counts_intervals_and_a_ceiling() -> None:
    figure = classes()
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a\n1,200 / 30", "b\n1,200 / 30"]
    assert lines(axis)["in-sample"].get_xdata()[0] == pytest.approx(50)
    assert np.isnan(lines(axis)["in-sample"].get_xdata()[1])
    np.testing.assert_allclose(axis.collections[0].get_segments()[0][:, 0], [40, 60])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["in-sample", "out-of-fold", "ceiling: equal distributions"]
    assert lines(axis)[texts[2]].get_xdata()[0] == pytest.approx(90)


def test_points_stand_over_their_error_beside_twice_it() -> None:
    figure = errors()
    assert len(figure.axes) == 2
    diagonal, *points = figure.axes[0].get_lines()
    np.testing.assert_allclose(diagonal.get_ydata(), 2 * diagonal.get_xdata())
    assert len(points) == 8
    assert all((p.get_xdata()[0], p.get_ydata()[0]) == pytest.approx((20, 40)) for p in points)
    hollow = [p for p in points if p.get_markerfacecolor() == "#ffffff"]
    assert len(hollow) == 4
    assert {p.get_markersize() for p in hollow} == {7.5, 4.5}
    assert len({p.get_marker() for p in points}) == 2


def test_the_curve_has_the_closed_form_and_the_differences_from_it() -> None:
    left, right = curve().axes
    form = lines(left)[r"closed form, $2\,\Phi(-D/2)$"]
    at_two = np.interp(2.0, form.get_xdata(), form.get_ydata())
    assert at_two == pytest.approx(31.73, abs=0.05)
    np.testing.assert_allclose(lines(left)["40 % flipped"].get_xdata(), [1, 2])
    np.testing.assert_allclose(lines(right)["40 % flipped"].get_ydata(), [1, 1])
    np.testing.assert_allclose(right.collections[0].get_segments()[0][:, 1], [-1, 4])


def test_bias_is_drawn_beside_its_formula() -> None:
    axis = bias().axes[0]
    np.testing.assert_allclose(lines(axis)["plain: formula"].get_ydata(), [50, 80])
    np.testing.assert_allclose(lines(axis)["plain: estimated"].get_ydata(), [52, 81])
    np.testing.assert_allclose(lines(axis)["corrected: estimated"].get_ydata(), [70, 90])
    np.testing.assert_allclose(lines(axis)["true overlap"].get_ydata(), [100, 100])
