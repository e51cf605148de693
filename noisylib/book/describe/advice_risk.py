"""How well the selector foresees that a class is never predicted, on kinds of images it had not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.class_risk import RISK
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

USEFUL, FAIR = 0.8, 0.7  # of an AUROC, as usually called good and fair


def risk_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `check_class_risk` in percent, as readers see it."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Left out": str(name).capitalize(),
            "Classes of runs": f"{row['classes']:,.0f}",
            "Never predicted": _percent(row["dead"]),
            "Expected": _percent(row["risk"]),
            "AUROC": _percent(row["auroc"]),
            "Caught": _percent(row["caught"]),
            "Right": _percent(row["right"]),
            "Brier": f"{row['brier']:.3f}",
            "Brier, constant": f"{row['brier_constant']:.3f}",
        }
        for name, row in table.iterrows()
    )


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.1f}"


def risk_text(table: pd.DataFrame) -> str:
    """Return in words whether the flags are worth looking at."""
    row = table.loc["images" if "images" in table.index else "all"]
    if np.isnan(row["auroc"]):
        return "No class of any run was given up, or every one: there is nothing to foresee."
    quality = "well" if row["auroc"] >= USEFUL else "fairly" if row["auroc"] >= FAIR else "poorly"
    text = (
        f"Over all left-out kinds of images the risk ranks classes {quality}: a class that is never "
        f"predicted has a higher risk than one that is in {100 * row['auroc']:.0f}{NBSP}% of pairs. "
    )
    if np.isnan(row["right"]):
        text += f"No class had a risk above {100 * RISK:g}{NBSP}%, so nothing was flagged. "
    else:
        text += (
            f"A risk above {100 * RISK:g}{NBSP}% is flagged: that names {100 * row['caught']:.0f}{NBSP}% of "
            f"the classes that were never predicted, and {100 * row['right']:.0f}{NBSP}% of the flagged ones "
            "were. "
        )
    better = row["brier"] < row["brier_constant"]
    return text + (
        "As probabilities the risks are better than one constant for all classes."
        if better
        else "As probabilities they are no better than one constant for all classes, so take them as a "
        "ranking only."
    )
