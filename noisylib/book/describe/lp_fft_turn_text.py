"""What the chapter on LP, FFT and TURN says in words. The words follow the numbers, whatever they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.book.claims import turn_rows as rows_of
from noisylib.book.claims.claim import UNTESTED, VERDICTS, Result, ends_text
from noisylib.book.claims.turn_rows import PROBES, TUNED, TURN
from noisylib.book.describe.lp_fft_turn_archive import SCORES, set_titles
from noisylib.book.describe.lp_fft_turn_cost import PARTS, ratio_words
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

SHORT = ("seconds", "operations")  # the costs that the summary names


def listed(names: Sequence[str]) -> str:
    """Return names as text, "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def live_reading(rows: pd.DataFrame) -> str:
    """Return the best row of each kind of tuning in the live condition, and how far seeds are apart."""
    means = 100 * rows.groupby("label", sort=False)["accuracy"].mean()
    parts = []
    for title, labels in (("linear probe", PROBES), ("fine-tuning of all labels", TUNED)):
        there = means[means.index.isin(labels)]
        if len(there):
            best = f"the best {title}, {there.idxmax()}," if len(there) > 1 else f"{there.idxmax()}"
            parts.append(f"{best} has {there.max():.1f}{NBSP}%")
    if TURN in means:
        parts.append(f"{TURN} has {means[TURN]:.1f}{NBSP}%")
    text = f"Mean accuracy here: {listed(parts)}."
    if rows["seed"].nunique() < 2:
        return f"{text} One seed says nothing of how much of that is luck."
    if len(means) < 2:
        return text
    best = means.nlargest(2)
    gap = best.iloc[0] - best.iloc[1]
    seeds = 100 * rows[rows["label"].isin(best.index)].groupby("label")["accuracy"].agg(np.ptp).max()
    told = "less than" if round(gap - seeds, 9) < 0 else "at least as much as"
    return (
        f"{text} The best two rows, {listed(list(best.index))}, are {gap:.1f} points apart, {told} the "
        f"largest difference between seeds of one of them, {seeds:.1f}."
    )


def study_facts(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what the text says of the archived study: how many of what, and how small."""
    known = rows[rows["label"].isin(rows_of.LABELS)]
    table = rows_of.score_table(known)
    passes = known[known["label"] == "FFT-CE"]
    epochs = (passes["images_seen"] / passes["n_train"]).round(9).unique()
    tests = known["n_test"]
    symmetric = [rate for kind, rate in rows_of.noises_of(table) if kind == "symmetric"]
    return {
        "datasets": known["dataset"].nunique(),
        "dataset_names": listed(list(set_titles(known).values())),
        "backbone": listed([backbone_title(name) for name in known["backbone"].unique()]),
        "image_size": listed([str(size) for size in known["image_size"].unique()]),
        "largest": int(known["n_train"].max()),
        "train_images": _range(int(known["n_train"].min()), int(known["n_train"].max())),
        "test_images": int(tests.max()),
        "standard_error": 50 / float(np.sqrt(tests.min())),  # binomial, of an accuracy of a half
        "highest_symmetric": 100 * max(symmetric, default=float("nan")),
        "fft_steps": _between(passes["steps"]),
        "fft_epochs": listed([f"{value:g}" for value in epochs]),
        "seeds": known["seed"].nunique(),
        "runs": len(known),
        "noises": listed([noise_words(*noise) for noise in rows_of.noises_of(table)]),
    }


def _range(low: int, high: int) -> str:
    """Return "low to high", or the one number that both are."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _between(counts: pd.Series) -> str:
    """Return the lowest and the highest of some counts, "80 to 100"; once where they are one."""
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def verdict_counts(results: Sequence[Result]) -> str:
    """Return how many patterns have which verdict, as text."""
    found = Counter(finding.verdict for result in results for finding in result.findings.values())
    return listed([f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict]])


def verdict_reading(found: Mapping[str, Sequence[Result]]) -> str:
    """Return the counts of verdicts by score, which patterns differ between scores, and what has no test."""
    text = [f"By {SCORES[score]}: {verdict_counts(results)}." for score, results in found.items()]
    by_key = {
        score: {r.claim.key: next(iter(r.findings.values())).verdict for r in results}
        for score, results in found.items()
    }
    first = next(iter(by_key.values()))
    differ = [key for key in first if len({verdicts[key] for verdicts in by_key.values()}) > 1]
    if differ:
        text.append(f"The verdict depends on the score for {listed(differ)}.")
    untested = [key for key, verdict in first.items() if verdict == UNTESTED]
    if untested:
        reasons = {
            next(iter(r.findings.values())).note
            for r in next(iter(found.values()))
            if r.claim.key in untested
        }
        text.append(f"{listed(untested)} cannot be tested: {'; '.join(sorted(reasons))}.")
    return " ".join(text)


