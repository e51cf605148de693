"""Finding right labels: counts by hand, chance, and AUROC against its closed form and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from noisylib.analysis.detection import auroc, measure_detection, take_best
from noisylib.errors import NoisylibError

INF = float("inf")
NOBODY = np.zeros(0, bool)


def softmax_case(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities (N, K) of a fallible classifier, labels with 40 % flips and where they flipped."""
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n)
    logits = 3 * np.eye(n_classes)[y] + 2 * random.normal(size=(n, n_classes))
    chances = np.exp(logits)
    chances /= chances.sum(1, keepdims=True)
    flipped = random.random(n) < 0.4
    y_noisy = np.where(flipped, (y + random.integers(1, n_classes, n)) % n_classes, y)
    return chances, y_noisy, flipped


def test_a_kept_set_by_hand() -> None:
    #            kept clean, kept wrong, left clean, left wrong, kept clean, left clean
    y_noisy = np.array([0, 0, 0, 1, 1, 3])
    selected = np.array([1, 1, 0, 0, 1, 0], bool)
    flipped = np.array([0, 1, 0, 1, 0, 0], bool)
    found = measure_detection(selected, flipped, y_noisy, n_classes=4)
    assert found.m == 3
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 4)
    np.testing.assert_allclose(found.class_precision, [1 / 2, 1, np.nan, np.nan])
    np.testing.assert_allclose(found.class_recall, [1 / 2, 1, np.nan, 0])
    np.testing.assert_allclose(found.class_share, [2 / 3, 1 / 3, 0, 0])


def test_a_perfect_ranking_is_pure_at_the_number_of_clean_samples() -> None:
    _, y_noisy, flipped = softmax_case(500, 5, seed=1)
    clean = int((~flipped).sum())
    selected = take_best(np.where(flipped, -1.0, 1.0), clean)
    found = measure_detection(selected, flipped, y_noisy, 5)
    assert (found.m, found.precision, found.recall) == (clean, 1, 1)
    np.testing.assert_array_equal(found.class_precision, np.ones(5))
    one_more = measure_detection(take_best(np.where(flipped, -1.0, 1.0), clean + 1), flipped, y_noisy, 5)
    assert one_more.precision == pytest.approx(clean / (clean + 1))


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_random_scores_keep_as_many_right_labels_as_there_are(rate: float) -> None:
    n, m = 40_000, 10_000
    random = np.random.default_rng(3)
    flipped = random.permutation(np.arange(n) < rate * n)
    found = measure_detection(take_best(random.random(n), m), flipped, random.integers(0, 4, n), 4)
    assert abs(found.precision - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / m)
    assert abs(found.recall - m / n) < 4 * np.sqrt(rate * (1 - rate) / m)


def test_precision_and_recall_count_the_same_samples() -> None:
    chances, y_noisy, flipped = softmax_case(3000, 6, seed=4)
    agrees = chances.argmax(1) == y_noisy
    for selected in (agrees, take_best(chances[:, 0], 1234), np.ones(3000, bool)):
        found = measure_detection(selected, flipped, y_noisy, 6)
        assert round(found.precision * found.m, 9) == round(found.recall * (~flipped).sum(), 9)
        assert found.class_share.sum() == pytest.approx(1)
        assert np.nansum(found.class_share * found.class_precision) == pytest.approx(found.precision)


def test_of_two_classes_agreement_and_small_loss_of_one_model_are_one_set() -> None:
    chances, y_noisy, _ = softmax_case(5000, 2, seed=5)
    agrees = chances.argmax(1) == y_noisy
    losses = -np.log(chances[np.arange(5000), y_noisy])
    np.testing.assert_array_equal(take_best(-losses, agrees.sum()), agrees)
    assert 0.5 < agrees.mean() < 0.65


def test_of_eight_classes_agreement_and_small_loss_of_one_model_nearly_agree() -> None:
    n = 20_000
    chances, y_noisy, flipped = softmax_case(n, 8, seed=6)
    agrees = chances.argmax(1) == y_noisy
    own = chances[np.arange(n), y_noisy]
    small = take_best(np.log(own), agrees.sum())
    sure = own > 0.5
    assert sure.any()
    assert agrees[sure].all()
    assert small[sure].all()
    assert 0.02 < (agrees & ~small).sum() / agrees.sum() < 0.08
    one, other = (measure_detection(s, flipped, y_noisy, 8).precision for s in (agrees, small))
    assert abs(one - other) < 0.01


def test_take_best_by_hand_with_ties_infinities_and_many_runs() -> None:
    scores = np.array([[3, 1, 3, -INF], [INF, 2, INF, 2.5]])
    np.testing.assert_array_equal(take_best(scores, 1), np.array([[1, 0, 0, 0], [1, 0, 0, 0]], bool))
    np.testing.assert_array_equal(take_best(scores, [2, 3]), np.array([[1, 0, 1, 0], [1, 0, 1, 1]], bool))
    assert not take_best(scores, 0).any()
    assert take_best(scores, 4).all()
    constant = take_best(np.zeros(5), np.int64(2))
    np.testing.assert_array_equal(constant, np.array([1, 1, 0, 0, 0], bool))
    np.testing.assert_array_equal(take_best(np.array([False, True, True]), 1), [False, True, False])


