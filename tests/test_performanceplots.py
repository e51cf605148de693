"""Figures of speed: what is drawn is what comes in, on logarithmic axes, under the roofs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure
from made_benchmarks import made_record

from noisylib import performanceplots
from noisylib.book.describe import performance_limits as limits
from noisylib.errors import NoisylibError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")


def speeds():
    rows = [
        ("Adapter heads", "slow way, one by one", False, 40.0, 50.0, 60.0, 5.0),
        ("Adapter heads", "the bank", True, 8.0, 10.0, 12.0, 1.0),
        ("Linear heads", "the bank", True, 4.0, 4.0, 4.0, 1.0),
    ]
    names = ["panel", "way", "bank", "low", "median", "high", "ratio"]
    return performanceplots.speed_panels(pd.DataFrame(rows, columns=names))


def step() -> pd.DataFrame:
    return limits.operations(made_record())


def roofs():
    memories = {"near": 120e9, "far": 12e9}
    return performanceplots.roofline(step()[limits.drawn(step())], 100e9, memories)


def bars():
    return performanceplots.step_bars(step())


def scaling():
    rows = [("R", 100.0, 0.4), ("R", 1.0, 0.004), ("R", 10.0, 0.04), ("K", 2.0, 0.1), ("K", 32.0, 0.2)]
    fits = {"R": (1.0, np.log(0.004)), "K": (np.nan, np.nan)}
    titles = {"R": "Runs, R", "K": "Classes, K"}
    curves = pd.DataFrame(rows, columns=["axis", "value", "seconds"])
    return performanceplots.scaling_panels(curves, titles, fits)


def memory():
    frame = pd.DataFrame({"R": [10.0, 30.0], "bytes": [30 * 2.0**20, 50 * 2.0**20]})
    return performanceplots.memory_curve(frame, 2.0**20, 20 * 2.0**20)


@pytest.mark.parametrize("draw", [speeds, roofs, bars, scaling, memory])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def labels(ticks) -> list[str]:
    return [tick.get_text() for tick in ticks]


def test_ways_stand_from_the_fastest_to_the_slowest_with_their_spread() -> None:
    adapter, linear = speeds().axes
    assert adapter.get_xscale() == "log"
    assert labels(adapter.get_yticklabels()) == ["the bank", "slow way,\none by one"]
    assert adapter.get_ylim()[0] > adapter.get_ylim()[1], "the first one is on top"
    spread, mark = adapter.get_lines()[2:]
    assert list(spread.get_xdata()) == [40, 60]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([50], [1])
    assert texts(adapter) == ["10 ms", "5 x"]
    assert texts(linear) == ["4 ms"]
    assert len({line.get_marker() for line in adapter.get_lines()[1::2]}) == 2


def test_operations_stand_at_their_intensity_under_the_roofs() -> None:
    adapter, linear = roofs().axes
    assert (adapter.get_title(loc="left"), linear.get_title(loc="left")) == (
        "Adapter heads, D = 192",
        "Linear heads, D = 768",
    )
    near, far = lines(adapter)["near"], lines(adapter)["far"]
    for roof, bandwidth in ((near, 120), (far, 12)):
        x, y = roof.get_data()
        np.testing.assert_allclose(y, np.minimum(100, x * bandwidth))
        assert y.max() == 100, "wide enough to see where memory stops to be the limit"
        assert y.min() < 100
    assert near.get_linestyle() != far.get_linestyle()
    # The products: 500 MFLOP and 20 MB in 6.25 ms, of which the roofs ask for 5.
    gap, hollow, filled = adapter.get_lines()[2:5]
    np.testing.assert_allclose(gap.get_ydata(), [80, 100])
    np.testing.assert_allclose([hollow.get_xdata()[0], hollow.get_ydata()[0]], [25, 100])
    np.testing.assert_allclose([filled.get_xdata()[0], filled.get_ydata()[0]], [25, 80])
    assert hollow.get_markerfacecolor() == "#ffffff"
    assert texts(adapter) == ["1", "2", "3"]
    assert texts(linear) == ["1", "3", "4"], "the same class has the same number in every panel"
    legend = [text.get_text() for text in roofs().legends[0].get_texts()]
    classes = ["1 Matrix products", "2 Activation and its gradient", "3 Optimiser", "4 Gather of rows"]
    assert legend == ["near", "far", *classes]
    assert not any("rest" in text for text in legend)


def test_bars_add_up_to_the_step_and_to_what_the_roofs_allow() -> None:
    adapter, linear = bars().axes
    widths = [patch.get_width() for patch in adapter.patches]
    np.testing.assert_allclose(widths[:5], [6.25, 1, 1.6, 0.4, 0.75])
    np.testing.assert_allclose(sum(widths[5:]), 5 + 1 + 1 + 0.2 + 5e-4)
    starts = [patch.get_x() for patch in adapter.patches[:5]]
    np.testing.assert_allclose(starts, [0, 6.25, 7.25, 8.85, 9.25], atol=1e-12)
    assert adapter.get_xlabel() == "Time of a step (ms)"
    assert np.isclose(sum(patch.get_width() for patch in linear.patches[:4]), 1)
    assert "4" not in texts(adapter), "too narrow for its number"
    assert labels(adapter.get_yticklabels()) == ["measured", "at the roofs"]
    assert [text.get_text()[0] for text in bars().legends[0].get_texts()] == list("12345")


def test_short_steps_are_in_microseconds() -> None:
    short = step().assign(seconds=1e-5, reachable=1e-5)
    axis = performanceplots.step_bars(short).axes[0]
    assert axis.get_xlabel() == "Time of a step (µs)"
    assert np.isclose(axis.patches[0].get_width(), 10)


def test_curves_have_their_fit_and_a_line_of_slope_one() -> None:
    runs, classes = scaling().axes
    assert (runs.get_xscale(), runs.get_yscale()) == ("log", "log")
    np.testing.assert_allclose(lines(runs)["measured"].get_xdata(), [1, 10, 100])
    np.testing.assert_allclose(lines(runs)["fit"].get_ydata(), [0.004, 0.4])
    np.testing.assert_allclose(lines(classes)["slope 1"].get_data(), [[2, 32], [0.2 / 16, 0.2]])
    assert runs.get_title(loc="left") == "Runs, R: slope 1.00"
    assert classes.get_title(loc="left") == "Classes, K"
    assert "fit" not in lines(classes)
    assert labels(runs.get_xticklabels()) == ["1", "10", "100"]
    low, high = classes.get_ylim()
    assert low < 0.004 < 0.4 < high


def test_a_panel_too_few_stays_empty() -> None:
    rows = [(axis, value, 0.1) for axis in "RND" for value in (1.0, 2.0)]
    curves = pd.DataFrame(rows, columns=["axis", "value", "seconds"])
    fits, titles = {axis: (0.0, np.log(0.1)) for axis in "RND"}, {axis: axis for axis in "RND"}
    figure = performanceplots.scaling_panels(curves, titles, fits)
    assert [axis.axison for axis in figure.axes] == [True, True, True, False]


def test_memory_is_in_mebibytes_with_its_line() -> None:
    (axis,) = memory().axes
    line, points = axis.get_lines()
    np.testing.assert_allclose(line.get_data(), [[0, 30], [20, 50]])
    np.testing.assert_allclose(points.get_data(), [[10, 30], [30, 50]])
    assert line.get_label() == "1 MiB per run"
    assert axis.get_ylim()[0] == 0


def test_nothing_to_draw_is_said() -> None:
    for draw, argument in (
        (performanceplots.speed_panels, "speeds"),
        (performanceplots.step_bars, "operations"),
        (lambda frame: performanceplots.roofline(frame, 1.0, {"near": 1.0}), "operations"),
        (lambda frame: performanceplots.scaling_panels(frame, {}, {}), "curves"),
        (lambda frame: performanceplots.memory_curve(frame, 1.0, 1.0), "memory"),
    ):
        with pytest.raises(NoisylibError, match=f"{argument} is empty"):
            draw(pd.DataFrame())
