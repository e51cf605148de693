"""How far features moved, against closed forms: what CKA, maps and probes must give on known features."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from noisylib.analysis.movement import (
    linear_cka,
    nearest_agreement,
    probe_accuracy,
    relative_change,
    tsne_map,
)
from noisylib.errors import NoisylibError

BOTH = pytest.mark.parametrize("debiased", [True, False])


def gaussian(n: int, D: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D))


def rotation(D: int) -> np.ndarray:
    return np.linalg.qr(gaussian(D, D, 9))[0]


@BOTH
def test_rotated_mirrored_shifted_and_scaled_features_are_the_same(debiased: bool) -> None:
    X = gaussian(30, 6)
    turned = 5 * X @ rotation(6) @ np.diag([-1, 1, 1, 1, 1, 1]) + np.arange(6)
    assert linear_cka(X, turned, debiased=debiased) == pytest.approx(1, abs=1e-12)
    padded = np.hstack([X, np.ones((30, 3))])  # another width, and constant features
    assert linear_cka(padded, turned, debiased=debiased) == pytest.approx(1, abs=1e-12)


@BOTH
def test_unequal_scales_of_axes_are_a_difference(debiased: bool) -> None:
    X = gaussian(400, 2)
    # Population value for independent axes: sum of products of variances over the norms, (1 + 100) / ...
    expected = (1 + 100) / (np.sqrt(2) * np.sqrt(1 + 100**2))
    assert linear_cka(X, X * [1, 10], debiased=debiased) == pytest.approx(expected, abs=0.03)


def test_of_single_features_it_is_the_squared_correlation() -> None:
    x, noise = gaussian(50, 1), gaussian(50, 1, 1)
    y = x + noise
    squared = np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2
    assert linear_cka(x, y, debiased=False) == pytest.approx(squared, abs=1e-12)


def test_by_hand_on_four_points() -> None:
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    line = np.array([[1.0], [-1], [0], [0]])
    # Covariances: 2 I and 2 in the first axis only: 4 / (sqrt(8) * 2).
    assert linear_cka(square, line, debiased=False) == pytest.approx(4 / (np.sqrt(8) * 2))


def test_debiased_is_the_mean_over_all_quadruples() -> None:
    X, Y = gaussian(6, 3), gaussian(6, 2, 1) + gaussian(6, 3)[:, :2]
    K, L = X @ X.T, Y @ Y.T

    def mean(A: np.ndarray, B: np.ndarray) -> float:
        terms = [
            A[i, j] * B[i, j] + A[i, j] * B[q, r] - 2 * A[i, j] * B[i, q]
            for i, j, q, r in permutations(range(6), 4)
        ]
        return float(np.mean(terms))

    expected = mean(K, L) / np.sqrt(mean(K, K) * mean(L, L))
    assert linear_cka(X, Y) == pytest.approx(expected, abs=1e-12)


def test_few_images_make_unrelated_features_look_alike_unless_debiased() -> None:
    n, D = 120, 100
    plain, debiased = (
        np.mean([linear_cka(gaussian(n, D, i), gaussian(n, D, 99 + i), debiased=flag) for i in range(5)])
        for flag in (False, True)
    )
    assert plain == pytest.approx(D / (n + D), abs=0.01)
    assert debiased == pytest.approx(0, abs=0.02)


def test_half_of_the_features_in_common() -> None:
    X, other = gaussian(300, 100), gaussian(300, 100, 1)
    # ||cov(X, Y)|| / (||cov(X)|| ||cov(Y)||) = D / sqrt(D 2 D)
    assert linear_cka(X, np.hstack([X, other])) == pytest.approx(1 / np.sqrt(2), abs=0.02)


def test_constant_features_cannot_be_compared() -> None:
    assert np.isnan(linear_cka(gaussian(9, 3), np.full((9, 2), 0.3)))


def test_float16_features_do_not_overflow() -> None:
    X = (gaussian(40, 5) * 3000).astype(np.float16)
    assert linear_cka(X, X) == pytest.approx(1)


@pytest.mark.parametrize(
    ("X", "Y", "words"),
    [
        (gaussian(5, 2), gaussian(6, 2), "X has 5 samples and Y 6"),
        (gaussian(3, 2), gaussian(3, 2), "n >= 4"),
        (gaussian(5, 2), gaussian(5, 2)[0], r"Y has shape \(2,\)"),
        (np.full((5, 2), np.nan), gaussian(5, 2), "X has NaN or infinity in 5 of 5 rows"),
    ],
)
def test_what_cannot_be_compared_is_said(X, Y, words: str) -> None:
    with pytest.raises(NoisylibError, match=words):
        linear_cka(X, Y)


def test_relative_change() -> None:
    assert relative_change([3.0, 4.0], [3.0, 4.5]) == pytest.approx(0.1)
    assert relative_change([[0.0]], [[0.0]]) == 0
    assert relative_change([0.0], [1.0]) == np.inf
    with pytest.raises(NoisylibError, match="same array"):
        relative_change(np.zeros(2), np.zeros(3))


def clusters(D: int = 5) -> tuple[np.ndarray, np.ndarray]:
    which = np.repeat([0, 1, 2], 15)
    return 30 * np.eye(3, D)[which] + gaussian(45, D), which


def test_equal_features_give_equal_maps_that_show_their_clusters() -> None:
    X, which = clusters()
    maps = tsne_map({"before": X, "probe": X.copy()}, seed=3)
    np.testing.assert_array_equal(maps["before"], maps["probe"])
    points = maps["before"]
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
    assert (points**2).sum(axis=1).mean() == pytest.approx(1)
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(45)
    np.testing.assert_array_equal(which[distances.argmin(axis=1)], which)


def test_maps_are_turned_onto_the_first_one() -> None:
    X, _ = clusters()
    maps = tsne_map({"before": X, "after": X @ rotation(5) + gaussian(45, 5, 4)})
    # The best rotation is the one after which the cross product is symmetric and positive semidefinite.
    product = maps["after"].T @ maps["before"]
    assert product[0, 1] == pytest.approx(product[1, 0], abs=1e-6)
    assert np.linalg.eigvalsh(product).min() >= -1e-9


def test_maps_of_a_few_points_and_of_other_seeds() -> None:
    X, _ = clusters()
    assert tsne_map({"a": X[:5]})["a"].shape == (5, 2)
    first, again, other = (tsne_map({"a": X}, seed=seed)["a"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == other.shape == (45, 2)


def test_maps_need_the_same_samples_that_vary() -> None:
    X, _ = clusters()
    with pytest.raises(NoisylibError, match=r"\[44, 45\] samples"):
        tsne_map({"a": X, "b": X[1:]})
    with pytest.raises(NoisylibError, match="nothing to map"):
        tsne_map({"a": np.ones_like(X)})


def test_neighbours_are_others_and_nearest() -> None:
    line = np.array([[0.0], [1.0], [3.0], [10.0]])
    # Nearest others: 1, 0, 1, 2.
    assert nearest_agreement(line, np.array([0, 0, 0, 1])) == 0.75
    assert nearest_agreement(line, np.array([0, 1, 0, 1])) == 0
    with pytest.raises(NoisylibError, match="y has shape"):
        nearest_agreement(line, np.zeros(3, int))


def test_a_probe_reads_what_the_features_hold() -> None:
    y = np.arange(200) % 2
    X = gaussian(200, 4)
    X[:, 2] += 100 * y
    score = probe_accuracy(X[:100], y[:100], X[100:], y[100:])
    assert score.accuracy == score.balanced_accuracy == 1
    nothing = probe_accuracy(gaussian(400, 4, 5)[:200], y, gaussian(400, 4, 5)[200:], y)
    assert nothing.accuracy == pytest.approx(0.5, abs=0.12)


def test_balanced_accuracy_counts_classes_and_not_images() -> None:
    X_train, y_train = np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([0, 0, 1, 1])
    X_test, y_test = np.array([[0.0]] * 8 + [[0.0], [1.0]]), np.array([0] * 8 + [1, 1])
    score = probe_accuracy(X_train, y_train, X_test, y_test)
    assert score.accuracy == pytest.approx(0.9)
    assert score.balanced_accuracy == pytest.approx(0.75)


def test_the_penalty_suits_the_data_or_is_the_one_given() -> None:
    y = np.arange(120) % 2
    noise = gaussian(120, 40)
    clear = noise.copy()
    clear[:, 0] = 3 * y
    strong, weak = (probe_accuracy(X, y, X, y).C for X in (noise, clear))
    assert strong < weak
    assert probe_accuracy(clear, y, clear, y, Cs=(0.3,)).C == 0.3
    few = probe_accuracy(clear[:4], y[:4], clear, y)  # too few to hold any out
    assert few.C == 0.1


def test_features_without_variance_and_units_do_not_matter_to_a_probe() -> None:
    y = np.arange(80) % 2
    X = gaussian(80, 3)
    X[:, 0] += 2 * y
    other = np.hstack([X * [1e-4, 1, 1e4] + 5, np.ones((80, 1))])
    assert probe_accuracy(X[:40], y[:40], X[40:], y[40:]) == probe_accuracy(
        other[:40], y[:40], other[40:], y[40:]
    )


@pytest.mark.parametrize(
    ("y_train", "words"), [(np.zeros(8, int), "one class only"), (np.arange(7), "y_train has shape")]
)
def test_labels_that_no_probe_can_learn(y_train, words: str) -> None:
    with pytest.raises(NoisylibError, match=words):
        probe_accuracy(gaussian(8, 2), y_train, gaussian(8, 2), np.zeros(8, int))
