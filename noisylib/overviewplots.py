"""Figures of a whole study: a column per condition, curves over rates, and the two accuracies together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import NOISE_ORDER, WARNING, noise_title
from noisylib.plotstyle import COLOURS, INK, PAPER, WIDTH, book_figure, method_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

COLUMN = ["backbone", "noise_type", "noise_rate"]
GAPS = (
    0.5,
    0.25,
)  # between backbones and kinds of noise, in columns; exact in binary, or edges would not meet
DOT = {
    "marker": "o",
    "color": INK,
    "markersize": 4,
    "markeredgecolor": PAPER,
    "markeredgewidth": 0.7,
    "lw": 0,
}
FIRST, NUMBER, BELOW = 1.5, 0.5, 1.15  # the reference's row: its height, and where number and dot stand
DEATHS = (
    ("no dead class", "o", "#949494", 13),
    ("a dead class in some runs", "^", COLOURS[0], 17),
    ("one or more on average", "X", WARNING, 20),
)


@book_figure
def condition_heatmap(cells: pd.DataFrame, titles: Mapping[str, str], reference: str) -> Figure:
    """Draw every condition as a column and every method as a row, one panel per data set.

    The colour is the balanced accuracy minus that of the method `reference`, in percentage points, and a
    dot marks the best of a column. The row of `reference` holds its balanced accuracy in percent.

    Parameters
    ----------
    cells : columns dataset, `COLUMN`, method, balanced_accuracy_mean, over_reference, gap_to_best; fractions.
    titles : data set, backbone or method -> title; methods are drawn in its order, `reference` first.
    """
    plt = require("matplotlib.pyplot", "book")
    datasets = list(cells["dataset"].unique())
    present = set(cells["method"]) - {reference}
    methods = [reference, *(name for name in titles if name in present)]
    height = 1.0 + len(datasets) * (0.6 + 0.14 * (len(methods) + FIRST))  # of five sets: one printed page
    figure, axes = plt.subplots(len(datasets), 1, figsize=(WIDTH, height), squeeze=False)
    # A few cells are far stronger than all others; the ends of the bar stand for them.
    limit = max(1.0, float(np.ceil(100 * cells["over_reference"].abs().quantile(0.97))))
    for axis, dataset in zip(axes[:, 0], datasets, strict=True):
        image = _panel(axis, cells[cells["dataset"] == dataset], methods, limit)
        _name_columns(axis, cells[cells["dataset"] == dataset], titles)
        heights = [NUMBER, *_middles(_row_edges(len(methods)))[1:]]
        axis.set_yticks(heights, [titles[name] for name in methods])
        axis.annotate(
            titles[dataset],
            (0, 1),
            xycoords="axes fraction",
            xytext=(-2, 11),
            textcoords="offset points",
            ha="right",
            fontweight="bold",
        )
    axes[-1, 0].set_xlabel("Noise rate (%)", labelpad=1)
    bar = figure.colorbar(
        image, ax=list(axes[:, 0]), location="bottom", extend="both", aspect=45, shrink=0.8, pad=0.01
    )
    bar.set_label("Difference in balanced accuracy to the first row (percentage points)")
    bar.outline.set_visible(False)
    dot = plt.Line2D([], [], **DOT, label="best of its column")
    figure.legend(handles=[dot], loc="outside upper right", handletextpad=0.1, borderpad=0)
    return figure


def _columns(part: pd.DataFrame) -> tuple[list[tuple], np.ndarray]:
    """Return the conditions of one data set in order, and the left edge of each, one unit wide."""
    types = sorted(part["noise_type"].unique(), key=NOISE_ORDER.index)
    columns = list(product(part["backbone"].unique(), types, sorted(part["noise_rate"].unique())))
    steps = [1 + (GAPS[0] if a[0] != b[0] else GAPS[1] if a[1] != b[1] else 0) for a, b in pairwise(columns)]
    return columns, np.cumsum([0.0, *steps])


def _row_edges(rows: int) -> np.ndarray:
    return np.array([0, *(FIRST + np.arange(rows))])


def _middles(edges: np.ndarray) -> np.ndarray:
    return (edges[1:] + edges[:-1]) / 2


def _panel(axis: Axes, part: pd.DataFrame, methods: list[str], limit: float) -> QuadMesh:
    """Draw the conditions of one data set and return the coloured mesh."""
    columns, left = _columns(part)
    rows = _row_edges(len(methods))
    table = part.set_index([*COLUMN, "method"]).sort_index()
    shown = {column: table.loc[column].loc[methods] for column in columns}
    edges = np.unique([*left, *(left + 1)])
    colours = np.full((len(methods), len(edges) - 1), np.nan)  # the gaps between groups stay empty
    for cells, x in zip(shown.values(), left, strict=True):
        colours[:, np.searchsorted(edges, x)] = 100 * cells["over_reference"]
        best = np.flatnonzero(cells["gap_to_best"].round(9) == 0)
        heights = np.where(best == 0, BELOW, _middles(rows)[best])
        axis.plot(np.full(len(best), x + 0.5), heights, **DOT)
        score = f"{100 * cells['balanced_accuracy_mean'].iloc[0]:.0f}"
        axis.text(x + 0.5, NUMBER, score, ha="center", va="center", fontsize=6.8)
    look = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "edgecolor": PAPER, "linewidth": 0.5}
    image = axis.pcolormesh(edges, rows, np.ma.masked_invalid(colours), **look)
    axis.set(ylim=(rows[-1], 0), xlim=(0, left[-1] + 1))
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    return image


def _name_columns(axis: Axes, part: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """Write the rates below the columns, and kinds of noise and backbones above their groups."""
    columns, left = _columns(part)
    axis.set_xticks(left + 0.5, [f"{100 * rate:g}" for _, _, rate in columns], fontsize=6.8)
    axis.tick_params(length=0, pad=2)
    backbones = [column[:1] for column in columns]
    kinds = [column[:2] for column in columns]
    for groups, lift, look in ((kinds, 2, {"fontsize": 7.2}), (backbones, 11, {"fontsize": 8.2})):
        for group in dict.fromkeys(groups):
            at = [x for x, other in zip(left, groups, strict=True) if other == group]
            text = noise_title(group[1]) if groups is kinds else titles[group[0]]
            middle = (at[0] + at[-1] + 1) / 2
            offset = {"xytext": (0, lift), "textcoords": "offset points", "ha": "center", "va": "bottom"}
            axis.annotate(text, (middle, 1), xycoords=axis.get_xaxis_transform(), **offset, **look)


@book_figure
def rate_curves(cells: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw balanced accuracy (percent) against the noise rate: data sets across, kinds of noise down.

    Parameters
    ----------
    cells : columns dataset, `COLUMN`, method, balanced_accuracy_mean; a line is the mean over backbones.
    titles : data set or method -> title; methods in the order of the legend.
    """
    plt = require("matplotlib.pyplot", "book")
    datasets = list(cells["dataset"].unique())
    types = sorted(cells["noise_type"].unique(), key=NOISE_ORDER.index)
    methods = [name for name in titles if name in set(cells["method"])]
    styles = method_styles(methods)
    size = (WIDTH, 0.9 + 1.75 * len(types))
    figure, axes = plt.subplots(
        len(types), len(datasets), figsize=size, sharex=True, sharey="col", squeeze=False
    )
    means = (
        100
        * cells.groupby(["dataset", "noise_type", "method", "noise_rate"])["balanced_accuracy_mean"].mean()
    )
    for (row, kind), (column, dataset) in product(enumerate(types), enumerate(datasets)):
        axis = axes[row, column]
        for method in methods:
            line, style = means.loc[dataset, kind, method], styles[method]
            axis.plot(
                100 * line.index,
                line,
                color=style.color,
                marker=style.marker,
                linestyle=style.linestyle,
                linewidth=1.2,
                markersize=3.6,
                label=titles[method],
            )
        axis.tick_params(labelsize=7.5)
        if row == 0:
            axis.set_title(titles[dataset], fontsize=8.5)
        if column == 0:
            axis.set_ylabel(f"{noise_title(kind)} noise\nbalanced accuracy (%)", fontsize=8)
        if row == len(types) - 1:
            axis.set_xlabel("Noise rate (%)", fontsize=8)
    axes[0, 0].set_xticks(100 * np.sort(cells["noise_rate"].unique()))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=3)
    return figure


