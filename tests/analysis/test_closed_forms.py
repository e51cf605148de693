"""Closed forms against hand values, direct integrals, other routes to the same number, and large samples."""

from __future__ import annotations

from math import exp, log, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from noisylib import GaussianBed
from noisylib.analysis import closed_forms as forms
from noisylib.errors import NoisylibError

ANY_T = np.array([[0.7, 0.3], [0.1, 0.9]])
COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


def integral_of_minimum(f, g, low: float, high: float, points=()) -> float:
    value, _ = quad(lambda x: min(f(x), g(x)), low, high, points=points or None, limit=500, epsabs=1e-11)
    return value


def within(expected: float, n: int) -> object:
    """A share of n samples that is within 4 standard errors of what it should be."""
    return pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / n))


@pytest.mark.parametrize(("d", "overlap"), [(0, 1.0), (1, 0.6171), (2, 0.3173), (2 * 1.959964, 0.05)])
def test_equal_variances(d: float, overlap: float) -> None:
    assert forms.normal_overlap(d) == pytest.approx(overlap, abs=5e-5)


def test_normals_infinitely_far_apart_do_not_overlap() -> None:
    assert forms.normal_overlap(float("inf")) == 0


@pytest.mark.parametrize(("overlap", "auc"), [(0.53, 0.813), (0.57, 0.789), (0.61, 0.765), (1, 0.5), (0, 1)])
def test_auc_that_belongs_to_an_overlap(overlap: float, auc: float) -> None:
    assert forms.overlap_auc(overlap) == pytest.approx(auc, abs=5e-4)


def test_auc_is_the_probability_that_one_normal_exceeds_the_other() -> None:
    # P(N(d, 1) > N(0, 1)) = Phi(d / sqrt(2)).
    assert forms.overlap_auc(forms.normal_overlap(1.3)) == pytest.approx(norm.cdf(1.3 / sqrt(2)))


@pytest.mark.parametrize(
    ("f", "g"),
    [
        ((1, 1), (2, 2)),
        ((2, 2), (1, 1)),
        ((-3, 0.5), (4, 3)),
        ((0, 1), (0, 3)),
        ((5, 2), (5.1, 2.001)),
        ((1, 2), (-2, 2)),
    ],
)
def test_overlap_of_normals_is_the_integral_of_the_smaller_density(f, g) -> None:
    low, high = min(f[0], g[0]) - 10 * max(f[1], g[1]), max(f[0], g[0]) + 10 * max(f[1], g[1])
    expected = integral_of_minimum(norm(*f).pdf, norm(*g).pdf, low, high, points=[f[0], g[0]])
    assert forms.overlap_of_normals(*f, *g) == pytest.approx(expected, abs=1e-8)


def test_overlap_of_normals_by_hand() -> None:
    assert forms.overlap_of_normals(1, 1, 2, 2) == pytest.approx(0.6099, abs=5e-5)
    assert forms.overlap_of_normals(3, 2, 7, 2) == pytest.approx(forms.normal_overlap(2), abs=1e-15)
    assert forms.overlap_of_normals(3, 2, 3, 2) == 1
    # Nearly equal variances: no digits are lost beside the limit.
    next_to_1 = float(np.nextafter(1, 2))
    for d in (0.7, -1.1):
        limit = forms.normal_overlap(abs(d))
        assert forms.overlap_of_normals(0, 1, d, next_to_1) == pytest.approx(limit, abs=1e-12)
    assert forms.overlap_of_normals(0, 1, 0, 1 + 1e-13) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rates", [(1, 3), (3, 1)])
def test_exponentials(rates) -> None:
    # The densities e^-x and 3 e^-3x meet at x = ln(3) / 2: 1 - (3^-1/2 - 3^-3/2).
    expected = 1 - (1 / sqrt(3) - 1 / sqrt(27))
    assert expected == pytest.approx(0.6151, abs=5e-5)
    assert forms.exponential_overlap(*rates) == pytest.approx(expected, abs=1e-15)


