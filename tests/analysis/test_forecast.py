"""The forecast of agreement against hand values, published-size examples and simulated flips."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.analysis.detection import measure_detection
from noisylib.analysis.forecast import agreement_forecast, confusion, split_drop
from noisylib.errors import NoisylibError


def symmetric(n_classes: int, rate: float) -> np.ndarray:
    """Return T with the rate spread evenly over the wrong classes."""
    T = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(T, 1 - rate)
    return T


def to_next(n_classes: int, rate: float) -> np.ndarray:
    """Return T whose flips all go to the next class."""
    eye = np.eye(n_classes)
    return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)


def head(n_classes: int, accuracy: float, to_neighbour: float) -> np.ndarray:
    """Return a confusion whose errors prefer the next class."""
    C = np.full((n_classes, n_classes), (1 - accuracy - to_neighbour) / (n_classes - 2))
    C[np.arange(n_classes), (np.arange(n_classes) + 1) % n_classes] = to_neighbour
    np.fill_diagonal(C, accuracy)
    return C


def draw(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return one outcome per row of probabilities."""
    return (random.random((len(rows), 1)) > rows.cumsum(1)[:, :-1]).sum(1)


def uniform(n_classes: int) -> np.ndarray:
    return np.full(n_classes, 1 / n_classes)


def test_confusion_by_hand() -> None:
    y = np.array([0, 0, 0, 0, 2, 2])
    predicted = np.array([[0, 0, 0, 1, 2, 0], [1, 1, 2, 2, 0, 0]])
    expected = [
        [[0.75, 0.25, 0], [np.nan] * 3, [0.5, 0, 0.5]],
        [[0, 0.5, 0.5], [np.nan] * 3, [1, 0, 0]],
    ]
    np.testing.assert_array_equal(confusion(predicted, y, 3), expected)
    np.testing.assert_array_equal(confusion(predicted[1], y, 3), expected[1])
    both = confusion(predicted, np.stack([y, y[::-1]]), 3)
    np.testing.assert_array_equal(both[1], [[0.5, 0, 0.5], [np.nan] * 3, [0, 1, 0]])
    assert np.isnan(confusion(np.zeros(0, int), np.zeros(0, int), 2)).all()


