"""What drives the collapse: Co-teaching against CE over the archived sweep, taken apart by factor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import NBSP
from noisylib.errors import NoisylibError

if TYPE_CHECKING:
    import pandas as pd

RATE = 0.4  # of the sweep; HAM10000 has arms at a lower rate besides
CELL = ["source", "imbalance", "asymmetry", "map", "noise_rate"]
SCORES = ("accuracy", "balanced_accuracy", "dead_classes")
FACTORS = {"imbalance": "Imbalance", "asymmetry": "Asymmetry", "map": "Map"}
MAPS = {
    "equals": "swap with an equal",
    "extremes": "swap with the opposite",
    "majority": "into the largest",
    "default": "look-alikes (default)",
    "cyclic": "next class (cyclic)",
    "catalogue_majority": "into nevi, nevi clean",
}
OUTCOMES = {
    "dead_classes_coteaching": "Dead classes",
    "dead_classes_gap": "Dead classes minus CE",
    "balanced_accuracy_gap": "Balanced accuracy minus CE",
}


def contrast(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell of the sweep: CE, Co-teaching and their difference, means over seeds.

    Columns `CELL`, min_purity, seeds and, for each of `SCORES`, ``<score>_ce``, ``<score>_coteaching`` and
    ``<score>_gap`` (Co-teaching minus CE); accuracies in percent, gaps in points.

    Raises
    ------
    NoisylibError
        A cell lacks one of the two methods.
    """
    pair = rows[rows["method"].isin(["ce", "coteaching"]) & (rows["noise_rate"] > 0)]
    means = pair.groupby([*CELL, "method"])[list(SCORES)].mean().unstack("method")
    if means.isna().any(axis=None):
        raise NoisylibError(f"{int(means.isna().any(axis=1).sum())} cells lack CE or Co-teaching: run both.")
    grouped = pair.groupby(CELL)
    frame = grouped[["min_purity"]].mean()
    frame["seeds"] = grouped["seed"].nunique()
    for score in SCORES:
        scale = 1 if score == "dead_classes" else 100
        plain, ours = (scale * means[score, method] for method in ("ce", "coteaching"))
        frame[f"{score}_ce"], frame[f"{score}_coteaching"], frame[f"{score}_gap"] = plain, ours, ours - plain
    return frame.reset_index()


def effects(cells: pd.DataFrame, column: str, factors: Sequence[str] = tuple(FACTORS)) -> pd.DataFrame:
    """Take a complete grid apart: the mean of each level, and the share of the variance that it explains.

    Parameters
    ----------
    cells : every combination of the levels of `factors` exactly once.
    column : what is taken apart.

    Returns
    -------
    One row per factor, per pair of factors (joined by " x ") and "rest", with columns low_level, low,
    high_level, high (the lowest and the highest marginal mean), spread (their difference) and share: the sum
    of squares of marginal means about the grand mean over that of all cells, for pairs that of the means of
    two factors less those of each. The shares add up to 1; they are NaN if all cells are equal.

    Raises
    ------
    NoisylibError
        A combination is missing or occurs twice: then the sums of squares would not add up.
    """
    import pandas as pd

    size = int(np.prod([cells[name].nunique() for name in factors]))
    if len(cells) != size or cells.duplicated(list(factors)).any():
        raise NoisylibError(
            f"{len(cells)} cells, {size} combinations of {', '.join(factors)}: give each once."
        )
    values = cells[column] - cells[column].mean()
    total = float((values**2).sum())

    def explained(names: Sequence[str]) -> float:
        return float((values.groupby([cells[name] for name in names]).transform("mean") ** 2).sum())

    squares = {name: explained([name]) for name in factors}
    records = {}
    for name in factors:
        means = cells.groupby(name)[column].mean()
        low, high = means.idxmin(), means.idxmax()
        records[name] = (low, means[low], high, means[high], means[high] - means[low], squares[name])
    for pair in combinations(factors, 2):
        both = explained(pair) - sum(squares[name] for name in pair)
        records[" x ".join(pair)] = ("", np.nan, "", np.nan, np.nan, both)
    rest = total - sum(record[-1] for record in records.values())
    records["rest"] = ("", np.nan, "", np.nan, np.nan, rest)
    columns = ["low_level", "low", "high_level", "high", "spread", "share"]
    frame = pd.DataFrame.from_dict(records, orient="index", columns=columns)
    frame["share"] = frame["share"] / total if total > 1e-12 else np.nan
    return frame


