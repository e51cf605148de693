"""Figures of the archived sweep: imbalance, asymmetry and map, purity of labels, and remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.collapseplots import NO_MAP, REFERENCE, few_styles, map_styles
from noisylib.errors import require
from noisylib.plotstyle import EDGE, INK, WIDTH, Style, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEAD, GAP = "dead_classes_coteaching", "balanced_accuracy_gap"
ROWS = {DEAD: "Dead classes", GAP: "Balanced acc.\nminus CE (pp)"}


@book_figure
def sweep_panels(cells: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw dead classes of Co-teaching, and its balanced accuracy minus CE, against the imbalance.

    Parameters
    ----------
    cells : from `describe_collapse_sweep.contrast`, of one source: a panel per asymmetry.
    titles : map -> title. Without asymmetry there is no map: one black line stands for all.
    """
    plt = require("matplotlib.pyplot", "book")
    steps = sorted(cells["asymmetry"].unique())
    figure, axes = plt.subplots(2, len(steps), figsize=(WIDTH, 4.4), sharex=True, sharey="row", squeeze=False)
    for column, step in zip(axes.T, steps, strict=True):
        part = cells[cells["asymmetry"] == step]
        for axis, score in zip(column, ROWS, strict=True):
            _map_lines(axis, part, "imbalance", score, titles, blend=step > 0)
        column[0].set_title(f"Asymmetry {step:g}", fontsize=9)
    _finish(figure, axes, titles, sorted(cells["imbalance"].unique()))
    return figure


def _finish(figure: Figure, axes: np.ndarray, titles: Mapping[str, str], imbalances: Sequence[float]) -> None:
    """Name axes and maps of a figure with a row for each of `ROWS`."""
    shown = [value for value in imbalances if value in (1, 10, 100)] or list(imbalances)
    for axis, label in zip(axes[:, 0], ROWS.values(), strict=True):
        axis.set_ylabel(label)
    for axis in axes[-1]:
        axis.set(xscale="log", xlabel="Imbalance")
        axis.set_xticks(shown, [f"{value:g}" for value in shown])
        axis.minorticks_off()
    figure.legend(handles=_map_legend(titles), loc="outside lower center", ncols=3, handlelength=3)


def _map_lines(
    axis: Axes, cells: pd.DataFrame, x: str, score: str, titles: Mapping[str, str], *, blend: bool
) -> None:
    """Draw `score` against `x`, a line per map; one for all of them if the noise follows none."""
    axis.axhline(0, color=INK, linewidth=0.8)
    if not blend:
        mean = cells.groupby(x)[score].mean()
        _line(axis, mean.index, mean, NO_MAP)
        return
    for name, style in map_styles(list(titles)).items():
        part = cells[cells["map"] == name].sort_values(x)
        _line(axis, part[x], part[score], style)
        if score == DEAD:
            axis.plot(
                part[x], part["dead_classes_ce"], color=style.color, linewidth=0.9, linestyle=(0, (1, 1.5))
            )


def _line(axis: Axes, x: pd.Series, y: pd.Series, style: Style) -> None:
    axis.plot(x, y, color=style.color, marker=style.marker, linestyle=style.linestyle, linewidth=1.4, **EDGE)


def _map_legend(titles: Mapping[str, str]) -> list:
    plt = require("matplotlib.pyplot", "book")
    line = plt.Line2D
    handles = [
        line([], [], color=s.color, marker=s.marker, linestyle=s.linestyle, label=titles[name], **EDGE)
        for name, s in map_styles(list(titles)).items()
    ]
    return [
        *handles,
        line([], [], color=NO_MAP.color, marker=NO_MAP.marker, label="symmetric, no map"),
        line([], [], color=INK, linewidth=0.9, linestyle=(0, (1, 1.5)), label="CE, dead classes"),
    ]


