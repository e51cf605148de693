"""Signals of training samples: what they are, that no clean label enters them, and that runs stand alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import blobs
from made_signals import labels, signals_of

from noisylib import BankMeta, FeatureBank, signals, train_bank
from noisylib.comparison import noisy_labels
from noisylib.cross_validation import cross_validate
from noisylib.errors import NoisylibError
from noisylib.noise import NoisyLabels, told
from noisylib.recipe import Recipe
from noisylib.signals import Signals, best_epoch, train_signals

K, D, N = 3, 5, 80
SHORT = Recipe(epochs=4, batch_size=16, learning_rate=0.03, score_epochs=2, width=4)
SEEDS = [3, 8, 3]
OF_SAMPLES = ("losses", "predicted", "probe_losses", "probe_predicted", "held_out", "held_out_losses")
OF_SAMPLES += ("peer_losses", "neighbours", "confirming", "test_predicted", "probe_test_predicted")


def make_bank(X: np.ndarray, y: np.ndarray, n_test: int, groups: np.ndarray | None = None) -> FeatureBank:
    """A bank whose last `n_test` samples are the test part; its training part is not in one piece."""
    split = np.repeat([0, 2], [len(y) - n_test, n_test])
    order = np.random.default_rng(0).permutation(len(y))
    rest = (X[order], y[order], split[order], [f"c{c}" for c in range(y.max() + 1)])
    return FeatureBank.from_arrays(*rest, BankMeta("blobs", "raw"), None if groups is None else groups[order])


def small_bank() -> FeatureBank:
    X, y = blobs(N, K, D)
    X_test, y_test = blobs(30, K, D, seed=1)
    return make_bank(np.r_[X, X_test], np.r_[y, y_test], 30, np.arange(N + 30) // 2)


BANK = small_bank()
NOISY = noisy_labels(BANK, "symmetric", 0.2, [0]) + noisy_labels(BANK, "pairflip", 0.3, [1, 2])
OPTIONS = {"recipe": SHORT, "folds": 4, "device": "cpu", "dtype": torch.float64}


@pytest.fixture(scope="module")
def trained() -> Signals:
    return train_signals(BANK, NOISY, SEEDS, **OPTIONS)


def traced(trained: Signals, method: str, head: str) -> dict[str, np.ndarray]:
    (X, _), test = BANK.part("train"), BANK.part("test")
    return train_bank(
        X, trained.y_noisy, *test, n_classes=K, method=method, head=head, seeds=SEEDS, **told(NOISY),
        recipe=SHORT, trace=True, device="cpu", dtype=torch.float64,
    )  # fmt: skip


def test_the_models_are_those_of_train_bank(trained: Signals) -> None:
    for head, prefix in (("adapter", ""), ("linear", "probe_")):
        run = traced(trained, "ce", head)
        assert np.array_equal(getattr(trained, f"{prefix}losses"), run.trace["loss"][:, 0])
        assert np.array_equal(getattr(trained, f"{prefix}predicted"), run.trace["predicted"][:, 0])
        assert np.array_equal(getattr(trained, f"{prefix}test_predicted"), run.test_logits.argmax(-1))
    assert trained.losses.shape == trained.probe_losses.shape == (4, 3, N)
    assert not np.array_equal(trained.losses, trained.probe_losses)


def test_peer_losses_are_the_mean_of_co_teachings_networks_after_the_last_epoch(trained: Signals) -> None:
    both = traced(trained, "coteaching", "adapter").trace["loss"][-1]  # (2, R, N) float32
    assert np.abs(both[0] - both[1]).max() > 0.01
    np.testing.assert_allclose(trained.peer_losses, both.astype(float).mean(0), rtol=1e-6)


def test_held_out_probabilities_are_those_of_the_same_head(trained: Signals) -> None:
    X = BANK.part("train")[0]
    P = cross_validate(X, trained.y_noisy, n_classes=K, head="adapter", seeds=SEEDS, **OPTIONS)
    assert np.array_equal(trained.held_out, P)
    for r, i in ((0, 0), (2, 17)):
        own = P[r, i, trained.y_noisy[r, i]]
        assert trained.held_out_losses[r, i] == pytest.approx(-np.log(own), rel=1e-14)


def test_labels_groups_and_seeds_are_those_of_the_training_split(trained: Signals) -> None:
    train = BANK.indices("train")
    assert not np.array_equal(train, np.arange(N))
    assert np.array_equal(trained.y, BANK.labels[train])
    assert np.array_equal(trained.groups, BANK.groups[train])
    assert np.array_equal(trained.y_test, BANK.part("test")[1])
    assert np.array_equal(trained.flipped, [noisy.flipped for noisy in NOISY])
    np.testing.assert_allclose(trained.realised_rate, [noisy.realised_rate for noisy in NOISY], rtol=1e-15)
    assert (trained.priors * N).round(9).tolist() == np.bincount(trained.y).tolist()
    assert trained.seeds == (3, 8, 3)


def test_signals_of_several_runs_are_those_of_each_alone(trained: Signals) -> None:
    for run in range(3):
        alone = train_signals(BANK, NOISY[run : run + 1], SEEDS[run : run + 1], **OPTIONS)
        for name in OF_SAMPLES:
            together = getattr(trained, name)
            axis = 1 if name in ("losses", "predicted", "probe_losses", "probe_predicted") else 0
            one = np.take(together, [run], axis=axis)
            np.testing.assert_allclose(one, getattr(alone, name), rtol=1e-6, atol=1e-7, err_msg=name)


def other_truth(noisy: NoisyLabels, y: np.ndarray) -> tuple[NoisyLabels, np.ndarray]:
    """The same observed labels over other true ones: a flip is now right, a right label a flip."""
    flip, right = np.flatnonzero(noisy.flipped)[0], np.flatnonzero(~noisy.flipped)[3]
    truth = y.copy()
    truth[flip], truth[right] = noisy.y_noisy[flip], (y[right] + 1) % K
    return labels(truth, noisy.y_noisy, K), truth


def test_no_clean_label_enters_a_signal(trained: Signals) -> None:
    noisy, truth = other_truth(NOISY[1], trained.y)
    y = BANK.labels.copy()
    y[BANK.indices("train")] = truth
    alone = train_signals(BANK, NOISY[1:2], [8], **OPTIONS)
    # As many are flipped as before: Co-teaching is told that rate, which is all it knows of the truth.
    changed = train_signals(replace(BANK, labels=y), [noisy], [8], **OPTIONS)
    assert (changed.flipped != alone.flipped).sum() == 2
    assert np.array_equal(changed.y_noisy, alone.y_noisy)
    for name in OF_SAMPLES:
        assert np.array_equal(getattr(changed, name), getattr(alone, name)), name


def two_far_lines() -> tuple[FeatureBank, np.ndarray]:
    """60 points 0, 1, ... of class 0 and 60 of class 1 far away, one test point each; and the order."""
    x, y = np.r_[np.arange(60), 1000 + np.arange(60), 0, 1000], np.r_[np.repeat([0, 1], 60), 0, 1]
    names, split = ["near", "far"], np.repeat([0, 2], [120, 2])
    return FeatureBank.from_arrays(x[:, None], y, split, names, BankMeta("lines", "raw")), y[:120]


def test_neighbours_and_wann_on_a_line() -> None:
    """Label 30 is wrong. 11 nearest of x: x - 5 to x + 5 without x, and of x - 6 and x + 6 the former."""
    bank, y = two_far_lines()
    observed = y.copy()
    observed[30] = 1
    recipe = Recipe(epochs=1, score_epochs=1, standardise=False)
    found = train_signals(bank, [labels(y, observed, 2)], [0], recipe=recipe, peers=False, device="cpu")
    expected = np.ones(120)
    expected[25:37] = 10 / 11
    expected[30] = 0
    np.testing.assert_allclose(found.neighbours[0], expected, rtol=1e-15)
    # No majority of up to 51 neighbours confirms 30, the first 11 confirm every other label.
    assert found.confirming[0].tolist() == [11] * 30 + [51] + [11] * 89


def test_a_linear_head_is_its_own_probe_and_peers_are_a_choice() -> None:
    found = train_signals(BANK, NOISY[:1], [0], head="linear", peers=False, **OPTIONS)
    assert found.classifier is found.probe
    assert found.peer_losses is None
    mlp = train_signals(BANK, NOISY[:1], [0], head="mlp", peers=False, **OPTIONS)
    np.testing.assert_allclose(mlp.probe_losses, found.losses, rtol=1e-6)
    assert np.abs(mlp.losses - found.losses).max() > 0.01


def test_the_best_epoch_is_that_of_the_highest_auroc_the_first_of_equals() -> None:
    """Run 0: sample 2 is flipped, and highest in epochs 1 and 2. Run 1: sample 0, highest in epoch 2."""
    losses = np.array(
        [[[1, 2, 0, 3], [1, 2, 3, 4]], [[0, 1, 9, 2], [3, 1, 2, 4]], [[0, 1, 9, 2], [9, 8, 7, 1]]], np.float32
    )
    assert best_epoch(signals_of(losses=losses)).tolist() == [1, 2]


def test_a_probability_of_zero_is_an_infinite_loss() -> None:
    P = np.zeros((2, 4, 3))
    P[..., 0] = 1
    held_out = signals_of(held_out=P).held_out_losses
    assert held_out.tolist() == [[0, np.inf, np.inf, 0], [np.inf, np.inf, np.inf, 0]]


SHORT_OF_ONE = labels(
    BANK.part("train")[1], np.where(BANK.part("train")[1] == 2, 1, BANK.part("train")[1]), K
)


@pytest.mark.parametrize(
    ("noisy", "options", "message"),
    [
        ([SHORT_OF_ONE], {}, r"y_noisy\[0\] has class 2 only 0 times.*fewer folds"),
        (NOISY[:1], {"folds": 60}, "folds=60 needs at least 60"),
        (NOISY[:1], {"folds": 0}, "folds=0"),
        (NOISY[:2], {}, "seeds has length 1, but y_noisy has 2"),
        ([], {}, "no run"),
        (
            [replace(NOISY[0], flipped=~NOISY[0].flipped)],
            {},
            r"noisy\[0\] is not of the bank's training split",
        ),
        ([labels(np.zeros(9, int), np.zeros(9, int), K)], {}, "it has 9 labels for 80 samples"),
    ],
)
def test_what_does_not_fit_is_found_before_training(noisy, options, message, monkeypatch) -> None:
    monkeypatch.setattr(signals, "train_bank", lambda *_, **__: pytest.fail("training has begun"))
    with pytest.raises(NoisylibError, match=message):
        train_signals(BANK, noisy, [0], **OPTIONS | options)


def test_fewer_samples_than_wanns_neighbours_are_named() -> None:
    X, y = blobs(60, 2, 3)
    tiny = make_bank(X, y, 9)
    with pytest.raises(NoisylibError, match=r"51 samples.*more than 51"):
        train_signals(tiny, noisy_labels(tiny, "symmetric", 0.2, [0]), [0], **OPTIONS)
