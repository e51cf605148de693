"""A recommendation in plain words, on one screen."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from noisylib.recommendation import Recommendation

WIDTH, INDENT = 96, 11
FLIPS, CLASSES = 3, 6  # lines of the commonest confusions, and of classes at risk
NOTABLE = 0.02  # confusions below are left out
NAMES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy"}
MEANING = {
    "balanced_accuracy": "the mean over classes of the share that is recognised",
    "accuracy": "the share of all samples that is recognised",
}


def explain(found: Recommendation, file: str | None = None, arguments: str | None = None) -> str:
    """Return the report on a recommendation, for data of a file and with its name in the next commands."""
    size = f"{found.n_samples:,} samples, {found.n_features} features, {found.n_classes} classes"
    sections = [
        ("Use", [_method(found), _expectation(found)]),
        ("Or", [_runner_up(found)]),
        ("Labels", [_noise(found), *_confusions(found)]),
        ("Classes", _classes(found)),
        ("Assumed", [_assumed(found)]),
        ("Beware", [f"- {text}" for text in (*found.warnings, _always())]),
        ("Next", _next(found, arguments or file or "FILE")),
    ]
    title = "Which method? " + (f"{file}: {size}" if file else size)
    return "\n\n".join([title, *(_section(name, texts) for name, texts in sections)])


def percent(fraction: float) -> str:
    """Return a fraction in percent, without decimals unless it is below 1 %."""
    value = 100 * fraction
    if 0 < value < 0.05:
        return "below 0.1 %"
    return f"{value:.1f} %" if 0 < value < 0.95 else f"{value:.0f} %"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points."""
    return f"{100 * fraction:.1f}"


def _method(found: Recommendation) -> str:
    return f"{found.title} (--method {found.method})"


def _expectation(found: Recommendation) -> str:
    name, others = NAMES[found.metric], len(found.ranking)
    text = (
        f"Expect {name} of about {percent(found.score)} ({MEANING[found.metric]}, on clean test data); such "
        f"forecasts were off by {points(found.score_error)} points on average."
    )
    if others > 1:
        text += (
            f" That is {points(found.expected_regret)} points below the best of {others} methods, which "
            f"nobody knows beforehand: {points(found.low)} to {points(found.high)} points in about 8 of 10 "
            "cases on kinds of images that the choice had not learned from."
        )
    return text


def _runner_up(found: Recommendation) -> str:
    other = found.runner_up
    if other is None:
        return "No other method was in question."
    gap = other.regret - found.expected_regret
    text = (
        f"{_title(other.candidate)} (--method {other.candidate}): {points(other.regret)} points below the "
        f"best ({points(other.low)} to {points(other.high)})"
    )
    close = other.low <= found.expected_regret <= other.high
    return text + (
        f", {points(gap)} more than the first; the intervals do not tell the two apart." if close else "."
    )


def _title(candidate: str) -> str:
    from noisylib.candidates import CANDIDATES

    return CANDIDATES[candidate].title


def _noise(found: Recommendation) -> str:
    wrong = float(f"{found.noise_rate * found.n_samples:.2g}")  # more digits would be made up
    return (
        f"About {percent(found.noise_rate)} of the labels are wrong (90 % interval {percent(found.rate_low)} "
        f"to {percent(found.rate_high)}), some {wrong:,.0f} of {found.n_samples:,}."
    )


def _confusions(found: Recommendation) -> list[str]:
    """Return the commonest wrong labels, as a share of the samples that truly are of a class."""
    T = found.T * (1 - np.eye(found.n_classes))
    order = np.argsort(-T, axis=None)[:FLIPS]
    pairs = [tuple(map(int, np.unravel_index(at, T.shape))) for at in order]
    told = [
        f"{found.class_names[i]} labelled {found.class_names[j]} ({percent(T[i, j])} of true "
        f"{found.class_names[i]})"
        for i, j in pairs
        if T[i, j] >= NOTABLE
    ]
    return ["Commonest confusions, as estimated: " + "; ".join(told) + "."] if told else []


def _classes(found: Recommendation) -> list[str]:
    risky = np.flatnonzero(found.at_risk)
    if not risky.size:
        return [
            f"None of the {found.n_classes} seems in danger of being missed altogether (highest risk "
            f"{percent(found.class_risk.max())}, {found.class_names[int(found.class_risk.argmax())]})."
        ]
    order = risky[np.argsort(-found.class_risk[risky], kind="stable")]
    lines = [
        f"{found.class_names[c]}: {found.class_counts[c]:,} samples, {percent(found.purity[c])} of their "
        f"labels right; risk {percent(found.class_risk[c])} that no test sample of it is ever recognised."
        for c in order[:CLASSES]
    ]
    if order.size > CLASSES:
        lines.append(f"... and {order.size - CLASSES} more classes.")
    return lines


def _assumed(found: Recommendation) -> str:
    text = (
        "The features stay as they are and a small head is trained on them. New samples come from where "
        "these come from. Which labels are wrong depends on the class more than on the single sample. No "
        "clean label was used."
    )
    if found.rows_used < found.n_samples:
        text += (
            f" All samples were counted, and {found.rows_used:,} of them looked at closely; rare classes "
            "kept theirs."
        )
    return text


def _always() -> str:
    return "Look at some of the flagged labels yourself before you act on any of this."


def _next(found: Recommendation, file: str) -> list[str]:
    return [
        f"noisylib clean {file} --out flagged.csv",
        f"noisylib train {file} --method {found.method} --out head.safetensors",
    ]


def _section(title: str, texts: list[str]) -> str:
    """Return paragraphs, each on lines of its own, beside a title; commands are never broken."""
    lines = []
    for text in texts:
        hang = "  " * text.startswith("- ")
        whole = text.startswith("noisylib ")
        lines += [text] if whole else textwrap.wrap(text, WIDTH - INDENT, subsequent_indent=hang)
    first, *rest = lines
    return "\n".join([f"{title:<{INDENT}}{first}", *(" " * INDENT + line for line in rest)])
