"""Figures of places: how often each method takes which, and who wins in each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import require
from noisylib.plots import NOISE_ORDER, noise_title
from noisylib.plotstyle import EDGE, FAINT, PAPER, WIDTH, book_figure, method_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRONG = 0.04  # a lead this large, as a fraction, has the strongest colour


@book_figure
def place_bars(
    shares: Mapping[str, pd.DataFrame], counts: Mapping[str, int], titles: Mapping[str, str]
) -> Figure:
    """Draw how often each method takes each place, a panel per regime, its mean place beside the bar.

    Parameters
    ----------
    shares : regime -> methods x places, from `analysis.places.place_shares`.
    counts : regime -> number of conditions.
    titles : method -> title, from top to bottom.
    """
    plt = require("matplotlib.pyplot", "book")
    names = list(titles)
    figure, axes = plt.subplots(
        1, len(shares), figsize=(WIDTH, 1.5 + 0.3 * len(names)), sharey=True, squeeze=False
    )
    colours = plt.get_cmap("cividis")(np.linspace(0, 1, len(names)))
    for axis, (regime, table) in zip(axes[0], shares.items(), strict=True):
        part, left = 100 * table.loc[names], np.zeros(len(names))
        for place, colour in zip(part, colours, strict=True):
            look = {"color": colour, "edgecolor": PAPER, "linewidth": 0.6, "height": 0.74}
            axis.barh(np.arange(len(names)), part[place], left=left, label=f"place {place}", **look)
            left += part[place].to_numpy()
        for y, mean in enumerate((table.loc[names] * table.columns).sum(axis=1)):
            axis.text(106, y, f"{mean:.1f}", va="center", fontsize=8.5)
        axis.set_title(f"{regime.replace(', ', chr(10))}\n{counts[regime]} conditions", fontsize=8.5)
        axis.set(xlim=(0, 136), ylim=(len(names) - 0.5, -0.5), xticks=[0, 50, 100], xlabel="Share (%)")
        axis.grid(visible=False)
        axis.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(np.arange(len(names)), list(titles.values()))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(labels)), handlelength=1.1)
    return figure


@book_figure
def winner_tiles(
    won: pd.DataFrame, titles: Mapping[str, str], row_titles: Mapping[tuple[str, str], tuple[str, str]]
) -> Figure:
    """Draw the best method of every condition with its lead in points; strong colour is a large lead.

    Parameters
    ----------
    won : dataset, backbone, noise_type, noise_rate, winner, lead, from `analysis.places.winners`; the
        clean condition once.
    titles : method -> title, in the order of the legend.
    row_titles : (dataset, backbone) -> their titles, in the order of the rows.
    """
    plt = require("matplotlib.pyplot", "book")
    groups: dict[str, list[tuple[str, str]]] = {}
    for key in row_titles:
        groups.setdefault(key[0], []).append(key)
    columns = _tile_columns(won)
    figure, axes = plt.subplots(
        len(groups), figsize=(WIDTH, 1.3 + sum(0.3 + 0.3 * len(keys) for keys in groups.values())),
        squeeze=False, height_ratios=[len(keys) for keys in groups.values()],
    )  # fmt: skip
    for axis, keys in zip(axes[:, 0], groups.values(), strict=True):
        axis.set_title(row_titles[keys[0]][0])
        for row, (dataset, backbone) in enumerate(keys):
            part = won[(won["dataset"] == dataset) & (won["backbone"] == backbone)]
            for tile in part.itertuples():
                kind = "" if tile.noise_rate == 0 else tile.noise_type
                _tile(axis, columns[kind, tile.noise_rate], row, tile.winner, tile.lead, titles)
        axis.set_yticks(range(len(keys)), [row_titles[key][1] for key in keys])
        axis.set(xlim=(-0.5, max(columns.values()) + 0.5), ylim=(len(keys) - 0.5, -0.5))
        axis.tick_params(length=0)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        labels = [f"{100 * rate:g} %" if kind else "clean" for kind, rate in columns]
        axis.set_xticks(list(columns.values()), labels)
        axis.tick_params(axis="x", labelbottom=axis is axes[-1, 0])
    _tile_heads(axes[-1, 0], columns)
    _tile_legend(figure, titles, [name for name in titles if (won["winner"] == name).any()])
    return figure


def _tile_columns(won: pd.DataFrame) -> dict[tuple[str, float], float]:
    """Return (noise type, rate) -> x; the clean condition is first, and kinds stand a little apart."""
    noisy = won.loc[won["noise_rate"] > 0, ["noise_type", "noise_rate"]].drop_duplicates()
    keys = sorted(
        noisy.itertuples(index=False, name=None), key=lambda key: (NOISE_ORDER.index(key[0]), key[1])
    )
    clean = [("", 0.0)] if (won["noise_rate"] == 0).any() else []
    columns: dict[tuple[str, float], float] = {}
    x, before = -1.0, None
    for key in [*clean, *keys]:
        x += 1.0 if before in (None, key[0]) else 1.25
        columns[key], before = x, key[0]
    return columns


def _tile(axis: Axes, x: float, y: float, winner: str, lead: float, titles: Mapping[str, str]) -> None:
    """Draw one tile: the winner's marker and its lead, or a tie."""
    plt = require("matplotlib.pyplot", "book")
    style = method_styles(list(titles))[winner] if winner else None
    strength = 0.12 + 0.5 * min(1.0, lead / STRONG)
    fill = {"color": style.color, "alpha": strength} if style else {"color": FAINT}
    axis.add_patch(plt.Rectangle((x - 0.48, y - 0.45), 0.96, 0.9, lw=0, **fill))
    if style:
        axis.plot(x - 0.27, y, marker=style.marker, color=style.color, markersize=6, **EDGE)
    text = f"{100 * lead:.1f}" if style else "tie"
    axis.text(x + 0.4, y, text, ha="right", va="center", fontsize=8)


def _tile_heads(axis: Axes, columns: Mapping[tuple[str, float], float]) -> None:
    """Write the kind of noise under its columns."""
    for kind in dict.fromkeys(kind for kind, _ in columns if kind):
        places = [x for (name, _), x in columns.items() if name == kind]
        axis.annotate(
            f"{noise_title(kind)} noise", (np.mean(places), 0), xycoords=("data", "axes fraction"),
            xytext=(0, -19), textcoords="offset points", ha="center", va="top", fontsize=9,
        )  # fmt: skip


def _tile_legend(figure: Figure, titles: Mapping[str, str], names: Sequence[str]) -> None:
    plt = require("matplotlib.pyplot", "book")
    styles = method_styles(list(titles))
    handles = [
        plt.Line2D(
            [], [], linestyle="none", marker=styles[name].marker, color=styles[name].color, ms=7, **EDGE
        )
        for name in names
    ]
    labels = [titles[name] for name in names]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))))
