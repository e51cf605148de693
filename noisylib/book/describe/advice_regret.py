"""Whether choosing by descriptors helps: regret of every way to choose, on kinds of images held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisylib.analysis.selector_check import TIE
from noisylib.analysis.selector_rules import RULES
from noisylib.book.describe.advice import points, span

if TYPE_CHECKING:
    import pandas as pd

# The selector is to lose at most this, and at most this share of what the best fixed method loses.
TARGET, SHARE = 0.01, 0.5
FIXED = "fixed"
SHOWN = ("selector", "table", *RULES, "always elr", "always cufit", "random", "oracle")
_NAMES = {
    "selector": "selector",
    "table": "decision table above",
    "random": "drawn by lot",
    "oracle": "knows the best",
    **{key: rule.title for key, rule in RULES.items()},
}


def choices(names: list[str], titles: Mapping[str, str]) -> dict[str, str]:
    """Return what readers call each way to choose, in the order of figures and tables.

    Parameters
    ----------
    names : columns of `advice.lost`.
    titles : candidate -> title.
    """
    always = [name for name in names if name.startswith("always ")]
    order = [*(name for name in SHOWN if name in names and name not in always and name != "oracle")]
    order = [*order[:-1], *always, "random", "oracle"]
    return {
        name: _NAMES[name] if name in _NAMES else f"always {inside(titles[name.removeprefix('always ')])}"
        for name in order
    }


def inside(title: str) -> str:
    """Return a title inside a sentence: "Cross entropy" is no name."""
    return title[0].lower() + title[1:] if title.split()[0].isalpha() and title[1:].islower() else title


def shown(names: Mapping[str, str]) -> dict[str, str]:
    """Return the ways to choose that a figure shows: of fixed methods those that are asked about."""
    return {name: text for name, text in names.items() if name in SHOWN}


def regret_table(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return mean, 90th percentile and highest regret in points as readers see them.

    Parameters
    ----------
    table : from `selector_table`. Square brackets are its intervals: over banks, and over families for the
        difference to the best fixed method.
    """
    import pandas as pd

    def cell(row: pd.Series, column: str, cluster: str) -> str:
        return span(row[column], row[f"{column}_low_{cluster}"], row[f"{column}_high_{cluster}"])

    return pd.DataFrame(
        {
            "Choice": text,
            "Mean": cell(table.loc[name], "mean", "bank"),
            "90th percentile": cell(table.loc[name], "p90", "bank"),
            "Highest": points(table.at[name, "max"], 2),
            "Mean minus best fixed": "" if name == FIXED else cell(table.loc[name], "over_fixed", "family"),
        }
        for name, text in names.items()
    )


def goal(table: pd.DataFrame) -> float:
    """Return the mean regret that the selector is to stay within, a fraction."""
    return float(min(TARGET, SHARE * table.at[FIXED, "mean"]))


def met(table: pd.DataFrame, name: str = "selector") -> bool:
    """Return whether a way to choose reaches the target: below `TARGET`, and `SHARE` of the best fixed."""
    mean = table.at[name, "mean"]
    return bool(mean < TARGET and mean <= goal(table))


def compare(table: pd.DataFrame) -> str:
    """Return in words how the selector's mean compares with the best fixed method's."""
    row = table.loc["selector"]
    gap, low, high = row["over_fixed"], row["over_fixed_low_family"], row["over_fixed_high_family"]
    if abs(gap) < TIE and low <= 0 <= high:
        return "as good"
    if low <= 0 <= high:
        return "no clear difference"
    return "better" if high < 0 else "worse"


def overview(
    tables: Mapping[tuple[str, str], pd.DataFrame],
    metrics: Mapping[str, str],
    pools: Mapping[str, str],
    best: Mapping[tuple[str, str], str],
    lucky: Mapping[tuple[str, str], float],
) -> pd.DataFrame:
    """Return one row per metric and choice of methods: selector, best fixed method, target.

    Parameters
    ----------
    tables : (metric, pool) -> `selector_table`.
    metrics, pools : what readers call them.
    best : (metric, pool) -> title of the candidate that loses least if always chosen, known in hindsight.
    lucky : (metric, pool) -> what is lost by who knows the other seeds.
    """
    import pandas as pd

    records = []
    for (metric, pool), table in tables.items():
        row = table.loc["selector"]
        ends = [row[f"over_fixed_{end}_family"] for end in ("low", "high")]
        records.append(
            {
                "Score": metrics[metric],
                "Methods": pools[pool],
                "Selector": points(row["mean"], 2),
                "Best fixed": points(table.at[FIXED, "mean"], 2),
                "Difference": span(row["over_fixed"], *ends),
                "Best in hindsight": best[metric, pool],
                "Other seeds known": points(lucky[metric, pool], 2),
                "Target": "met" if met(table) else "not met",
            }
        )
    return pd.DataFrame(records)


def verdict(table: pd.DataFrame, fixed: str) -> str:
    """Return whether choosing helps, and whether the target is met, in plain words.

    Parameters
    ----------
    fixed : title of the candidate of least mean regret.
    """
    row, base = table.loc["selector"], table.at[FIXED, "mean"]
    words = {
        "as good": "**The best fixed method is as good as the selector**",
        "no clear difference": "**Between the selector and the best fixed method there is no clear "
        "difference**",
        "better": "**The selector is better than the best fixed method**",
        "worse": "**The selector is worse than the best fixed method**",
    }[compare(table)]
    ends = [row[f"over_fixed_{end}_family"] for end in ("low", "high")]
    text = (
        f"{words}: on kinds of images that neither had seen, the selector loses {points(row['mean'], 2)} "
        f"points on average and the best fixed method {points(base, 2)} (difference "
        f"{span(row['over_fixed'], *ends)}). In hindsight the best fixed method is {fixed}. A method drawn "
        f"by lot loses {points(table.at['random', 'mean'], 2)}."
    )
    return (
        f"{text} The target, at most half of the best fixed method's mean ({points(SHARE * base, 2)}) and "
        f"below {points(TARGET, 0)} point, is {'met' if met(table) else '**not met**'}."
    )


def hindsight(lost: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return the title of the candidate that loses least if it is always chosen, known in hindsight."""
    always = lost[[name for name in lost if name.startswith("always ")]].mean()
    return titles[str(always.idxmin()).removeprefix("always ")]


def short(judged: pd.DataFrame, best: str, quick: str = "", pool: str = "", slower: str = "") -> str:
    """Return what to do, in bold, and why in one sentence.

    Parameters
    ----------
    judged : `selector_table` among all candidates.
    best : title of the method of least mean regret; `quick` the same without those that train long, if
        there are others; `pool` says which these are, and `slower` how long the others train.
    """
    choose = judged.loc["selector"]
    lot = f"a method drawn by lot loses {points(judged.at['random', 'mean'])}"
    if compare(judged) == "better":
        text = (
            "**Let `noisylib recommend` choose.** On kinds of images that it had not seen, its choices lose "
            f"{points(choose['mean'])} points on average, clearly less than fixing one method; {lot}."
        )
    else:
        text = (
            f"**Train {best}, whatever your data look like.** On kinds of images that had no part in the "
            f"choice, fixing one method loses {points(judged.at[FIXED, 'mean'])} points on average against "
            f"the best candidate in hindsight, and the selector does not lose clearly less; {lot}."
        )
    if quick and quick != best:
        text += f" {slower} If that is too long, train **{quick}**: it is the one to fix {pool}."
    return text
