"""Figures of dead classes: two accuracies, recall per class, what is kept, and what drives the collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import (
    COLOURS,
    DASHES,
    EDGE,
    INK,
    MARKERS,
    PAPER,
    WIDTH,
    Style,
    book_figure,
    method_styles,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RING = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 0.9}
REFERENCE = {"color": INK, "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 1}
NO_MAP = Style(INK, "o", "-")


def few_styles(names: Sequence[str]) -> dict[str, Style]:
    """Return the registry's styles, except that no two of these methods have one colour.

    A method whose colour is taken by one before it gets the first free one; markers and dashes stay.
    """
    chosen: dict[str, Style] = {}
    for name, style in method_styles(names).items():
        taken = {other.color for other in chosen.values()}
        free = [style.color, *(color for color in COLOURS if color not in taken), style.color]
        color = free[0] if style.color not in taken else free[1]
        chosen[name] = Style(color, style.marker, style.linestyle)
    return chosen


def map_styles(names: Sequence[str]) -> dict[str, Style]:
    """Return a style for each class map, by its place."""
    return {
        name: Style(COLOURS[2 + i], MARKERS[2 + i], DASHES[i % len(DASHES)]) for i, name in enumerate(names)
    }


@book_figure
def two_accuracies(rows: pd.DataFrame, titles: Mapping[str, str], floor: tuple[float, float]) -> Figure:
    """Draw accuracy against balanced accuracy (percent), one mark per method and seed, and the diagonal.

    Parameters
    ----------
    rows : columns method, accuracy, balanced_accuracy, dead_classes; fractions. Runs with a dead class get
        a ring.
    titles : method -> title, in the order of the legend.
    floor : accuracy and balanced accuracy of always answering the largest class; fractions.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 4.0))
    axis.axline((0, 0), slope=1, **REFERENCE, label="equal")
    axis.plot(*(100 * np.array(floor)), "+", color=INK, markersize=10, label="always the largest class")
    for name, style in few_styles(list(titles)).items():
        part = rows[rows["method"] == name]
        x, y = 100 * part["accuracy"], 100 * part["balanced_accuracy"]
        axis.plot(x, y, style.marker, color=style.color, markersize=7.5, label=titles[name], **EDGE)
    dead = rows[rows["dead_classes"] > 0]
    if len(dead):
        x, y = 100 * dead["accuracy"], 100 * dead["balanced_accuracy"]
        axis.plot(x, y, "o", markersize=13, label="a class is dead", **RING)
    shown = 100 * np.r_[rows[["accuracy", "balanced_accuracy"]].to_numpy().ravel(), floor]
    margin = 0.06 * max(np.ptp(shown), 5)
    ends = (shown.min() - margin, shown.max() + margin)  # of both axes, or the diagonal would be out of sight
    axis.set(xlim=ends, ylim=ends)
    axis.set(xlabel="Accuracy (%)", ylabel="Balanced accuracy (%)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@book_figure
def class_recalls(
    recalls: pd.DataFrame,
    dead: pd.DataFrame,
    headings: Mapping[int, str],
    titles: Mapping[str, str],
    decays: Sequence[int],
) -> Figure:
    """Draw recall (percent) of each class against the epoch, and the number of dead classes last.

    Parameters
    ----------
    recalls, dead : from `describe_collapse.recall_frame` and `dead_frame`.
    headings : class -> heading of its panel, in the order of the panels.
    titles : method -> title, in the order of the legend.
    decays : epochs after which the learning rate falls.
    """
    plt = require("matplotlib.pyplot", "book")
    columns = 3
    rows = -(-(len(headings) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 0.8 + 1.75 * rows), sharex=True, squeeze=False)
    panels = list(axes.flat)
    for axis, (klass, heading) in zip(panels, headings.items(), strict=False):
        _epoch_lines(axis, recalls[recalls["class"] == klass], "recall", 100, titles)
        axis.set_ylim(-4, 104)
        axis.set_title(heading, fontsize=8.5)
    last = panels[len(headings)]
    _epoch_lines(last, dead, "dead", 1, titles)
    last.set_title("Dead classes\n(number, this epoch)", fontsize=8.5)
    last.set_ylim(-0.15, max(1.0, dead["dead"].max()) + 0.15)
    last.locator_params(axis="y", integer=True)
    for axis in panels[len(headings) + 1 :]:
        axis.remove()
    for axis in panels[: len(headings) + 1]:
        for epoch in decays:
            axis.axvline(epoch + 0.5, color=INK, linewidth=0.5, alpha=0.35)
    for place in range(max(0, len(headings) + 1 - columns), len(headings) + 1):
        axis = panels[place]
        axis.set_xlabel("Epoch" if place // columns == rows - 1 else "")  # or the rows would stand apart
        axis.tick_params(labelbottom=True)
        axis.locator_params(axis="x", integer=True, nbins=6)
    figure.supylabel("Recall on the test split (%)", fontsize=9)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, handlelength=3.2)
    return figure


def _epoch_lines(
    axis: Axes, frame: pd.DataFrame, column: str, scale: float, titles: Mapping[str, str]
) -> None:
    """Draw the mean over seeds of `column`, one line per method, with marks at intervals."""
    for i, (name, style) in enumerate(few_styles(list(titles)).items()):
        mean = scale * frame[frame["method"] == name].groupby("epoch")[column].mean()
        every = max(1, len(mean) // 4)
        axis.plot(
            mean.index, mean, color=style.color, linestyle=style.linestyle, marker=style.marker,
            linewidth=1.3, markersize=5, markevery=(i * every // max(1, len(titles)), every),
            label=titles[name], **EDGE,
        )  # fmt: skip


@book_figure
def kept_and_recalled(kept: pd.DataFrame, ticks: Mapping[int, str], titles: Mapping[str, str]) -> Figure:
    """Draw, per class, the share of its right labels that is kept, if any method selects, and its recall.

    Parameters
    ----------
    kept : columns method, class, kept (NaN: the method does not select), recall; fractions.
    ticks : class -> what stands at its row, in the order from the top.
    titles : method -> title, in the order of the legend.
    """
    plt = require("matplotlib.pyplot", "book")
    size = (WIDTH, 1.5 + 0.48 * len(ticks))
    panels = {"kept": "Right labels kept (%)", "recall": "Recall on the test split (%)"}
    if kept["kept"].isna().all():
        del panels["kept"]
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    styles, place = few_styles(list(titles)), {klass: i for i, klass in enumerate(ticks)}
    shifts = np.linspace(-0.26, 0.26, len(titles)) if len(titles) > 1 else [0.0]
    for (name, style), shift in zip(styles.items(), shifts, strict=True):
        part = kept[(kept["method"] == name) & kept["class"].isin(place)]
        y = part["class"].map(place) + shift
        for axis, column in zip(axes[0], panels, strict=True):
            look = {"color": style.color, "markersize": 6, "label": titles[name]}
            axis.plot(100 * part[column], y, style.marker, **look, **EDGE)
    for axis, title in zip(axes[0], panels.values(), strict=True):
        axis.set(title=title, xlim=(-3, 103), ylim=(len(ticks) - 0.5, -0.5))
        axis.set_yticks(range(len(ticks)), list(ticks.values()))
        axis.grid(axis="y", visible=False)
        axis.hlines(np.arange(len(ticks) - 1) + 0.5, -3, 103, color=INK, linewidth=0.3, alpha=0.4)
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@book_figure
def score_gaps(gaps: pd.DataFrame, datasets: Mapping[str, str]) -> Figure:
    """Draw what Co-teaching gains on CE in accuracy and in balanced accuracy (points), a mark per condition.

    Parameters
    ----------
    gaps : columns dataset, noise_type, noise_rate, accuracy, balanced_accuracy, dead_classes; a ring means
        that a class or more is dead on average, hollow marks are symmetric, large ones the higher rate.
    datasets : data set -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.axline((0, 0), slope=1, **REFERENCE)
    top = gaps["noise_rate"].max()
    for row in gaps.itertuples():
        place = list(datasets).index(row.dataset)
        color, full = COLOURS[3 * place], row.noise_type != "symmetric"
        axis.plot(
            row.accuracy, row.balanced_accuracy, MARKERS[place], color=color,
            markerfacecolor=color if full else PAPER, markeredgecolor=INK if full else color,
            markeredgewidth=0.5 if full else 1.2, markersize=8 if row.noise_rate == top else 5,
        )  # fmt: skip
        if row.dead_classes >= 1:
            axis.plot(row.accuracy, row.balanced_accuracy, "o", markersize=14, **RING)
    axis.set(
        xlabel="Accuracy: Co-teaching minus CE (pp)", ylabel="Balanced accuracy: Co-teaching minus CE (pp)"
    )
    figure.legend(handles=_gap_legend(datasets), loc="outside lower center", ncols=3, handletextpad=0.5)
    return figure


def _gap_legend(datasets: Mapping[str, str]) -> list:
    plt = require("matplotlib.pyplot", "book")
    line = plt.Line2D
    return [
        *(
            line([], [], linestyle="", marker=MARKERS[i], color=COLOURS[3 * i], label=title)
            for i, title in enumerate(datasets.values())
        ),
        line([], [], linestyle="", marker="o", color=PAPER, markeredgecolor=INK, label="hollow: symmetric"),
        line([], [], linestyle="", marker="o", color=INK, markersize=8, label="large: higher rate"),
        line([], [], linestyle="", marker="o", markersize=11, label="ring: a dead class or more", **RING),
        line([], [], **REFERENCE, label="equal gains"),
    ]  # fmt: skip
