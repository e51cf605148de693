"""A progress bar with the time that is left, or a line now and then where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable

LINE_EVERY = 30.0  # seconds, without a bar


class Progress:
    """Counts finished items and the work they were expected to be.

    Parameters
    ----------
    done, total : items that were finished before, and all items.
    cost : expected work of the others, in the unit of `add`.
    unit : what the items are called.
    echo : called with a line of text.
    """

    def __init__(self, done: int, total: int, cost: float, unit: str, echo: Callable[[str], None]) -> None:
        from tqdm import tqdm

        self.done, self._total, self._unit, self._echo = done, total, unit, echo
        self._started, self._last = time.perf_counter(), 0.0
        self._bar = tqdm(
            total=cost,
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}",
            disable=None,  # no bar where nobody watches
        )

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._started

    def add(self, items: int, cost: float, seconds: float) -> None:
        """Count finished items, `seconds` after the start."""
        self.done += items
        text = f"{self.done}/{self._total} {self._unit}"
        self._bar.set_description_str(text, refresh=False)
        self._bar.update(cost)
        if self._bar.disable and (seconds - self._last > LINE_EVERY or self.done == self._total):
            self._last = seconds
            self._echo(f"{text} after {duration(seconds)}")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
