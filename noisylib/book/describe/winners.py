"""Winners of conditions: how clear they are beside the spread of seeds, and whether the score decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.analysis.ranking import rank_table
from noisylib.analysis.scores import CONDITION, SEEDS, condition_scores
from noisylib.book.describe.settings import method_titles_in

if TYPE_CHECKING:
    import pandas as pd


def margin_facts(rows: pd.DataFrame, margins: pd.DataFrame) -> dict[str, float | int]:
    """Return how seeds compare with methods: medians over conditions in percentage points, and counts.

    ``spread`` is the median standard deviation over seeds of a method in a condition, ``margin`` the
    median lead of the best over the second, ``gap`` the median of best minus worst; ``by_chance`` is how
    often (percent) the difference of two equal methods is beyond two standard errors, if it is normal.
    """
    from scipy.stats import t

    scores, seeds = condition_scores(rows), len(rows[SEEDS].drop_duplicates())
    spread = rows.groupby([*CONDITION, "method"])["balanced_accuracy"].std()
    wins = margins.loc[margins["clear"], "best"]
    return {
        "conditions": len(margins),
        "clear": int(margins["clear"].sum()),
        "clear_share": 100 * float(margins["clear"].mean()),
        "spread": 100 * float(spread.median()),
        "margin": 100 * float(margins["margin"].median()),
        "gap": 100 * float((scores.max(axis=1) - scores.min(axis=1)).median()),
        "clear_winners": wins.nunique(),
        "by_chance": 200 * float(t.sf(2, seeds - 1)) if seeds > 1 else float("nan"),
    }


def winners_table(rows: pd.DataFrame, margins: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and wins of each method by balanced accuracy and by accuracy, and clear wins."""
    import pandas as pd

    balanced, plain = (
        rank_table(condition_scores(rows, score=score)) for score in ("balanced_accuracy", "accuracy")
    )
    clear = margins[margins["clear"]]["best"].value_counts()
    plain = plain.loc[balanced.index]
    return pd.DataFrame(
        {
            "Method": method_titles_in(balanced.index),
            "Mean rank, balanced": [f"{v:.2f}" for v in balanced["mean_rank"]],
            "Mean rank, accuracy": [f"{v:.2f}" for v in plain["mean_rank"]],
            "Wins, balanced": [f"{v:.1f}" for v in balanced["wins"]],
            "of them clear": [str(clear.get(name, 0)) for name in balanced.index],
            "Wins, accuracy": [f"{v:.1f}" for v in plain["wins"]],
        }
    )
