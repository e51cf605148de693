"""What the archived rows on wrong labels say: every detector over all conditions.

Rows are those of the experiment `label_errors`. AUROC is a fraction in frames and percent in what a reader
sees; differences are in points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.bad_labels import (
    CLEANLAB,
    DASH,
    HEAD_ONLY,
    ISSUES,
    KNN,
    MARGIN,
    OURS,
    TOLD,
    percent,
    pooled,
    title,
)
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.drops import interval, points
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP, mean_sd
from noisylib.noise_rate import FILE
from noisylib.study.label_errors import DETECTORS

if TYPE_CHECKING:
    import pandas as pd

CELL = ["dataset", "backbone", "noise_type", "noise_rate"]
NOISE = ["noise_type", "noise_rate"]
# Columns of the table of single conditions; the last knows the noise.
SHOWN = (OURS, "cleanlab_self_confidence", MARGIN, ISSUES, KNN, TOLD)
# Titles of the columns of a heat map.
SHORT = {
    OURS: "Clean probability",
    HEAD_ONLY: "… without neighbours",
    "clean_probability_confident": "… T: confident learning",
    TOLD: "… told T",
    "cleanlab_self_confidence": "cleanlab: self-confidence",
    MARGIN: "cleanlab: margin",
    "cleanlab_entropy": "cleanlab: entropy",
    ISSUES: "find_label_issues",
    KNN: "k-NN share",
    "self_confidence_knn": "Self-confidence + k-NN",
}
RIVALS = (*CLEANLAB, KNN, "self_confidence_knn", HEAD_ONLY, "clean_probability_confident", TOLD)


def noisy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of labels with planted noise, which alone have an AUROC."""
    return rows[rows["noise_rate"] > 0]


def untouched(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of labels as published, without planted noise."""
    return rows[rows["noise_rate"] == 0]


def shown_backbone(rows: pd.DataFrame, wanted: str) -> str:
    """Return the backbone `wanted` if it is archived, or the first that is."""
    return wanted if wanted in set(rows["backbone"]) else rows["backbone"].iloc[0]


def titles_of(rows: pd.DataFrame) -> dict[str, str]:
    """Return the title of every data set and backbone of the rows."""
    return {name: bank_title(name) for name in rows["dataset"].unique()} | {
        name: backbone_title(name) for name in rows["backbone"].unique()
    }


def rate_error() -> str:
    """Return how far the estimated noise rate is off on image sets left out of its fit, in points."""
    fitted = json.loads((files("noisylib") / "fitted" / FILE).read_text(encoding="utf-8"))
    return f"{100 * fitted['errors']['held_out']['all']:.1f}"


def noise_name(noise_type: str, noise_rate: float) -> str:
    """Return a kind of noise and its rate as they head a column."""
    return f"{noise_type} {100 * noise_rate:g}{NBSP}%"


def auroc_matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean AUROC, data set and noise down, detectors across, in the order of the registries."""
    part = noisy(rows)
    table = part.pivot_table(
        index=["dataset", *NOISE], columns="detector", values="auroc", sort=False, observed=True
    )
    return table[[key for key in DETECTORS if key in table]]


def bank_matrices(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return our mean AUROC and its lead over the best ranking of cleanlab, banks down, noise across.

    The best one is picked in every condition with hindsight, by its mean over seeds, so the lead is that of
    somebody who does not know which to take over somebody who does.
    """
    means = noisy(rows).pivot_table(index=CELL, columns="detector", values="auroc", sort=False)
    rivals = [key for key in CLEANLAB if key in means]
    lead = means[OURS] - means[rivals].max(axis=1)
    return tuple(
        values.unstack(NOISE, sort=False).sort_index(axis=1, ascending=[False, True])
        for values in (means[OURS], lead)
    )


def auroc_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AUROC of each condition as "mean ± sd" over seeds in percent.

    The best that is told nothing is bold.

    Parameters
    ----------
    rows : of one backbone.
    """
    import pandas as pd

    grouped = noisy(rows).groupby(["dataset", *NOISE, "detector"], sort=False)["auroc"]
    means = 100 * grouped.mean().unstack("detector")
    spreads = 100 * grouped.std().unstack("detector")
    records = []
    for place, row in means.iterrows():
        dataset, *noise = place
        best = row[[key for key in SHOWN if key != TOLD]].round(1).max()
        record = {"Data set": bank_title(dataset), "Noise": noise_name(*noise)}
        for key in SHOWN:
            text = mean_sd(row[key], spreads.at[place, key])
            record[title(key)] = f"**{text}**" if key != TOLD and round(row[key], 1) == best else text
        records.append(record)
    return pd.DataFrame(records)


def contest_frame(rows: pd.DataFrame, rivals: Sequence[str] = RIVALS) -> pd.DataFrame:
    """Return what our AUROC leads each rival by, over conditions.

    A condition counts as clear where the 95 % t interval of the difference paired by seed leaves 0 out. "low"
    and "high" are the extreme conditions; ahead, clear and behind count conditions.
    """
    import pandas as pd

    wide = noisy(rows).pivot_table(index=[*CELL, "seed"], columns="detector", values="auroc", sort=False)
    records = []
    for key in [key for key in rivals if key in wide]:
        cells = [interval(part) for _, part in (wide[OURS] - wide[key]).groupby(CELL, sort=False)]
        mean, low, high = np.array(cells).T
        records.append(
            (key, mean.mean(), mean.min(), mean.max(), len(mean), (mean > 0).sum(), (low > 0).sum(),
             (high < 0).sum())
        )  # fmt: skip
    columns = ["detector", "mean", "low", "high", "conditions", "ahead", "clear", "behind"]
    return pd.DataFrame(records, columns=columns)


def contest_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `contest_frame` as text, in points."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Against": [title(key) for key in frame["detector"]],
            "Lead": [points(value) for value in frame["mean"]],
            "Lowest": [points(value) for value in frame["low"]],
            "Highest": [points(value) for value in frame["high"]],
            "Ahead in": [
                f"{ahead} of {n}" for ahead, n in zip(frame["ahead"], frame["conditions"], strict=True)
            ],
            "Clearly": frame["clear"],
            "Clearly behind": frame["behind"],
        }
    )


