"""The selector: what each method would lose on a data set, from descriptors of its features and labels.

It is read from a JSON file beside the package and needs nothing of how it was made. Expected regret is how
much lower a candidate scores than the best of those asked about; intervals tell what happened on kinds of
images that the rule had not seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from noisylib.analysis.class_risk import RISK, class_inputs
from noisylib.analysis.class_risk import class_risk as risk_of
from noisylib.analysis.selector_cases import HEAD_SCORE, KEY, Cases, scaled
from noisylib.analysis.selector_fit import FORMAT, pool_candidates
from noisylib.analysis.selector_rules import Known, criterion, expected_regret
from noisylib.errors import MissingDataError, NoisylibError, check_name

__all__ = ["METRICS", "RISK", "Alike", "Expectation", "Selector", "class_risk", "expected", "familiarity"]
__all__ += ["load_selector", "nearest"]

METRICS = ("balanced_accuracy", "accuracy")
UNFAMILIAR = 95  # percentile of distance from which on a data set is called unlike the archived ones


@dataclass(frozen=True)
class Expectation:
    """What is expected of one candidate; fractions.

    Attributes
    ----------
    regret : expected score of the best candidate minus that of this one, >= 0.
    low, high : `regret` and what the regret of held-out families exceeded the expected one by, its 10th and
        90th percentile, >= 0. About eight in ten conditions of unseen kinds of images were inside, families
        counting alike; for some methods and kinds fewer, and other choices of methods borrow the
        percentiles of all, or of the cheap ones. A condition is a mean over three runs.
    score : expected score, in [0, 1]. It says less than the regret: scores of different data sets differ
        by more than those of methods.
    """

    candidate: str
    regret: float
    low: float
    high: float
    score: float


@dataclass(frozen=True)
class Alike:
    """An archived condition: which it is (by the names of `KEY`), how far, and what each candidate lost."""

    condition: Mapping[str, Any]
    distance: float
    best: str
    regret: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Selector:
    """A fitted selector; `content` is the JSON file as it is."""

    content: Mapping[str, Any]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of the methods it knows."""
        return tuple(self.content["candidates"])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the descriptors it needs."""
        return tuple(self.content["inputs"])

    def rule(self, metric: str = "balanced_accuracy", methods: Sequence[str] | None = None) -> dict[str, Any]:
        """Return what the file says of the rule that serves a metric and a choice of methods."""
        check_name("metric", metric, self.content["rules"])
        cheap = pool_candidates(self.candidates, "cheap")
        pool = "cheap" if methods is not None and set(methods) <= set(cheap) else "all"
        return self.content["rules"][metric][pool]

    def expected(
        self,
        descriptors: Mapping[str, float],
        *,
        metric: str = "balanced_accuracy",
        methods: Sequence[str] | None = None,
    ) -> list[Expectation]:
        """Return what is expected of every candidate, the recommended one first.

        Parameters
        ----------
        descriptors : at least `inputs` and what the metric has in `HEAD_SCORE`, by name.
        methods : candidates to choose from, and that regret is about; by default all.

        Raises
        ------
        NoisylibError
            A descriptor is absent or not finite, or a method or the metric is unknown.
        """
        fitted, x = self.rule(metric, methods), self._query(descriptors)
        (head,) = _values(descriptors, [HEAD_SCORE[metric]])
        for name in methods or ():
            check_name("methods", name, self.candidates)
        train = self._known(metric).among(methods or self.candidates)
        train = train.only(train.learned(fitted["rows"]))
        known = Known(train.X, train.weights, _indexed(fitted["tree"], self.inputs))
        order = np.argsort(criterion(fitted["rule"], known, train.regret, x)[0], kind="stable")
        regret = expected_regret(fitted["rule"], known, train.regret, x)[0]
        level = min(max(fitted["level"]["intercept"] + fitted["level"]["slope"] * head, 0.0), 1.0)
        found = []
        for j in order:
            name = train.candidates[j]
            low, high = regret[j] + np.array(fitted["regret_minus_expected"][name])
            score = max(level - regret[j], 0.0)
            found.append(Expectation(name, *map(float, (regret[j], max(low, 0), max(high, 0), score))))
        return found

    def familiarity(self, descriptors: Mapping[str, float]) -> tuple[float, float, str]:
        """Return how unlike the archived conditions a data set is.

        Returns
        -------
        distance : to the nearest archived condition, root mean square over the standardised inputs.
        percentile : how many percent of the archived draws are nearer to the conditions of other families.
        text : a warning, or "".
        """
        known, x = self._space, self._query(descriptors)
        distance = float(known.distances(x).min())
        grid = self.content["distances"]
        percentile = float(np.interp(distance, grid, np.linspace(0, 100, len(grid))))
        raw = np.array([row["inputs"] for row in self.content["conditions"]])
        outside = [
            f"{name} {descriptors[name]:.3g} ({low:.3g} to {high:.3g})"
            for name, low, high in zip(self.inputs, raw.min(axis=0), raw.max(axis=0), strict=True)
            if not low <= descriptors[name] <= high
        ]
        if percentile < UNFAMILIAR:
            return distance, percentile, ""
        text = (
            f"This data set is unlike the archived ones: {percentile:.0f} % of these are nearer to data of "
            "another kind. What is expected of methods may not hold."
        )
        ranges = f" Outside the archived range: {', '.join(outside)}." if outside else ""
        return distance, percentile, text + ranges

    def nearest(
        self, descriptors: Mapping[str, float], n: int = 5, *, metric: str = "balanced_accuracy"
    ) -> list[Alike]:
        """Return the `n` archived conditions with the closest descriptors, nearest first."""
        check_name("metric", metric, self.content["rules"])
        if n < 1:
            raise NoisylibError(f"n={n}: at least one condition is needed.")
        table = self._known(metric)
        distances = self._space.distances(self._query(descriptors))[0]
        return [
            Alike(
                condition=dict(zip(KEY, table.conditions[i], strict=True)),
                distance=float(distances[i]),
                best=table.candidates[int(np.argmin(table.regret[i]))],
                regret=dict(zip(table.candidates, table.regret[i].tolist(), strict=True)),
            )
            for i in np.argsort(distances, kind="stable")[:n]
        ]

    def class_risk(self, classes: Mapping[str, Sequence[float]], candidate: str | None = None) -> np.ndarray:
        """Return (K,) probability that a candidate never predicts a class, so that its recall is 0.

        A class above `RISK` is called at risk.

        Parameters
        ----------
        classes : class_counts, class_agreement, class_recall and class_purity, each (K,), of the descriptors.
        candidate : by default the mean over all.
        """
        return risk_of(self.content["class_risk"], class_inputs(classes), candidate)

    @cached_property
    def _space(self) -> Known:
        table = self._known(METRICS[0])
        return Known(table.X, table.weights)

    def _known(self, metric: str) -> Cases:
        return _table_cases(self, metric)

    def _query(self, descriptors: Mapping[str, float]) -> np.ndarray:
        """Return the inputs (1, p) of one data set, or refuse them."""
        return scaled(np.array([_values(descriptors, self.inputs)]), self.inputs)


def _values(descriptors: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Return descriptors by name, or refuse them."""
    absent = [name for name in names if name not in descriptors]
    if absent:
        raise NoisylibError(f"The descriptors lack {', '.join(absent)}.")
    bad = [name for name in names if not np.isfinite(descriptors[name])]
    if bad:
        raise NoisylibError(f"Descriptors that are no finite number: {', '.join(bad)}.")
    return [float(descriptors[name]) for name in names]