@book_figure
def accuracy_scatter(cells: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw balanced accuracy against accuracy (percent), a point per cell and a panel per data set.

    Parameters
    ----------
    cells : columns dataset, accuracy_mean, balanced_accuracy_mean, dead_classes_mean (classes per run).
    """
    plt = require("matplotlib.pyplot", "book")
    groups = dict(tuple(cells.groupby("dataset", sort=False)))
    figure, axes = plt.subplots(
        -(-len(groups) // 3), 3, figsize=(WIDTH, 2.5 * -(-len(groups) // 3)), squeeze=False
    )
    for axis, (dataset, part) in zip(axes.flat, groups.items(), strict=False):
        x, y = 100 * part["accuracy_mean"], 100 * part["balanced_accuracy_mean"]
        low, high = min(x.min(), y.min()) - 2, max(x.max(), y.max()) + 2
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        dead = np.select([part["dead_classes_mean"] >= 1, part["dead_classes_mean"] > 0], [2, 1], 0)
        for kind, (name, marker, color, area) in enumerate(DEATHS):
            at = dead == kind
            axis.scatter(
                x[at], y[at], s=area, marker=marker, color=color, edgecolor=PAPER, linewidth=0.3, label=name
            )
        axis.set(xlim=(low, high), ylim=(low, high), title=titles[dataset], aspect="equal")
        axis.set_xlabel("Accuracy (%)", fontsize=8.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("Balanced accuracy (%)", fontsize=8.5)
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