@pytest.mark.parametrize(
    ("predicted", "y", "text"),
    [
        ([0, 3], [0, 1], "predicted has labels from 0 to 3"),
        ([0, 1], [0, -1], "y has labels from -1 to 0"),
        ([0.0, 1.0], [0, 1], "predicted has dtype float"),
        ([0, 1, 1], [0, 1], "one prediction per label"),
        ([[0, 1], [0, 1]], [[0, 1], [0, 1], [0, 1]], "axes before the last"),
    ],
)
def test_confusion_refuses_bad_labels(predicted: list, y: list, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        confusion(np.array(predicted), np.array(y), 3)


def test_three_classes_by_hand() -> None:
    priors = np.array([0.5, 0.3, 0.2])
    T = np.array([[0.8, 0.2, 0], [0, 0.5, 0.5], [0, 0, 1]])
    C = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
    found = agreement_forecast(priors, T, C)
    right = 0.5 * 0.8 * 0.9 + 0.3 * 0.5 * 0.7 + 0.2 * 1 * 0.4  # .545
    wrong = 0.5 * 0.2 * 0.1 + 0.3 * 0.5 * 0.1  # .025
    assert found.rate == pytest.approx(right + wrong)
    assert found.precision == pytest.approx(right / (right + wrong))
    assert found.kappa == pytest.approx(wrong / (0.5 * 0.2 + 0.3 * 0.5))


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("accuracy", [0.4, 0.9])
def test_a_fixed_head_with_one_rate_has_a_short_form(rate: float, accuracy: float) -> None:
    C, priors = head(3, accuracy, 0.75 * (1 - accuracy)), np.array([0.6, 0.3, 0.1])
    for T, kappa in ((symmetric(3, rate), (1 - accuracy) / 2), (to_next(3, rate), 0.75 * (1 - accuracy))):
        found = agreement_forecast(priors, T, C)
        right = (1 - rate) * accuracy
        assert found.kappa == pytest.approx(kappa)
        assert found.rate == pytest.approx(right + rate * kappa)
        assert found.precision == pytest.approx(right / (right + rate * kappa))


def test_the_look_alike_costs_seven_points_in_six_classes() -> None:
    # A head that is right in 64.6 % and takes the neighbour in 15.4 %: solved from .932 and .863.
    C = head(6, 0.646, 0.154)
    easy = agreement_forecast(uniform(6), symmetric(6, 0.4), C)
    hard = agreement_forecast(uniform(6), to_next(6, 0.4), C)
    assert round(easy.precision, 3) == 0.932
    assert round(hard.precision, 3) == 0.863
    assert (round(easy.kappa, 4), round(hard.kappa, 4)) == (0.0708, 0.154)


def test_extreme_heads() -> None:
    priors, T = np.array([0.7, 0.2, 0.1]), to_next(3, 0.4)
    perfect = agreement_forecast(priors, T, np.eye(3))
    assert (perfect.rate, perfect.precision, perfect.kappa) == pytest.approx((0.6, 1, 0))
    guessing = agreement_forecast(priors, T, np.full((3, 3), 1 / 3))
    assert (guessing.rate, guessing.precision, guessing.kappa) == pytest.approx((1 / 3, 0.6, 1 / 3))
    fooled = agreement_forecast(priors, T, to_next(3, 1.0))
    assert (fooled.rate, fooled.precision, fooled.kappa) == pytest.approx((0.4, 0, 1))
    clean = agreement_forecast(priors, np.eye(3), head(3, 0.8, 0.1))
    assert (clean.rate, clean.precision) == pytest.approx((0.8, 1))
    assert np.isnan(clean.kappa)
    never = agreement_forecast(priors, np.eye(3), to_next(3, 1.0))
    assert never.rate == 0
    assert np.isnan(never.precision)


@pytest.mark.parametrize("matrix", [symmetric, to_next])
def test_forecast_meets_simulated_independent_flips(matrix) -> None:
    n, priors, T = 200_000, np.array([0.5, 0.25, 0.15, 0.1]), matrix(4, 0.4)
    random = np.random.default_rng(11)
    C = random.dirichlet(np.ones(4), size=4) * 0.5 + 0.5 * np.eye(4)
    y = draw(np.tile(priors, (n, 1)), random)
    y_noisy, predicted = draw(T[y], random), draw(C[y], random)
    agrees, flipped = predicted == y_noisy, y_noisy != y
    seen, found = measure_detection(agrees, flipped, y_noisy, 4), agreement_forecast(priors, T, C)
    assert abs(seen.m / n - found.rate) < 4 * np.sqrt(found.rate * (1 - found.rate) / n)
    assert abs(seen.precision - found.precision) < 4 * np.sqrt(
        found.precision * (1 - found.precision) / seen.m
    )
    assert abs(agrees[flipped].mean() - found.kappa) < 4 * np.sqrt(
        found.kappa * (1 - found.kappa) / flipped.sum()
    )
    # With everything counted in the sample itself the forecast is the measurement, up to independence.
    counted = agreement_forecast(np.bincount(y) / n, confusion(y_noisy, y, 4), confusion(predicted, y, 4))
    assert counted.precision == pytest.approx(seen.precision, abs=0.005)


def test_a_head_that_memorised_wrong_labels_falls_below_its_forecast() -> None:
    n, T = 50_000, symmetric(5, 0.4)
    random = np.random.default_rng(12)
    y = random.integers(0, 5, n)
    y_noisy = draw(T[y], random)
    predicted = np.where(random.random(n) < 0.3, y_noisy, draw(head(5, 0.8, 0.05)[y], random))
    seen = measure_detection(predicted == y_noisy, y_noisy != y, y_noisy, 5).precision
    forecast = agreement_forecast(uniform(5), T, confusion(predicted, y, 5)).precision
    assert seen < forecast - 0.05
    parts = split_drop(uniform(5), np.eye(5), head(5, 0.8, 0.05), T, confusion(predicted, y, 5), 1.0, seen)
    assert parts.unexplained == pytest.approx(forecast - seen)


def test_the_parts_of_a_drop_by_hand() -> None:
    priors, rate = uniform(3), 0.4
    C_from, C_to = head(3, 0.8, 0.1), head(3, 0.7, 0.28)
    parts = split_drop(priors, symmetric(3, rate), C_from, to_next(3, rate), C_to, 0.9, 0.6)
    # Even errors: the target is hit in .1 by either noise, so nothing is harder for the first head.
    last = 0.6 * 0.7 / (0.6 * 0.7 + 0.4 * 0.28)
    first = 0.6 * 0.8 / (0.6 * 0.8 + 0.4 * 0.1)
    assert parts.total == pytest.approx(0.3)
    assert parts.harder_targets == pytest.approx(0, abs=1e-12)
    assert parts.biased_head == pytest.approx(first - last)
    assert parts.unexplained == pytest.approx(0.3 - (first - last))


def test_every_part_vanishes_without_its_cause_and_they_add_up() -> None:
    random = np.random.default_rng(13)
    priors = random.dirichlet(np.ones(6))
    Ts, Ta = symmetric(6, 0.4), to_next(6, 0.4)
    good, biased = head(6, 0.646, 0.154), head(6, 0.5, 0.4)

    def parts(T_to: np.ndarray, C_to: np.ndarray, extra: float = 0.0):
        seen = agreement_forecast(priors, T_to, C_to).precision - extra
        return split_drop(priors, Ts, good, T_to, C_to, agreement_forecast(priors, Ts, good).precision, seen)

    targets, bias, rest = parts(Ta, good), parts(Ts, biased), parts(Ts, good, extra=0.1)
    assert targets.harder_targets == pytest.approx(0.0690, abs=1e-4)  # .93191 - .86287
    assert (targets.biased_head, targets.unexplained) == pytest.approx((0, 0), abs=1e-12)
    assert bias.biased_head > 0.01
    assert (bias.harder_targets, bias.unexplained) == pytest.approx((0, 0), abs=1e-12)
    assert rest.unexplained == pytest.approx(0.1)
    assert (rest.harder_targets, rest.biased_head) == pytest.approx((0, 0), abs=1e-12)
    every = parts(Ta, biased, extra=0.05)
    assert min(every.harder_targets, every.biased_head, every.unexplained) > 0.01
    assert every.harder_targets + every.biased_head + every.unexplained == pytest.approx(every.total)


def test_what_rests_on_an_empty_set_is_nan() -> None:
    priors, T, C = uniform(3), to_next(3, 0.4), head(3, 0.8, 0.1)
    empty = split_drop(priors, T, C, T, C, 0.9, float("nan"))
    assert np.isnan([empty.total, empty.unexplained]).all()
    assert (empty.harder_targets, empty.biased_head) == (0, 0)
    with pytest.raises(NoisylibError, match=r"measured_from=90.*not percent"):
        split_drop(priors, T, C, T, C, 90, 0.6)
    with pytest.raises(NoisylibError, match=r"measured_to=-0\.1"):
        split_drop(priors, T, C, T, C, 0.9, -0.1)


def test_a_class_without_samples_needs_no_rows() -> None:
    T, C = to_next(3, 0.4), head(3, 0.8, 0.1)
    C[1] = np.nan
    T[1] = np.nan
    found = agreement_forecast([0.75, 0, 0.25], T, C)
    assert found.precision == pytest.approx(0.48 / (0.48 + 0.4 * 0.1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"priors": [0.5, 0.4, 0.2]}, r"priors=\[0\.5, 0\.4, 0\.2\]"),
        ({"priors": [1.2, -0.2, 0]}, "none negative"),
        ({"priors": [np.nan, 0.5, 0.5]}, "priors="),
        ({"T": np.eye(2)}, r"T has shape \(2, 2\).*\(3, 3\)"),
        ({"T": np.array([[1, 0, 0], [0.5, 0, 0], [0, 0, 1]])}, "Row 1 of T is"),
        ({"T": np.array([[1, 0, 0], [0, 1, 0], [0, 1.5, -0.5]])}, "Row 2 of T is"),
        ({"confusion": np.array([[1, 0, 0], [np.nan] * 3, [0, 0, 1]])}, r"Row 1 of confusion has no samples"),
        ({"confusion": np.array([[2, 1, 1], [0, 3, 0], [0, 0, 4]])}, "Row 0 of confusion is"),
    ],
)
def test_forecast_refuses_what_is_no_distribution(change: dict, text: str) -> None:
    good = {"priors": uniform(3), "T": np.eye(3), "confusion": np.eye(3)}
    with pytest.raises(NoisylibError, match=text):
        agreement_forecast(**(good | change))