def effects_table(grid: pd.DataFrame) -> pd.DataFrame:
    """Return spread and share of each factor for every outcome; `grid` as for `effects`."""
    import pandas as pd

    parts = {column: effects(grid, column) for column in OUTCOMES}
    names = next(iter(parts.values())).index
    table = {"What varies": [" x ".join(FACTORS.get(f, f) for f in name.split(" x ")) for name in names]}
    for column, title in OUTCOMES.items():
        spreads, shares = parts[column]["spread"], parts[column]["share"]
        unit = " (pp)" if column.startswith("balanced") else ""
        table[f"{title}: spread{unit}"] = ["" if np.isnan(value) else f"{value:.1f}" for value in spreads]
        table[f"{title}: share (%)"] = [_share(value) for value in shares]
    return pd.DataFrame(table)


def _share(value: float) -> str:
    return "none" if np.isnan(value) else f"{100 * max(value, 0.0):.0f}"


def level_text(factor: str, level: float | str) -> str:
    """Return a level of a factor in words."""
    if factor == "imbalance":
        return f"{level:g} : 1"
    return f"*{MAPS.get(str(level), level)}*" if factor == "map" else f"{level:g}"


def drivers_text(grid: pd.DataFrame, column: str, what: str, unit: str = "") -> str:
    """Say which factor moves an outcome most, in order, with the means at both ends.

    Parameters
    ----------
    what : the outcome in words, at the start of the sentence.
    """
    found = effects(grid, column)
    main = found.loc[list(FACTORS)].sort_values("share", ascending=False)
    if found["share"].isna().all():
        return f"{what} {_is(what)} the same in all {len(grid)} cells: {grid[column].mean():.1f}{unit}."
    parts = [
        f"{name} ({row.low:.1f}{unit} at {level_text(name, row.low_level)}, {row.high:.1f}{unit} at "
        f"{level_text(name, row.high_level)}; {_share(row.share)}{NBSP}% of the variance)"
        for name, row in zip(main.index, main.itertuples(), strict=True)
    ]
    together = float(found["share"].drop(list(FACTORS)).sum())
    return (
        f"{what} {'move' if _is(what) == 'are' else 'moves'} most with {parts[0]}, then {parts[1]}, "
        f"least with {parts[2]}. What these factors do only together is {_share(together)}{NBSP}%."
    )


def _is(what: str) -> str:
    return "are" if what.split(" of ")[0].endswith("classes") else "is"


def full_text(grid: pd.DataFrame) -> str:
    """Say what imbalance and map do to the dead classes of Co-teaching where all noise follows the map."""
    part = grid[grid["asymmetry"] == 1]
    found = effects(part, "dead_classes_coteaching", ("imbalance", "map")).loc[["imbalance", "map"]]
    ends = [
        f"{name} moves them by {row.spread:.1f} (from {level_text(name, row.low_level)} to "
        f"{level_text(name, row.high_level)})"
        for name, row in zip(found.index, found.itertuples(), strict=True)
    ]
    return f"At full asymmetry alone, {' and '.join(ends)}."


def clean_text(rows: pd.DataFrame) -> str:
    """Say what the strongest imbalance does without any wrong label, to CE; rows of one source."""
    part = rows[(rows["noise_rate"] == 0) & (rows["imbalance"] == rows["imbalance"].max())]
    pairs = zip(part["recall"], part["class_counts"], strict=True)
    recall = np.array([np.asarray(each)[np.argmin(counts)] for each, counts in pairs])
    return (
        f"At {part['imbalance'].iloc[0]:g} : 1 without any wrong label CE loses "
        f"{part['dead_classes'].mean():.1f} classes, and recognises "
        f"{100 * recall.mean():.0f}{NBSP}% of the rarest."
    )
