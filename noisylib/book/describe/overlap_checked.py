"""Tables and facts of the checks against closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noisylib.analysis.overlap_check import CORRECTED
from noisylib.book.describe.overlap_archive import HEADLINE

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "histogram": "Headline",
    CORRECTED: "corrected",
    "quantile": "Quantile bins",
    "kde": "Kernels",
    "ks": "1 - KS",
}


def check_facts(checks: pd.DataFrame, curve: pd.DataFrame, beds: pd.DataFrame) -> dict[str, float | str]:
    """Return sizes and the largest distances in standard errors."""
    n, seeds = (int(checks[name].iloc[0]) for name in ("n", "seeds"))
    bed_n, bed_seeds = (int(beds[name].iloc[0]) for name in ("n", "seeds"))
    return {
        "check_n": f"{n:,}",
        "check_seeds": seeds,
        "check_cases": checks["case"].nunique(),
        "check_rows": len(checks),
        "check_z": float(checks["z"].abs().max()),
        "check_note": f"{seeds} samples (seeds) of {n:,} losses per case.",
        "curve_points": len(curve),
        "curve_z": float(curve["z"].abs().max()),
        "curve_note": f"one sample of {int(curve['n'].iloc[0]):,} for each point.",
        "bed_note": f"{bed_seeds} samples (seeds) of {bed_n:,} per bed.",
    }


def checks_table(checks: pd.DataFrame) -> pd.DataFrame:
    """Return the headline estimator on every case: overlaps in percent, relative errors in percent."""
    import pandas as pd

    part = checks[checks["estimator"] == HEADLINE]
    off = part["mean"] / part["overlap"] - 1
    return pd.DataFrame(
        {
            "Distributions": part["case"],
            "Closed form": [f"{100 * x:.2f}" for x in part["overlap"]],
            "Expected": [f"{100 * x:.2f}" for x in part["truth"]],
            "Mean": [f"{100 * x:.2f}" for x in part["mean"]],
            "Error to closed form (%)": [f"{100 * x:+.2f}" for x in off],
            "to expected (%)": [f"{100 * x:+.2f}" for x in part["relative_error"]],
            "se": [f"{100 * x:.2f}" for x in part["se"]],
            "z": [f"{x:+.2f}" for x in part["z"]],
        }
    )


def estimators_table(checks: pd.DataFrame) -> pd.DataFrame:
    """Return cases x estimators: mean in percent and z in brackets."""
    import pandas as pd

    records = []
    for case, part in checks.groupby("case", sort=False):
        rows = part.set_index("estimator")
        record = {"Distributions": case, "Closed form": f"{100 * rows['overlap'].iloc[0]:.1f}"}
        cells = {
            title: f"{100 * rows.at[name, 'mean']:.1f} ({rows.at[name, 'z']:+.1f})"
            for name, title in COLUMNS.items()
        }
        records.append(record | cells)
    return pd.DataFrame(records)


def beds_table(beds: pd.DataFrame) -> pd.DataFrame:
    """Return `bed_checks` as text; the name of a bed stands in its first row only."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Bed": beds["bed"].mask(beds["bed"].duplicated(), ""),
            "Quantity": beds["quantity"].str.capitalize(),
            "Closed form": [f"{x:.4f}" for x in beds["truth"]],
            "Mean": [f"{x:.4f}" for x in beds["mean"]],
            "Relative error (%)": [f"{100 * x:+.2f}" for x in beds["relative_error"]],
            "z": [f"{x:+.2f}" for x in beds["z"]],
        }
    )


def normal_table(
    normal: pd.DataFrame, names: Sequence[str], measured: Sequence[float | None]
) -> pd.DataFrame:
    """Return `normal_case` with a name per row and the AUROC that was measured beside the normal one."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Overlap of": list(names),
            "Overlap (%)": [f"{100 * x:.1f}" for x in normal["overlap"]],
            "Distance (sd)": [f"{x:.2f}" for x in normal["distance"]],
            "AUC if normal": [f"{x:.3f}" for x in normal["auc"]],
            "AUROC measured": ["-" if x is None else f"{x:.3f}" for x in measured],
            "Best balanced accuracy (%)": [f"{100 * x:.1f}" for x in normal["balanced_accuracy"]],
            "Bayes error (%)": [f"{100 * x:.1f}" for x in normal["bayes_error"]],
        }
    )
