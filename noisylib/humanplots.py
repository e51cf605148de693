"""Figures of labels that people gave: who is taken for whom, how often, and what it does to methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import transition_heatmaps
from noisylib.plotstyle import COLOURS, EDGE, INK, MARKERS, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BRIGHTEST = 30.0  # percent: the end of the colours, so that errors can be told apart beside a full diagonal
TITLES = {"human": "people", "symmetric": "symmetric"}


def transition_maps(matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw matrices by title as `plots.transition_heatmaps` does, with colours for small rates."""
    return transition_heatmaps(matrices, class_names, brightest=BRIGHTEST)


@book_figure
def class_rates(rates: pd.DataFrame) -> Figure:
    """Draw the error rate of each class (rows) under each set of labels (columns), fractions."""
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.3 * len(rates)))
    places = np.arange(len(rates))[::-1]
    for i, name in enumerate(rates):
        style = {"color": COLOURS[i], "marker": MARKERS[i]}
        axis.plot(100 * rates[name], places, linestyle="", markersize=7, label=name, **style, **EDGE)
        mean = 100 * rates[name].mean()
        axis.axvline(mean, color=COLOURS[i], linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axis.set_yticks(places, rates.index)
    axis.set(xlabel="Wrong labels of the class (%); dotted: mean of the classes", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=len(rates.columns))
    return figure


@book_figure
def right_votes(found: Sequence[float], expected: Sequence[float]) -> Figure:
    """Draw how many images 0, 1, ... people label right, beside what class and person alone would make."""
    plt = require("matplotlib.pyplot", "book")
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    figure, axis = plt.subplots(figsize=(WIDTH, 2.7))
    places = np.arange(len(found))
    for shift, values, name, colour in (
        (-0.2, found, "counted", COLOURS[0]),
        (0.2, expected, "if errors depended on class and person only", COLOURS[1]),
    ):
        bars = axis.bar(
            places + shift, 100 * values / values.sum(), 0.38, color=colour, edgecolor=INK, label=name
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=8, padding=1)
    axis.set_xticks(places, [f"{n} right" for n in places])
    axis.margins(y=0.15)
    axis.set_ylabel("Images (%)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@book_figure
def method_scores(scores: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw balanced accuracy of methods under people's errors and symmetric noise, a panel per set of labels.

    Parameters
    ----------
    scores : columns labels, noise, method, seed, balanced_accuracy (a fraction); small dots are seeds.
    titles : method -> title, from top to bottom.
    """
    plt = require("matplotlib.pyplot", "book")
    sets = list(dict.fromkeys(scores["labels"]))
    size = (WIDTH, 1.3 + 0.32 * len(titles))
    figure, axes = plt.subplots(1, len(sets), figsize=size, sharey=True, sharex=True, squeeze=False)
    for axis, name in zip(axes[0], sets, strict=True):
        for i, (noise, title) in enumerate(TITLES.items()):
            part = scores[(scores["labels"] == name) & (scores["noise"] == noise)]
            shift = 0.13 - 0.26 * i
            for place, method in enumerate(reversed(titles)):
                values = 100 * part.loc[part["method"] == method, "balanced_accuracy"].to_numpy()
                dots = np.full(len(values), place + shift)
                axis.plot(values, dots, linestyle="", marker=".", markersize=4, color=COLOURS[i], alpha=0.6)
                label = title if place == 0 else ""
                style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 7}
                axis.plot(values.mean(), place + shift, linestyle="", label=label, **style, **EDGE)
        axis.set_title(name)
        axis.set_xlabel("Balanced accuracy (%)")
    axes[0, 0].set_yticks(range(len(titles)), list(reversed(titles.values())))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
