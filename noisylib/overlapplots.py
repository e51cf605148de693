"""Figures of overlapping losses: densities, epochs, classes, the clean test error, and made features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import noise_title
from noisylib.plotstyle import COLOURS, DASHES, EDGE, INK, MARKERS, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from noisylib.analysis.overlap import LossHistogram

RIGHT, WRONG, SHARED = COLOURS[0], COLOURS[3], "#b3b9c0"
REFERENCE = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1}
VIEW_STYLES = {"last": (COLOURS[0], "o"), "held_out": (COLOURS[1], "s")}


@book_figure
def view_densities(
    histograms: Mapping[str, LossHistogram], titles: Mapping[str, str], notes: Mapping[str, str]
) -> Figure:
    """Draw the density of log-loss of right and wrong labels, a panel per view.

    Parameters
    ----------
    histograms, titles, notes : view -> counts, heading, and the text that stands below the heading.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axes = plt.subplots(1, len(titles), figsize=(WIDTH, 3.1), squeeze=False)
    for axis, (view, title) in zip(axes[0], titles.items(), strict=True):
        counts = histograms[view]
        width = max(counts.edges[1] - counts.edges[0], np.finfo(float).tiny)
        middles = (counts.edges[1:] + counts.edges[:-1]) / 2
        groups = [n[1:-1] / (n.sum() * width) for n in (counts.clean, counts.flipped)]
        density_panel(axis, middles, *groups)
        axis.set_title(f"{title.capitalize()}\n{notes[view]}")
        axis.set_xlabel("Loss (nats)")
    axes[0, 0].set_ylabel("Density of log-loss")
    _density_legend(figure)
    return figure


def density_panel(axis: Axes, x: np.ndarray, clean: np.ndarray, flipped: np.ndarray) -> None:
    """Draw two densities of log-loss at `x` (log nats) over a logarithmic axis in nats."""
    loss = np.exp(x)
    axis.fill_between(loss, clean, step="mid", color=RIGHT, alpha=0.25, lw=0)
    axis.fill_between(loss, np.minimum(clean, flipped), step="mid", color=SHARED, lw=0)
    axis.step(loss, flipped, where="mid", color=WRONG, linewidth=1.1)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.grid(axis="y", visible=False)
    axis.locator_params(axis="x", numticks=5)


def _density_legend(figure: Figure) -> None:
    plt = require("matplotlib.pyplot", "book")
    patches = require("matplotlib.patches", "book")
    handles = [
        patches.Patch(color=RIGHT, alpha=0.25, lw=0, label="right labels"),
        plt.Line2D([], [], color=WRONG, linewidth=1.6, label="wrong labels"),
        patches.Patch(color=SHARED, lw=0, label="overlap"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.6)


@book_figure
def density_grid(
    panels: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]],
    notes: Mapping[tuple[str, str], str],
) -> Figure:
    """Draw small densities of log-loss, noises down and backbones across.

    Parameters
    ----------
    panels : (noise, backbone), as titles -> log-losses (P,), density of right and of wrong labels there.
    notes : (noise, backbone) -> text in the panel.
    """
    plt = require("matplotlib.pyplot", "book")
    rows, columns = (list(dict.fromkeys(key[i] for key in panels)) for i in (0, 1))
    size = (WIDTH, 0.7 + 1.45 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, sharex="col", squeeze=False)
    for (noise, backbone), (x, clean, flipped) in panels.items():
        axis = axes[rows.index(noise), columns.index(backbone)]
        density_panel(axis, x, clean, flipped)
        axis.set_ylim(top=1.3 * max(clean.max(), flipped.max(), 1e-12))  # room for the note
        axis.set_yticks([])
        axis.text(0.02, 0.97, notes[noise, backbone], transform=axis.transAxes, va="top", fontsize=8)
    for axis, backbone in zip(axes[0], columns, strict=True):
        axis.set_title(backbone)
    for axis, noise in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(noise)
    for axis in axes[-1]:
        axis.set_xlabel("Loss (nats)")
    _density_legend(figure)
    return figure


