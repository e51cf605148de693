"""What the chapter on large studies says of the cost model's error, against curves that were measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisylib.analysis.cost_model import AXES, errors
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.scale_parameters import ScaleParameters

CLOSE, ROUGH = 1.25, 2.0  # a model is called close, or a rough guide, by how far off its worst point is


def error_facts(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the text says of the model's error over the points of the scaling curves."""
    found = errors(points)
    worst = max(points, key=lambda point: abs(math.log(point["ratio"])))
    return {
        "points": len(points),
        "median": found["median"],
        "worst": found["worst"],
        "off": found["off"],
        "worst_at": f"{worst['axis']}{NBSP}={NBSP}{worst['value']:,}",
    }


def short_words(facts: Mapping[str, Any]) -> str:
    """Return how far off the model is, in one sentence."""
    return (
        f"On the curves that were measured, the model behind this is {facts['median']:.2f} times the truth "
        f"in the median, and off by a factor of {facts['off']:.2f} at worst."
    )


def error_words(facts: Mapping[str, Any]) -> str:
    """Return how wrong the model is, and what that means for a plan."""
    text = (
        f"Over the {facts['points']} points of the measured curves the model's time is {facts['median']:.2f} "
        f"times the measured one in the median, and {facts['worst']:.2f} times at {facts['worst_at']}, where "
        f"it is farthest off, by a factor of {facts['off']:.2f}. "
    )
    if facts["off"] <= CLOSE:
        return text + "That is close enough to plan with."
    if facts["off"] <= ROUGH:
        return text + "Times below are a plan to within such a factor."
    return text + "That is more than a factor of two: times below are no more than an order of magnitude."


def bank_words(points: Sequence[Mapping[str, Any]]) -> str:
    """Return how the model compares with banks that were timed as a whole; empty without any."""
    if not points:
        return ""
    parts = [f"{point['ratio']:.2f} times the measured one for {point['value']} heads" for point in points]
    return (
        f"For the larger banks that the speed of the training core is measured on, its time is "
        f"{' and '.join(parts)}."
    )


def beyond_words(p: ScaleParameters, record: Mapping[str, Any]) -> str:
    """Return which sizes of the large study lie outside the curves, where nothing checks the model."""
    curves = record["scaling.curves"]
    asked = {"R": p.runs_per_chunk, "N": p.samples, "D": p.n_features, "K": p.n_classes}
    beyond = [
        f"{axis}{NBSP}={NBSP}{value:,} (measured: {min(curves[axis]['values']):,} to "
        f"{max(curves[axis]['values']):,})"
        for axis, value in asked.items()
        if axis in curves and not min(curves[axis]["values"]) <= value <= max(curves[axis]["values"])
    ]
    if not beyond:
        return "All sizes of the large study lie within the measured curves."
    return f"Outside the measured curves lie {', '.join(beyond)}: there the model is not checked."


def curve_frame(points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the points of the scaling curves for the figure; `size` names what an axis counts."""
    import pandas as pd

    words = {"runs": "Runs", "samples": "Training samples", "n_features": "Features", "n_classes": "Classes"}
    frame = pd.DataFrame(points)
    return frame.assign(size=[f"{words[AXES[axis]]} ({axis})" for axis in frame["axis"]])
