"""Figures of cleaning with a mixture: what is drawn is what comes in, in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure
from made_cleaning import cleaning_rows

from noisylib import cleaningplots
from noisylib.book.describe import cleaning_archive as archive
from noisylib.book.describe.cleaning_mixture import ClassPanel

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"breastmnist": "Breast", "ham10000": "Skin", "pbc": "Blood"}
OWN = archive.at_own(archive.selections(cleaning_rows(seeds=2), 5))
PANELS = {"purity": "Purity (%)", "recall_right": "Right (%)"}


def panel(name: str, size: int = 400) -> ClassPanel:
    x = np.linspace(0, 4, size)
    return ClassPanel(
        name, np.array([0.0, 1, 2, 4]), np.array([20, 5, 0]), np.array([0, 5, 10]), x, 20 - x, x, 1.5, 0.75
    )


def mixtures():
    return cleaningplots.loss_mixtures([panel(name) for name in "abcd"])


def dots():
    rows = [
        {"way": way, "class": name, "images": 1200, "observed": 30.4, "before": 0.4, "kept": kept}
        | {"purity": 0.6 if name == "a" else np.nan}
        for way, kept in (("class", 0.9), ("pooled", 0.7)) for name in "ab"
    ]  # fmt: skip
    return cleaningplots.class_dots(pd.DataFrame(rows), {"class": "per class", "pooled": "for all"})


def swept(column: str = "noise_rate", baseline: str = "right"):
    rows = [
        {"line": line, "seed": seed, "noise_rate": rate, "tau": rate, "right": 1 - rate}
        | {"purity": 0.5 + rate + seed / 10, "recall_right": 0.8}
        for line in ("one", "two") for seed in (0, 1) for rate in (0.2, 0.4)
    ]  # fmt: skip
    return cleaningplots.swept(pd.DataFrame(rows), column, PANELS, "Setting", baseline)


def ends():
    return cleaningplots.purity_ends(archive.ends(OWN), TITLES)


def epochs():
    missing = (OWN["dataset"] == "pbc") & (OWN["noise_type"] == "instance")
    return cleaningplots.epoch_lines(OWN[~missing], TITLES)


def unions():
    rows = [
        {"seed": seed, "class": name, "clean": size, "n": 10, "draws": e, "union": 10 * e, "expected": 9 * e}
        for seed in (0, 1) for name, size in (("a", 100), ("b", 40)) for e in (1, 2, 3)
    ]  # fmt: skip
    return cleaningplots.unions(pd.DataFrame(rows))


@pytest.mark.parametrize("draw", [mixtures, dots, swept, ends, epochs, unions])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def lines(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def test_histograms_stack_wrong_on_right_labels_under_the_components() -> None:
    figure = mixtures()
    axis = figure.axes[0]
    bars = axis.patches
    assert [bar.get_height() for bar in bars] == [20, 5, 0, 0, 5, 10]
    assert [bar.get_y() for bar in bars[3:]] == [20, 5, 0]
    assert [bar.get_width() for bar in bars[:3]] == [1, 1, 2]
    low, high, cut = axis.get_lines()
    np.testing.assert_allclose(low.get_ydata(), panel("a").low)
    np.testing.assert_allclose(high.get_ydata(), panel("a").high)
    assert list(cut.get_xdata()) == [1.5, 1.5]
    assert axis.get_title(loc="left") == "a\nclean: 75 % right"
    drawn = [one.axison for one in figure.axes]
    assert drawn == [True] * 4 + [False] * 2
    assert [a.get_xlabel() for a in figure.axes[:4]] == ["", *["Loss (nats)"] * 3]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["right labels", "wrong labels"]


def test_a_class_without_a_mixture_has_bars_only() -> None:
    bare = panel("a", 0)
    axis = cleaningplots.loss_mixtures([bare]).axes[0]
    assert all(line.get_xdata().size == 0 for line in axis.get_lines()[:2])


def test_dots_are_percent_by_class_and_way() -> None:
    left, right = dots().axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["a\n1,200 / 30", "b\n1,200 / 30"]
    np.testing.assert_allclose(lines(left)["per class"].get_xdata(), [90, 90])
    np.testing.assert_allclose(lines(left)["for all"].get_xdata(), [70, 70])
    np.testing.assert_allclose(lines(right)["per class"].get_xdata(), [60, np.nan])
    np.testing.assert_allclose(lines(right)["right labels before cleaning"].get_xdata(), [40, 40])


def test_sweeps_are_means_with_a_band_and_the_share_before() -> None:
    first, second = swept().axes
    line = lines(first)["one"]
    np.testing.assert_allclose(line.get_xdata(), [20, 40])
    np.testing.assert_allclose(line.get_ydata(), [75, 95])
    band = first.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((70, 100))
    np.testing.assert_allclose(lines(first)["before cleaning"].get_ydata(), [80, 60])
    np.testing.assert_allclose(lines(second)["two"].get_ydata(), [80, 80])
    other = swept("tau", "").axes[0]
    np.testing.assert_allclose(lines(other)["one"].get_xdata(), [0.2, 0.4])
    assert "before cleaning" not in lines(other)


def test_ends_are_points_over_their_condition_with_the_range_of_seeds() -> None:
    axis = ends().axes[2]
    assert axis.get_title(loc="left") == "Blood"
    ticks = [tick.get_text() for tick in axis.get_xticklabels()]
    assert ticks == ["sym. 20 %", "sym. 40 %", "asym. 40 %", "inst. 40 %"]
    np.testing.assert_allclose(lines(axis)["first epoch"].get_ydata(), [80.5, 70.5, 70.5, 70.5])
    np.testing.assert_allclose(lines(axis)["last epoch"].get_ydata(), [84.5, 74.5, 74.5, 74.5])
    np.testing.assert_allclose(lines(axis)["right labels before cleaning"].get_ydata(), [80, 60, 60, 60])
    np.testing.assert_allclose(axis.collections[0].get_segments()[0][:, 1], [80, 81])


def test_epochs_count_from_one_and_a_missing_condition_is_not_drawn() -> None:
    figure = epochs()
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == list(TITLES.values())
    line = lines(figure.axes[0])["sym. 40 %"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), 80.5 + np.arange(5))
    np.testing.assert_allclose(lines(figure.axes[3])["sym. 40 %"].get_ydata(), [90] * 5)
    assert lines(figure.axes[2])["inst. 40 %"].get_xdata().size == 0


def test_unions_are_shares_of_the_clean_samples_smallest_class_first() -> None:
    figure = unions()
    axis = figure.axes[0]
    expected, counted = axis.get_lines()[:2]
    np.testing.assert_allclose(expected.get_ydata(), [22.5, 45, 67.5])
    np.testing.assert_allclose(counted.get_ydata(), [25, 50, 75])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "a"]


def test_short_noise_names_rates_in_percent() -> None:
    assert cleaningplots.short_noise("symmetric", 0.4) == "sym. 40 %"
    assert cleaningplots.short_noise("pairflip", 0.25) == "pair flip 25 %"
