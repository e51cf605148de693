"""Figures of cleaning with a mixture: losses by class, what is kept, rates, epochs, tau and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import NOISE_ORDER, noise_title
from noisylib.plotstyle import COLOURS, DASHES, EDGE, INK, MARKERS, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


RIGHT, WRONG = COLOURS[0], COLOURS[3]
LOW, HIGH = COLOURS[2], COLOURS[4]
COLUMNS = 3  # panels side by side
REFERENCE = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1}


@dataclass(frozen=True, eq=False)
class ClassPanel:
    """The losses of one observed class, and the mixture that was fitted to them.

    Attributes
    ----------
    name : of the class.
    edges : (B + 1,) of the bins, in nats.
    right, wrong : (B,) samples per bin.
    x : (P,) losses in nats; low, high : (P,) samples per bin that either component expects there; empty where
        no mixture was fitted.
    cut : the highest loss that is called clean, in nats.
    purity : share of right labels among those called clean.
    """

    name: str
    edges: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    cut: float
    purity: float


@book_figure
def loss_mixtures(panels: Sequence[ClassPanel]) -> Figure:
    """Draw the losses of each observed class, right and wrong labels stacked, under the fitted mixture.

    Parameters
    ----------
    panels : from `noisylib.book.describe.cleaning_mixture.class_panels`.
    """
    plt = require("matplotlib.pyplot", "book")
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 0.7 + 1.75 * rows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        _mixture_panel(axis, panel)
    for axis in axes[:, 0]:
        axis.set_ylabel("Samples")
    for axis in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("Loss (nats)")
    figure.legend(handles=_mixture_legend(), loc="outside lower center", ncols=5, handlelength=1.8)
    return figure


def _mixture_panel(axis: Axes, panel: ClassPanel) -> None:
    """Draw one class; the count axis is that of square roots, so that a tail of few samples is seen."""
    bars = {"align": "edge", "linewidth": 0}
    left, width = panel.edges[:-1], np.diff(panel.edges)
    axis.bar(left, panel.right, width, color=RIGHT, alpha=0.55, **bars)
    axis.bar(left, panel.wrong, width, bottom=panel.right, color=WRONG, alpha=0.55, **bars)
    for curve, color, dash in ((panel.low, LOW, DASHES[0]), (panel.high, HIGH, DASHES[1])):
        axis.plot(panel.x, curve, color=color, linestyle=dash, linewidth=1.6)
    axis.axvline(panel.cut, **REFERENCE)
    axis.set_yscale("function", functions=(_root, np.square))
    top = (panel.right + panel.wrong).max()
    axis.set_ylim(0, 1.15 * max(top, 1))
    axis.set_yticks([round(share * top) for share in (0.1, 0.5, 1)] if top >= 10 else [0, int(top)])
    axis.grid(axis="y", visible=False)
    axis.set_title(f"{panel.name}\nclean: {100 * panel.purity:.0f} % right", fontsize=8.5)


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))


def _mixture_legend() -> list:
    line = require("matplotlib.pyplot", "book").Line2D
    patch = require("matplotlib.patches", "book").Patch
    return [
        patch(color=RIGHT, alpha=0.55, lw=0, label="right labels"),
        patch(color=WRONG, alpha=0.55, lw=0, label="wrong labels"),
        line([], [], color=LOW, linestyle=DASHES[0], label="low component"),
        line([], [], color=HIGH, linestyle=DASHES[1], label="high component"),
        line([], [], **REFERENCE, label="highest clean loss"),
    ]


@book_figure
def class_dots(classes: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw which right labels are kept and what the clean set holds, by class and way to select (percent).

    Parameters
    ----------
    classes : columns way, class, images, observed, before, kept, purity; fractions, NaN is not drawn.
    titles : way -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    names = list(dict.fromkeys(classes["class"]))
    size = (WIDTH, 1.3 + 0.42 * len(names))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True)
    for shift, (i, (way, title)) in zip(
        np.linspace(-0.15, 0.15, len(titles)), enumerate(titles.items()), strict=True
    ):
        part = classes[classes["way"] == way].set_index("class").loc[names]
        for axis, column in zip(axes, ("kept", "purity"), strict=True):
            y, look = np.arange(len(names)) + shift, {"color": COLOURS[3 * i], **EDGE}
            axis.plot(100 * part[column], y, MARKERS[i], markersize=7, label=title, **look)
    counts = classes.drop_duplicates("class").set_index("class").loc[names]
    axes[1].plot(
        100 * counts["before"], range(len(names)), "|", color=INK, markersize=12, markeredgewidth=1.5,
        label="right labels before cleaning",
    )  # fmt: skip
    axes[0].set_yticks(
        range(len(names)),
        [f"{n}\n{counts.at[n, 'images']:,} / {counts.at[n, 'observed']:,.0f}" for n in names],
    )
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    for axis, title in zip(axes, ("Right labels called clean (%)", "Right among the clean (%)"), strict=True):
        axis.set(title=title, xlim=(-2, 102))
        axis.grid(axis="y", visible=False)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@book_figure
def swept(
    frame: pd.DataFrame, column: str, panels: Mapping[str, str], xlabel: str, baseline: str = ""
) -> Figure:
    """Draw measures of a selection (percent) against a setting: means over seeds, bands from least to most.

    Parameters
    ----------
    frame : columns line (text, one line each), seed, `column` and those of `panels`; fractions.
    column : the setting.
    panels : column -> title.
    xlabel : of the setting; where it is a rate, it is drawn in percent.
    baseline : column that is drawn dashed in the first panel, for the first line.
    """
    plt = require("matplotlib.pyplot", "book")
    scale = 100 if column == "noise_rate" else 1
    columns = 2 if len(panels) % 2 == 0 else 3
    rows = -(-len(panels) // columns)
    size = (WIDTH, 0.7 + 2.4 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, squeeze=False)
    for axis, (name, title) in zip(axes.flat, panels.items(), strict=True):
        for i, (line, part) in enumerate(frame.groupby("line", sort=False)):
            wide = 100 * part.pivot_table(index=column, columns="seed", values=name)
            x, color = scale * wide.index.to_numpy(), COLOURS[i % len(COLOURS)]
            axis.fill_between(x, wide.min(axis=1), wide.max(axis=1), color=color, alpha=0.2, lw=0)
            axis.plot(
                x, wide.mean(axis=1), color=color, marker=MARKERS[i % len(MARKERS)],
                linestyle=DASHES[i % len(DASHES)], label=line, **EDGE,
            )  # fmt: skip
        axis.set_title(title)
    if baseline:
        first = frame.groupby(column)[baseline].mean()
        axes.flat[0].plot(scale * first.index, 100 * first, **REFERENCE, label="before cleaning")
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=3
    )
    return figure


@book_figure
def purity_ends(ends: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the purity of the clean set (percent) in the first and the last epoch, a panel per data set.

    Parameters
    ----------
    ends : columns dataset, noise_type, noise_rate, when ("first", "last"), right, purity, purity_low and
        purity_high; fractions.
    titles : data set -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    kinds = conditions_of(ends)
    rows = -(-len(titles) // COLUMNS)
    size = (WIDTH, 1.6 + 2.1 * rows)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=size, sharey=True, squeeze=False)
    for axis in axes.flat[len(titles) :]:
        axis.set_axis_off()
    looks = {"first": (PAPER, "o", -0.12, "first epoch"), "last": (COLOURS[0], "s", 0.12, "last epoch")}
    for axis, (dataset, title) in zip(axes.flat, titles.items(), strict=False):
        part = ends[ends["dataset"] == dataset]
        for when, (fill, marker, shift, label) in looks.items():
            own = part[part["when"] == when].groupby(["noise_type", "noise_rate"]).mean(numeric_only=True)
            own = own.reindex(kinds)
            x = np.arange(len(kinds)) + shift
            axis.vlines(x, 100 * own["purity_low"], 100 * own["purity_high"], color=COLOURS[0])
            look = {"color": COLOURS[0], "markerfacecolor": fill} | EDGE
            axis.plot(x, 100 * own["purity"], marker, linestyle="none", label=label, **look)
        axis.plot(
            range(len(kinds)), 100 * own["right"], "_", color=INK, markersize=13, markeredgewidth=1.5,
            label="right labels before cleaning",
        )  # fmt: skip
        axis.set_title(title)
        axis.set_xticks(range(len(kinds)), [short_noise(*kind) for kind in kinds], rotation=60)
        axis.set_xlim(-0.5, len(kinds) - 0.5)
    for axis in axes[:, 0]:
        axis.set_ylabel("Purity (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@book_figure
def epoch_lines(own: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw purity and the share of right labels called clean (percent) by epoch of fine-tuning.

    Data sets across, a line per noise: means over seeds, bands from least to most.

    Parameters
    ----------
    own : columns dataset, noise_type, noise_rate, seed, epoch, purity, recall_right; fractions.
    titles : data set -> title.
    """
    plt = require("matplotlib.pyplot", "book")
    panels = {"purity": "Purity (%)", "recall_right": "Right called clean (%)"}
    size = (WIDTH, 5.0)
    figure, axes = plt.subplots(2, len(titles), figsize=size, sharex=True, sharey="row", squeeze=False)
    kinds = conditions_of(own)
    for (dataset, title), column in zip(titles.items(), axes.T, strict=True):
        part = own[own["dataset"] == dataset]
        for axis, name in zip(column, panels, strict=True):
            for i, kind in enumerate(kinds):
                runs = part[(part["noise_type"] == kind[0]) & np.isclose(part["noise_rate"], kind[1])]
                wide = 100 * runs.pivot_table(index="epoch", columns="seed", values=name)
                x, color = wide.index.to_numpy() + 1, COLOURS[i % len(COLOURS)]
                axis.fill_between(x, wide.min(axis=1), wide.max(axis=1), color=color, alpha=0.15, lw=0)
                axis.plot(
                    x, wide.mean(axis=1), color=color, marker=MARKERS[i % len(MARKERS)], markersize=4,
                    linestyle=DASHES[i % len(DASHES)], label=short_noise(*kind),
                )  # fmt: skip
        column[0].set_title(title, fontsize=8)
        column[1].set_xlabel("Epoch")
        column[1].locator_params(axis="x", integer=True)
    for axis, title in zip(axes[:, 0], panels.values(), strict=True):
        axis.set_ylabel(title)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, handlelength=3
    )
    return figure


