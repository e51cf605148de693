"""Whose right labels small loss and agreement keep: precision and recall per class, and the rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.detection import Live, title
from noisylib.book.tables import NBSP
from noisylib.detectors import DETECTORS

if TYPE_CHECKING:
    import pandas as pd

RARE = 0.5  # a class with less than this part of an equal share is rare
STARVED = 0.8  # rare classes are starved if their share falls below this part of what it should be
RIVALS = ("loss", "agreement")
SHOWN = (*RIVALS, "peer_loss", "agreement_folds", "confident", "mixture_class")


def rare_classes(priors: np.ndarray) -> np.ndarray:
    """Return (K,) bool, the classes with less than half of an equal share; the smallest if there is none."""
    rare = priors < RARE / len(priors)
    return rare if rare.any() else np.arange(len(priors)) == np.argmin(priors)


def class_frame(live: Live) -> pd.DataFrame:
    """Return class, images, detector, precision and recall of the rivals at the matched m, seed means.

    Under the chapter's own noise. Precision is by observed label, recall of right labels by true class;
    NaN where no seed keeps a sample of the class, or has a right label of it.
    """
    import pandas as pd

    counts = np.bincount(live.signals.y, minlength=live.signals.n_classes)
    records = []
    for key in RIVALS:
        precision, recall = (_class_means(live, key, f"class_{name}") for name in ("precision", "recall"))
        columns = zip(live.bank.class_names, counts, precision, recall, strict=True)
        records += [(name, int(n), key, p, r) for name, n, p, r in columns]
    return pd.DataFrame(records, columns=["class", "images", "detector", "precision", "recall"])


def _of(live: Live, key: str) -> pd.DataFrame:
    """Return a detector's rows at the matched m under the chapter's own noise."""
    return live.own[(live.own["detector"] == key) & (live.own["rule"] == "matched")]


def _class_means(live: Live, key: str, column: str) -> np.ndarray:
    """Return (K,) means over seeds, of those in which there is a value."""
    values = np.ma.masked_invalid(np.stack([np.asarray(v, float) for v in _of(live, key)[column]]))
    return values.mean(0).filled(np.nan)


def rare_shares(live: Live) -> pd.DataFrame:
    """Return the share of the rare classes in what is kept, and how many of their right labels are.

    Returns
    -------
    Index "observed" (all labels), "right" (the right ones, a perfect selection) and detectors at the matched
    m; columns share, recall (of the right labels of rare classes) and worst (lowest class recall): fractions
    under the chapter's own noise, means over seeds.
    """
    import pandas as pd

    signals, runs = live.signals, live.runs(live.noise_types[0])
    rare = rare_classes(signals.priors)
    y_noisy, right = signals.y_noisy[runs], ~signals.flipped[runs]
    nan = float("nan")
    records = {
        "observed": (rare[y_noisy].mean(), nan, nan),
        "right": (np.mean([rare[y][ok].mean() for y, ok in zip(y_noisy, right, strict=True)]), nan, nan),
    }
    n_right = np.stack([np.bincount(signals.y[ok], minlength=signals.n_classes) for ok in right])
    for key in [key for key in SHOWN if key in set(live.rows["detector"])]:
        part = _of(live, key).sort_values("run")
        recall = np.nan_to_num(np.stack([np.asarray(v, float) for v in part["class_recall"]]))
        share = np.stack([np.asarray(v, float) for v in part["class_share"]])
        kept = (recall * n_right)[:, rare].sum(1) / np.maximum(n_right[:, rare].sum(1), 1)
        worst = np.nanmin(_class_means(live, key, "class_recall"))
        records[key] = (share[:, rare].sum(1).mean(), kept.mean(), worst)
    return pd.DataFrame.from_dict(records, orient="index", columns=["share", "recall", "worst"])


def rare_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Return `rare_shares` in percent."""
    import pandas as pd

    heads = {"observed": "*all labels*", "right": "*the right labels*"}
    table = {"Kept": [heads.get(key) or title(key) for key in shares.index]}
    columns = {"share": "Rare classes among them", "recall": "Right labels of rare classes kept"}
    columns |= {"worst": "Lowest of a class"}
    for column, head in columns.items():
        table[head] = ["" if np.isnan(value) else f"{100 * value:.1f}" for value in shares[column]]
    return pd.DataFrame(table)


def starved(shares: pd.DataFrame) -> str:
    """Return in words whether small loss and agreement starve the rare classes."""
    due = shares.loc["right", "share"]
    texts = []
    for key in RIVALS:
        share, name = shares.loc[key, "share"], DETECTORS[key].title
        of = f"the rare classes make up {_percent(share)} of what *{name}* keeps"
        if np.isnan(share):
            texts.append(f"*{name}* keeps nothing")
        elif share < STARVED * due:
            texts.append(f"{of}: it starves them")
        else:
            texts.append(f"{of}, so it does not starve them")
    loss, agreement = (shares.loc[key, "recall"] for key in RIVALS)
    more = "fewer" if loss < agreement else "more" if loss > agreement else "as many"
    than = "as" if loss == agreement else "than"
    return (
        f"Of the right labels, {_percent(due)} are of rare classes. At the same number kept, "
        f"{'; '.join(texts)}. Of the right labels of rare classes, small loss keeps {more} {than} "
        f"agreement: {_percent(loss)} against {_percent(agreement)}."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}{NBSP}%"


def rare_facts(live: Live) -> dict[str, object]:
    """Return which classes are rare, how many images they have, and how many classes there are."""
    rare = rare_classes(live.signals.priors)
    names: Sequence[str] = [name for name, r in zip(live.bank.class_names, rare, strict=True) if r]
    return {
        "rare_names": ", ".join(names),
        "rare_classes": len(names),
        "rare_images": f"{int(rare[live.signals.y].sum()):,}",
        "n_classes": live.signals.n_classes,
    }
