"""How far a probability that a label is right is true, over many labels of which that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.bad_labels import DRAWN, OURS, title
from noisylib.book.describe.drops import points
from noisylib.book.tables import NBSP
from noisylib.study.label_errors import BINS, PROBABILITIES

if TYPE_CHECKING:
    import pandas as pd

DOUBT = (0.5, 0.8)  # not flagged, and not sure either
SHOWN = tuple(key for key in DRAWN if key in PROBABILITIES)


def reliability(rows: pd.DataFrame, keys: tuple[str, ...]) -> pd.DataFrame:
    """Return detector, bin, stated (mean probability), right (share) and share of the labels, pooled.

    Parameters
    ----------
    rows : with the columns detector, bin_counts, bin_probability and bin_right, live or archived; each is
        one run, and counts by its labels.
    keys : detectors, of those whose score is a probability.
    """
    import pandas as pd

    records = []
    for key in keys:
        part = rows[rows["detector"] == key]
        counts = np.stack(part["bin_counts"]).astype(float)
        sums = [np.nansum(counts * np.stack(part[c]), axis=0) for c in ("bin_probability", "bin_right")]
        total = counts.sum(0)
        for b in np.flatnonzero(total):
            records.append((key, b, sums[0][b] / total[b], sums[1][b] / total[b], total[b] / total.sum()))
    return pd.DataFrame(records, columns=["detector", "bin", "stated", "right", "share"])


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the mean distance between stated probability and share of right labels, over labels."""
    return float((bins["share"] * (bins["stated"] - bins["right"]).abs()).sum())


def calibration_table(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how far the scores that are read as probabilities are from the truth, in points.

    Parameters
    ----------
    parts : heading -> rows, as of `reliability`. "Off by" is the mean distance over labels, "on the whole"
        the stated mean minus the share of right labels.
    """
    import pandas as pd

    records = []
    for key in SHOWN:
        record = {"Score": title(key)}
        for heading, rows in parts.items():
            bins = reliability(rows, (key,))
            whole = float((bins["share"] * (bins["stated"] - bins["right"])).sum())
            record[f"Off by, {heading}"] = points(calibration_error(bins))
            record[f"On the whole, {heading}"] = f"{round(100 * whole, 1) + 0.0:+.1f}"
        records.append(record)
    return pd.DataFrame(records)


def doubtful(rows: pd.DataFrame, where: str) -> str:
    """Return how many labels are wrong that ours takes for right, but without being sure; "" for none."""
    bins = reliability(rows, (OURS,))
    part = bins[(bins["bin"] >= BINS * DOUBT[0]) & (bins["bin"] < BINS * DOUBT[1])]
    share = part["share"].sum()
    if not share:
        return ""
    wrong = 1 - float((part["share"] * part["right"]).sum() / share)
    low, high = (f"{100 * end:g}" for end in DOUBT)
    return (
        f"{where}, of the labels that the clean probability calls right with {low} to {high}{NBSP}%, "
        f"{100 * wrong:.0f}{NBSP}% are wrong; they are {100 * share:.1f}{NBSP}% of all labels."
    )
