"""Figures of tuned networks: what is drawn is what comes in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import tuningplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SETS = {"pbc": "PBC", "ham10000": "HAM10000"}
NOISES = {("symmetric", 0.4): "Symmetric 40 %", ("instance", 0.4): "Instance 40 %"}


def strip():
    scores = pd.DataFrame({"LP-CE": [50.0, 60.0], "LP-GCE": [40.0, 40.0], "TURN": [70.0, 80.0]})
    return tuningplots.score_strip(scores, 20.0, "Accuracy (%)")


def panels():
    rows = [
        {"dataset": d, "noise_type": t, "noise_rate": 0.4, "label": label, "mean": 50.0 + 10 * i + 5 * j}
        for t in ("symmetric", "instance")
        for i, d in enumerate(SETS)
        for j, label in enumerate(("LP-CE", "TURN"))
        if (d, t) != ("ham10000", "instance")
    ]
    return tuningplots.score_panels(pd.DataFrame(rows), NOISES, SETS, "Accuracy (%)")


def gains():
    runs = [
        {"rival": rival, "dataset": d, "noise_type": t, "noise_rate": 0.4, "lead": lead + seed}
        for rival in ("the best", "another")
        for d, lead in (("pbc", 3.0), ("ham10000", -2.0))
        for t in ("symmetric", "instance")
        for seed in (0, 1)
    ]
    by_set = [
        {"rival": rival, "dataset": d, "mean": mean, "low": mean - 1, "high": mean + 2}
        for rival in ("the best", "another")
        for d, mean in (("pbc", 3.5), ("ham10000", -1.5))
    ]
    return tuningplots.gain_panels(pd.DataFrame(runs), pd.DataFrame(by_set), SETS)


def costs():
    points = {"label": ["LP-CE", "FFT-CE", "FFT-GCE", "TURN"], "score": [50.0, 60.0, 55.0, 70.0]}
    points |= {"total_seconds": [2.0, 20.0, 21.0, 17.0], "flops": [1e9, 2e10, 2e10, 1.5e10]}
    return tuningplots.cost_panels(pd.DataFrame(points), "Mean accuracy (%)")


@pytest.mark.parametrize("draw", [strip, panels, gains, costs])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_a_kind_of_tuning_has_one_place_in_the_legend() -> None:
    figure = strip()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["chance", "linear probe (LP)", "TURN: LP, then FFT"]
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["LP-CE", "LP-GCE", "TURN"]
    drawn = lines(axis)
    assert drawn["chance"].get_xdata()[0] == 20
    assert drawn["linear probe (LP)"].get_xdata().item() == 55
    assert drawn["TURN: LP, then FFT"].get_ydata().item() == 2
    seeds = [line for line in axis.get_lines() if len(line.get_xdata()) == 2 and line.get_alpha()]
    np.testing.assert_allclose(seeds[0].get_xdata(), [50, 60])


def test_panels_have_a_mark_per_set_and_the_mean() -> None:
    figure = panels()
    left, right = figure.axes
    np.testing.assert_allclose(lines(left)["HAM10000"].get_xdata(), [60, 65])
    np.testing.assert_allclose(lines(left)["mean"].get_xdata(), [55, 60])
    np.testing.assert_allclose(lines(right)["mean"].get_xdata(), [50, 55])  # of PBC alone
    assert len(lines(right)["HAM10000"].get_xdata()) == 0
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(NOISES.values())


def test_gains_are_means_over_seeds_of_every_noise_beside_their_mean() -> None:
    figure = gains()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Over the best", "Over another"]
    drawn = lines(figure.axes[0])
    np.testing.assert_allclose(drawn["one noise"].get_xdata(), [3.5, 3.5, -1.5, -1.5])
    np.testing.assert_allclose(drawn["mean"].get_xdata(), [3.5, -1.5])
    segments = figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [[2.5, 5.5], [-2.5, 0.5]])


def test_costs_are_seconds_and_billions_of_operations_on_logarithmic_axes() -> None:
    figure = costs()
    assert [axis.get_xscale() for axis in figure.axes] == ["log", "log"]
    assert lines(figure.axes[0])["linear probe (LP)"].get_xdata().item() == 2
    assert lines(figure.axes[1])["TURN: LP, then FFT"].get_xdata().item() == 15
    assert [text.get_text() for text in figure.axes[0].texts] == ["CE", "CE", "GCE", "TURN"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["linear probe (LP)", "full fine-tuning (FFT)", "TURN: LP, then FFT"]
