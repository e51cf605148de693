"""How far the estimated transition matrix is from the planted one, on small banks and live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.describe.banks import bank_title
from noisylib.book.tables import NBSP
from noisylib.comparison import noisy_labels
from noisylib.evidence import collect_evidence
from noisylib.noise_estimate import estimate_noise

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.features import FeatureBank

BANKS, BACKBONE = ("breastmnist", "retinamnist"), "deit_tiny"
NOISES = tuple((kind, rate) for kind in ("symmetric", "asymmetric") for rate in (0.2, 0.4))
SEED = 0


def matrix_error(T: np.ndarray, planted: np.ndarray) -> float:
    """Return half the absolute difference of two transition matrices (K, K), a mean over rows, in [0, 1]."""
    return float(np.abs(T - planted).sum(axis=1).mean() / 2)


def transition_frame(bank: FeatureBank, noises: Sequence[tuple[str, float]] = NOISES) -> pd.DataFrame:
    """Return one row per planted noise: rates and errors of three matrices, fractions.

    Columns dataset, noise_type, realised_rate, estimate; and the error of the estimated matrix, of flips of
    the estimated rate spread evenly, and of the identity: estimated, even, none.
    """
    import pandas as pd

    X, _ = bank.part("train")
    noisy = [noisy_labels(bank, kind, rate, [SEED])[0] for kind, rate in noises]
    labels = np.stack([one.y_noisy for one in noisy])
    found = collect_evidence(X, labels, bank.n_classes, seeds=[SEED] * len(noisy), device="cpu")
    records = []
    for (kind, _), one, evidence in zip(noises, noisy, found, strict=True):
        estimate, K = estimate_noise(evidence), bank.n_classes
        even = np.full((K, K), estimate.rate / (K - 1))
        np.fill_diagonal(even, 1 - estimate.rate)
        matrices = {"estimated": estimate.T, "even": even, "none": np.eye(K)}
        records.append(
            {"dataset": bank.meta.dataset, "noise_type": kind}
            | {"realised_rate": one.realised_rate, "estimate": estimate.rate}
            | {name: matrix_error(T, one.realised_T) for name, T in matrices.items()}
        )
    return pd.DataFrame(records)


def transition_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rates in percent and errors in points, as readers see them."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Data set": bank_title(row["dataset"]),
            "Noise": row["noise_type"],
            "Wrong labels (%)": f"{100 * row['realised_rate']:.1f}",
            "Estimated (%)": f"{100 * row['estimate']:.1f}",
            "Estimated T": f"{100 * row['estimated']:.1f}",
            "Spread evenly": f"{100 * row['even']:.1f}",
            "No noise": f"{100 * row['none']:.1f}",
        }
        for row in frame.to_dict("records")
    )


def transition_text(frame: pd.DataFrame) -> str:
    """Return in words where the estimated matrix is closer than one of evenly spread flips."""
    text = []
    for kind, part in frame.groupby("noise_type", sort=False):
        means = 100 * part[["estimated", "even", "none"]].mean()
        word = "closer than" if means["estimated"] < means["even"] else "no closer than"
        text.append(
            f"Under {kind} noise the estimated matrix is off by {means['estimated']:.1f} points on average, "
            f"{word} flips of the estimated rate spread evenly ({means['even']:.1f}); a matrix without noise "
            f"is off by {means['none']:.1f}."
        )
    return " ".join(text).replace(" points", f"{NBSP}points")