def conditions_of(frame: pd.DataFrame) -> list[tuple[str, float]]:
    """Return noise types and rates in the book's order."""
    pairs = set(zip(frame["noise_type"], frame["noise_rate"], strict=True))
    return sorted(pairs, key=lambda pair: (NOISE_ORDER.index(pair[0]), pair[1]))


def short_noise(noise_type: str, noise_rate: float) -> str:
    """Return a noise as a short label, such as "sym. 40 %"."""
    short = {"symmetric": "sym.", "asymmetric": "asym.", "instance": "inst."}
    return f"{short.get(noise_type, noise_title(noise_type).lower())} {100 * noise_rate:g} %"


@book_figure
def unions(frame: pd.DataFrame) -> Figure:
    """Draw the share of each class's clean samples (percent) that the first draws reach together.

    Parameters
    ----------
    frame : columns seed, class, clean, draws, union and expected, from
        `noisylib.book.describe.cleaning_draw.union_frame`. Lines are expected, markers measured.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    sums = frame.groupby(["class", "draws"], sort=False)[["clean", "union", "expected"]].sum()
    sizes = sums["clean"].groupby(level="class", sort=False).first().sort_values(kind="stable")
    for i, name in enumerate(sizes.index):
        part = sums.loc[name]
        color = COLOURS[i % len(COLOURS)]
        axis.plot(
            part.index, 100 * part["expected"] / part["clean"], color=color,
            linestyle=DASHES[i % len(DASHES)], linewidth=1.4,
        )  # fmt: skip
        axis.plot(
            part.index, 100 * part["union"] / part["clean"], MARKERS[i % len(MARKERS)], color=color,
            label=name, **EDGE,
        )  # fmt: skip
    axis.set(xlabel="Draws", ylabel="Clean samples reached (%)", ylim=(0, 104))
    axis.locator_params(axis="x", integer=True)
    figure.legend(loc="outside right upper")
    return figure
