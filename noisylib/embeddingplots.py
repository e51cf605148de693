"""Figures of the report on one's own embeddings: methods, transition matrix with risks, doubt in labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import COLOURS, EDGE, INK, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 20  # letters of a class's name
NUMBERED = 12  # classes up to which cells hold their number
NAMED = 40  # classes up to which each has its name; of more, every second, third, ...
LIMIT = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}


@book_figure
def regret_dots(ranking: pd.DataFrame) -> Figure:
    """Draw the expected regret of each method with its interval, in points, the recommended one on top.

    Parameters
    ----------
    ranking : columns title, regret, low and high (fractions), the recommended method first.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.0 + 0.27 * len(ranking)))
    places = np.arange(len(ranking))[::-1]
    regret, low, high = (100 * ranking[name].to_numpy() for name in ("regret", "low", "high"))
    colours = [COLOURS[0]] + [COLOURS[7]] * (len(ranking) - 1)
    axis.hlines(places, low, high, colors=colours, linewidth=2.2)
    # The mean of skewed outcomes may lie outside of where eight of ten of them are.
    for name, part, marker in (("recommended", slice(0, 1), "o"), ("other methods", slice(1, None), "D")):
        if len(places[part]):
            style = {"color": colours[part][0], "marker": marker}
            axis.plot(
                regret[part],
                places[part],
                linestyle="",
                markersize=7,
                label=name,
                clip_on=False,
                **style,
                **EDGE,
            )
    axis.set_yticks(places, ranking["title"])
    axis.set(
        xlabel="Expected points below the best method, and 8 of 10 cases", ylim=(-0.6, len(ranking) - 0.4)
    )
    axis.set_xlim(min(0, low.min()), None)
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@book_figure
def noise_and_risk(
    matrices: Mapping[str, np.ndarray], class_names: Sequence[object], risk: np.ndarray, limit: float
) -> Figure:
    """Draw transition matrices in percent beside the risk of each class; a row is a true class.

    Parameters
    ----------
    matrices : title -> (K, K), rows sum to 1.
    class_names : K names, shortened if need be.
    risk : (K,) probability that the class is never predicted.
    limit : risk from which a class counts as in danger.
    """
    plt = require("matplotlib.pyplot", "book")
    K, n = len(class_names), len(matrices)
    size = (WIDTH, 2.0 + min(0.34 * K, 5.0))
    ratios = [1.0] * n + [0.55]
    figure, axes = plt.subplots(1, n + 1, figsize=size, sharey=True, width_ratios=ratios)
    names = [short(name) for name in class_names]
    step = -(-K // NAMED)
    for axis, (title, T) in zip(axes, matrices.items(), strict=False):
        _matrix(axis, 100 * np.asarray(T))
        axis.set_title(title)
        axis.set_xticks(np.arange(0, K, step), names[::step], rotation=90)
        axis.set_xlabel("Observed class")
    axes[0].set_yticks(np.arange(0, K, step), names[::step])
    axes[0].set_ylabel("True class")
    _risks(axes[-1], 100 * np.asarray(risk), 100 * limit)
    return figure


def _matrix(axis: Axes, percent: np.ndarray) -> None:
    """Draw one matrix with its first class on top; cells below half a percent stay empty."""
    axis.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    if len(percent) <= NUMBERED:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            colour = PAPER if value > 55 else INK
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)


def _risks(axis: Axes, percent: np.ndarray, limit: float) -> None:
    """Draw a bar for the risk of each class, hatched if it is above the limit."""
    places = np.arange(len(percent))
    above = percent > limit
    bars = axis.barh(places, percent, 0.7, color=np.where(above, COLOURS[3], COLOURS[5]), edgecolor=INK)
    for bar, risky in zip(bars, above, strict=True):
        bar.set(hatch="///" if risky else None, linewidth=0.5)
    axis.axvline(limit, **LIMIT)
    if len(percent) <= NUMBERED:
        paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
        axis.bar_label(bars, fmt="%.0f", fontsize=8, padding=3, bbox=paper)
    axis.set(title="Risk", xlabel="Never predicted (%)", xlim=(0, max(100 * 0.3, 1.25 * percent.max())))
    axis.tick_params(axis="y", length=0, labelleft=False)
    axis.grid(axis="y", visible=False)


@book_figure
def doubt_histogram(probability: np.ndarray, limit: float, wrong: np.ndarray | None = None) -> Figure:
    """Draw how many labels have which probability of being right, in 20 steps; those below are flagged.

    Parameters
    ----------
    probability : (N,) that each label is right.
    limit : labels less likely right than this are flagged.
    wrong : (N,) bool, if it is known; wrong labels then stand on top of right ones.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
    edges = np.linspace(0, 1, 21)
    groups = {"labels": (np.ones(len(probability), bool), COLOURS[5], "")}
    if wrong is not None:
        groups = {"right labels": (~wrong, COLOURS[5], ""), "wrong labels": (wrong, COLOURS[3], "///")}
    base = np.zeros(len(edges) - 1)
    for name, (members, colour, hatch) in groups.items():
        counts = np.histogram(probability[members], edges)[0]
        style = {"color": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.5}
        axis.bar(edges[:-1], counts, np.diff(edges), bottom=base, align="edge", label=name, **style)
        base = base + counts
    axis.axvline(limit, label="flagged to the left", **LIMIT)
    axis.set(xlabel="Probability that the label is right", ylabel="Labels", xlim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def short(name: object) -> str:
    """Return a class's name, cut if it is too long for an axis."""
    text = str(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
