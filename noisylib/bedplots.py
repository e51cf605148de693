"""Figures of methods on two made features: labels, decision regions, accuracy beside Bayes' rule."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import noise_title
from noisylib.plotstyle import EDGE, INK, PAPER, WIDTH, book_figure, method_styles, style_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from noisylib.data.simulate import GaussianBed

BESIDE = 3.6  # inches: a figure that stands beside text
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TINT = 0.24  # of a region's colour on paper


@book_figure
def bed_labels(
    bed: GaussianBed, ticks: np.ndarray, X: np.ndarray, y: np.ndarray, y_noisy: np.ndarray
) -> Figure:
    """Draw the training points twice: with their true and with their observed labels.

    Parameters
    ----------
    ticks : (G,) coordinates of the square grid whose regions are Bayes' rule.
    X, y, y_noisy : (N, 2), (N,) and (N,).
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.1), sharex=True, sharey=True)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(ticks, ticks)], axis=1)
    regions = bed.bayes_predict(grid)
    for axis, title, labels in zip(axes, ("True labels", "Observed labels"), (y, y_noisy), strict=True):
        _regions(axis, ticks, regions, len(bed.priors))
        _boundary(axis, bed, ticks)
        _points(axis, X, labels, labels != y)
        _frame(axis, bed, ticks, X)
        axis.set_title(title)
    handles = [
        plt.Line2D([], [], linestyle="", marker=style.marker, color=style.color, label=f"class {LETTERS[c]}")
        for c, style in enumerate(map(style_of, range(len(bed.priors))))
    ]
    handles += [
        plt.Line2D([], [], linestyle="", marker="o", color=PAPER, markeredgecolor=INK, label="wrong label"),
        plt.Line2D([], [], color=INK, linestyle="--", linewidth=1.1, label="Bayes' rule"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.5)
    return figure


@book_figure
def decision_regions(
    bed: GaussianBed,
    ticks: np.ndarray,
    X: np.ndarray,
    y: np.ndarray,
    y_noisy: np.ndarray,
    predicted: np.ndarray,
    title: str,
) -> Figure:
    """Draw what one network predicts everywhere, over the training points it learned from.

    Parameters
    ----------
    ticks, predicted : (G,) coordinates of the square grid and (G * G,) predictions on it.
    X, y, y_noisy : (N, 2), (N,) and (N,).
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(BESIDE, BESIDE + 0.05))
    _regions(axis, ticks, predicted, len(bed.priors))
    _boundary(axis, bed, ticks)
    _points(axis, X, y_noisy, y_noisy != y)
    _frame(axis, bed, ticks, X)
    axis.set_title(title)
    return figure


def _regions(axis: Axes, ticks: np.ndarray, predicted: np.ndarray, n_classes: int) -> None:
    colors = require("matplotlib.colors", "book")
    paint = np.array([colors.to_rgb(style_of(c).color) for c in range(n_classes)])
    tints = TINT * paint + (1 - TINT) * np.array(colors.to_rgb(PAPER))
    axis.imshow(
        tints[predicted.reshape(len(ticks), -1)],
        extent=(ticks[0], ticks[-1], ticks[0], ticks[-1]),
        origin="lower",
        interpolation="nearest",
    )


def _boundary(axis: Axes, bed: GaussianBed, ticks: np.ndarray) -> None:
    """Draw where two classes are equally likely and no third one is likelier, dashed."""
    across, up = np.meshgrid(ticks, ticks)
    p = bed.posterior(np.stack([across.ravel(), up.ravel()], axis=1))
    for a, b in combinations(range(p.shape[1]), 2):
        others = np.delete(p, [a, b], axis=1).max(1, initial=0)
        field = np.log(p[:, a] + 1e-300) - np.log(p[:, b] + 1e-300)
        field = np.ma.masked_where(others > np.maximum(p[:, a], p[:, b]), field).reshape(across.shape)
        if field.count() and field.min() < 0 < field.max():
            axis.contour(across, up, field, levels=[0], colors=INK, linewidths=1.1, linestyles="--")


def _points(axis: Axes, X: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> None:
    """Draw points in the style of their label: right ones pale, wrong ones framed and on top."""
    for c in np.unique(labels):
        style = style_of(int(c))
        for part, look in (
            (~wrong, {"s": 12, "alpha": 0.5, "linewidths": 0}),
            (wrong, {"s": 24, "edgecolors": INK, "linewidths": 0.8, "zorder": 3}),
        ):
            here = X[(labels == c) & part]
            axis.scatter(here[:, 0], here[:, 1], color=style.color, marker=style.marker, **look)


def _frame(axis: Axes, bed: GaussianBed, ticks: np.ndarray, X: np.ndarray) -> None:
    """Name the classes at their means; show all points and no numbers, which mean nothing here."""
    effects = require("matplotlib.patheffects", "book")
    for c, mean in enumerate(bed.means):
        axis.annotate(
            LETTERS[c],
            mean,
            ha="center",
            va="center",
            fontsize=15,
            fontweight="bold",
            zorder=4,
            path_effects=[effects.withStroke(linewidth=3.5, foreground=PAPER)],
        )
    reach = min(np.abs(X).max() + 0.4, ticks[-1])
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
    axis.grid(visible=False)
    axis.spines[:].set_visible(True)


@book_figure
def bed_accuracy(scores: pd.DataFrame, titles: Mapping[str, str], bayes: str) -> Figure:
    """Draw the accuracy (percent) of every run, a row per method and a panel per kind of noise.

    Parameters
    ----------
    scores : columns method, noise_type, accuracy, from `describe_bed.bed_scores`.
    titles : method -> title, from the top down.
    bayes : the method whose accuracy is the dashed line.
    """
    plt = require("matplotlib.pyplot", "book")
    groups = dict(tuple(scores.groupby("noise_type", sort=False)))
    figure, axes = plt.subplots(
        1, len(groups), figsize=(WIDTH, 0.9 + 0.29 * len(titles)), sharex=True, sharey=True, squeeze=False
    )
    styles = method_styles(list(titles))
    best = 100 * scores.loc[scores["method"] == bayes, "accuracy"].iloc[0]
    for axis, (noise_type, part) in zip(axes[0], groups.items(), strict=True):
        axis.axvline(best, color=INK, linewidth=1.1, linestyle="--")
        for row, name in enumerate(titles):
            runs = 100 * part.loc[part["method"] == name, "accuracy"]
            style = styles[name]
            axis.plot(runs, [row] * len(runs), "|", color=style.color, markersize=9, alpha=0.8)
            axis.plot(runs.mean(), row, style.marker, color=style.color, markersize=8, **EDGE)
        axis.set_title(f"{noise_title(noise_type)} noise")
        axis.set_xlabel("Accuracy (%)")
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
    axes[0, 0].annotate(
        "Bayes' rule", (best, -0.75), xytext=(-3, 0), textcoords="offset points", ha="right", va="center",
        fontsize=8,
    )  # fmt: skip
    axes[0, 0].set_yticks(range(len(titles)), list(titles.values()))
    axes[0, 0].set_ylim(len(titles) - 0.4, -1.1)
    return figure
