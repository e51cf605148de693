"""Figures of wrong labels: what a review finds, how true a probability is, and AUROC as heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import noise_title
from noisylib.plotstyle import EDGE, INK, PAPER, WIDTH, book_figure, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM = {"color": INK, "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1}
PERFECT = {"color": INK, "linewidth": 1.0, "linestyle": "-", "alpha": 0.45, "zorder": 1}
WIDEST_LEAD = 10.0  # points: the end of the colours, so that one condition does not bleach the others


@book_figure
def review_curves(curves: pd.DataFrame, sets: pd.DataFrame, titles: Mapping[str, str], rate: float) -> Figure:
    """Draw how many of the labels looked at are wrong, and how many of the wrong ones that finds.

    Parameters
    ----------
    curves, sets : columns detector, fraction (of all labels), precision, recall, as fractions. Rankings are
        lines, flagged sets are points.
    titles : detector -> title, of all of both.
    rate : share of wrong labels.
    """
    plt = require("matplotlib.pyplot", "book")
    styles = {key: style_of(place) for place, key in enumerate(titles)}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.0), sharex=True)
    end = float(curves["fraction"].max())
    x = np.linspace(0, end, 200)[1:]
    lines = {
        "precision": (np.minimum(1, rate / x), np.full_like(x, rate)),
        "recall": (np.minimum(1, x / rate), x),
    }
    panels = {"precision": "Wrong among those looked at", "recall": "Wrong labels that are found"}
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        perfect, random = lines[column]
        axis.plot(100 * x, 100 * perfect, label="perfect ranking", **PERFECT)
        axis.plot(100 * x, 100 * random, label="random", **RANDOM)
        for key, part in curves.groupby("detector", sort=False):
            style = styles[key]
            axis.plot(
                100 * part["fraction"], 100 * part[column], color=style.color, linestyle=style.linestyle,
                marker=style.marker, markevery=10, linewidth=1.5, label=titles[key], **EDGE,
            )  # fmt: skip
        for row in sets.itertuples():
            axis.plot(
                [100 * row.fraction], [100 * getattr(row, column)], linestyle="none", markersize=11, zorder=5,
                marker=styles[row.detector].marker, color=styles[row.detector].color, markeredgecolor=INK,
                markeredgewidth=1.2, label=f"flagged by {_lower(titles[row.detector])}",
            )  # fmt: skip
        axis.set(title=title, xlabel="Labels looked at (%)", ylim=(-3, 103), xlim=(0, 100 * end))
    axes[0].set_ylabel("%")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


@book_figure
def reliability_lines(bins: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the share of right labels against the stated probability, and below it where the labels lie.

    Parameters
    ----------
    bins : columns detector, bin, stated, right, share, as fractions; bins without a label are not there.
    titles : detector -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(WIDTH, 5.2), sharex=True, height_ratios=(3, 1.2))
    upper.plot([0, 100], [0, 100], label="as stated", **PERFECT)
    for place, (key, title) in enumerate(titles.items()):
        part, style = bins[bins["detector"] == key], style_of(place)
        look = {"color": style.color, "marker": style.marker, "linestyle": style.linestyle, "linewidth": 1.5}
        upper.plot(100 * part["stated"], 100 * part["right"], label=title, **look, **EDGE)
        lower.plot(100 * part["stated"], 100 * part["share"], **look, **EDGE)
    upper.set(ylabel="Right among them (%)", ylim=(-3, 103), xlim=(-2, 102))
    upper.set_title("Labels by how likely right they are said to be")
    lower.set(ylabel="Labels (%)", xlabel="Stated probability of being right (%), mean of each tenth")
    lower.set_ylim(bottom=0)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@book_figure
def auroc_heatmap(matrix: pd.DataFrame, titles: Mapping[str, str], names: Mapping[str, str]) -> Figure:
    """Draw AUROC in percent, a row per data set and noise, a column per detector.

    Parameters
    ----------
    matrix : (dataset, noise_type, noise_rate) x detectors, fractions.
    titles : detector -> title, in the order of the columns;  names : data set -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 2.1 + 0.24 * len(matrix)))
    _heatmap(axis, 100 * matrix[list(titles)].to_numpy(float), cmap="Blues", vmin=50, vmax=100)
    labels = [f"{names[name]}, {kind} {100 * rate:g} %" for name, kind, rate in matrix.index]
    axis.set_yticks(np.arange(len(matrix)) + 0.5, labels, rotation=0)
    axis.xaxis.tick_top()
    axis.set_xticks(
        np.arange(len(titles)) + 0.5, list(titles.values()), rotation=45, ha="left", rotation_mode="anchor"
    )
    axis.tick_params(length=0)
    _rules(axis, [name for name, *_ in matrix.index])
    return figure


@book_figure
def bank_heatmaps(level: pd.DataFrame, lead: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw AUROC in percent (left) and its lead in points (right), a row per bank, a column per noise.

    Parameters
    ----------
    level, lead : (dataset, backbone) x (noise_type, noise_rate), fractions.
    names : data set or backbone -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.9 + 0.27 * len(level)), sharey=True)
    looks = (
        {"cmap": "Blues", "vmin": 50, "vmax": 100},
        {"cmap": "PuOr", "vmin": -WIDEST_LEAD, "vmax": WIDEST_LEAD},
    )
    heads = "AUROC (%)", "Lead (points)"
    for axis, matrix, look, head in zip(axes, (level, lead), looks, heads, strict=True):
        _heatmap(axis, 100 * matrix.to_numpy(float), **look)
        ticks = [f"{noise_title(kind)[:4]}.\n{100 * rate:g} %" for kind, rate in matrix.columns]
        axis.set_xticks(np.arange(len(ticks)) + 0.5, ticks, rotation=0)
        axis.set_title(head)
        axis.tick_params(length=0)
        _rules(axis, [name for name, _ in matrix.index])
    rows = [f"{names[dataset]}, {names[backbone]}" for dataset, backbone in level.index]
    axes[0].set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    return figure


def _heatmap(axis: Axes, values: np.ndarray, **look: object) -> None:
    sns = require("seaborn", "book")
    sns.heatmap(
        values.round(1) + 0.0,  # without -0.0
        ax=axis, annot=True, fmt=".1f", annot_kws={"size": 8}, cbar=False, linewidths=0.8,
        linecolor=PAPER, **look,
    )  # fmt: skip
    for number, colour in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        # seaborn turns to white too early: at .18 ink and paper have the same contrast.
        number.set_color(PAPER if sns.utils.relative_luminance(colour) < 0.18 else INK)
    axis.set(xlabel="", ylabel="")


def _rules(axis: Axes, groups: list[str]) -> None:
    """Draw a line wherever the data set changes."""
    for row in range(1, len(groups)):
        if groups[row] != groups[row - 1]:
            axis.axhline(row, color=INK, linewidth=0.9)
