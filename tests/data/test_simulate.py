"""The Gaussian bed: geometry, exact counts, and posteriors and Bayes errors against closed forms."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from math import log, sqrt

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import multivariate_normal, norm

from noisylib import FeatureBank, GaussianBed, dataset_info
from noisylib.errors import BankError, NoisylibError
from noisylib.seeding import numpy_generator

HALF = np.array([0.5, 0.5])
SKEW = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


def bayes_error(bed: GaussianBed, n: int, seed: int = 0) -> float:
    X, y = bed.sample(n, seed)
    return float((bed.bayes_predict(X) != y).mean())


@pytest.mark.parametrize(("n_classes", "n_features"), [(2, 1), (2, 5), (3, 2), (8, 7), (5, 64)])
def test_simplex_means_are_equally_far_apart(n_classes: int, n_features: int) -> None:
    bed = GaussianBed.simplex(n_classes, n_features, 2.5)
    assert bed.means.shape == (n_classes, n_features)
    assert pdist(bed.means) == pytest.approx(2.5)
    assert bed.means.mean(0) == pytest.approx(0)
    assert bed.means[:, n_classes - 1 :] == pytest.approx(0)
    assert bed.priors == pytest.approx(1 / n_classes)
    assert (bed.covariance == np.eye(n_features)).all()
    assert bed.class_names == tuple(f"class {c}" for c in range(n_classes))


def test_two_classes_lie_at_minus_and_plus_half_the_separation() -> None:
    assert GaussianBed.simplex(2, 2, 3.0).means == pytest.approx(np.array([[-1.5, 0], [1.5, 0]]))


@pytest.mark.parametrize("n_classes", [2, 3, 8])
def test_circle_neighbours_are_separation_apart_and_class_0_is_on_the_first_axis(n_classes: int) -> None:
    bed = GaussianBed.circle(n_classes, 2.0)
    assert np.linalg.norm(bed.means - np.roll(bed.means, 1, axis=0), axis=1) == pytest.approx(2.0)
    radius = np.linalg.norm(bed.means, axis=1)
    assert radius == pytest.approx(radius[0])
    assert bed.means[0] == pytest.approx([radius[0], 0])
    others = pdist(bed.means)
    assert others.min() == pytest.approx(2.0)
    if n_classes == 8:
        assert others.max() == pytest.approx(2 * radius[0])


def test_doubling_the_separation_doubles_the_means_and_nothing_else() -> None:
    near, far = (GaussianBed.simplex(4, 6, s, [0.4, 0.3, 0.2, 0.1]) for s in (1.0, 2.0))
    assert far.means == pytest.approx(2 * near.means)
    (X_near, y_near), (X_far, y_far) = near.sample(50, 3), far.sample(50, 3)
    assert y_near.tolist() == y_far.tolist()
    assert X_far - X_near == pytest.approx(near.means[y_near], abs=1e-6)


def test_a_number_as_covariance_is_the_variance_of_every_feature() -> None:
    bed = GaussianBed.circle(3, 2.0)
    X, y = bed.sample(40, 0)
    assert (replace(bed, covariance=9.0).covariance == 9 * np.eye(2)).all()
    wide, _ = replace(bed, covariance=9.0).sample(40, 0)
    assert wide - bed.means[y] == pytest.approx(3 * (X - bed.means[y]), abs=1e-5)


@pytest.mark.parametrize(
    ("n", "priors", "counts"),
    [
        (10, [0.5, 0.3, 0.2], [5, 3, 2]),
        (10, [0.55, 0.25, 0.2], [6, 2, 2]),  # 5.5, 2.5, 2: the tie goes to the lower class
        (11, [0.55, 0.25, 0.2], [6, 3, 2]),  # 6.05, 2.75, 2.2
        (10, [0.96, 0.02, 0.02], [8, 1, 1]),
        (3, [0.98, 0.01, 0.01], [1, 1, 1]),
        (7, [0.7, 0.0, 0.3], [5, 0, 2]),
        (2, [0.7, 0.0, 0.3], [1, 0, 1]),
        (100, [1 / 3, 1 / 3, 1 / 3], [34, 33, 33]),
        (50, [0.29, 0.21, 0.5], [15, 10, 25]),  # 14.5 and 10.5 tie, although 50 * 0.29 < 14.5 in binary
    ],
)
def test_counts_are_exact(n: int, priors: list[float], counts: list[int]) -> None:
    _, y = GaussianBed.simplex(3, 2, 1.0, priors).sample(n, 0)
    assert np.bincount(y, minlength=3).tolist() == counts


def test_sample_is_float32_shuffled_and_depends_on_the_seed_only() -> None:
    bed = GaussianBed.simplex(3, 4, 2.0)
    X, y = bed.sample(60, 5)
    assert (X.dtype, y.dtype, X.shape, y.shape) == (np.float32, np.int64, (60, 4), (60,))
    assert (np.diff(y) < 0).any()
    again = GaussianBed.simplex(3, 4, 2.0).sample(60, 5)
    assert (again[0] == X).all()
    assert (again[1] == y).all()
    other = bed.sample(60, 6)
    assert (other[0] != X).all()
    assert (other[1] != y).any()


@pytest.mark.parametrize("covariance", [0.25, SKEW], ids=["round", "skew"])
def test_sample_has_the_moments_of_its_classes(covariance: float | np.ndarray) -> None:
    n = 60_000
    bed = replace(GaussianBed.simplex(3, 3, 2.0), covariance=covariance)
    X, y = bed.sample(n, 0)
    expected = covariance if np.ndim(covariance) else covariance * np.eye(3)
    largest = expected.max()
    for c in range(3):
        rows = X[y == c].astype(np.float64)
        assert rows.mean(0) == pytest.approx(bed.means[c], abs=5 * sqrt(largest / (n / 3)))
        np.testing.assert_allclose(np.cov(rows.T), expected, rtol=0, atol=5 * largest * sqrt(2 / (n / 3)))


def test_the_default_draws_round_classes_to_the_last_bit() -> None:
    """Notebooks and stored results rest on these numbers: the mean plus plain standard normals."""
    bed = GaussianBed.simplex(4, 6, 2.0, [0.4, 0.3, 0.2, 0.1])
    X, y = bed.sample(200, 3)
    generator = numpy_generator("gaussian-bed", 3)
    expected_y = generator.permutation(np.repeat(np.arange(4), [80, 60, 40, 20]))
    expected = bed.means[expected_y] + generator.standard_normal((200, 6))
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(X, expected.astype(np.float32))
    scores = X.astype(np.float64) @ bed.means.T + (np.log(bed.priors) - (bed.means**2).sum(1) / 2)
    p = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_array_equal(bed.posterior(X), p / p.sum(1, keepdims=True))


@pytest.mark.parametrize("priors", [[0.6, 0.1, 0.3], [0.5, 0.0, 0.5]])
def test_posterior_with_a_covariance_is_bayes_rule(priors: list[float]) -> None:
    random = np.random.default_rng(0)
    bed = GaussianBed(random.normal(size=(3, 3)), priors, SKEW)
    X = 2 * random.normal(size=(40, 3))
    density = np.stack([multivariate_normal(mean, SKEW).pdf(X) for mean in bed.means], axis=1)
    joint = bed.priors * density
    assert bed.posterior(X) == pytest.approx(joint / joint.sum(1, keepdims=True), abs=1e-12)
    assert (bed.bayes_predict(X) == joint.argmax(1)).all()


def test_squared_distances_are_in_units_of_the_covariance() -> None:
    # One feature of deviation 2, one of deviation 1/2: (4 / 2)^2 + (1 / 0.5)^2 = 8.
    bed = GaussianBed(np.array([[0.0, 0.0], [4.0, 1.0]]), HALF, np.diag([4.0, 0.25]))
    assert bed.squared_distances(np.zeros((1, 2))) == pytest.approx(np.array([[0, 8.0]]))
    skew = GaussianBed(np.zeros((2, 3)), HALF, SKEW)
    X = np.random.default_rng(0).normal(size=(5, 3))
    expected = cdist(X, skew.means, "mahalanobis", VI=np.linalg.inv(SKEW)) ** 2
    assert skew.squared_distances(X) == pytest.approx(expected)


def test_with_covariance_keeps_separation_and_posteriors() -> None:
    bed = GaussianBed.simplex(4, 3, 2.5, [0.4, 0.3, 0.2, 0.1])
    skew = bed.with_covariance(SKEW)
    assert skew.covariance == pytest.approx(SKEW)
    distances = np.sqrt(skew.squared_distances(skew.means))
    np.testing.assert_allclose(distances, 2.5 * (1 - np.eye(4)), rtol=0, atol=1e-7)
    (X, y), (X_skew, y_skew) = bed.sample(100, 0), skew.sample(100, 0)
    assert y_skew.tolist() == y.tolist()
    assert pdist(skew.means).max() != pytest.approx(2.5, abs=0.1)
    assert skew.posterior(X_skew) == pytest.approx(bed.posterior(X), abs=1e-5)  # X is float32
    again = skew.with_covariance(1.0)
    assert again.means == pytest.approx(bed.means)
    assert skew.class_names == bed.class_names


@pytest.mark.parametrize(("K", "imbalance"), [(2, 5.0), (3, 100), (8, 50.0)])
def test_long_tailed_priors_fall_by_one_factor(K: int, imbalance: float) -> None:
    bed = GaussianBed.long_tailed(K, 9, 2.0, imbalance)
    assert bed.priors[0] / bed.priors[-1] == pytest.approx(imbalance)
    steps = bed.priors[:-1] / bed.priors[1:]
    assert steps == pytest.approx(imbalance ** (1 / (K - 1)))
    assert bed.priors.sum() == pytest.approx(1)
    assert bed.means == pytest.approx(GaussianBed.simplex(K, 9, 2.0).means)


def test_a_tail_by_hand_and_no_tail() -> None:
    assert GaussianBed.long_tailed(3, 2, 1.0, 100).priors == pytest.approx(np.array([100, 10, 1]) / 111)
    assert GaussianBed.long_tailed(4, 3, 1.0, 1).priors == pytest.approx(0.25)


def test_isic2019_has_the_published_counts_and_names() -> None:
    bed = GaussianBed.isic2019(7, 1.5)
    published = {"MEL": 4522, "NV": 12875, "BCC": 3323, "AK": 867}
    published |= {"BKL": 2624, "DF": 239, "VASC": 253, "SCC": 628}
    _, y = bed.sample(25_331, 0)
    counts = dict(zip((name.upper() for name in bed.class_names), np.bincount(y).tolist(), strict=True))
    assert counts == published
    assert pdist(bed.means) == pytest.approx(1.5)
    assert bed.bank(200, 100, 0).class_names == dataset_info("isic2019").classes


@pytest.mark.parametrize("priors", [None, [0.6, 0.1, 0.3], [0.5, 0.0, 0.5]])
def test_posterior_is_bayes_rule(priors: list[float] | None) -> None:
    random = np.random.default_rng(0)
    means = random.normal(size=(3, 4)) * [[0.5], [1], [2]]  # at unequal distances from 0
    bed = GaussianBed(means, np.full(3, 1 / 3) if priors is None else priors, covariance=1.3**2)
    X = random.normal(size=(40, 4)) * 2
    p = bed.posterior(X)
    assert p.shape == (40, 3)
    assert p.sum(1) == pytest.approx(1, abs=1e-12)
    joint = bed.priors * norm.pdf(X[:, None], loc=bed.means, scale=1.3).prod(-1)  # (40, 3)
    assert p == pytest.approx(joint / joint.sum(1, keepdims=True), abs=1e-12)
    assert (bed.bayes_predict(X) == joint.argmax(1)).all()


def test_posterior_is_finite_far_from_every_mean() -> None:
    bed = GaussianBed.simplex(3, 2, 4.0)
    p = bed.posterior(np.array([[1e6, 0.0], [-1e6, 0.0], [0.0, -1e6]]))
    assert p == pytest.approx(np.array([[0, 1, 0], [1, 0, 0], [0.5, 0.5, 0]]))


def test_log_odds_of_two_classes_are_linear() -> None:
    bed = GaussianBed.simplex(2, 1, 3.0, [0.8, 0.2])
    x = np.linspace(-3, 3, 13)
    p = bed.posterior(x[:, None])
    assert np.log(p[:, 1] / p[:, 0]) == pytest.approx(3.0 * x + log(0.2 / 0.8))


def test_equal_priors_predict_the_nearest_mean_and_ties_the_lowest_class() -> None:
    bed = GaussianBed.circle(5, 1.0)
    X = np.random.default_rng(1).normal(size=(200, 2))
    assert (bed.bayes_predict(X) == cdist(X, bed.means).argmin(1)).all()
    assert GaussianBed.simplex(2, 2, 1.0).bayes_predict(np.zeros((1, 2))).tolist() == [0]


@pytest.mark.parametrize("separation", [0.5, 1.0, 2.0, 4.0])
def test_bayes_error_of_two_equal_classes_is_phi_of_minus_half_the_separation(separation: float) -> None:
    n, expected = 200_000, norm.cdf(-separation / 2)
    found = bayes_error(GaussianBed.simplex(2, 3, separation), n)
    assert found == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / n))


@pytest.mark.parametrize(("prior", "separation"), [(0.8, 1.0), (0.3, 2.0), (0.95, 3.0)])
def test_bayes_error_of_two_unequal_classes(prior: float, separation: float) -> None:
    n, half = 200_000, separation / 2
    threshold = log(prior / (1 - prior)) / separation  # class 1 where x is above it
    expected = prior * norm.sf(threshold + half) + (1 - prior) * norm.cdf(threshold - half)
    found = bayes_error(GaussianBed.simplex(2, 1, separation, [prior, 1 - prior]), n)
    assert found == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / n))


def test_posterior_is_calibrated() -> None:
    """Samples of which the posterior says p belong to the class with frequency p."""
    bed = GaussianBed.circle(4, 1.0, [0.4, 0.3, 0.2, 0.1])
    X, y = bed.sample(100_000, 2)
    p = bed.posterior(X)
    expected = (1 - p.max(1)).mean()
    assert (bed.bayes_predict(X) != y).mean() == pytest.approx(expected, abs=4 * sqrt(0.25 / 100_000))


def test_bank_is_valid_repeatable_and_says_what_it_is(tmp_path) -> None:
    bed = GaussianBed.simplex(3, 4, 2.0, [0.5, 0.3, 0.2])
    bank = bed.bank(100, 40, seed=7)
    X, y = bed.sample(100, 7)
    X_train, y_train = bank.part("train")
    assert y_train.tolist() == y.tolist()
    assert (X_train == X.astype(np.float16).astype(np.float32)).all()
    _, y_test = bank.part("test")
    assert np.bincount(y_test).tolist() == [20, 12, 8]
    assert len(bank.indices("val")) == 0
    assert bank.class_names == ("class 0", "class 1", "class 2")
    assert (bank.meta.dataset, bank.meta.backbone, bank.meta.licence) == ("gaussian", "raw", "CC0-1.0")
    assert "of standard deviation 1 in 4 features, priors [0.5, 0.3, 0.2]." in bank.meta.notes
    assert bed.bank(100, 40, seed=7).checksum == bank.checksum
    assert bed.bank(100, 40, seed=8).checksum != bank.checksum
    bank.save(tmp_path / "bank.safetensors")
    assert FeatureBank.load(tmp_path / "bank.safetensors").checksum == bank.checksum


def test_parts_of_a_bank_are_drawn_independently_and_the_name_is_used() -> None:
    bed = GaussianBed.circle(2, 2.0)
    small, large = bed.bank(30, 30, seed=0), bed.bank(30, 50, seed=0, name="made")
    assert (small.part("train")[0] != small.part("test")[0]).any(1).all()
    assert (small.part("train")[0] == large.part("train")[0]).all()
    assert large.meta.dataset == "made"


def test_notes_of_a_bank_say_how_wide_the_classes_are() -> None:
    bed = GaussianBed.circle(2, 2.0)
    assert "of standard deviation 3 in 2 features" in replace(bed, covariance=9.0).bank(8, 8, 0).meta.notes
    notes = replace(bed, covariance=np.diag([4.0, 0.25])).bank(8, 8, 0).meta.notes
    assert "one covariance (standard deviations 0.5 to 2 along its axes) in 2 features" in notes


def test_a_class_without_probability_makes_no_bank() -> None:
    with pytest.raises(BankError, match="'class 1' has no sample in the train split"):
        GaussianBed.simplex(3, 2, 1.0, [0.5, 0.0, 0.5]).bank(20, 20, seed=0)


def test_a_bed_cannot_be_changed_from_outside() -> None:
    means = np.array([[0.0], [1.0]])
    bed = GaussianBed(means, np.array([0.5, 0.5]))
    means[0] = 9
    assert bed.means.tolist() == [[0.0], [1.0]]
    with pytest.raises(ValueError, match="read-only"):
        bed.means[0] = 9
    with pytest.raises(FrozenInstanceError):
        bed.covariance = 2.0
    with pytest.raises(ValueError, match="read-only"):
        bed.covariance[0, 0] = 2.0


def test_a_bed_survives_a_trip_to_another_process() -> None:
    bed = pickle.loads(pickle.dumps(GaussianBed.isic2019(7, 2.0)))
    assert (bed.sample(30, 0)[0] == GaussianBed.isic2019(7, 2.0).sample(30, 0)[0]).all()


LINE = np.array([[0.0], [1.0]])
PLANE = np.array([[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBed.simplex(1, 4, 1.0), "n_classes=1: a whole number >= 2"),
        (lambda: GaussianBed.simplex(2.5, 4, 1.0), "n_classes=2.5"),
        (lambda: GaussianBed.simplex(5, 3, 1.0), r"n_features \(for 5 classes.*\)=3: a whole number >= 4"),
        (lambda: GaussianBed.simplex(3, 3, 0.0), "separation=0.0"),
        (lambda: GaussianBed.simplex(3, 3, -1.0), "separation=-1.0"),
        (lambda: GaussianBed.circle(3, float("nan")), "separation=nan"),
        (lambda: GaussianBed.circle(1, 1.0), "n_classes=1"),
        (lambda: GaussianBed.circle(3, 1.0, [0.5, 0.5]), "priors=.*3 fractions"),
        (lambda: GaussianBed.circle(2, 1.0, [0.5, 0.4]), "sum 1"),
        (lambda: GaussianBed.circle(2, 1.0, [1.5, -0.5]), "priors="),
        (lambda: GaussianBed.circle(2, 1.0, [float("nan"), 1.0]), "priors="),
        (lambda: GaussianBed(np.zeros(3), HALF), r"means has shape \(3,\)"),
        (lambda: GaussianBed(np.zeros((1, 3)), np.ones(1)), "K >= 2"),
        (lambda: GaussianBed(np.array([[0.0], [np.inf]]), HALF), "finite"),
        (lambda: GaussianBed(LINE, HALF, 0.0), "covariance=0.0"),
        (lambda: GaussianBed(LINE, HALF, float("inf")), "covariance=inf"),
        (lambda: GaussianBed(PLANE, HALF, np.eye(3)), r"covariance has shape \(3, 3\): .* \(2, 2\)"),
        (lambda: GaussianBed(PLANE, HALF, np.ones(2)), r"covariance has shape \(2,\)"),
        (lambda: GaussianBed(PLANE, HALF, [[1, 0], [0, np.nan]]), "covariance has .* finite"),
        (lambda: GaussianBed(PLANE, HALF, [[1, 0.5], [0.4, 1]]), "covariance is not symmetric"),
        (lambda: GaussianBed(PLANE, HALF, [[1, 2], [2, 1]]), "eigenvalue -1 "),
        (lambda: GaussianBed(PLANE, HALF, np.ones((2, 2))), "covariance has the eigenvalue .* positive"),
        (lambda: GaussianBed(PLANE, HALF, np.zeros((2, 2))), "eigenvalue 0"),
        (lambda: GaussianBed.simplex(2, 2, 1.0).with_covariance(-1.0), "covariance=-1.0"),
        (lambda: GaussianBed(LINE, HALF, class_names=("a",)), "class_names=.*2 distinct"),
        (lambda: GaussianBed(LINE, HALF, class_names=("a", "a")), "class_names=.*2 distinct"),
        (lambda: GaussianBed.long_tailed(3, 3, 1.0, 0.5), "imbalance=0.5"),
        (lambda: GaussianBed.long_tailed(3, 3, 1.0, float("inf")), "imbalance=inf"),
        (lambda: GaussianBed.long_tailed(1, 3, 1.0, 5), "n_classes=1"),
        (lambda: GaussianBed.isic2019(6, 1.0), "n_features .*=6: a whole number >= 7"),
        (lambda: GaussianBed.circle(3, 1.0).sample(2, 0), "n .*=2: a whole number >= 3"),
        (lambda: GaussianBed.circle(3, 1.0).sample(10.0, 0), "n .*=10.0"),
        (lambda: GaussianBed.circle(3, 1.0).bank(9, 2, 0), "n .*=2"),
        (lambda: GaussianBed.circle(3, 1.0).posterior(np.zeros((4, 3))), r"X has shape \(4, 3\): \(n, 2\)"),
        (lambda: GaussianBed.circle(3, 1.0).bayes_predict(np.zeros(2)), r"X has shape \(2,\)"),
    ],
)
def test_bad_arguments_are_named(make, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        make()
