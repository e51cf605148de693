"""The rule that turns descriptors into a noise rate, and the file its constants are read from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from noisylib.errors import ConfigError

FILE = "noise_rate.json"
FORMAT = 1
# The largest rate at which the true class can still be the likeliest is (K - 1) / K; estimates stay below.
BELOW = 0.999


@dataclass(frozen=True, eq=False)
class RateRule:
    """A linear rule on a few descriptors, each z-scored and kept within the range it was fitted on.

    Attributes
    ----------
    names : descriptors, F of them.
    mean, scale, weight, lowest, highest : (F,) of z-scoring, of the rule, and the range of the descriptor.
    intercept : rate at the mean of all descriptors.
    below, above : how far a true rate lay below and above the estimate on data of a kind that was left out
        of the fit, 5th and 95th percentile; at most 0 and at least 0.
    per_class : fewest samples per class, N / K, among the data of the fit.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    intercept: float
    below: float = 0.0
    above: float = 0.0
    per_class: float = 1.0

    def linear(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rule's value at descriptors (M, F), and how much the bounds of the range changed it."""
        within = np.clip(X, self.lowest, self.highest)
        cut = np.abs((X - within) / self.scale) @ np.abs(self.weight)
        return self.intercept + ((within - self.mean) / self.scale) @ self.weight, cut

    def rate(self, X: np.ndarray, n_classes: np.ndarray) -> np.ndarray:
        """Return the rates (M,) for descriptors (M, F), each in [0, (K - 1) / K) of its `n_classes` (M,)."""
        return np.clip(self.linear(X)[0], 0.0, highest_rate(n_classes))

    def interval(self, scalars: Mapping[str, float]) -> tuple[float, float, float]:
        """Return the rate and the ends of its 90 % interval.

        The interval is that of data like those of the fit. It widens by as much as descriptors outside
        their range would have moved the rate, and by the root of how many times fewer samples a class has
        than in any data of the fit: fewer samples are counted.
        """
        X = np.array([[scalars[name] for name in self.names]])
        value, cut = (float(part[0]) for part in self.linear(X))
        top = float(highest_rate(scalars["n_classes"]))
        rate = min(max(value, 0.0), top)
        fewer = math.sqrt(max(1.0, self.per_class * scalars["n_classes"] / scalars["n_samples"]))
        low, high = rate + fewer * self.below - cut, rate + fewer * self.above + cut
        return rate, min(max(low, 0.0), rate), max(min(high, top), rate)


def highest_rate(n_classes: float | np.ndarray) -> float | np.ndarray:
    """Return the highest rate that is ever estimated, a little below (K - 1) / K."""
    return BELOW * (n_classes - 1) / n_classes


def rule_of(fitted: Mapping[str, Any]) -> RateRule:
    """Return the rule that the content of a file describes.

    Raises
    ------
    ConfigError
        If the content lacks something, holds another format, or a number that is not finite.
    """
    if fitted.get("format") != FORMAT:
        raise ConfigError(
            f"the noise-rate rule has format {fitted.get('format')!r}, but this version reads {FORMAT}: "
            "fit it again with 'noisylib refit'."
        )
    try:
        rows = fitted["descriptors"]
        columns = {
            key: np.array([row[key] for row in rows], dtype=np.float64)
            for key in ("mean", "scale", "weight", "lowest", "highest")
        }
        numbers = {key: float(fitted[key]) for key in ("intercept", "below", "above", "per_class")}
        rule = RateRule(tuple(row["name"] for row in rows), **columns, **numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the noise-rate rule is incomplete ({error!r}): fit it again with 'noisylib refit'."
        ) from error
    if not (
        all(np.isfinite(c).all() for c in columns.values()) and np.isfinite(list(numbers.values())).all()
    ):
        raise ConfigError("the noise-rate rule holds NaN or infinity: fit it again with 'noisylib refit'.")
    return rule


@cache
def shipped_rule() -> RateRule:
    """Return the rule that comes with the package."""
    return rule_of(json.loads((files("noisylib") / "fitted" / FILE).read_text(encoding="utf-8")))
