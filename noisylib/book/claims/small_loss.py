"""How the claims on losses of wrong labels are measured, on the tables of the experiment `small_loss`.

The paper's images and backbone are not among ours: HAM10000 stands in for ISIC 2019, and our backbones for
DINOv2. What else the paper leaves open is set to the headline of the two chapters on these tables;
`claims_open` shows what the other choices give. The criteria come from the paper's numbers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims import published
from noisylib.book.claims.claim import (
    CLUSTERS,
    OVER_SEEDS,
    CannotTestError,
    Finding,
    Study,
    ends_text,
    grade,
    interval,
)
from noisylib.book.describe.drops import CONTESTS, Contest, contests_of, seed_drops
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

SKIN, HEAD, RATE = "ham10000", "adapter", 0.4
NOISES = ("symmetric", "asymmetric")  # a drop is the first minus the second
DEPLOYED = next(contest for contest in CONTESTS if (contest.loss, contest.agreement) == ("loss", "agreement"))
SEED = CLUSTERS[OVER_SEEDS]
RULES = {"matched": "matched m", "fixed": "fixed m"}

# Fractions. Ten points are about the width of the paper's range: other images and backbones than the
# paper's may move an overlap by as much again.
MARGIN = 0.1
LOW, HIGH = (end / 100 for end in published.OVERLAP)
NEAR = (LOW - MARGIN, HIGH + MARGIN)
GAP = (published.LOSS_DROP - published.AGREEMENT_DROP) / 100

_STAND_IN = "on HAM10000, which stands in for ISIC 2019, and our backbones in place of DINOv2,"
OVERLAP_CRITERIA = (
    f"{_STAND_IN} the overlap under every kind and rate of noise is within {100 * MARGIN:.0f} points of the "
    f"paper's range, {100 * NEAR[0]:.0f} to {100 * NEAR[1]:.0f} % (a margin as wide as that range, for other "
    "images and backbones), and the interval of the mean meets the range itself",
    "the mean is within the margin",
)
DROP_CRITERIA = (
    f"{_STAND_IN} the interval of the difference of the two drops, paired by seed, is above 0, and the "
    f"ranking by loss loses precision: at least {100 * GAP / 2:g} points more than agreement (half of the "
    f"paper's {100 * GAP:g}) and at least twice as much",
    "that interval is above 0",
)
OVERLAP_ROWS = (
    f"table overlap, dataset {SKIN}, head {HEAD}, sample train, epoch last, estimator histogram, corrected "
    "for its bias; means over backbones, seeds, kinds and rates of noise"
)
DROP_ROWS = (
    f"table detection, dataset {SKIN}, head {HEAD}, noise_rate {RATE:g}, rule matched, detectors loss and "
    "agreement; precision under symmetric minus that under asymmetric noise, means over backbones and seeds"
)


def losses_overlap(study: Study) -> Finding:
    """Measure the overlap of the losses of right and wrong labels, after the last epoch and in-sample.

    Parameters
    ----------
    study : rows of the table "overlap".
    """
    rows = headline_overlaps(study.rows)
    by_noise = rows.groupby(["noise_type", "noise_rate"])["corrected"].mean()
    mean, ends = over_seeds(rows, "corrected")
    near = by_noise.between(*NEAR).all()
    meets = ends is not None and ends[0] <= HIGH and ends[1] >= LOW
    low, high = (noise_words(*by_noise.agg(end)) for end in ("idxmin", "idxmax"))
    backbones = rows.groupby("backbone", sort=False)["corrected"].mean()
    note = (
        f"{100 * by_noise.min():.1f} ({low}) to {100 * by_noise.max():.1f} % ({high}); by backbone "
        f"{_listed(backbones, 100)}; clean test error {100 * rows['test_error'].mean():.1f} %, balanced "
        f"{100 * rows['test_balanced_error'].mean():.1f} %"
    )
    verdict = grade(near and meets, NEAR[0] <= mean <= NEAR[1])
    return Finding(verdict, f"{100 * mean:.1f} %", ends_text(ends, 1, 100), note)


def headline_overlaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table "overlap" that the claim is measured on."""
    here = (rows["dataset"] == SKIN) & (rows["head"] == HEAD) & (rows["estimator"] == "histogram")
    found = rows[here & (rows["sample"] == "train") & (rows["epoch"] == "last")]
    if found.empty:
        raise CannotTestError(f"the rows have no overlap on HAM10000 with the head {HEAD}")
    return found


