"""Figures of the choice of a method: regret by regime, regret of every way to choose, and estimated rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import noise_title
from noisylib.plotstyle import COLOURS, EDGE, FAINT, INK, PAPER, WIDTH, book_figure, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAP = 15.0  # points of regret from which on cells have one colour
SHIFT = 0.6  # points between the columns of two groups at one rate
GOAL = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1}


@book_figure
def regime_heatmap(frame: pd.DataFrame, titles: Mapping[str, str], cap: float = CAP) -> Figure:
    """Draw the mean regret (pp) of every candidate in every regime; a frame marks whom to use.

    Parameters
    ----------
    frame : columns noise, classes, features, conditions, use, and one per candidate (fractions).
    titles : candidate -> title, in the order of the columns.
    """
    plt, sns = require("matplotlib.pyplot", "book"), require("seaborn", "book")
    values = 100 * frame[list(titles)].to_numpy(float)
    figure, axis = plt.subplots(figsize=(WIDTH, 1.7 + 0.32 * len(frame)))
    sns.heatmap(
        values, ax=axis, annot=True, fmt=".1f", annot_kws={"size": 8}, cbar=False, linewidths=0.8,
        linecolor=PAPER, cmap="YlOrRd", vmin=0, vmax=cap,
    )  # fmt: skip
    for number, colour in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        number.set_color(PAPER if sns.utils.relative_luminance(colour) < 0.18 else INK)
    for row, best in enumerate(frame["use"]):
        place = (list(titles).index(best) + 0.03, row + 0.06)
        axis.add_patch(plt.Rectangle(place, 0.94, 0.88, fill=False, edgecolor=INK, linewidth=1.6))
    names = [
        f"{row.noise}, {row.classes}, {row.features} ({row.conditions})"
        for row in frame.itertuples(index=False)
    ]
    axis.set_yticks(np.arange(len(frame)) + 0.5, names, rotation=0)
    axis.set_xticks(np.arange(len(titles)) + 0.5, list(titles.values()), rotation=35, ha="left")
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    noises = list(frame["noise"])
    for row in range(1, len(noises)):
        if noises[row] != noises[row - 1]:
            axis.axhline(row, color=INK, linewidth=0.9)
    axis.set(xlabel="", ylabel="")
    return figure


@book_figure
def regret_forest(
    panels: Mapping[str, pd.DataFrame], names: Mapping[str, str], cluster: str, goals: Sequence[float]
) -> Figure:
    """Draw the mean regret (pp) of every way to choose with its interval, a panel per choice of methods.

    Parameters
    ----------
    panels : title -> table of `selector_check.selector_table`.
    names : way to choose -> label, top to bottom; a panel leaves those out that it has not.
    cluster : "bank" or "family", what the intervals resample.
    goals : the target of each panel (fraction), a vertical line.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 1.3 + 0.29 * len(names)), sharey=True, squeeze=False
    )
    for axis, (title, table), goal in zip(axes[0], panels.items(), goals, strict=True):
        for row, name in enumerate(names):
            if name not in table.index:
                continue
            mean, low, high = (
                100 * table.at[name, column]
                for column in ("mean", f"mean_low_{cluster}", f"mean_high_{cluster}")
            )
            own = name in ("selector", "table")
            colour = COLOURS[0] if own else COLOURS[1] if name == "fixed" else COLOURS[7]
            axis.hlines(row, low, high, color=colour, linewidth=2.2 if own or name == "fixed" else 1.5)
            axis.plot(mean, row, color=colour, marker="o" if own else "D" if name == "fixed" else "s", **EDGE)
        axis.axvline(100 * goal, label="target", **GOAL)
        axis.set(title=title, xlabel="Mean regret (pp)")
        axis.set_xlim(left=-0.02 * axis.get_xlim()[1])
    axes[0, 0].set_yticks(np.arange(len(names)), list(names.values()))
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


@book_figure
def rate_scatter(frame: pd.DataFrame, groups: Sequence[str], target: float) -> Figure:
    """Draw estimated against true noise rates (%), a panel per kind of noise; clean labels stand in each.

    Parameters
    ----------
    frame : columns group, kind, realised_rate, estimate (fractions).
    groups : those that are drawn, in the order of the legend.
    target : error (fraction) within which the band lies.
    """
    plt = require("matplotlib.pyplot", "book")
    kinds = [kind for kind in ("symmetric", "asymmetric") if kind in set(frame["kind"])] or ["clean"]
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 4.2), sharey=True, squeeze=False)
    shown = frame[frame["group"].isin(groups)]
    top = 100 * max(shown["realised_rate"].max(), shown["estimate"].max()) + 3
    for axis, kind in zip(axes[0], kinds, strict=True):
        _diagonal(axis, top, 100 * target)
        part = shown[shown["kind"].isin([kind, "clean"])]
        for place, group in enumerate(groups):
            own, style = part[part["group"] == group], style_of(place)
            aside = SHIFT * (place - (len(groups) - 1) / 2)
            axis.plot(
                100 * own["realised_rate"] + aside, 100 * own["estimate"], linestyle="none",
                marker=style.marker, color=style.color, markersize=5, alpha=0.75, label=group, **EDGE,
            )  # fmt: skip
        axis.set(
            title=f"{noise_title(kind)} noise", xlabel="Wrong labels (%)", xlim=(-2, top), ylim=(-2, top)
        )
    axes[0, 0].set_ylabel("Estimated (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _diagonal(axis: Axes, top: float, band: float) -> None:
    ends = np.array([-2, top])
    axis.fill_between(ends, ends - band, ends + band, color=FAINT, lw=0, label=f"within {band:g} points")
    axis.plot(ends, ends, color=INK, linewidth=0.9, alpha=0.7, label="right")
