"""Bad input is refused before any training, by an error that names it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from small_bank import CROSS_VALIDATED, FREE, X_TEST, Y_TEST, D, N, X, facts, noisy, small, train

from noisylib import training
from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.methods import METHODS, TOLD, make_method
from noisylib.recipe import Recipe

ARGUMENTS = dict(zip(TOLD, ("noise_rates", "noise_types", "transitions"), strict=True))
T = facts(1)["transitions"]
UNEVEN = np.array([[0.8, 0.1, 0.1], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(autouse=True)
def no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused here is refused before the first epoch."""

    def refuse(*_: Any) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr(training.BankInTraining, "train_epoch", refuse)


def test_good_input_does_start_training() -> None:
    with pytest.raises(AssertionError, match="has begun"):
        train(noisy(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.where(np.arange(N)[:, None] == 4, np.nan, X)}, "X has NaN .* first in row 4"),
        ({"X_test": X_TEST * np.inf}, "X_test has NaN or infinite values in 30 rows, first in row 0"),
        ({"X": X[:, 0]}, r"X has shape \(60,\)"),
        ({"X": X[:, :0]}, r"X has shape \(60, 0\)"),
        ({"X": X.astype(complex)}, "X has .* complex128: numbers"),
        ({"X": X > 0}, "X has .* bool: numbers"),
        ({"X_test": X_TEST[:, :4]}, "5 features and X_test 4"),
        ({"y": noisy(1)[:, :50]}, "y_noisy has length 50, but X has 60"),
        ({"y": noisy(2) + np.array([[0], [1]])}, r"y_noisy\[1\]\[.*3 is outside 0..2"),
        ({"y": noisy(1) - 1}, "-1 is outside 0..2"),
        ({"y": noisy(1).astype(float)}, "one integer label"),
        ({"y": noisy(1)[None]}, r"y_noisy\[0\] has shape \(1, 60\)"),
        ({"y": noisy(1)[:0]}, "y_noisy holds no run"),
        ({"y_test": Y_TEST[:9]}, "y_test has length 9, but X_test has 30"),
        ({"y_test": np.zeros(30, int)}, r"no sample of class \[1, 2\]"),
        ({"seeds": [1, 2]}, "seeds has length 2, but y_noisy has 1"),
        ({"seeds": [0.5]}, r"seeds=\[0.5\]: one whole number per run"),
        ({"seeds": 3}, "seeds=3: one whole number per run"),
        ({"device": "tpu"}, "allowed are auto, cpu"),
        ({"device": "cudax"}, "allowed are auto, cpu"),
        ({"device": "cuda:99"}, "torch sees"),
    ],
)
def test_bad_data_and_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        train(**{"y": noisy(1), **changes})


@pytest.mark.parametrize("n_classes", [1, 0, 3.0, "3"])
def test_impossible_numbers_of_classes_are_named(n_classes: Any) -> None:
    with pytest.raises(NoisylibError, match=f"n_classes={n_classes!r}: .*at least 2 classes"):
        training.train_bank(X, noisy(1), X_TEST, Y_TEST, n_classes=n_classes)


@pytest.mark.parametrize(("method", "fact"), [(name, fact) for name in METHODS for fact in small(name).told])
def test_a_fact_that_is_missing_is_named_with_its_method(method: str, fact: str) -> None:
    meaning = TOLD[fact]
    message = rf"{ARGUMENTS[fact]} is missing: method '{method}' is told {meaning} of each run"
    with pytest.raises(NoisylibError, match=re.escape(message).replace(r"\ ", " ")):
        train(noisy(1), method, **{ARGUMENTS[fact]: None})


