"""Empty selections, equal losses, rare and absent classes, odd batches: finite results and the right ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from blobs import blobs
from small_bank import (
    CROSS_VALIDATED,
    SHORT,
    TRAINED,
    X_TEST,
    Y_TEST,
    D,
    K,
    N,
    X,
    facts,
    few,
    noisy,
    small,
    train,
)

from noisylib import confident, training
from noisylib.errors import NoisylibError
from noisylib.heads import HeadBank
from noisylib.methods import METHODS, Method
from noisylib.methods.rcal import class_statistics
from noisylib.methods.semisupervised import SemiSupervised
from noisylib.recorder import RunResults

HALVES = [name for name in METHODS if issubclass(METHODS[name], SemiSupervised)]
SINGLE, DOUBLE = torch.float32, torch.float64
# Plain gradients at an everyday rate, so that weights move by what a method asks for and nothing else.
STILL = replace(SHORT, weight_decay=0.0)


def finite(y: np.ndarray, method: str | Method, **changes: Any) -> RunResults:
    """Train with a trace, and check that every number that comes out is finite."""
    result = train(y, method, trace=True, **changes)
    for name, values in {"scores": result.test_logits, "recall": result.recall, **result.trace}.items():
        assert np.isfinite(values).all(), name
    return result


def start_of(kind: str, net: int, x: np.ndarray) -> np.ndarray:
    """Logits (rows, K) at the start of network `net` of a run of seed 0."""
    x = torch.as_tensor((x - X.mean(0)) / X.std(0))
    bank = HeadBank(kind, [0], D, K, first_net=net, width=SHORT.width, dtype=DOUBLE)
    return bank.forward(bank.prepare(x))[0, 0, 0].clone().numpy()


# Nothing is selected.


def test_tgce_that_keeps_nothing_stays_where_it_is() -> None:
    result = finite(noisy(2), small("tgce", k=0.999, start_at=0), recipe=STILL)
    assert not result.trace["selected"].any()
    for run in range(2):
        np.testing.assert_allclose(
            result.test_logits[run], start_of("adapter", 0, X_TEST), rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("batch_size", [1, 16])
def test_cl_prune_skips_a_batch_that_is_pruned_whole(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run keeps all, the second nothing; a batch of one is kept or pruned as a whole anyway."""

    def first_run_only(y: torch.Tensor, P: torch.Tensor) -> torch.Tensor:
        return torch.tensor([True, False]).view(1, 2, 1).expand(y.shape)

    monkeypatch.setattr(confident, "keep_mask", first_run_only)
    recipe = replace(STILL, batch_size=batch_size)
    result = finite(noisy(2), "cl_prune", recipe=recipe)
    plain = train(noisy(2), "ce", recipe=recipe)
    np.testing.assert_allclose(result.test_logits[0], plain.test_logits[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.test_logits[1], start_of("adapter", 0, X_TEST), rtol=0, atol=1e-14)
    assert result.trace["selected"].all((0, 1, 3)).tolist() == [True, False]


def test_cufit_without_agreement_trains_its_linear_probe_only() -> None:
    first, second = start_of("linear", 0, X).argmax(-1), start_of("adapter", 1, X).argmax(-1)
    y = np.array([min({0, 1, 2} - {a, b}) for a, b in zip(first, second, strict=True)])
    one_step = replace(STILL, epochs=1, score_epochs=1, batch_size=N)
    result = finite(y, "cufit", recipe=one_step)
    assert result.trace["selected"].all((0, 2, 3)).tolist() == [True, False, False]
    assert not result.trace["selected"][:, 1:].any()
    np.testing.assert_allclose(result.test_logits[0], start_of("adapter", 2, X_TEST), rtol=0, atol=1e-14)
    moved = result.trace["loss"][0, 0, 0] - cross_entropy(start_of("linear", 0, X), y)
    assert np.abs(moved).min() > 1e-3


def cross_entropy(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.log(np.exp(z).sum(-1)) - z[np.arange(len(y)), y]


def test_coteaching_that_must_forget_almost_everything_keeps_one_sample_a_batch() -> None:
    for method in ("coteaching", "jocor", "coteaching_balanced"):
        result = finite(noisy(2), method, noise_rates=[0.99, 0.99])
        assert (result.trace["selected"][1:].sum(-1) == 4).all(), "16, 16, 16 and 12 samples give one each"


def test_dividemix_with_nothing_labelled() -> None:
    result = finite(noisy(2), small("dividemix", threshold=1.0))
    assert result.trace["selected"].all((1, 2, 3)).tolist() == [True, False, False, False]
    assert not result.trace["selected"][1:].any()


def test_dividemix_with_everything_labelled_does_not_ask_for_the_unlabelled_weight() -> None:
    """Losses are all equal, so all is labelled, and nothing is left for the unlabelled loss."""
    same = {"X": np.ones((N, D)), "X_test": np.ones((30, D))}
    y = np.zeros((2, N), int)
    light, heavy = (
        finite(y, small("dividemix", unlabelled_weight=weight), **same) for weight in (0.0, 1000.0)
    )
    assert light.trace["selected"].all()
    np.testing.assert_array_equal(light.test_logits, heavy.test_logits)


def test_unicon_labels_nothing_where_no_divergence_is_below_the_mean() -> None:
    result = finite(np.zeros((2, N), int), "unicon", X=np.ones((N, D)), X_test=np.ones((30, D)))
    assert result.trace["selected"].all((1, 2, 3)).tolist() == [True, False, False, False]
    assert not result.trace["selected"][1:].any()


# Nothing tells samples apart.


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
@pytest.mark.parametrize("method", METHODS)
def test_features_that_carry_nothing(method: str, dtype: torch.dtype) -> None:
    """All samples of a class have equal losses, and all test samples get equal scores."""
    result = finite(noisy(2), method, X=np.full((N, D), 3.0), X_test=np.full((30, D), 3.0), dtype=dtype)
    assert np.ptp(result.test_logits, axis=1).max() < 1e-6
    assert result.balanced_accuracy.tolist() == pytest.approx([1 / K, 1 / K])


@pytest.mark.parametrize("method", METHODS)
def test_one_feature(method: str) -> None:
    finite(noisy(2), method, X=X[:, :1], X_test=X_TEST[:, :1])


# Few classes.


@pytest.mark.parametrize("method", METHODS)
def test_two_classes(method: str) -> None:
    far, y = blobs(N, 2, D, spread=4)
    far_test, y_test = blobs(30, 2, D, seed=1, spread=4)
    result = finite(
        noisy(2, y, 2), method, n_classes=2, X=far, X_test=far_test, y_test=y_test,
        noise_rates=[0.1, 0.1], recipe=replace(SHORT, epochs=12),
    )  # fmt: skip
    assert result.test_logits.shape == (2, 30, 2)
    assert (result.balanced_accuracy > 0.9).all()


@pytest.mark.parametrize("left", [0, 1, 2, 3])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in CROSS_VALIDATED])
def test_a_class_that_is_rarely_observed_or_never(method: str, left: int) -> None:
    for dtype in (SINGLE, DOUBLE):
        result = finite(few(left), method, dtype=dtype)
        assert (result.recall[:, :2].mean(-1) > 0.4).all(), "the other classes are learnt all the same"


