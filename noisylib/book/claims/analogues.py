"""Patterns of TURN's linear probes, asked of frozen features of medical images.

These are analogues of published claims and not the claims themselves: other images, smaller backbones, and
where a head or a rate differs the text says so. They compare accuracy, the paper's score, and their criteria
follow from the paper's own numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims.claim import (
    OVER_DATASETS,
    CannotTestError,
    Claim,
    Finding,
    Study,
    ends_text,
    grade,
    interval,
)
from noisylib.book.claims.published import lead
from noisylib.book.claims.turn import ASYM4, ELR_GAPS, INST4, SYM6, SYM9, points
from noisylib.book.describe.banks import bank_title
from noisylib.book.tables import DAGGER

if TYPE_CHECKING:
    import pandas as pd

PAIR = ["dataset", "backbone", "seed_noise", "seed_train"]
SENSITIVITY = (("Sensitivity", "sensitivity.ipynb"),)
Rows = dict[str, object]


def _runs(study: Study, where: Rows) -> pd.DataFrame:
    """Return the runs whose columns have the values of `where`."""
    rows = study.rows
    mask = np.ones(len(rows), dtype=bool)
    for column, value in where.items():
        if column not in rows:
            raise CannotTestError(f"the rows do not say their {column}")
        same = np.isclose(rows[column], value) if isinstance(value, float) else rows[column] == value
        mask &= np.asarray(same)
    if not mask.any():
        raise CannotTestError(f"no run has {', '.join(f'{c} {v}' for c, v in where.items())}")
    return rows[mask]


def leads(study: Study, better: Rows, worse: Rows, min_classes: int = 2) -> pd.DataFrame:
    """Return by how many points of accuracy some runs exceed others of the same bank and seeds.

    Parameters
    ----------
    min_classes : leave out data sets of fewer classes.

    Returns
    -------
    Columns dataset, lead (mean over backbones and seeds) and pairs (of runs); one row per data set.
    """
    columns = [*PAIR, "accuracy"]
    first = _runs(study, better)
    first = first[first["recall"].map(len) >= min_classes]
    pairs = first[columns].merge(_runs(study, worse)[columns], on=PAIR, validate="one_to_one")
    if pairs.empty:
        raise CannotTestError("no two of the runs have bank and seeds in common")
    pairs["lead"] = 100 * (pairs["accuracy_x"] - pairs["accuracy_y"])
    return pairs.groupby("dataset")["lead"].agg(lead="mean", pairs="size").reset_index()


def exceeds(
    better: Rows, worse: Rows, paper: tuple[float, ...], min_classes: int = 2
) -> Callable[[Study], Finding]:
    """Return the measure of a lead; the paper's leads, one per backbone, set what it is held against."""

    def measure(study: Study) -> Finding:
        found = leads(study, better, worse, min_classes)
        value = found["lead"].mean()
        ends = interval(found, lambda drawn: drawn["lead"].mean())
        same_way = ends is not None and ends[0] > 0
        verdict = grade(value >= np.mean(paper) / 2, same_way)
        return Finding(verdict, f"{value:+.1f} pp", ends_text(ends, 1), _by_dataset(found))

    return measure


def stays_close(
    first: Rows, second: Rows, noise_types: tuple[str, ...], paper: tuple[float, ...]
) -> Callable[[Study], Finding]:
    """Return the measure of how close two methods are; `paper` holds its differences in points."""
    import pandas as pd

    def measure(study: Study) -> Finding:
        found = pd.concat(
            [leads(study, {**first, "noise_type": t}, {**second, "noise_type": t}) for t in noise_types]
        )
        value = found["lead"].abs().mean()
        ends = interval(found, lambda drawn: drawn["lead"].abs().mean())
        sizes = np.abs(paper)
        note = f"the largest is {found['lead'].abs().max():.1f} pp"
        return Finding(
            grade(value <= sizes.mean(), value <= sizes.max()), f"{value:.1f} pp", ends_text(ends, 1), note
        )

    return measure


def _by_dataset(found: pd.DataFrame) -> str:
    each = ", ".join(f"{bank_title(row.dataset)} {row.lead:+.1f}" for row in found.itertuples())
    return f"{each}; {found['pairs'].sum()} pairs of runs"


