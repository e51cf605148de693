"""What must not change the result of a run: its neighbours, what it is not told, order, names and blocks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_bank import (
    SHORT,
    TRAINED,
    X_TEST,
    Y_TEST,
    D,
    K,
    N,
    X,
    Y,
    facts,
    noisy,
    part,
    small,
    train,
)

from noisylib import heads, mixtures, neighbours, training
from noisylib.methods import METHODS, TOLD, voting
from noisylib.recorder import RunResults

VIEWS = X + np.random.default_rng(7).normal(size=(5, N, D)) * 0.4
CASES = [
    *(pytest.param(name, {}, id=name) for name in METHODS),
    *(pytest.param(name, {"views": VIEWS}, id=f"{name}-cached") for name in ("dividemix", "unicon")),
]
FACTS = dict(zip(TOLD, ("noise_rates", "noise_types", "transitions"), strict=True))


def assert_same(one: RunResults, other: RunResults, *, logits: float = 0.0, losses: float = 0.0) -> None:
    """Compare scores and traces; losses are kept in float32."""
    np.testing.assert_allclose(one.test_logits, other.test_logits, rtol=0, atol=logits)
    assert one.trace.keys() == other.trace.keys()
    for name, values in one.trace.items():
        np.testing.assert_allclose(
            values, other.trace[name], rtol=0, atol=losses if name == "loss" else 0, err_msg=name
        )


@pytest.mark.parametrize(("method", "more"), CASES)
def test_a_run_does_not_depend_on_its_neighbours(method: str, more: dict[str, Any]) -> None:
    """Runs differ in labels and in what they are told; two seeds have fewer runs than the third."""
    y, told, seeds = noisy(5), facts(5), [7, 1, 7, 7, 2]
    together = train(y, method, seeds=seeds, trace=True, **told, **more)
    assert together.test_logits.shape == (5, len(X_TEST), K)
    for run in range(5):
        alone = train(y[run], method, seeds=[seeds[run]], trace=True, **part(told, [run]), **more)
        np.testing.assert_allclose(together.test_logits[run], alone.test_logits[0], rtol=0, atol=1e-10)
        np.testing.assert_array_equal(together.recall_history[:, run], alone.recall_history[:, 0])
        for name, values in alone.trace.items():
            np.testing.assert_allclose(together.trace[name][:, :, run], values[:, :, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_float32_banks_predict_alike(method: str) -> None:
    y, told, seeds = noisy(4), facts(4), [0, 0, 1, 1]
    together = train(y, method, seeds=seeds, dtype=torch.float32, **told)
    double = train(y, method, seeds=seeds, **told)
    for run in range(4):
        alone = train(y[run], method, seeds=seeds[run : run + 1], dtype=torch.float32, **part(told, [run]))
        for other in (alone.test_logits[0], double.test_logits[run]):
            agree = together.test_logits[run].argmax(-1) == other.argmax(-1)
            assert agree.mean() >= 29 / 30


def test_there_is_nowhere_to_put_a_clean_training_label() -> None:
    arguments = set(inspect.signature(training.train_bank).parameters)
    assert {name for name in arguments if name.startswith("y") or "label" in name} == {"y_noisy", "y_test"}
    assert not {name for name in arguments if "true" in name or "clean" in name or "flip" in name}


@pytest.mark.parametrize("method", METHODS)
def test_test_labels_change_scores_and_nothing_else(method: str) -> None:
    honest = train(noisy(2), method, trace=True)
    blind = train(noisy(2), method, trace=True, y_test=(Y_TEST + 1) % K)
    assert_same(honest, blind)
    assert (honest.accuracy != blind.accuracy).all()


@pytest.mark.parametrize("method", METHODS)
def test_test_samples_change_neither_training_nor_each_other(method: str) -> None:
    whole = train(noisy(2), method, trace=True)
    few = train(noisy(2), method, trace=True, X_test=X_TEST[:7], y_test=Y_TEST[:7])
    np.testing.assert_allclose(few.test_logits, whole.test_logits[:, :7], rtol=0, atol=1e-12)
    for name, values in whole.trace.items():
        np.testing.assert_array_equal(values, few.trace[name], err_msg=name)


NOT_TOLD = [(name, fact) for name in METHODS for fact in TOLD if fact not in small(name).told]


@pytest.mark.parametrize(("method", "fact"), NOT_TOLD)
def test_what_a_method_is_not_told_is_never_read(method: str, fact: str) -> None:
    plain = train(noisy(2), method, trace=True)
    assert_same(plain, train(noisy(2), method, trace=True, **{FACTS[fact]: "never read"}))


TOLD_AND_CHANGED = [
    ("coteaching", "noise_rate", [0.05], [0.6]),
    ("jocor", "noise_rate", [0.05], [0.6]),
    ("dividemix", "noise_rate", [0.2], [0.3]),
    ("dividemix", "noise_type", ["symmetric"], ["asymmetric"]),
    ("forward_oracle", "transition", [np.eye(K)], [0.7 * np.eye(K) + 0.1]),
    ("backward", "transition", [np.eye(K)], [0.7 * np.eye(K) + 0.1]),
    ("coteaching_quota", "noise_rate", [0.05], [0.6]),
    ("coteaching_class_tau", "transition", [np.eye(K)], [0.7 * np.eye(K) + 0.1]),
    ("coteaching_balanced", "noise_rate", [0.05], [0.6]),
]


@pytest.mark.parametrize(
    ("method", "fact", "one", "other"),
    TOLD_AND_CHANGED,
    ids=[f"{row[0]}-{row[1]}" for row in TOLD_AND_CHANGED],
)
def test_what_a_method_is_told_matters(method: str, fact: str, one: list, other: list) -> None:
    told = facts(1) | {"noise_rates": [0.3], "noise_types": ["symmetric"]}
    results = [train(noisy(1), method, **told | {FACTS[fact]: values}) for values in (one, other)]
    assert np.abs(results[0].test_logits - results[1].test_logits).max() > 1e-3


def test_every_told_fact_is_tried() -> None:
    declared = {(name, fact) for name in METHODS for fact in small(name).told}
    assert {row[:2] for row in TOLD_AND_CHANGED} == declared


def test_dividemix_with_both_weights_given_is_told_nothing() -> None:
    method = small("dividemix", unlabelled_weight=5.0, warm_up_penalty=0.5)
    garbage = dict.fromkeys(FACTS.values(), "never read")
    assert method.told == ()
    assert_same(train(noisy(2), method), train(noisy(2), method, **garbage))


@pytest.mark.parametrize(("method", "more"), CASES)
def test_work_in_blocks_changes_nothing(
    method: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(noisy(2), method, trace=True, **more)
    monkeypatch.setattr(training, "EVALUATION_ROWS", 7)
    monkeypatch.setitem(mixtures.BLOCK, "cpu", 64)
    monkeypatch.setattr(neighbours, "BLOCK_SIZE", 150)
    monkeypatch.setattr(voting, "BLOCK_SIZE", 150)
    assert_same(whole, train(noisy(2), method, trace=True, **more), logits=1e-10, losses=1e-6)


@pytest.mark.parametrize(("method", "more"), CASES)
def test_same_seed_same_result_whatever_the_global_generators_hold(method: str, more: dict[str, Any]) -> None:
    y = np.repeat(noisy(1), 2, axis=0)
    told = part(facts(1), [0, 0])
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002 - the global state is what is tried
        held = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
        results.append(train(y, method, seeds=[4, 4], trace=True, **told, **more))
        assert torch.equal(torch.get_rng_state(), held[0])
        assert (np.random.get_state()[1] == held[1]).all()  # noqa: NPY002
    assert_same(*results)
    np.testing.assert_allclose(results[0].test_logits[0], results[0].test_logits[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_matters_to_methods_that_train(method: str) -> None:
    y, told = np.repeat(noisy(1), 2, axis=0), part(facts(1), [0, 0])
    result = train(y, method, seeds=[4, 5], **told).test_logits
    assert (np.abs(result[0] - result[1]).max() > 1e-3) == (method in TRAINED)


@pytest.fixture
def move_draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], None]:
    """Let all draws that belong to samples follow them: old sample order[j] becomes sample j."""
    randperm, rand = torch.randperm, torch.rand

    def move(order: np.ndarray) -> None:
        place = torch.as_tensor(np.argsort(order))  # new position of each old sample

        def moved_permutation(n: int, **more: Any) -> torch.Tensor:
            # The points that RCAL draws come after the samples, and stay where they are.
            return torch.cat([place, torch.arange(N, n)])[randperm(n, **more)]

        def moved_values(size: Any, **more: Any) -> torch.Tensor:
            values = rand(size, **more)
            return values[torch.as_tensor(order)] if values.shape == (N,) else values

        monkeypatch.setattr(torch, "randperm", moved_permutation)
        monkeypatch.setattr(torch, "rand", moved_values)

    return move


@pytest.mark.parametrize(("method", "more"), CASES)
def test_samples_can_come_in_any_order(
    method: str, more: dict[str, Any], move_draws: Callable[[np.ndarray], None]
) -> None:
    """Moving samples together with their place in batches, folds and draws moves their traces only."""
    y, order = noisy(3), np.random.default_rng(0).permutation(N)
    straight = train(y, method, seeds=[0, 1, 0], trace=True, **more)
    move_draws(order)
    more = {name: views[:, order] for name, views in more.items()}
    moved = train(y[:, order], method, seeds=[0, 1, 0], X=X[order], trace=True, **more)
    for name, values in straight.trace.items():
        straight.trace[name] = values[..., order]
    assert_same(straight, moved, logits=1e-9, losses=1e-6)


@pytest.fixture
def rename_starts(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], None]:
    """Let the start of a head's output for class c be that of class renamed[c] from now on."""
    uniform = heads._uniform

    def rename(renamed: np.ndarray) -> None:
        def moved(size: Any, bound: float, kind: str, seed: int, net: int, name: str) -> torch.Tensor:
            start = uniform(size, bound, kind, seed, net, name)
            return start[np.argsort(renamed)] if name in ("W", "b") else start

        monkeypatch.setattr(heads, "_uniform", moved)

    return rename


