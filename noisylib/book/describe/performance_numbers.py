"""Numbers of the chapter on speed as text: ratios, shares, durations, bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.book.tables import NBSP

UNITS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (100.0, 1.0, "s"), (5400.0, 1 / 60, "min"))


def number(value: float, form: str, aim: float | None = None) -> str:
    """Return a number as text, with as many decimals as it takes to be seen on its side of the aim.

    `form` is "times" (a ratio), "share" (a fraction, in percent), "seconds" or "count".
    """
    factor, digits, unit = _scale(value, form)
    if aim is not None:
        while digits < 6 and np.sign(round(value * factor, digits) - aim * factor) != np.sign(value - aim):
            digits += 1
    return f"{value * factor:,.{digits}f}{unit and NBSP}{unit}"


def _scale(value: float, form: str) -> tuple[float, int, str]:
    """Return the factor, the number of decimals and the unit a number is written with."""
    if form == "seconds":
        for limit, factor, unit in UNITS:
            if abs(value) < limit:
                return factor, 1 if abs(value) * factor < 100 else 0, unit
        return 1 / 3600, 1, "h"
    if form == "times":
        return 1, 2 if value < 2 else 1 if value < 100 else 0, "times"
    return (100, 0, "%") if form == "share" else (1, 0, "")


def times(value: float) -> str:
    """Return a ratio: "4.3 times"."""
    return number(value, "times")


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return number(value, "share")


def duration(seconds: float) -> str:
    """Return a time in the unit that makes it legible, nanoseconds to hours."""
    return number(seconds, "seconds")


def size(n_bytes: float) -> str:
    """Return bytes in the unit in which they are between about 1 and 1000."""
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1000:
            return f"{value:.3g}{NBSP}{unit}"
        value /= 1024
    return f"{value:,.3g}{NBSP}GiB" if value < 1000 else f"{value:,.0f}{NBSP}GiB"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def first_upper(text: str) -> str:
    """Return text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def first_lower(text: str) -> str:
    """Return text as it stands inside a sentence."""
    return text[:1].lower() + text[1:]
