"""What the page on claims says of choices that the sources leave open: a table, a text and a sentence each.

The words follow the numbers. Where a table of an experiment is not there, the text says what makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims import published
from noisylib.book.claims.claim import UNTESTED, CannotTestError, Study, missing_table
from noisylib.book.claims.open import UNEVEN, drop_choices, overlap_choices
from noisylib.book.claims.small_loss import (
    DEPLOYED,
    GAP,
    HEAD,
    HIGH,
    LOW,
    NOISES,
    RULES,
    SKIN,
    drops_of,
    headline_detections,
    paired,
)
from noisylib.book.describe.drops import at_rule, contests_of
from noisylib.book.describe.overlap_archive import CELL, VIEWS, rank_correlations, with_view
from noisylib.book.describe.overlap_tables import ESTIMATOR_TITLES, noise_words
from noisylib.book.describe.overlap_text import STRONG, WEAK
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP, show

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import Markdown

OVERLAP, DROP = "tab-open-overlap", "tab-open-drop"


@dataclass(frozen=True)
class Part:
    """What is said of one claim, or of two that share their choices.

    Attributes
    ----------
    text, caption : Markdown.
    table : a row per choice; None if nothing could be measured, and then `text` says why.
    name : label of the table.
    depends : one sentence by key of a claim, for its details.
    """

    text: str
    table: pd.DataFrame | None = None
    caption: str = ""
    name: str = ""
    depends: Mapping[str, str] = field(default_factory=dict)

    def show(self) -> Markdown:
        """Return text and table."""
        from IPython.display import Markdown

        if self.table is None:
            return Markdown(self.text)
        return Markdown(f"{self.text}\n\n{show(self.table, self.caption, self.name).data}")


def overlap_part(tables: Mapping[str, Study]) -> Part:
    """Return what is said of the overlap of losses."""
    try:
        rows = _rows(tables, "overlap")
        choices = overlap_choices(rows)
    except CannotTestError as reason:
        return untested(reason)
    low, high = ends_of(choices, "mean")
    reach = (
        f"The overlap is {_percent(low['mean'])} ({choice_words(low)}) to {_percent(high['mean'])} "
        f"({choice_words(high)})"
    )
    text = (
        f"The abstract says {published.OVERLAP[0]} to {published.OVERLAP[1]}{NBSP}%. It does not say with "
        "which estimator, after which epoch, on samples that were trained on or on others, with which head, "
        f"from how many samples, nor what the range is over. In {{numref}}`{OVERLAP}` one of these changes "
        f"at a time. {reach}. {widest(choices, 'mean')}\n\n{combined_overlaps(rows)}\n\n{separability(rows)}"
    )
    table = choice_columns(choices, {"Mean": "mean", "Lowest": "low", "Highest": "high"})
    table["Conditions"] = choices["conditions"].astype(str)
    ends = dict(zip(("Lowest", "Highest"), map(str, published.OVERLAP), strict=True))
    caption = (
        "Overlap of the losses of right and wrong labels in percent, on HAM10000 where nothing else is said: "
        f"{HEAD} head, 100 bins of log-loss, corrected, in-sample, last epoch. Mean, lowest and highest of "
        "conditions, each a mean over seeds; choices of one question have the same conditions and seeds. "
        f"{tables['overlap'].source}."
    )
    sentence = f"{reach} when one choice of {{numref}}`{OVERLAP}` changes at a time."
    return Part(text, with_paper(table, ends), caption, OVERLAP, {"B12": sentence})


def combined_overlaps(rows: pd.DataFrame) -> str:
    """Return how far the archived overlaps on HAM10000 go when all choices change together."""
    here = with_view(rows[rows["dataset"] == SKIN])
    keys = [*CELL[1:], "view", "estimator"]
    means = here.groupby(keys)["value"].mean()

    def words(key: tuple) -> str:
        named = dict(zip(keys, key, strict=True))
        noise = noise_words(named["noise_type"], named["noise_rate"])
        return (
            f"{ESTIMATOR_TITLES[named['estimator']]}, {VIEWS[named['view']]}, {named['head']} head, "
            f"{backbone_title(named['backbone'])}, {noise}"
        )

    inside = int(means.between(LOW, HIGH).sum())
    return (
        f"With all choices free, the {len(means)} archived overlaps on HAM10000 (not corrected, means over "
        f"seeds) go from {_percent(means.min())} ({words(means.idxmin())}) to {_percent(means.max())} "
        f"({words(means.idxmax())}); {inside} of them lie in the paper's range."
    )


def separability(rows: pd.DataFrame) -> str:
    """Return what an overlap says of the classes rather than of the noise."""
    errors = [f"{100 * end / 2:.1f}" for end in (LOW, HIGH)]
    chosen = with_view(rows[rows["estimator"] == "histogram"])
    cells = chosen[chosen["view"] == "last"].groupby(CELL)[["corrected", "test_error"]].mean().reset_index()
    ranks = rank_correlations(cells, "test_error")
    text = (
        "There is a case in which an overlap says nothing of the noise: if two equally frequent classes are "
        "normal with one covariance and flips do not depend on the features, the losses under Bayes' rule "
        f"overlap by twice its error, whatever the rate. The paper's range would belong to errors of "
        f"{errors[0]} to {errors[1]}{NBSP}% on clean labels."
    )
    if np.isnan([ranks["all"], ranks["low"]]).any():
        return text
    if ranks["low"] >= STRONG:
        reading = "the percentage mostly says how hard the classes are to tell apart"
    elif ranks["low"] > WEAK:
        reading = "it says a good deal about how hard the classes are to tell apart, and not that alone"
    else:
        reading = "separability alone does not order the overlaps here"
    return (
        f"{text} Over {len(cells)} archived conditions of all data sets, in-sample after the last epoch, "
        f"overlap and clean test error have a rank correlation of {ranks['all']:.2f}, and of "
        f"{ranks['low']:.2f} to {ranks['high']:.2f} within one kind and rate of noise: {reading}."
    )


def drop_part(tables: Mapping[str, Study]) -> Part:
    """Return what is said of the two drops in precision."""
    try:
        rows = _rows(tables, "detection")
        choices = drop_choices(rows)
    except CannotTestError as reason:
        return untested(reason)
    low, high = ends_of(choices, "difference")
    above, half = (int((choices["difference"] > least).sum()) for least in (0, GAP / 2))
    reach = (
        f"The drop of the loss minus that of agreement is {signed(low['difference'])} ({choice_words(low)}) "
        f"to {signed(high['difference'])} points ({choice_words(high)})"
    )
    text = (
        f"The abstract says {published.AGREEMENT_DROP} against {published.LOSS_DROP} points. It does not say "
        "which model gives which signal, how many samples each keeps, between which noises precision drops, "
        f"at which rate, nor with which head. In {{numref}}`{DROP}` one of these changes at a time. {reach}. "
        f"It is positive in {above} of {len(choices)} rows, and above half of the paper's {100 * GAP:g} "
        f"points in {half}. {widest(choices, 'difference')}\n\n{levels(rows)}\n\n{combined_drops(rows)} "
        "The class map was not varied."
    )
    table = choice_columns(choices, {"Loss": "loss", "Agreement": "agreement"})
    table["Difference"] = [signed(value) for value in choices["difference"]]
    table["Interval"] = [ends.replace(" ", NBSP) for ends in choices["interval"]]
    table["Conditions"] = choices["conditions"].astype(str)
    paper = {"Loss": str(published.LOSS_DROP), "Agreement": str(published.AGREEMENT_DROP)}
    caption = (
        "Drops in points from symmetric to asymmetric noise, on HAM10000 where nothing else is said: loss of "
        f"the classifier ({HEAD} head) against agreement of the linear module, matched m, rate 40 %. "
        "Difference: loss minus agreement, with its interval over seeds. At fixed m a set keeps its own "
        f"size. {UNEVEN} The two noises make different shares of labels wrong. "
        f"{tables['detection'].source}."
    )
    sentence = f"{reach} when one choice of {{numref}}`{DROP}` changes at a time."
    return Part(text, with_paper(table, paper), caption, DROP, {"B13": sentence})


def levels(rows: pd.DataFrame) -> str:
    """Return the precisions that the headline's drops are differences of."""
    part = at_rule(headline_detections(rows), "matched")
    means = part.groupby(["detector", "noise_type"])["precision"].mean()
    loss, agreement = (means[key] for key in (DEPLOYED.loss, DEPLOYED.agreement))
    symmetric, asymmetric = NOISES
    better = "loss" if loss[asymmetric] > agreement[asymmetric] else "agreement"
    return (
        "A drop says nothing of the level. In the headline, the precision of the loss is "
        f"{_percent(loss[symmetric])} under symmetric and {_percent(loss[asymmetric])} under asymmetric "
        f"noise, that of agreement {_percent(agreement[symmetric])} and {_percent(agreement[asymmetric])}. "
        f"Under asymmetric noise, the more precise one is {better}."
    )


