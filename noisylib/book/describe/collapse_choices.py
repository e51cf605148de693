"""How dead classes on HAM10000 depend on what the source leaves open: map, head, backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.collapse_text import PAIR, verdict
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP, mean_sd

if TYPE_CHECKING:
    import pandas as pd

SOURCE_SET, SOURCE_RATE = "ham10000", 0.4  # stands in for the data set of the source, at its noise rate
SWEPT = "deit_tiny"  # the backbone of the sweep
STUDIES = {"map_majority": "into nevi, nevi clean", "map_cyclic": "next class (cyclic)"}


def choices_frame(
    archive: pd.DataFrame, arms: Mapping[str, pd.DataFrame], swept: pd.DataFrame
) -> pd.DataFrame:
    """Return what Co-teaching and CE score on HAM10000 at asymmetric 40 % by map, head and backbone.

    Parameters
    ----------
    archive : rows of the benchmark (default map, adapter).
    arms : name of a study of the arms -> its rows; "heads" and those of `STUDIES`.
    swept : rows of the sweep, for the map into the largest class, which the arms lack.

    Returns
    -------
    One row per choice: open (what is chosen), choice, and accuracy, balanced_accuracy, dead_classes of
    Co-teaching as lists over runs, plain (balanced accuracy of CE); fractions.
    """
    import pandas as pd

    base = _at_source(archive)
    wide = [("map", "look-alikes (default)", base)]
    wide += [("map", title, _at_source(arms[name])) for name, title in STUDIES.items()]
    largest = swept[(swept["asymmetry"] == 1) & (swept["map"] == "majority")]
    wide.append(("map", f"into the largest ({backbone_title(SWEPT)})", _at_source(largest)))
    backbones = sorted(base["backbone"].unique())
    heads = pd.concat([base, _at_source(arms["heads"])])
    heads = heads[heads["backbone"].isin(_at_source(arms["heads"])["backbone"])]
    wide += [("head", head, part) for head, part in heads.groupby("head")]
    wide += [("backbone", backbone_title(name), base[base["backbone"] == name]) for name in backbones]
    records = []
    for open_, choice, part in wide:
        plain, ours = (part[part["method"] == name] for name in PAIR)
        records.append(
            {
                "open": open_,
                "choice": choice,
                **{s: ours[s].to_list() for s in ("accuracy", "balanced_accuracy", "dead_classes")},
                "plain": plain["balanced_accuracy"].mean(),
                "plain_accuracy": plain["accuracy"].mean(),
            }
        )
    return pd.DataFrame(records)


def _at_source(rows: pd.DataFrame) -> pd.DataFrame:
    hard = rows["noise_type"].isin(["asymmetric", "pairflip"]) & (rows["noise_rate"].round(9) == SOURCE_RATE)
    return rows[hard & (rows["dataset"] == SOURCE_SET)]


def choices_table(choices: pd.DataFrame, published: Sequence[float]) -> pd.DataFrame:
    """Return `choices_frame` as a table in percent; the numbers of the source are the first row.

    Parameters
    ----------
    published : accuracy and balanced accuracy in percent, and dead classes.
    """
    import pandas as pd

    heads = ["Left open", "Choice", "Runs", "Accuracy", "Balanced accuracy", "Dead classes", "CE, balanced"]
    accuracy, balanced, dead = published
    first = ["*the source*", "not stated", "", f"{accuracy:.1f}", f"{balanced:.1f}", f"{dead:g}", ""]
    records = [first]
    for row in choices.itertuples():
        scores = [100 * np.asarray(row.accuracy), 100 * np.asarray(row.balanced_accuracy), row.dead_classes]
        cells = [mean_sd(np.mean(s), np.std(s, ddof=1) if len(s) > 1 else np.nan) for s in scores]
        records.append([row.open, row.choice, str(len(row.accuracy)), *cells, f"{100 * row.plain:.1f}"])
    return pd.DataFrame(records, columns=heads)


def choices_text(choices: pd.DataFrame) -> str:
    """Say for each open choice between which values the three numbers lie, and whether accuracy hides it."""
    parts = []
    for name, part in choices.groupby("open", sort=False):
        means = part[["accuracy", "balanced_accuracy", "dead_classes"]].map(np.mean)
        low, high = means.min(), means.max()
        parts.append(
            f"with the {name}, accuracy lies between {100 * low.iloc[0]:.1f} and "
            f"{100 * high.iloc[0]:.1f}{NBSP}%, balanced accuracy between {100 * low.iloc[1]:.1f} and "
            f"{100 * high.iloc[1]:.1f}{NBSP}%, and dead classes between "
            f"{low.iloc[2]:.1f} and {high.iloc[2]:.1f}"
        )
    gaps = choices.assign(
        ours=[100 * (np.mean(row.balanced_accuracy) - row.plain) for row in choices.itertuples()],
        accurate=[100 * (np.mean(row.accuracy) - row.plain_accuracy) for row in choices.itertuples()],
    )
    hidden = [verdict(a, b) == verdict(1, -1) for a, b in zip(gaps["accurate"], gaps["ours"], strict=True)]
    text = "; ".join(parts)
    return (
        f"{text[:1].upper()}{text[1:]}. Accuracy above and balanced accuracy below CE, the pattern that gave "
        f"this chapter its name, is there in {sum(hidden)} of these {len(hidden)} rows."
    )
