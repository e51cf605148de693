"""Places, winners and single data sets: each value by hand on six conditions of three methods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis import places
from noisylib.analysis.scores import CONDITION
from noisylib.errors import NoisylibError

METHODS = ["ce", "gce", "elr"]
SCORES = {
    ("pbc", "a", "adapter", "symmetric", 0.0): (0.9, 0.8, 0.7),
    ("pbc", "a", "adapter", "symmetric", 0.4): (0.5, 0.5, 0.4),
    ("ham10000", "a", "adapter", "symmetric", 0.0): (0.7, 0.8, 0.9),
    ("ham10000", "a", "adapter", "symmetric", 0.4): (0.1, 0.2, 0.2 + 1e-12),
}


def scores() -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(SCORES, names=CONDITION)
    return pd.DataFrame(list(SCORES.values()), index=index, columns=METHODS)


def test_places_are_shared_by_ties() -> None:
    shares = places.place_shares(scores())
    # Places of ce: 1, half of 1 and 2, 3, 3; of gce: 2, half of 1 and 2, 2, half of 1 and 2.
    np.testing.assert_allclose(shares.loc["ce"], [1.5 / 4, 0.5 / 4, 2 / 4])
    np.testing.assert_allclose(shares.loc["gce"], [1 / 4, 3 / 4, 0])
    np.testing.assert_allclose(shares.loc["elr"], [1.5 / 4, 0.5 / 4, 2 / 4])
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert list(shares.columns) == [1, 2, 3]


def test_a_tie_of_all_shares_every_place() -> None:
    equal = scores() * 0 + 0.5
    np.testing.assert_allclose(places.place_shares(equal), 1 / 3)


def test_winners_lead_over_the_next_and_ties_have_none() -> None:
    won = places.winners(scores())
    assert list(won["winner"]) == ["ce", "", "elr", ""]  # the last differs by rounding only
    np.testing.assert_allclose(won["lead"], [0.1, 0, 0.1, 0])
    assert list(won[["dataset", "noise_rate"]].itertuples(index=False, name=None)) == [
        ("pbc", 0.0), ("pbc", 0.4), ("ham10000", 0.0), ("ham10000", 0.4),
    ]  # fmt: skip


def test_each_data_set_is_left_out_once() -> None:
    table = places.leave_one_out(scores())
    assert list(table.index) == ["", "pbc", "ham10000"]
    np.testing.assert_allclose(table.loc["pbc"], [3, (2 + 1.5) / 2, (1 + 1.5) / 2])
    np.testing.assert_allclose(table.loc["ham10000"], [(1 + 1.5) / 2, (2 + 1.5) / 2, 3])
    np.testing.assert_allclose(table.loc[""], (table.loc["pbc"] + table.loc["ham10000"]) / 2)
    assert list(places.leave_one_out(scores().loc[["pbc"]]).index) == [""]


def test_ranks_of_a_data_set_are_those_without_all_others() -> None:
    ranks = places.dataset_ranks(scores())
    np.testing.assert_allclose(ranks["ham10000"], places.leave_one_out(scores()).loc["pbc"])
    assert list(ranks.index) == METHODS


def test_leaders_are_all_that_tie() -> None:
    values = pd.Series({"ce": 2.0, "gce": 1.0 + 1e-12, "elr": 1.0})
    assert places.leaders(values) == ["gce", "elr"]
    assert places.leaders(values, highest=True) == ["ce"]


@pytest.mark.parametrize("what", [places.place_shares, places.winners, places.leave_one_out])
def test_a_hole_in_the_scores_is_an_error(what) -> None:
    holed = scores()
    holed.iloc[1, 1] = np.nan
    with pytest.raises(NoisylibError, match="without a score of every method: 1 of 4"):
        what(holed)
