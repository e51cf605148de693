"""Figures of mean ranks and of pairs of methods: which differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import EDGE, FAINT, INK, PAPER, WIDTH, book_figure, method_styles, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Diagram:
    """One critical-difference diagram.

    Attributes
    ----------
    title : which conditions these are.
    mean_ranks : method -> mean rank, best first.
    width : mean ranks farther apart than this differ.
    cliques : maximal groups of methods that do not differ.
    """

    title: str
    mean_ranks: Mapping[str, float]
    width: float
    cliques: Sequence[tuple[str, ...]]


@book_figure
def critical_differences(diagrams: Sequence[Diagram], titles: Mapping[str, str]) -> Figure:
    """Draw mean ranks on a line, one diagram per panel; bars join methods that do not differ."""
    plt = require("matplotlib.pyplot", "book")
    heights = [1.15 + 0.17 * len(d.cliques) + 0.25 * ((len(d.mean_ranks) + 1) // 2) for d in diagrams]
    figure, axes = plt.subplots(
        len(diagrams), figsize=(WIDTH, sum(heights)), squeeze=False, height_ratios=heights
    )
    for axis, diagram, height in zip(axes[:, 0], diagrams, heights, strict=True):
        k = len(diagram.mean_ranks)
        # Names stand outside the axes; the layout makes room for the longest.
        axis.set(xlim=(0.5, k + 0.5), ylim=(-(height - 0.95), 0.6))
        axis.set_axis_off()
        axis.set_title(diagram.title)
        _rank_axis(axis, k, diagram.width)
        below = 0.14
        for clique in diagram.cliques:
            ranks = [diagram.mean_ranks[name] for name in clique]
            span = (min(ranks) - 0.04, max(ranks) + 0.04)
            axis.plot(span, (-below, -below), color=INK, lw=4, solid_capstyle="butt", gid="clique")
            below += 0.17
        _leaders(axis, diagram.mean_ranks, titles, below + 0.12)
    return figure


def _rank_axis(axis: Axes, k: int, width: float) -> None:
    """Draw the line of ranks (heights are inches), and the critical difference above it."""
    axis.plot((1, k), (0, 0), color=INK, lw=1)
    for rank in range(1, k + 1):
        axis.plot((rank, rank), (0, 0.07), color=INK, lw=1)
        axis.text(rank, 0.1, str(rank), ha="center", va="bottom", fontsize=8.5)
    axis.plot((1, 1 + width), (0.42, 0.42), color=INK, lw=1.5, marker="|", markersize=7, gid="width")
    axis.text(1 + width + 0.1, 0.42, f"critical difference {width:.2f}", va="center", fontsize=8.5)


def _leaders(axis: Axes, mean_ranks: Mapping[str, float], titles: Mapping[str, str], top: float) -> None:
    """Lead from each rank to the method's name, the better half on the left, the best highest."""
    styles = method_styles(list(titles))
    k, names = len(mean_ranks), list(mean_ranks)
    half = (k + 1) // 2
    for position, name in enumerate(names):
        worse = position >= half
        row = k - 1 - position if worse else position
        rank, y, end = mean_ranks[name], -(top + 0.25 * row), k + 0.25 if worse else 0.75
        axis.plot((rank, rank, end), (0, y, y), color=INK, lw=0.8, zorder=1)
        style = styles[name]
        axis.plot(rank, 0, marker=style.marker, color=style.color, markersize=6.5, **EDGE, zorder=4)
        axis.plot(end, y, marker=style.marker, color=style.color, markersize=6.5, **EDGE)
        label = f"{rank:.2f}  {titles[name]}" if worse else f"{titles[name]}  {rank:.2f}"
        shift = 0.25
        axis.text(
            end + (shift if worse else -shift), y, label, ha="left" if worse else "right", va="center",
            fontsize=8.5,
        )  # fmt: skip