@book_figure
def epoch_curves(epochs: pd.DataFrame, decays: Sequence[int]) -> Figure:
    """Draw overlap (percent), AUROC and balanced test accuracy (percent) against the epoch.

    Parameters
    ----------
    epochs : columns noise_type, seed, epoch, overlap, auroc, balanced_accuracy (fractions).
    decays : epochs after which the learning rate falls.
    """
    plt = require("matplotlib.pyplot", "book")
    panels = {
        "overlap": ("Overlap (%)", 100),
        "auroc": ("AUROC of the loss", 1),
        "balanced_accuracy": ("Test: balanced acc. (%)", 100),
    }
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.0), sharex=True)
    for axis, (column, (title, scale)) in zip(axes, panels.items(), strict=True):
        for position, (noise_type, part) in enumerate(epochs.groupby("noise_type", sort=False)):
            seeds = scale * part.pivot(index="epoch", columns="seed", values=column)
            color = COLOURS[3 * position]
            axis.fill_between(seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=color, alpha=0.2, lw=0)
            axis.plot(
                seeds.index, seeds.mean(axis=1), color=color, linestyle=DASHES[position],
                label=f"{noise_title(noise_type)} noise",
            )  # fmt: skip
        for epoch in decays:
            axis.axvline(epoch + 0.5, color=INK, linewidth=0.5, alpha=0.35)
        axis.set(title=title, xlabel="Epoch")
        axis.locator_params(axis="x", integer=True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=3)
    return figure


@book_figure
def class_overlaps(classes: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the overlap (percent) of each observed class with its interval and its ceiling.

    Parameters
    ----------
    classes : columns view, class, n_clean, n_flipped, corrected, low, high, ceiling; NaN is not drawn.
    titles : view -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    names = list(dict.fromkeys(classes["class"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.42 * len(names)))
    for shift, view in zip(np.linspace(-0.16, 0.16, len(titles)), titles, strict=True):
        part = classes[classes["view"] == view].set_index("class").loc[names]
        y, (color, marker) = np.arange(len(names)) + shift, VIEW_STYLES[view]
        x, low, high, top = (100 * part[c] for c in ("corrected", "low", "high", "ceiling"))
        axis.hlines(y, low, high, color=color, linewidth=1.8)
        axis.plot(x, y, marker, color=color, label=titles[view], markersize=7, **EDGE)
        # The legend names the last of them, which differ by rounding only.
        label = "ceiling: equal distributions" if view == list(titles)[-1] else None
        axis.plot(top, y, "|", color=INK, markersize=10, markeredgewidth=1.5, label=label)
    counts = classes.drop_duplicates("class").set_index("class")
    ticks = [f"{n}\n{counts.at[n, 'n_clean']:,.0f} / {counts.at[n, 'n_flipped']:,.0f}" for n in names]
    axis.set_yticks(range(len(names)), ticks)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 101), xlabel="Overlap (%)")
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@book_figure
def overlap_against_error(
    cells: pd.DataFrame, errors: Mapping[str, str], views: Mapping[str, str], datasets: Mapping[str, str]
) -> Figure:
    """Draw overlap against clean test error (percent), one point per cell, views down and errors across.

    Parameters
    ----------
    cells : columns view, dataset, noise_type, noise_rate, corrected and the errors, fractions.
    errors, views, datasets : column, view and data set -> title; a data set has a colour and a marker.
        Low rates are hollow, symmetric noise has no frame.
    """
    plt = require("matplotlib.pyplot", "book")
    size = (WIDTH, 0.9 + 2.9 * len(views))
    figure, axes = plt.subplots(
        len(views), len(errors), figsize=size, sharex="col", sharey=True, squeeze=False
    )
    reach = 100 * cells[list(errors)].max()
    for row, (view, view_title) in enumerate(views.items()):
        for axis, (error, title) in zip(axes[row], errors.items(), strict=True):
            ends = np.array([0, min(50.0, 1.05 * reach[error])])
            axis.plot(ends, 2 * ends, **REFERENCE)
            part = cells[cells["view"] == view]
            _points(axis, 100 * part[error], 100 * part["corrected"], part, list(datasets))
            axis.set_title(view_title.capitalize())
            axis.set_xlabel(f"{title} (%)" if row == len(views) - 1 else "")
            axis.set_ylim(0, 101)
        axes[row, 0].set_ylabel("Overlap (%)")
    figure.legend(handles=_point_legend(datasets), loc="outside lower center", ncols=4, handletextpad=0.5)
    return figure