@cache
def _table_cases(selector: Selector, metric: str) -> Cases:
    """Return the archived conditions of a selector, as `noisylib.analysis.selector_fit` wrote them."""
    rows, inputs = selector.content["conditions"], selector.inputs
    X = scaled(np.array([row["inputs"] for row in rows], dtype=np.float64), inputs)
    return Cases(
        conditions=tuple(tuple(row["condition"]) for row in rows),
        family=np.array([row["family"] for row in rows]),
        candidates=selector.candidates,
        scores=np.array([row[metric] for row in rows], dtype=np.float64) / 100,
        seen=X[:, None, :],
        inputs=inputs,
    )


def _indexed(tree: Mapping[str, Any], inputs: tuple[str, ...]) -> dict[str, Any]:
    """Return the questions of a written tree with positions of inputs, and thresholds on their scale."""
    if "input" not in tree:
        return {}
    place = inputs.index(tree["input"])
    values = np.ones(len(inputs))
    values[place] = tree["at_most"]
    return {
        "input": place,
        "at_most": float(scaled(values, inputs)[place]),
        "yes": _indexed(tree["yes"], inputs),
        "no": _indexed(tree["no"], inputs),
    }


@cache
def load_selector(path: str | Path | None = None) -> Selector:
    """Return the selector of a JSON file; by default the one that comes with the package.

    Raises
    ------
    MissingDataError
        There is no such file.
    NoisylibError
        It is no selector, or of another format.
    """
    place = files("noisylib") / "fitted" / "selector.json" if path is None else Path(path)
    if not place.is_file():
        raise MissingDataError(f"{place} is not there: 'noisylib refit' makes it from the archived tables.")
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NoisylibError(f"{place} is no JSON file ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise NoisylibError(
            f"{place} has format {found!r}, format {FORMAT} is needed: make it anew with 'noisylib refit'."
        )
    return Selector(content)


def expected(
    descriptors: Mapping[str, float],
    *,
    metric: str = "balanced_accuracy",
    methods: Sequence[str] | None = None,
) -> list[Expectation]:
    """Return `Selector.expected` of the selector that comes with the package."""
    return load_selector().expected(descriptors, metric=metric, methods=methods)


def familiarity(descriptors: Mapping[str, float]) -> tuple[float, float, str]:
    """Return `Selector.familiarity` of the selector that comes with the package."""
    return load_selector().familiarity(descriptors)


def nearest(
    descriptors: Mapping[str, float], n: int = 5, *, metric: str = "balanced_accuracy"
) -> list[Alike]:
    """Return `Selector.nearest` of the selector that comes with the package."""
    return load_selector().nearest(descriptors, n, metric=metric)


def class_risk(classes: Mapping[str, Sequence[float]], candidate: str | None = None) -> np.ndarray:
    """Return `Selector.class_risk` of the selector that comes with the package."""
    return load_selector().class_risk(classes, candidate)