@book_figure
def real_panels(tail: pd.DataFrame, skin: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the sweep of two real sets: against imbalance at full asymmetry, and against asymmetry.

    Parameters
    ----------
    tail : contrasts of a long-tailed set, asymmetry 0 and 1 only.
    skin : those of a set with one imbalance.
    titles : map -> title, of both.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.8), sharex="col")
    for row, (score, label) in enumerate(ROWS.items()):
        left, right = axes[row]
        _map_lines(left, tail[tail["asymmetry"] == 0], "imbalance", score, titles, blend=False)
        _map_lines(left, tail[tail["asymmetry"] == 1], "imbalance", score, titles, blend=True)
        _map_lines(right, skin, "asymmetry", score, titles, blend=True)
        left.set_ylabel(label)
    for axis, title in zip(axes[0], ("PBC, long-tailed, asymmetry 0 and 1", "HAM10000"), strict=True):
        axis.set_title(title)
    _finish(figure, axes[:, :1], titles, sorted(tail["imbalance"].unique()))
    axes[1, 1].set(xlabel="Asymmetry", xticks=sorted(skin["asymmetry"].unique()))
    return figure


@book_figure
def purity_panels(
    groups: Mapping[str, pd.DataFrame], shares: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw recall (percent) of classes against the purity of their observed label (percent).

    Parameters
    ----------
    groups : name of a row -> columns method, group, purity, recall, from `purity_bins`.
    shares : title of each group, a column.
    titles : method -> title, in the order of the legend.
    """
    plt = require("matplotlib.pyplot", "book")
    size = (WIDTH, 0.9 + 2.0 * len(groups))
    figure, axes = plt.subplots(
        len(groups), len(shares), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for row, (name, bins) in zip(axes, groups.items(), strict=True):
        for group, axis in enumerate(row):
            axis.axvline(50, **REFERENCE)
            for method, style in few_styles(list(titles)).items():
                part = bins[(bins["method"] == method) & (bins["group"] == group)].sort_values("purity")
                _line(axis, 100 * part["purity"], 100 * part["recall"], style)
        row[0].set_ylabel(f"{name}\nrecall (%)")
    for axis, title in zip(axes[0], shares, strict=True):
        axis.set_title(title)
        axis.set(xlim=(0, 102), ylim=(-3, 103))
    for axis in axes[-1]:
        axis.set_xlabel("Purity of the label (%)")
    line = plt.Line2D
    handles = [
        line([], [], color=s.color, marker=s.marker, linestyle=s.linestyle, label=titles[name], **EDGE)
        for name, s in few_styles(list(titles)).items()
    ]
    handles.append(line([], [], **REFERENCE, label="half of the labels wrong"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=3)
    return figure


@book_figure
def remedy_dots(
    arms: pd.DataFrame, ticks: Mapping[tuple[str, str], str], titles: Mapping[str, str]
) -> Figure:
    """Draw balanced accuracy, accuracy (percent) and dead classes of every method, a row per arm.

    Parameters
    ----------
    arms : columns source, map, method and the three scores, from `describe_collapse_remedies.arm_frame`.
    ticks : (source, map) -> what stands at its row, in the order from the top.
    titles : method -> title, in the order of the legend.
    """
    plt = require("matplotlib.pyplot", "book")
    panels = {
        "balanced_accuracy": "Balanced acc. (%)",
        "accuracy": "Accuracy (%)",
        "dead_classes": "Dead classes",
    }
    size = (WIDTH, 1.5 + 0.44 * len(ticks))
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True)
    shifts = np.linspace(-0.3, 0.3, len(titles)) if len(titles) > 1 else [0.0]
    for (name, style), shift in zip(few_styles(list(titles)).items(), shifts, strict=True):
        part = arms[arms["method"] == name].set_index(["source", "map"]).loc[list(ticks)]
        for axis, score in zip(axes, panels, strict=True):
            look = {"color": style.color, "markersize": 5.5, "label": titles[name]}
            axis.plot(part[score], np.arange(len(ticks)) + shift, style.marker, **look, **EDGE)
    for axis, title in zip(axes, panels.values(), strict=True):
        axis.set(title=title, ylim=(len(ticks) - 0.5, -0.5))
        axis.set_yticks(range(len(ticks)), list(ticks.values()))
        axis.grid(axis="y", visible=False)
        for edge in np.arange(len(ticks) - 1) + 0.5:
            axis.axhline(edge, color=INK, linewidth=0.3, alpha=0.4)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
