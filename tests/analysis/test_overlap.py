"""Estimators of overlap by hand, their invariances, limits and errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from noisylib.analysis.overlap import (
    ESTIMATORS,
    class_overlap,
    equal_size_overlap,
    loss_histogram,
    overlap,
)
from noisylib.errors import NoisylibError

CELLED = ("histogram", "quantile", "ks")
HALF = np.repeat([False, True], 4)


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    flipped = rng.random(3000) < 0.4
    return np.exp(rng.standard_normal(3000) + flipped), flipped


def test_histogram_by_hand() -> None:
    """Log-losses 0..4: the 0.5 and 99.5 percentiles are 0.02 and 3.98; a value on an edge is above it."""
    flipped = np.array([False, False, True, False, True])
    counted = loss_histogram(np.exp([0.0, 1, 2, 3, 4]), flipped, bins=2)
    np.testing.assert_allclose(counted.edges, [0.02, 2, 3.98], rtol=1e-12)
    assert counted.clean.tolist() == [1, 1, 1, 0]
    assert counted.flipped.tolist() == [0, 0, 1, 1]


def test_the_headline_is_the_shared_mass_of_its_histogram(sample: tuple[np.ndarray, np.ndarray]) -> None:
    losses, flipped = sample
    counted = loss_histogram(losses, flipped)
    assert len(counted.edges) == 101
    assert counted.clean.sum() == (~flipped).sum()
    assert counted.flipped.sum() == flipped.sum()
    shared = np.minimum(counted.clean / (~flipped).sum(), counted.flipped / flipped.sum()).sum()
    assert overlap(losses, flipped) == pytest.approx(shared, abs=1e-12)


@pytest.mark.parametrize("estimator", CELLED)
def test_two_of_four_samples_in_common(estimator: str) -> None:
    assert overlap(np.exp([0.0, 1, 2, 2, 2, 2, 3, 4]), HALF, estimator) == 0.5


def test_quantile_cells_hold_two_of_a_hundred() -> None:
    losses = np.arange(1.0, 101)
    every_second = np.arange(100) % 2 == 1
    assert overlap(losses, every_second, "quantile") == 1
    assert overlap(losses, np.arange(100) % 4 >= 2, "quantile") == 0
    assert overlap(losses, every_second, "ks") == 1 - 1 / 50


def test_ks_takes_the_largest_distance_after_a_whole_tie() -> None:
    """Clean 1 1 1 3, flipped 1 2 3 3: the distribution functions are 3/4 and 1/4, then 3/4 and 1/2."""
    assert overlap(np.array([1.0, 1, 1, 3, 1, 2, 3, 3]), HALF, "ks") == 0.5


@pytest.mark.parametrize("spread", [1, 4])
def test_kde_is_that_of_scipy(spread: float, sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Each group has the bandwidth of its own spread and size."""
    losses, flipped = sample
    x = np.log(losses) * np.where(flipped, spread, 1)
    grid = np.linspace(-20, 25, 10_001)
    densities = [gaussian_kde(x[group], "silverman")(grid) for group in (~flipped, flipped)]
    expected = np.minimum(*densities).sum() * (grid[1] - grid[0])
    assert overlap(np.exp(x), flipped, "kde") == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("estimator", ["quantile", "ks"])