def combined_drops(rows: pd.DataFrame) -> str:
    """Return how far the differences of the drops on HAM10000 go when all choices change together."""
    here = rows[rows["dataset"] == SKIN]
    found = {}
    for rule, title in RULES.items():
        drops = drops_of(here, rule)
        for contest in contests_of(drops):
            means = paired(drops, contest).groupby(["backbone", "head", "noise_rate"])["difference"].mean()
            for (backbone, head, rate), value in means.items():
                where = f"{head} head, {backbone_title(backbone)}, {100 * rate:g}{NBSP}%"
                found[f"{contest.title}, {title}, {where}"] = value
    low, high = min(found, key=found.get), max(found, key=found.get)
    return (
        f"With all choices free, {len(found)} differences on HAM10000 (means over seeds) go from "
        f"{signed(found[low])} ({low}) to {signed(found[high])} points ({high})."
    )


def _rows(tables: Mapping[str, Study], table: str) -> pd.DataFrame:
    if table not in tables:
        raise CannotTestError(missing_table(table))
    return tables[table].rows


def untested(reason: Exception) -> Part:
    """Return the part of a claim that cannot be measured."""
    return Part(f"{UNTESTED.capitalize()}: {reason}.")


def ends_of(choices: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    """Return the choices with the lowest and with the highest value."""
    return choices.loc[choices[column].idxmin()], choices.loc[choices[column].idxmax()]


def choice_words(row: pd.Series) -> str:
    """Return a choice with what it answers."""
    return f"{row['open']}: {row['choice']}"


def widest(choices: pd.DataFrame, column: str) -> str:
    """Say which question moves a number most."""
    spread = choices.groupby("open", sort=False)[column].agg(lambda values: values.max() - values.min())
    by = f"{spread.max():.1f} classes" if column == "dead_classes" else f"{points(spread.max())} points"
    return f"Most depends on this one: *{spread.idxmax()}*, {by} between its choices."


def choice_columns(choices: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return question (in its first row only), choice, and some columns of fractions as percent.

    Parameters
    ----------
    columns : heading -> column of `choices`.
    """
    import pandas as pd

    first = choices["open"].where(~choices["open"].duplicated(), "")
    shown = {title: [points(value) for value in choices[name]] for title, name in columns.items()}
    return pd.DataFrame({"Left open": first, "Choice": choices["choice"], **shown})


def with_paper(table: pd.DataFrame, values: Mapping[str, str]) -> pd.DataFrame:
    """Return the table below a row of what the paper prints."""
    import pandas as pd

    paper = dict.fromkeys(table.columns, "") | {"Left open": "*the paper*", "Choice": "not stated"}
    return pd.concat([pd.DataFrame([paper | dict(values)]), table], ignore_index=True)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}{NBSP}%"


def points(value: float) -> str:
    """Return a fraction in points, or in percent without its sign."""
    return f"{round(100 * value, 1) + 0:.1f}"  # no minus before 0.0


def signed(value: float) -> str:
    """Return a difference of fractions in points."""
    return f"{round(100 * value, 1) + 0:+.1f}"
