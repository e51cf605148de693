"""What the chapter on movement says in words. The words follow the numbers, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.analysis.rank_correlation import RankCorrelation
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.moved import Live
from noisylib.book.describe.moved_archive import CONDITION, MEASURES, PARTNERS, Tally
from noisylib.book.describe.moved_tables import correlation_words
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.plots import noise_title

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.moved_parameters import MovedParameters

# Of a correlation with the gain: what is said where its interval lies above zero, and where below.
DIRECTIONS = {
    "moved": ("the farther the feature moved", "the less the feature moved"),
    "weights": ("the more the weights changed", "the less the weights changed"),
    "probe_gain": ("the better the features became", "the worse the features became"),
    "probe_before": ("the better the frozen features were", "the poorer the frozen features were"),
    "noise_rate": ("the more labels were wrong", "the fewer labels were wrong"),
}


def live_source(live: Live, params: MovedParameters) -> str:
    """Return what captions say of the live runs."""
    task = next(iter(live.tasks.values()))
    named = f"seed{'' if len(params.seeds) == 1 else 's'} {', '.join(map(str, params.seeds))}"
    return (
        f"Digits 5 to 9, {len(task.train)} training and {len(task.test)} test images of {task.pixels.size} "
        f"pixels, {noise_title(params.noise_type).lower()} noise, {params.epochs} "
        f"epoch{'' if params.epochs == 1 else 's'} of fine-tuning, learning rate of the backbone "
        f"{live.learning_rate:g}, {named}."
    )


def dose_source(live: Live, params: MovedParameters) -> str:
    """Return what a caption says of the runs at all learning rates."""
    rates = ", ".join(f"{lr:g}" for lr in sorted(set(live.runs["lr"])))
    return f"Learning rates of the backbone, along each line: {rates}; seed {params.seeds[0]}."


def archive_source(movement: pd.DataFrame, source: str) -> str:
    """Return what captions say of archived rows: backbone, image size, and where they come from."""
    backbones = ", ".join(backbone_title(name) for name in movement["backbone"].unique())
    sizes = ", ".join(str(size) for size in movement["image_size"].unique())
    return f"{backbones}, images of {sizes} pixels. {source[0].upper()}{source[1:]}."


def block_reading(blocks: pd.DataFrame) -> str:
    """Return, per tuning and condition, the similarity of the first block and of the feature, in words.

    `blocks` is as `movementplots.block_curves` takes it.
    """
    means = blocks[blocks["block"] >= 0].groupby(["tuning", "condition", "block"], sort=False)["cka"].mean()
    parts, deep = [], []
    for (tuning, condition), part in means.groupby(level=[0, 1], sort=False):
        values = part.droplevel([0, 1]).sort_index().dropna()
        if values.empty:
            continue
        parts.append(
            f"{tuning} with {condition}: {values.iloc[0]:.2f} after the first block, {values.iloc[-1]:.2f} "
            "at the feature"
        )
        deep.append(values.iloc[-1] < values.iloc[0])
    if not parts:
        return "No similarity could be measured: the features do not vary over the test images."
    if all(deep):
        verdict = "The first block kept more of its features than the last in every case."
    elif any(deep):
        verdict = (
            f"The first block kept more of its features than the last in {sum(deep)} of {len(deep)} cases."
        )
    else:
        verdict = (
            "The feature at the end is no less like before than the output of the first block, in any case."
        )
    return f"CKA of before and after: {'; '.join(parts)}. {verdict}"


def probe_reading(means: pd.DataFrame) -> str:
    """Return what moving did to the features and what the head made of it, per noise rate and tuning.

    `means` has one row per rate and tuning: columns rate, tuning, probe_before, probe_after, own, lp.
    """
    sentences = []
    for row in means.itertuples():
        change, gain = (100 * (a - b) for a, b in ((row.probe_after, row.probe_before), (row.own, row.lp)))
        if change > 0 and gain > 0:
            verdict = "both the features and the score got better"
        elif change > 0:
            verdict = "the features got better, and the head lost it on wrong labels"
        elif gain > 0:
            verdict = "the score got better though a clean probe reads no more from the features"
        else:
            verdict = "neither the features nor the score got better"
        sentences.append(
            f"{row.tuning} with {100 * row.rate:g}{NBSP}% noise: clean probe "
            f"{_change(row.probe_before, row.probe_after)}, score {_change(row.lp, row.own)} against its "
            f"linear probe; {verdict}."
        )
    return " ".join(sentences)


def dose_reading(runs: pd.DataFrame) -> str:
    """Return at which learning rate each tuning scores best with little and with much noise.

    Parameters
    ----------
    runs : of one seed: columns rate, tuning, lr, moved, own.
    """
    sentences, bests = [], {}
    for (tuning, rate), part in runs.groupby(["tuning", "rate"], sort=False):
        best = part.sort_values("lr").loc[part.sort_values("lr")["own"].idxmax()]
        bests.setdefault(tuning, []).append(best["moved"])
        still = part[part["lr"] == 0]
        against = f" (held still: {100 * still['own'].iloc[0]:.1f}{NBSP}%)" if len(still) else ""
        sentences.append(
            f"{tuning} with {100 * rate:g}{NBSP}% noise scores best at {best['lr']:g}, "
            f"{100 * best['own']:.1f}{NBSP}%{against}, with 1 - CKA of {best['moved']:.2f}"
        )
    paired = {tuning: moved for tuning, moved in bests.items() if len(moved) > 1}
    farther = [tuning for tuning, moved in paired.items() if moved[0] > moved[-1]]
    others = [tuning for tuning in paired if tuning not in farther]
    verdict = "".join(
        f" Of the learning rates tried, the best for {' and for '.join(names)} {what}."
        for names, what in (
            (farther, "moves the feature farther with little noise than with much"),
            (others, "moves the feature no farther with little noise than with much"),
        )
        if names
    )
    return "; ".join(sentences) + "." + verdict


def tally_reading(found: Mapping[str, Tally]) -> str:
    """Return in how many archived conditions each tuning gained, and what happened to its features."""
    sentences = []
    for label, one in found.items():
        sentences.append(
            f"{label} beats {PARTNERS[label]} in {one.gained} of {one.n} conditions (mean over all: "
            f"{one.gain:+.1f} points); a clean probe reads more from its features than before in "
            f"{one.better} (mean over all: {one.probe_gain:+.1f} points). Features and score both better: "
            f"{one.better_gained}; neither: {one.worse_lost}; features only: {one.spoilt}; score only: "
            f"{one.rescued}."
        )
    return " ".join(sentences)


def correlation_reading(label: str, one: RankCorrelation, brief: bool = False) -> str:
    """Return what the correlation of movement and gain says, with its number and interval.

    `brief` leaves out what it is within data sets, and without one of them.
    """
    if np.isnan(one.value):
        return f"For {label}, there are too few conditions for a correlation of movement and gain."
    if one.low > 0:
        verdict = "conditions in which the feature moved farther gained more"
    elif one.high < 0:
        verdict = "conditions in which the feature moved farther gained less"
    else:
        verdict = "how far the feature moved does not tell who gained"
    text = (
        f"For {label}, the rank correlation of movement (1 - CKA) and gain over {PARTNERS[label]} is "
        f"{correlation_words(one)} over {one.n} conditions of {one.groups} data set"
        f"{'' if one.groups == 1 else 's'}: {verdict}."
    )
    if brief or np.isnan(one.within) or one.groups < 2:
        return text
    span = "" if np.isnan(one.least) else f"; with one set left out, {one.least:+.2f} to {one.most:+.2f}"
    text = f"{text} Within data sets it is {one.within:+.2f} on average{span}."
    return f"{text} So differences between data sets make the sign." if _reversed(one) else text


def _reversed(one: RankCorrelation) -> bool:
    """Return whether a correlation that is not zero has the other sign within data sets."""
    return (one.low > 0 or one.high < 0) and one.within * one.value < 0


def when_reading(label: str, measures: Mapping[str, RankCorrelation]) -> str:
    """Return what goes with the gain: the measures whose interval leaves out zero, strongest first."""
    told = [name for name, one in measures.items() if one.low > 0 or one.high < 0]
    told.sort(key=lambda name: -abs(measures[name].value))
    if not told:
        return f"Nothing that was measured goes with the gain of {label} beyond what chance gives."
    parts = []
    for name in told:
        one = measures[name]
        caveat = f", but {one.within:+.2f} within data sets" if _reversed(one) else ""
        parts.append(f"{DIRECTIONS[name][one.low <= 0]} ({one.value:+.2f}{caveat})")
    rest = [MEASURES[name] for name in measures if name not in told]
    silent = f" No relation shows with: {', '.join(rest)}." if rest else ""
    return f"{label} gained more over its linear probe {', '.join(parts)}.{silent}"


def archive_facts(found: pd.DataFrame, remark: str, dataset: str, map_set: str) -> dict[str, Any]:
    """Return what the text says of the archived tables; `found` is of `moved_archive.cells`."""
    return {
        "n_cells": found[CONDITION].drop_duplicates().shape[0],
        "n_sets": found["dataset"].nunique(),
        "tunings": ", ".join(found["label"].unique()),
        "shown_dataset": bank_title(dataset),
        "shown_note": remark,
        "map_dataset": bank_title(map_set),
    }


def in_short(
    means: pd.DataFrame,
    counted: Mapping[str, Tally],
    found: Mapping[str, Mapping[str, RankCorrelation]],
    shown: Sequence[str],
) -> str:
    """Return the answers of the chapter in three paragraphs.

    Parameters
    ----------
    means : of `probe_reading`.
    counted, found : of `moved_archive.tallies` and `associations`.
    shown : labels to speak of.
    """
    shown = [label for label in shown if label in counted]
    archived = f"On archived real images: {tally_reading({label: counted[label] for label in shown})}"
    moved = " ".join(correlation_reading(label, found[label]["moved"], brief=True) for label in shown)
    when = " ".join(when_reading(label, found[label]) for label in shown)
    return f"{live_short(means)}\n\n{archived}\n\n{moved}\n\nWhen should the backbone move? {when}"


def live_short(means: pd.DataFrame) -> str:
    """Return in how many live cases moving made features and scores better; `means` as in `probe_reading`."""
    parts = []
    for rate, part in means.groupby("rate", sort=True):
        scores = [f"{row.tuning} {100 * (row.own - row.lp):+.1f} points" for row in part.itertuples()]
        better = part["probe_after"] > part["probe_before"]
        held = [tuning for tuning, rose in zip(part["tuning"], better, strict=True) if rose]
        features = f"a clean probe reads more from the features after {' and '.join(held)}"
        if not held:
            features = "a clean probe reads no more from the features than before"
        noise = f"On digits with {100 * rate:g}{NBSP}% noise"
        parts.append(f"{noise}: {', '.join(scores)} over its linear probe; {features}.")
    return " ".join(parts)


def _change(before: float, after: float) -> str:
    return f"{100 * before:.1f} to {100 * after:.1f}{NBSP}% ({100 * (after - before):+.1f} points)"
