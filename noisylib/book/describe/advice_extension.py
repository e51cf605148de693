"""Whether learning from parts of banks and from made data as well lowers the regret on unseen images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.analysis.selector_rules import RULES
from noisylib.book.describe.advice import points, span

if TYPE_CHECKING:
    import pandas as pd

ROWS = {"archived": "whole banks", "variants": "with parts", "made": "with parts and made data"}
CLUSTER = "family"


def extension_text(table: pd.DataFrame) -> str:
    """Return in words which rules more rows help or harm beyond doubt.

    Parameters
    ----------
    table : from `selector_check.extension_table`.
    """
    more = table[(table["rows"] != "archived") & (table["rule"] != "fixed")]
    if more.empty:
        return "All archived rows are whole banks, so there is nothing to add."
    helped, harmed = more[more[f"high_{CLUSTER}"] < 0], more[more[f"low_{CLUSTER}"] > 0]
    parts = [
        f"{what} in {len(found)} of {len(more)} cases" + (f" ({_cases(found)})" if len(found) else "")
        for what, found in (("lowers the regret", helped), ("raises it", harmed))
    ]
    low = table.loc[table["mean"].idxmin()]
    return (
        f"Adding rows clearly {parts[0]} and clearly {parts[1]}; clearly: the interval over families is on "
        f"one side of 0. The lowest mean of all, {points(low['mean'], 2)} points, has the rule "
        f"*{RULES[low['rule']].title}*, learned from {learned(low['rows'])}."
    )


def learned(rows: str) -> str:
    """Return in words what was learned from, whole banks included."""
    return {
        "archived": "whole banks",
        "variants": "whole banks and parts of them",
        "made": "whole banks, parts of them and made data",
    }[rows]


def _cases(found: pd.DataFrame) -> str:
    return "; ".join(f"{RULES[row.rule].title}, {ROWS[row.rows]}" for row in found.itertuples())


def extension_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return rules x rows: mean regret, and its change from whole banks alone, in points."""
    import pandas as pd

    there = [name for name in ROWS if name in set(table["rows"])]
    records = []
    for rule, part in table.groupby("rule", sort=False):
        row = part.set_index("rows")
        record = {"Rule": RULES[rule].title}
        for name in there:
            column = f"{ROWS[name].capitalize()} ({row.at[name, 'conditions']})"
            ends = [row.at[name, f"{end}_{CLUSTER}"] for end in ("low", "high")]
            change = span(row.at[name, "change"], *ends)
            record[column] = points(row.at[name, "mean"], 2) + ("" if name == "archived" else f"; {change}")
        records.append(record)
    return pd.DataFrame(records)
