"""Figures of results and of noise: tidy frames or arrays in, a matplotlib Figure out, in one style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import INK, PAPER, WIDTH, book_figure, method_styles, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOISE_ORDER = ("symmetric", "pairflip", "asymmetric", "instance", "human")
NOISE_TITLES = {"pairflip": "Pair flip"}
WARNING = "#d55e00"


def noise_title(noise_type: str) -> str:
    """Return the noise type as a heading."""
    return NOISE_TITLES.get(noise_type, noise_type[:1].upper() + noise_type[1:])


@book_figure
def accuracy_curves(
    summary: pd.DataFrame, titles: Mapping[str, str], *, chance: float, majority: float | None = None
) -> Figure:
    """Draw accuracy and balanced accuracy (percent) against the noise rate, one line per method.

    Parameters
    ----------
    summary : of one dataset, backbone and head, from `tables.summarise`; bands are one standard deviation.
    titles : method -> title, in the order of the legend.
    chance : balanced accuracy of a constant answer, 1 / K.
    majority : accuracy of always answering the largest class of the test split.
    """
    plt = require("matplotlib.pyplot", "book")
    types = sorted(summary["noise_type"].unique(), key=NOISE_ORDER.index)
    rows = (
        ("balanced_accuracy", "Balanced accuracy (%)", chance, "chance"),
        ("accuracy", "Accuracy (%)", majority, "always the largest class"),
    )
    figure, axes = plt.subplots(
        2, len(types), figsize=(WIDTH, 5.8), sharex="col", sharey="row", squeeze=False
    )
    for (row, (score, label, floor, floor_name)), (column, noise_type) in product(
        enumerate(rows), enumerate(types)
    ):
        axis, part = axes[row, column], summary[summary["noise_type"] == noise_type]
        _score_lines(axis, part, score, titles)
        if floor is not None:
            _floor(axis, 100 * floor, floor_name if column == 0 else "")
        axis.set_xticks(100 * np.sort(part["noise_rate"].unique()))
        axis.locator_params(axis="y", nbins=6, integer=True)
        if row == 0:
            axis.set_title(f"{noise_title(noise_type)} noise")
        else:
            axis.set_xlabel("Noise rate (%)")
        if column == 0:
            axis.set_ylabel(label)
    _legend_below(figure, axes[0, 0])
    return figure


def _score_lines(axis: Axes, part: pd.DataFrame, score: str, titles: Mapping[str, str]) -> None:
    styles = method_styles(list(titles))
    for method, title in titles.items():
        line = part[part["method"] == method].sort_values("noise_rate")
        x, mean = 100 * line["noise_rate"], 100 * line[f"{score}_mean"]
        sd, style = 100 * line[f"{score}_sd"].fillna(0), styles[method]
        axis.fill_between(x, mean - sd, mean + sd, color=style.color, alpha=0.13, linewidth=0)
        axis.plot(
            x,
            mean,
            color=style.color,
            marker=style.marker,
            linestyle=style.linestyle,
            markeredgecolor=PAPER,
            markeredgewidth=0.6,
            label=title,
        )


def _floor(axis: Axes, level: float, name: str) -> None:
    """Draw a horizontal reference line with its name at the left."""
    axis.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    place = axis.get_yaxis_transform()
    axis.annotate(name, (0.01, level), xycoords=place, xytext=(0, 2), textcoords="offset points", fontsize=8)


def _legend_below(figure: Figure, axis: Axes, columns: int = 5) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), handlelength=3.2
    )


@book_figure
def recall_heatmap(recall: pd.DataFrame, test_counts: Sequence[int]) -> Figure:
    """Draw recall (percent) of every method and class; a class that is never found is framed.

    Parameters
    ----------
    recall : methods x classes, in [0, 1], from `tables.recall_frame`.
    test_counts : (K,) test samples per class, written under the class name.
    """
    plt, sns = require("matplotlib.pyplot", "book"), require("seaborn", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.3 + 0.36 * len(recall)))
    shown = 100 * recall
    sns.heatmap(
        shown,
        ax=axis,
        annot=True,
        fmt=".0f",
        vmin=0,
        vmax=100,
        cmap="YlGnBu",
        linewidths=1.2,
        linecolor=PAPER,
        cbar_kws={"label": "Recall (%)", "shrink": 0.9, "pad": 0.02},
    )
    for row, column in zip(*np.nonzero(shown.to_numpy() == 0), strict=True):
        axis.add_patch(
            plt.Rectangle((column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor=WARNING, lw=2)
        )
    labels = [f"{name}\n(n = {n})" for name, n in zip(recall.columns, test_counts, strict=True)]
    crowded = len(labels) > 5
    axis.set_xticks(
        np.arange(len(labels)) + 0.5,
        labels,
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axis.tick_params(length=0)
    axis.set_yticks(np.arange(len(recall)) + 0.5, recall.index, rotation=0)
    axis.set(xlabel="", ylabel="")
    return figure


@book_figure
def transition_heatmaps(
    matrices: Mapping[str, np.ndarray], class_names: Sequence[str], *, brightest: float = 100.0
) -> Figure:
    """Draw transition matrices in percent, true class down, observed class across, a panel each.

    Parameters
    ----------
    matrices : noise type or title -> (K, K) with rows summing to 1; what rounds to 0 % is not written.
    brightest : percent at which the colours end.
    """
    plt, sns = require("matplotlib.pyplot", "book"), require("seaborn", "book")
    size = len(class_names)
    figure, axes = plt.subplots(
        1, len(matrices), figsize=(WIDTH, 1.1 + WIDTH / len(matrices)), sharey=True, squeeze=False
    )
    for axis, (title, T) in zip(axes[0], matrices.items(), strict=True):
        percent = 100 * np.asarray(T)
        text = np.where(percent >= 0.5, np.char.mod("%.0f", percent), "")
        sns.heatmap(
            percent,
            ax=axis,
            annot=text if size <= 12 else False,
            fmt="",
            annot_kws={"size": 8},
            vmin=0,
            vmax=brightest,
            cmap="Blues",
            square=True,
            cbar=False,
            linewidths=0.8,
            linecolor=PAPER,
            xticklabels=list(class_names),
            yticklabels=list(class_names),
        )
        axis.set_title(noise_title(title))
        axis.tick_params(length=0)
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(axis="y", rotation=0)
        axis.set_xlabel("Observed class")
    axes[0, 0].set_ylabel("True class")
    return figure


@book_figure
def purity_curves(purity: pd.DataFrame, rate: float) -> Figure:
    """Draw P(true = c | observed = c) against the share of the class, a panel per kind of noise.

    Parameters
    ----------
    purity : columns noise, class, share (of the clean training labels), purity; fractions.
    rate : noise rate of all of them; the curve in the symmetric panel is its closed form.
    """
    plt = require("matplotlib.pyplot", "book")
    groups = dict(tuple(purity.groupby("noise", sort=False)))
    figure, axes = plt.subplots(1, len(groups), figsize=(WIDTH, 3.3), sharey=True, squeeze=False)
    for position, (axis, (name, part)) in enumerate(zip(axes[0], groups.items(), strict=True)):
        axis.axhspan(0, 50, color=WARNING, alpha=0.08, linewidth=0)
        axis.axhline(50, color=WARNING, linewidth=1, linestyle=(0, (4, 2)))
        if name == "symmetric":
            share, wrong = np.geomspace(0.005, 0.99, 200), rate / (len(part) - 1)
            expected = share * (1 - rate) / (share * (1 - rate) + (1 - share) * wrong)
            axis.plot(100 * share, 100 * expected, color=INK, linewidth=1, label="expected")
        style = style_of(position)
        axis.scatter(
            100 * part["share"], 100 * part["purity"], color=style.color, marker=style.marker, s=34, zorder=3
        )
        ordered = part.sort_values("share")
        for rank, (klass, x, y) in enumerate(
            zip(ordered["class"], 100 * ordered["share"], 100 * ordered["purity"], strict=True)
        ):
            # Sides in turn, because classes of like size lie on top of each other; never out of the axes.
            offset, side = ((5, -8), "left") if rank % 2 and x < 30 else ((-5, 4), "right")
            axis.annotate(klass, (x, y), xytext=offset, textcoords="offset points", fontsize=8, ha=side)
        axis.set_xscale("log")
        axis.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axis.minorticks_off()
        axis.set(title=noise_title(name), xlabel="Share of the class (%)", xlim=(0.5, 140), ylim=(0, 106))
    axes[0, 0].set_ylabel("Right labels among\nthose of the class (%)")
    return figure
