"""What the chapter on training dynamics says of traced runs: floors, facts and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import method_titles
from noisylib.book.traces import Traced, kept_by_class

if TYPE_CHECKING:
    import pandas as pd

FEW = 0.25  # of the right labels of a class: below, it is bold


def floors(traced: Traced) -> dict[str, float]:
    """Return what always answering the largest observed class gives, per column of `traces.fit_frame`."""
    y, y_noisy, flipped = traced.y, traced.y_noisy, traced.flipped
    largest = np.bincount(y_noisy.ravel()).argmax()
    same = np.broadcast_to(y == largest, flipped.shape)
    return {
        "clean_learned": float(same[~flipped].mean()),
        "memorised": float((y_noisy == largest)[flipped].mean()),
        "recovered": float(same[flipped].mean()),
        "balanced_accuracy": 1 / traced.bank.n_classes,
    }


def kept_table(traced: Traced, kept: pd.DataFrame) -> pd.DataFrame:
    """Return `traces.kept_by_class` in percent, few in bold, with the right labels per class (seed mean)."""
    import pandas as pd

    titles = method_titles(list(kept.index))
    right = [(~traced.flipped & (traced.y == c)).sum(1).mean() for c in range(traced.bank.n_classes)]
    table = {"Class": list(kept.columns), "Right labels": [f"{n:,.0f}" for n in right]}
    for name, title in titles.items():
        cells = [f"{100 * share:.0f}" for share in kept.loc[name]]
        table[title] = [
            f"**{cell}**" if share < FEW else cell for cell, share in zip(cells, kept.loc[name], strict=True)
        ]
    return pd.DataFrame(table)


def dynamics_facts(traced: Traced, fit: pd.DataFrame, selection: pd.DataFrame) -> dict[str, str | float]:
    """Return what the text says of the last epoch, in percent; names are titles."""
    last = _last_epoch(fit)
    titles = method_titles(list(last.index))
    facts: dict[str, str | float] = {
        "wrong": 100 * float(traced.flipped.mean()),
        "right": 100 * float((~traced.flipped).mean()),
        "images": f"{len(traced.y):,}",
        "epochs": int(fit["epoch"].max()),
    }
    for which, column, name in (
        ("most", "memorised", last["memorised"].idxmax()),
        ("fewest", "memorised", last["memorised"].idxmin()),
        ("learned", "clean_learned", last["clean_learned"].idxmax()),
        ("tested", "balanced_accuracy", last["balanced_accuracy"].idxmax()),
    ):
        facts[which], facts[f"{which}_score"] = titles[name], float(last.loc[name, column])
    return facts | _fall(fit, titles) | _selection_facts(traced, selection)


def _fall(fit: pd.DataFrame, titles: Mapping[str, str]) -> dict[str, str | float]:
    """Return which method loses most test score from its best epoch to the last, in percent and points."""
    test = 100 * fit.groupby(["method", "epoch"])["balanced_accuracy"].mean().unstack()
    lost = test.max(axis=1) - test.iloc[:, -1]
    name = lost.idxmax()
    return {
        "fallen": titles[name],
        "fallen_epoch": int(test.loc[name].idxmax()),
        "fallen_score": float(test.loc[name].max()),
        "fallen_points": float(lost[name]),
    }


def _selection_facts(traced: Traced, selection: pd.DataFrame) -> dict[str, str | float]:
    """Return the purest selection, and the method and class that keep fewest right labels."""
    if selection.empty:
        nobody = {"precise": "None of these methods", "lost_class": "any class", "lost_method": "no method"}
        return nobody | {"precise_score": float("nan"), "lost_share": float("nan")}
    precision = _last_epoch(selection)["precision"]
    share = kept_by_class(traced).stack()
    method, klass = share.idxmin()
    titles = method_titles(list(precision.index))
    return {
        "precise": titles[precision.idxmax()],
        "precise_score": float(precision.max()),
        "lost_class": klass,
        "lost_method": titles[method],
        "lost_share": 100 * float(share.min()),
    }


def _last_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    """Return percentages after the last epoch, means over seeds, by method in registry order."""
    last = 100 * frame[frame["epoch"] == frame["epoch"].max()].groupby("method").mean(numeric_only=True)
    return last.loc[list(method_titles(list(last.index)))]


def last_epoch_table(fit: pd.DataFrame, floors: Mapping[str, float]) -> pd.DataFrame:
    """Return the fractions of `traces.fit_frame` after the last epoch in percent; the floors are last."""
    import pandas as pd

    last = _last_epoch(fit)
    headings = {
        "clean_learned": "Right labels: learned",
        "memorised": "Wrong labels: memorised",
        "recovered": "Wrong labels: recovered",
        "balanced_accuracy": "Test: balanced accuracy",
    }
    table = {"Method": [*method_titles(list(last.index)).values(), "*always the largest class*"]}
    for column, heading in headings.items():
        table[heading] = [f"{value:.1f}" for value in (*last[column], 100 * floors[column])]
    return pd.DataFrame(table)
