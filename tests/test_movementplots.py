"""Figures of movement: what is drawn is what comes in, in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import movementplots
from noisylib.errors import NoisylibError
from noisylib.movementplots import MapPanel

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TUNINGS = {"FFT-CE": "FFT with CE", "TURN": "TURN"}


def blocks(last: int = 3):
    rows = [
        {"tuning": t, "condition": c, "seed": s, "block": b}
        | {"cka": np.nan if b < 0 else 1 - 0.1 * b - 0.02 * s, "change": 2 * b + s}
        for t in TUNINGS for c in ("20 %", "60 %") for s in (0, 1) for b in range(-1, last + 1)
    ]  # fmt: skip
    return movementplots.block_curves(pd.DataFrame(rows), {"cka": "CKA", "change": "Change (%)"})


def maps():
    points, classes = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2] * 2)
    first = MapPanel("Before", "note", points, classes)
    second = MapPanel("After", "note", points, classes, np.arange(6) < 2)
    return movementplots.map_grid([[first, second, second], [None, second]], ["a", "b", "c"])


def probes():
    rows = [
        {"panel": p, "row": r, "tuning": t, "probe_before": 0.7, "probe_after": 0.8, "own": 0.6}
        for p in ("X", "Y", "Z") for r in ("20 %", "40 %") for t in TUNINGS
    ]  # fmt: skip
    return movementplots.probe_panels(pd.DataFrame(rows), TUNINGS)


def doses():
    rows = [
        {"rate": r, "tuning": t, "lr": lr, "moved": 10 * lr, "own": 0.5 + lr, "probe_after": 0.6 + lr}
        for r in (0.2, 0.6) for t in TUNINGS for lr in (0.05, 0.0, 0.01)
    ]  # fmt: skip
    return movementplots.dose_curves(pd.DataFrame(rows), {0.2: "20 %", 0.6: "60 %"}, list(TUNINGS))


def gains():
    rows = [
        {"label": t, "dataset": d, "noise_type": n, "gain": 3.0, "moved": 0.25, "probe_gain": -2.0}
        for t in TUNINGS for d in ("x", "y") for n in ("symmetric", "instance")
    ]  # fmt: skip
    measures = {"moved": "1 - CKA", "probe_gain": "Clean probe (pp)"}
    return movementplots.gain_against(pd.DataFrame(rows), measures, TUNINGS, {"x": "X", "y": "Y"})


@pytest.mark.parametrize("draw", [blocks, maps, probes, doses, gains])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_blocks_are_means_with_a_band_and_have_names() -> None:
    top_left, top_right, bottom_left, _ = blocks().axes
    assert (top_left.get_title(loc="left"), top_right.get_title(loc="left")) == tuple(TUNINGS)
    line = lines(top_left)["60 %"]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3])  # nothing to compare before the blocks
    np.testing.assert_allclose(line.get_ydata(), [0.99, 0.89, 0.79, 0.69])
    np.testing.assert_allclose(lines(bottom_left)["20 %"].get_ydata(), [-1.5, 0.5, 2.5, 4.5, 6.5])
    band = top_left.collections[0].get_paths()[0].vertices
    assert band[band[:, 0] == 3][:, 1].min() == pytest.approx(0.68)
    assert [tick.get_text() for tick in bottom_left.get_xticklabels()] == ["in", "1", "2", "3", "out"]
    assert lines(top_left)["20 %"].get_linestyle() != lines(top_left)["60 %"].get_linestyle()


def test_of_many_blocks_every_second_one_has_a_number() -> None:
    names = [tick.get_text() for tick in blocks(last=12).axes[-1].get_xticklabels()]
    assert names == ["in", "1", "", "3", "", "5", "", "7", "", "9", "", "11", "", "out"]


def test_maps_have_a_marker_per_class_and_a_ring_per_error() -> None:
    figure = maps()
    first, second, _, empty, lower, outside = figure.axes
    assert first.get_title(loc="left") == "Before\nnote"
    assert len(first.get_lines()) == 3
    assert len({line.get_marker() for line in first.get_lines()}) == 3
    np.testing.assert_array_equal(first.get_lines()[1].get_xdata(), [2, 8])
    np.testing.assert_array_equal(lines(second)["wrong"].get_xdata(), [0, 2])
    assert not empty.axison
    assert not outside.axison
    assert lower.axison
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["a", "b", "c", "wrong prediction"]


def test_maps_without_predictions_name_no_error() -> None:
    panel = MapPanel("Before", "", np.eye(2), np.array([0, 1]))
    figure = movementplots.map_grid([[panel]], ["a", "b"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_probes_go_from_before_to_after_beside_the_own_head() -> None:
    figure = probes()
    first = figure.axes[0]
    assert not figure.axes[3].axison
    segment, before, after, own = first.get_lines()[:4]
    np.testing.assert_allclose(segment.get_xdata(), [70, 80])
    assert [mark.get_xdata()[0] for mark in (before, after, own)] == pytest.approx([70, 80, 60])
    assert own.get_markerfacecolor() == "#ffffff"
    heights = [line.get_ydata()[0] for line in first.get_lines()[::4]]
    np.testing.assert_allclose(heights, [-0.2, 0.2, 0.8, 1.2])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "clean probe before"
    assert "FFT with CE: clean probe after" in texts
    assert "TURN: its own head" in texts


def test_doses_go_from_the_lowest_learning_rate_to_the_highest() -> None:
    left, right = doses().axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("20 %", "60 %")
    own, probe = lines(left)["TURN: its own head"], lines(left)["TURN: clean probe"]
    np.testing.assert_allclose(own.get_xdata(), [0, 0.1, 0.5])
    np.testing.assert_allclose(own.get_ydata(), [50, 51, 55])
    np.testing.assert_allclose(probe.get_ydata(), [60, 61, 65])


def test_gains_stand_over_each_measure() -> None:
    figure = gains()
    moved, probe, *_ = figure.axes
    zero, *points = moved.get_lines()
    assert set(zero.get_ydata()) == {0}
    assert len(points) == 4
    assert all((p.get_xdata()[0], p.get_ydata()[0]) == (0.25, 3) for p in points)
    assert all(p.get_xdata()[0] == -2 for p in probe.get_lines()[1:])
    assert sum(p.get_markerfacecolor() == "#ffffff" for p in points) == 2
    assert (figure.axes[2].get_xlabel(), figure.axes[3].get_xlabel()) == ("1 - CKA", "Clean probe (pp)")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["X", "Y", "hollow: symmetric noise"]


def test_no_condition_is_said() -> None:
    with pytest.raises(NoisylibError, match="no condition to draw"):
        movementplots.gain_against(pd.DataFrame(), {"moved": ""}, TUNINGS, {})