def wins_words(rows: pd.DataFrame, score: str) -> str:
    """Return in how many columns TURN is best by one score, and who is best most often."""
    columns = rows_of.wins(rows_of.column_means(rows_of.score_table(rows, score))).sum()
    text = f"{TURN} is best in {columns.get(TURN, 0.0):.3g} of {columns.sum():.3g} columns by {SCORES[score]}"
    leader = columns.idxmax()
    if leader == TURN:
        return f"{text}, more than any other row." if (columns == columns.max()).sum() == 1 else f"{text}."
    return f"{text}; {leader} is in {columns.max():.3g}."


def lead_words(table: pd.DataFrame, title: str, rivals: tuple[str, ...]) -> str:
    """Return TURN's mean lead over a rival picked on the other seeds, with its interval and its direction."""
    found = rows_of.over_pairs(rows_of.lead_over_picked(table, TURN, rivals))
    ends = f" ({ends_text(found.ends, 1)})" if found.ends else ""
    if found.ends and found.ends[0] > 0:
        told = "ahead of"
    elif found.ends and found.ends[1] < 0:
        told = "behind"
    else:
        told = "not told apart from"
    return f"{told} {title}, by {found.mean:+.1f} points{ends}"


def small_sets_reading(by_set: pd.DataFrame, titles: Mapping[tuple[str, str, int], str]) -> str:
    """Return on how many data sets TURN is ahead of each rival under every seed, and where it does worst.

    Parameters
    ----------
    by_set : from `gains_by_set`.
    """
    sentences = []
    for rival, part in by_set.groupby("rival", sort=False):
        ahead, behind = int((part["low"] > 0).sum()), int((part["high"] < 0).sum())
        worst = part.loc[part["mean"].idxmin()]
        name = titles[tuple(worst[rows_of.SET])]
        sentences.append(
            f"Against {rival}, TURN is ahead on {ahead} of {len(part)} data sets under every seed and behind "
            f"on {behind}; its mean lead is lowest on {name}, {worst['mean']:+.1f} points, where "
            f"{worst['worst_noise']} noise gives {worst['worst']:+.1f}."
        )
    return " ".join(sentences)


def works_on_small_sets(by_set: pd.DataFrame) -> str:
    """Return the short answer to whether TURN works on small data sets, against the best linear probe.

    Means over noises are compared, seed by seed.
    """
    part = by_set[by_set["rival"] == by_set["rival"].iloc[0]]
    ahead, behind, n = int((part["low"] > 0).sum()), int((part["high"] < 0).sum()), len(part)
    rival, how = "the best linear probe", "under every seed (means over noises)"
    if ahead == n:
        return f"Yes: on each of these {n} data sets it is ahead of {rival} {how}."
    if behind == n:
        return f"No: on each of these {n} data sets it is behind {rival} {how}."
    if not ahead:
        return f"Not here: on none of these {n} data sets is it ahead of {rival} {how}."
    return (
        f"It depends on the data set: it is ahead of {rival} {how} on {ahead} of {n}, and behind on {behind}."
    )


def cost_reading(facts: Mapping[str, float], parts: Mapping[str, float]) -> str:
    """Return TURN's cost against both bases, and where its seconds go."""
    text = []
    for base in ("FFT-CE", "LP-CE"):
        words = ratio_words(facts, base)
        if words:
            text.append(f"against {base}, {words}")
    shares = [
        f"{100 * parts[name]:.0f}{NBSP}% {title}"
        for name, title in PARTS.items()
        if not np.isnan(parts[name])
    ]
    said = f"In the median run TURN takes, {'; '.join(text)} (lowest to highest run)." if text else ""
    return f"{said} Its seconds: {listed(shares)}.".strip() if shares else said


def in_short(
    rows: pd.DataFrame,
    live: pd.DataFrame,
    by_set: pd.DataFrame,
    found: Mapping[str, Sequence[Result]],
    facts: Mapping[str, float],
    score: str,
) -> str:
    """Return the answers of the chapter in four paragraphs.

    Parameters
    ----------
    rows, live : archived rows and those trained live.
    by_set : from `gains_by_set` by `score`; found : from `verdicts`; facts : from `ratio_facts` of `rows`.
    """
    table = rows_of.score_table(rows, score)
    leads = [
        lead_words(table, title, rivals)
        for title, rivals in (("the best linear probe", PROBES), ("FFT-CE", ("FFT-CE",)))
    ]
    wins = " ".join(wins_words(rows, name) for name in SCORES)
    cost = [f"{ratio_words(facts, base, SHORT)} of {base}" for base in ("FFT-CE", "LP-CE")]
    return "\n\n".join(
        [
            f"**Live, on digits.** {live_reading(live)}",
            f"**Archived, on small medical sets.** {wins} Over all of them it is, by {SCORES[score]}, "
            f"{listed(leads)}. Of the paper's patterns: {verdict_counts(found['accuracy'])} by accuracy.",
            f"**Does it work on small data sets?** {works_on_small_sets(by_set)}",
            f"**What does it cost?** In the median run, {listed(cost)}.",
        ]
    )
