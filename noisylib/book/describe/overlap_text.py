"""What the chapter on overlap says in words. The words follow the numbers, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.book.claims import published
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overlap_archive import (
    CELL,
    HEADLINE,
    VIEWS,
    Association,
    choice_spread,
    estimator_spread,
    head_gaps,
    mean_density,
    with_view,
)
from noisylib.book.describe.overlap_tables import headline, noise_words, span
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.describe.overlap import Live

TABLE_SETS = ("ham10000", "pbc")  # of the large table
GRID_POINTS = 300
STRONG, WEAK = 0.7, 0.4  # rank correlations from which, and up to which, a text calls them so


def view_facts(estimates: pd.DataFrame) -> dict[str, float | str]:
    """Return what the text says of the three views, in percent; <view>_span has the interval."""
    facts: dict[str, float | str] = {}
    for view, row in headline(estimates).iterrows():
        facts[f"{view}_overlap"] = 100 * float(row["corrected"])
        facts[f"{view}_span"] = span(row["corrected"], row["low"], row["high"])
        facts[f"{view}_auroc"] = float(row["auroc"])
    return facts


def compared(a: Mapping[str, float], b: Mapping[str, float]) -> int:
    """Return 1 if the interval of a lies above that of b, -1 if below, 0 if they meet."""
    return int(a["low"] > b["high"]) - int(a["high"] < b["low"])


def view_reading(estimates: pd.DataFrame) -> str:
    """Return in words how the in-sample overlap compares with the oracle's epoch and with unseen samples."""
    by_view = headline(estimates)
    last, best, held_out = (by_view.loc[view] for view in VIEWS)
    late = {
        1: "The last epoch overlaps more than the best one: training on has pulled the groups together.",
        0: "The intervals of the last and of the best epoch meet: the two epochs cannot be told apart here.",
        -1: "The last epoch overlaps less than the best one: AUROC and overlap disagree here on the best.",
    }[compared(last, best)]
    seen = {
        1: "Losses of samples that were trained on overlap more than those of unseen samples. That is what "
        "learning labels by heart does: the wrong ones then look like right ones.",
        0: "The intervals in-sample and out-of-fold meet: the two cannot be told apart here.",
        -1: "Losses of samples that were trained on overlap less than those of unseen samples: here the "
        "right labels were fitted more than the wrong ones.",
    }[compared(last, held_out)]
    return f"{late} {seen}"


def epoch_reading(epochs: pd.DataFrame, rate: float) -> str:
    """Return where each noise has its lowest overlap and highest AUROC, means over seeds."""
    sentences = []
    for noise_type, part in epochs.groupby("noise_type", sort=False):
        means = part.groupby("epoch")[["overlap", "auroc"]].mean()
        low, top, last = means["overlap"].idxmin(), means["auroc"].idxmax(), means.index[-1]
        overlaps = [f"{100 * means.at[epoch, 'overlap']:.1f}{NBSP}%" for epoch in (low, last)]
        scores = [f"{means.at[epoch, 'auroc']:.3f}" for epoch in (top, last)]
        sentences.append(
            f"With {noise_words(noise_type, rate)} noise the overlap is lowest after epoch {low}, "
            f"{overlaps[0]}, and {overlaps[1]} after the last; the AUROC is highest after epoch {top}, "
            f"{scores[0]}, and {scores[1]} after the last."
        )
    return " ".join(sentences)


def class_reading(classes: pd.DataFrame) -> str:
    """Return which observed class overlaps most and least in-sample, and which cannot be measured."""
    part = classes[classes["view"] == "last"].set_index("class")
    known = part["corrected"].dropna()
    absent = [name for name in part.index if name not in known.index]
    text = ""
    if len(known) > 1:
        top, low = known.idxmax(), known.idxmin()
        text = (
            f"After the last epoch, the losses of samples labelled *{top}* overlap most, "
            f"{100 * known[top]:.1f}{NBSP}%, and those of *{low}* least, {100 * known[low]:.1f}{NBSP}%. "
        )
    if absent:
        names = ", ".join(f"*{name}*" for name in absent)
        text += f"Too few clean or flipped samples (fewer than 20 in some run) are labelled {names}. "
    return text + (
        "Small classes have low ceilings: of them, compare the distance to the ceiling and not the height."
    )


