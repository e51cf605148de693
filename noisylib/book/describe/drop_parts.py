"""Agreement forecast from clean confusion against agreement as measured, and what its drop is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.forecast import agreement_forecast, split_drop
from noisylib.book.describe.banks import class_map_of
from noisylib.book.describe.contests import condition_cells
from noisylib.book.describe.drops import CELL, points
from noisylib.detectors import DETECTORS
from noisylib.noise import transition_matrix

if TYPE_CHECKING:
    import pandas as pd

SETS = ("agreement_same", "agreement")
PARTS = {
    "harder_targets": "harder targets",
    "biased_head": "biased head",
    "unexplained": "unexplained (memorisation)",
}
CLEAR = 0.01  # a part of a drop, or an error of a forecast, that is worth a sentence


def matrix(dataset: str, noise_type: str, rate: float, n_classes: int) -> np.ndarray:
    """Return the nominal transition matrix (K, K) of a condition, asymmetric noise by the default map."""
    return transition_matrix(noise_type, rate, n_classes, class_map_of(dataset))


def forecast_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the agreement sets with "kept" and "nominal", all as fractions.

    "kept" is the share of the samples in the set; "nominal" the precision that the nominal matrix forecasts
    where "forecast_precision" has the matrix that was realised. They differ by the rounding of the numbers of
    flips alone, which the caller can check: otherwise rows and class map are not of one data set.
    """
    sets = rows[rows["detector"].isin(SETS)].copy()
    # precision * m = recall * clean samples, and these are the share "chance" of all.
    sets["kept"] = (sets["recall"] * sets["chance"] / sets["precision"]).fillna(0.0)
    sets["nominal"] = [
        agreement_forecast(row.priors, _matrix_of(row), _confusion(row)).precision
        for row in sets.itertuples()
    ]
    return sets


def _matrix_of(row) -> np.ndarray:
    return matrix(row.dataset, row.noise_type, row.noise_rate, len(row.priors))


def _confusion(row) -> np.ndarray:
    return np.asarray(row.confusion, float).reshape(len(row.priors), -1)


def parts_frame(rows: pd.DataFrame, hard: str = "asymmetric") -> pd.DataFrame:
    """Return the drop of both agreement sets from symmetric to `hard` noise, split, in every condition.

    Returns
    -------
    Columns of CELL, detector, total and those of PARTS: fractions, means over seeds.
    """
    import pandas as pd

    sets, records = rows[rows["detector"].isin(SETS)], []
    for (*cell, detector, _), part in sets.groupby([*CELL, "detector", "seed"], sort=False):
        runs = {row.noise_type: row for row in part.itertuples()}
        if not {"symmetric", hard} <= set(runs):
            continue
        first, last = runs["symmetric"], runs[hard]
        matrices = [of(run) for run in (first, last) for of in (_matrix_of, _confusion)]
        split = split_drop(np.asarray(first.priors), *matrices, first.precision, last.precision)
        records.append((*cell, detector, split.total, *(getattr(split, name) for name in PARTS)))
    frame = pd.DataFrame(records, columns=[*CELL, "detector", "total", *PARTS])
    return frame.groupby([*CELL, "detector"], sort=False).mean().reset_index()


def parts_table(rows: pd.DataFrame, datasets: Sequence[str], hard: str = "asymmetric") -> pd.DataFrame:
    """Return, per condition and set, share kept and precision (measured / forecast, percent) and the parts.

    Parameters
    ----------
    rows : of `noisylib.signal_rows.detection_rows`; without two noises there are no columns of the drop.
    datasets : those shown, in this order.
    """
    import pandas as pd

    sets = forecast_frame(rows)
    sets = sets[sets["dataset"].isin(datasets)]
    parts = parts_frame(rows, hard).set_index([*CELL, "detector"])
    measures = {"kept": "forecast_rate", "precision": "forecast_precision"}
    means = sets.groupby([*CELL, "detector", "noise_type"])[[*measures, *measures.values()]].mean()
    cells = list(dict.fromkeys(means.index.droplevel("noise_type")))
    cells.sort(key=lambda cell: (list(datasets).index(cell[0]), cell[1], cell[3], SETS.index(cell[4])))
    records = []
    for *cell, detector in cells:
        record = {**condition_cells(cell), "Set": DETECTORS[detector].title}
        for noise_type in [kind for kind in ("symmetric", hard) if (*cell, detector, kind) in means.index]:
            row = means.loc[(*cell, detector, noise_type)]
            for measured, forecast in measures.items():
                head = f"{measured.capitalize()}, {noise_type}"
                record[head] = f"{100 * row[measured]:.1f} / {100 * row[forecast]:.1f}"
        if (*cell, detector) in parts.index:
            drop = parts.loc[(*cell, detector)]
            record |= {"Drop": points(drop["total"])}
            record |= {title.capitalize(): points(drop[name]) for name, title in PARTS.items()}
        records.append(record)
    return pd.DataFrame(records)


def parts_text(parts: pd.DataFrame, hard: str = "asymmetric") -> str:
    """Return in words what the drop of each agreement set is made of, on average over conditions."""
    texts = []
    for detector, part in parts.groupby("detector", sort=False):
        means = part[["total", *PARTS]].mean()
        largest = means[list(PARTS)].abs().idxmax()
        shares = [f"{points(means[name])} {title}" for name, title in PARTS.items()]
        text = (
            f"The drop of the {_inside(detector)} is {points(means['total'])} points: "
            f"{', '.join(shares[:-1])} and {shares[-1]}."
        )
        if abs(means[largest]) < CLEAR:
            why = "No part is worth a cause."
        elif means[largest] < 0:
            why = f"The largest part, {PARTS[largest]}, is a gain: it works against a drop."
        else:
            why = CAUSES[largest].format(hard=hard)
        texts.append(f"{text} {why}")
    return " ".join(texts)


CAUSES = {
    "harder_targets": "The largest part is arithmetic: {hard} noise sends labels where the model errs "
    "anyway, and the same model with the flips of {hard} noise would lose as much.",
    "biased_head": "The largest part is the model: trained under {hard} noise it makes other mistakes on "
    "clean test images too, the very ones that the labels make.",
    "unexplained": "The largest part shows on the training images only: under {hard} noise the model agrees "
    "with more of the very wrong labels that it was trained on.",
}


def forecast_text(rows: pd.DataFrame) -> str:
    """Return in words how far the forecast precision of each agreement set is from the measured one."""
    texts = []
    for detector, part in rows[rows["detector"].isin(SETS)].groupby("detector", sort=False):
        error = part["forecast_precision"] - part["precision"]
        mean = float(error.mean())
        if mean > CLEAR:
            why = "it agrees with more wrong labels than it would if it had not been trained on them"
        elif mean < -CLEAR:
            why = "it agrees with more right labels than it would if it had not been trained on them"
        else:
            why = "mistakes on clean test images are about all one needs to know of it"
        texts.append(
            f"For the {_inside(detector)}, forecast minus measured precision is {points(mean)} points on "
            f"average (at most {points(error.abs().max())} in size): {why}."
        )
    return " ".join(texts)


def _inside(detector: str) -> str:
    """Return the title of a detector inside a sentence."""
    return DETECTORS[detector].title[0].lower() + DETECTORS[detector].title[1:]