@pytest.mark.parametrize("rates", [[1.0], [-0.1], [np.nan], [40]])
@pytest.mark.parametrize("method", ["coteaching", "jocor", "dividemix"])
def test_rates_are_fractions(method: str, rates: list[float]) -> None:
    with pytest.raises(NoisylibError, match=r"noise_rates=\[.*\]: fractions in \[0, 1\)"):
        train(noisy(1), method, noise_rates=rates)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("coteaching", {"noise_rates": [0.1, 0.2]}, "noise_rates has length 2, but y_noisy has 1"),
        ("coteaching", {"noise_rates": ["high"]}, "noise_rates is not an array of numbers"),
        ("dividemix", {"noise_types": ["symmetric"] * 3}, "noise_types has length 3, but y_noisy has 1"),
        ("dividemix", {"noise_types": ["assymetric"]}, "noise_types='assymetric'.*Did you mean 'asymmetric'"),
        ("dividemix", {"noise_types": "pair-flip"}, "noise_types='pair-flip'.*Did you mean 'pairflip'"),
        ("dividemix", {"noise_types": [None]}, "noise_types=None is unknown"),
        ("forward_oracle", {"transitions": np.eye(2)}, r"transitions has shape \(1, 2, 2\): \(1, 3, 3\)"),
        ("forward_oracle", {"transitions": np.stack([np.eye(3)] * 2)}, r"shape \(2, 3, 3\): \(1, 3, 3\)"),
        ("forward_oracle", {"transitions": [[1, 0], [0]]}, "transitions is not an array of numbers"),
        ("forward_oracle", {"transitions": UNEVEN.T}, "rows sum to 1: .*columns sum to 1 is the transpose"),
        ("backward", {"transitions": UNEVEN / 2}, "rows sum to 1"),
        ("backward", {"transitions": UNEVEN - [0.1, -0.1, 0]}, "must hold probabilities"),
        ("backward", {"transitions": UNEVEN * np.nan}, "must hold probabilities"),
        ("backward", {"transitions": np.full((3, 3), 1 / 3)}, "condition number .* cannot be inverted"),
        ("forward_oracle", {"transitions": UNEVEN[[0, 0, 2]]}, "condition number .* cannot be inverted"),
    ],
)
def test_facts_that_cannot_be_are_named(method: str, changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        train(noisy(1), method, **changes)


def test_one_singular_matrix_among_many_is_enough() -> None:
    transitions = facts(3)["transitions"]
    transitions[1] = 1 / 3
    with pytest.raises(NoisylibError, match="condition number"):
        train(noisy(3), "backward", transitions=transitions, seeds=[0, 1, 2])


@pytest.mark.parametrize(
    ("method", "views", "message"),
    [
        ("dividemix", np.zeros((1, N, D)), "views holds 1 versions .* 'dividemix' needs 2"),
        ("unicon", np.zeros((3, N, D)), "views holds 3 versions .* 'unicon' needs 4"),
        ("dividemix", np.zeros((2, N, D + 1)), r"views has shape \(2, 60, 6\)"),
        ("dividemix", np.zeros((2, N - 1, D)), r"views has shape \(2, 59, 5\)"),
        ("dividemix", np.zeros((N, D)), r"views has shape \(60, 5\)"),
        ("dividemix", np.full((2, N, D), "x"), "dtype <U1: numbers"),
        ("dividemix", np.where(np.arange(D) == 2, np.nan, np.zeros((2, N, D))), "views has NaN or infinite"),
        ("unicon", np.full((4, N, D), np.inf), "views has NaN or infinite"),
    ],
)
def test_views_that_do_not_fit_are_named(method: str, views: np.ndarray, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        train(noisy(1), method, views=views)


@pytest.mark.parametrize("method", [name for name in METHODS if not small(name).n_views and name not in FREE])
def test_views_are_not_looked_at_by_methods_that_need_none(method: str) -> None:
    with pytest.raises(AssertionError, match="has begun"):
        train(noisy(1), method, views="never read")


@pytest.mark.parametrize(("method", "option"), [("knn", "k=11"), ("ann", "kmax=51"), ("wann", "kmax=51")])
def test_too_few_samples_for_the_neighbours_are_named(method: str, option: str) -> None:
    needed = int(option.split("=")[1])
    with pytest.raises(NoisylibError, match=f"{option} of method '{method}' needs more than {needed}"):
        train(noisy(1)[:, :needed], make_method(method), X=X[:needed])


@pytest.mark.parametrize("method", CROSS_VALIDATED)
def test_too_few_samples_for_the_folds_are_named(method: str) -> None:
    y = np.repeat([0, 1, 2], [28, 28, 4])[None]
    with pytest.raises(
        NoisylibError, match=r"y_noisy\[0\] has class 2 only 4 times: .*folds=5 needs at least 5"
    ):
        train(y, make_method(method))


def test_turn_has_no_place_for_an_mlp() -> None:
    with pytest.raises(NoisylibError, match=r"head='mlp' does not fit method 'turn'.*'adapter' or 'linear'"):
        train(noisy(1), "turn", head="mlp")


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'coteaching'"):
        train(noisy(1), make_method("co-teaching"))
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
        ({"learning_rate": "1e-3"}, "YAML reads 1e-3 as text"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"decay_at": (0.5, 2)}, "decay_at"),
        ({"decay_at": 0.5}, "decay_at=0.5"),
        ({"standardise": 1}, "standardise=1"),
        ({"width": 0}, "width=0"),
    ],
)
def test_impossible_recipes_are_named(options: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        Recipe(**options)
