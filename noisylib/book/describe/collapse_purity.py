"""What becomes of a class by the purity of its observed label and by its share of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

RARE, PURE = 0.1, 0.5  # a class below this share is rare; one below this purity is mostly wrong
SHARES = (0.0, 0.02, 0.1, 1.0)
SHARE_TITLES = ("under 2 % of samples", "2 to 10 %", "10 % and more")


def class_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and class: source, method, share, purity, recall, dead and group.

    share is that of the class in the clean training labels, group its place in `SHARES` (0, 1 or 2). Classes
    that nobody is labelled with, or that the test split lacks, are left out.
    """
    import pandas as pd

    lists = rows[["source", "method", "class_counts", "purity", "recall"]]
    shares = [np.asarray(counts) / np.sum(counts) for counts in lists["class_counts"]]
    frame = lists.drop(columns="class_counts").assign(share=shares).explode(["share", "purity", "recall"])
    frame = frame.astype({"share": float, "purity": float, "recall": float}).dropna(ignore_index=True)
    group = np.searchsorted(SHARES[1:-1], frame["share"].to_numpy(), side="right")
    return pd.DataFrame(frame.assign(dead=frame["recall"] == 0, group=group))


def purity_bins(classes: pd.DataFrame, *, width: float = 0.1, least: int = 5) -> pd.DataFrame:
    """Return mean recall and share of dead classes by method, share group and bin of purity.

    Parameters
    ----------
    classes : from `class_rows`.
    width, least : of a bin of purity, and the classes it needs to be shown.
    """
    last = round(1 / width) - 1  # a purity of 1 belongs to the last bin
    bins = np.minimum((classes["purity"] / width + 1e-9).astype(int), last).rename("bin")
    grouped = classes.groupby(["method", "group", bins])
    frame = grouped[["purity", "recall", "dead"]].mean()
    frame["n"] = grouped.size()
    return frame[frame["n"] >= least].reset_index()


def purity_text(classes: pd.DataFrame, which: str) -> str:
    """Say what becomes of rare classes whose observed label is mostly wrong, and of the purer ones.

    Parameters
    ----------
    classes, which : from `class_rows`, and what they are in words.
    """
    rare = classes[classes["share"] < RARE]
    parts = []
    for impure, name in ((True, "mostly wrong"), (False, "mostly right")):
        part = rare[(rare["purity"] < PURE) == impure].groupby("method")[["recall", "dead"]].mean()
        if not {"ce", "coteaching"} <= set(part.index):
            continue
        ours, plain = part.loc["coteaching"], part.loc["ce"]
        parts.append(
            f"where their label is {name}, Co-teaching recognises {100 * ours['recall']:.0f}{NBSP}% of them "
            f"(CE {100 * plain['recall']:.0f}{NBSP}%), and {100 * ours['dead']:.0f}{NBSP}% of such classes "
            f"are dead (CE {100 * plain['dead']:.0f}{NBSP}%)"
        )
    few = f"less than {100 * RARE:.0f}{NBSP}% of the samples"
    return f"Of {which} with {few}: {'; '.join(parts)}." if parts else f"None of {which} has {few}."
