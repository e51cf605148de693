"""Figures of the detection of clean samples: precision curves, classes, and the drop between two noises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import noise_title
from noisylib.plotstyle import COLOURS, EDGE, INK, WIDTH, Style, book_figure, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANCE = {"color": INK, "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1}
PERFECT = {"color": INK, "linewidth": 1.0, "linestyle": "-", "alpha": 0.45, "zorder": 1}
CUTS = {"matched m": {"linestyle": (0, (4, 2))}, "fixed m": {"linestyle": (0, (1, 1))}}
PART_COLOURS = (COLOURS[0], COLOURS[1], COLOURS[7])


@book_figure
def precision_curves(
    curves: pd.DataFrame,
    sets: pd.DataFrame,
    titles: Mapping[str, str],
    chance: Mapping[str, float],
    matched_to: str,
) -> Figure:
    """Draw the precision of the best-ranked part of the samples against its size, a panel per noise.

    Parameters
    ----------
    curves, sets : columns noise_type, detector, fraction, precision, as fractions. Rankings are lines, sets
        are points.
    titles : detector -> title, of all of both.
    chance : noise type -> share of right labels, in the order of the panels.
    matched_to : the set whose size is the matched m.
    """
    plt = require("matplotlib.pyplot", "book")
    styles = {key: style_of(place) for place, key in enumerate(titles)}
    figure, axes = plt.subplots(1, len(chance), figsize=(WIDTH, 4.3), sharey=True, squeeze=False)
    for axis, (kind, right) in zip(axes[0], chance.items(), strict=True):
        ours, own = curves[curves["noise_type"] == kind], sets[sets["noise_type"] == kind]
        x = np.linspace(0.01, 1, 100)
        axis.plot(100 * x, 100 * np.minimum(1, right / x), label="perfect ranking", **PERFECT)
        axis.axhline(100 * right, label="random", **CHANCE)
        cuts = {"matched m": own.set_index("detector")["fraction"][matched_to], "fixed m": right}
        for label, at in cuts.items():
            axis.axvline(100 * at, color=INK, linewidth=0.9, alpha=0.7, zorder=1, label=label, **CUTS[label])
        for key, part in ours.groupby("detector", sort=False):
            _curve(axis, part, styles[key], titles[key])
        for row in own.itertuples():
            _point(axis, 100 * row.fraction, 100 * row.precision, styles[row.detector], titles[row.detector])
        axis.set(title=f"{noise_title(kind)} noise", xlabel="Kept (% of the samples)", xlim=(0, 101))
    axes[0, 0].set_ylabel("Right labels among them (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.2)
    return figure


def _curve(axis: Axes, part: pd.DataFrame, style: Style, title: str) -> None:
    axis.plot(
        100 * part["fraction"], 100 * part["precision"], color=style.color, linestyle=style.linestyle,
        marker=style.marker, markevery=8, linewidth=1.5, label=title, **EDGE,
    )  # fmt: skip


def _point(axis: Axes, x: float, y: float, style: Style, title: str) -> None:
    axis.plot(
        [x], [y], linestyle="none", marker=style.marker, color=style.color, markersize=11, zorder=5,
        label=title, markeredgecolor=INK, markeredgewidth=1.2,
    )  # fmt: skip


@book_figure
def class_dots(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw precision and recall of each class for some detectors, largest class first.

    Parameters
    ----------
    frame : columns class, images, detector, precision, recall (fractions; NaN is not drawn).
    titles : detector -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    sizes = frame.drop_duplicates("class").sort_values("images", kind="stable")
    names = list(sizes["class"])
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.5 + 0.3 * len(names)), sharey=True)
    panels = {"precision": "Precision, by observed label", "recall": "Right labels kept, by true class"}
    shifts = np.linspace(0.14, -0.14, len(titles)) if len(titles) > 1 else [0.0]
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        for place, (key, label) in enumerate(titles.items()):
            part = frame[frame["detector"] == key].set_index("class").loc[names, column]
            style = style_of(place)
            axis.plot(
                100 * part, np.arange(len(names)) + shifts[place], linestyle="none", marker=style.marker,
                color=style.color, markersize=7, label=label, **EDGE,
            )  # fmt: skip
        axis.set(title=title, xlabel="%", xlim=(-3, 103))
    labels = [f"{row['class']} ({row['images']:,})" for _, row in sizes.iterrows()]
    axes[0].set_yticks(np.arange(len(names)), labels)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@book_figure
def drop_dots(
    frame: pd.DataFrame,
    panels: Mapping[str, Mapping[str, str]],
    rows: Mapping[tuple[str, str], str],
    published: Mapping[str, float],
) -> Figure:
    """Draw the drop of several detectors in points, a row per data set and backbone, a panel per design.

    Parameters
    ----------
    frame : columns dataset, backbone, detector, mean, low, high (fractions; NaN ends are not drawn).
    panels : title -> detector -> label.
    rows : (data set, backbone) -> label, from top to bottom; a gap is drawn between data sets.
    published : label -> drop as a fraction, drawn as a line across.
    """
    plt = require("matplotlib.pyplot", "book")
    heights = _heights(list(rows))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 1.6 + 0.34 * len(rows)), sharex=True, sharey=True, squeeze=False
    )
    labels = list(dict.fromkeys(label for detectors in panels.values() for label in detectors.values()))
    styles = {label: style_of(place) for place, label in enumerate(labels)}
    for axis, (title, detectors) in zip(axes[0], panels.items(), strict=True):
        shifts = np.linspace(-0.24, 0.24, len(detectors))
        for shift, (key, label) in zip(shifts, detectors.items(), strict=True):
            part = frame[frame["detector"] == key].set_index(["dataset", "backbone"]).reindex(list(rows))
            _dots(axis, part, heights + shift, styles[label], label)
        for place, (label, value) in enumerate(published.items()):
            line = (0, (4, 2)) if place else "-"
            axis.axvline(
                100 * value, color=INK, linewidth=0.9, alpha=0.6, linestyle=line, zorder=1, label=label
            )
        axis.set(title=title, xlabel="Drop (pp)")
    axes[0, 0].set_yticks(heights, list(rows.values()))
    axes[0, 0].set_ylim(heights.max() + 0.6, -0.6)
    _shared_legend(figure, axes[0])
    return figure


def _heights(rows: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return the height of each row, with a gap wherever the data set changes."""
    gaps = np.cumsum([i > 0 and rows[i][0] != rows[i - 1][0] for i in range(len(rows))])
    return np.arange(len(rows)) + 0.5 * gaps


