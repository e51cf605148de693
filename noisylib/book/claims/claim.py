"""What a published claim is, how it is held against rows, and how a verdict follows.

Rows are those of a study, or of the table of an experiment. The claims themselves are in
`claims_benchmark` and `claims_turn`, each with its source. A claim states beforehand what the rows must
show to count as reproduced, and what as partly reproduced; the criteria are text and code beside each
other and never depend on the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.scores import CONDITION, Blocks, condition_blocks
from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    import pandas as pd

REPRODUCED, PARTLY, FAILED = "reproduced", "partly reproduced", "not reproduced"
UNTESTED = "not testable here"
VERDICTS = (REPRODUCED, PARTLY, FAILED, UNTESTED)

LEVEL, DRAWS = 0.95, 2000
OVER_DATASETS, OVER_SEEDS, NO_INTERVAL = "whole data sets", "seeds", ""
OVER_FAMILIES = "kinds of images"
CLUSTERS = {OVER_DATASETS: "dataset", OVER_SEEDS: "seed_noise", OVER_FAMILIES: "family"}
# Tables that hold what no study does, and the experiment that makes each.
EXPERIMENTS = {
    "overlap": "small_loss",
    "detection": "small_loss",
    "collapse": "collapse",
    "conditions": "conditions",
    "turn_small": "turn_small",
}
# Tables that a study of fine-tuning makes, and its command.
COMMANDS = {"turn_small": "noisylib finetune configs/turn_small.yaml --collect"}


class CannotTestError(NoisylibError):
    """The rows do not hold what a claim is about; the text says what is missing."""


@dataclass(frozen=True)
class Study:
    """The rows that claims are measured on, one per run of a study, or some per run of an experiment.

    Attributes
    ----------
    name : of the study or the experiment.
    source : what a caption says of the rows.
    """

    name: str
    rows: pd.DataFrame
    source: str = ""

    @cached_property
    def blocks(self) -> Blocks:
        """Balanced accuracy, conditions x methods; incomplete conditions are left out, and listed."""
        return condition_blocks(self.rows, incomplete="leave_out")

    def complete_rows(self) -> pd.DataFrame:
        """Return the runs of the complete conditions."""
        return self.rows[self.rows.set_index(CONDITION).index.isin(self.blocks.scores.index)]

    def compared(self, *methods: str) -> pd.DataFrame:
        """Return the scores of the complete conditions, if they compare methods and `methods` are there."""
        scores = self.blocks.scores
        self.need(*methods)
        if scores.shape[1] < 2:
            raise CannotTestError("the rows have one method, and nothing to compare it with")
        return scores

    def need(self, *methods: str) -> None:
        """Raise CannotTestError if one of `methods` is not among the rows."""
        from noisylib.methods import METHODS

        there = set(self.rows["method"])
        absent = [METHODS[method].title for method in methods if method not in there]
        if absent:
            verb = "is" if len(absent) == 1 else "are"
            raise CannotTestError(f"{' and '.join(absent)} {verb} not among the rows")


@dataclass(frozen=True)
class Finding:
    """What one study says about one claim.

    Attributes
    ----------
    verdict : one of `VERDICTS`.
    value, interval : our number and its interval, short enough for a cell of a table.
    note : more numbers; or, where nothing could be tested, the reason.
    """

    verdict: str
    value: str = ""
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """One statement of a paper.

    Attributes
    ----------
    key : label that the tables and the details share, such as ``B3``.
    text, paper : what is claimed, and the paper's own number.
    full, partly : what the rows must show for "reproduced" and for "partly reproduced".
    rows : which rows are measured, as text.
    over : what the interval is drawn over, a key of `CLUSTERS`, or `NO_INTERVAL`.
    pages : (title, file name) of the chapters that show the rows.
    measure : study -> finding; None if nothing can be measured. It raises CannotTestError where the rows
        do not suffice.
    missing : why it cannot be tested, where it cannot.
    table : a key of `EXPERIMENTS`, of the table that is measured in place of studies; "" measures those.
    """

    key: str
    text: str
    paper: str
    full: str = ""
    partly: str = ""
    rows: str = ""
    over: str = NO_INTERVAL
    pages: tuple[tuple[str, str], ...] = ()
    measure: Callable[[Study], Finding] | None = None
    missing: str = ""
    table: str = ""


@dataclass(frozen=True)
class Result:
    """A claim and its findings: of every study, in their order, or of one experiment."""

    claim: Claim
    findings: dict[str, Finding]


def evaluate(
    claims: Sequence[Claim], studies: Sequence[Study], tables: Mapping[str, Study] | None = None
) -> list[Result]:
    """Measure every claim on every study, or on the one table that it is about.

    Parameters
    ----------
    tables : rows by key of `EXPERIMENTS`; a claim whose table is not there cannot be tested.
    """
    return [Result(claim, _findings(claim, studies, tables or {})) for claim in claims]


def _findings(claim: Claim, studies: Sequence[Study], tables: Mapping[str, Study]) -> dict[str, Finding]:
    if not claim.table:
        return {study.name: find(claim, study) for study in studies}
    experiment = EXPERIMENTS[claim.table]
    if claim.table in tables:
        return {experiment: find(claim, tables[claim.table])}
    return {experiment: Finding(UNTESTED, note=missing_table(claim.table))}


def missing_table(table: str) -> str:
    """Return that the table of an experiment is not there, and the command that makes it."""
    command = COMMANDS.get(table, f"noisylib experiment {EXPERIMENTS[table]} --collect")
    return f"there is no table `{table}` among the results; `{command}` makes it"


def find(claim: Claim, study: Study) -> Finding:
    """Measure one claim on one study; what cannot be tested is a finding with the reason."""
    if claim.measure is None:
        return Finding(UNTESTED, note=claim.missing)
    try:
        return claim.measure(study)
    except CannotTestError as reason:
        return Finding(UNTESTED, note=str(reason))


def grade(full: bool, partly: bool) -> str:
    """Return the verdict of two criteria, the stricter one first."""
    return REPRODUCED if full else PARTLY if partly else FAILED


def interval(
    frame: pd.DataFrame, statistic: Callable[[pd.DataFrame], float], over: str = OVER_DATASETS
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of a statistic when whole clusters are drawn with replacement.

    Conditions of a data set share its images, and runs of a seed share their noise, so that single rows
    are no independent draws. Equal draws are computed once: five clusters make 126 different ones.

    Parameters
    ----------
    frame : rows, or scores with conditions in the index; `over` names the column or level of the clusters.

    Returns
    -------
    Lower and upper end at level `LEVEL`; None if there are fewer than two clusters.
    """
    import pandas as pd

    parts = [part for _, part in frame.groupby(CLUSTERS[over])]
    n = len(parts)
    if n < 2:
        return None
    draws = numpy_generator("claims bootstrap", n).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    kinds, repeats = np.unique(draws, axis=0, return_counts=True)
    values = [
        # The number of the draw tells repeated conditions apart.
        statistic(
            pd.concat(dict(enumerate(part for part, n in zip(parts, kind, strict=True) for _ in range(n))))
        )
        for kind in kinds
    ]
    low, high = np.quantile(np.repeat(values, repeats), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def inside(value: float, ends: tuple[float, float] | None) -> bool:
    """Say whether a value lies in an interval; nothing lies in one that is not there."""
    return ends is not None and ends[0] <= value <= ends[1]


def ends_text(ends: tuple[float, float] | None, digits: int, scale: float = 1.0) -> str:
    """Return "low to high"; empty where there is no interval."""
    if ends is None:
        return ""
    return " to ".join(f"{scale * end:.{digits}f}" for end in ends)