def test_equal_and_nearly_equal_exponentials() -> None:
    assert forms.exponential_overlap(2, 2) == 1
    # To first order in the difference e of the rates, 1 - overlap is e / exp(1).
    assert forms.exponential_overlap(1, 1 + 1e-6) == pytest.approx(1 - 1e-6 * exp(-1), abs=1e-11)


def test_two_coins() -> None:
    """One draw each: the histograms agree fully with probability 1/2 and not at all otherwise."""
    assert forms.identical_overlap([0.5, 0.5], 1, 1) == pytest.approx(0.5, abs=1e-15)
    # 1 against 2 draws: HH or TT (1/2) give 1 or 0 with equal chances, HT (1/2) gives 1/2.
    assert forms.identical_overlap([0.5, 0.5], 1, 2) == pytest.approx(0.5, abs=1e-15)
    assert forms.identical_overlap([0.5, 0.5], 2, 2) == pytest.approx(0.625, abs=1e-15)
    assert forms.identical_overlap([0.0, 1.0], 3, 5) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("cells", "n_clean", "n_flipped", "expected"),
    [
        # 1 - 50 * sqrt(1 / 2 pi) * sqrt(0.02 * 0.98 * (1/6000 + 1/4000)), in the limit of large counts.
        (np.full(50, 0.02), 6000, 4000, 0.9430),
        (np.full(100, 0.01), 60_000, 40_000, 0.9744),
    ],
)
def test_bias_of_equal_cells(cells, n_clean: int, n_flipped: int, expected: float) -> None:
    formula = 1 - np.sqrt(cells * (1 - cells) * (1 / n_clean + 1 / n_flipped) / (2 * pi)).sum()
    assert formula == pytest.approx(expected, abs=5e-5)
    assert forms.identical_overlap(cells, n_clean, n_flipped) == pytest.approx(formula, abs=1e-4)


@pytest.mark.parametrize(("n_clean", "n_flipped", "bins"), [(6000, 4000, 50), (600, 400, 100)])
def test_bias_of_unequal_cells_is_the_mean_of_many_draws(n_clean: int, n_flipped: int, bins: int) -> None:
    """Exponential values in cells of equal width, many of them nearly empty."""
    p = np.diff(1 - np.exp(-np.linspace(0, log(n_clean + n_flipped), bins + 1)))
    p /= p.sum()
    random = np.random.default_rng(0)
    draws = np.minimum(
        random.multinomial(n_clean, p, 1000) / n_clean, random.multinomial(n_flipped, p, 1000) / n_flipped
    ).sum(1)
    error = draws.std() / sqrt(len(draws))
    assert error < 1e-3
    assert forms.identical_overlap(p, n_clean, n_flipped) == pytest.approx(draws.mean(), abs=4 * error)


@pytest.mark.parametrize(("prior", "D"), [(0.5, 1.0), (0.8, 2.0), (0.3, 0.7), (0.99, 0.2), (0.6, 6.0)])
def test_confusion_of_two_classes_is_phi(prior: float, D: float) -> None:
    # Class 1 is answered where D x > log(prior / (1 - prior)), means at -D/2 and D/2.
    threshold = log(prior / (1 - prior)) / D
    to_1, to_0 = norm.sf(threshold + D / 2), norm.cdf(threshold - D / 2)
    bed = GaussianBed.simplex(2, 1, D, [prior, 1 - prior])
    C = forms.bed_confusion(bed)
    np.testing.assert_allclose(C, [[1 - to_1, to_1], [to_0, 1 - to_0]], rtol=0, atol=1e-13)
    assert C[0, 1] == pytest.approx(to_1, rel=1e-9)
    assert forms.bed_error(bed) == pytest.approx(prior * to_1 + (1 - prior) * to_0, rel=1e-9)
    assert forms.bed_balanced_error(bed) == pytest.approx((to_1 + to_0) / 2, rel=1e-9)


