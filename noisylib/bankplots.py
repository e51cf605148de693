"""Figures of feature banks: tidy frames in, a matplotlib Figure out, in the style of the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plotstyle import COLOURS, FAINT, WIDTH, book_figure, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@book_figure
def class_sizes(counts: pd.DataFrame) -> Figure:
    """Draw the training samples per class of every dataset, log scale, largest class first.

    Dots and not bars: on a logarithmic axis the length of a bar means nothing.

    Parameters
    ----------
    counts : columns dataset, class, split, samples, from `describe.class_counts`.
    """
    plt = require("matplotlib.pyplot", "book")
    train = counts[counts["split"] == "train"]
    groups = {name: part.sort_values("samples") for name, part in train.groupby("dataset", sort=False)}
    heights = [len(part) + 1.2 for part in groups.values()]
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(WIDTH, 0.22 * sum(heights) + 0.5),
        sharex=True,
        squeeze=False,
        height_ratios=heights,
    )
    left = 10 ** np.floor(np.log10(train["samples"].min())) if len(train) else 1
    for axis, (name, part) in zip(axes[:, 0], groups.items(), strict=True):
        axis.hlines(part["class"], left, part["samples"], color=FAINT, linewidth=3)
        axis.plot(part["samples"], part["class"], "o", color=COLOURS[0], markersize=6)
        for klass, samples in zip(part["class"], part["samples"], strict=True):
            axis.annotate(
                f"{samples:,}", (samples, klass), xytext=(7, -3), textcoords="offset points", fontsize=8
            )
        axis.set_title(name)
        axis.set_ylim(-0.6, len(part) - 0.4)
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
    axis.set_xscale("log")
    axis.set_xlim(left, 2.2 * train["samples"].max())
    axis.set_xlabel("Training images (logarithmic scale)")
    return figure


@book_figure
def projections(points: pd.DataFrame) -> Figure:
    """Draw the 2-D map of every dataset's features, one colour and marker per class.

    Parameters
    ----------
    points : columns dataset, class, x, y.
    """
    plt = require("matplotlib.pyplot", "book")
    groups = dict(tuple(points.groupby("dataset", sort=False)))
    rows = -(-len(groups) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(WIDTH, 3.6 * rows), squeeze=False)
    for axis, (name, part) in zip(axes.flat, groups.items(), strict=False):
        # Rare classes on top: below hundreds of common ones they could not be seen.
        order = part["class"].value_counts().index
        for position, klass in enumerate(order):
            here, style = part[part["class"] == klass], style_of(position)
            axis.scatter(
                here["x"],
                here["y"],
                s=15,
                color=style.color,
                marker=style.marker,
                alpha=0.8,
                linewidths=0,
                label=klass,
            )
        axis.set_title(name)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(True)
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=min(4 if len(order) > 6 else 3, len(order)),
            handletextpad=0.1,
            columnspacing=0.8,
            fontsize=7.5,
        )
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    return figure