@pytest.mark.parametrize("rising", [np.sqrt, np.log1p, lambda x: x**3, lambda x: x / (1 + x)])
def test_a_rising_map_changes_nothing(
    estimator: str, rising: object, sample: tuple[np.ndarray, np.ndarray]
) -> None:
    losses, flipped = sample
    assert overlap(rising(losses), flipped, estimator) == overlap(losses, flipped, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_roles_can_be_swapped_and_rows_reordered(
    estimator: str, sample: tuple[np.ndarray, np.ndarray]
) -> None:
    losses, flipped = sample
    value = overlap(losses, flipped, estimator)
    assert 0.5 < value < 0.7
    assert overlap(losses, ~flipped, estimator) == pytest.approx(value, abs=1e-12)
    order = np.random.default_rng(0).permutation(len(losses))
    assert overlap(losses[order], flipped[order], estimator) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_disjoint_groups_do_not_overlap(estimator: str) -> None:
    losses = np.r_[np.linspace(0.01, 0.02, 50), np.linspace(5, 9, 50)]
    value = overlap(losses, np.arange(100) >= 50, estimator)
    assert value == pytest.approx(0, abs=1e-9) if estimator == "kde" else value == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_groups_overlap_entirely(estimator: str) -> None:
    losses = np.tile(np.random.default_rng(1).exponential(size=200), 2)
    assert overlap(losses, np.arange(400) >= 200, estimator) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("estimator", CELLED)
def test_equal_shares_of_unequal_groups_give_exactly_one(estimator: str) -> None:
    losses = np.tile(np.random.default_rng(1).exponential(size=50), 3)
    assert overlap(losses, np.arange(150) >= 100, estimator) == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("constant", [0.0, 0.3, np.inf])
def test_constant_losses_overlap_entirely(estimator: str, constant: float) -> None:
    assert overlap(np.full(8, constant), HALF, estimator) == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_constants_do_not_overlap(estimator: str) -> None:
    assert overlap(np.repeat([0.1, 0.2], 4), HALF, estimator) == 0


@pytest.mark.parametrize(
    ("estimator", "expected"), [("histogram", 0.5), ("quantile", 0.5), ("ks", 0.5), ("kde", 1)]
)
def test_infinite_losses_are_above_all_others(estimator: str, expected: float) -> None:
    """For the kernels they are at the largest finite loss, 2, where half of the clean ones are."""
    losses = np.array([1, 1, 2, 2, 1, 1, np.inf, np.inf])
    assert overlap(losses, HALF, estimator) == pytest.approx(expected, abs=1e-12)


def test_zero_losses_are_below_all_others_and_stretch_no_bin() -> None:
    rng = np.random.default_rng(6)
    losses, flipped = np.exp(rng.standard_normal(500)), np.arange(500) >= 300
    losses[:20] = 0
    counted, without = loss_histogram(losses, flipped), loss_histogram(losses[20:], flipped[20:])
    np.testing.assert_array_equal(counted.edges, without.edges)
    assert counted.clean[0] == without.clean[0] + 20
    lowest = np.where(losses == 0, losses[losses > 0].min(), losses)
    assert overlap(losses, flipped, "kde") == overlap(lowest, flipped, "kde")
    below = np.where(losses == 0, 1e-9, losses)
    assert overlap(losses, flipped, "quantile") == overlap(below, flipped, "quantile")
    assert overlap(np.repeat([0.0, 1.0], 4), HALF) == 0


def test_a_single_flipped_sample_has_the_bandwidth_of_the_clean_ones() -> None:
    x = np.random.default_rng(5).standard_normal(400)
    value = overlap(np.exp(np.r_[x, 0.0]), np.arange(401) == 400, "kde")
    width = gaussian_kde(x, "silverman").factor * x.std(ddof=1)
    grid = np.linspace(-6, 6, 4001)
    spike = np.exp(-((grid / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    expected = np.minimum(gaussian_kde(x, "silverman")(grid), spike).sum() * (grid[1] - grid[0])
    assert value == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights(estimator: str, sample: tuple[np.ndarray, np.ndarray]) -> None:
    losses, flipped = sample
    plain = overlap(losses, flipped, estimator)
    assert overlap(losses, flipped, estimator, weights=np.full(3000, 0.3)) == pytest.approx(plain, abs=1e-12)
    only = (losses < 1) | flipped  # clean losses above 1 do not count: less overlap
    assert overlap(losses, flipped, estimator, weights=only) < plain - 0.1


def test_a_weight_is_a_number_of_copies() -> None:
    losses, times = np.array([1.0, 2, 3, 4, 2, 3, 4, 5]), np.array([1, 0, 3, 2, 4, 1, 0, 2])
    copies = np.repeat(np.arange(8), times)
    weighted = overlap(losses, HALF, "ks", weights=times)
    assert weighted == pytest.approx(overlap(losses[copies], HALF[copies], "ks"), abs=1e-12)


def test_equal_sizes() -> None:
    rng = np.random.default_rng(2)
    losses, flipped = rng.exponential(size=1000), np.arange(1000) >= 600
    whole = overlap(losses[200:], flipped[200:])
    assert equal_size_overlap(losses[200:], flipped[200:], 400, repeats=2) == pytest.approx(whole, abs=1e-12)
    first = equal_size_overlap(losses, flipped, 100, seed=1)
    assert first == equal_size_overlap(losses, flipped, 100, seed=1)
    assert first != equal_size_overlap(losses, flipped, 100, seed=2)
    assert first < overlap(losses, flipped) - 0.03  # fewer samples look less alike
    by_rank = equal_size_overlap(losses, flipped, 100, estimator="ks", seed=1)
    assert by_rank > first + 0.02  # nothing is binned
    with pytest.raises(NoisylibError, match=r"size=401 .* 600 clean and 400 flipped"):
        equal_size_overlap(losses, flipped, 401)
    for bad in ({"size": 0}, {"size": 10, "repeats": 0}, {"size": 10.0}):
        with pytest.raises(NoisylibError, match="whole number >= 1"):
            equal_size_overlap(losses, flipped, **bad)


def test_overlap_per_observed_class() -> None:
    """Class 0 separates, class 1 has too few flips, class 2 does not occur, class 3 has common losses."""
    losses = np.r_[np.full(20, 0.1), np.full(20, 5.0), np.full(22, 0.1), np.full(19, 5.0), np.full(40, 2.0)]
    labels = np.repeat([0, 1, 3], [40, 41, 40])
    flipped = np.r_[np.arange(40) >= 20, np.arange(41) >= 22, np.arange(40) >= 20]
    values = class_overlap(losses, flipped, labels, 4)
    np.testing.assert_array_equal(values, [0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(class_overlap(losses, flipped, labels, 4, min_size=19), [0, 0, np.nan, 1])
    ladder, odd = np.arange(1.0, 101), np.arange(100) % 2 == 1  # KS is .98, the bins separate most samples
    assert class_overlap(ladder, odd, np.zeros(100, int), 1, estimator="ks") == pytest.approx([0.98])
    assert class_overlap(ladder, odd, np.zeros(100, int), 1) < 0.9
    swapped = class_overlap(losses, ~flipped, labels, 4)
    np.testing.assert_array_equal(swapped, values)
    assert np.isnan(class_overlap(losses, flipped, labels, 4, min_size=21, estimator="ks")).all()


@pytest.mark.parametrize(
    ("labels", "n_classes", "message"),
    [
        (np.zeros(7, int), 2, "labels has shape"),
        (np.zeros(8), 2, "dtype float64"),
        (np.full(8, 2), 2, r"must be in 0\.\.1"),
        (np.full(8, -1), 2, r"labels go from -1"),
        (np.zeros(8, int), 0, "n_classes=0"),
    ],
)
def test_bad_labels(labels: np.ndarray, n_classes: int, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        class_overlap(np.ones(8), HALF, labels, n_classes)


@pytest.mark.parametrize(
    ("losses", "flipped", "message"),
    [
        (np.ones(8), np.zeros(8, bool), "flipped marks 0 of 8"),
        (np.ones(8), np.ones(8, bool), "flipped marks 8 of 8"),
        (np.ones(0), np.zeros(0, bool), "flipped marks 0 of 0"),
        (np.r_[np.ones(7), np.nan], HALF, r"losses\[7\]=nan: 1 losses"),
        (np.r_[np.ones(6), -1, -2], HALF, r"losses\[6\]=-1\.0: 2 losses"),
        (np.ones((2, 4)), HALF, r"losses has shape \(2, 4\)"),
        (np.array(["a"] * 8), HALF, "numbers"),
        (np.ones(7), HALF, r"flipped has shape \(8,\)"),
        (np.ones(8), HALF.astype(int), "booleans"),
    ],
)
def test_bad_input(losses: np.ndarray, flipped: np.ndarray, message: str) -> None:
    for call in (overlap, loss_histogram, lambda a, b: equal_size_overlap(a, b, 1)):
        with pytest.raises(NoisylibError, match=message):
            call(losses, flipped)
    with pytest.raises(NoisylibError, match=message):
        class_overlap(losses, flipped, np.zeros(len(flipped), int), 2)


def test_bad_options() -> None:
    with pytest.raises(NoisylibError, match="estimator='histogramm' is unknown"):
        overlap(np.ones(8), HALF, "histogramm")
    with pytest.raises(NoisylibError, match="estimator"):
        class_overlap(np.ones(8), HALF, np.zeros(8, int), 1, estimator="x")
    with pytest.raises(NoisylibError, match="bins=0"):
        loss_histogram(np.ones(8), HALF, bins=0)
    for weights in (np.ones(7), np.full(8, -1.0), np.full(8, np.inf), np.full(8, np.nan)):
        with pytest.raises(NoisylibError, match="weights has shape"):
            overlap(np.ones(8), HALF, weights=weights)
    for weights in (HALF, ~HALF):
        with pytest.raises(NoisylibError, match="weights are all 0"):
            overlap(np.ones(8), HALF, weights=weights)