@pytest.mark.parametrize("method", [name for name in METHODS if name not in CROSS_VALIDATED])
def test_a_single_observed_class(method: str) -> None:
    finite(np.zeros((2, N), int), method)


@pytest.mark.parametrize("left", [0, 2])
@pytest.mark.parametrize("method", CROSS_VALIDATED)
def test_fewer_samples_than_folds_are_refused_before_training(
    method: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: Any) -> None:
        raise AssertionError("training was set up")

    y = noisy(2)
    y[1] = few(left)[1]
    monkeypatch.setattr(training, "BankInTraining", no_training)
    with pytest.raises(NoisylibError, match=rf"y_noisy\[1\] has class 2 only {left} times.*folds=3"):
        train(y, method)
    with pytest.raises(AssertionError, match="set up"):
        train(few(3), method)


@pytest.mark.parametrize("method", CROSS_VALIDATED)
def test_as_many_samples_as_folds_suffice(method: str) -> None:
    finite(few(3), method)


def test_turn_draws_as_many_of_each_class_as_the_rarest_has() -> None:
    y = few(1)
    y[1] = few(0)[1]
    selected = finite(y, "turn").trace["selected"]  # (E, nets, R, N)
    assert selected[:2].all((0, 2, 3)).tolist() == [True, False]
    assert not selected[:2, 1].any()
    assert not selected[2:, 0].any()
    for epoch in (2, 3):
        assert np.bincount(y[0][selected[epoch, 1, 0]], minlength=K).tolist() == [1, 1, 1]
        counts = np.bincount(y[1][selected[epoch, 1, 1]], minlength=K)
        assert counts[0] == counts[1] >= 1
        assert counts[2] == 0


def test_a_class_of_one_sample_has_no_spread() -> None:
    mean, covariance = class_statistics(X[:1], neighbours=20)
    np.testing.assert_array_equal(mean, X[0])
    np.testing.assert_array_equal(covariance, np.zeros((D, D)))


def test_rcal_fills_up_a_class_of_one_sample_to_its_cap() -> None:
    rule = small("rcal", mix=0)
    points, labels = rule.extra_points(X, few(1)[0], seed=0)
    counts = np.bincount(few(1)[0])
    missing = counts.max() - counts[:2]
    assert np.bincount(labels).tolist() == [*missing, 5]
    lonely = X[few(1)[0] == 2]
    # Without a spread of its own, all that is left is the jitter of the Cholesky factor: sd 1e-3.
    assert 1e-5 < np.abs(points[labels == 2] - lonely).max() < 1e-2


