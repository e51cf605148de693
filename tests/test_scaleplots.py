"""Figures of the plan for large studies: what is drawn where, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import scaleplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


def curves():
    rows = [
        ("Runs (R)", 100, 4.0, 5.0), ("Runs (R)", 1, 0.1, 0.05), ("Classes (K)", 2, 1.0, 0.9),
        ("Classes (K)", 7, 1.5, 2.0),
    ]  # fmt: skip
    return scaleplots.model_curves(pd.DataFrame(rows, columns=["size", "value", "measured", "predicted"]))


def times():
    cores = [(runs, n, 1e3 * runs / n) for runs in (10, 10000) for n in (1, 64)]
    gpus = [(10, 1, 1.0, 6.0), (10000, 1, 1e3, 6e3), (10000, 100, 10.0, 60.0)]
    return scaleplots.time_lines(
        pd.DataFrame(cores, columns=["runs", "cores", "seconds"]),
        pd.DataFrame(gpus, columns=["runs", "gpus", "low", "high"]),
        {6000: "6,000 runs"},
        "Made GPU",
    )


def memory():
    lines = pd.DataFrame(
        [("host, 1 GB", False, 10, 1000), ("host, 1 GB", False, 100, 100), ("GPU, 2 GB", True, 10, 3000)],
        columns=["place", "gpu", "n_features", "samples"],
    )
    sets = pd.DataFrame(
        [("", 20, 50), ("", 30, 60), ("9 x 90", 90, 9)], columns=["name", "n_features", "samples"]
    )
    return scaleplots.memory_map(lines, sets)


@pytest.mark.parametrize("draw", [curves, times, memory])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines() if not line.get_label().startswith("_")}


def test_a_panel_per_size_with_both_in_order() -> None:
    runs, classes = curves().axes
    assert (runs.get_xlabel(), classes.get_xlabel()) == ("Runs (R)", "Classes (K)")
    drawn = lines(runs)
    assert list(drawn["measured"].get_xdata()) == [1, 100]
    assert list(drawn["measured"].get_ydata()) == [0.1, 4.0]
    assert list(drawn["the model"].get_ydata()) == [0.05, 5.0]
    assert drawn["measured"].get_linestyle() == "None", "what was measured are points"
    assert [tick.get_text() for tick in classes.get_xticklabels()] == ["2", "7"]
    assert runs.get_xscale() == runs.get_yscale() == "log"


def test_cores_are_lines_and_gpus_are_bands() -> None:
    figure = times()
    (axis,) = figure.axes
    drawn = lines(axis)
    np.testing.assert_allclose(drawn["1 core"].get_ydata(), [1e4, 1e7])
    np.testing.assert_allclose(drawn["64 cores"].get_ydata(), [1e4 / 64, 1e7 / 64])
    one, many = axis.collections
    assert one.get_label() == "1 Made GPU (assumed range)"
    ends = one.get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == (1, 6000)
    assert many.get_paths()[0].vertices[:, 0].min() == 10000, "begins where its rows begin"


def test_levels_outside_of_the_figure_are_not_drawn() -> None:
    names = [text.get_text() for text in times().axes[0].texts]
    assert names == ["a minute", "an hour", "a day", "6,000 runs"], "no run here takes a year"


def test_memory_map_has_a_line_per_memory_and_names_the_planned_set() -> None:
    figure = memory()
    (axis,) = figure.axes
    drawn = lines(axis)
    assert list(drawn["host, 1 GB"].get_ydata()) == [1000, 100]
    assert drawn["host, 1 GB"].get_linestyle() != drawn["GPU, 2 GB"].get_linestyle()
    assert list(drawn["banks of today"].get_xdata()) == [20, 30]
    assert list(drawn["planned"].get_ydata()) == [9]
    assert [text.get_text() for text in axis.texts] == ["9 x 90"]
