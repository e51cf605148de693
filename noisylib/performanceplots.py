"""Figures of speed: ways to train, a roofline, where a step's time goes, and how time and memory grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import NoisylibError, require
from noisylib.plotstyle import COLOURS, EDGE, INK, MARKERS, PAPER, WIDTH, book_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = {"color": INK, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 1}
ROOFS = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))  # nearest memory first
WRITTEN = 0.055  # of a bar: narrower parts have no number in them
BOX = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.6}


@book_figure
def speed_panels(speeds: pd.DataFrame) -> Figure:
    """Draw milliseconds per head and epoch of every way to train, on a logarithmic axis, a panel per setting.

    Parameters
    ----------
    speeds : columns panel (title), way, bank (bool: the one the others are compared with), low, median, high,
        ratio (to the bank's median, written beside the mark). From the fastest to the slowest.
    """
    plt = require("matplotlib.pyplot", "book")
    _some(speeds, "speeds")
    panels = list(dict.fromkeys(speeds["panel"]))
    counts = [int((speeds["panel"] == panel).sum()) for panel in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(WIDTH, 0.8 + 0.55 * len(panels) + 0.33 * sum(counts)),
        sharex=True, squeeze=False, height_ratios=[count + 0.6 for count in counts],
    )  # fmt: skip
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        part = speeds[speeds["panel"] == panel].sort_values("median")
        for place, row in enumerate(part.itertuples()):
            color, marker = (COLOURS[0], "o") if row.bank else (COLOURS[3], "s")
            axis.plot([row.low, row.high], [place, place], color=color, linewidth=2.2, solid_capstyle="round")
            axis.plot(row.median, place, marker, color=color, markersize=6.5, **EDGE)
            axis.annotate(
                f"{row.median:.3g} ms" if row.bank else f"{row.ratio:.3g} x", (row.high, place),
                xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5,
            )  # fmt: skip
        axis.set_yticks(range(len(part)), [way.replace(", ", ",\n") for way in part["way"]])
        axis.set_ylim(len(part) - 0.5, -0.5)
        axis.set(xscale="log", title=panel)
        axis.grid(axis="y", visible=False)
    axes[-1, 0].set_xlim(0.8 * speeds["low"].min(), 2.2 * speeds["high"].max())
    axes[-1, 0].set_xlabel("Milliseconds per head and epoch (median, lowest to highest)")
    _plain_ticks(axes[-1, 0].xaxis)
    return figure


@book_figure
def roofline(operations: pd.DataFrame, rate: float, bandwidths: Mapping[str, float]) -> Figure:
    """Draw speed against arithmetic intensity under the measured roofs, a panel per kind of head.

    Parameters
    ----------
    operations : columns head (title), number, title, flops, seconds, reachable (seconds under the roofs),
        intensity (flops per byte), for classes with a roof.
    rate : floating-point operations a second of a large matrix product.
    bandwidths : name of a memory -> bytes a second, nearest first; at most three.
    """
    plt = require("matplotlib.pyplot", "book")
    _some(operations, "operations")
    heads = list(dict.fromkeys(operations["head"]))
    figure, axes = plt.subplots(1, len(heads), figsize=(WIDTH, 4.5), sharex=True, sharey=True, squeeze=False)
    ridge = rate / min(bandwidths.values())
    ends = (0.5 * min(operations["intensity"].min(), 0.5), 4 * max(operations["intensity"].max(), ridge))
    for axis, head in zip(axes[0], heads, strict=True):
        _draw_roofs(axis, rate, bandwidths, ends)
        for row in operations[operations["head"] == head].itertuples():
            speed, roof = row.flops / row.seconds / 1e9, row.flops / row.reachable / 1e9
            color, marker = _look(row.number)
            axis.plot([row.intensity] * 2, [speed, roof], color=color, linewidth=1.2, zorder=2)
            axis.plot(row.intensity, roof, marker, color=PAPER, markeredgecolor=color, markersize=5, zorder=3)
            axis.plot(row.intensity, speed, marker, color=color, markersize=7.5, zorder=4, **EDGE)
            _number(axis, row.number, row.intensity, speed)
        axis.set(xscale="log", yscale="log", title=head, xlabel="Operations per byte moved", xlim=ends)
    axes[0, 0].set_ylabel("GFLOP/s")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for number, title in dict(zip(operations["number"], operations["title"], strict=True)).items():
        color, marker = _look(number)
        handles.append(plt.Line2D([], [], linestyle="", marker=marker, color=color, markersize=7, **EDGE))
        labels.append(f"{number} {title}")
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=2.6)
    return figure


def _number(axis: Axes, number: int, x: float, y: float) -> None:
    """Write a class's number beside its mark, odd ones on the right: neighbours share an intensity."""
    effects = require("matplotlib.patheffects", "book")
    place, side = ((7, -3), "left") if number % 2 else ((-7, -3), "right")
    axis.annotate(
        str(number), (x, y), xytext=place, textcoords="offset points", ha=side, fontsize=8.5, zorder=5,
        path_effects=[effects.withStroke(linewidth=2.4, foreground=PAPER)],
    )  # fmt: skip


def _draw_roofs(axis: Axes, rate: float, bandwidths: Mapping[str, float], ends: tuple[float, float]) -> None:
    x = np.geomspace(*ends, 200)
    for (name, speed), line in zip(bandwidths.items(), ROOFS, strict=False):
        roof = np.minimum(rate, x * speed) / 1e9
        axis.plot(x, roof, color=INK, linewidth=1.3, linestyle=line, zorder=1, label=name)


def _look(number: int) -> tuple[str, str]:
    """Return colour and marker of a class of operations, by its number from 1."""
    return COLOURS[(number - 1) % len(COLOURS)], MARKERS[(number - 1) % len(MARKERS)]


@book_figure
def step_bars(operations: pd.DataFrame) -> Figure:
    """Draw where the time of a step goes, as measured and as the roofs would allow, a panel per kind of head.

    Parameters
    ----------
    operations : columns head (title), number, title, seconds, reachable.
    """
    plt = require("matplotlib.pyplot", "book")
    _some(operations, "operations")
    heads = list(dict.fromkeys(operations["head"]))
    figure, axes = plt.subplots(
        len(heads), 1, figsize=(WIDTH, 1.1 + 1.25 * len(heads) + 0.1 * operations["number"].nunique()),
        squeeze=False,
    )  # fmt: skip
    for axis, head in zip(axes[:, 0], heads, strict=True):
        part = operations[operations["head"] == head].sort_values("number")
        scale = _time_scale(part["seconds"].sum())
        for place, column in enumerate(("seconds", "reachable")):
            _bar(axis, place, part, column, scale[0])
        axis.set_yticks([0, 1], ["measured", "at the roofs"])
        axis.set_ylim(1.5, -0.5)
        axis.set(title=head, xlabel=f"Time of a step ({scale[1]})")
        axis.grid(axis="y", visible=False)
    titles = dict(sorted(dict(zip(operations["number"], operations["title"], strict=True)).items()))
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=_look(number)[0], edgecolor=INK) for number in titles]
    labels = [f"{number} {title}" for number, title in titles.items()]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=1.4)
    return figure