def test_rcal_adds_nothing_to_classes_of_equal_size() -> None:
    points, labels = small("rcal").extra_points(X, np.arange(N) % K, seed=0)
    assert points.shape == (0, D)
    assert labels.shape == (0,)
    finite(np.arange(N) % K, "rcal")


# Odd batches and small banks.


@pytest.mark.parametrize("batch_size", [1, K - 1, N - 1, 10 * N])
@pytest.mark.parametrize("method", TRAINED)
def test_batches_of_any_size(method: str, batch_size: int) -> None:
    """A single sample, too few for all classes, a last batch of one, and more than there are."""
    finite(noisy(2), method, recipe=replace(SHORT, batch_size=batch_size, epochs=3))


@pytest.mark.parametrize("method", METHODS)
def test_one_run_can_come_without_an_axis_and_without_a_seed(method: str) -> None:
    flat, stacked = finite(noisy(1)[0], method), finite(noisy(1), method, seeds=[0])
    np.testing.assert_array_equal(flat.test_logits, stacked.test_logits)
    assert flat.accuracy.shape == (1,)


@pytest.mark.parametrize("method", TRAINED)
def test_one_epoch(method: str) -> None:
    result = finite(noisy(2), method, recipe=replace(SHORT, epochs=1, score_epochs=1))
    assert result.epochs == [0]


@pytest.mark.parametrize("method", METHODS)
def test_arrays_that_may_not_be_written_to(method: str) -> None:
    """Memory maps and broadcast arrays are read, neither written to nor warned of."""
    arrays = {"X": X, "X_test": X_TEST, "y_test": Y_TEST, "views": np.stack([X] * 4)} | facts(2)
    locked = {name: np.array(values) for name, values in arrays.items()} | {"y": noisy(2)}
    for values in locked.values():
        values.flags.writeable = False
    finite(**locked, method=method)


# Extreme numbers.


@pytest.mark.parametrize(("scale", "dtype"), [(1e3, SINGLE), (1e6, DOUBLE)])
@pytest.mark.parametrize("method", METHODS)
def test_predictions_so_sure_that_probabilities_vanish(method: str, scale: float, dtype: torch.dtype) -> None:
    recipe = replace(SHORT, standardise=False)
    finite(noisy(2), method, X=X * scale, X_test=X_TEST * scale, dtype=dtype, recipe=recipe)


@pytest.mark.parametrize("method", HALVES)
def test_a_learning_rate_far_too_high(method: str) -> None:
    finite(noisy(2), method, dtype=SINGLE, recipe=replace(SHORT, learning_rate=9.0, epochs=10))


# What a trace says of selections.

SELECTING = {
    "coteaching": 2,
    "dividemix": 2,
    "cufit": 3,
    "tgce": 1,
    "jocor": 2,
    "unicon": 2,
    "turn": 2,
    "cl_prune": 1,
    "coteaching_quota": 2,
    "coteaching_class_tau": 2,
    "coteaching_balanced": 2,
}


@pytest.mark.parametrize("method", METHODS)
def test_selections_are_traced_for_every_epoch_network_run_and_sample(method: str) -> None:
    y = noisy(3)
    trace = finite(y, method, seeds=[1, 0, 1]).trace
    assert ("selected" in trace) == (method in SELECTING)
    if method in SELECTING:
        assert trace["selected"].shape == trace["loss"].shape == (4, SELECTING[method], 3, N)
        assert trace["selected"].dtype == bool
        assert not trace["selected"].all()
        assert trace["selected"].any((0, 1, 3)).all()


def test_unicon_labels_the_same_samples_for_both_networks_at_most_a_quota_of_each_class() -> None:
    y = noisy(2)
    selected = finite(y, "unicon").trace["selected"][1:]
    np.testing.assert_array_equal(selected[:, 0], selected[:, 1])
    for epoch in selected[:, 0]:
        for labels, chosen in zip(y, epoch, strict=True):
            counts, observed = np.bincount(labels[chosen], minlength=K), np.bincount(labels)
            quota = counts.max()
            assert 0 < quota <= N / K
            np.testing.assert_array_equal(counts, np.minimum(quota, observed))


def test_tgce_keeps_what_the_last_epoch_made_likely() -> None:
    """In the trace: losses after epoch e - 1 decide what epoch e trains on, from half the epochs on."""
    trace = finite(noisy(2), "tgce").trace
    assert trace["selected"][:2].all()
    for epoch in (2, 3):
        likely = np.exp(-trace["loss"][epoch - 1].astype(np.float64)) > 0.5
        np.testing.assert_array_equal(trace["selected"][epoch], likely)