_LINEAR: Rows = {"study": "heads", "head": "linear", "noise_rate": 0.4}
_HIGH: Rows = {"study": "high_rates", "noise_rate": 0.8}
_INSTANCE: Rows = {"study": "instance", "noise_rate": 0.4}
_EXTRA: Rows = {"study": "extras", "noise_type": "asymmetric", "noise_rate": 0.4}
_PLAIN: Rows = {
    "method": "ce",
    "head": "adapter",
    "class_map": "default",
    "noise_type": "asymmetric",
    "noise_rate": 0.4,
}


_PLAIN_ROWS = (
    "first study: method ce; noise_type asymmetric, noise_rate 0.4, head adapter; backbones and seeds that "
    "both have"
)


def _analogue(
    key: str,
    text: str,
    better: Rows,
    worse: Rows,
    paper: tuple[float, ...],
    rows: str,
    min_classes: int = 2,
) -> Claim:
    """Return an analogue of a published lead, with the rule that all of them follow."""
    return Claim(
        key,
        text,
        points(paper),
        "our mean lead is at least half of the paper's mean",
        "it is smaller, but its interval lies above 0",
        rows,
        OVER_DATASETS,
        SENSITIVITY,
        exceeds(better, worse, paper, min_classes),
    )


ANALOGUES = (
    _analogue(
        "A1",
        "CE on a linear head is worse under asymmetric than under symmetric noise",
        {**_LINEAR, "method": "ce", "noise_type": "symmetric"},
        {**_LINEAR, "method": "ce", "noise_type": "asymmetric"},
        lead("LP CE", "LP CE", SYM6, ASYM4),
        "arms: study heads, head linear, method ce, noise_rate 0.4 (the paper: symmetric 0.6, asymmetric "
        "0.4), sets of more than two classes",
        min_classes=3,  # in two classes, symmetric flips leave the least to learn from
    ),
    _analogue(
        "A2",
        "GCE is above CE under very high symmetric noise",
        {**_HIGH, "method": "gce"},
        {**_HIGH, "method": "ce"},
        lead("LP GCE", "LP CE", SYM9),
        "arms: study high_rates, methods gce and ce, noise_rate 0.8 (the paper: 0.9), head adapter, two sets",
    ),
    _analogue(
        "A3",
        "GCE is below CE under instance noise",
        {**_INSTANCE, "method": "ce"},
        {**_INSTANCE, "method": "gce"},
        lead("LP CE", "LP GCE", INST4),
        "arms: study instance, methods ce and gce, noise_rate 0.4, head adapter",
    ),
    Claim(
        "A4",
        "ELR on a linear head is close to CE",
        f"{np.mean(np.abs(ELR_GAPS)):.1f} pp on average",
        "our mean distance is at most the paper's mean",
        "it is at most the paper's largest",
        "arms: study heads, head linear, methods elr and ce, noise_rate 0.4, symmetric and asymmetric",
        OVER_DATASETS,
        SENSITIVITY,
        stays_close(
            {**_LINEAR, "method": "elr"}, {**_LINEAR, "method": "ce"}, ("symmetric", "asymmetric"), ELR_GAPS
        ),
    ),
    _analogue(
        "A5",
        f"DivideMix{DAGGER} on a linear head is above CE",
        {**_LINEAR, "method": "dividemix", "noise_type": "asymmetric"},
        {**_LINEAR, "method": "ce", "noise_type": "asymmetric"},
        lead("LP DivideMix", "LP CE", ASYM4),
        "arms: study heads, head linear, methods dividemix and ce, noise_type asymmetric, noise_rate 0.4",
    ),
    _analogue(
        "A6",
        "UNICON on frozen features is above CE",
        {**_EXTRA, "method": "unicon"},
        _PLAIN,
        lead("LP UNICON", "LP CE", ASYM4),
        f"arms: study extras, method unicon; {_PLAIN_ROWS}",
    ),
    _analogue(
        "A7",
        "TURN-head, which fine-tunes nothing, is above CE",
        {**_EXTRA, "method": "turn"},
        _PLAIN,
        lead("TURN", "LP CE", ASYM4),
        f"arms: study extras, method turn; {_PLAIN_ROWS}",
    ),
)
