"""Which samples TURN calls clean, and which of them it trains on."""

from __future__ import annotations

import numpy as np
import pytest
from reference.finetuning import own_posterior, plain_em
from reference.mixture import low_posterior, scale_to_unit

from noisylib.errors import NoisylibError
from noisylib.finetuning.selection import Selection, select

K = 3
SIZES = (300, 120, 60)  # samples of each observed class
LEVELS = (0.1, 1.0, 3.0)  # where the clean losses of a class lie
WRONG = 1.5  # how much higher the losses of wrong labels are


def made_losses(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses (N,), observed labels and which of them are right: two groups of losses in each class."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.repeat(np.arange(K), SIZES))
    right = generator.random(len(y)) < 0.7
    spread = generator.normal(size=len(y))
    return np.array(LEVELS)[y] + np.where(right, 0.05 * spread, WRONG + 0.2 * spread), y, right


def selected(losses: np.ndarray, y: np.ndarray, **options) -> Selection:
    given = {"tau": 0.6, "balanced": True, "seed": 0, "epoch": 0, **options}
    return select(losses, y, given.pop("n_classes", K), **given)


def test_separated_gaussians_are_cleaned_almost_perfectly() -> None:
    losses, y, right = made_losses()
    clean = selected(losses, y).clean
    for c in range(K):
        own = y == c
        assert right[clean & own].mean() > 0.99
        assert clean[right & own].mean() > 0.99


def test_posterior_is_that_of_one_mixture_per_observed_class() -> None:
    """scikit-learn's fit, and expectation and maximisation written out, agree with it."""
    losses, y, _ = made_losses()
    losses = losses + np.linspace(0, 1.5, len(y))  # the groups overlap: posteriors between 0 and 1
    posterior = selected(losses, y).posterior
    assert ((posterior > 0.05) & (posterior < 0.95)).sum() > 20
    np.testing.assert_allclose(posterior, own_posterior(losses, list(y)), rtol=0, atol=1e-9)
    for c in range(K):
        by_hand = plain_em(scale_to_unit(losses[y == c]))
        np.testing.assert_allclose(posterior[y == c], by_hand, rtol=0, atol=1e-9)


def test_shifting_the_losses_of_a_class_changes_no_selection_but_would_change_that_of_one_mixture() -> None:
    losses, y, _ = made_losses()
    before = selected(losses, y)
    for c in range(K):
        for shift in (7.0, -2.0, 500.0):
            after = selected(losses + shift * (y == c), y)
            np.testing.assert_array_equal(after.clean, before.clean)
            np.testing.assert_array_equal(after.drawn, before.drawn)
    # One mixture over all classes calls the shifted class wrong as a whole.
    moved = low_posterior(scale_to_unit(losses + 7.0 * (y == 0)))
    assert (moved[y == 0] < 0.5).all()
    assert selected(losses + 7.0 * (y == 0), y).clean[y == 0].sum() > 150


def test_stretching_the_losses_of_a_class_changes_no_selection() -> None:
    losses, y, _ = made_losses()
    before = selected(losses, y).clean
    for scale in (1e-4, 30.0):
        np.testing.assert_array_equal(selected(np.where(y == 2, scale * losses, losses), y).clean, before)


def test_the_same_number_of_each_class_is_drawn_from_its_clean_samples() -> None:
    losses, y, _ = made_losses()
    found = selected(losses, y)
    counts = np.bincount(y[found.clean], minlength=K)
    np.testing.assert_array_equal(found.counts, counts)
    assert found.n == counts.min() > 10
    assert np.bincount(y[found.drawn], minlength=K).tolist() == [found.n] * K
    assert not (found.drawn & ~found.clean).any()
    np.testing.assert_array_equal(found.losses, losses)


def test_without_balance_all_clean_samples_are_used() -> None:
    losses, y, _ = made_losses()
    found, balanced = selected(losses, y, balanced=False), selected(losses, y)
    np.testing.assert_array_equal(found.drawn, found.clean)
    np.testing.assert_array_equal(found.clean, balanced.clean)
    np.testing.assert_array_equal(found.counts, balanced.counts)


def test_draws_change_with_epoch_and_seed_and_repeat_for_the_same() -> None:
    losses, y, _ = made_losses()
    first = selected(losses, y, seed=3, epoch=1)
    np.testing.assert_array_equal(selected(losses, y, seed=3, epoch=1).drawn, first.drawn)
    for other in ({"seed": 3, "epoch": 2}, {"seed": 4, "epoch": 1}):
        found = selected(losses, y, **other)
        np.testing.assert_array_equal(found.clean, first.clean)
        assert (found.drawn != first.drawn).any()


def test_every_clean_sample_is_drawn_as_often_as_any_other() -> None:
    y = np.repeat(np.arange(3), (9, 3, 4))
    times = sum(selected(np.ones(16), y, epoch=epoch).drawn.astype(int) for epoch in range(200))
    # 3 of 9, 3 of 3 and 3 of 4; binomial deviations are at most .034.
    np.testing.assert_allclose(times[:9] / 200, 1 / 3, atol=0.12)
    assert (times[9:12] == 200).all()
    np.testing.assert_allclose(times[12:] / 200, 0.75, atol=0.12)


def test_tau_of_zero_takes_all_and_tau_of_one_finds_nothing() -> None:
    losses, y, _ = made_losses()
    losses = losses + np.linspace(0, 1.5, len(y))
    everything = selected(losses, y, tau=0.0)
    assert everything.clean.all(), "every posterior is positive"
    assert everything.n == min(SIZES)
    with pytest.raises(
        NoisylibError, match=r"tau=1.0 leaves the clean set empty: .* 480 samples .* Lower tau"
    ):
        selected(losses, y, tau=1.0)


def test_tau_is_a_probability_and_not_a_loss() -> None:
    losses, y, _ = made_losses()
    losses = losses + np.linspace(0, 1.5, len(y))
    sizes = []
    for tau in (0.4, 0.5, 0.6, 0.7, 0.8):
        found = selected(losses, y, tau=tau)
        np.testing.assert_array_equal(found.clean, found.posterior > tau)
        np.testing.assert_array_equal(found.posterior, selected(losses, y).posterior)
        sizes.append(found.clean.sum())
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_class_of_fewer_than_four_is_clean_as_a_whole(size: int) -> None:
    losses, y, _ = made_losses()
    keep = y < 2
    small = np.array([0.1, 0.11, 2.0, 2.1])[:size]
    found = selected(np.r_[losses[keep], small], np.r_[y[keep], np.full(size, 2)])
    own = found.clean[keep.sum() :]
    assert own.tolist() == ([True, True, False, False] if size == 4 else [True] * size)
    assert found.n == own.sum()


def test_equal_losses_of_a_class_are_all_clean() -> None:
    losses, y, _ = made_losses()
    found = selected(np.where(y == 1, 0.4, losses), y)
    assert found.clean[y == 1].all()
    assert (found.posterior[y == 1] == 1).all()


def test_a_class_without_a_clean_sample_gives_its_likeliest() -> None:
    """Where the two components lie close, no posterior of a class is high."""
    losses, y, _ = made_losses()
    losses[y == 2] = np.random.default_rng(1).normal(size=60)
    posterior = selected(losses, y).posterior
    highest = posterior[y == 2].max()
    tau = (1 + highest) / 2
    assert highest < tau < posterior[y == 0].max()
    found = selected(losses, y, tau=tau)
    assert found.counts[2] == found.n == 1
    assert found.counts[0] > 1
    assert np.flatnonzero(found.clean & (y == 2)).tolist() == [np.where(y == 2, posterior, -1).argmax()]
    assert np.bincount(y[found.drawn]).tolist() == [1, 1, 1]


def test_a_class_that_nobody_was_given_takes_no_part() -> None:
    losses, y, _ = made_losses()
    found = selected(losses, np.where(y == 1, 4, y), n_classes=6)
    assert found.counts.tolist() == [found.counts[0], 0, found.counts[2], 0, found.counts[4], 0]
    present = [0, 2, 4]
    assert found.n == min(found.counts[present])
    assert np.bincount(np.where(y == 1, 4, y)[found.drawn], minlength=6)[present].tolist() == [found.n] * 3


def test_a_sample_keeps_its_place_whatever_the_order_of_the_samples() -> None:
    losses, y, _ = made_losses()
    order = np.random.default_rng(3).permutation(len(y))
    before, after = selected(losses, y), selected(losses[order], y[order])
    np.testing.assert_array_equal(after.clean, before.clean[order])
    np.testing.assert_allclose(after.posterior, before.posterior[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_said(value: float) -> None:
    losses, y, _ = made_losses()
    losses[5] = value
    with pytest.raises(NoisylibError, match=r"losses: 1 of 480 are not finite.*Lower the learning rates"):
        selected(losses, y)


@pytest.mark.parametrize("tau", [-0.1, 1.5, np.nan])
def test_tau_must_be_a_probability(tau: float) -> None:
    losses, y, _ = made_losses()
    with pytest.raises(NoisylibError, match=r"tau=.*probability in \[0, 1\]"):
        selected(losses, y, tau=tau)


def test_losses_and_labels_must_fit() -> None:
    losses, y, _ = made_losses()
    with pytest.raises(NoisylibError, match=r"losses has shape \(479,\).*\(480,\)"):
        selected(losses[1:], y)
    with pytest.raises(NoisylibError, match="y_noisy"):
        selected(losses, y, n_classes=2)
