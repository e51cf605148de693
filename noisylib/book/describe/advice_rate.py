"""How well the noise rate is estimated on kinds of images that the estimate was not fitted to."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.book.tables import NBSP
from noisylib.noise_rate import FILE, shipped_rule
from noisylib.study.fit_noise_rate import FEATURES, held_out_rates

if TYPE_CHECKING:
    import pandas as pd

TARGET = 0.05
KINDS = ("clean", "symmetric", "asymmetric")
PARTS, MADE, MEAN = "parts of banks", "made data", "mean of the families"


def held_out_estimates(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions with `estimate`, the rate by a rule fitted without their family.

    The rule that comes with the package is not fitted to made data, so there it is that rule's.
    """
    same = ["family", "n_classes", *FEATURES]  # what an estimate depends on
    found = held_out_rates(conditions)[[*same, "estimate"]].drop_duplicates(same)
    rows = conditions.merge(found, on=same, how="left", validate="many_to_one")
    shipped_rates = shipped_rule().rate(rows[list(FEATURES)].to_numpy(float), rows["n_classes"].to_numpy())
    return rows.assign(estimate=rows["estimate"].where(rows["estimate"].notna(), shipped_rates))


def rate_frame(conditions: pd.DataFrame) -> pd.DataFrame:
    """Return group, kind, realised_rate, estimate and confident_rate of every condition and seed.

    A group is the family of a whole bank, or what is not one: `PARTS`, `MADE`.
    """
    kind = conditions["noise_type"].astype(object).where(conditions["noise_rate"] > 0, "clean")
    group = conditions["family"].astype(object).where(conditions["variant"] == "", PARTS)
    group = group.where(conditions["family"] != "made", MADE)
    columns = ["realised_rate", "estimate", "confident_rate"]
    return conditions[columns].assign(group=group, kind=kind)


def error_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean absolute errors as fractions: index group, columns `KINDS`, all, bias and confident.

    The families come first, then their mean, then parts and made data. `bias` is estimate minus truth,
    `confident` the mean absolute error of confident learning's own rate.
    """
    off = frame.assign(
        error=(frame["estimate"] - frame["realised_rate"]).abs(),
        bias=frame["estimate"] - frame["realised_rate"],
        confident=(frame["confident_rate"] - frame["realised_rate"]).abs(),
    )
    table = off.pivot_table(index="group", columns="kind", values="error")
    table = table.reindex(columns=list(KINDS)).join(
        off.groupby("group")[["error", "bias", "confident"]].mean().rename(columns={"error": "all"})
    )
    families = sorted(set(table.index) - {PARTS, MADE})
    table.loc[MEAN] = table.loc[families].mean()
    return table.loc[[*families, MEAN, *(name for name in (PARTS, MADE) if name in table.index)]]


def error_table(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the errors in points, as readers see them."""
    import pandas as pd

    names = {kind: kind.capitalize() for kind in KINDS}
    names |= {"all": "All", "bias": "Bias", "confident": "Confident learning"}
    forms = dict.fromkeys(names, "{:.1f}") | {"bias": "{:+.1f}"}
    cells = {
        text: ["" if np.isnan(value) else forms[key].format(100 * value) for value in errors[key]]
        for key, text in names.items()
    }
    return pd.DataFrame({"Left out": [name.capitalize() for name in errors.index], **cells})


def verdict(errors: pd.DataFrame) -> str:
    """Return in words whether the estimate is within its target, in which kind it is worst, and where."""
    mean = errors.loc[MEAN]
    families = errors.loc[:MEAN].iloc[:-1]
    worst = families["all"].idxmax()
    met = "within" if mean["all"] <= TARGET else "beyond"
    text = (
        f"Over kinds of images that the rule had not seen it is off by {100 * mean['all']:.1f} points on "
        f"average, {met} the target of {100 * TARGET:g}. "
    )
    over = [kind for kind in KINDS if mean[kind] > TARGET]
    if over:
        beyond = " and ".join(f"{kind} labels, {100 * mean[kind]:.1f}" for kind in over)
        text += f"Kind by kind, it misses the target on {beyond}. "
    else:
        text += "It is within the target on each kind of noise as well. "
    text += (
        f"It is worst on {worst} images, {100 * errors.at[worst, 'all']:.1f} points on average; confident "
        f"learning, which takes overlap of classes for noise, is off by {100 * mean['confident']:.1f}. "
        "Kinds of images were left out when the weights were fitted; which descriptors enter was chosen with "
        "all of them in view."
    )
    return text


def failures(frame: pd.DataFrame) -> str:
    """Return where the error of a family and kind of noise is beyond the target, and in which direction.

    Parameters
    ----------
    frame : from `rate_frame`.
    """
    whole = frame[~frame["group"].isin([PARTS, MADE])]
    off = whole.assign(bias=whole["estimate"] - whole["realised_rate"])
    off["error"] = off["bias"].abs()
    cells = off.groupby(["group", "kind"])[["error", "bias"]].mean()
    cells = cells[cells["error"] > TARGET].sort_values("error", ascending=False)
    if cells.empty:
        return "No kind of image is beyond the target under any kind of noise."
    parts = [
        f"{group} images, {kind} {'labels' if kind == 'clean' else 'noise'}, {100 * row['error']:.1f} points "
        "(" + ("too low" if row["bias"] < 0 else "too high") + " on average)"
        for (group, kind), row in cells.iterrows()
    ]
    return f"Beyond the target: {'; '.join(parts)}."


def shipped() -> dict[str, Any]:
    """Return the content of the file of the rule."""
    return json.loads((files("noisylib") / "fitted" / FILE).read_text(encoding="utf-8"))


def interval_text() -> str:
    """Return how often the interval of the rate held the truth, from the file of the rule."""
    return (
        f"The interval that comes with an estimate is a 90{NBSP}% one; on kinds of images that neither the "
        f"rule nor the interval had seen, it held the true rate in {100 * shipped()['coverage']:.0f}{NBSP}% "
        "of the conditions."
    )
