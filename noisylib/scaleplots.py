"""Figures of the plan for large studies: the model beside the curves, time against runs, the memory map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisylib.errors import require
from noisylib.plotstyle import COLOURS, DASHES, EDGE, INK, MARKERS, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEHIND = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # of text that lines may cross
TIMES = {"a minute": 60, "an hour": 3600, "a day": 86400, "a year": 365.25 * 86400}


@book_figure
def model_curves(points: pd.DataFrame) -> Figure:
    """Draw measured and predicted seconds of an epoch of the whole bank, a panel per axis.

    Parameters
    ----------
    points : columns size (what a panel changes), value, measured, predicted.
    """
    plt = require("matplotlib.pyplot", "book")
    sizes = list(dict.fromkeys(points["size"]))
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(WIDTH, 2.9), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.05}
    )
    for axis, name in zip(axes[0], sizes, strict=True):
        part = points[points["size"] == name].sort_values("value")
        axis.plot(
            part["value"], part["predicted"], color=COLOURS[3], linestyle=DASHES[1], marker=MARKERS[3],
            label="the model",
        )  # fmt: skip
        axis.plot(
            part["value"], part["measured"], color=COLOURS[0], marker=MARKERS[0], linestyle="none",
            markersize=7, markerfacecolor="none", markeredgewidth=1.6, label="measured",
        )  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel=name)
        axis.minorticks_off()
        axis.set_xticks(part["value"], [f"{value:,}" for value in part["value"]], rotation=45, ha="right")
    axes[0, 0].set_ylabel("Seconds of an epoch of the bank")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
    return figure


@book_figure
def time_lines(cores: pd.DataFrame, gpus: pd.DataFrame, marked: Mapping[int, str], gpu_title: str) -> Figure:
    """Draw wall time against the number of runs: lines for cores, bands for GPUs.

    Parameters
    ----------
    cores : columns runs, cores, seconds.
    gpus : columns runs, gpus, low, high; the range that is assumed.
    marked : runs -> what stands at that number, such as a study of today.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2))
    for i, (count, part) in enumerate(cores.groupby("cores")):
        axis.plot(
            part["runs"], part["seconds"], color=COLOURS[i], linestyle=DASHES[i % len(DASHES)],
            label=f"{count:,} core{'s' if count > 1 else ''}",
        )  # fmt: skip
    for i, (count, part) in enumerate(gpus.groupby("gpus")):
        axis.fill_between(
            part["runs"], part["low"], part["high"], color=COLOURS[4 + i], alpha=0.28, linewidth=0,
            hatch="//" if i else None, edgecolor=INK,
            label=f"{count:,} {gpu_title} (assumed range)",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="Runs", ylabel="Wall time (s)")
    axis.set_xlim(cores["runs"].min(), cores["runs"].max())
    low, high = axis.get_ylim()
    for name, seconds in TIMES.items():
        if low < seconds < high:
            _name_level(axis, seconds, name)
    for runs, name in marked.items():
        axis.axvline(runs, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        axis.annotate(
            name, (runs, 0), xycoords=axis.get_xaxis_transform(), xytext=(-3, 5), rotation=90,
            textcoords="offset points", ha="right", va="bottom", fontsize=8, bbox=BEHIND,
        )  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _name_level(axis: Axes, level: float, name: str) -> None:
    """Draw a thin level line with its name at the right."""
    axis.axhline(level, color=INK, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
    axis.annotate(
        name, (0.005, level), xycoords=axis.get_yaxis_transform(), xytext=(0, 2),
        textcoords="offset points", fontsize=8, bbox=BEHIND,
    )  # fmt: skip


@book_figure
def memory_map(lines: pd.DataFrame, sets: pd.DataFrame) -> Figure:
    """Draw up to how many samples of each width a bank fits: a line per memory, and data sets as points.

    Parameters
    ----------
    lines : columns place, gpu, n_features, samples; below a line it fits.
    sets : columns name, n_features, samples.
    """
    plt = require("matplotlib.pyplot", "book")
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4))
    for i, (place, part) in enumerate(lines.groupby("place", sort=False)):
        gpu = bool(part["gpu"].iloc[0])
        axis.plot(
            part["n_features"], part["samples"], color=COLOURS[i % len(COLOURS)],
            linestyle=DASHES[1] if gpu else DASHES[0], linewidth=1.5 if gpu else 2.0, label=place,
        )  # fmt: skip
    banks, large = sets[sets["name"] == ""], sets[sets["name"] != ""]
    for part, marker, marker_size, name in ((banks, "o", 5, "banks of today"), (large, "*", 13, "planned")):
        axis.plot(
            part["n_features"], part["samples"], linestyle="none", marker=marker, markersize=marker_size,
            color=COLOURS[9], label=name, zorder=4, **EDGE,
        )  # fmt: skip
    for row in large.itertuples():
        axis.annotate(
            row.name, (row.n_features, row.samples), xytext=(8, 4), textcoords="offset points", fontsize=8,
            bbox=BEHIND,
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="Features (D)", ylabel="Training samples (N)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
