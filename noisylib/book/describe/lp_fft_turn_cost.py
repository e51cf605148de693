"""What linear probes, full fine-tuning and TURN cost: seconds and operations of a run, as ratios.

A run is charged with all it needs if it is the only one: a linear probe and TURN with the features of the
frozen backbone, which other runs on the same images could share. Energy is not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.claims.turn_rows import LABELS, NOISE, RUN, SET, TURN
from noisylib.book.describe.lp_fft_turn_archive import shown
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

BASES = ("FFT-CE", "LP-CE")
COSTS = {"total_seconds": "seconds", "total_cpu": "processor seconds", "flops": "operations"}
PARTS = {
    "seconds_features": "features of the frozen backbone",
    "seconds_probe": "the probe's 20 epochs",
    "seconds_cleaning": "losses, mixtures and draws",
    "seconds_tuning": "fine-tuning",
}


def with_cost(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table's labels with total_seconds, total_cpu and seconds_tuning (what is left).

    Processor time does not count what a run waits for others; that of extracting features is not in the
    rows, and their wall time stands for it.
    """
    known = rows[rows["label"].isin(LABELS)]
    tuning = known["seconds"] - known["seconds_probe"] - known["seconds_cleaning"]
    return known.assign(
        total_seconds=known["seconds"] + known["seconds_features"],
        total_cpu=known["cpu_seconds"] + known["seconds_features"],
        seconds_tuning=tuning.clip(lower=0),
    )


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of every run divided by that of FFT-CE and of LP-CE on the same images and labels.

    Returns
    -------
    One row per run and base that is there: `RUN`, label, base, and the keys of `COSTS` as ratios.
    """
    import pandas as pd

    costs = with_cost(rows)[[*RUN, "label", *COSTS]]
    parts = []
    for base in BASES:
        under = costs[costs["label"] == base].drop(columns="label")
        both = costs.merge(under, on=RUN, suffixes=("", "_base"), validate="many_to_one")
        found = both[[*RUN, "label"]].assign(base=base)
        parts.append(found.assign(**{name: both[name] / both[f"{name}_base"] for name in COSTS}))
    return pd.concat(parts, ignore_index=True)


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return per row of the table: median seconds and operations, images trained on, and median ratios."""
    import pandas as pd

    costs, relative = with_cost(rows), ratios(rows)
    records = []
    for label in [name for name in LABELS if (costs["label"] == name).any()]:
        part = costs[costs["label"] == label]
        record = {
            "Training": shown(label),
            "Seconds": number(part["total_seconds"].median()),
            "Processor seconds": number(part["total_cpu"].median()),
            "GFLOPs": number(part["flops"].median() / 1e9),
        }
        for base in BASES:
            here = relative[(relative["label"] == label) & (relative["base"] == base)]
            if len(here):
                for name, title in COSTS.items():
                    record[f"{title.capitalize()} over {base}"] = number(here[name].median())
        records.append(record)
    return pd.DataFrame(records).fillna("")


def number(value: float) -> str:
    """Return a positive number with two significant digits and thousands separated."""
    if not value:
        return "0"
    digits = max(0, 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def ratio_facts(rows: pd.DataFrame) -> dict[str, float]:
    """Return median, lowest and highest ratio of TURN to each base, as ``seconds_fft-ce_low`` and so on."""
    found = ratios(rows)
    facts: dict[str, float] = {}
    for base in BASES:
        part = found[(found["label"] == TURN) & (found["base"] == base)]
        for name, title in COSTS.items():
            values = part[name]
            key = f"{title}_{base.lower()}"
            ends = (values.median(), values.min(), values.max()) if len(values) else (np.nan,) * 3
            facts |= dict(zip((key, f"{key}_low", f"{key}_high"), map(float, ends), strict=True))
    return facts


def ratio_words(facts: Mapping[str, float], base: str, costs: Sequence[str] = tuple(COSTS.values())) -> str:
    """Return TURN's cost against one base, "0.75 times the seconds (0.6 to 0.8) and ..."; empty without both.

    Parameters
    ----------
    facts : from `ratio_facts`.
    costs : values of `COSTS`.
    """
    parts = []
    for title in costs:
        key = f"{title}_{base.lower()}"
        if np.isnan(facts[key]):
            return ""
        ends = f"{number(facts[f'{key}_low'])} to {number(facts[f'{key}_high'])}"
        parts.append(f"{number(facts[key])} times the {title} ({ends})")
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def turn_parts(rows: pd.DataFrame) -> dict[str, float]:
    """Return which share of TURN's seconds each of `PARTS` takes, over all its runs; they sum to 1."""
    runs = with_cost(rows)
    runs = runs[runs["label"] == TURN]
    sums = {name: float(runs[name].sum()) for name in PARTS}
    total = sum(sums.values())
    return {name: value / total if total else float("nan") for name, value in sums.items()}


def images_words(rows: pd.DataFrame) -> str:
    """Return how many images TURN fine-tunes on, as a share of those of FFT-CE, and its spread over runs."""
    wide = (
        rows[rows["label"].isin((TURN, "FFT-CE"))].set_index([*RUN, "label"])["images_seen"].unstack("label")
    )
    if not {TURN, "FFT-CE"} <= set(wide):
        return ""
    share = 100 * (wide[TURN] / wide["FFT-CE"]).dropna()
    return (
        f"TURN trains its network on {share.median():.0f}{NBSP}% as many images as FFT-CE in the median run "
        f"({share.min():.0f} to {share.max():.0f}{NBSP}%), because each class gives no more than the poorest "
        "one has clean samples."
    )


def cost_points(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return one row per label: mean score (percent) over the runs that all labels have, and mean costs.

    Columns label, score, and the keys of `COSTS`; costs are geometric means, because they differ by orders of
    magnitude between data sets.
    """
    costs = with_cost(rows)
    n = costs["label"].nunique()
    whole = costs.groupby([*SET, *NOISE, "seed"])["label"].transform("nunique") == n
    part = costs[whole].assign(score=100 * costs[score])
    grouped = part.groupby("label", sort=False)
    found = grouped[["score"]].mean()
    for name in COSTS:
        found[name] = np.exp(grouped[name].agg(lambda values: np.log(values).mean()))
    return found.reindex([label for label in LABELS if label in found.index]).reset_index()
