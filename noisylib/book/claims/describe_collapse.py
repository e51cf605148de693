"""What the page on claims says of choices left open: of Co-teaching's dead classes, and all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisylib.book.claims import published
from noisylib.book.claims.claim import CannotTestError, Study, missing_table
from noisylib.book.claims.describe_open import (
    Part,
    choice_columns,
    choice_words,
    drop_part,
    ends_of,
    overlap_part,
    points,
    untested,
    widest,
    with_paper,
)
from noisylib.book.claims.open_collapse import collapse_choices
from noisylib.book.claims.small_loss import HEAD
from noisylib.book.tables import NBSP
from noisylib.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

COLLAPSE = "tab-open-collapse"


def all_parts(study: Study, arms: Study, tables: Mapping[str, Study]) -> dict[str, Part]:
    """Return "overlap", "drop" and "collapse": what the page says of choices that are left open.

    Parameters
    ----------
    study, arms : the study of the headline, and its rows with those of the arms.
    tables : tables of experiments that are there, from `describe_claims.load_tables`.
    """
    return {
        "overlap": overlap_part(tables),
        "drop": drop_part(tables),
        "collapse": collapse_part(study, arms, tables),
    }


def sentences(parts: Mapping[str, Part]) -> dict[str, str]:
    """Return the sentence of every claim that one of the parts is about, by the key of the claim."""
    return {key: sentence for part in parts.values() for key, sentence in part.depends.items()}


def collapse_part(study: Study, arms: Study, tables: Mapping[str, Study]) -> Part:
    """Return what is said of Co-teaching's accuracy, balanced accuracy and dead classes.

    Parameters
    ----------
    study, arms : the study of the headline, and its rows with those of the arms.
    tables : tables of experiments that are there.
    """
    try:
        choices = collapse_choices(study, arms, tables.get("collapse"))
    except CannotTestError as reason:
        return untested(reason)
    hides, dies = hidden_words(choices), dead_words(choices)
    text = (
        f"The abstract says {published.CO_ACCURACY:g}{NBSP}% accuracy, {published.CO_BALANCED}{NBSP}% "
        f"balanced accuracy and {published.CO_DEAD} classes without recall on ISIC 2019, asymmetric "
        f"40{NBSP}%. It does not say into which classes labels flip, how images were split, with which "
        "backbone and head, which rate is forgotten, nor at which epoch. "
        f"{hides} {dies} {widest(choices, 'dead_classes')} Not varied: the split, and the epoch, since a "
        f"score is the mean of the last {Recipe().score_epochs}."
    )
    if "collapse" not in tables:
        text += f" The controlled sweep is left out: {missing_table('collapse')}."
    table = choice_columns(choices, {"Accuracy": "accuracy", "Balanced": "balanced_accuracy"})
    table["Dead classes"] = [f"{value:.1f}" for value in choices["dead_classes"]]
    table["CE, balanced"] = [points(value) for value in choices["plain"]]
    table["Runs"] = choices["runs"].astype(str)
    printed = (published.CO_ACCURACY, published.CO_BALANCED, published.CO_DEAD)
    paper = {title: f"{value:.1f}" for title, value in zip(table.columns[2:5], printed, strict=True)}
    sources = "; ".join([arms.source, *(s.source for name, s in tables.items() if name == "collapse")])
    caption = (
        "Co-teaching on HAM10000 at asymmetric 40 %: accuracy and balanced accuracy in percent, dead "
        "classes, and the balanced accuracy of cross entropy on the same labels, means over runs. Choices "
        "of one question have the same backbones and seeds; what does not change is the look-alikes and the "
        f"{HEAD} head. {sources}."
    )
    return Part(text, with_paper(table, paper), caption, COLLAPSE, {"B10": hides, "B11": dies})


def hidden_words(choices: pd.DataFrame) -> str:
    """Say between which gaps accuracy exceeds balanced accuracy, and how often CE has more of the latter."""
    gap = choices["accuracy"] - choices["balanced_accuracy"]
    low, high = choices.loc[gap.idxmin()], choices.loc[gap.idxmax()]
    worse = (choices["balanced_accuracy"] < choices["plain"]).sum()
    return (
        f"Accuracy exceeds balanced accuracy by {points(gap.min())} ({choice_words(low)}) to "
        f"{points(gap.max())} points ({choice_words(high)}), and balanced accuracy is below that of cross "
        f"entropy in {worse} of {len(choices)} rows of {{numref}}`{COLLAPSE}`."
    )


def dead_words(choices: pd.DataFrame) -> str:
    """Say between which numbers the dead classes lie, and how often there is one on average."""
    few, many = ends_of(choices, "dead_classes")
    dead = (choices["dead_classes"] >= 1).sum()
    return (
        f"On average {few['dead_classes']:.1f} ({choice_words(few)}) to {many['dead_classes']:.1f} classes "
        f"({choice_words(many)}) are dead, at least one in {dead} of {len(choices)} rows of "
        f"{{numref}}`{COLLAPSE}`."
    )
