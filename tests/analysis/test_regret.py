"""Regret, and who is best and worst, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from noisylib.analysis.regret import by_regime, extremes, regret, regret_summary
from noisylib.analysis.scores import CONDITION

# Conditions x methods; the clean runs stand under both types, as in a study.
VALUES = {
    ("a", "b", "adapter", "asymmetric", 0.0): (0.9, 0.8, 0.8),
    ("a", "b", "adapter", "symmetric", 0.0): (0.9, 0.8, 0.8),
    ("a", "b", "adapter", "symmetric", 0.4): (0.5, 0.7, 0.4),
    ("c", "b", "adapter", "symmetric", 0.4): (0.6, 0.6, 0.1),
}
SCORES = pd.DataFrame(
    list(VALUES.values()),
    columns=["ce", "elr", "gce"],
    index=pd.MultiIndex.from_tuples(VALUES, names=CONDITION),
)


def test_clean_conditions_stand_once_under_their_own_name() -> None:
    once = by_regime(SCORES)
    assert list(once.index.get_level_values("noise_type")) == ["clean", "symmetric", "symmetric"]
    assert list(once.index.names) == CONDITION
    assert SCORES.index[0][3] == "asymmetric", "the caller's stay"


def test_extremes_share_ties() -> None:
    table = extremes(SCORES).set_index(["noise_type", "method"])
    assert dict(table.loc["clean", "best"]) == {"ce": 1, "elr": 0, "gce": 0}
    assert dict(table.loc["clean", "worst"]) == {"ce": 0, "elr": 0.5, "gce": 0.5}
    assert dict(table.loc["symmetric", "best"]) == {"ce": 0.5, "elr": 1.5, "gce": 0}
    assert dict(table.loc["symmetric", "worst"]) == {"ce": 0, "elr": 0, "gce": 2}
    assert dict(table["n_conditions"].groupby(level=0).first()) == {"clean": 1, "symmetric": 2}


def test_rounding_makes_no_winner() -> None:
    table = extremes(SCORES.assign(elr=SCORES["elr"] + 1e-12)).set_index(["noise_type", "method"])
    assert table.loc[("symmetric", "ce"), "best"] == 0.5


def test_regret_is_best_minus_the_method_and_random_its_mean() -> None:
    lost = regret(SCORES)
    assert lost.to_numpy() == pytest.approx(
        pd.DataFrame([[0, 0.1, 0.1, 0.2 / 3], [0.2, 0, 0.3, 0.5 / 3], [0, 0, 0.5, 0.5 / 3]]).to_numpy()
    )
    assert list(lost) == ["ce", "elr", "gce", "random"]


def test_summary_of_regret() -> None:
    table = regret_summary(regret(SCORES))
    assert list(table.index) == ["elr", "ce", "random", "gce"]
    assert table.loc["elr"].to_dict() == pytest.approx({"mean": 0.1 / 3, "p90": 0.08, "max": 0.1})
    assert table.loc["ce", "p90"] == pytest.approx(0.16)  # of 0, 0, .2: 80 % of the way from 0 to .2
    assert table.loc["random", "mean"] == pytest.approx(table["mean"].drop("random").mean())
