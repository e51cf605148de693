"""Tables of the chapter on movement: percent and percentage points, from fractions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.rank_correlation import RankCorrelation
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.moved_archive import MEASURES, Tally, by_noise
from noisylib.book.describe.overlap_tables import noise_words
from noisylib.book.tables import NBSP, mean_sd

if TYPE_CHECKING:
    import pandas as pd


def live_table(main: pd.DataFrame) -> pd.DataFrame:
    """Return one row per noise rate and tuning: "mean ± sd" over seeds of all that was measured."""
    import pandas as pd

    columns = {
        "1 - CKA (x 100)": ("moved", 100),
        "Weights (%)": ("weights", 100),
        "Clean probe before": ("probe_before", 100),
        "Clean probe after": ("probe_after", 100),
        "Own head": ("own", 100),
        "Its linear probe": ("lp", 100),
        "Gain (pp)": ("gain", 1),
    }
    records = []
    for (rate, tuning), part in main.groupby(["rate", "tuning"], sort=False):
        values = {
            title: mean_sd(scale * part[name].mean(), scale * part[name].std())
            for title, (name, scale) in columns.items()
        }
        records.append({"Noise": f"{100 * rate:g}{NBSP}%", "Tuning": tuning} | values)
    return pd.DataFrame(records)


def noise_table(found: pd.DataFrame, labels: Mapping[str, Tally]) -> pd.DataFrame:
    """Return one row per noise and label: mean gain, in how many data sets, and the clean probe's change."""
    import pandas as pd

    records = []
    for noise, part in [*by_noise(found).items(), ("all", found)]:
        here = {label: part[part["label"] == label] for label in labels}
        for label, tally in ((label, Tally.of(one)) for label, one in here.items() if len(one)):
            records.append(
                {
                    "Noise": noise.capitalize(),
                    "Tuning": label,
                    "Gain (pp)": f"{tally.gain:+.1f}",
                    "Gained in": f"{tally.gained} of {tally.n}",
                    "Clean probe (pp)": f"{tally.probe_gain:+.1f}",
                    "Better features in": f"{tally.better} of {tally.n}",
                }
            )
    return pd.DataFrame(records)


def cells_table(found: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return one row per data set, noise and label of the shown ones, means over seeds."""
    import pandas as pd

    part = found[found["label"].isin(labels)]
    return pd.DataFrame(
        {
            "Data set": [bank_title(name) for name in part["dataset"]],
            "Noise": [
                noise_words(*pair) for pair in zip(part["noise_type"], part["noise_rate"], strict=True)
            ],
            "Tuning": list(part["label"]),
            "1 - CKA": [f"{x:.2f}" for x in part["moved"]],
            "Weights (%)": [_one(100 * x) for x in part["weights"]],
            "Clean probe before": [_one(100 * x) for x in part["probe_before"]],
            "after": [_one(100 * x) for x in part["probe_after"]],
            "Own head": [_one(100 * x) for x in part["own"]],
            "Its linear probe": [_one(100 * x) for x in part["lp"]],
            "Gain (pp)": [f"{x:+.1f}" for x in part["gain"]],
        }
    )


def association_table(found: Mapping[str, Mapping[str, RankCorrelation]]) -> pd.DataFrame:
    """Return one row per label and measure: the correlation with the gain, within sets, with one left out."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Tuning": label,
            "Gain against": MEASURES[measure],
            "Conditions": one.n,
            "Correlation": correlation_words(one),
            "Within data sets": _signed(one.within),
            "One set left out": f"{_signed(one.least)} to {_signed(one.most)}",
        }
        for label, measures in found.items()
        for measure, one in measures.items()
    )


def correlation_words(one: RankCorrelation) -> str:
    """Return a correlation and its interval, "+0.45 (+0.10 to +0.70)"; "-" where there is none."""
    if np.isnan(one.value):
        return "-"
    return f"{one.value:+.2f}{NBSP}({_signed(one.low)} to {_signed(one.high)})"


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.2f}"


def _one(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
