"""Figures of a backbone that moved: similarity by block, maps, probes, and what goes with a gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import NoisylibError, require
from noisylib.plotstyle import COLOURS, DASHES, EDGE, INK, MARKERS, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_COLUMNS = 4
REFERENCE = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1}
LINE_COLOURS = (COLOURS[0], COLOURS[3], COLOURS[2], COLOURS[4], COLOURS[1], COLOURS[5])


@dataclass(frozen=True, eq=False)
class MapPanel:
    """One map of features.

    Attributes
    ----------
    title, note : heading, and the line below it.
    points : (n, 2).
    classes : (n,) int, position in the names of the legend.
    wrong : (n,) bool, points to ring; None where there is no prediction.
    """

    title: str
    note: str
    points: np.ndarray
    classes: np.ndarray
    wrong: np.ndarray | None = None


@book_figure
def block_curves(blocks: pd.DataFrame, measures: Mapping[str, str]) -> Figure:
    """Draw what each block keeps and how far its weights moved, measures down and tunings across.

    Parameters
    ----------
    blocks : columns tuning and condition (titles), seed, block (-1 patches, 0..L-1, L the feature) and the
        measures. Lines are means over seeds, bands go from the lowest to the highest; NaN is not drawn.
    measures : column -> title of its row.
    """
    plt = require("matplotlib.pyplot", "book")
    tunings, conditions = (list(dict.fromkeys(blocks[name])) for name in ("tuning", "condition"))
    size = (WIDTH, 0.9 + 2.1 * len(measures))
    figure, axes = plt.subplots(
        len(measures), len(tunings), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    last = int(blocks["block"].max())
    for row, (measure, title) in zip(axes, measures.items(), strict=True):
        for axis, tuning in zip(row, tunings, strict=True):
            for position, condition in enumerate(conditions):
                chosen = (blocks["tuning"] == tuning) & (blocks["condition"] == condition)
                part = blocks[chosen].dropna(subset=[measure])
                if len(part):
                    _line(
                        axis, part.pivot(index="block", columns="seed", values=measure), position, condition
                    )
            axis.set_title(tuning)
        row[0].set_ylabel(title)
    present = sorted(set(blocks["block"]))
    for axis in axes[-1]:
        axis.set_xticks(present, [_block_name(block, last, len(present)) for block in present])
        axis.set_xlabel("Block")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center", ncols=min(4, len(conditions)), handlelength=3,
    )  # fmt: skip
    return figure


def _line(axis: Axes, seeds: pd.DataFrame, position: int, label: str) -> None:
    color = LINE_COLOURS[position % len(LINE_COLOURS)]
    axis.fill_between(seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=color, alpha=0.2, lw=0)
    axis.plot(
        seeds.index, seeds.mean(axis=1), color=color, linestyle=DASHES[position % len(DASHES)],
        marker=MARKERS[position % len(MARKERS)], label=label, **EDGE,
    )  # fmt: skip


def _block_name(block: int, last: int, count: int) -> str:
    """Return what a tick says; of many blocks every second one has a number."""
    if block == -1:
        return "in"
    if block == last:
        return "out"
    return str(block + 1) if count <= 9 or block % 2 == 0 else ""


@book_figure
def map_grid(rows: Sequence[Sequence[MapPanel | None]], class_names: Sequence[str]) -> Figure:
    """Draw rows of maps; a class has a colour and a marker, a ring marks a wrong prediction.

    Parameters
    ----------
    rows : panels; None leaves a place empty.
    class_names : of the numbers in `MapPanel.classes`.
    """
    plt = require("matplotlib.pyplot", "book")
    columns = max(len(row) for row in rows)
    legend_rows = -(-(len(class_names) + 1) // LEGEND_COLUMNS)
    size = (WIDTH, len(rows) * (WIDTH / columns + 0.5) + 0.22 * legend_rows)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for i, j in np.ndindex(len(rows), columns):
        panel = rows[i][j] if j < len(rows[i]) else None
        if panel is None:
            axes[i, j].set_axis_off()
        else:
            _map(axes[i, j], panel)
    line = plt.Line2D
    handles = []
    for c, name in enumerate(class_names):
        look = {"color": COLOURS[c % len(COLOURS)], "marker": MARKERS[c % len(MARKERS)]}
        handles.append(line([], [], linestyle="", label=name, **look))
    if any(panel is not None and panel.wrong is not None for row in rows for panel in row):
        ring = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": INK, "markersize": 9}
        handles.append(line([], [], linestyle="", label="wrong prediction", **ring))
    figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, handletextpad=0.3)
    return figure


def _map(axis: Axes, panel: MapPanel) -> None:
    for c in np.unique(panel.classes):
        points = panel.points[panel.classes == c]
        axis.plot(
            points[:, 0], points[:, 1], MARKERS[c % len(MARKERS)], color=COLOURS[c % len(COLOURS)],
            markersize=3.2, markeredgewidth=0,
        )  # fmt: skip
    if panel.wrong is not None and panel.wrong.any():
        ringed = panel.points[panel.wrong]
        axis.plot(
            ringed[:, 0], ringed[:, 1], "o", markerfacecolor="none", markeredgecolor=INK,
            markeredgewidth=0.7, markersize=6, label="wrong",
        )  # fmt: skip
    axis.set_title(f"{panel.title}\n{panel.note}", fontsize=8.5)
    axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.grid(visible=False)


@book_figure
def probe_panels(probes: pd.DataFrame, tunings: Mapping[str, str]) -> Figure:
    """Draw what the features hold before and after, and what the network's own head makes of them (percent).

    Parameters
    ----------
    probes : columns panel and row (titles), tuning (a key), probe_before, probe_after and own (fractions),
        one line per panel, row and tuning.
    tunings : key -> title; each has a colour and a place within its row.
    """
    plt = require("matplotlib.pyplot", "book")
    panels = list(dict.fromkeys(probes["panel"]))
    columns = min(len(panels), 2)
    deepest = max(probes[probes["panel"] == panel]["row"].nunique() for panel in panels)
    rows = -(-len(panels) // columns)
    size = (WIDTH, 0.9 + rows * (0.6 + 0.38 * deepest))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        _dumbbells(axis, probes[probes["panel"] == panel], list(tunings))
        axis.set_title(panel)
        axis.set_xlabel("Balanced accuracy (%)")
    figure.legend(handles=_probe_legend(tunings), loc="outside lower center", ncols=3, handletextpad=0.5)
    return figure


def _dumbbells(axis: Axes, part: pd.DataFrame, tunings: Sequence[str]) -> None:
    names = list(dict.fromkeys(part["row"]))
    shifts = np.linspace(-0.2, 0.2, len(tunings)) if len(tunings) > 1 else np.zeros(1)
    for record in part.itertuples():
        position = tunings.index(record.tuning)
        y, color = names.index(record.row) + shifts[position], LINE_COLOURS[position]
        before, after, own = (100 * x for x in (record.probe_before, record.probe_after, record.own))
        axis.plot([before, after], [y, y], color=color, linewidth=1.6, zorder=2)
        axis.plot(before, y, "|", color=INK, markersize=9, markeredgewidth=1.5, zorder=3)
        axis.plot(after, y, MARKERS[position], color=color, markersize=6.5, zorder=4, **EDGE)
        axis.plot(
            own, y, MARKERS[position], markerfacecolor=PAPER, markeredgecolor=color, markersize=6.5, zorder=4
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)


def _probe_legend(tunings: Mapping[str, str]) -> list:
    plt = require("matplotlib.pyplot", "book")
    line = plt.Line2D
    upright = {"marker": "|", "color": INK, "markersize": 9, "markeredgewidth": 1.5}
    filled = [
        line([], [], color=LINE_COLOURS[i], marker=MARKERS[i], label=f"{title}: clean probe after", **EDGE)
        for i, title in enumerate(tunings.values())
    ]
    hollow = [
        line(
            [], [], linestyle="", marker=MARKERS[i], markerfacecolor=PAPER, markeredgecolor=LINE_COLOURS[i],
            label=f"{title}: its own head",
        )
        for i, title in enumerate(tunings.values())
    ]  # fmt: skip
    return [line([], [], linestyle="", label="clean probe before", **upright), *filled, *hollow]


@book_figure
def dose_curves(runs: pd.DataFrame, rates: Mapping[float, str], tunings: Sequence[str]) -> Figure:
    """Draw the score and the clean probe (percent) against how far the feature moved, a panel per noise rate.

    Parameters
    ----------
    runs : columns rate, tuning, lr, moved (1 - CKA), own and probe_after (fractions); a line goes from the
        lowest learning rate to the highest.
    rates : noise rate -> title.
    tunings : in the order of their colours.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, len(rates), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        for position, tuning in enumerate(tunings):
            part = runs[(runs["rate"] == rate) & (runs["tuning"] == tuning)].sort_values("lr")
            look = {"color": LINE_COLOURS[position], "marker": MARKERS[position]}
            axis.plot(
                part["moved"], 100 * part["probe_after"], linestyle=DASHES[1],
                label=f"{tuning}: clean probe", **look, **EDGE,
            )  # fmt: skip
            axis.plot(
                part["moved"], 100 * part["own"], linestyle=DASHES[0], label=f"{tuning}: its own head",
                markerfacecolor=PAPER, markeredgecolor=LINE_COLOURS[position], **look,
            )  # fmt: skip
        axis.set(title=title, xlabel="Movement of the feature, 1 - CKA")
    axes[0, 0].set_ylabel("Balanced accuracy (%)")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=3
    )
    return figure


