"""Figures of what the choice of a method costs: the curve with its floors, and three heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.regret import CLEAN, RANDOM, REGIME
from noisylib.errors import require
from noisylib.plots import NOISE_ORDER, noise_title
from noisylib.plotstyle import COLOURS, INK, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = {
    "max": ("highest condition", {"color": COLOURS[3], "marker": "^", "linestyle": (0, (5, 1.5))}),
    "held_out": ("picked on other seeds", {"color": COLOURS[2], "marker": "D", "linestyle": (0, (3, 1))}),
    "floor": ("floor: names shuffled", {"color": COLOURS[4], "marker": "v", "linestyle": (0, (1.2, 1.2))}),
    "noise_floor": ("floor: seed noise", {"color": COLOURS[7], "marker": "s", "linestyle": (0, (1.2, 1.2))}),
}  # fmt: skip


@book_figure
def cost_curves(curve: pd.DataFrame, published: Mapping[tuple[str, float], float]) -> Figure:
    """Draw best minus worst method (pp) against the noise rate, a panel per kind of noise.

    Parameters
    ----------
    curve : from `analysis.cost.cost_curve`; what is NaN everywhere is not drawn.
    published : (noise type, rate) -> the paper's value, a fraction; "clean" stands at 0 in every panel.
    """
    plt = require("matplotlib.pyplot", "book")
    types = sorted(curve["noise_type"].unique(), key=NOISE_ORDER.index)
    figure, axes = plt.subplots(1, len(types), figsize=(WIDTH, 3.9), sharey=True, squeeze=False)
    for axis, noise_type in zip(axes[0], types, strict=True):
        part = curve[curve["noise_type"] == noise_type].sort_values("noise_rate")
        x = 100 * part["noise_rate"]
        _our_lines(axis, x, part)
        marked = {100 * rate: 100 * v for (kind, rate), v in published.items() if kind in (noise_type, CLEAN)}
        if marked:
            _stars(axis, marked)
        axis.set(title=f"{noise_title(noise_type)} noise", xlabel="Noise rate (%)")
        axis.set_xticks(x)
        axis.margins(x=0.13)
    axes[0, 0].set_ylabel("Best minus worst method (pp)")
    axes[0, 0].set_ylim(bottom=0)  # last, or the shared axis would stop at the first panel's highest point
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.4)
    return figure


def _our_lines(axis: Axes, x: pd.Series, part: pd.DataFrame) -> None:
    if part["low"].notna().any():
        low, high = 100 * part["low"], 100 * part["high"]
        axis.fill_between(x, low, high, color=COLOURS[0], alpha=0.18, lw=0, label="band over data sets")
    axis.plot(x, 100 * part["mean"], color=COLOURS[0], marker="o", linewidth=2.6, label="mean", zorder=4)
    for column, (label, style) in LINES.items():
        if part[column].notna().any():
            axis.plot(x, 100 * part[column], linewidth=1.3, markersize=4, label=label, **style)


def _stars(axis: Axes, marked: Mapping[float, float]) -> None:
    """Mark published values, rate -> points, each with its number."""
    axis.plot(
        list(marked), list(marked.values()), linestyle="none", marker="*", markersize=15, zorder=3,
        color=COLOURS[1], markeredgecolor=INK, markeredgewidth=0.7, label="the paper",
    )  # fmt: skip
    for rate, value in marked.items():
        axis.annotate(
            f"{value:.1f}", (rate, value), xytext=(-10, 0), textcoords="offset points", ha="right",
            va="center", fontsize=8, bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip


@book_figure
def cost_heatmap(matrix: pd.DataFrame) -> Figure:
    """Draw the cost (pp) of every data set and backbone under every noise type and rate.

    Parameters
    ----------
    matrix : (data set, backbone) titles x (noise type, rate), in points; "clean" first.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.27 * len(matrix)))
    names = [", ".join(pair) for pair in matrix.index]
    _heatmap(axis, matrix.set_axis(names, axis=0), "{:.1f}", cmap="YlOrRd", vmin=0)
    groups = matrix.index.get_level_values(0).to_numpy()
    for row in np.flatnonzero(groups[1:] != groups[:-1]) + 1:
        axis.axhline(row, color=INK, linewidth=0.9)
    return figure


@book_figure
def regret_heatmap(matrix: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the mean regret (pp) of always choosing one method, under every noise type and rate.

    Parameters
    ----------
    matrix : methods x (noise type, rate), in points.
    titles : method -> title, in the order of the rows.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.3 * len(titles)))
    _heatmap(axis, matrix.loc[list(titles)].rename(index=titles), "{:.1f}", cmap="YlOrRd", vmin=0)
    if RANDOM in titles:
        axis.axhline(list(titles).index(RANDOM), color=INK, linewidth=0.9)
    return figure


@book_figure
def extremes_heatmaps(counts: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw in how many conditions each method is best (left) and worst (right).

    Parameters
    ----------
    counts : from `analysis.regret.extremes`.
    titles : method -> title, in the order of the rows.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.3 + 0.3 * len(titles)), sharey=True)
    most = counts["n_conditions"].max()
    for axis, column, cmap in ((axes[0], "best", "Blues"), (axes[1], "worst", "Oranges")):
        wide = counts.pivot(index="method", columns=REGIME, values=column)
        order = (CLEAN, *NOISE_ORDER)
        wide = wide[sorted(wide.columns, key=lambda regime: (order.index(regime[0]), regime[1]))]
        _heatmap(
            axis, wide.loc[list(titles)].rename(index=titles).round(1), "{:g}", cmap=cmap, vmin=0, vmax=most
        )
        axis.set_title(f"Conditions where it is {column}", pad=18)
    return figure


def _heatmap(axis: Axes, matrix: pd.DataFrame, form: str, **look: object) -> None:
    """Draw numbers in a grid; rates stand under it, kinds of noise above it, rules between these."""
    sns = require("seaborn", "book")
    values = matrix.to_numpy(float)
    text = np.vectorize(lambda v: "" if v == 0 and form != "{:.1f}" else form.format(v))(values)
    sns.heatmap(
        values, ax=axis, annot=text, fmt="", annot_kws={"size": 8}, cbar=False, linewidths=0.8,
        linecolor=PAPER, **look,
    )  # fmt: skip
    for number, colour in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        # seaborn turns to white too early: at .18 ink and paper have the same contrast.
        number.set_color(PAPER if sns.utils.relative_luminance(colour) < 0.18 else INK)
    types = [kind for kind, _ in matrix.columns]
    rates = ["0" if kind == CLEAN else f"{100 * rate:g}" for kind, rate in matrix.columns]
    axis.set_xticks(np.arange(len(rates)) + 0.5, rates, rotation=0)
    axis.set_yticks(np.arange(len(matrix)) + 0.5, list(matrix.index), rotation=0)
    axis.tick_params(length=0)
    axis.set(xlabel="Noise rate (%)", ylabel="")
    for kind in dict.fromkeys(types):
        places = [i for i, other in enumerate(types) if other == kind]
        axis.text(np.mean(places) + 0.5, -0.12, noise_title(kind), ha="center", va="bottom", fontsize=8.5)
        if places[0]:
            axis.axvline(places[0], color=INK, linewidth=0.9)
