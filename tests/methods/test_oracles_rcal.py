"""RCAL-head: Gaussians per class without outliers, what small classes borrow, and the points drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, batch_of, one_hot, watched_step

from noisylib.methods import make_method, mixup
from noisylib.methods.mixup import draw_mixup
from noisylib.methods.rcal import RCALHead, class_statistics


def counted(*counts: int) -> np.ndarray:
    """Labels with so many of each class, in order."""
    return np.repeat(np.arange(len(counts)), counts)


def gaussians(y: np.ndarray, D: int = 3, seed: int = 0) -> np.ndarray:
    """Features around a mean per class, 10 c in each dimension, with a spread of c + 1."""
    noise = np.random.default_rng(seed).normal(size=(len(y), D))
    return 10.0 * y[:, None] + (y[:, None] + 1) * noise


def calibrated(method: RCALHead, X: np.ndarray, y: np.ndarray):
    return method.calibrated(X, y, *np.unique(y, return_counts=True))


@pytest.mark.parametrize(("size", "neighbours", "seen"), [(80, 20, True), (400, 120, True), (400, 20, False)])
def test_filtered_mean_is_nearer_than_the_plain_one_under_swapped_labels(
    size: int, neighbours: int, seen: bool
) -> None:
    """Two Gaussians far apart; a fifth of either class carries the other's label.

    A wrong group that is larger than the neighbourhood is no outlier among its own, and stays.
    """
    for seed in range(3):
        rng = np.random.default_rng(seed)
        true = counted(size, size)
        X = rng.normal(size=(2 * size, 2)) + 12.0 * true[:, None]
        swapped = [rng.choice(np.flatnonzero(true == c), size // 5, replace=False) for c in (0, 1)]
        observed = true.copy()
        observed[np.concatenate(swapped)] = 1 - true[np.concatenate(swapped)]
        for c in (0, 1):
            members = X[observed == c]
            plain = np.linalg.norm(members.mean(0) - 12.0 * c)
            filtered = np.linalg.norm(class_statistics(members, neighbours)[0] - 12.0 * c)
            assert plain == pytest.approx(0.2 * 12 * np.sqrt(2), rel=0.15)
            assert filtered < plain / 3 if seen else filtered > 0.8 * plain


def test_a_lone_outlier_is_dropped_from_mean_and_covariance() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    mean, covariance = class_statistics(np.vstack([X, np.full((1, 3), 500.0)]), 20)
    assert np.abs(mean - X.mean(0)).max() < 0.1
    assert np.abs(covariance - np.cov(X.T)).max() < 0.4


def test_a_class_no_larger_than_the_neighbourhood_keeps_all() -> None:
    X = np.vstack([np.random.default_rng(0).normal(size=(19, 3)), np.full((1, 3), 500.0)])
    np.testing.assert_allclose(class_statistics(X, 20)[0], X.mean(0))
    assert np.abs(class_statistics(X, 10)[0] - X.mean(0)).max() > 10


def test_covariance_of_few_samples_is_shrunk_until_it_can_be_sampled_from() -> None:
    X = np.random.default_rng(0).normal(size=(4, 12))
    _, covariance = class_statistics(X, 20)
    assert np.linalg.matrix_rank(np.cov(X.T)) == 3
    assert np.linalg.eigvalsh(covariance).min() > 1e-3
    # Shrinkage keeps the trace, of the covariance with denominator n.
    assert np.trace(covariance) == pytest.approx(np.trace(np.cov(X.T, bias=True)))


def test_a_single_sample_has_no_spread() -> None:
    mean, covariance = class_statistics(np.array([[1.0, 2.0]]), 20)
    assert mean.tolist() == [1, 2]
    assert not covariance.any()


def test_without_mixing_all_statistics_are_the_classes_own() -> None:
    y = counted(60, 30, 8, 5)
    X = gaussians(y)
    means, covariances = calibrated(RCALHead(mix=0), X, y)
    for c in range(4):
        mean, covariance = class_statistics(X[y == c], 20)
        np.testing.assert_array_equal(means[c], mean)
        np.testing.assert_array_equal(covariances[c], covariance)


@pytest.mark.parametrize("mix", [0.25, 0.5, 1.0])
def test_small_classes_borrow_from_their_nearest_heads_weighted_by_size(mix: float) -> None:
    """Sizes 80 50 30 8 5: the median is 30, so 0 1 2 are heads. 3 borrows from 2 and 1, and so does 4."""
    y = counted(80, 50, 30, 8, 5)
    X = gaussians(y)
    own = [class_statistics(X[y == c], 20) for c in range(5)]
    means, covariances = calibrated(RCALHead(mix=mix, heads=2), X, y)
    for c in range(3):
        np.testing.assert_array_equal(means[c], own[c][0])
        np.testing.assert_array_equal(covariances[c], own[c][1])
    for c in (3, 4):
        for got, part in ((means, 0), (covariances, 1)):
            borrowed = (50 * own[1][part] + 30 * own[2][part]) / 80
            np.testing.assert_allclose(got[c], (1 - mix) * own[c][part] + mix * borrowed, rtol=0, atol=1e-12)


def test_the_nearest_head_is_the_nearest_mean_and_fewer_heads_than_asked_suffice() -> None:
    y = counted(40, 40, 6, 6)
    X = gaussians(y)
    X[y == 2] -= 15.0  # now at 5, halfway; at 4.9 it is nearer to class 0
    X[y == 2] -= 0.5 + X[y == 2].mean(0) - 5.0
    means, _ = calibrated(RCALHead(mix=1, heads=1), X, y)
    own = [class_statistics(X[y == c], 20)[0] for c in range(4)]
    np.testing.assert_allclose(means[2], own[0], atol=1e-12)
    np.testing.assert_allclose(means[3], own[1], atol=1e-12)
    all_heads, _ = calibrated(RCALHead(mix=1, heads=1000), X, y)
    np.testing.assert_allclose(all_heads[2], (own[0] + own[1]) / 2, atol=1e-12)


def test_classes_of_equal_size_borrow_nothing_and_need_no_points() -> None:
    y = counted(20, 20, 20)
    X = gaussians(y)
    points, labels = RCALHead().extra_points(X, y, seed=0)
    assert points.shape == (0, 3)
    assert labels.shape == (0,)


@pytest.mark.parametrize(
    ("cap", "expected"), [(5.0, [0, 28, 25]), (0.5, [0, 6, 2]), (0.0, [0, 0, 0]), (1000.0, [0, 28, 35])]
)
def test_points_fill_up_to_the_largest_class_but_for_the_cap(cap: float, expected: list[int]) -> None:
    """Sizes 40 12 5: missing are 28 and 35; five times the own size is 60 and 25."""
    y = counted(40, 12, 5)
    points, labels = RCALHead(cap=cap).extra_points(gaussians(y), y, seed=0)
    assert np.bincount(labels, minlength=3).tolist() == expected
    assert labels.tolist() == sorted(labels.tolist())
    assert points.shape == (sum(expected), 3)


def test_classes_that_are_never_observed_are_left_out() -> None:
    y = np.array([0] * 30 + [3] * 10)
    _, labels = RCALHead().extra_points(gaussians(y), y, seed=0)
    assert np.bincount(labels, minlength=5).tolist() == [0, 0, 0, 20, 0]


@pytest.mark.parametrize("n", [100, 10_000])
def test_drawn_points_converge_to_the_gaussian_with_the_root_of_their_number(n: int, monkeypatch) -> None:
    mean, covariance = np.array([3.0, -1.0]), np.array([[2.0, 1.2], [1.2, 1.0]])
    given = (np.stack([np.zeros(2), mean]), np.stack([np.eye(2), covariance]))
    monkeypatch.setattr(RCALHead, "calibrated", lambda *_: given)
    y = counted(n + n // 100, n // 100)
    points, labels = RCALHead(cap=1000).extra_points(np.zeros((len(y), 2)), y, seed=1)
    assert len(points) == n
    assert (labels == 1).all()
    # Standard deviations: sqrt(2 / n) of the mean, 2 sqrt(2 / n) of the largest variance.
    assert np.abs(points.mean(0) - mean).max() < 4 * np.sqrt(2 / n)
    assert np.abs(np.cov(points.T) - covariance).max() < 4 * 2 * np.sqrt(2 / n)


def test_draws_depend_on_seed_and_class_only() -> None:
    y, more = counted(40, 12, 5), counted(40, 12, 20)
    one, again, other = (RCALHead(mix=0).extra_points(gaussians(y), y, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one[0], again[0])
    assert np.abs(one[0] - other[0]).min() > 0
    X = gaussians(more)
    X[more < 2] = gaussians(y)[y < 2]
    grown = RCALHead(mix=0).extra_points(X, more, 3)
    np.testing.assert_array_equal(grown[0][grown[1] == 1], one[0][one[1] == 1])


def test_classes_do_not_share_their_noise(monkeypatch) -> None:
    given = (np.zeros((3, 2)), np.stack([np.eye(2)] * 3))
    monkeypatch.setattr(RCALHead, "calibrated", lambda *_: given)
    y = counted(40, 20, 20)
    points, labels = RCALHead().extra_points(np.zeros((80, 2)), y, seed=1)
    assert np.abs(points[labels == 1] - points[labels == 2]).min() > 1e-4


def rcal_bank(**options):
    X, _ = blobs(57, 3, 4)
    y = np.random.default_rng(0).permutation(counted(40, 12, 5))
    return bank_of(make_method("rcal", options), X, np.stack([y, np.roll(y, 1)]), K=3, seeds=[5, 5])


def test_an_epoch_goes_through_n_of_the_real_and_drawn_points() -> None:
    bank = rcal_bank()
    assert [len(points) for points in bank.state["points"]] == [28 + 25] * 2
    orders = [bank.method.order(bank, epoch, bank.state) for epoch in range(3)]
    for order in orders:
        assert order.shape == (2, 57)
        for row in order:
            assert len(row.unique()) == 57
            assert 10 < (row >= 57).sum() < 45, "drawn points take part"
        assert order.max() < 57 + 53
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0][0], orders[0][1]), "runs of a seed with as many points share the order"


@pytest.mark.parametrize("lam", [0.25, 0.9])
def test_a_step_mixes_features_and_losses_of_real_and_drawn_points(lam: float, monkeypatch) -> None:
    bank = rcal_bank()
    drawn = SimpleNamespace(beta=lambda a, b: lam, permutation=lambda n: np.arange(n)[::-1].copy())
    asked = []
    monkeypatch.setattr(mixup, "numpy_generator", lambda *parts: asked.append(parts) or drawn)
    index = torch.tensor([3, 57, 20, 57 + 30])
    batch = batch_of(bank, index, epoch=2, step=1)
    seen = watched_step(bank, batch)
    assert asked == [("mixup", 5, 2, 1)] * 2
    for run in range(2):
        points, classes = bank.state["points"][run], bank.state["labels"][run]
        rows = torch.stack([bank.X[3], points[0], bank.X[20], points[30]])
        y = torch.stack([bank.y[run, 0, 3], classes[0], bank.y[run, 0, 20], classes[30]])
        assert classes[[0, 30]].tolist() == [1, 2]
        torch.testing.assert_close(seen.x[run], lam * rows + (1 - lam) * rows.flip(0), rtol=0, atol=1e-14)
        target = lam * one_hot(y, 3) + (1 - lam) * one_hot(y.flip(0), 3)
        expected = (torch.softmax(seen.logits[0, run, 0], -1) - target) / 4
        torch.testing.assert_close(seen.gradient[0, run, 0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("alpha", "spread"), [(0.01, 0.23), (100, 0)])
def test_mixup_weight_is_drawn_from_the_whole_beta(alpha: float, spread: float) -> None:
    """Unlike that of DivideMix it may be below a half; its variance is 1 / (4 (2 alpha + 1))."""
    bank, weights = rcal_bank(alpha=alpha), []
    batch = batch_of(bank, range(8))
    for step in range(60):
        batch.step = step
        lam, permutation = draw_mixup(bank, batch, 8, bank.method.alpha)
        assert sorted(permutation[0].tolist()) == list(range(8))
        weights.append(lam[0].item())
    assert min(weights) < 0.5 < max(weights)
    assert np.var(weights) == pytest.approx(spread, abs=0.03)


def test_drawn_points_have_the_precision_of_the_bank() -> None:
    bank = rcal_bank()
    assert all(points.dtype == F64 for points in bank.state["points"])
    for epoch in range(3):
        bank.train_epoch(epoch, None)
    assert bank.networks.banks[0].flat.isfinite().all()
