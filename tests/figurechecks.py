"""What every figure of the book must satisfy."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from noisylib import plotstyle


def check_book_figure(draw: Callable[[], Figure]) -> None:
    """Check that a figure is opaque, as wide as a column and closed, and leaves the settings alone."""
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    figure = draw()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.get_size_inches()[0] == plotstyle.WIDTH
    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before
