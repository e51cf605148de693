"""Closed forms of forward and backward correction, and of the estimate of T."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, bank_of, labels, logits, one_hot, step_of

from noisylib.errors import NoisylibError
from noisylib.methods import make_method
from noisylib.methods.correction import estimate_transition
from noisylib.methods.label_smoothing import LabelSmoothing
from noisylib.training import BankInTraining, train_bank

MADE = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.1, 0.6]], dtype=F64)
CORRECTIONS = ("forward_oracle", "backward")


def symmetric(K: int, eta: float) -> torch.Tensor:
    return torch.full((K, K), eta / (K - 1), dtype=F64).fill_diagonal_(1 - eta)


def per_label(name: str, T: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The loss (K,) of one sample under each observed label."""
    method = make_method(name)
    batch = step_of(method, 1, len(T), transition=T)
    return torch.stack([method.loss(z, labels(c), batch).squeeze() for c in range(len(T))])


def test_backward_is_unbiased() -> None:
    """T applied to the corrected losses is their mean over the observed label: the clean cross entropy."""
    z = logits(1, 1, 3).detach()
    clean = -torch.log_softmax(z, -1)[0, 0, 0, 0]
    torch.testing.assert_close(MADE @ per_label("backward", MADE, z), clean, rtol=0, atol=1e-13)
    assert (per_label("backward", MADE, 20 * z) < 0).any(), "some corrected loss is negative"


@pytest.mark.parametrize(("K", "eta"), [(2, 0.3), (5, 0.4), (8, 0.1)])
def test_inverse_of_symmetric_noise(K: int, eta: float) -> None:
    inverse = step_of(make_method("backward"), 1, K, transition=symmetric(K, eta)).state["inverse"][0, 0]
    diagonal, other = (K - 1 - eta) / (K - 1 - K * eta), -eta / (K - 1 - K * eta)
    expected = torch.full((K, K), other, dtype=F64).fill_diagonal_(diagonal)
    torch.testing.assert_close(inverse, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("K", "eta"), [(2, 0.3), (5, 0.4)])
