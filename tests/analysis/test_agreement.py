"""Agreement of two rankings, with correlations, intervals and margins by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _rows import study_rows

from noisylib.analysis.agreement import (
    Pair,
    agreement,
    matched,
    rank_correlation,
    seed_halves,
    winner_margins,
)
from noisylib.analysis.scores import CONDITION
from noisylib.errors import NoisylibError

METHODS = ["ce", "ls", "gce", "elr"]


def table(orders: dict[str, str]) -> pd.DataFrame:
    """Return scores of one condition per set; "abcd" says that METHODS[0] is best, then METHODS[1], ..."""
    rows = [[0.9 - 0.1 * order.index(letter) for letter in "abcd"] for order in orders.values()]
    keys = [(name, "deit_tiny", "adapter", "symmetric", 0.2) for name in orders]
    return pd.DataFrame(rows, columns=METHODS, index=pd.MultiIndex.from_tuples(keys, names=CONDITION))


def test_rank_correlation_counts_pairs() -> None:
    before = table({"x": "abcd"})
    assert rank_correlation(before, table({"x": "abdc"})) == pytest.approx((5 - 1) / 6)
    assert rank_correlation(before, table({"x": "dcba"})) == pytest.approx(-1)
    assert np.isnan(rank_correlation(before, before * 0))


def test_moves_and_winners() -> None:
    found = agreement(Pair(table({"x": "abcd", "y": "abcd"}), table({"x": "bacd", "y": "abcd"})))
    assert found.ranks["before"].to_list() == [1, 2, 3, 4]
    assert found.ranks["after"].to_list() == [1.5, 1.5, 3, 4]
    assert found.ranks["move"].to_list() == [0.5, -0.5, 0, 0]
    assert found.same_winner == 0.5
    assert (found.conditions, found.clusters) == (2, 2)
    # Of six pairs five are ordered alike, one is tied on one side: 5 / sqrt(6 * 5).
    assert found.tau == pytest.approx(5 / np.sqrt(30))
    assert np.isnan(found.low), "two sets say nothing about others"
    assert np.isnan(found.high)


def test_the_interval_resamples_whole_sets() -> None:
    before = table(dict.fromkeys("xyz", "abcd"))
    same = agreement(Pair(before, before))
    assert (same.low, same.high) == (1, 1)
    # One set in three is reversed. In 7 of 27 draws it comes twice or more, and then it decides the order.
    mixed = Pair(before, table({"x": "abcd", "y": "abcd", "z": "dcba"}))
    assert agreement(mixed).tau == pytest.approx(1)
    ends = {
        level: (agreement(mixed, level=level).low, agreement(mixed, level=level).high) for level in (0.4, 0.6)
    }
    assert ends[0.6] == pytest.approx((-1, 1)), "the lower end is at 20 %, among the 26 %"
    assert ends[0.4] == pytest.approx((1, 1)), "the lower end is at 30 %, beyond them"


def test_the_same_seed_gives_the_same_interval() -> None:
    orders = dict(zip("vwxyz", ("abcd", "abdc", "bacd", "dcba", "acbd"), strict=True))
    pair = Pair(table(dict.fromkeys("vwxyz", "abcd")), table(orders))
    one, two = agreement(pair, seed=3), agreement(pair, seed=3)
    assert (one.low, one.high) == (two.low, two.high)
    assert -1 <= one.low < one.tau <= one.high <= 1


def test_matched_takes_conditions_and_seeds_of_both_and_clean_labels_once() -> None:
    archive = study_rows(datasets=("ham10000", "pbc"), seeds=5)
    arm = study_rows(seeds=3).assign(head="linear")
    arm = arm[arm["noise_rate"] != 0.2]
    arm["balanced_accuracy"] += 0.05
    pair = matched(archive, arm, free=["head"])
    # One clean condition and 0.4 under two kinds of noise.
    assert len(pair.before) == 3
    pd.testing.assert_index_equal(pair.before.index, pair.after.index)
    # Of seeds 0 to 2 the mean is that of seed 1.
    clean = pair.before.xs(0.0, level="noise_rate")
    np.testing.assert_allclose(clean[["ce", "elr", "coteaching"]].to_numpy(), [[0.91, 0.81, 0.71]])
    np.testing.assert_allclose(pair.after.to_numpy() - pair.before.to_numpy(), 0.05)
    # The halves are the archive's own: seeds 0 to 2 and 3 to 4, in the shared conditions.
    first, last = pair.halves
    np.testing.assert_allclose(first.to_numpy(), pair.before.to_numpy())
    np.testing.assert_allclose(last.to_numpy() - first.to_numpy(), 0.025)
    assert len(first) == 3


def test_halves_need_two_seeds() -> None:
    assert seed_halves(study_rows(seeds=1)) is None


def test_nothing_in_common_is_no_pair() -> None:
    assert matched(study_rows(), study_rows().assign(dataset="pbc")) is None
    assert matched(study_rows(), study_rows().assign(seed_train=99)) is None
    assert matched(study_rows(), study_rows().iloc[:0]) is None


def test_unequal_methods_are_refused_by_name() -> None:
    with pytest.raises(NoisylibError, match="coteaching"):
        matched(study_rows(), study_rows(methods=("ce", "elr")))


def test_a_free_column_with_two_values_is_refused() -> None:
    with pytest.raises(NoisylibError, match="more than once"):
        matched(study_rows(), study_rows(), free=["noise_rate"])


def test_margins_by_hand() -> None:
    rows = study_rows(methods=("ce", "elr"), seeds=2)
    rows = rows[(rows["noise_type"] == "symmetric") & (rows["noise_rate"] == 0.2)].copy()
    rows["balanced_accuracy"] = [0.5, 0.6, 0.58, 0.64]  # ce, ce, elr, elr: differences 0.08 and 0.04
    (found,) = winner_margins(rows).to_dict("records")
    assert (found["best"], found["second"]) == ("elr", "ce")
    assert found["margin"] == pytest.approx(0.06)
    # Their deviation is 0.04 / sqrt(2), its standard error 0.02: three of them.
    assert found["standard_error"] == pytest.approx(0.02)
    assert found["clear"]
    rows["balanced_accuracy"] = [0.5, 0.6, 0.57, 0.59]  # 0.07 and -0.01: margin 0.03, error 0.04
    (found,) = winner_margins(rows).to_dict("records")
    assert found["margin"] == pytest.approx(0.03)
    assert not found["clear"]


def test_a_tie_and_a_single_seed_are_not_clear() -> None:
    rows = study_rows(methods=("ce", "elr"), seeds=2)
    assert not winner_margins(rows.assign(balanced_accuracy=0.5))["clear"].any()
    single = winner_margins(study_rows(methods=("ce", "elr"), seeds=1))
    assert single["standard_error"].isna().all()
    assert not single["clear"].any()
