"""Figures of mean ranks and pairs: positions, bars and numbers are those of the tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figurechecks import check_book_figure

from noisylib import rankplots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TITLES = {"ce": "Cross entropy", "gce": "Generalised cross entropy", "elr": "ELR"}
RANKS = {"elr": 1.25, "ce": 2.0, "gce": 2.75}


def critical():
    close = rankplots.Diagram("All", RANKS, 0.8, [("elr", "ce"), ("ce", "gce")])
    apart = rankplots.Diagram("Some", RANKS, 0.5, [])
    return rankplots.critical_differences([close, apart], TITLES)


def intervals():
    boot = pd.DataFrame(
        {"mean_rank": [2.0, 1.25], "low": [1.5, 1.0], "high": [2.5, 1.5]}, index=["ce", "elr"]
    )
    sets = pd.DataFrame({"pbc": [1.4, 1.6], "ham10000": [2.6, 0.9]}, index=["ce", "elr"])
    return rankplots.rank_intervals(boot, sets, TITLES, {"pbc": "PBC", "ham10000": "HAM10000"})


def matrices():
    pairs = [("elr", "ce"), ("elr", "gce"), ("ce", "gce")]
    tests = pd.DataFrame(pairs, columns=["a", "b"]).assign(
        mean_difference=[0.012, 0.1, -0.003], p_holm=[0.05, 0.01, 0.9]
    )
    bayes = pd.DataFrame(pairs, columns=["a", "b"]).assign(
        p_a_better=[0.7, 1.0, 0.1], p_equivalent=[0.2, 0.0, 0.6], p_b_better=[0.1, 0.0, 0.3]
    )
    return rankplots.pair_matrices(tests, bayes, {name: TITLES[name] for name in RANKS}, 0.05)


@pytest.mark.parametrize("draw", [critical, intervals, matrices])
def test_figures_are_opaque_light_closed_and_fit_a_column(draw) -> None:
    check_book_figure(draw)


def named(axis, gid: str) -> list:
    return [line for line in axis.get_lines() if line.get_gid() == gid]


def test_bars_join_cliques_and_the_bracket_is_the_critical_difference() -> None:
    close, apart = critical().axes
    spans = [line.get_xdata() for line in named(close, "clique")]
    np.testing.assert_allclose(spans, [(1.25 - 0.04, 2.04), (2 - 0.04, 2.79)])
    heights = [line.get_ydata()[0] for line in named(close, "clique")]
    assert 0 > heights[0] > heights[1], "bars must not lie on each other"
    assert named(apart, "clique") == []
    (bracket,) = named(apart, "width")
    np.testing.assert_allclose(bracket.get_xdata(), [1, 1.5])


def test_every_method_hangs_from_its_rank_with_name_and_number() -> None:
    axis = critical().axes[0]
    texts = {text.get_text(): text.get_position() for text in axis.texts}
    assert {"ELR  1.25", "Cross entropy  2.00", "2.75  Generalised cross entropy"} < set(texts)
    (stem,) = (
        line for line in axis.get_lines() if len(line.get_xdata()) == 3 and line.get_xdata()[0] == 2.75
    )
    assert stem.get_ydata()[-1] == texts["2.75  Generalised cross entropy"][1]
    assert texts["ELR  1.25"][1] > texts["Cross entropy  2.00"][1], "the best is highest"
    lowest = min(line.get_ydata()[0] for line in named(axis, "clique"))
    assert all(y < lowest for text, (_, y) in texts.items() if "  " in text), "names lie below the bars"


def test_close_ranks_and_long_names_stay_inside_the_figure() -> None:
    names = ["ce", "ls", "gce", "forward", "coteaching", "dividemix", "elr", "cufit"]
    ranks = {name: 4.5 + 0.01 * i for i, name in enumerate(names)}
    titles = dict.fromkeys(names, "Generalised cross entropy") | {"elr": "Weighted adaptive nearest"}
    figure = rankplots.critical_differences([rankplots.Diagram("All", ranks, 0.8, [tuple(names)])], titles)
    (axis,) = figure.axes
    page = figure.bbox
    labels = [text for text in axis.texts if "  " in text.get_text()]
    assert len(labels) == len(names)
    boxes = [text.get_window_extent() for text in labels]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_intervals_and_data_sets_lie_on_the_row_of_the_method() -> None:
    axis = intervals().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ELR", "Cross entropy"]  # best on top
    assert axis.yaxis_inverted()
    spans = [segment[:, 0].tolist() for segment in axis.collections[0].get_segments()]
    assert spans == [[1.0, 1.5], [1.5, 2.5]]
    lines = {line.get_label(): line.get_xdata().tolist() for line in axis.get_lines()}
    assert lines == {"PBC": [1.6, 1.4], "HAM10000": [0.9, 2.6], "mean": [1.25, 2.0]}


def cells(axis) -> dict[tuple[int, int], str]:
    return {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axis.texts}


def test_matrices_mirror_differences_and_bracket_what_is_not_significant() -> None:
    difference, better = (cells(axis) for axis in matrices().axes[:2])
    assert difference == {
        (0, 1): "(+1.2)", (1, 0): "(-1.2)",  # p = 0.05 is not below the level
        (0, 2): "+10.0", (2, 0): "-10.0",
        (1, 2): "(-0.3)", (2, 1): "(+0.3)",
    }  # fmt: skip
    assert better == {(0, 1): "70", (1, 0): "10", (0, 2): "100", (2, 0): "0", (1, 2): "10", (2, 1): "30"}
    assert matrices().axes[0].yaxis_inverted()
    colours = matrices().axes[0].collections[0]
    assert colours.get_clim() == pytest.approx((-10, 10))