def test_backward_under_symmetric_noise_is_label_smoothing_with_a_negative_share(K: int, eta: float) -> None:
    a = -eta * K / (K - 1 - K * eta)
    z = logits(1, 1, K).detach()
    ce = -torch.log_softmax(z, -1)[0, 0, 0, 0]
    corrected = per_label("backward", symmetric(K, eta), z)
    torch.testing.assert_close(corrected, (1 - a) * ce + a * ce.mean(), rtol=0, atol=1e-13)
    # A negative share is no smoothing, so the class refuses it; its arithmetic holds all the same.
    smoothing = object.__new__(LabelSmoothing)
    object.__setattr__(smoothing, "smoothing", a)
    by_smoothing = torch.stack([smoothing.loss(z, labels(c), None).squeeze() for c in range(K)])
    torch.testing.assert_close(corrected, by_smoothing, rtol=0, atol=1e-13)
    for c in range(K):
        method = make_method("backward")
        g = method.gradient(z, labels(c), step_of(method, 1, K, transition=symmetric(K, eta)))
        torch.testing.assert_close(g, smoothing.gradient(z, labels(c), None), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_without_noise_both_are_ce(name: str) -> None:
    method, ce = make_method(name), make_method("ce")
    z, y = logits(1, 6, 4).detach(), labels(0, 1, 2, 3, 3, 0)
    batch = step_of(method, 6, 4, transition=torch.eye(4, dtype=F64))
    expected = ce.loss(z, y, batch).item()
    assert method.loss(z, y, batch).item() == pytest.approx(expected, abs=1e-15)
    g = method.gradient(z, y, batch)
    torch.testing.assert_close(g, ce.gradient(z, y, batch), rtol=0, atol=1e-15)


def test_backward_of_two_classes_is_natarajan() -> None:
    """((1 - rho[other]) l(y) - rho[y] l(other)) / (1 - rho_0 - rho_1), rho_c = P(label flips | true c)."""
    rho = (0.1, 0.35)
    T = torch.tensor([[1 - rho[0], rho[0]], [rho[1], 1 - rho[1]]], dtype=F64)
    z = logits(1, 1, 2).detach()
    ce = -torch.log_softmax(z, -1)[0, 0, 0, 0]
    expected = [
        ((1 - rho[1 - y]) * ce[y].item() - rho[y] * ce[1 - y].item()) / (1 - sum(rho)) for y in (0, 1)
    ]
    assert per_label("backward", T, z).tolist() == pytest.approx(expected, abs=1e-14)


def test_forward_of_a_certain_prediction_is_the_row_of_t() -> None:
    z = torch.tensor([0.0, 1000.0, 0.0], dtype=F64).view(1, 1, 1, 1, 3)
    torch.testing.assert_close(per_label("forward_oracle", MADE, z), -MADE[1].log(), rtol=0, atol=1e-14)


def test_forward_by_hand() -> None:
    """p = (.6, .4), T = [[.7, .3], [0, 1]]: the observed label is 0 with .42 and 1 with .58."""
    T = torch.tensor([[0.7, 0.3], [0.0, 1.0]], dtype=F64)
    z = torch.tensor([0.6, 0.4], dtype=F64).log().view(1, 1, 1, 1, 2)
    losses = per_label("forward_oracle", T, z).tolist()
    assert losses == pytest.approx([-math.log(0.42), -math.log(0.58)], abs=1e-15)
    method = make_method("forward_oracle")
    batch = step_of(method, 1, 2, transition=T)
    # The posterior of the true class is (1, 0) given label 0, and (.18, .40) / .58 given label 1.
    for y, r in ((0, [1, 0]), (1, [0.18 / 0.58, 0.4 / 0.58])):
        g = method.gradient(z, labels(y), batch).flatten().tolist()
        assert g == pytest.approx([0.6 - r[0], 0.4 - r[1]], abs=1e-15)


def test_forward_is_at_rest_where_the_clean_posterior_explains_the_labels() -> None:
    """Over labels drawn from T' p, the mean of the gradient p - r is zero."""
    method, z = make_method("forward_oracle"), logits(1, 1, 3).detach()
    batch = step_of(method, 1, 3, transition=MADE)
    observed = MADE.T @ torch.softmax(z, -1)[0, 0, 0, 0]
    mean = sum(observed[y] * method.gradient(z, labels(y), batch) for y in range(3))
    assert mean.abs().max() < 1e-15


@pytest.mark.parametrize("name", CORRECTIONS)
def test_each_run_has_its_own_matrix(name: str) -> None:
    method, z = make_method(name), logits(1, 2, 3, runs=(2, 2)).detach()
    Ts = torch.stack([symmetric(3, eta) for eta in (0.1, 0.2, 0.3, 0.4)]).view(2, 2, 3, 3)
    y = torch.tensor([0, 2]).expand(2, 2, 2)
    g = method.gradient(z, y, step_of(method, 2, 3, runs=(2, 2), transition=Ts))
    for s in range(2):
        for h in range(2):
            alone = step_of(method, 2, 3, transition=Ts[s, h])
            one = method.gradient(z[:, s : s + 1, h : h + 1], labels(0, 2), alone)
            torch.testing.assert_close(g[0, s, h], one[0, 0, 0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", CORRECTIONS)
@pytest.mark.parametrize(
    "bad",
    [
        np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
        np.full((3, 3), 1 / 3),
        np.array([[0.6, 0.4, 0], [0.3, 0.7, 0], [0.45, 0.55, 0]]),  # class 2 is never observed
        np.array([[0.5 + 1e-10, 0.5 - 1e-10, 0], [0.5, 0.5, 0], [0, 0, 1]]),
        # The last row is a mixture of the others (0.11 and 0.89), up to single precision.
        np.array([[0.28, 0.21, 0.51], [0.54, 0.41, 0.05], [0.5114, 0.388, 0.1006]], dtype=np.float32),
    ],
)
def test_a_singular_matrix_is_refused_before_training(name: str, bad: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(BankInTraining, "train_epoch", lambda *_: pytest.fail("training has begun"))
    X, y = blobs(30, 3, 4)
    transitions = np.stack([np.eye(3), bad])
    with pytest.raises(NoisylibError, match=r"transitions holds a matrix with condition number .*inverted"):
        train_bank(X, np.stack([y, y]), X, y, n_classes=3, method=name, transitions=transitions, device="cpu")


@pytest.mark.parametrize("name", CORRECTIONS)
def test_t_must_be_told_and_be_one(name: str, monkeypatch) -> None:
    monkeypatch.setattr(BankInTraining, "train_epoch", lambda *_: pytest.fail("training has begun"))
    X, y = blobs(30, 3, 4)
    skew = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])
    for transitions, message in (
        (None, r"transitions is missing: method .* is told the transition matrix"),
        (skew.T, "rows sum to 1.*transpose"),
        (np.eye(4), r"transitions has shape \(1, 4, 4\): \(1, 3, 3\) is needed"),
        (np.stack([np.eye(3)] * 2), r"shape \(2, 3, 3\): \(1, 3, 3\)"),
        (np.where(np.eye(3) > 0, np.nan, 0), "must hold probabilities"),
        (np.array([[1.5, -0.5, 0], [0, 1, 0], [0, 0, 1]]), "must hold probabilities"),
    ):
        with pytest.raises(NoisylibError, match=message):
            train_bank(X, y, X, y, n_classes=3, method=name, transitions=transitions, device="cpu")


def probabilities(first: torch.Tensor) -> torch.Tensor:
    """(1, 1, N, 2) from the probabilities (N,) of class 0."""
    return torch.stack([first, 1 - first], -1)[None, None]


def test_estimate_sets_aside_the_highest_values() -> None:
    """Of 101 values 0, .01, ..., 1 the 97th percentile is .97: .97 and above are set aside, .96 stays."""
    steps = torch.arange(101, dtype=F64) / 100
    shuffled = steps[torch.randperm(101, generator=torch.Generator().manual_seed(2))]
    T = estimate_transition(probabilities(shuffled), 97)
    expected = torch.tensor([[0.96, 0.04], [0.04, 0.96]], dtype=F64)
    torch.testing.assert_close(T[0, 0], expected, rtol=0, atol=1e-15)
    # At the 90.5th it is .905, between two samples: .91 is above, .90 below.
    T = estimate_transition(probabilities(shuffled), 90.5)
    assert T[0, 0].diagonal().tolist() == pytest.approx([0.9, 0.9], abs=1e-15)


def test_estimate_is_not_misled_by_an_outlier() -> None:
    """A wildly certain sample among 100: with it, class 0 would look free of noise."""
    steps = torch.arange(99, dtype=F64) / 1000
    T = estimate_transition(probabilities(torch.cat([0.6 + steps, torch.ones(1, dtype=F64) - 1e-3])), 97)
    # The percentile is at place .97 x 99 = 96.03, above .696: the two last steps and the outlier go.
    assert T[0, 0, 0].tolist() == pytest.approx([0.696, 0.304], abs=1e-14)


def test_estimate_where_samples_are_alike() -> None:
    """Nothing is below the percentile of equal values: the first of the largest is taken after all."""
    P = torch.tensor([0.25, 0.5, 0.25], dtype=F64).repeat(1, 1, 40, 1)
    assert torch.equal(estimate_transition(P, 97), P[:, :, :3])
    P[0, 0, 7] = torch.tensor([0.25, 0.125, 0.625], dtype=F64)
    P[0, 0, 9] = torch.tensor([0.25, 0.625, 0.125], dtype=F64)
    T = estimate_transition(P, 97)
    # The percentile of classes 1 and 2 is that of most samples: only 7, and only 9, is below.
    assert T[0, 0].tolist() == [[0.25, 0.5, 0.25], [0.25, 0.125, 0.625], [0.25, 0.625, 0.125]]


def test_estimate_takes_the_largest_of_all_where_nothing_is_below_the_percentile() -> None:
    """39 of 40 samples are alike, so that the percentile is their value, the smallest of all."""
    P = torch.tensor([0.25, 0.5, 0.25], dtype=F64).repeat(1, 1, 40, 1)
    P[0, 0, 7] = torch.tensor([0.375, 0.5, 0.125], dtype=F64)
    assert estimate_transition(P, 97)[0, 0, 0].tolist() == [0.375, 0.5, 0.125]


@pytest.mark.parametrize("percentile", [1, 50, 97, 99.5, 100])
def test_estimate_equals_a_loop_with_numpy(percentile: float) -> None:
    g = torch.Generator().manual_seed(4)
    P = torch.softmax(2 * torch.randn((2, 3, 57, 4), generator=g, dtype=F64), -1)
    T = estimate_transition(P, percentile)
    for s in range(2):
        for h in range(3):
            for i in range(4):
                rows = P[s, h].numpy()
                column = rows[:, i].copy()
                column[column >= np.percentile(column, percentile)] = -1
                expected = rows[column.argmax()]
                np.testing.assert_allclose(T[s, h, i].numpy(), expected, rtol=0, atol=1e-14)


def test_estimated_t_is_near_the_true_one_where_classes_are_far_apart() -> None:
    X, y = blobs(900, 3, 5, spread=8)
    rng = np.random.default_rng(0)
    true = np.array([[0.7, 0.3, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    noisy = np.array([rng.choice(3, p=true[c]) for c in y])
    bank = bank_of(
        make_method("forward", {"folds": 3, "fold_epochs": 30}), X, noisy, K=3,
        standardise=True, batch_size=64, learning_rate=0.02,
    )  # fmt: skip
    T = bank.state["T"][0, 0].numpy()
    np.testing.assert_allclose(T.sum(-1), 1, atol=1e-14)
    np.testing.assert_allclose(T, true, atol=0.12)
    torch.testing.assert_close(bank.state["log_T"].exp(), bank.state["T"])


def test_forward_with_an_estimate_is_forward_with_that_matrix() -> None:
    X, y = blobs(60, 3, 4)
    method = make_method("forward", {"folds": 3, "fold_epochs": 3})
    estimated = train_bank(X, y, X, y, n_classes=3, method=method, device="cpu", dtype=F64)
    T = bank_of(method, X, y, K=3, standardise=True, batch_size=128, width=None).state["T"]
    given = train_bank(
        X, y, X, y, n_classes=3, method="forward_oracle", transitions=T[0].numpy(), device="cpu", dtype=F64
    )
    np.testing.assert_allclose(estimated.test_logits, given.test_logits, rtol=0, atol=1e-9)


def test_predictions_are_clean_classes_not_observed_ones() -> None:
    """Far-apart classes, of which 60 % of class 0 are observed as 1: forward still finds class 0."""
    X, y = blobs(300, 2, 5, spread=8)
    rng = np.random.default_rng(1)
    noisy = np.where((y == 0) & (rng.random(300) < 0.6), 1, y)
    T = np.array([[0.4, 0.6], [0.0, 1.0]])
    more = {"n_classes": 2, "transitions": T, "device": "cpu"}
    assert train_bank(X, noisy, X, y, method="forward_oracle", **more).recall[0, 0] > 0.95
    assert train_bank(X, noisy, X, y, method="ce", **more).recall[0, 0] < 0.5


def test_one_hot_rows_of_t_are_a_relabelling() -> None:
    """T that renames every class: forward is cross entropy on the class before it was renamed."""
    renamed = [1, 2, 0]
    T, z, y = one_hot(torch.tensor(renamed), 3), logits(1, 3, 3).detach(), labels(0, 1, 2)
    method, ce = make_method("forward_oracle"), make_method("ce")
    before = torch.tensor([renamed.index(c) for c in (0, 1, 2)]).view(1, 1, 3)
    batch = step_of(method, 3, 3, transition=T)
    assert method.loss(z, y, batch).item() == pytest.approx(ce.loss(z, before, batch).item(), abs=1e-15)
