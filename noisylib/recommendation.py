"""Which method to use on features whose labels are in doubt, and how much to expect of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from noisylib.analysis import selector
from noisylib.analysis.class_risk import RISK
from noisylib.candidates import CANDIDATES
from noisylib.descriptors import Descriptors, describe
from noisylib.errors import NoisylibError, check_name
from noisylib.evidence import Evidence, collect_evidence
from noisylib.noise_estimate import NoiseEstimate, estimate_noise
from noisylib.recommendation_inputs import LISTED, DoubtfulData, check_data, draw_rows
from noisylib.recommendation_text import explain

METRICS = ("balanced_accuracy", "accuracy")
MAX_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Recommendation:
    """A method for one data set, what to expect of it, and what was seen of the labels.

    Rates, scores and regrets are fractions. The regret of a method is how much it scores below the best of
    the candidates in the same condition.

    Attributes
    ----------
    method, title : key of the recommended method, and its name for people.
    metric : the score that is meant, "balanced_accuracy" or "accuracy".
    expected_regret, low, high : of the method, and where about 8 in 10 conditions of unseen kinds of images
        were; see `noisylib.analysis.selector.Expectation`.
    score, score_error : expected score on clean test data, and the mean error of that expectation on kinds
        of images that it had not seen.
    ranking : all methods in question, best first, this one included.
    runner_up : the second of them, or None if there was only one in question.
    noise_rate, rate_low, rate_high : estimated share of wrong labels, with its 90 % interval.
    T : (K, K) estimated P(observed = j | true = i); rows sum to 1.
    purity : (K,) estimated share of right labels among those that name the class.
    class_names : (K,) as in the labels.
    class_counts : (K,) samples that carry each label.
    class_risk : (K,) estimated probability that the recommended method never predicts the class.
    at_risk : (K,) bool, where that is above `noisylib.analysis.class_risk.RISK`.
    descriptors : numbers on which the choice rests.
    nearest : archived conditions most alike, nearest first.
    warnings : what speaks against trusting all this; may be empty.
    n_samples, n_features, rows_used : size of the data, and how many rows were looked at closely.
    """

    method: str
    title: str
    metric: str
    expected_regret: float
    low: float
    high: float
    score: float
    score_error: float
    ranking: tuple[selector.Expectation, ...]
    noise_rate: float
    rate_low: float
    rate_high: float
    T: np.ndarray
    purity: np.ndarray
    class_names: tuple[str | int | bool, ...]
    class_counts: np.ndarray
    class_risk: np.ndarray
    at_risk: np.ndarray
    descriptors: Descriptors
    nearest: tuple[selector.Alike, ...]
    warnings: tuple[str, ...]
    n_samples: int
    n_features: int
    rows_used: int

    @property
    def runner_up(self) -> selector.Expectation | None:
        """The second-best method."""
        return self.ranking[1] if len(self.ranking) > 1 else None

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def explain(self, file: str | None = None, arguments: str | None = None) -> str:
        """Return a report of one screen.

        Parameters
        ----------
        file : where the data came from.
        arguments : file and options as the commands that the report proposes need them.
        """
        return explain(self, file, arguments)

    def __str__(self) -> str:
        return self.explain()

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON."""
        return _plain({name: value for name, value in vars(self).items() if name != "descriptors"}) | {
            "runner_up": _plain(self.runner_up),
            "descriptors": {**self.descriptors.scalars(), **self.descriptors.class_lists()},
        }


