"""Figures of dead classes: what is drawn where, in percent, with rings around runs that lost a class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import collapseplots, collapsesweepplots, plotstyle

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ce": "Cross entropy", "coteaching": "Co-teaching", "coteaching_quota": "Quota"}
MAPS = {"equals": "equal", "majority": "largest"}


def accuracies():
    rows = pd.DataFrame(
        [("ce", 0.6, 0.5, 0), ("coteaching", 0.7, 0.3, 2)],
        columns=["method", "accuracy", "balanced_accuracy", "dead_classes"],
    )
    return collapseplots.two_accuracies(rows, dict(list(TITLES.items())[:2]), (0.8, 0.2))


def recalls():
    rows = [(m, s, e, c, 0.1 * e + 0.2 * s) for m in TITLES for s in (0, 1) for e in (1, 2) for c in (0, 1)]
    frame = pd.DataFrame(rows, columns=["method", "seed", "epoch", "class", "recall"])
    dead = pd.DataFrame(
        [(m, 0, e, e - 1) for m in TITLES for e in (1, 2)], columns=["method", "seed", "epoch", "dead"]
    )
    return collapseplots.class_recalls(frame, dead, {1: "large", 0: "small"}, TITLES, [1])


def kept(selecting=True):
    share = 0.25 if selecting else np.nan
    rows = [(m, c, np.nan if m == "ce" else share, 0.1 + 0.5 * c) for m in TITLES for c in (0, 1)]
    frame = pd.DataFrame(rows, columns=["method", "class", "kept", "recall"])
    return collapseplots.kept_and_recalled(frame, {1: "large", 0: "small"}, TITLES)


def gaps():
    columns = ["dataset", "noise_type", "noise_rate", "accuracy", "balanced_accuracy", "dead_classes"]
    rows = [("a", "symmetric", 0.2, 1.0, 2.0, 0.4), ("b", "asymmetric", 0.4, 5.0, -3.0, 1.0)]
    return collapseplots.score_gaps(pd.DataFrame(rows, columns=columns), {"a": "A", "b": "B"})


def cells(source="bed", maps=tuple(MAPS)):
    rows = [
        (source, i, a, m, i / 10 + a, 1.0, -a)
        for i in (1.0, 10.0, 100.0) for a in (0.0, 1.0) for m in maps
    ]  # fmt: skip
    columns = ["source", "imbalance", "asymmetry", "map", collapsesweepplots.DEAD, "dead_classes_ce"]
    return pd.DataFrame(rows, columns=[*columns, collapsesweepplots.GAP])


def sweep():
    return collapsesweepplots.sweep_panels(cells(), MAPS)


def real():
    skin = cells("ham10000")
    return collapsesweepplots.real_panels(cells("pbc"), skin[skin["imbalance"] == 10], MAPS)


def purity():
    rows = [("ce", 0, 0.75, 0.5), ("ce", 0, 0.25, 0.1), ("coteaching", 2, 0.6, 0.9)]
    bins = pd.DataFrame(rows, columns=["method", "group", "purity", "recall"])
    return collapsesweepplots.purity_panels({"bed": bins}, ("rare", "middle", "large"), TITLES)


def remedies():
    arms = pd.DataFrame(
        [("bed", m, n, 10.0 * i + (m == "majority"), 50.0, i) for m in MAPS for i, n in enumerate(TITLES)],
        columns=["source", "map", "method", "balanced_accuracy", "accuracy", "dead_classes"],
    )
    return collapsesweepplots.remedy_dots(
        arms, {("bed", "majority"): "first", ("bed", "equals"): "second"}, TITLES
    )


@pytest.mark.parametrize("draw", [accuracies, recalls, kept, gaps, sweep, real, purity, remedies])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def labelled(axis) -> dict:
    return {line.get_label(): line for line in axis.get_lines()}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_no_two_methods_of_a_figure_share_a_colour() -> None:
    names = [
        "ce",
        "coteaching",
        "coteaching_quota",
        "coteaching_class_tau",
        "coteaching_balanced",
        "ce_balanced",
    ]
    styles = collapseplots.few_styles(names)
    assert len({style.color for style in styles.values()}) == len(names)
    registry = plotstyle.method_styles(names)
    assert styles["ce"] == registry["ce"], "nothing is taken yet"
    assert styles["coteaching_quota"].color != registry["coteaching_quota"].color, "that of CE"
    assert [styles[name].marker for name in names] == [registry[name].marker for name in names]


def test_runs_are_marks_in_percent_and_dead_ones_have_a_ring() -> None:
    axis = accuracies().axes[0]
    lines = labelled(axis)
    assert (lines["Cross entropy"].get_xdata()[0], lines["Cross entropy"].get_ydata()[0]) == (60, 50)
    ring = lines["a class is dead"]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([70], [30])
    assert ring.get_markerfacecolor() == "none"
    assert axis.get_xlim() == axis.get_ylim(), "the diagonal goes from corner to corner"
    assert (lines["always the largest class"].get_xdata()[0], axis.get_xlim()[1] > 80) == (80, True)


def test_recalls_have_a_panel_per_class_in_order_and_one_for_the_dead() -> None:
    axes = recalls().axes
    assert [axis.get_title(loc="left") for axis in axes] == [
        "large",
        "small",
        "Dead classes\n(number, this epoch)",
    ]
    line = labelled(axes[0])["Co-teaching"]
    np.testing.assert_allclose(line.get_ydata(), [20, 30])  # 10 e, and 20 more for the second seed
    np.testing.assert_allclose(labelled(axes[2])["Quota"].get_ydata(), [0, 1])
    assert legend(recalls()) == list(TITLES.values())


def test_kept_and_recall_stand_side_by_side_with_frequent_classes_on_top() -> None:
    left, right = kept().axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["large", "small"]
    assert left.get_ylim()[0] > left.get_ylim()[1], "the first row is on top"
    np.testing.assert_allclose(labelled(left)["Quota"].get_xdata(), [25, 25])
    assert np.isnan(labelled(left)["Cross entropy"].get_xdata()).all()
    line = labelled(right)["Co-teaching"]
    np.testing.assert_allclose(line.get_xdata(), [10, 60])
    np.testing.assert_allclose(np.round(line.get_ydata()), [1, 0])


def test_without_selection_only_the_recall_is_drawn() -> None:
    (axis,) = kept(selecting=False).axes
    assert axis.get_title(loc="left").startswith("Recall")


def test_gaps_are_points_and_a_dead_class_is_ringed() -> None:
    figure = gaps()
    marks = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 1]
    spots = [(line.get_xdata()[0], line.get_ydata()[0], line.get_marker()) for line in marks]
    assert spots == [(1, 2, "o"), (5, -3, "s"), (5, -3, "o")]
    assert marks[0].get_markerfacecolor() == plotstyle.PAPER, "symmetric is hollow"
    assert marks[0].get_markersize() < marks[1].get_markersize(), "the higher rate is larger"
    assert marks[2].get_markerfacecolor() == "none"
    assert legend(figure)[:2] == ["A", "B"]


def test_without_asymmetry_one_black_line_stands_for_all_maps() -> None:
    axes = sweep().axes  # two rows, two columns
    plain = [line for line in axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert [line.get_color() for line in plain] == [plotstyle.INK]
    np.testing.assert_allclose(plain[0].get_ydata(), [0.1, 1, 10])
    full = [line for line in axes[1].get_lines() if len(line.get_xdata()) == 3]
    assert len(full) == 2 * len(MAPS), "Co-teaching and, thin, CE of every map"
    np.testing.assert_allclose(full[1].get_ydata(), [1, 1, 1])
    below = [line for line in axes[3].get_lines() if len(line.get_xdata()) == 3]
    assert len(below) == len(MAPS)
    assert legend(sweep()) == ["equal", "largest", "symmetric, no map", "CE, dead classes"]


def test_images_are_drawn_against_imbalance_and_asymmetry() -> None:
    upper, _, lower, right = real().axes
    assert (lower.get_xlabel(), right.get_xlabel()) == ("Imbalance", "Asymmetry")
    assert lower.get_xscale() == "log"
    assert right.get_xscale() == "linear"
    black = [
        line for line in upper.get_lines() if line.get_color() == plotstyle.INK and len(line.get_xdata()) == 3
    ]
    assert len(black) == 1


def test_recall_by_purity_stands_in_the_column_of_its_share() -> None:
    rare, middle, large = purity().axes
    found = [line for line in rare.get_lines() if len(line.get_xdata()) and line.get_marker() == "o"]
    np.testing.assert_allclose(found[0].get_xdata(), [25, 75])
    np.testing.assert_allclose(found[0].get_ydata(), [10, 50])
    assert not [line for line in middle.get_lines() if len(line.get_xdata()) and line.get_marker() != "None"]
    ours = [line for line in large.get_lines() if len(line.get_xdata()) and line.get_marker() == "v"]
    np.testing.assert_allclose(ours[0].get_ydata(), [90])


def test_remedies_have_a_row_per_arm_and_a_panel_per_score() -> None:
    figure = remedies()
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "Balanced acc. (%)",
        "Accuracy (%)",
        "Dead classes",
    ]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["first", "second"]
    np.testing.assert_allclose(labelled(figure.axes[0])["Quota"].get_xdata(), [21, 20])
    np.testing.assert_allclose(labelled(figure.axes[2])["Co-teaching"].get_xdata(), [1, 1])
