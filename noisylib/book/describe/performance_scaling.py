"""How time and memory of a bank grow with runs, samples, features and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.benchmark_record import Record, walk
from noisylib.book.describe.performance_numbers import duration, first_upper, listed, percent, size
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

AXES = {"R": "runs", "N": "samples", "D": "features", "K": "classes"}
TOLERANCE = 0.1  # of a slope: closer to 1 than this is called in proportion


def curve_frame(record: Record) -> pd.DataFrame:
    """Return the seconds of one epoch of the whole bank: columns axis (R, N, D or K), value, seconds."""
    import pandas as pd

    rows = [
        (axis, float(value), float(seconds))
        for axis, curve in walk(record, "scaling.curves")
        for value, seconds in zip(curve["values"], curve["seconds"], strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["axis", "value", "seconds"])
    return frame.sort_values(
        ["axis", "value"], key=lambda s: s.map(list(AXES).index) if s.name == "axis" else s
    )


def slopes(record: Record) -> dict[str, tuple[float, float]]:
    """Return axis -> log-log slope over all values and over the larger half; fitted here if not on file."""
    found = {}
    for axis, part in curve_frame(record).groupby("axis", sort=False):
        upper = part.iloc[len(part) // 2 :] if len(part) > 3 else part
        own = record.get(f"scaling.curves/{axis}")
        whole = own.get("slope")
        half = own.get("slope_upper_half")
        found[axis] = (
            fitted(part)[0] if whole is None else float(whole),
            fitted(upper)[0] if half is None else float(half),
        )
    return found


def fitted(part: pd.DataFrame) -> tuple[float, float]:
    """Return slope and intercept of log seconds over log value, by least squares; NaN for a single value."""
    x, y = np.log(part["value"].to_numpy()), np.log(part["seconds"].to_numpy())
    if len(x) < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def fits(record: Record) -> dict[str, tuple[float, float]]:
    """Return axis -> slope and intercept of the line to draw through the points."""
    return {axis: fitted(part) for axis, part in curve_frame(record).groupby("axis", sort=False)}


def axis_titles(record: Record) -> dict[str, str]:
    """Return the axes that were measured with their titles: "Runs, R"."""
    return {
        axis: f"{first_upper(AXES[axis])}, {axis}" for axis in AXES if record.has(f"scaling.curves/{axis}")
    }


def memory_words(record: Record) -> str:
    """Return what the bank whose memory was measured has besides its runs."""
    return others_words(record, but="R")


def others_words(record: Record, but: str = "") -> str:
    """Return at which values of the other axes each was measured, and without axis `but`."""
    setting = record.setting("scaling")
    known = [f"{axis}{NBSP}={NBSP}{setting[axis]:,}" for axis in AXES if axis in setting and axis != but]
    text = f"{first_upper(str(setting.get('head', 'adapter')))} heads"
    if "batch_size" in setting:
        text += f", batch {setting['batch_size']}"
    if but or not known:
        return f"{', '.join([text, *known])}."
    return f"{text}; where it is not varied, {', '.join(known)}."


def scaling_reading(record: Record) -> str:
    """Return a list: per axis, how the time grows."""
    sentences = []
    for axis, (whole, half) in slopes(record).items():
        part = curve_frame(record).query("axis == @axis")
        first, last = part.iloc[0], part.iloc[-1]
        text = (
            f"- **{first_upper(AXES[axis])}**: from {first['value']:,.0f} to {last['value']:,.0f}, an epoch "
            f"of the bank goes from {duration(first['seconds'])} to {duration(last['seconds'])}"
        )
        if np.isnan(whole):
            sentences.append(f"{text}.")
            continue
        sentences.append(
            f"{text}, slope {whole:.2f}, {half:.2f} over the larger half: {_verdict(axis, whole, half)}."
        )
    return "\n".join(sentences)


def _verdict(axis: str, whole: float, half: float) -> str:
    what = AXES[axis]
    if abs(half - 1) <= TOLERANCE:
        start = "" if abs(whole - 1) <= TOLERANCE else "at the end "
        return f"{start}in proportion to the {what}"
    if half > 1:
        return f"faster than in proportion to the {what}, as when less of the work fits the nearest memory"
    return f"more slowly than in proportion to the {what}, as when much of an epoch does not depend on them"


def memory_frame(record: Record) -> pd.DataFrame:
    """Return columns R (runs of the bank) and bytes (peak above what the process had before)."""
    import pandas as pd

    memory = record.get("scaling.memory")
    return pd.DataFrame({"R": memory["R"], "bytes": memory["peak_bytes"]}, dtype=float).sort_values("R")


def parts_of_a_head(record: Record) -> dict[str, float]:
    """Return the bytes that a head must have: with Adam, and its labels; empty if the setting does not tell.

    Parameters, gradient and both moments of Adam have 4 bytes each a parameter, observed labels 8 a sample.
    """
    from noisylib.heads import HEAD_KINDS, HeadBank

    setting = record.setting("scaling")
    if not {"n_features", "n_classes", "n_samples"} <= set(setting) or setting.get("head") not in HEAD_KINDS:
        return {}
    one = HeadBank(setting["head"], [0], setting["n_features"], setting["n_classes"])
    return {
        "parameters, gradient and both moments of Adam": 16.0 * one.flat.numel(),
        "observed labels": 8.0 * setting["n_samples"],
    }


def memory_line(record: Record) -> tuple[float, float]:
    """Return the bytes that each head adds, and those that no head changes."""
    return float(record.get("scaling.memory/bytes_per_head")), float(
        record.get("scaling.memory/fixed_bytes", 0)
    )


def memory_reading(record: Record, runs: int = 1000) -> str:
    """Return bytes per head and what they are made of, and what a bank of `runs` heads would need."""
    per_head, fixed = memory_line(record)
    fixed = max(fixed, 0.0)  # of a line through noise
    text = f"Each head adds {size(per_head)} to {size(fixed)} that no head changes."
    parts = parts_of_a_head(record)
    if parts and per_head > 0:
        known = listed([f"{name} {size(value)}" for name, value in parts.items()])
        share = sum(parts.values()) / per_head
        if share <= 1:
            text += f" A head in training has {known}, together {percent(share)} of that."
        else:
            text += (
                f" A head in training has more, {known}; but a large bank is trained in parts, and what one "
                "part takes is free for the next."
            )
    return f"{text} A bank of {runs:,} such heads would take about {size(fixed + runs * per_head)}."