@book_figure
def gain_against(
    cells: pd.DataFrame, measures: Mapping[str, str], tunings: Mapping[str, str], datasets: Mapping[str, str]
) -> Figure:
    """Draw the gain over the linear probe against what may explain it, one point per condition.

    Parameters
    ----------
    cells : columns label, dataset, noise_type, gain (percentage points) and the measures as they are drawn.
    measures, tunings, datasets : column, label and data set -> title. Symmetric noise is hollow.
    """
    plt = require("matplotlib.pyplot", "book")
    if cells.empty:
        raise NoisylibError("cells is empty: there is no condition to draw.")
    size = (WIDTH, 0.9 + 2.5 * len(tunings))
    figure, axes = plt.subplots(
        len(tunings), len(measures), figsize=size, sharex="col", sharey=True, squeeze=False
    )
    for row, (label, title) in zip(axes, tunings.items(), strict=True):
        part = cells[cells["label"] == label]
        for axis, (measure, name) in zip(row, measures.items(), strict=True):
            axis.axhline(0, **REFERENCE)
            _points(axis, part[measure], part["gain"], part, list(datasets))
            axis.set_title(title)
            axis.set_xlabel(name if label == list(tunings)[-1] else "")
        row[0].set_ylabel("Gain over its probe (pp)")
    figure.legend(handles=_point_legend(datasets), loc="outside lower center", ncols=4, handletextpad=0.5)
    return figure


def _points(axis: Axes, x: pd.Series, y: pd.Series, cells: pd.DataFrame, datasets: Sequence[str]) -> None:
    for (dataset, noise_type), part in cells.groupby(["dataset", "noise_type"]):
        position = datasets.index(dataset)
        color = COLOURS[position % len(COLOURS)]
        hollow = noise_type == "symmetric"
        axis.plot(
            x[part.index], y[part.index], MARKERS[position % len(MARKERS)], linestyle="none", markersize=6,
            color=color, markerfacecolor=PAPER if hollow else color,
            markeredgecolor=color if hollow else INK, markeredgewidth=1.1 if hollow else 0.5,
        )  # fmt: skip


def _point_legend(datasets: Mapping[str, str]) -> list:
    plt = require("matplotlib.pyplot", "book")
    line = plt.Line2D
    handles = []
    for i, name in enumerate(datasets.values()):
        look = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)]}
        handles.append(line([], [], linestyle="", label=name, **look))
    hollow = {"marker": "o", "color": PAPER, "markeredgecolor": INK}
    return [*handles, line([], [], linestyle="", label="hollow: symmetric noise", **hollow)]