def error_reading(found: Association) -> str:
    """Return what correlations and variance shares of one view say, in words that follow the numbers."""
    shares, lowest = found.shares, found.ranks["test_error"]["low"]
    if lowest >= STRONG:
        text = (
            "Under every noise alike, the overlap orders the cells nearly as their clean test error does: it "
            "mostly says how well the features separate the classes."
        )
    elif lowest > WEAK:
        text = (
            "Under every noise alike, cells with a larger clean test error tend to overlap more: the overlap "
            "says a good deal about how well the features separate the classes, and not that alone."
        )
    else:
        text = (
            "Under at least one noise the overlap and the clean test error order the cells differently: "
            "separability alone does not explain the overlap here."
        )
    sizes = {"data set": shares["dataset"], "noise": shares["noise"], "head": shares["head"]}
    first, second, third = sorted(sizes, key=lambda name: -sizes[name])
    percent = {name: f"{100 * share:.0f}{NBSP}%" for name, share in sizes.items()}
    return (
        f"{text} The {first} explains {percent[first]} of the variance between cells, the {second} "
        f"{percent[second]}, the {third} {percent[third]}.{_shift_reading(found.shifts)}"
    )


def _shift_reading(shifts: Mapping[float, float]) -> str:
    """Return how far the kind of noise alone moves the overlap; nothing if there is one kind only."""
    if not shifts:
        return ""
    points = [f"{100 * shift:+.0f} points at {100 * rate:g}{NBSP}%" for rate, shift in shifts.items()]
    low, high = published.OVERLAP
    if max(abs(shift) for shift in shifts.values()) > (high - low) / 100:
        verdict = "So the overlap is no property of the features alone: the kind of noise moves it too."
    else:
        verdict = "So the kind of noise moves it less than the width of the paper's range."
    return (
        " With the same images, features and head, overlaps under asymmetric noise differ from those under "
        f"symmetric noise by {' and '.join(points)} of wrong labels, on average. {verdict}"
    )


def heads_reading(cells: pd.DataFrame) -> str:
    """Return by how much in-sample overlaps differ from those out-of-fold, head by head."""
    gaps = [f"{100 * gap:+.1f} with the {head} head" for head, gap in head_gaps(cells).items()]
    return f"Over all archived cells, in-sample minus out-of-fold is, in points: {', '.join(gaps)}."


def in_short(facts: Mapping[str, Any], spread: pd.DataFrame, found: Mapping[str, Association]) -> str:
    """Return the answers of the chapter in three paragraphs.

    Parameters
    ----------
    facts : of `view_facts` and `archive_facts`.
    spread, found : of `range_frame` and `associations`.
    """
    low, high = published.OVERLAP
    inside = [VIEWS[view] for view in VIEWS if low <= facts[f"{view}_overlap"] <= high]
    where = f"Within {low} to {high}{NBSP}%: {'; '.join(inside) or 'none of the three'}."
    live = (
        f"On {facts['condition']} the losses of right and wrong labels overlap by "
        f"{facts['last_span']}{NBSP}% in-sample after the last epoch, by {facts['best_span']}{NBSP}% after "
        f"the best epoch (the choice of an oracle), and by {facts['held_out_span']}{NBSP}% out-of-fold, with "
        f"95{NBSP}% intervals. {where}"
    )
    parts = []
    for view, part in spread.groupby("view", sort=False):
        ends = f"{100 * part['lowest'].min():.0f} to {100 * part['highest'].max():.0f}{NBSP}%"
        parts.append(f"{ends} {VIEWS[view]} ({part['inside'].sum()} of {part['cells'].sum()} in that range)")
    wider = "more" if facts["choice_median"] > high - low else "no more"
    archived = (
        f"Over the archived data sets, backbones, heads and noises it is {'; '.join(parts)}. Within one data "
        f"set, backbone and noise, the choice of losses and head alone moves it by "
        f"{facts['choice_median']:.0f} points in the median, {wider} than the width of the paper's range."
    )
    return f"{live}\n\n{archived}\n\nIn-sample: {error_reading(found['last'])}"


