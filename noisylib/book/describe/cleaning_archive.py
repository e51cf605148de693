"""What fine-tuned runs kept: archived rows of TURN's selections, and scores of its variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.cleaning_draw import expected_union
from noisylib.errors import MissingDataError, require

if TYPE_CHECKING:
    import pandas as pd

TURN, ALL = "TURN", "turn-all"  # labels of rows: as it is, and without the balanced draw
TAU = 0.6  # of the rows called TURN
PAIR = ["dataset", "backbone", "image_size", "noise_type", "noise_rate", "seed", "n_train"]
CELL = ["dataset", "backbone", "image_size", "noise_type", "noise_rate"]
SCORES = ("accuracy", "balanced_accuracy")
NUMBERS = ["purity", "purity_drawn", "recall_right", "n", "clean", "lost", "union"]
LEVEL = 0.95


def arms() -> tuple[pd.DataFrame | None, str]:
    """Return the rows of TURN's variants and what a caption says of them; None if nobody has run them."""
    from noisylib.book.experiments import experiment_rows

    try:
        return experiment_rows("turn_small_arms")
    except MissingDataError:
        return None, ""


def selections(rows: pd.DataFrame, redraws: int) -> pd.DataFrame:
    """Return the rows of TURN as it is, with two columns more.

    `share` is clean over all training samples, `union` the share of the clean samples that so many
    independent draws are expected to reach if the clean set stays as it is.
    """
    own = rows[rows["label"] == TURN].reset_index(drop=True)
    observed = [np.asarray(counts) for counts in own["observed_counts"]]
    clean = [np.asarray(counts)[seen > 0] for counts, seen in zip(own["clean_counts"], observed, strict=True)]
    return own.assign(
        share=own["clean"] / [counts.sum() for counts in observed],
        union=[
            expected_union(counts, int(counts.min()), redraws)[0].sum() / counts.sum() for counts in clean
        ],
    )


def at_own(own: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the tau that the run used."""
    return own[np.isclose(own["tau"], own["run_tau"])]


def ends(own: pd.DataFrame) -> pd.DataFrame:
    """Return one row per condition and end ("first" or "last" epoch of fine-tuning), at the run's own tau.

    Columns of CELL, when, right (share of right labels in the training set), share, the means over seeds of
    NUMBERS, and purity_low and purity_high, the range of purity over seeds.
    """
    import pandas as pd

    own = at_own(own).assign(right=1 - own["realised_rate"])
    parts = []
    for when, epoch in (("first", own["epoch"].min()), ("last", own["epoch"].max())):
        grouped = own[own["epoch"] == epoch].groupby(CELL, sort=False)
        means = grouped[["right", "share", *NUMBERS]].mean()
        means["purity_low"], means["purity_high"] = grouped["purity"].min(), grouped["purity"].max()
        parts.append(means.reset_index().assign(when=when))
    return pd.concat(parts, ignore_index=True)


def by_tau(own: pd.DataFrame) -> pd.DataFrame:
    """Return purity, recall_right, share and n by condition and tau before fine-tuning: means over seeds."""
    first = own[own["epoch"] == own["epoch"].min()]
    return (
        first.groupby([*CELL, "tau"], sort=False)[["purity", "recall_right", "share", "n"]]
        .mean()
        .reset_index()
    )


def changes(frame: pd.DataFrame, column: str, by: str, start: object, end: object) -> pd.Series:
    """Return, for each data set, the mean over its conditions of `column` at `by` = end minus at start."""
    wide = frame.pivot_table(index=CELL, columns=by, values=column)
    return (wide[end] - wide[start]).groupby(level="dataset", sort=False).mean()


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of independent values and its 95 % interval by Student's t; NaN ends for one value."""
    special = require("scipy.special", "book")
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, np.nan, np.nan
    reach = float(special.stdtrit(n - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(n))
    return mean, mean - reach, mean + reach


def differences(study: pd.DataFrame, variants: pd.DataFrame | None) -> pd.DataFrame:
    """Return what each variant of TURN gains over TURN on the same labels and seed, and as many images.

    Parameters
    ----------
    study, variants : rows of the tables of scores; TURN itself may be in either.

    Returns
    -------
    One row per variant, condition and seed: label, tau (of the variants that are called turn-tau<value>, else
    NaN), the columns of PAIR, and the gains in SCORES, fractions. Empty without variants.
    """
    import pandas as pd

    columns = ["label", "tau", *PAIR, *SCORES]
    if variants is None:
        return pd.DataFrame(columns=columns)
    both = pd.concat([variants, study], ignore_index=True)
    reference = both[both["label"] == TURN].drop_duplicates(PAIR)[[*PAIR, *SCORES]]
    others = variants[variants["label"].str.startswith("turn-")]
    joined = others.merge(reference, on=PAIR, suffixes=("", "_turn"))
    for score in SCORES:
        joined[score] = joined[score] - joined[f"{score}_turn"]
    taus = joined["label"].str.extract(r"^turn-tau([\d.]+)$", expand=False).astype(float)
    return joined.assign(tau=taus)[columns].reset_index(drop=True)


def gains(found: pd.DataFrame, label: str, score: str) -> pd.DataFrame:
    """Return mean gain of one variant and its interval: over seeds for each data set, over data sets for all.

    Columns dataset ("" for all), n (seeds or data sets), mean, low, high; fractions.
    """
    import pandas as pd

    part = found[found["label"] == label]
    seeds = part.groupby(["dataset", "seed"], sort=False)[score].mean()
    records = []
    for dataset, values in seeds.groupby(level="dataset", sort=False):
        records.append((dataset, len(values), *t_interval(values)))
    if records:
        means = [mean for _, _, mean, _, _ in records]
        records.append(("", len(means), *t_interval(means)))
    return pd.DataFrame(records, columns=["dataset", "n", "mean", "low", "high"])


def floor_facts(own: pd.DataFrame) -> dict[str, int]:
    """Return how many classes of all runs and epochs were small, at the run's own tau.

    classes : observed classes; tiny : those with fewer samples than a mixture needs; ones : those with one
    clean sample; smallest : the fewest clean samples of any class, the least n.
    """
    from noisylib.methods.turn import FEWEST

    own = at_own(own)
    observed, clean = (np.concatenate(list(own[c])) for c in ("observed_counts", "clean_counts"))
    seen = observed > 0
    return {
        "classes": int(seen.sum()),
        "tiny": int((observed[seen] < FEWEST).sum()),
        "ones": int((clean[seen] == 1).sum()),
        "smallest": int(clean[seen].min()),
    }
