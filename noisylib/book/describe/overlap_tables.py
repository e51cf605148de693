"""Tables of the chapter on overlap: percent, from fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims import published
from noisylib.book.describe.banks import bank_title
from noisylib.book.describe.overlap_archive import CELL, ERRORS, HEADLINE, VIEWS, Association
from noisylib.book.describe.overview import backbone_title
from noisylib.book.tables import NBSP
from noisylib.plots import noise_title

if TYPE_CHECKING:
    import pandas as pd

ESTIMATOR_TITLES = {
    "histogram": "100 bins of log-loss (headline)",
    "quantile": "50 quantile bins",
    "kde": "Gaussian kernels",
    "ks": "1 - Kolmogorov-Smirnov (a bound)",
}


def span(mean: float, low: float, high: float) -> str:
    """Return a fraction and its interval as percent, "79.4 (77.0-82.1)"; "-" where there is none."""
    if np.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}{NBSP}({100 * low:.1f}-{100 * high:.1f})"


def noise_words(noise_type: str, rate: float) -> str:
    """Return a noise as "asymmetric 40 %"."""
    return f"{noise_title(noise_type).lower()} {100 * rate:g}{NBSP}%"


def headline(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return the headline estimates by view."""
    return estimates[estimates["estimator"] == HEADLINE].set_index("view")


def view_table(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return estimators x views with intervals, then the ceiling, AUROC and best balanced accuracies.

    The best threshold has balanced accuracy 1 - b / 2 with b = 1 - KS; the best rule of any kind has
    1 - overlap / 2.
    """
    import pandas as pd

    others = ["headline, not corrected", "ceiling of the headline", "AUROC of the loss (x 100)"]
    rules = ["balanced accuracy, best threshold", "balanced accuracy, best rule"]
    table = {"Measure": [*ESTIMATOR_TITLES.values(), *others, *rules]}
    for view, title in VIEWS.items():
        part = estimates[estimates["view"] == view].set_index("estimator")
        cells = [span(*part.loc[name, ["corrected", "low", "high"]]) for name in ESTIMATOR_TITLES]
        top = part.loc[HEADLINE]
        best = (1 - part.at[name, "corrected"] / 2 for name in ("ks", HEADLINE))
        numbers = (top["value"], top["ceiling"], top["auroc"], *best)
        table[title.capitalize()] = [*cells, *(f"{100 * x:.1f}" for x in numbers)]
    return pd.DataFrame(table)


def cells_table(cells: pd.DataFrame, datasets: Sequence[str], head: str) -> pd.DataFrame:
    """Return data set x backbone x noise with the overlap of each view, and of groups of equal size."""
    import pandas as pd

    chosen = cells[cells["dataset"].isin(datasets) & (cells["head"] == head)]
    records = []
    for key, part in chosen.groupby([name for name in CELL if name != "head"], sort=False):
        dataset, backbone, noise_type, rate = key
        by_view = part.set_index("view")
        records.append(
            {
                "Data set": bank_title(dataset),
                "Backbone": backbone_title(backbone),
                "Noise": noise_words(noise_type, rate),
                **_view_cells(by_view),
                "Ceiling": f"{100 * by_view.at['last', 'ceiling']:.0f}",
                "Equal groups": f"{100 * by_view.at['last', 'equal_size']:.1f}",
                "AUROC, last": f"{by_view.at['last', 'auroc']:.3f}",
                "Test error": f"{100 * by_view.at['last', 'test_error']:.1f}",
            }
        )
    return pd.DataFrame(records)


def _view_cells(by_view: pd.DataFrame) -> dict[str, str]:
    return {
        title.capitalize(): span(*by_view.loc[view, ["corrected", "low", "high"]])
        for view, title in VIEWS.items()
    }


def heads_table(cells: pd.DataFrame, dataset: str, backbone: str) -> pd.DataFrame:
    """Return head x noise with the overlap of each view, and in-sample minus out-of-fold in points."""
    import pandas as pd

    chosen = cells[(cells["dataset"] == dataset) & (cells["backbone"] == backbone)]
    records = []
    for (head, noise_type, rate), part in chosen.groupby(["head", "noise_type", "noise_rate"], sort=False):
        by_view = part.set_index("view")
        gap = 100 * (by_view.at["last", "corrected"] - by_view.at["held_out", "corrected"])
        records.append(
            {
                "Head": head,
                "Noise": noise_words(noise_type, rate),
                **_view_cells(by_view),
                "In-sample minus out-of-fold": f"{gap:+.1f}",
            }
        )
    return pd.DataFrame(records)


def range_table(spread: pd.DataFrame) -> pd.DataFrame:
    """Return `range_frame` in percent."""
    import pandas as pd

    low, high = published.OVERLAP
    return pd.DataFrame(
        {
            "Losses": [VIEWS[view].capitalize() for view in spread["view"]],
            "Head": spread["head"],
            "Cells": spread["cells"],
            **{
                name.capitalize(): [f"{100 * x:.1f}" for x in spread[name]]
                for name in ("lowest", "median", "highest")
            },
            f"Within {low} to {high}{NBSP}%": spread["inside"],
        }
    )


def factors_table(found: Mapping[str, Association]) -> pd.DataFrame:
    """Return one row per view: variance shares in percent, and rank correlations with the test errors.

    Parameters
    ----------
    found : view -> its association, see `describe_overlap_archive.associations`.
    """
    import pandas as pd

    titles = {
        "dataset": "Data set",
        "backbone": "Backbone",
        "head": "Head",
        "noise": "Noise",
        "together": "Together",
    }
    records = []
    for view, each in found.items():
        record = {"Losses": VIEWS[view].capitalize()}
        record |= {title: f"{100 * each.shares[name]:.0f}" for name, title in titles.items()}
        for error, heading in ERRORS.items():
            ranks = each.ranks[error]
            record[f"Rank corr. {heading}"] = f"{ranks['all']:.2f}"
            record[f"{heading}, one noise"] = f"{ranks['low']:.2f} to {ranks['high']:.2f}"
        records.append(record)
    return pd.DataFrame(records)
