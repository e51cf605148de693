"""Figures of the bed: what is drawn where, and the style of the book."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib import bedplots, plotstyle
from noisylib.data.simulate import GaussianBed

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
TICKS = np.linspace(-6, 6, 25)
BED = GaussianBed.circle(2, 4.0)  # means at (2, 0) and (-2, 0): Bayes' boundary is the vertical axis
X = np.array([[2.0, 0.0], [2.0, 1.0], [-2.0, 0.0], [-2.0, 1.0]])
Y, NOISY = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])


def labels():
    return bedplots.bed_labels(BED, TICKS, X, Y, NOISY)


def regions():
    return bedplots.decision_regions(BED, TICKS, X, Y, NOISY, np.zeros(625, dtype=int), "Accuracy 50 %")


def accuracy():
    rows = [(m, n, a) for m, a in (("ce", 0.7), ("ce", 0.8), ("elr", 0.9), ("bayes", 0.95)) for n in "ab"]
    frame = pd.DataFrame(rows, columns=["method", "noise_type", "accuracy"])
    return bedplots.bed_accuracy(frame, {"ce": "Cross entropy", "elr": "ELR"}, "bayes")


@pytest.mark.parametrize(
    ("draw", "width"),
    [(labels, plotstyle.WIDTH), (regions, bedplots.BESIDE), (accuracy, plotstyle.WIDTH)],
)
def test_figures_are_opaque_light_closed_and_as_wide_as_their_place(draw, width: float) -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    figure = draw()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.get_size_inches()[0] == width
    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before


def test_wrong_labels_are_framed_and_carry_the_look_of_their_label() -> None:
    framed = [c for c in regions().axes[0].collections if len(c.get_edgecolors()) and len(c.get_offsets())]
    framed = [c for c in framed if np.allclose(c.get_edgecolors()[0][:3], _rgb(plotstyle.INK))]
    (wrong,) = [c for c in framed if isinstance(c, matplotlib.collections.PathCollection)]
    np.testing.assert_allclose(wrong.get_offsets(), [[2.0, 1.0]])
    np.testing.assert_allclose(wrong.get_facecolors()[0][:3], _rgb(plotstyle.COLOURS[1]))


def _rgb(colour: str):
    return matplotlib.colors.to_rgb(colour)


def test_boundary_is_where_two_classes_are_equally_likely() -> None:
    axis = regions().axes[0]
    contours = [c for c in axis.collections if isinstance(c, matplotlib.contour.ContourSet)]
    (line,) = contours
    vertices = np.concatenate([path.vertices for path in line.get_paths()])
    np.testing.assert_allclose(vertices[:, 0], 0, atol=1e-9)


def test_regions_are_tints_of_the_predicted_class() -> None:
    prediction = (TICKS[None] > 0).repeat(25, axis=0).astype(int).ravel()  # class 1 on the right
    figure = bedplots.decision_regions(BED, TICKS, X, Y, NOISY, prediction, "")
    (image,) = figure.axes[0].get_images()
    tints = np.asarray(image.get_array())
    for column, c in ((0, 0), (-1, 1)):
        expected = bedplots.TINT * np.array(_rgb(plotstyle.COLOURS[c])) + 1 - bedplots.TINT
        np.testing.assert_allclose(tints[12, column], expected)
    assert image.origin == "lower", "row 0 of the grid is its lowest"


def test_a_third_class_hides_the_boundary_of_two_others() -> None:
    bed = GaussianBed.circle(3, 4.0)
    figure = bedplots.decision_regions(bed, TICKS, X, Y, NOISY, np.zeros(625, dtype=int), "")
    contours = [c for c in figure.axes[0].collections if isinstance(c, matplotlib.contour.ContourSet)]
    assert len(contours) == 3
    for line in contours:
        for path in line.get_paths():
            p = np.sort(bed.posterior(path.vertices), axis=1)
            assert (p[:, -1] - p[:, -2]).max() < 0.05, "no more than the two likeliest classes meet"


def test_accuracy_has_runs_means_and_the_line_of_bayes() -> None:
    axis = accuracy().axes[0]
    (line,) = [one for one in axis.get_lines() if one.get_linestyle() == "--"]
    assert list(line.get_xdata()) == [95, 95]
    points = {
        (round(x, 6), y)
        for one in axis.get_lines()
        if one is not line
        for x, y in zip(np.atleast_1d(one.get_xdata()), np.atleast_1d(one.get_ydata()), strict=True)
    }
    assert points == {(70, 0), (80, 0), (75, 0), (90, 1)}
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["Cross entropy", "ELR"]
    low, high = axis.get_ylim()
    assert low > high, "the first method stands on top"
