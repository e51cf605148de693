"""Rank correlations over groups of conditions, by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from noisylib.analysis.rank_correlation import rank_correlation
from noisylib.errors import NoisylibError

GROUPS = np.repeat(["a", "b"], 8)


def test_a_monotone_relation_is_one_however_bent() -> None:
    x = np.arange(16.0)
    found = rank_correlation(x, np.exp(x), GROUPS)
    # The bootstrap keeps it at 1 with ties; leaving out a group or looking inside one changes nothing.
    assert [found.value, found.low, found.high, found.within] == pytest.approx([1] * 4)
    assert (found.least, found.most) == pytest.approx((1, 1))
    assert (found.n, found.groups) == (16, 2)
    assert rank_correlation(x, -(x**3), GROUPS).value == pytest.approx(-1)


def test_it_is_spearmans() -> None:
    x, y = np.random.default_rng(0).integers(0, 6, (2, 16)).astype(float)
    found = rank_correlation(x, y, GROUPS)
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    parts = [spearmanr(x[part], y[part]).statistic for part in (slice(8), slice(8, None))]
    assert found.within == pytest.approx(np.mean(parts))
    assert (found.least, found.most) == pytest.approx((min(parts), max(parts)))
    assert found.low <= found.value <= found.high


def test_groups_can_hide_the_opposite_inside_them() -> None:
    x = np.r_[np.arange(8.0), 20 + np.arange(8)]
    y = np.r_[-np.arange(8.0), 20 - np.arange(8)]
    found = rank_correlation(x, y, GROUPS)
    assert found.value > 0
    assert found.within == pytest.approx(-1)


def test_unrelated_measures_have_an_interval_around_zero() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 60))
    found = rank_correlation(x, y, np.repeat(list("abc"), 20))
    assert found.low < 0 < found.high
    # Fisher's standard error of a correlation of 60 is 1 / sqrt(57).
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / np.sqrt(57), rel=0.25)
    again = rank_correlation(x, y, np.repeat(list("abc"), 20))
    assert found == again


def test_nan_constant_and_few_conditions() -> None:
    x = np.arange(16.0)
    y = x.copy()
    y[3] = np.nan
    assert (rank_correlation(x, y, GROUPS).n, rank_correlation(x, y, GROUPS).value) == (15, pytest.approx(1))
    flat = rank_correlation(x, np.ones(16), GROUPS)
    assert np.isnan([flat.value, flat.low, flat.high, flat.within, flat.least]).all()
    few = rank_correlation(x[:7], x[:7], GROUPS[:7])
    assert np.isnan([few.value, few.low, few.high]).all()
    assert few.within == pytest.approx(1)  # four are enough inside a group
    assert np.isnan(rank_correlation(x[:3], x[:3], GROUPS[:3]).within)
    assert rank_correlation(np.zeros(0), np.zeros(0), np.zeros(0, str)).n == 0


def test_one_group_cannot_be_left_out() -> None:
    found = rank_correlation(np.arange(8.0), np.arange(8.0), GROUPS[:8])
    assert np.isnan(found.least)
    assert found.within == found.value


def test_lengths_must_agree() -> None:
    with pytest.raises(NoisylibError, match="have shapes"):
        rank_correlation(np.zeros(3), np.zeros(4), np.zeros(3))
