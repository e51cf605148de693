"""Where wrong labels are not found, by the archived rows, and what is missing there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.book.describe.bad_labels import HEAD_ONLY, MARGIN, OURS, TOLD, percent, pooled
from noisylib.book.describe.bad_labels_archive import NOISE, bank_matrices, noise_name, noisy, untouched
from noisylib.book.describe.bad_labels_calibration import calibration_error, reliability
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.drops import points
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd


def failure_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return where it fails: per data set, how good the features are, what is found, and what limits it.

    Percent, means over backbones, noise and seeds. "Disagrees" is how often the head that never saw a label
    answers otherwise where no noise was planted: what it does not know, or what is wrong in the set itself.
    "Off by" is the calibration error of the clean probability.
    """
    import pandas as pd

    part, clean = noisy(rows), untouched(rows)
    auroc = part.pivot_table(index="dataset", columns="detector", values="auroc", sort=False)
    ours = pooled(part[part["detector"] == OURS], "dataset")
    disagrees = clean[clean["detector"] == MARGIN].groupby("dataset")["flagged_share"].mean()
    false = clean[clean["detector"] == OURS].groupby("dataset")["flagged_share"].mean()
    off = {
        name: calibration_error(reliability(rows, (OURS,)))
        for name, rows in part.groupby("dataset", sort=False)
    }
    table = pd.DataFrame(
        {
            "Disagrees": disagrees.reindex(auroc.index),
            "AUROC": auroc[OURS],
            "Without neighbours": auroc[HEAD_ONLY],
            "Told T": auroc[TOLD],
            "Off by": off,
            "Precision": ours["precision"],
            "Recall": ours["recall"],
            "Flagged, nothing planted": false.reindex(auroc.index),
        }
    ).sort_values("AUROC", ascending=False, kind="stable")
    cells = table.map(percent)
    cells.insert(0, "Data set", [bank_title(name) for name in table.index])
    return cells.reset_index(drop=True)


def failure_text(rows: pd.DataFrame) -> str:
    """Return on which data set least is found, and what is missing."""
    part, clean = noisy(rows), untouched(rows)
    auroc = part.pivot_table(index="dataset", columns="detector", values="auroc", sort=False)
    worst, best = auroc[OURS].idxmin(), auroc[OURS].idxmax()
    heads = clean[clean["detector"] == MARGIN].groupby("dataset")["flagged_share"].mean()
    ours = part[(part["detector"] == OURS) & (part["dataset"] == worst)]
    gain = auroc.at[worst, TOLD] - auroc.at[worst, OURS]
    text = (
        f"Least is found on {bank_title(worst)}: an AUROC of {percent(auroc.at[worst, OURS])}, against "
        f"{percent(auroc.at[best, OURS])} on {bank_title(best)}; the flagged labels are "
        f"{percent(ours['recall'].mean())}{NBSP}% of the wrong ones. "
    )
    if worst in heads and best in heads:
        text += (
            f"There, a head that never saw the label answers otherwise for {percent(heads[worst])}{NBSP}% of "
            f"the labels even where no noise was planted, against {percent(heads[best])}{NBSP}% on "
            f"{bank_title(best)}"
        )
        text += (
            ": features that hardly tell the classes apart cannot tell a wrong label from a hard image. "
            if heads[worst] > heads[best]
            else ". "
        )
    missing = 1 - auroc.at[worst, OURS]
    if gain <= 0:
        return f"{text}Knowing the true transition matrix would not help."
    return (
        f"{text}Knowing the true transition matrix would give {points(gain)} of the {points(missing)} points "
        "that are missing to 100, so "
        + (
            "most of what is missing is the estimate of the noise."
            if gain > missing / 2
            else "most of what is missing is not the estimate of the noise."
        )
    )


def behind_text(rows: pd.DataFrame) -> str:
    """Return how far ours leads cleanlab by kind of noise, and where it is behind."""
    lead = bank_matrices(rows)[1].stack(NOISE, future_stack=True)
    kinds = lead.groupby("noise_type", sort=False).mean()
    by_kind = " and ".join(f"{points(value)} points under {kind} noise" for kind, value in kinds.items())
    text = f"On average, the lead over the best ranking of cleanlab is {by_kind}. "
    behind = lead[lead < 0].sort_values()
    if behind.empty:
        return f"{text}In none of the {len(lead)} conditions is any ranking of cleanlab ahead."
    dataset, backbone, *noise = behind.index[0]
    sets = behind.groupby("dataset").size().sort_values(ascending=False, kind="stable")
    where = ", ".join(f"{bank_title(name)} {count}" for name, count in sets.items())
    return (
        f"{text}In {len(behind)} of the {len(lead)} conditions a ranking of cleanlab is ahead ({where}), "
        f"by at most {points(-behind.iloc[0])} points: {bank_title(dataset)}, {backbone_title(backbone)}, "
        f"{noise_name(*noise)}."
    )