def _points(axis: Axes, x: pd.Series, y: pd.Series, cells: pd.DataFrame, datasets: Sequence[str]) -> None:
    """Draw cells: colour and marker by data set, filled if asymmetric, larger at the higher rate."""
    top = cells["noise_rate"].max()
    for (dataset, noise_type, rate), part in cells.groupby(["dataset", "noise_type", "noise_rate"]):
        position = datasets.index(dataset)
        color = COLOURS[position % len(COLOURS)]
        axis.plot(
            x[part.index], y[part.index], MARKERS[position % len(MARKERS)], linestyle="none",
            color=color, markerfacecolor=PAPER if noise_type == "symmetric" else color,
            markeredgecolor=color if noise_type == "symmetric" else INK,
            markeredgewidth=1.1 if noise_type == "symmetric" else 0.5,
            markersize=7.5 if rate == top else 4.5,
        )  # fmt: skip


def _point_legend(datasets: Mapping[str, str]) -> list:
    plt = require("matplotlib.pyplot", "book")
    line = plt.Line2D
    handles = [
        line(
            [],
            [],
            linestyle="",
            marker=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            label=name,
        )
        for i, name in enumerate(datasets.values())
    ]
    return [
        *handles,
        line([], [], linestyle="", marker="o", color=PAPER, markeredgecolor=INK, label="hollow: symmetric"),
        line([], [], linestyle="", marker="o", color=INK, markersize=7.5, label="large: higher rate"),
        line([], [], **REFERENCE, label="twice the error"),
    ]


@book_figure
def bed_curve(curve: pd.DataFrame) -> Figure:
    """Draw estimated overlaps (percent) against the distance of two Gaussian classes, beside the closed form.

    Parameters
    ----------
    curve : columns separation, noise_rate, truth, corrected, low, high (fractions).
    """
    plt = require("matplotlib.pyplot", "book")
    special = require("scipy.special", "book")
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    grid = np.linspace(curve["separation"].min() * 0.8, curve["separation"].max() * 1.03, 200)
    axes[0].plot(grid, 200 * special.ndtr(-grid / 2), **REFERENCE, label=r"closed form, $2\,\Phi(-D/2)$")
    axes[1].axhline(0, **REFERENCE)
    rates = sorted(curve["noise_rate"].unique())
    for position, rate in enumerate(rates):
        part = curve[curve["noise_rate"] == rate]
        aside = 0.07 * (position - (len(rates) - 1) / 2)
        look = {"color": COLOURS[position], "marker": MARKERS[position], "linestyle": "none"} | EDGE
        for axis, truth, shift in ((axes[0], 0, 0), (axes[1], part["truth"], aside)):
            x = part["separation"] + shift
            middle, low, high = (100 * (part[c] - truth) for c in ("corrected", "low", "high"))
            axis.vlines(x, low, high, color=COLOURS[position], linewidth=1.4)
            axis.plot(x, middle, **look, label=f"{100 * rate:g} % flipped")
    for axis, title in ((axes[0], "Overlap (%)"), (axes[1], "Estimate minus closed form (pp)")):
        axis.set(title=title, xlabel="Distance of the class means D (sd)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@book_figure
def sampling_bias(bias: pd.DataFrame) -> Figure:
    """Draw what two samples of one distribution seem to overlap (percent), by the number of wrong labels.

    Parameters
    ----------
    bias : columns n_flipped, expected, value, corrected (fractions).
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 3.1))
    axis.axhline(100, **REFERENCE, label="true overlap")
    n = bias["n_flipped"]
    axis.plot(n, 100 * bias["expected"], color=COLOURS[0], linewidth=1.3, label="plain: formula")
    axis.plot(n, 100 * bias["value"], "o", color=COLOURS[0], label="plain: estimated", **EDGE)
    axis.plot(n, 100 * bias["corrected"], "s", color=COLOURS[1], label="corrected: estimated", **EDGE)
    axis.set(xscale="log", xlabel="Wrong labels", title="Estimated overlap (%)")
    axis.set_xticks(n, [f"{size:,}" for size in n])
    axis.minorticks_off()
    figure.legend(loc="outside lower center", ncols=4)
    return figure