@book_figure
def rank_intervals(
    boot: pd.DataFrame,
    by_dataset: pd.DataFrame,
    titles: Mapping[str, str],
    dataset_titles: Mapping[str, str],
) -> Figure:
    """Draw the mean rank of each method with its interval, and its mean rank on each data set.

    Parameters
    ----------
    boot : index method; mean_rank, low, high, from `analysis.bootstrap.bootstrap_ranks`.
    by_dataset : methods x data sets, from `analysis.places.dataset_ranks`.
    """
    plt = require("matplotlib.pyplot", "book")
    order = list(boot["mean_rank"].sort_values(kind="stable").index)
    figure, axis = plt.subplots(figsize=(WIDTH, 1.3 + 0.34 * len(order)))
    y = np.arange(len(order))
    ranked = boot.loc[order]
    axis.hlines(y, ranked["low"], ranked["high"], color=INK, lw=5, alpha=0.22, label="interval")
    for position, name in enumerate(by_dataset):
        style = style_of(position)
        axis.plot(
            by_dataset.loc[order, name], y, linestyle="none", marker=style.marker, color=style.color,
            markersize=5.5, alpha=0.9, label=dataset_titles[name], **EDGE,
        )  # fmt: skip
    axis.plot(ranked["mean_rank"], y, linestyle="none", marker="|", color=INK, ms=16, mew=2.4, label="mean")
    axis.set_yticks(y, [titles[name] for name in order])
    axis.set(xlabel="Mean rank (1 is best)", xlim=(0.8, len(order) + 0.2), ylim=(len(order) - 0.5, -0.5))
    axis.set_xticks(range(1, len(order) + 1))
    axis.grid(axis="y", visible=False)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


@book_figure
def pair_matrices(
    tests: pd.DataFrame, bayes: pd.DataFrame, titles: Mapping[str, str], alpha: float
) -> Figure:
    """Draw the mean difference of every pair in points, and the probability that the row is better (%).

    Parameters
    ----------
    tests, bayes : from `pairwise.wilcoxon_holm` and `pairwise.bayesian_signed_rank`.
    titles : method -> title, best first.
    alpha : differences whose corrected p-value is not below it stand in brackets.
    """
    plt = require("matplotlib.pyplot", "book")
    names = list(titles)
    difference, p, better = _squares(tests, bayes, names)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.6 + 0.33 * len(names)), sharey=True)
    limit = max(0.1, 100 * float(np.nanmax(np.abs(difference))))
    bracketed = np.where(p < alpha, "{:+.1f}", "({:+.1f})")
    _matrix(axes[0], 100 * difference, bracketed, ("PuOr", -limit, limit), "Row minus column (pp)")
    _matrix(axes[1], 100 * better, np.full(p.shape, "{:.0f}"), ("YlGnBu", 0, 100), "Row is better (%)")
    for axis, title in zip(axes, ("Mean difference", "Bayesian signed rank"), strict=True):
        places = np.arange(len(names)) + 0.5
        axis.set_title(title)
        axis.set_xticks(places, list(titles.values()), rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(places, list(titles.values()))
        axis.set_ylim(len(names), 0)
    return figure


def _matrix(
    axis: Axes, values: np.ndarray, formats: np.ndarray, look: tuple[str, float, float], label: str
) -> None:
    """Draw values (k, k) as tiles with their numbers, (colour map, lowest, highest); NaN is left empty."""
    cmap, low, high = look
    image = axis.pcolormesh(values, cmap=cmap, vmin=low, vmax=high, edgecolor=PAPER, linewidth=1.2)
    luma = image.get_cmap()(image.norm(np.nan_to_num(values)))[..., :3] @ (0.299, 0.587, 0.114)
    for row, column in np.argwhere(~np.isnan(values)):
        text = formats[row, column].format(values[row, column])
        color = INK if luma[row, column] > 0.5 else PAPER
        axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5, color=color)
    axis.figure.colorbar(image, ax=axis, orientation="horizontal", label=label, shrink=0.85, pad=0.02)
    axis.set_facecolor(FAINT)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def _squares(
    tests: pd.DataFrame, bayes: pd.DataFrame, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (k, k) mean difference, corrected p-value and P(row better); NaN on the diagonal."""
    difference, p, better = (np.full((len(names), len(names)), np.nan) for _ in range(3))
    for pair in tests.itertuples():
        a, b = names.index(pair.a), names.index(pair.b)
        difference[a, b], difference[b, a] = pair.mean_difference, -pair.mean_difference
        p[a, b] = p[b, a] = pair.p_holm
    for pair in bayes.itertuples():
        a, b = names.index(pair.a), names.index(pair.b)
        better[a, b], better[b, a] = pair.p_a_better, pair.p_b_better
    return difference, p, better