@pytest.mark.parametrize("method", METHODS)
def test_classes_can_have_any_number(method: str, rename_starts: Callable[[np.ndarray], None]) -> None:
    """Renaming classes in labels, transition matrices and starts renames the scores.

    Where votes of three classes tie, the lowest number wins, so the adaptive neighbours get two.
    RCAL draws points by class number, so here it draws none.
    """
    classes = 2 if method in ("ann", "wann") else 3
    rule = small(method, cap=0) if method == "rcal" else small(method)
    renamed = np.array([1, 0] if classes == 2 else [1, 2, 0])
    y, told = noisy(3, Y % classes, classes), facts(3, classes)
    options = {"n_classes": classes, "seeds": [0, 1, 0], "trace": True}
    straight = train(y, rule, y_test=Y_TEST % classes, **options, **told)
    back = np.argsort(renamed)
    told["transitions"] = told["transitions"][:, back][:, :, back]
    rename_starts(renamed)
    other = train(renamed[y], rule, y_test=renamed[Y_TEST % classes], **options, **told)
    np.testing.assert_allclose(other.test_logits[..., renamed], straight.test_logits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(other.recall[:, renamed], straight.recall)
    if method in TRAINED:
        np.testing.assert_allclose(other.trace["loss"], straight.trace["loss"], rtol=0, atol=1e-6)


def test_rcal_statistics_do_not_depend_on_the_numbers_of_classes() -> None:
    rule, classes = small("rcal"), np.arange(K)
    y = np.repeat(classes, [30, 20, 10])
    means, covariances = rule.calibrated(X, y, classes, np.bincount(y))
    renamed = np.array([2, 1, 0])
    other_means, other_covariances = rule.calibrated(X, renamed[y], classes, np.bincount(renamed[y]))
    np.testing.assert_allclose(other_means[renamed], means, rtol=0, atol=1e-13)
    np.testing.assert_allclose(other_covariances[renamed], covariances, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_shuffling_runs_shuffles_results(method: str) -> None:
    y, told, seeds, order = noisy(4), facts(4), [0, 1, 0, 2], [2, 0, 3, 1]
    straight = train(y, method, seeds=seeds, **told)
    shuffled = train(y[order], method, seeds=[seeds[i] for i in order], **part(told, order))
    np.testing.assert_allclose(straight.test_logits[order], shuffled.test_logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_larger_than_the_data_is_the_data(method: str) -> None:
    exact, larger = (
        train(noisy(2), method, trace=True, recipe=replace(SHORT, batch_size=size)) for size in (N, 500)
    )
    assert_same(exact, larger)
