"""The Gaussian bed: geometry, exact counts, and posteriors and Bayes errors against closed forms."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from math import log, sqrt

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import norm

from noisylib import FeatureBank, GaussianBed
from noisylib.errors import BankError, NoisylibError


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
    assert bed.deviation == 1


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


def test_deviation_scales_the_offsets_from_the_mean() -> None:
    bed = GaussianBed.circle(3, 2.0)
    X, y = bed.sample(40, 0)
    wide, _ = replace(bed, deviation=3.0).sample(40, 0)
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


def test_sample_has_the_moments_of_its_classes() -> None:
    n = 60_000
    bed = replace(GaussianBed.simplex(3, 3, 2.0), deviation=0.5)
    X, y = bed.sample(n, 0)
    for c in range(3):
        rows = X[y == c].astype(np.float64)
        assert rows.mean(0) == pytest.approx(bed.means[c], abs=5 * 0.5 / sqrt(n / 3))
        assert np.cov(rows.T) == pytest.approx(0.25 * np.eye(3), abs=5 * 0.25 * sqrt(2 / (n / 3)))


@pytest.mark.parametrize("priors", [None, [0.6, 0.1, 0.3], [0.5, 0.0, 0.5]])
def test_posterior_is_bayes_rule(priors: list[float] | None) -> None:
    random = np.random.default_rng(0)
    means = random.normal(size=(3, 4)) * [[0.5], [1], [2]]  # at unequal distances from 0
    bed = GaussianBed(means, np.full(3, 1 / 3) if priors is None else priors, deviation=1.3)
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
    assert "priors [0.5, 0.3, 0.2]" in bank.meta.notes
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
        bed.deviation = 2.0


HALF = np.array([0.5, 0.5])
LINE = np.array([[0.0], [1.0]])


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
        (lambda: GaussianBed(LINE, HALF, 0.0), "deviation=0.0"),
        (lambda: GaussianBed(LINE, HALF, float("inf")), "deviation=inf"),
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
