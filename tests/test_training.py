"""The training loop: what its scores and traces are, which draws it makes, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import blobs
from small_bank import (
    FREE,
    SHORT,
    X_TEST,
    Y_TEST,
    D,
    K,
    N,
    X,
    Y,
    noisy,
    small,
    train,
)

from noisylib.methods import METHODS, Batch, make_method
from noisylib.methods.ce import CrossEntropy
from noisylib.recipe import Recipe
from noisylib.samples import as_heads_see
from noisylib.seeding import torch_generator
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

F64 = torch.float64
SEMI = [name for name in METHODS if small(name).n_views]


def test_scores_are_means_over_the_last_epochs() -> None:
    lively = Recipe(epochs=4, batch_size=16, learning_rate=0.3, score_epochs=2, width=4, decay_at=())
    result = train(noisy(2), trace=True, recipe=lively)
    assert result.epochs == [0, 1, 2, 3]
    assert (result.recall_history[2] != result.recall_history[3]).any()
    np.testing.assert_allclose(result.accuracy, result.accuracy_history[2:].mean(0))
    np.testing.assert_allclose(result.recall, result.recall_history[2:].mean(0))
    np.testing.assert_allclose(result.balanced_accuracy, result.recall.mean(-1))
    last = result.test_logits.argmax(-1)
    by_hand = [(last[0][c == Y_TEST] == c).mean() for c in range(K)]
    np.testing.assert_allclose(result.recall_history[-1, 0], by_hand)


@pytest.mark.parametrize("method", METHODS)
def test_only_scored_epochs_are_evaluated_unless_a_trace_is_asked_for(method: str) -> None:
    short, long = train(noisy(2), method), train(noisy(2), method, trace=True)
    np.testing.assert_array_equal(short.test_logits, long.test_logits)
    np.testing.assert_array_equal(short.recall, long.recall)
    assert short.trace == {}
    assert short.epochs == ([0] if method in FREE else [2, 3])
    assert long.epochs == ([0] if method in FREE else [0, 1, 2, 3])


def test_progress_counts_epochs() -> None:
    seen = []
    train(noisy(1), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_trace_holds_plain_losses_and_predictions_of_the_training_samples() -> None:
    y = noisy(2)
    recipe = Recipe(epochs=3, score_epochs=1, batch_size=20, width=4)
    result = train(y, trace=True, recipe=recipe, X_test=X, y_test=Y)
    assert result.trace["loss"].shape == (3, 1, 2, N)
    z = result.test_logits  # the test features are the training features here
    expected = np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, y[..., None], -1)[..., 0]
    np.testing.assert_allclose(result.trace["loss"][-1, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(result.trace["predicted"][-1, 0], z.argmax(-1))


def test_trace_of_coteaching_records_what_each_network_trained_on() -> None:
    result = train(noisy(1), make_method("coteaching"), noise_rates=[0.4], trace=True)
    selected = result.trace["selected"]
    assert selected.shape == (4, 2, 1, N)
    # Batches of 16, 16, 16, 12; forget rate 0.4 (e + 1) / 9.
    for epoch in range(4):
        rate = 0.4 * (epoch + 1) / 9
        kept = 3 * int(16 * (1 - rate)) + int(12 * (1 - rate))
        assert selected[epoch].sum(-1).tolist() == [[kept], [kept]]


@pytest.mark.parametrize("method", FREE)
def test_methods_that_train_nothing_vote_once(method: str) -> None:
    """No network, no trace, one evaluation; neither head nor seed nor recipe matters."""
    assert make_method(method).n_nets == 0
    result = train(noisy(2), method, trace=True)
    assert result.trace == {}
    assert result.epochs == [0]
    assert result.recall_history.shape == (1, 2, K)
    np.testing.assert_array_equal(result.recall, result.recall_history[0])
    longer = replace(SHORT, epochs=9, batch_size=7)
    other = train(noisy(2), method, head="linear", seeds=[8, 9], recipe=longer)
    np.testing.assert_array_equal(result.test_logits, other.test_logits)


def draw(seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(N, generator=torch_generator("batches", seed, epoch))


class Listening(CrossEntropy):
    """Cross entropy that writes down which samples it is given."""

    def __init__(self) -> None:
        object.__setattr__(self, "heard", [])

    def step(self, training: BankInTraining, batch: Batch) -> None:
        super().step(training, batch)
        self.heard.append((batch.epoch, batch.step, batch.n_steps, batch.index.tolist()))


def test_batches_follow_seed_and_epoch_and_the_last_one_is_kept() -> None:
    method = Listening()
    train(noisy(3), method, seeds=[3, 9, 3], recipe=replace(SHORT, epochs=2, batch_size=N - 1))
    expected = []
    for epoch in range(2):
        order = torch.stack([draw(3, epoch), draw(9, epoch)])
        expected += [
            (epoch, 0, 2, order[:, : N - 1].tolist()),
            (epoch, 1, 2, order[:, N - 1 :].tolist()),
        ]
    assert method.heard == expected


def test_a_label_matters_from_its_batch_on() -> None:
    """Runs that differ in one label are equal up to the batch of that sample, here the last of one."""
    a, b = noisy(1)[0], noisy(1)[0].copy()
    last = int(draw(3, 0)[-1])
    b[last] = (b[last] + 1) % K
    single = Recipe(epochs=1, batch_size=N - 1, score_epochs=1, learning_rate=0.03, width=4)
    with_it = train(np.stack([a, b]), seeds=[3, 3], recipe=single).test_logits
    assert np.abs(with_it[0] - with_it[1]).max() > 1e-3
    still = replace(single, learning_rate=1e-9, weight_decay=0.0)
    without = train(np.stack([a, b]), seeds=[3, 3], recipe=still).test_logits
    assert np.abs(without[0] - without[1]).max() < 1e-6


def test_learning_rate_steps() -> None:
    recipe = Recipe(epochs=20, learning_rate=1.0)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(20)]
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 5 + [0.01] * 3 + [0.001] * 2)


def test_the_loop_follows_the_schedule() -> None:
    """Rates that vanish after the first epoch leave all where it was."""
    stopping = replace(SHORT, decay_at=(0.25,) * 12, weight_decay=0.0)
    result = train(noisy(2), recipe=stopping, trace=True)
    first = replace(SHORT, epochs=1, score_epochs=1, decay_at=(1.0,), weight_decay=0.0)
    once = train(noisy(2), recipe=first)
    np.testing.assert_allclose(result.test_logits, once.test_logits, rtol=0, atol=1e-10)


def test_standardising_makes_scale_and_shift_irrelevant() -> None:
    # A power of two and no shift: exact in floating point.
    plain, scaled = train(noisy(1)), train(noisy(1), X=X * 8, X_test=X_TEST * 8)
    np.testing.assert_allclose(plain.test_logits, scaled.test_logits, atol=1e-9)
    moved = train(noisy(1), X=X * [1, 2, 3, 4, 5] + 7, X_test=X_TEST * [1, 2, 3, 4, 5] + 7)
    np.testing.assert_allclose(plain.test_logits, moved.test_logits, atol=1e-9)
    raw = train(noisy(1), X=X * 8, X_test=X_TEST * 8, recipe=replace(SHORT, standardise=False))
    assert np.abs(raw.test_logits - plain.test_logits).max() > 1e-2


def test_a_constant_feature_carries_nothing() -> None:
    """It becomes zero, also where test samples differ from it by nothing."""
    constant, constant_test = np.full((N, 1), 3.0), np.full((30, 1), 3.0)
    probe = bank_of(np.hstack([X, constant]), np.hstack([X_TEST, constant_test]))
    assert (probe.X[:, -1] == 0).all()
    assert (probe.X_test[:, -1] == 0).all()


def test_all_features_are_z_scored_with_the_mean_and_deviation_of_the_training_part() -> None:
    """Means 2 and 5, deviations 1 and 0, which counts as 1."""
    arrays = np.array([[1.0, 5], [3, 5]]), np.array([[5.0, 6]]), None, np.array([[[2.0, 4], [0, 5]]])
    for array in arrays:
        if array is not None:
            array.setflags(write=False)  # as of a memory map, of which torch warns
    cpu = torch.device("cpu")
    for dtype in (torch.float32, F64):
        seen = as_heads_see(*arrays, recipe=Recipe(), device=cpu, dtype=dtype)
        expected = [[-1, 0], [1, 0]], [[3, 1]], None, [[[0, -1], [-2, 0]]]
        assert [t if t is None else t.tolist() for t in seen] == list(expected)
        assert {t.dtype for t in seen if t is not None} == {dtype}
    plain = as_heads_see(*arrays, recipe=Recipe(standardise=False), device=cpu, dtype=F64)
    assert [t if t is None else t.tolist() for t in plain] == [a if a is None else a.tolist() for a in arrays]


def bank_of(
    X: np.ndarray,
    X_test: np.ndarray = X_TEST,
    *,
    method: str = "dividemix",
    views: np.ndarray | None = None,
    standardise: bool = True,
) -> BankInTraining:
    """A bank of three runs and two seeds with linear heads."""
    rule = small(method)
    inputs = check_bank_inputs(
        X, noisy(3), X_test, Y_TEST, K, rule,
        seeds=[4, 6, 4], noise_rates=[0.1] * 3, noise_types=["symmetric"] * 3, views=views,
    )  # fmt: skip
    recipe = replace(SHORT, standardise=standardise)
    return BankInTraining(inputs, rule, "linear", recipe, torch.device("cpu"), F64)


def batch_at(index: list[list[int]], epoch: int = 2, step: int = 1) -> Batch:
    index = torch.tensor(index)
    return Batch(epoch, step, 4, index, index.unsqueeze(1), {})


@pytest.mark.parametrize("method", SEMI)
def test_the_result_says_where_views_came_from(method: str) -> None:
    cached = np.repeat(X[None], 4, axis=0)
    dropped, taken = train(noisy(1), method), train(noisy(1), method, views=cached)
    assert (dropped.views, taken.views, train(noisy(1), "ce").views) == ("feature dropout", "cached", "")
    assert np.abs(dropped.test_logits - taken.test_logits).max() > 1e-3


@pytest.mark.parametrize("method", SEMI)
def test_views_are_standardised_as_the_features_are(method: str) -> None:
    cached = X + np.random.default_rng(3).normal(size=(4, N, D))
    plain = train(noisy(1), method, views=cached)
    scaled = train(noisy(1), method, views=cached * 8 + 1, X=X * 8 + 1, X_test=X_TEST * 8 + 1)
    np.testing.assert_allclose(plain.test_logits, scaled.test_logits, rtol=0, atol=1e-9)


def test_cached_views_are_of_the_batch_and_each_comes_once() -> None:
    """View v of sample n is the number 100 v + n, so it says what it is."""
    cached = np.broadcast_to(100.0 * np.arange(6)[:, None, None] + np.arange(N)[:, None], (6, N, D))
    bank, index = bank_of(X, views=cached, standardise=False), [list(range(0, 40)), list(range(20, 60))]
    views = bank.views(batch_at(index), (0.1, 0.1, 0.2, 0.2)).numpy()  # (V, S, B, D)
    assert views.shape == (4, 2, 40, D)
    np.testing.assert_array_equal(
        views % 100, np.broadcast_to(np.array(index)[None, :, :, None], views.shape)
    )
    which = views[..., 0] // 100
    for one in range(4):
        for other in range(one):
            assert (which[one] != which[other]).all()
    assert set(which.flatten()) == set(range(6)), "no view is left out for good"
    assert (which[:, 0] != which[:, 1]).any(), "seeds draw their own"


def test_dropped_features_are_zero_and_the_others_scaled_up() -> None:
    bank = bank_of(X)
    index = [list(range(N)), list(range(N))]
    whole, most, few = bank.views(batch_at(index), (0.0, 0.2, 0.75))
    x = bank.X.expand(2, N, D)
    torch.testing.assert_close(whole, x, rtol=0, atol=0)
    for view, drop in ((most, 0.2), (few, 0.75)):
        kept = view != 0
        torch.testing.assert_close(view[kept], (x / (1 - drop))[kept], rtol=1e-14, atol=0)
        assert kept.double().mean().item() == pytest.approx(1 - drop, abs=0.06)
    assert not torch.equal(most[0] != 0, most[1] != 0), "seeds draw their own"


@pytest.mark.parametrize("cached", [None, np.random.default_rng(0).normal(size=(4, N, D))])
def test_views_depend_on_seed_epoch_and_step_only(cached: np.ndarray | None) -> None:
    bank, index, drops = bank_of(X, views=cached), [[1, 2, 3, 4], [1, 2, 3, 4]], (0.5, 0.5)
    first = bank.views(batch_at(index), drops)
    assert torch.equal(first, bank.views(batch_at(index), drops))
    for epoch, step in ((3, 1), (2, 2)):
        assert not torch.equal(first, bank.views(batch_at(index, epoch, step), drops))


def test_separable_classes_are_learnt_by_every_method() -> None:
    far, y = blobs(200, K, D, spread=8)
    far_test, y_test = blobs(100, K, D, seed=1, spread=8)
    clean = {"noise_rates": [0.0], "noise_types": ["symmetric"], "transitions": np.eye(K)}
    for method in METHODS:
        result = train(
            y, make_method(method), X=far, X_test=far_test, y_test=y_test, **clean,
            recipe=Recipe(epochs=30, learning_rate=0.01, batch_size=32, width=8),
        )  # fmt: skip
        assert result.balanced_accuracy[0] > 0.98, method
        assert result.dead_classes[0] == 0


def test_linear_ce_reaches_the_convex_optimum() -> None:
    """CE plus L2 on a linear head is convex: the optimum is scikit-learn's."""
    from sklearn.linear_model import LogisticRegression

    recipe = Recipe(
        epochs=1500,
        batch_size=N,
        learning_rate=0.05,
        weight_decay=0.05,
        score_epochs=1,
        decay_at=(0.6, 0.8, 0.9),
    )
    ours = train(noisy(1), recipe=recipe, head="linear", seeds=[11]).test_logits[0]
    Z = (X - X.mean(0)) / X.std(0)
    Z = np.hstack([Z, np.ones((N, 1))])  # Adam's decay acts on the bias too
    reference = LogisticRegression(C=1 / (0.05 * N), fit_intercept=False, tol=1e-10, max_iter=5000)
    reference.fit(Z, noisy(1)[0])
    Z_test = np.hstack([(X_TEST - X.mean(0)) / X.std(0), np.ones((30, 1))])
    theirs = reference.decision_function(Z_test)
    difference = (ours - ours.mean(-1, keepdims=True)) - (theirs - theirs.mean(-1, keepdims=True))
    assert np.abs(difference).max() < 1e-4


def test_few_samples_in_many_dimensions_are_memorised() -> None:
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(20, 30)), rng.integers(0, K, 20)
    y[:K] = np.arange(K)
    recipe = Recipe(epochs=300, batch_size=20, learning_rate=0.05, weight_decay=0, score_epochs=1)
    assert train(y, X=Z, X_test=Z, y_test=y, head="linear", recipe=recipe).accuracy[0] == 1
