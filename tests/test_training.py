"""Invariants of the training loop and its answers to bad input."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from blobs import blobs

from noisylib import training
from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.methods import METHODS
from noisylib.recipe import Recipe
from noisylib.training import train_bank

K, D, N = 3, 5, 60
X, Y = blobs(N, K, D)
X_TEST, Y_TEST = blobs(30, K, D, seed=1)
SHORT = Recipe(epochs=4, batch_size=16, learning_rate=0.01, score_epochs=2, width=4)


def noisy(runs: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.stack([np.where(rng.random(N) < 0.2, rng.integers(0, K, N), Y) for _ in range(runs)])


def train(y, *, method="ce", seeds=None, rates=None, X=X, X_test=X_TEST, y_test=Y_TEST, **more):
    more = {"recipe": SHORT, "dtype": torch.float64, "device": "cpu", "n_classes": K, **more}
    rates = np.full(len(np.atleast_2d(y)), 0.2) if rates is None else rates
    return train_bank(X, y, X_test, y_test, method=method, seeds=seeds, noise_rates=rates, **more)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_does_not_depend_on_its_neighbours(method: str) -> None:
    y, rates = noisy(5), np.array([0.1, 0.2, 0.3, 0.4, 0.2])
    seeds = [7, 1, 7, 7, 2]  # ragged: seeds 1 and 2 are filled up
    together = train(y, method=method, seeds=seeds, rates=rates)
    for run in range(5):
        alone = train(y[run], method=method, seeds=[seeds[run]], rates=rates[[run]])
        np.testing.assert_allclose(together.test_logits[run], alone.test_logits[0], rtol=0, atol=1e-10)
        np.testing.assert_array_equal(together.recall[run], alone.recall[0])


@pytest.mark.parametrize("method", METHODS)
def test_float32_banks_predict_alike(method: str) -> None:
    y = noisy(4)
    together = train(y, method=method, seeds=[0, 0, 1, 1], dtype=torch.float32)
    alone = train(y[2], method=method, seeds=[1], dtype=torch.float32)
    agree = together.test_logits[2].argmax(-1) == alone.test_logits[0].argmax(-1)
    assert agree.mean() >= 29 / 30


def test_no_clean_training_label_can_reach_a_method() -> None:
    """The signature has nowhere to put one; test labels change scores and nothing else."""
    assert not {"y_true", "y_clean", "y", "flipped"} & set(inspect.signature(train_bank).parameters)
    garbage = np.roll(Y_TEST, 7)
    for method in METHODS:
        honest = train(noisy(2), method=method, trace=True)
        blind = train(noisy(2), method=method, trace=True, y_test=garbage)
        np.testing.assert_array_equal(honest.test_logits, blind.test_logits)
        for name, values in honest.trace.items():
            np.testing.assert_array_equal(values, blind.trace[name])


@pytest.mark.parametrize("method", [name for name, cls in METHODS.items() if not cls().told])
def test_the_noise_rate_reaches_only_methods_that_are_told_it(method: str) -> None:
    low = train(noisy(2), method=method, rates=[0.0, 0.0])
    high = train(noisy(2), method=method, rates=[0.9, 0.9])
    np.testing.assert_array_equal(low.test_logits, high.test_logits)


def test_coteaching_uses_its_rate() -> None:
    low = train(noisy(1), method="coteaching", rates=[0.0])
    high = train(noisy(1), method="coteaching", rates=[0.6])
    assert np.abs(low.test_logits - high.test_logits).max() > 1e-3


def test_batches_and_starts_do_not_depend_on_the_labels() -> None:
    """Two runs of one seed that differ in one sample's label differ only from that batch on."""
    a, b = noisy(1)[0], noisy(1)[0].copy()
    order = torch.randperm(N, generator=_batches(seed=3, epoch=0))
    last = int(order[-1])  # in the last batch of the first epoch
    b[last] = (b[last] + 1) % K
    one = Recipe(epochs=1, batch_size=N - 1, score_epochs=1, learning_rate=1e-9, weight_decay=0, width=4)
    result = train(np.stack([a, b]), seeds=[3, 3], recipe=one)
    assert np.abs(result.test_logits[0] - result.test_logits[1]).max() < 1e-6


def _batches(seed: int, epoch: int) -> torch.Generator:
    from noisylib.seeding import torch_generator

    return torch_generator("batches", seed, epoch)


