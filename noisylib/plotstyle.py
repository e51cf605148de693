"""The one look of every figure: palette, markers, dashes, type and an opaque light background.

Colours are seaborn's colour-blind palette, and colour never stands alone: each method has a marker
and a dash of its own. Figures are as wide as a page's text column, so that 9-point type is 9 points
in the browser, and opaque, so that they survive a dark page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from noisylib.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.4  # inches
# seaborn's "colorblind", palest hues last: they need the marker most.
COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#56b4e9", "#ca9161", "#949494", "#fbafe4", "#ece133",
)  # fmt: skip
# The first eight are those of the ranked methods.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
INK, PAPER, FAINT = "#1f2328", "#ffffff", "#d9dee3"
EDGE = {"markeredgecolor": INK, "markeredgewidth": 0.5}  # a pale frame would swallow narrow markers
STYLE = {
    "figure.dpi": 180,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8b949e",
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
P = ParamSpec("P")


@dataclass(frozen=True)
class Style:
    """How one method is drawn everywhere in the book."""

    color: str
    marker: str
    linestyle: str | tuple[float, tuple[float, ...]]


def book_figure(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the book's style and hand the figure over closed, so that no notebook shows it twice."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        plt = require("matplotlib.pyplot", "book")
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.canvas.draw()  # settles the layout while the style holds
        plt.close(figure)
        return figure

    return drawn


def style_of(position: int) -> Style:
    """Return the style of the method at `position` of the registry; the first 110 differ."""
    return Style(
        COLOURS[position % len(COLOURS)],
        MARKERS[position % len(MARKERS)],
        DASHES[position % len(DASHES)],
    )


def method_styles(names: Sequence[str]) -> dict[str, Style]:
    """Return the style of each method, fixed by its place in the registry, whatever else is drawn.

    Names that are not registered (a study's labels for changed hyper-parameters) come after it.
    """
    from noisylib.methods import METHODS

    order = [*METHODS, *(name for name in names if name not in METHODS)]
    return {name: style_of(order.index(name)) for name in names}