def _bar(axis: Axes, place: int, part: pd.DataFrame, column: str, scale: float) -> None:
    left, whole = 0.0, scale * part["seconds"].sum()
    for row in part.itertuples():
        width = scale * getattr(row, column)
        color = _look(row.number)[0]
        axis.barh(place, width, left=left, height=0.62, color=color, edgecolor=INK, linewidth=0.5)
        if width > WRITTEN * whole:
            axis.text(
                left + width / 2, place, str(row.number), ha="center", va="center", fontsize=8.5,
                color=INK, bbox=BOX,
            )  # fmt: skip
        left += width


def _time_scale(seconds: float) -> tuple[float, str]:
    return (1e3, "ms") if seconds >= 1e-3 else (1e6, "µs")


@book_figure
def scaling_panels(
    curves: pd.DataFrame, titles: Mapping[str, str], fits: Mapping[str, tuple[float, float]]
) -> Figure:
    """Draw seconds of an epoch against R, N, D and K on logarithmic axes, with fits and lines of slope 1.

    Parameters
    ----------
    curves : columns axis, value, seconds.
    titles : axis -> title, in the order of the panels.
    fits : axis -> slope and intercept of log seconds over log value; NaN is not drawn.
    """
    plt = require("matplotlib.pyplot", "book")
    _some(curves, "curves")
    rows = (len(titles) + 1) // 2
    figure, axes = plt.subplots(
        rows, min(2, len(titles)), figsize=(WIDTH, 0.7 + 2.5 * rows), sharey=True, squeeze=False
    )
    for axis in axes.flat[len(titles) :]:
        axis.set_axis_off()
    for axis, (name, title) in zip(axes.flat, titles.items(), strict=False):
        part = curves[curves["axis"] == name].sort_values("value")
        x, y = part["value"].to_numpy(float), part["seconds"].to_numpy(float)
        ends = np.array([x[0], x[-1]])
        axis.plot(ends, y[-1] * ends / x[-1], label="slope 1", **REFERENCE)
        slope, intercept = fits[name]
        if not np.isnan(slope):
            axis.plot(ends, np.exp(intercept) * ends**slope, color=COLOURS[3], linewidth=1.4, label="fit")
            title = f"{title}: slope {slope:.2f}"
        axis.plot(x, y, "o", color=COLOURS[0], markersize=6, label="measured", **EDGE)
        axis.set(xscale="log", yscale="log", title=title)
        axis.set_xticks(x, [f"{value:,.0f}" for value in x])
        axis.minorticks_off()
        if len(x) > 6:
            axis.set_xticks(x[::2], [f"{value:,.0f}" for value in x[::2]])
    for axis in axes[:, 0]:
        axis.set_ylabel("Seconds per epoch")
    # A line of slope 1 may leave at the bottom: the points decide what is seen.
    axes[0, 0].set_ylim(0.6 * curves["seconds"].min(), 1.7 * curves["seconds"].max())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@book_figure
def memory_curve(memory: pd.DataFrame, bytes_per_head: float, fixed_bytes: float) -> Figure:
    """Draw the peak of memory (MiB) against the runs of a bank, with the line that was fitted.

    Parameters
    ----------
    memory : columns R and bytes.
    bytes_per_head, fixed_bytes : slope and intercept of the line.
    """
    plt = require("matplotlib.pyplot", "book")
    _some(memory, "memory")
    figure, axis = plt.subplots(figsize=(WIDTH, 2.7))
    ends = np.array([0.0, memory["R"].max()])
    line = (fixed_bytes + bytes_per_head * ends) / 2**20
    axis.plot(ends, line, color=COLOURS[3], linewidth=1.4, label=f"{bytes_per_head / 2**20:.3g} MiB per run")
    axis.plot(
        memory["R"], memory["bytes"] / 2**20, "o", color=COLOURS[0], markersize=6, label="measured", **EDGE
    )
    axis.set(xlabel="Runs of the bank, R", ylabel="Peak of memory (MiB)")
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    axis.legend(loc="upper left")
    return figure


def _plain_ticks(axis: object) -> None:
    """Write the ticks of a logarithmic axis as plain numbers."""
    ticker = require("matplotlib.ticker", "book")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _some(frame: pd.DataFrame, argument: str) -> None:
    if frame.empty:
        raise NoisylibError(f"{argument} is empty: there is nothing to draw.")