@pytest.mark.parametrize(
    ("scores", "m", "text"),
    [
        ([1.0, 2.0], 3, r"m=3.*N=2"),
        ([1.0, 2.0], -1, r"m=-1"),
        ([1.0, 2.0], 0.5, r"m=0\.5.*whole"),
        ([1.0, np.nan], 1, r"1 NaN"),
        (3.0, 1, r"shape \(\)"),
        ([[1.0, 2.0], [1.0, 2.0]], [1, 1, 1], r"runs \(2,\)"),
    ],
)
def test_take_best_refuses_what_it_cannot_cut(scores: object, m: object, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        take_best(np.array(scores), m)


def test_degenerate_sets_have_defined_values() -> None:
    y_noisy, none, every = np.array([0, 1, 1]), np.zeros(3, bool), np.ones(3, bool)
    empty = measure_detection(none, np.array([True, False, False]), y_noisy, 3)
    assert (empty.m, empty.recall) == (0, 0)
    assert np.isnan(empty.precision)
    assert np.isnan(empty.class_precision).all()
    assert np.isnan(empty.class_share).all()
    np.testing.assert_array_equal(empty.class_recall, [np.nan, 0, np.nan])
    nothing_wrong = measure_detection(every, none, y_noisy, 2)
    assert (nothing_wrong.precision, nothing_wrong.recall) == (1, 1)
    nothing_right = measure_detection(every, every, y_noisy, 2)
    assert nothing_right.precision == 0
    assert np.isnan(nothing_right.recall)
    assert np.isnan(nothing_right.class_recall).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"selected": np.array([0, 1, 2])}, r"selected has dtype int"),
        ({"flipped": np.zeros(3)}, r"flipped has dtype float"),
        ({"flipped": np.zeros(2, bool)}, r"flipped \(2,\)"),
        ({"y_noisy": np.array([0, 1, 2])}, r"y_noisy has labels from 0 to 2: n_classes=2"),
        ({"y_noisy": np.array([0, -1, 1])}, r"y_noisy has labels from -1"),
        ({"y_noisy": np.array([0.0, 1, 1])}, r"y_noisy has dtype float"),
        ({"selected": NOBODY, "flipped": NOBODY, "y_noisy": np.zeros(0, int)}, "at least one"),
    ],
)
def test_measure_detection_refuses_bad_input(change: dict, text: str) -> None:
    good = {"selected": np.ones(3, bool), "flipped": np.zeros(3, bool), "y_noisy": np.array([0, 1, 1])}
    measure_detection(**good, n_classes=2)
    with pytest.raises(NoisylibError, match=text):
        measure_detection(**(good | change), n_classes=2)


def test_auroc_by_hand_and_against_sklearn_with_ties() -> None:
    # Clean 3, 1, 1; flipped 2, 1: of six pairs 3>2, 3>1, twice 1=1 (half each), twice 1<2.
    assert auroc(np.array([3, 1, 1, 2, 1]), np.array([0, 0, 0, 1, 1], bool)) == pytest.approx(3 / 6)
    random = np.random.default_rng(7)
    for levels in (3, 40, 10**9):
        scores = random.integers(0, levels, (2, 3, 400))
        flipped = random.random((3, 400)) < 0.3
        expected = [[roc_auc_score(~f, s) for s, f in zip(run, flipped, strict=True)] for run in scores]
        np.testing.assert_allclose(auroc(scores, flipped), expected, rtol=1e-12)


def test_auroc_of_shifted_normals() -> None:
    n, distance = 100_000, 1.2
    random = np.random.default_rng(8)
    flipped = np.arange(n) < n // 2
    scores = random.normal(size=n) + np.where(flipped, 0, distance)
    expected = norm.cdf(distance / np.sqrt(2))
    # The variance of a U statistic is at most area * (1 - area) / the size of the smaller group.
    assert abs(auroc(scores, flipped) - expected) < 4 * np.sqrt(expected * (1 - expected) / (n // 2))
    assert auroc(scores, flipped) + auroc(-scores, flipped) == pytest.approx(1)


def test_auroc_of_extreme_scores() -> None:
    flipped = np.array([1, 1, 0, 0], bool)
    assert auroc(np.zeros(4), flipped) == 0.5
    assert auroc(np.full(4, INF), flipped) == 0.5
    assert auroc(np.array([-INF, 0, INF, INF]), flipped) == 1
    assert auroc(np.array([INF, 0, INF, -INF]), flipped) == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert isinstance(auroc(np.zeros(4), flipped), float)


@pytest.mark.parametrize(
    ("scores", "flipped", "text"),
    [
        ([1.0, 2.0], [False, False], r"marks \[0\] of 2"),
        ([1.0, 2.0], [True, True], r"marks \[2\] of 2"),
        ([[1.0, 2.0], [1.0, 2.0]], [[True, False], [True, True]], r"marks \[1, 2\] of 2"),
        ([1.0, np.nan], [True, False], r"1 NaN"),
        ([1.0, 2.0], [True, False, False], r"flipped \(3,\)"),
        ([[1.0, 2.0]], [[True, False], [True, False]], r"flipped has shape \(2, 2\)"),
        ([1.0, 2.0], [1, 0], r"dtype int"),
        ([], NOBODY, r"one of each per sample"),
    ],
)
def test_auroc_refuses_what_has_no_area(scores: object, flipped: object, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        auroc(np.array(scores), np.array(flipped))