def test_same_seed_same_result_and_other_seed_other_result() -> None:
    y = np.repeat(noisy(1), 2, axis=0)
    same = train(y, seeds=[4, 4]).test_logits
    np.testing.assert_allclose(same[0], same[1], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(same, train(y, seeds=[4, 4]).test_logits)
    other = train(y, seeds=[4, 5]).test_logits
    assert np.abs(other[0] - other[1]).max() > 1e-3


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


def test_trace_holds_plain_losses_and_predictions_of_the_training_samples() -> None:
    y = noisy(2)
    result = train(
        y, trace=True, recipe=Recipe(epochs=3, score_epochs=1, batch_size=20, width=4), X_test=X, y_test=Y
    )
    assert result.trace["loss"].shape == (3, 1, 2, N)
    z = result.test_logits  # the test features are the training features here
    expected = np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, y[..., None], -1)[..., 0]
    np.testing.assert_allclose(result.trace["loss"][-1, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(result.trace["predicted"][-1, 0], z.argmax(-1))


@pytest.mark.parametrize("method", METHODS)
def test_evaluation_in_blocks_changes_nothing(method: str, monkeypatch) -> None:
    whole = train(noisy(2), method=method, trace=True)
    monkeypatch.setattr(training, "EVALUATION_ROWS", 7)
    blocks = train(noisy(2), method=method, trace=True)
    np.testing.assert_allclose(blocks.test_logits, whole.test_logits, rtol=0, atol=1e-12)
    np.testing.assert_allclose(blocks.trace["loss"], whole.trace["loss"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(blocks.trace["predicted"], whole.trace["predicted"])


def test_trace_of_coteaching_records_what_each_network_trained_on() -> None:
    result = train(noisy(1), method="coteaching", rates=[0.4], trace=True)
    selected = result.trace["selected"]
    assert selected.shape == (4, 2, 1, N)
    # Batches of 16, 16, 16, 12; forget rate 0.4 (e + 1) / 9.
    for epoch in range(4):
        rate = 0.4 * (epoch + 1) / 9
        kept = 3 * int(16 * (1 - rate)) + int(12 * (1 - rate))
        assert selected[epoch].sum(-1).tolist() == [[kept], [kept]]


def test_shuffling_runs_shuffles_results() -> None:
    y, seeds = noisy(4), [0, 1, 0, 2]
    straight = train(y, seeds=seeds)
    order = [2, 0, 3, 1]
    shuffled = train(y[order], seeds=[seeds[i] for i in order])
    np.testing.assert_allclose(straight.test_logits[order], shuffled.test_logits, atol=1e-12)


def test_standardising_makes_scale_and_shift_irrelevant() -> None:
    # A power of two and no shift: exact in floating point.
    plain, scaled = train(noisy(1)), train(noisy(1), X=X * 8, X_test=X_TEST * 8)
    np.testing.assert_allclose(plain.test_logits, scaled.test_logits, atol=1e-9)
    constant = np.hstack([X, np.full((N, 1), 3.0)])
    widened = train(noisy(1), X=constant, X_test=np.hstack([X_TEST, np.full((30, 1), 3.0)]), head="linear")
    assert np.isfinite(widened.test_logits).all()


def test_separable_classes_are_learnt() -> None:
    far, y = blobs(200, K, D, spread=8)
    far_test, y_test = blobs(100, K, D, seed=1, spread=8)
    for method in METHODS:
        result = train(
            y, X=far, X_test=far_test, y_test=y_test, method=method, rates=[0.0],
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.where(np.arange(N)[:, None] == 4, np.nan, X)}, "X has NaN .* first in row 4"),
        ({"X": X[:, 0]}, r"X has shape \(60,\)"),
        ({"X_test": X_TEST[:, :4]}, "5 features and X_test 4"),
        ({"y": noisy(1)[:, :50]}, "y_noisy has length 50, but X has 60"),
        ({"y": noisy(1) + 1}, "is outside 0..2"),
        ({"y": noisy(1).astype(float)}, "one integer label"),
        ({"y_test": Y_TEST[:9]}, "y_test has length 9"),
        ({"y_test": np.zeros(30, int)}, r"no sample of class \[1, 2\]"),
        ({"n_classes": 1}, "at least 2 classes"),
        ({"seeds": [1, 2]}, "seeds has length 2"),
        ({"method": "coteaching", "rates": [1.0]}, r"fractions in \[0, 1\)"),
        ({"device": "tpu"}, "allowed are auto, cpu"),
        ({"device": "cudax"}, "allowed are auto, cpu"),
        ({"device": "cuda:99"}, "torch sees"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        train(**{"y": noisy(1), **changes})


def test_a_told_method_without_a_rate_is_refused() -> None:
    with pytest.raises(NoisylibError, match="noise_rates is missing"):
        train_bank(X, noisy(1), X_TEST, Y_TEST, n_classes=K, method="coteaching", recipe=SHORT)


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'coteaching'"):
        train(noisy(1), method="co-teaching")
    with pytest.raises(UnknownNameError, match="Did you mean 'linear'"):
        train(noisy(1), head="liner")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_asking_for_an_absent_gpu_is_named() -> None:
    with pytest.raises(NoisylibError, match="torch sees 0 GPUs"):
        train(noisy(1), device="cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 5}, "score_epochs=10 is more"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"decay_at": (0.5, 2)}, "decay_at"),
    ],
)
def test_impossible_recipes_are_named(options: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        Recipe(**options)


def test_learning_rate_steps() -> None:
    recipe = Recipe(epochs=20, learning_rate=1.0)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(20)]
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 5 + [0.01] * 3 + [0.001] * 2)