def _dots(axis: Axes, part: pd.DataFrame, heights: np.ndarray, style: Style, label: str) -> None:
    axis.hlines(heights, 100 * part["low"], 100 * part["high"], color=style.color, linewidth=1.1)
    axis.plot(
        100 * part["mean"], heights, linestyle="none", marker=style.marker, color=style.color, markersize=6,
        label=label, **EDGE,
    )  # fmt: skip


def _shared_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Explain below the figure what stands in any of the panels, once each."""
    found = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= {label: found.get(label, handle) for handle, label in zip(handles, labels, strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3)


@book_figure
def part_bars(
    frame: pd.DataFrame,
    sets: Mapping[str, str],
    parts: Mapping[str, str],
    rows: Mapping[tuple[str, str], str],
) -> Figure:
    """Draw the drop of agreement as stacked parts in points, gains to the left of 0, a panel per set.

    Parameters
    ----------
    frame : columns dataset, backbone, detector, total and one per part, as fractions.
    sets : detector -> title of its panel;  parts : column -> label.
    rows : (data set, backbone) -> label, from top to bottom.
    """
    plt = require("matplotlib.pyplot", "book")
    heights = _heights(list(rows))
    figure, axes = plt.subplots(
        1, len(sets), figsize=(WIDTH, 1.5 + 0.26 * len(rows)), sharex=True, sharey=True, squeeze=False
    )
    for axis, (key, title) in zip(axes[0], sets.items(), strict=True):
        part = frame[frame["detector"] == key].set_index(["dataset", "backbone"]).reindex(list(rows))
        left, right = np.zeros(len(rows)), np.zeros(len(rows))
        for colour, (column, label) in zip(PART_COLOURS, parts.items(), strict=True):
            values = 100 * part[column].fillna(0).to_numpy()
            start = np.where(values < 0, left, right)
            axis.barh(heights, values, 0.7, left=start, color=colour, label=label)
            left, right = left + np.minimum(values, 0), right + np.maximum(values, 0)
        axis.plot(
            100 * part["total"], heights, linestyle="none", marker="D", color="white", label="drop", **EDGE
        )
        axis.axvline(0, color=INK, linewidth=0.9)
        axis.set(title=title, xlabel="Points of precision")
    axes[0, 0].set_yticks(heights, list(rows.values()))
    axes[0, 0].set_ylim(heights.max() + 0.6, -0.6)
    _shared_legend(figure, axes[0])
    return figure