def agreement_is_steadier(study: Study) -> Finding:
    """Measure how much more precision the ranking by loss loses than agreement, from kind to kind of noise.

    Parameters
    ----------
    study : rows of the table "detection".
    """
    rows = headline_detections(study.rows)
    drops = {rule: drops_of(rows, rule) for rule in RULES}
    pairs = paired(drops["matched"], DEPLOYED)
    difference, ends = over_seeds(pairs, "difference")
    if ends is None:
        raise CannotTestError("the rows have no two seeds, and a difference of one has no interval")
    loss, agreement = (pairs[column].mean() for column in ("loss", "agreement"))
    backbones = pairs.groupby("backbone", sort=False)["difference"].mean()
    steadier = ends[0] > 0
    # Of differences in floating point: exactly half or twice counts.
    large, twice = round(difference - GAP / 2, 9) >= 0, round(loss - 2 * agreement, 9) >= 0
    note = f"difference by backbone {_listed(backbones, 100, '+')}; loss / agreement, {_designs(drops)}"
    return Finding(
        grade(steadier and loss > 0 and large and twice, steadier),
        f"{100 * agreement:.1f} pp against {100 * loss:.1f} pp, difference {100 * difference:+.1f} pp",
        ends_text(ends, 1, 100),
        note,
    )


def headline_detections(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table "detection" that the claim is measured on, of all detectors and rules."""
    found = rows[(rows["dataset"] == SKIN) & (rows["head"] == HEAD) & np.isclose(rows["noise_rate"], RATE)]
    if found.empty:
        raise CannotTestError(f"the rows have no noise of 40 % on HAM10000 with the head {HEAD}")
    return found


def drops_of(rows: pd.DataFrame, rule: str = "matched") -> pd.DataFrame:
    """Return the drop of every detector per condition and seed, or say that a kind of noise is missing."""
    absent = [noise for noise in NOISES if noise not in set(rows["noise_type"])]
    if absent:
        raise CannotTestError(f"the rows have no {' and no '.join(absent)} noise there")
    return seed_drops(rows, rule)


def paired(drops: pd.DataFrame, contest: Contest) -> pd.DataFrame:
    """Return drops of loss and of agreement and their difference, fractions, one row per condition and seed.

    Parameters
    ----------
    drops : from `drops_of`.
    """
    if contest not in contests_of(drops):
        raise CannotTestError(f"the rows lack the detectors {contest.loss} and {contest.agreement}")
    both = drops[[contest.loss, contest.agreement]].dropna().set_axis(["loss", "agreement"], axis=1)
    return both.assign(difference=both["loss"] - both["agreement"]).reset_index()


def over_seeds(rows: pd.DataFrame, column: str) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of a column and its interval over seeds; every seed has the same conditions."""
    seeds = rows.rename(columns={"seed": SEED}).groupby(SEED)[column].mean().reset_index()
    return float(seeds[column].mean()), interval(seeds, lambda drawn: drawn[column].mean(), OVER_SEEDS)


def _designs(drops: dict[str, pd.DataFrame]) -> str:
    """Return the mean drops of loss and agreement in every contest, under both rules, as text."""
    parts = []
    for rule, title in RULES.items():
        cells = []
        for contest in contests_of(drops[rule]):
            means = 100 * paired(drops[rule], contest)[["loss", "agreement"]].mean()
            cells.append(f"{contest.title} {means['loss']:.1f} / {means['agreement']:.1f}")
        parts.append(f"{title}: {', '.join(cells)}")
    return "; ".join(parts)


def _listed(values: pd.Series, scale: float, sign: str = "") -> str:
    """Return means by backbone, such as "DeiT-Ti 52.1, MobileNetV2 50.0"."""
    return ", ".join(
        f"{backbone_title(name)}{NBSP}{scale * value:{sign}.1f}" for name, value in values.items()
    )
