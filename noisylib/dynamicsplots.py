"""Figures of training dynamics: what is learned of right and wrong labels, and what is selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from noisylib.errors import require
from noisylib.plotstyle import EDGE, INK, WIDTH, book_figure, method_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = {"color": INK, "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 1}


@book_figure
def learning_curves(
    fit: pd.DataFrame, titles: Mapping[str, str], floors: Mapping[str, float], decays: Sequence[int]
) -> Figure:
    """Draw what networks say of their training samples, and their test score, against the epoch.

    Parameters
    ----------
    fit : columns method, seed, epoch and the four fractions, from `traces.fit_frame`.
    titles : method -> title, in the order of the legend.
    floors : column -> what always answering the largest class gives, a fraction.
    decays : epochs after which the learning rate falls.
    """
    plt = require("matplotlib.pyplot", "book")
    panels = {
        "clean_learned": "Right labels: learned (%)",
        "memorised": "Wrong labels: memorised (%)",
        "recovered": "Wrong labels: recovered (%)",
        "balanced_accuracy": "Test: balanced accuracy (%)",
    }
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.9), sharex=True)
    for axis, (column, title) in zip(axes.flat, panels.items(), strict=True):
        _epoch_lines(axis, fit, column, titles)
        axis.axhline(100 * floors[column], **REFERENCE)
        for epoch in decays:
            axis.axvline(epoch + 0.5, color=INK, linewidth=0.5, alpha=0.35)
        axis.set_title(title)
    _legend(figure, axes[0, 0], "always the largest class")
    for axis in axes[1]:
        _epoch_axis(axis)
    return figure


@book_figure
def selection_curves(selection: pd.DataFrame, titles: Mapping[str, str], right: float) -> Figure:
    """Draw how much a method selects, and how much of that is right, against the epoch.

    Parameters
    ----------
    selection : columns method, seed, epoch, selected, precision, from `traces.selection_frame`.
    titles : method -> title, in the order of the legend.
    right : fraction of right labels: what a perfect selection keeps, and the precision of a random one.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharex=True)
    for axis, column, title in (
        (axes[0], "selected", "Selected samples (%)"),
        (axes[1], "precision", "Right labels among them (%)"),
    ):
        _epoch_lines(axis, selection, column, titles)
        axis.axhline(100 * right, **REFERENCE)
        axis.set_title(title)
        _epoch_axis(axis)
    _legend(figure, axes[0], "all right labels, or a random selection")
    return figure


def _epoch_lines(axis: Axes, frame: pd.DataFrame, column: str, titles: Mapping[str, str]) -> None:
    """Draw the mean over seeds of `column` (percent), one line per method, bands from lowest to highest."""
    styles = method_styles(list(titles))
    for name, title in titles.items():
        seeds = 100 * frame[frame["method"] == name].pivot(index="epoch", columns="seed", values=column)
        style, epochs = styles[name], seeds.index
        every = max(1, len(epochs) // 6)
        axis.fill_between(epochs, seeds.min(axis=1), seeds.max(axis=1), color=style.color, alpha=0.15, lw=0)
        axis.plot(
            epochs,
            seeds.mean(axis=1),
            color=style.color,
            marker=style.marker,
            linestyle=style.linestyle,
            linewidth=1.5,
            markevery=(list(titles).index(name) % every, every),
            markersize=6.5,
            label=title,
            **EDGE,
        )


def _epoch_axis(axis: Axes) -> None:
    axis.set_xlabel("Epoch")
    axis.locator_params(axis="x", integer=True)


def _legend(figure: Figure, axis: Axes, reference: str) -> None:
    plt = require("matplotlib.pyplot", "book")
    handles, labels = axis.get_legend_handles_labels()
    handles.append(plt.Line2D([], [], **(REFERENCE | {"linewidth": 1.3}), label=reference))
    columns = min(4, len(handles))
    figure.legend(handles, [*labels, reference], loc="outside lower center", ncols=columns, handlelength=3.2)
