"""Tables of the chapter on wrong labels: every detector, every class, and what the noise rate is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.bad_labels import DASH, OURS, TOLD, Live, measured, percent, pooled, title
from noisylib.book.tables import NBSP
from noisylib.label_quality import clean_probability, flag
from noisylib.study.label_errors import Judgement

if TYPE_CHECKING:
    import pandas as pd

FOUND = ["auroc", "flagged_share", "precision", "recall", "brier"]


def detector_table(live: Live) -> pd.DataFrame:
    """Return every detector, best AUROC first: the ranking, then the labels it flags.

    Percent, means over runs.
    """
    import pandas as pd

    means, count = live.means, len(live.y_true)
    columns = {
        "AUROC": "auroc", "Average precision": "average_precision", "At as many": "precision_at_errors",
        "Precision": "precision", "Recall": "recall", "Brier score": "brier",
    }  # fmt: skip
    records = []
    for key, row in means.sort_values("auroc", ascending=False, kind="stable").iterrows():
        cells = {heading: percent(row[column]) for heading, column in columns.items()}
        flagged = {"Flagged": f"{count * row['flagged_share']:,.0f}"}
        head = ("AUROC", "Average precision", "At as many")
        records.append(
            {"Detector": title(key)}
            | {name: cells[name] for name in head}
            | flagged
            | {name: cells[name] for name in cells if name not in head}
        )
    return pd.DataFrame(records)


def class_table(live: Live) -> pd.DataFrame:
    """Return the classes by observed label, the largest first: how wrong they are, and what is found there.

    Percent, pooled over runs; AUROC is the mean over runs.
    """
    import pandas as pd

    y, names, runs = live.y_true, live.bank.class_names, len(live.noisy)
    given = np.concatenate([labels.y_noisy for labels in live.noisy])
    wrong = np.concatenate([labels.flipped for labels in live.noisy])
    flagged = np.concatenate([judged[OURS].flagged for judged in live.found])
    truth = np.tile(y, runs)
    scores = np.stack(live.rows.loc[live.rows["detector"] == OURS, "class_auroc"])
    records = []
    for c in np.argsort(-np.bincount(given, minlength=len(names)), kind="stable"):
        own = given == c
        sources = np.bincount(truth[own & wrong], minlength=len(names))
        hits, found = (own & flagged & wrong).sum(), (own & flagged).sum()
        records.append(
            {
                "Observed label": names[c],
                "Labels": f"{own.sum() / runs:,.0f}",
                "Wrong": percent(wrong[own].mean()) if own.any() else DASH,
                "Most are truly": names[sources.argmax()] if sources.any() else DASH,
                "AUROC": percent(mean_of(scores[:, c])),
                "Flagged": f"{found / runs:,.0f}",
                "Precision": percent(hits / found) if found else DASH,
                "Recall": percent(hits / sources.sum()) if sources.any() else DASH,
            }
        )
    return pd.DataFrame(records)


def mean_of(values: np.ndarray) -> float:
    """Return the mean of those values that are numbers; NaN if none is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def told_frame(live: Live) -> pd.DataFrame:
    """Return what the clean probability finds if the noise rate it goes by is wrong, right, or estimated.

    Columns told, rate, auroc, flagged_share, precision, recall and brier, fractions, means over runs. A rate
    at which the true class would not be the likeliest any more is left out.
    """
    import pandas as pd

    limit = (live.bank.n_classes - 1) / live.bank.n_classes
    records = []
    for name, factor in (("half the rate", 0.5), ("the rate", 1.0), ("one and a half times the rate", 1.5)):
        rates = [factor * labels.realised_rate for labels in live.noisy]
        if max(rates) < limit:
            found = [
                {OURS: _judged(clean_probability(one, noise_rate=rate, T=estimate.T))}
                for one, rate, estimate in zip(live.evidence, rates, live.estimates, strict=True)
            ]
            row = pooled(measured(found, live.evidence, live.y_true, live.seeds), "detector").loc[OURS]
            records.append({"told": name, "rate": np.mean(rates), **row[FOUND]})
    means = live.means[FOUND]
    estimated = np.mean([estimate.rate for estimate in live.estimates])
    records.append({"told": "nothing, it is estimated", "rate": estimated, **means.loc[OURS]})
    records.append({"told": "the transition matrix", "rate": live.realised_rate, **means.loc[TOLD]})
    return pd.DataFrame(records)


def _judged(scores: np.ndarray) -> Judgement:
    return Judgement(scores, flag(scores))


def told_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `told_frame` as text, in percent."""
    headings = ("Rate", "AUROC", "Flagged", "Precision", "Recall", "Brier score")
    table = frame[["rate", *FOUND]].map(percent).set_axis(list(headings), axis=1)
    table.insert(0, "Is told", frame["told"])
    return table


def told_text(frame: pd.DataFrame) -> str:
    """Return how much a wrong noise rate changes: the ranking, and the flagged labels."""
    told = frame[frame["told"].str.endswith("the rate")]
    low, high = told.iloc[0], told.iloc[-1]
    return (
        f"From a rate of {percent(low['rate'])} to one of {percent(high['rate'])}{NBSP}%, AUROC goes from "
        f"{percent(low['auroc'])} to {percent(high['auroc'])} and the flagged labels from "
        f"{percent(low['flagged_share'])} to {percent(high['flagged_share'])}{NBSP}% of all."
    )
