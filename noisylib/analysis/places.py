"""Who takes which place, who wins by how much, and what single data sets decide.

All functions start from scores as `noisylib.analysis.scores.condition_scores` returns them: (M, k), one row
per condition, one column per method, higher is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from noisylib.analysis.ranking import checked, rank_matrix

if TYPE_CHECKING:
    import pandas as pd


def place_shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Return how often each method takes each place, methods x places 1..k; rows and columns sum to 1.

    Methods that tie share their places evenly: of two equal best ones each takes half of places 1 and 2.
    """
    import pandas as pd

    rounded = checked(scores)
    first = rounded.rank(axis=1, ascending=False, method="min")
    last = rounded.rank(axis=1, ascending=False, method="max")
    taken = {
        place: ((first <= place) & (place <= last)).div(last - first + 1).mean()
        for place in range(1, scores.shape[1] + 1)
    }
    return pd.DataFrame(taken)


def winners(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the best method of each condition and its lead, as tidy columns.

    `winner` is empty where several are best; `lead` is the best score minus the next, a fraction, 0 in a tie.
    """
    rounded = checked(scores)
    ordered = np.sort(rounded.to_numpy(), axis=1)
    lead = (ordered[:, -1] - ordered[:, -2]).round(9)
    table = scores.index.to_frame(index=False)
    table["winner"] = rounded.idxmax(axis=1).where(lead > 0, "").to_numpy()
    table["lead"] = lead
    return table


def leave_one_out(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean ranks without each data set in turn: left_out ("" for none) x methods.

    A single data set cannot be left out.
    """
    import pandas as pd

    datasets = scores.index.get_level_values("dataset")
    names = list(datasets.unique())
    table = {"": rank_matrix(scores).mean()}
    if len(names) > 1:
        table |= {name: rank_matrix(scores[datasets != name]).mean() for name in names}
    return pd.DataFrame(table).T.rename_axis("left_out")


def dataset_ranks(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean rank of each method on each data set, methods x data sets."""
    return rank_matrix(scores).groupby(level="dataset").mean().T


def leaders(values: pd.Series, *, highest: bool = False) -> list[str]:
    """Return the methods with the lowest value, or the highest; all of them where they tie."""
    values = values.round(9)
    return list(values.index[values == (values.max() if highest else values.min())])
