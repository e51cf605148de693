"""Figures of what a ranking depends on: moves of ranks, scores by variant, rates, class maps and margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import EDGE, INK, PAPER, WIDTH, book_figure, method_styles, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@book_figure
def rank_moves(moves: pd.DataFrame) -> Figure:
    """Draw how far each method's mean rank moved under each change; blue is towards the top.

    Parameters
    ----------
    moves : changes x methods (titles): mean rank after minus before.
    """
    plt, sns = require("matplotlib.pyplot", "book"), require("seaborn", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.5 + 0.31 * len(moves)))
    reach = max(1.0, float(moves.abs().to_numpy().max()))
    sns.heatmap(
        moves,
        ax=axis,
        annot=moves.map(lambda v: f"{v:+.1f}" if abs(v) >= 0.05 else "0"),
        fmt="",
        annot_kws={"size": 8},
        cmap="RdBu_r",
        vmin=-reach,
        vmax=reach,
        linewidths=1.2,
        linecolor=PAPER,
        cbar_kws={"label": "Change of mean rank", "shrink": 0.8, "pad": 0.02},
    )
    axis.set_xticklabels(moves.columns, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticklabels(moves.index, rotation=0)
    axis.tick_params(length=0)
    axis.set(xlabel="", ylabel="")
    return figure


@book_figure
def variant_dots(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the balanced accuracy (percent) of each method under each variant, a panel per condition.

    Parameters
    ----------
    frame : columns panel, variant, method, score (fraction), from `describe_arms.score_frame`.
    titles : method -> title, from the top down.
    """
    plt = require("matplotlib.pyplot", "book")
    panels, variants = list(frame["panel"].unique()), list(frame["variant"].unique())
    figure, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 1.2 + 0.3 * len(titles)), sharey=True, squeeze=False
    )
    places = np.arange(len(titles))
    for axis, panel in zip(axes[0], panels, strict=True):
        part = frame[frame["panel"] == panel]
        scores = 100 * part.pivot(index="method", columns="variant", values="score").loc[list(titles)]
        axis.hlines(places, scores.min(axis=1), scores.max(axis=1), color=INK, linewidth=0.8, alpha=0.5)
        for position, variant in enumerate(variants):
            if variant in scores:
                style = style_of(position)
                axis.plot(
                    scores[variant], places, linestyle="", marker=style.marker, color=style.color,
                    markersize=6, label=variant, **EDGE,
                )  # fmt: skip
        axis.set(title=panel, xlabel="Balanced accuracy (%)")
    axes[0, 0].set_yticks(places, list(titles.values()))
    axes[0, 0].set_ylim(len(titles) - 0.5, -0.5)
    _legend(figure, axes[0, 0], columns=len(variants))
    return figure


@book_figure
def rate_panels(
    frame: pd.DataFrame, titles: Mapping[str, str], scores: Mapping[str, tuple[str, float]]
) -> Figure:
    """Draw scores against the noise rate, a column per panel, a row per score, one line per method.

    Parameters
    ----------
    frame : one row per run with columns panel, noise_rate, method and the scores; lines are means.
    titles : method -> title, in the order of the legend.
    scores : column -> (axis label, factor), such as ("Balanced accuracy (%)", 100).
    """
    plt = require("matplotlib.pyplot", "book")
    panels, styles = list(frame["panel"].unique()), method_styles(list(titles))
    figure, axes = plt.subplots(
        len(scores), len(panels), figsize=(WIDTH, 0.7 + 2.5 * len(scores)), sharex=True, sharey="row",
        squeeze=False,
    )  # fmt: skip
    for row, (score, (label, factor)) in zip(axes, scores.items(), strict=True):
        for axis, panel in zip(row, panels, strict=True):
            means = frame[frame["panel"] == panel].groupby(["method", "noise_rate"])[score].mean() * factor
            for name, title in titles.items():
                line, style = means[name], styles[name]
                axis.plot(
                    100 * line.index, line, color=style.color, marker=style.marker,
                    linestyle=style.linestyle, label=title, **EDGE,
                )  # fmt: skip
            axis.set_xticks(100 * np.unique(frame["noise_rate"]))
        row[0].set_ylabel(label)
    for axis, panel in zip(axes[0], panels, strict=True):
        axis.set_title(panel)
    for axis in axes[-1]:
        axis.set_xlabel("Noise rate (%)")
    _legend(figure, axes[0, 0], columns=4)
    return figure


@book_figure
def purity_drops(drops: pd.DataFrame) -> Figure:
    """Draw the recall a class loses (points) against the purity of its label, one marker per map.

    Parameters
    ----------
    drops : columns panel, class, purity, drop (fractions), from `describe_arms.recall_drops`.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    axis.axvline(50, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axis.axhline(0, color=INK, linewidth=0.9)
    for position, (panel, part) in enumerate(drops.groupby("panel", sort=False)):
        style = style_of(position)
        x, y = 100 * part["purity"], 100 * part["drop"]
        axis.plot(
            x, y, linestyle="", marker=style.marker, color=style.color, markersize=7, label=panel, **EDGE
        )
        for name, here, there in zip(part["class"], x, y, strict=True):
            axis.annotate(name, (here, there), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axis.set(xlabel="Right labels among those of the class (%)", ylabel="Recall lost to the noise (points)")
    axis.set_xlim(0, 108)
    axis.margins(y=0.1)
    _legend(figure, axis, columns=3)
    return figure


@book_figure
def winner_margins(margins: pd.DataFrame) -> Figure:
    """Draw the lead of each condition's best method (points) against its standard error.

    Above the line it exceeds two standard errors; points below it are hollow.

    Parameters
    ----------
    margins : columns dataset (title), margin, standard_error (fractions) and clear, from
        `agreement.winner_margins`.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    for position, (name, part) in enumerate(margins.groupby("dataset", sort=False)):
        style = style_of(position)
        for clear, points in part.groupby("clear"):
            axis.plot(
                100 * points["standard_error"], 100 * points["margin"], linestyle="", marker=style.marker,
                markersize=5.5, markeredgecolor=style.color, markerfacecolor=style.color if clear else "none",
            )  # fmt: skip
        axis.plot([], [], linestyle="", marker=style.marker, color=style.color, label=name)
    top = 100 * margins["standard_error"].fillna(0).max() or 1.0
    axis.plot([0, top], [0, 2 * top], color=INK, linewidth=1, label="two standard errors")
    axis.set(xlabel="Standard error of the lead (points)", ylabel="Lead over the second (points)")
    _legend(figure, axis, columns=3)
    return figure


def _legend(figure: Figure, axis: Axes, columns: int) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), handlelength=2.6
    )