def verdict(frame: pd.DataFrame) -> str:
    """Return, as half a sentence, whether the clean probability ranks better than cleanlab and neighbours."""
    lines = []
    for name, keys in (("rankings of cleanlab", CLEANLAB), ("neighbours alone", (KNN,))):
        part = frame[frame["detector"].isin(keys)]
        hardest = part.loc[part["mean"].idxmin()]
        way = "ahead of" if hardest["mean"] > 0 else "behind"
        which = f"the nearest of the {name}" if len(part) > 1 else name
        lines.append(
            f"{points(abs(hardest['mean']))} points of AUROC {way} {which}"
            + (f" ({title(hardest['detector']).removeprefix('cleanlab, ')})" if len(part) > 1 else "")
            + f" on average, better in {hardest['ahead']} of {hardest['conditions']} conditions, clearly "
            f"better in {hardest['clear']} and clearly worse in {hardest['behind']}"
        )
    return f"the clean probability is {lines[0]}; it is {lines[1]}."


def detector_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return every detector with its means over all conditions, best AUROC first, in percent."""
    import pandas as pd

    part = noisy(rows)
    means = pooled(part, "detector")
    wide = part.pivot_table(index=CELL, columns="detector", values="auroc", sort=False).drop(columns=TOLD)
    best = wide.eq(wide.max(axis=1), axis=0)
    wins = best.div(best.sum(axis=1), axis=0).sum()
    false = untouched(rows).groupby("detector")["flagged_share"].mean()
    records = [
        {
            "Detector": title(key),
            "AUROC": percent(row["auroc"]),
            "Best in": DASH if key == TOLD else f"{wins[key]:g}",
            "At as many": percent(row["precision_at_errors"]),
            "Flagged": percent(row["flagged_share"]),
            "Precision": percent(row["precision"]),
            "Recall": percent(row["recall"]),
            "Flagged, nothing planted": percent(false.get(key, np.nan)),
            "Brier score": percent(row["brier"]),
        }
        for key, row in means.sort_values("auroc", ascending=False, kind="stable").iterrows()
    ]
    return pd.DataFrame(records)
