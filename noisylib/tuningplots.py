"""Figures of the chapter on linear probes, full fine-tuning and TURN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import COLOURS, EDGE, INK, MARKERS, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour and marker say how a network was tuned.
KINDS = {
    "lp": ("linear probe (LP)", COLOURS[0], "o"),
    "fft": ("full fine-tuning (FFT)", COLOURS[1], "s"),
    "turn": ("TURN: LP, then FFT", COLOURS[2], "D"),
}
# Cost -> title of its axis, and what it is divided by.
COSTS = {"total_seconds": ("Seconds of a run", 1.0), "flops": ("Operations of a run (GFLOPs)", 1e9)}


def kind_of(label: str) -> str:
    """Return "lp", "fft" or "turn" of a row's label, such as "LP-CE"."""
    return label.partition("-")[0].lower()


@book_figure
def score_strip(scores: pd.DataFrame, chance: float, title: str) -> Figure:
    """Draw the score (percent) of every seed, and the mean, one line per row of the table.

    Parameters
    ----------
    scores : seeds x labels, percent, in the order of the table.
    chance : percent that guessing gets.
    title : of the axis.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.1 + 0.3 * scores.shape[1]))
    axis.axvline(chance, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="chance")
    for y, label in enumerate(scores):
        name, color, marker = KINDS[kind_of(label)]
        first = kind_of(label) not in [kind_of(other) for other in list(scores)[:y]]
        values = scores[label]
        axis.plot(
            values, np.full(len(values), y), marker, color=color, alpha=0.45, linestyle="none", markersize=4
        )
        axis.plot(
            values.mean(), y, marker, color=color, markersize=8, linestyle="none",
            label=name if first else None, **EDGE,
        )  # fmt: skip
    axis.set_yticks(range(scores.shape[1]), list(scores))
    axis.set(ylim=(scores.shape[1] - 0.5, -0.5), xlabel=title)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@book_figure
def score_panels(
    means: pd.DataFrame, noises: Mapping[tuple[str, float], str], sets: Mapping[str, str], title: str
) -> Figure:
    """Draw the mean score (percent) of every row and data set, a panel per noise, and the mean over sets.

    Parameters
    ----------
    means : columns dataset, noise_type, noise_rate, label, mean; labels in the order of the table.
    noises : (type, rate) -> heading of its panel.
    sets : data set -> title.
    title : of the axes.
    """
    plt = require("matplotlib.pyplot", "book")
    labels = list(dict.fromkeys(means["label"]))
    size = (WIDTH, 1.5 + 0.24 * len(labels))
    figure, axes = plt.subplots(1, len(noises), figsize=size, sharey=True, sharex=True, squeeze=False)
    for axis, (noise, heading) in zip(axes[0], noises.items(), strict=True):
        here = means[(means["noise_type"] == noise[0]) & np.isclose(means["noise_rate"], noise[1])]
        for place, name in enumerate(sets):
            part = here[here["dataset"] == name]
            y = [labels.index(label) for label in part["label"]]
            axis.plot(
                part["mean"], y, MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)],
                linestyle="none", markersize=4.5, label=sets[name],
            )  # fmt: skip
        over = here.groupby("label")["mean"].mean().reindex(labels)
        axis.plot(over, range(len(labels)), "|", color=INK, markersize=12, markeredgewidth=1.6, label="mean")
        axis.set_title(heading, fontsize=8.5)
        axis.locator_params(axis="x", nbins=3)
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    axes[0, len(noises) // 2].set_xlabel(title)
    # The last panel may lack sets of two classes; the label of each set stands once.
    handles = {
        label: handle
        for axis in axes[0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


@book_figure
def gain_panels(gains: pd.DataFrame, by_set: pd.DataFrame, sets: Mapping[str, str]) -> Figure:
    """Draw TURN's lead (points) over its rivals by data set: its noises, and their mean over seeds.

    Parameters
    ----------
    gains : columns rival, dataset, noise_type, noise_rate, lead; one row per run.
    by_set : columns rival, dataset, mean, low, high.
    sets : data set -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    rivals = list(dict.fromkeys(by_set["rival"]))
    size = (WIDTH, 1.3 + 0.36 * len(sets))
    figure, axes = plt.subplots(1, len(rivals), figsize=size, sharey=True, sharex=True, squeeze=False)
    names = list(sets)
    for axis, rival in zip(axes[0], rivals, strict=True):
        axis.axvline(0, color=INK, linewidth=1)
        own = gains[gains["rival"] == rival]
        noises = own.groupby(["dataset", "noise_type", "noise_rate"], sort=False)["lead"].mean().reset_index()
        y = np.array([names.index(name) for name in noises["dataset"]])
        axis.plot(
            noises["lead"],
            y + 0.22,
            "o",
            color=COLOURS[7],
            markersize=3.5,
            linestyle="none",
            label="one noise",
        )
        part = by_set[by_set["rival"] == rival]
        y = np.array([names.index(name) for name in part["dataset"]]) - 0.12
        axis.hlines(
            y, part["low"], part["high"], color=COLOURS[2], linewidth=2, label="lowest to highest seed"
        )
        axis.plot(
            part["mean"], y, "D", color=COLOURS[2], markersize=7, linestyle="none", label="mean", **EDGE
        )
        axis.set_title(f"Over {rival}", fontsize=8.5)
        axis.set_xlabel("TURN's lead (pp)")
    axes[0, 0].set_yticks(range(len(names)), [sets[name] for name in names])
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@book_figure
def cost_panels(points: pd.DataFrame, title: str, costs: Sequence[str] = tuple(COSTS)) -> Figure:
    """Draw score (percent) against seconds and against operations of a run, both on logarithmic axes.

    Parameters
    ----------
    points : columns label, score, and those of `costs`.
    title : of the score's axis.
    """
    plt = require("matplotlib.pyplot", "book")
    ticker = require("matplotlib.ticker", "book")
    figure, axes = plt.subplots(1, len(costs), figsize=(WIDTH, 3.6), sharey=True, squeeze=False)
    for axis, cost in zip(axes[0], costs, strict=True):
        _cost_points(axis, points, cost)
        axis.set(xscale="log", xlabel=COSTS[cost][0])
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=8))
        axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.margins(x=0.2, y=0.1)
    axes[0, 0].set_ylabel(title)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _cost_points(axis: Axes, points: pd.DataFrame, cost: str) -> None:
    seen: list[str] = []
    for row in points.to_dict("records"):
        kind = kind_of(row["label"])
        name, color, marker = KINDS[kind]
        x = row[cost] / COSTS[cost][1]
        axis.plot(
            x, row["score"], marker, color=color, markersize=7.5, linestyle="none",
            label=None if kind in seen else name, **EDGE,
        )  # fmt: skip
        seen.append(kind)
        axis.annotate(
            row["label"].partition("-")[2] or row["label"], (x, row["score"]), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=7.5,
        )  # fmt: skip
