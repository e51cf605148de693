"""Does the arithmetic of the printed numbers of arXiv 2605.22591 hold together? Needs no data.

Where a printed number is rounded, the check asks whether some number that rounds to it fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisylib.analysis.ranking import critical_difference, friedman_p
from noisylib.book.claims import published as p

if TYPE_CHECKING:
    import pandas as pd

TIMES = "\N{MULTIPLICATION SIGN}"
HALF_CHI2 = 0.05  # chi-squared is printed with one decimal
FITS, DOES_NOT_FIT, FOLLOWS = "fits", "does not fit", "follows"


@dataclass(frozen=True)
class Check:
    """One computation: what, the result here, what is printed (if anything), and whether they agree."""

    text: str
    here: str
    printed: str = "not printed"
    agrees: bool | None = None


def checks() -> list[Check]:
    """Return every check, in the order of the abstract."""
    return [*_grid(), *_test(), *_ranks(), *_scores()]


def table() -> pd.DataFrame:
    """Return the checks under readable headings."""
    import pandas as pd

    words = {True: f"**{FITS}**", False: f"**{DOES_NOT_FIT}**", None: FOLLOWS}
    return pd.DataFrame(
        [
            {"Quantity": c.text, "Here": c.here, "Paper": c.printed, "Agrees": words[c.agrees]}
            for c in checks()
        ]
    )


def _grid() -> list[Check]:
    conditions = p.DATASETS * p.BACKBONES * p.NOISE_TYPES * p.RATES
    seeds, rest = divmod(p.RUNS, p.CONDITIONS * p.METHODS)
    distinct = conditions - p.DATASETS * p.BACKBONES * (p.NOISE_TYPES - 1)
    return [
        Check(
            f" {TIMES} ".join(["data sets", "backbones", "kinds of noise", "rates"]),
            str(conditions),
            f"{p.CONDITIONS} conditions",
            conditions == p.CONDITIONS,
        ),
        Check(
            "runs per method and condition",
            f"{p.RUNS:,} / ({p.CONDITIONS} {TIMES} {p.METHODS}) = {p.RUNS / p.CONDITIONS / p.METHODS:g}",
            f"{p.RUNS:,} runs",
            rest == 0 and seeds > 0,
        ),
        Check("distinct conditions, if 0 % is one of the rates", str(distinct)),
    ]


def _test() -> list[Check]:
    df, m = p.METHODS - 1, p.CONDITIONS
    value = friedman_p(p.CHI2, p.METHODS)
    high, low = (friedman_p(p.CHI2 + step, p.METHODS) for step in (-HALF_CHI2, HALF_CHI2))
    f = (m - 1) * p.CHI2 / (m * df - p.CHI2)
    return [
        Check(
            f"p of χ² = {p.CHI2}, {df} degrees of freedom",
            f"{value:.3g}; {low:.3g} to {high:.3g} for what rounds to {p.CHI2}",
            f"{p.P_VALUE:.3g}",
            low <= p.P_VALUE <= high,
        ),
        Check("Kendall's W", f"{p.CHI2} / ({m} {TIMES} {df}) = {p.KENDALL_W:.3f}"),
        Check("F of Iman and Davenport", f"{f:.2f} with ({df}, {df * (m - 1)}) degrees of freedom"),
    ]


def _ranks() -> list[Check]:
    k, m = p.METHODS, p.CONDITIONS
    cd = critical_difference(k, m)
    middle = (k + 1) / 2
    # Without ties, chi-squared is 12 M / (k (k + 1)) times the sum of squared distances from the middle.
    spread = p.CHI2 * k * (k + 1) / (12 * m)
    cufit = (p.CUFIT_RANK - middle) ** 2
    others = (k * middle - p.CUFIT_RANK) / (k - 1)
    worst = (p.ELR_WINS + (m - p.ELR_WINS) * k) / m
    return [
        Check("Nemenyi critical difference at 5 %", f"{cd:.3f}"),
        Check(
            "methods that CUFIT differs from", f"those with a mean rank of {p.CUFIT_RANK + cd:.2f} or more"
        ),
        Check("mean rank of the other methods together", f"{others:.2f}"),
        Check(
            f"CUFIT's part of the squared distances from {middle:g}",
            f"{cufit:.2f} of {spread:.2f}",
            f"mean rank {p.CUFIT_RANK}",
            # The others cannot be closer together than all at their common mean.
            cufit + (k - 1) * (others - middle) ** 2 <= spread,
        ),
        Check("mean rank of ELR", f"{p.CUFIT_RANK} to {worst:.2f}, from CUFIT's rank and its own wins"),
        Check(
            "fewest wins that can be the most",
            f"{-(-m // k)} of {m}",
            f"{p.ELR_WINS} for ELR",
            -(-m // k) <= p.ELR_WINS <= m,
        ),
    ]


def _scores() -> list[Check]:
    alive = p.CO_BALANCED * p.CO_CLASSES / (p.CO_CLASSES - p.CO_DEAD)
    growth = f"{p.ASYMMETRIC_COST} / {p.CLEAN_COST} = {p.COST_RATIO:.2f}"
    return [
        Check("growth of the cost", growth),
        Check(
            f"Co-teaching's recall in the {p.CO_CLASSES - p.CO_DEAD} classes that are left",
            f"{p.CO_BALANCED} % {TIMES} {p.CO_CLASSES} / {p.CO_CLASSES - p.CO_DEAD} = {alive:.1f} %",
            f"balanced accuracy {p.CO_BALANCED} %, {p.CO_DEAD} classes at 0",
            alive <= 100,
        ),
    ]