def recommend(
    X: ArrayLike,
    y: ArrayLike,
    *,
    metric: str = "balanced_accuracy",
    methods: Sequence[str] | None = None,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    evidence: Evidence | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recommendation:
    """Return which method to train with on features `X` and labels `y` that may be wrong.

    Nothing is trained but linear probes. Beyond `max_rows` samples these see a part that is drawn by class,
    so that rare classes keep their samples; class counts are always those of all samples.

    Parameters
    ----------
    X : (N, D) features of a frozen network, N at least 50; an array or a DataFrame.
    y : (N,) observed labels: text, whole numbers or truth values.
    metric : score to do well in, "balanced_accuracy" or "accuracy".
    methods : candidates to choose from, keys of `noisylib.candidates.CANDIDATES`; all by default.
    seed : of the draw, the folds and the probes.
    max_rows : samples that the probes and the search for neighbours see at most.
    evidence : of these very samples, if it is at hand; then all of them count.
    progress : called with (work done, work).

    Raises
    ------
    NoisylibError
        For data that `check_data` of `noisylib.recommendation_inputs` refuses, an unknown metric or method,
        or evidence on other samples.
    """
    check_name("metric", metric, METRICS)
    methods = _candidates(methods)
    data = check_data(X, y)
    if evidence is None:
        rows = draw_rows(data.y, _whole("max_rows", max_rows), seed)
        seen = data.X if len(rows) == len(data.X) else data.X[rows]
        (evidence,) = collect_evidence(seen, data.y[rows], len(data.classes), seeds=[seed], progress=progress)
    elif not np.array_equal(evidence.y, data.y):
        raise NoisylibError(
            f"evidence is of {len(evidence.y)} other labels than the {len(data.y)} of y: collect it anew."
        )
    found = _of_all_rows(describe(data.X, evidence), data)
    noise = estimate_noise(evidence, found)
    return _assemble(data, found, noise, metric, methods, len(evidence.y))


def _of_all_rows(found: Descriptors, data: DoubtfulData) -> Descriptors:
    """Return descriptors of a part with the counts of all samples."""
    N, D = data.X.shape
    return replace(
        found,
        n_samples=N,
        samples_per_feature=N / D,
        imbalance=float(data.counts.max() / data.counts.min()),
        class_counts=data.counts,
    )


def _assemble(
    data: DoubtfulData,
    found: Descriptors,
    noise: NoiseEstimate,
    metric: str,
    methods: list[str] | None,
    rows_used: int,
) -> Recommendation:
    scalars = found.scalars()
    ranking = selector.expected(scalars, metric=metric, methods=methods)
    *_, unfamiliar = selector.familiarity(scalars)
    best = ranking[0]
    risk = selector.class_risk(found.class_lists(), best.candidate)
    warnings = [unfamiliar, *data.warnings, _doubt(noise, data.classes)]
    return Recommendation(
        method=best.candidate,
        title=CANDIDATES[best.candidate].title,
        metric=metric,
        expected_regret=best.regret,
        low=best.low,
        high=best.high,
        score=best.score,
        score_error=float(selector.load_selector().rule(metric, methods)["level"]["error"]),
        ranking=tuple(ranking),
        noise_rate=noise.rate,
        rate_low=noise.low,
        rate_high=noise.high,
        T=noise.T,
        purity=noise.purity,
        class_names=tuple(data.classes.tolist()),
        class_counts=data.counts,
        class_risk=risk,
        at_risk=risk > RISK,
        descriptors=found,
        nearest=tuple(selector.nearest(scalars, metric=metric)),
        warnings=tuple(text for text in warnings if text),
        n_samples=len(data.X),
        n_features=data.X.shape[1],
        rows_used=rows_used,
    )


def _doubt(noise: NoiseEstimate, classes: np.ndarray) -> str:
    """Return a warning if the labels may say too little for any method."""
    impure = np.flatnonzero(noise.purity < 0.5)
    if noise.high >= 0.5:
        return (
            "As many as half of the labels may be wrong. No method is reliable then: have a sample of them "
            "looked at by an expert."
        )
    if impure.size:
        named = ", ".join(str(classes[c]) for c in impure[:LISTED]) + ", ..." * (impure.size > LISTED)
        return (
            f"In {impure.size} of {len(classes)} classes ({named}) most of the labels seem to be wrong; a "
            "method takes the majority for the truth there."
        )
    return ""


def _candidates(methods: Sequence[str] | None) -> list[str] | None:
    if methods is None:
        return None
    if isinstance(methods, str) or not len(methods):
        raise NoisylibError(f"methods={methods!r}: a list of some of {', '.join(CANDIDATES)} is needed.")
    return [check_name("methods", name, CANDIDATES) for name in dict.fromkeys(methods)]


def _whole(argument: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 50:
        raise NoisylibError(f"{argument}={value!r}: a whole number of at least 50 is needed, such as 20000.")
    return int(value)


def _plain(value: Any) -> Any:
    """Return arrays, tuples and records as lists and dicts of Python's own types."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return _plain(vars(value)) if hasattr(value, "__dataclass_fields__") else value
