"""The estimators against closed forms, and the closed forms of what they give on average."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import airy, ndtr

from noisylib.analysis.closed_forms import identical_overlap, normal_overlap, overlap_of_normals
from noisylib.analysis.overlap import ESTIMATORS, overlap
from noisylib.analysis.overlap_check import CORRECTED, cases, estimator_checks
from noisylib.analysis.overlap_expected import (
    KOLMOGOROV_MEAN,
    PARABOLIC_MAXIMUM,
    TwoLaws,
    mean_absolute,
    normal_law,
)
from noisylib.errors import NoisylibError

MANY = 10**13  # samples without sampling bias


def normals(mean: float, sd: float, n: int, n_flipped: int | None = None) -> TwoLaws:
    return TwoLaws(normal_law(0, 1), normal_law(mean, sd), n, n if n_flipped is None else n_flipped)


def test_every_estimate_is_within_three_standard_errors() -> None:
    table = estimator_checks(n=20_000, seeds=20)
    assert len(table) == len(cases()) * 5
    assert table.z.abs().max() < 3
    headline = table[(table.estimator == CORRECTED) & (table.overlap < 1)]
    assert len(headline) == 10
    assert headline.off.abs().max() < 3  # from the overlap itself
    assert (table.se < 0.006 * np.sqrt(table.truth)).all()  # sharp enough to mean something
    np.testing.assert_allclose(table.bias, table["mean"] - table.truth)
    np.testing.assert_allclose(table.relative_error, table["mean"] / table.truth - 1)
    np.testing.assert_allclose(table.z * table.sd / np.sqrt(20), table.bias)
    np.testing.assert_allclose(table.off * table.se, table["mean"] - table.overlap)
    assert (table.n == 20_000).all()
    assert (table.seeds == 20).all()


def test_seeds_are_used_and_checked() -> None:
    first, again, other = (estimator_checks(1000, 2, seed, 20)["mean"] for seed in (0, 0, 1))
    assert first.equals(again)
    assert (first != other).all()
    for n, seeds in ((999, 2), (1000, 1)):
        with pytest.raises(NoisylibError, match=f"n={n}, seeds={seeds}"):
            estimator_checks(n, seeds)


def test_laws_have_the_overlap_of_their_closed_form() -> None:
    """Density, distribution function and the overlap come from three derivations; they agree."""
    for case in cases():
        low = min(case.clean.low, case.flipped.low)
        y = np.linspace(low, max(case.clean.high, case.flipped.high), 200_001)
        f, g = case.clean.pdf(y), case.flipped.pdf(y)
        assert np.trapezoid(np.minimum(f, g), y) == pytest.approx(case.overlap, abs=2e-6)
        for law, density in ((case.clean, f), (case.flipped, g)):
            assert law.cdf(y)[[0, -1]] == pytest.approx([0, 1], abs=1e-8)
            np.testing.assert_allclose(np.gradient(law.cdf(y), y)[1:-1], density[1:-1], atol=1e-4)


def test_samples_follow_their_laws() -> None:
    for case in cases():
        losses, flipped = case.draw(20_000, 1)
        assert flipped.mean() == pytest.approx(case.rate, abs=1e-4)
        for law, x in ((case.clean, np.log(losses[~flipped])), (case.flipped, np.log(losses[flipped]))):
            uniform = np.sort(law.cdf(x))
            distance = np.abs(uniform - (np.arange(len(x)) + 0.5) / len(x)).max()
            assert distance * np.sqrt(len(x)) < 2  # exceeded with probability 0.0007


def test_limits_of_many_samples() -> None:
    """Nothing is left but coarse cells, which cannot give less than the overlap."""
    for d in (0.5, 1, 2):
        laws, exact = normals(d, 1, MANY), normal_overlap(d)
        for value in (laws.histogram(), laws.quantile(), laws.histogram_corrected()):
            assert exact - 1e-6 <= value < exact + 4e-4
        assert laws.kde() == pytest.approx(exact, abs=1e-4)
        assert laws.ks() == pytest.approx(exact, abs=1e-6)


def test_ks_is_a_bound_where_densities_cross_twice() -> None:
    """N(0, 1) and N(1, 4) cross where 3 x^2 + 2 x - 1 = 8 log 2; the distance is largest at the right one."""
    crossing = (-1 + np.sqrt(1 + 3 * (1 + 8 * np.log(2)))) / 3
    exact = 1 - (ndtr(crossing) - ndtr((crossing - 1) / 2))
    assert normals(1, 2, MANY).ks() == pytest.approx(exact, abs=1e-5)
    assert exact > overlap_of_normals(0, 1, 1, 2) + 0.04


def test_a_kernel_turns_a_normal_into_a_wider_one() -> None:
    widths = [(0.75 * n) ** -0.2 for n in (10**9, 4 * 10**5)]
    expected = overlap_of_normals(0, np.hypot(1, widths[0]), 1.5, 2 * np.hypot(1, widths[1]))
    assert normals(1.5, 2, 10**9, 4 * 10**5).kde() == pytest.approx(expected, abs=3e-5)
    assert abs(expected - overlap_of_normals(0, 1, 1.5, 2)) > 1e-4


def test_identical_laws() -> None:
    """The histogram against the exact sum over binomials, KS against the mean of Kolmogorov's law."""
    laws = normals(0, 1, 6000, 4000)
    edges = np.linspace(-2.5758293, 2.5758293, 101)
    cells = np.diff(np.r_[0, ndtr(edges), 1])
    assert laws.histogram() == pytest.approx(identical_overlap(cells, 6000, 4000), abs=2e-4)
    assert laws.quantile() == pytest.approx(identical_overlap(np.full(50, 0.02), 6000, 4000), abs=2e-4)
    uncorrected = (2 - np.sqrt(2)) * (1 - laws.histogram())  # the draws show sqrt(2) - 1 of the bias
    assert laws.histogram_corrected() == pytest.approx(1 - uncorrected, abs=1e-9)
    assert laws.ks() == pytest.approx(1 - KOLMOGOROV_MEAN * np.sqrt(1 / 6000 + 1 / 4000), abs=1e-12)


def test_small_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(0)
    flipped = np.arange(1000) >= 600
    for name in ESTIMATORS:
        values = [overlap(np.exp(rng.standard_normal(1000)), flipped, name) for _ in range(60)]
        expected = getattr(normals(0, 1, 600, 400), name)()
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(60))


def test_constants() -> None:
    integral = quad(lambda y: (1j * y / airy(1j * y)[0] ** 2).real, -12, 12)[0]
    assert pytest.approx(-(2 ** (-1 / 3)) / (2 * np.pi) * integral, abs=1e-6) == PARABOLIC_MAXIMUM
    survival = quad(
        lambda x: 2 * sum((-1) ** (k - 1) * np.exp(-2 * (k * x) ** 2) for k in range(1, 200)), 0.02, 5
    )
    assert pytest.approx(survival[0] + 0.02, abs=1e-6) == KOLMOGOROV_MEAN


def test_mean_of_an_absolute_normal() -> None:
    values = mean_absolute(np.array([0.0, -2.0, 0.5, 0.0]), np.array([4.0, 0.0, 1.0, -1e-20]))
    folded = quad(lambda x: abs(x) * np.exp(-((x - 0.5) ** 2) / 2) / np.sqrt(2 * np.pi), -10, 10, points=[0])[
        0
    ]
    np.testing.assert_allclose(values, [2 * np.sqrt(2 / np.pi), 2, folded, 0], rtol=1e-9)
