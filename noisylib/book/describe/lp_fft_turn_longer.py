"""Was full fine-tuning cut short? The same training with more epochs, beside the study's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.book.claims.turn_rows import NOISE, SET
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overlap_tables import noise_words

if TYPE_CHECKING:
    import pandas as pd

RUN = [*SET, *NOISE, "label", "seed", "n_train"]
MEASURED = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "memorised": "Wrong labels learned",
}


def longer_frame(rows: pd.DataFrame, longer: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of both tables: columns `RUN`, and steps and `MEASURED` with _short and _long."""
    columns = [*RUN, "steps", *MEASURED]
    return rows[columns].merge(longer[columns], on=RUN, suffixes=("_short", "_long"))


def longer_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, per data set and noise, the percent of both trainings: short, then long."""
    import pandas as pd

    table = {
        "Data set": [bank_title(name) for name in frame["dataset"]],
        "Noise": [
            noise_words(*noise).capitalize() for noise in frame[NOISE].itertuples(index=False, name=None)
        ],
    }
    for column, title in MEASURED.items():
        both = zip(frame[f"{column}_short"], frame[f"{column}_long"], strict=True)
        table[title] = [f"{100 * short:.1f} → {100 * long:.1f}" for short, long in both]
    return pd.DataFrame(table)


def longer_reading(frame: pd.DataFrame) -> str:
    """Return what more epochs changed on average, in points, and in how many conditions."""
    times = (frame["steps_long"] / frame["steps_short"]).mean()
    parts = []
    for column, title in MEASURED.items():
        gain = 100 * (frame[f"{column}_long"] - frame[f"{column}_short"])
        more = int((gain > 0).sum())
        parts.append(f"{title.lower()} {gain.mean():+.1f} points (up in {more} of {len(gain)} conditions)")
    return (
        f"With {times:.0f} times the steps, FFT-CE changes as follows, on average: {parts[0]}, {parts[1]}, "
        f"{parts[2]}. One seed each, so single conditions mean little."
    )