@pytest.mark.parametrize("D", [0.5, 2.0, 4.0])
def test_recall_of_three_equal_classes_is_a_bivariate_normal_probability(D: float) -> None:
    """Class 0 wins if its two differences, normal with mean D^2/2 and correlation 1/2, are positive."""
    recall = multivariate_normal([-D / 2, -D / 2], [[1, 0.5], [0.5, 1]]).cdf([0, 0])
    C = forms.bed_confusion(GaussianBed.simplex(3, 5, D))
    wrong = (1 - recall) / 2
    np.testing.assert_allclose(C, wrong + (recall - wrong) * np.eye(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "bed",
    [
        GaussianBed.simplex(3, 3, 1.5, [0.6, 0.3, 0.1]).with_covariance(COVARIANCE),
        GaussianBed.simplex(4, 3, 2.0, [0.5, 0.0, 0.3, 0.2]),
        GaussianBed.long_tailed(5, 6, 1.0, 20),
        GaussianBed.isic2019(8, 2.5),
        GaussianBed.circle(3, 2.0, [0.2, 0.3, 0.5]),
    ],
    ids=["correlated", "without one class", "long tail", "isic2019", "triangle"],
)
def test_confusion_with_any_priors_is_that_of_a_large_sample(bed: GaussianBed) -> None:
    n, K = 40_000, len(bed.priors)
    C = forms.bed_confusion(bed)
    assert C.sum(1) == pytest.approx(1, abs=1e-12)
    random = np.random.default_rng(0)
    for y in range(K):
        X = bed.means[y] + random.standard_normal((n, len(bed.factor))) @ bed.factor.T
        counts = np.bincount(bed.bayes_predict(X), minlength=K) / n
        for j in range(K):
            assert counts[j] == within(C[y, j], n)
    kept = bed.priors > 0
    assert forms.bed_error(bed) == pytest.approx(1 - bed.priors @ C.diagonal())
    assert forms.bed_balanced_error(bed) == pytest.approx(1 - C.diagonal()[kept].mean())


def test_a_class_without_prior_is_never_the_answer() -> None:
    C = forms.bed_confusion(GaussianBed.simplex(3, 2, 1.0, [0.5, 0.0, 0.5]))
    assert (C[:, 1] == 0).all()
    two = forms.bed_confusion(GaussianBed.simplex(2, 1, 1.0))
    assert C[np.ix_([0, 2], [0, 2])] == pytest.approx(two)
    assert C[1] == pytest.approx([0.5, 0, 0.5])  # as far from both


def test_equal_means_get_the_most_frequent_class() -> None:
    bed = GaussianBed(np.ones((3, 2)), np.array([0.2, 0.4, 0.4]))
    assert forms.bed_confusion(bed).tolist() == [[0, 1, 0]] * 3
    assert forms.bed_error(bed) == pytest.approx(0.6)
    assert forms.bed_balanced_error(bed) == pytest.approx(2 / 3)


def test_the_rarest_class_of_a_long_tail_dies_first() -> None:
    """High accuracy, no recall: what Bayes' rule itself does to rare classes that overlap frequent ones."""
    bed = GaussianBed.long_tailed(8, 8, 1.5, 100)
    recall = forms.bed_confusion(bed).diagonal()
    assert (np.diff(recall) < 0).all()
    assert recall[0] > 0.8 > 0.01 > recall[-1]


@pytest.mark.parametrize("r", [0.2, 0.4])
def test_agreement_under_symmetric_noise(r: float) -> None:
    """Accuracy a and noise rate r in every class: (1-r) a / ((1-r) a + r (1-a) / (K-1))."""
    K = 4
    bed = GaussianBed.simplex(K, 6, 2.0)
    a = forms.bed_confusion(bed)[0, 0]
    T = np.full((K, K), r / (K - 1)) + (1 - r - r / (K - 1)) * np.eye(K)
    rate, precision = forms.bed_agreement(bed, T)
    kept, wrong = (1 - r) * a, r * (1 - a) / (K - 1)
    assert rate == pytest.approx(kept + wrong, abs=1e-12)
    assert precision == pytest.approx(kept / (kept + wrong), abs=1e-12)


def test_agreement_on_a_long_tail_is_that_of_a_large_sample() -> None:
    n, K, r = 100_000, 4, 0.4
    bed = GaussianBed.long_tailed(K, 5, 1.5, 10)
    T = (1 - r) * np.eye(K) + r * np.roll(np.eye(K), 1, axis=1)  # each class into the next
    rate, precision = forms.bed_agreement(bed, T)
    X, y = bed.sample(n, 0)
    flipped = np.random.default_rng(1).random(n) < r
    observed = np.where(flipped, (y + 1) % K, y)
    agrees = bed.bayes_predict(X) == observed
    assert agrees.mean() == within(rate, n)
    assert 1 - flipped[agrees].mean() == within(precision, int(agrees.sum()))


@pytest.mark.parametrize("D", [0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("T", [ANY_T, np.array([[0.6, 0.4], [0.4, 0.6]]), np.array([[0.5, 0.5], [0.0, 1.0]])])
def test_equal_priors_overlap_by_twice_the_bayes_error_whatever_the_noise(D: float, T: np.ndarray) -> None:
    bed = GaussianBed.simplex(2, 3, D).with_covariance(COVARIANCE)
    assert forms.bed_loss_overlap(bed, T) == pytest.approx(2 * norm.cdf(-D / 2), abs=1e-13)
    assert forms.bed_loss_overlap(bed, T) == pytest.approx(2 * forms.bed_error(bed), abs=1e-12)


@pytest.mark.parametrize(
    ("prior", "D", "T"),
    [
        (0.7, 1.0, ANY_T),
        (0.2, 2.0, ANY_T),
        (0.8, 0.3, [[0.95, 0.05], [0.3, 0.7]]),  # the densities cross three times
        (0.9, 0.3, [[0.6, 0.4], [0.4, 0.6]]),
        (0.6, 3.0, [[0.6, 0.4], [0.0, 1.0]]),
        (0.6, 3.0, [[0.0, 1.0], [0.4, 0.6]]),
    ],
)
def test_overlap_with_unequal_priors_is_the_direct_integral_over_x(prior: float, D: float, T) -> None:
    """Classes at -D/2 and D/2, log-odds D x + log((1 - prior) / prior), times the sign of the label."""
    shift = log((1 - prior) / prior) / D
    T, priors = np.array(T), (prior, 1 - prior)

    def density(clean: bool):
        parts = []
        for y in (0, 1):
            observed = y if clean else 1 - y
            sign = 1 if observed == 1 else -1
            parts.append((priors[y] * T[y, observed], sign, sign * (D * (y - 0.5) + shift)))
        total = sum(weight for weight, _, _ in parts)
        return lambda t: sum(weight / total * norm.pdf(t - centre) for weight, _, centre in parts)

    f, g = density(True), density(False)
    t = np.linspace(-60, 60, 1_200_001)
    expected = np.minimum(f(t), g(t)).sum() * (t[1] - t[0])
    bed = GaussianBed.simplex(2, 2, D, list(priors))
    assert forms.bed_loss_overlap(bed, T) == pytest.approx(expected, abs=1e-7)


def test_overlap_with_unequal_priors_is_that_of_the_losses_of_a_large_sample() -> None:
    n, bed = 400_000, GaussianBed.simplex(2, 3, 1.0, [0.8, 0.2]).with_covariance(COVARIANCE)
    X, y = bed.sample(n, 0)
    flipped = np.random.default_rng(1).random(n) < ANY_T[y, 1 - y]
    loss = -np.log(bed.posterior(X)[np.arange(n), np.where(flipped, 1 - y, y)])
    edges = np.quantile(loss, np.linspace(0, 1, 101))
    f, g = (np.histogram(loss[group], edges)[0] / group.sum() for group in (~flipped, flipped))
    assert np.minimum(f, g).sum() == pytest.approx(forms.bed_loss_overlap(bed, ANY_T), abs=8e-3)


def test_unequal_priors_cross_more_than_once() -> None:
    """Rare class, weak separation: one threshold on the loss is not the best way to find clean samples."""
    bed = GaussianBed.simplex(2, 1, 0.3, [0.8, 0.2])
    weights, centres = forms._margins(bed, [[0.95, 0.05], [0.3, 0.7]])
    crossings = forms._crossings(weights, centres)
    assert len(crossings) == 3
    for t in crossings:
        f, g = (norm.pdf(t - centres) * weights).sum(1)
        assert f == pytest.approx(g, rel=1e-9)


def test_a_nearly_undecidable_bed_has_the_limit_of_two_point_losses() -> None:
    """D near 0: the loss is -log(prior of the observed label), so two values, each with a mass per group."""
    prior, T = 0.7, ANY_T
    clean, flipped = np.array([prior * 0.7, 0.3 * 0.9]), np.array([0.3 * 0.1, prior * 0.3])  # observed 0, 1
    expected = np.minimum(clean / clean.sum(), flipped / flipped.sum()).sum()
    bed = GaussianBed.simplex(2, 1, 1e-3, [prior, 1 - prior])
    assert forms.bed_loss_overlap(bed, T) == pytest.approx(expected, abs=5e-3)


TWO = GaussianBed.simplex(2, 2, 1.0)
SAME = GaussianBed(np.ones((2, 1)), [0.5, 0.5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: forms.normal_overlap(-1), "d=-1"),
        (lambda: forms.normal_overlap(float("nan")), "d=nan"),
        (lambda: forms.overlap_auc(61), "overlap=61: a fraction"),
        (lambda: forms.overlap_of_normals(float("nan"), 1, 0, 1), "mean_f=nan"),
        (lambda: forms.overlap_of_normals(0, 1, float("inf"), 1), "mean_g=inf"),
        (lambda: forms.overlap_of_normals(0, 0, 0, 1), "sd_f=0"),
        (lambda: forms.overlap_of_normals(0, 1, 0, -1), "sd_g=-1"),
        (lambda: forms.exponential_overlap(0, 1), "rate_f=0"),
        (lambda: forms.exponential_overlap(1, float("inf")), "rate_g=inf"),
        (lambda: forms.identical_overlap([0.5, 0.4], 5, 5), "cell_probabilities"),
        (lambda: forms.identical_overlap([1.5, -0.5], 5, 5), "cell_probabilities"),
        (lambda: forms.identical_overlap([1.0], 0, 5), "n_clean=0"),
        (lambda: forms.identical_overlap([1.0], 5, 2.5), "n_flipped=2.5"),
        (lambda: forms.bed_confusion(GaussianBed.circle(4, 2.0)), "2 to 2.828 standard deviations apart"),
        (lambda: forms.bed_error(GaussianBed.circle(5, 2.0)), "equal distances as in GaussianBed.simplex"),
        (lambda: forms.bed_agreement(TWO, np.eye(3)), "T has shape"),
        (lambda: forms.bed_loss_overlap(GaussianBed.simplex(3, 2, 1.0), np.eye(3)), "3 classes .* sample"),
        (lambda: forms.bed_loss_overlap(TWO, np.eye(3)), r"\(2, 2\) probabilities"),
        (lambda: forms.bed_loss_overlap(TWO, ANY_T.T), r"\(2, 2\) probabilities"),
        (lambda: forms.bed_loss_overlap(TWO, np.eye(2)), "flips nothing or everything"),
        (lambda: forms.bed_loss_overlap(TWO, 1 - np.eye(2)), "flips nothing or everything"),
        (lambda: forms.bed_loss_overlap(GaussianBed.circle(2, 1.0, [1, 0]), ANY_T), r"priors=\[1.0, 0.0\]"),
        (lambda: forms.bed_loss_overlap(SAME, ANY_T), "means are 0 apart"),
    ],
)
def test_bad_arguments_are_named(make, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        make()