def archive_facts(rows: pd.DataFrame, cells: pd.DataFrame, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the text says of the archived table; `keys` is of `shown_keys`."""
    choices = choice_spread(cells)
    other = keys["asked"] != keys["dataset"]
    return {
        "n_cells": cells[CELL].drop_duplicates().shape[0],
        "n_datasets": cells["dataset"].nunique(),
        "n_backbones": cells["backbone"].nunique(),
        "design": _design(cells),
        "backbones": ", ".join(backbone_title(name) for name in cells["backbone"].unique()),
        "shown_dataset": bank_title(keys["dataset"]),
        "shown_backbone": backbone_title(keys["backbone"]),
        "shown_note": f" ({bank_title(keys['asked'])} is not in it.)" if other else "",
        "table_sets": " and ".join(bank_title(name) for name in keys["sets"]),
        "choice_median": 100 * float(choices.median()),
        "choice_most": 100 * float(choices.max()),
        "estimator_median": 100 * estimator_spread(rows),
        "paper_low": published.OVERLAP[0],
        "paper_high": published.OVERLAP[1],
    }


def _design(cells: pd.DataFrame) -> str:
    """Return the number of cells and of seeds of every head."""
    parts = []
    for head, part in cells[cells["view"] == "last"].groupby("head", sort=False):
        seeds = "-".join(str(n) for n in sorted({part["seeds"].min(), part["seeds"].max()}))
        parts.append(f"{len(part)} with the {head} head, {seeds} seeds each")
    return "; ".join(parts)


def shown_keys(rows: pd.DataFrame, dataset: str, backbone: str) -> dict[str, Any]:
    """Return which archived data sets and which backbone are shown: the chosen ones, if they are there."""
    sets, backbones = (list(rows[name].unique()) for name in ("dataset", "backbone"))
    return {
        "asked": dataset,
        "dataset": dataset if dataset in sets else sets[0],
        "backbone": backbone if backbone in backbones else backbones[0],
        "sets": [name for name in TABLE_SETS if name in sets] or sets,
    }


def panel_notes(estimates: pd.DataFrame) -> dict[str, str]:
    """Return the overlap of each view as a figure says it."""
    rows = headline(estimates).iterrows()
    return {view: f"overlap {span(row['corrected'], row['low'], row['high'])} %" for view, row in rows}


def grid(
    rows: pd.DataFrame, cells: pd.DataFrame, dataset: str, head: str, view: str
) -> tuple[dict[tuple[str, str], tuple[np.ndarray, ...]], dict[tuple[str, str], str]]:
    """Return the panels and notes of `overlapplots.density_grid` for one data set, head and view."""
    chosen = with_view(rows[rows["estimator"] == HEADLINE])
    here = {"dataset": dataset, "head": head, "view": view}
    for column, value in here.items():
        chosen, cells = chosen[chosen[column] == value], cells[cells[column] == value]
    panels, notes = {}, {}
    for (noise_type, rate, backbone), part in chosen.groupby(
        ["noise_type", "noise_rate", "backbone"], sort=False
    ):
        key = noise_words(noise_type, rate).capitalize(), backbone_title(backbone)
        ends = [np.min(np.stack(list(part["edges"]))), np.max(np.stack(list(part["edges"])))]
        points = np.linspace(*ends, GRID_POINTS)
        panels[key] = (points, *mean_density(part, points))
        same = (cells["noise_type"] == noise_type) & (cells["noise_rate"] == rate)
        cell = cells[same & (cells["backbone"] == backbone)].iloc[0]
        notes[key] = f"{span(cell['corrected'], cell['low'], cell['high'])} %"
    return panels, notes


def condition_words(live: Live, backbone: str, head: str, rate: float) -> str:
    """Return the live condition inside a sentence."""
    return (
        f"{bank_title(live.bank.meta.dataset)}, with features of {backbone_title(backbone)}, {head} head and "
        f"{noise_words(live.noise_type, rate)} noise,"
    )


def live_source(live: Live, backbone: str, head: str, rate: float) -> str:
    """Return what captions say of the live runs."""
    seeds = live.signals.seeds
    runs = f"{len(seeds)} run{'' if len(seeds) == 1 else 's'} of {live.recipe.epochs} epochs"
    named = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
    return (
        f"{bank_title(live.bank.meta.dataset)}, features of {backbone_title(backbone)}, {head} head, "
        f"{noise_words(live.noise_type, rate)} noise, {runs}, {named}."
    )


def other_source(live: Live) -> str:
    """Return what a caption says of the runs with the other noise; nothing if there are none."""
    return "" if live.other is None else f" {live.other[0].capitalize()} noise: the same rate and seeds."
