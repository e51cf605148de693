"""What the chapter on noise shows: realised rates and the purity of every class, as frames and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import NBSP
from noisylib.noise import inject

if TYPE_CHECKING:
    import pandas as pd

MATRIX_NOISE = ("symmetric", "pairflip", "asymmetric")


def realised_rates(
    y: np.ndarray,
    rates: Sequence[float],
    *,
    n_classes: int,
    class_map: Mapping[int, int],
    seed: int,
    dataset: str = "",
) -> pd.DataFrame:
    """Return nominal rate, realised overall rate and largest |T - realised T| of each noise type and rate.

    Rates are fractions; ``worst_purity`` is the lowest P(true = c | observed = c) of any class.
    """
    import pandas as pd

    records = []
    for noise_type in MATRIX_NOISE:
        for rate in rates:
            noisy = inject(
                y, noise_type, rate, n_classes=n_classes, seed=seed, dataset=dataset, class_map=class_map
            )
            records.append(
                {
                    "noise_type": noise_type,
                    "noise_rate": rate,
                    "realised_rate": noisy.realised_rate,
                    "largest_gap": float(np.abs(noisy.T - noisy.realised_T).max()),
                    "worst_purity": float(np.nanmin(noisy.purity)),
                }
            )
    return pd.DataFrame(records)


def rates_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Return `realised_rates` in percent, one row per noise type and rate."""
    import pandas as pd

    from noisylib.plots import noise_title

    return pd.DataFrame(
        {
            "Noise": [noise_title(kind) for kind in rates["noise_type"]],
            "Nominal rate": [f"{100 * v:g}" for v in rates["noise_rate"]],
            "Realised rate": [f"{100 * v:.2f}" for v in rates["realised_rate"]],
            "Largest gap in T": [f"{100 * v:.2f}" for v in rates["largest_gap"]],
            "Lowest purity": [f"{100 * v:.1f}" for v in rates["worst_purity"]],
        }
    )


def purity_table(purity: pd.DataFrame) -> pd.DataFrame:
    """Return share of each class and "percent right of labels carried" per noise, below half in bold."""
    from noisylib.plots import noise_title

    first = purity[purity["noise"] == purity["noise"].iloc[0]]
    table = first[["class", "share"]].reset_index(drop=True)
    table["share"] = [f"{100 * v:.1f}" for v in table["share"]]
    table.columns = ["Class", "Share (%)"]
    for noise, part in purity.groupby("noise", sort=False):
        cells = [
            f"{100 * v:.1f}{NBSP}% of{NBSP}{n:,}"
            for v, n in zip(part["purity"], part["labelled"], strict=True)
        ]
        bold = [f"**{text}**" if v < 0.5 else text for text, v in zip(cells, part["purity"], strict=True)]
        table[noise_title(noise)] = bold
    return table


def purity_frame(
    y: np.ndarray,
    class_names: Sequence[str],
    noise_rate: float,
    *,
    class_map: Mapping[int, int],
    seed: int,
    dataset: str = "",
) -> pd.DataFrame:
    """Return share of each class and P(true = c | observed = c) under each noise type, as fractions.

    Columns: noise, class, share (among the clean labels), labelled (how many carry the label), purity.
    """
    import pandas as pd

    records = []
    for noise_type in MATRIX_NOISE:
        noisy = inject(
            y,
            noise_type,
            noise_rate,
            n_classes=len(class_names),
            seed=seed,
            dataset=dataset,
            class_map=class_map,
        )
        for row in noisy.purity_table(tuple(class_names)):
            records.append(
                {
                    "noise": noise_type,
                    "class": row["class"],
                    "share": row["true"] / len(y),
                    "labelled": row["labelled"],
                    "purity": row["purity"],
                }
            )
    return pd.DataFrame(records)
