"""The bootstrap over data sets: closed forms for two of them, and a plain loop for more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisylib.analysis.bootstrap import bootstrap_ranks
from noisylib.analysis.ranking import rank_table
from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator


def scores_of(sizes: dict[str, int], methods: str = "abcd") -> pd.DataFrame:
    """Return random scores with as many conditions of each data set."""
    index = [(dataset, rate) for dataset, size in sizes.items() for rate in range(size)]
    values = np.random.default_rng(0).random((len(index), len(methods))).round(1)
    index = pd.MultiIndex.from_tuples(index, names=["dataset", "noise_rate"])
    return pd.DataFrame(values, index=index, columns=list(methods))


def opposed(first: int, second: int) -> pd.DataFrame:
    """Return scores in which a wins all conditions of one data set and b all of the other."""
    scores = scores_of({"ham10000": first, "pbc": second}, "ab")
    scores["a"] = [0.9] * first + [0.1] * second
    return scores.assign(b=0.5)


def test_two_data_sets_in_closed_form() -> None:
    # Three conditions and one: both from the first (1/4), one of each (1/2), both from the second (1/4).
    table = bootstrap_ranks(opposed(3, 1), n=4000)
    assert list(table.index) == ["a", "b"]
    assert table.loc["a", ["mean_rank", "low", "high"]].tolist() == [1.25, 1, 2]
    assert table.loc["a", ["wins", "wins_low", "wins_high"]].tolist() == [3, 0, 4]
    assert table.loc["b", ["mean_rank", "low", "high"]].tolist() == [1.75, 1, 2]
    assert table["p_best"].to_list() == pytest.approx([3 / 4, 1 / 4], abs=4 * 0.5 / np.sqrt(4000))
    # The middle half of the resamples is the one with both data sets.
    narrow = bootstrap_ranks(opposed(3, 1), n=4000, level=0.4)
    assert narrow.loc["a", ["low", "high", "wins_low", "wins_high"]].tolist() == [1.25, 1.25, 3, 3]


def test_ties_for_the_best_rank_share() -> None:
    table = bootstrap_ranks(opposed(2, 2), n=1)
    halves = {tuple(bootstrap_ranks(opposed(2, 2), n=1, seed=seed)["p_best"]) for seed in range(20)}
    assert table["p_best"].sum() == 1
    assert halves == {(1, 0), (0, 1), (0.5, 0.5)}


def test_a_method_that_always_wins_is_certain() -> None:
    scores = scores_of({"ham10000": 4, "pbc": 2, "breastmnist": 3})
    scores["b"] = 2.0
    table = bootstrap_ranks(scores, n=200)
    expected = {"mean_rank": 1, "low": 1, "high": 1, "wins": 9, "wins_low": 9, "wins_high": 9, "p_best": 1}
    assert table.loc["b"].to_dict() == pytest.approx(expected)


def test_against_resampled_tables() -> None:
    sizes = {"ham10000": 5, "pbc": 2, "breastmnist": 4}
    scores = scores_of(sizes)
    table = bootstrap_ranks(scores, n=60, seed=3, level=0.9)
    times = numpy_generator("bootstrap", "dataset", 3).multinomial(3, [1 / 3] * 3, size=60)
    tables, best = [], []
    for draw in times:
        parts = [scores.loc[[name]] for name, t in zip(sorted(sizes), draw, strict=True) for _ in range(t)]
        resampled = pd.concat(parts).reset_index(drop=True)
        one = rank_table(resampled).loc[table.index]
        tables.append(one.assign(wins=one["wins"] * len(scores) / len(resampled)))
        first = np.isclose(one["mean_rank"], one["mean_rank"].min())
        best.append(first / first.sum())
    pd.testing.assert_frame_equal(table[["mean_rank", "wins"]], rank_table(scores))
    for column, low, high in (("mean_rank", "low", "high"), ("wins", "wins_low", "wins_high")):
        values = np.array([one[column] for one in tables])
        np.testing.assert_allclose(table[low], np.quantile(values, 0.05, axis=0))
        np.testing.assert_allclose(table[high], np.quantile(values, 0.95, axis=0))
    np.testing.assert_allclose(table["p_best"], np.mean(best, axis=0))


def test_the_draws_depend_on_the_seed() -> None:
    scores = scores_of({"ham10000": 5, "pbc": 3, "breastmnist": 4})
    table = bootstrap_ranks(scores, n=50)
    pd.testing.assert_frame_equal(table, bootstrap_ranks(scores, n=50))
    assert not table.equals(bootstrap_ranks(scores, n=50, seed=1))


def test_bad_input_is_refused() -> None:
    scores = scores_of({"ham10000": 5, "pbc": 3})
    with pytest.raises(NoisylibError, match="over dataset needs two of them, the scores have 1"):
        bootstrap_ranks(scores.loc[["pbc"]])
    with pytest.raises(NoisylibError, match="cluster='backbone' is unknown"):
        bootstrap_ranks(scores, cluster="backbone")
    with pytest.raises(NoisylibError, match=r"n=0, level=0\.95"):
        bootstrap_ranks(scores, n=0)
    with pytest.raises(NoisylibError, match="level=95"):
        bootstrap_ranks(scores, level=95)
    scores.iloc[6, 1] = np.nan
    with pytest.raises(NoisylibError, match=r"1 of 8\. pbc 1\."):
        bootstrap_ranks(scores)
