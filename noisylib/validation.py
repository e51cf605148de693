"""Checks of what a user hands to train_bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from noisylib.errors import NoisylibError, check_name
from noisylib.mapped_rows import MappedRows, bad_rows
from noisylib.methods import METHODS, TOLD, Method
from noisylib.noise import NOISE_TYPES, check_labels


def check_features(X: np.ndarray, argument: str) -> np.ndarray:
    """Return `X` if it is a finite (N, D) array of numbers, or raise; one on disk stays there."""
    X = X if isinstance(X, MappedRows) else np.asarray(X)
    if X.ndim != 2 or 0 in X.shape or X.dtype.kind not in "iuf":
        raise NoisylibError(
            f"{argument} has shape {X.shape} and dtype {X.dtype}: numbers of shape (N, D) are needed."
        )
    bad, first = bad_rows(X)
    if bad:
        raise NoisylibError(
            f"{argument} has NaN or infinite values in {bad} rows, first in row {first}: drop those samples "
            "or extract them again."
        )
    return X


def check_runs(X: np.ndarray, y_noisy: np.ndarray, n_classes: int, seeds: Sequence[int]) -> None:
    """Raise NoisylibError unless every run of `y_noisy` (R, N) fits the rows of `X` and has a seed."""
    if not len(y_noisy):
        raise NoisylibError("y_noisy holds no run: labels of shape (N,) or (R, N) are needed.")
    for run, labels in enumerate(y_noisy):
        check_labels(labels, n_classes, f"y_noisy[{run}]")
    if y_noisy.shape[1] != len(X):
        raise NoisylibError(
            f"y_noisy has {y_noisy.shape[1]} labels per run, but X has {len(X)} rows: give one label each."
        )
    if len(seeds) != len(y_noisy):
        raise NoisylibError(
            f"seeds has length {len(seeds)}, but y_noisy has {len(y_noisy)} runs: give each run one."
        )


@dataclass(frozen=True)
class BankInputs:
    """What `train_bank` was given, checked; what the method is not told is None.

    Attributes
    ----------
    X, X_test : (N, D) and (N_test, D); X_test is None where nothing is scored.
    y_noisy, seeds : (R, N) int64 and (R,).
    noise_rates, asymmetric, transitions : (R,) float64, (R,) bool and (R, K, K) float64, or None.
    views : (V, N, D) or None.
    sample_weight : (R, N) float64 of mean 1 in each run, or None.
    """

    X: np.ndarray
    X_test: np.ndarray | None
    y_noisy: np.ndarray
    n_classes: int
    seeds: list[int]
    noise_rates: np.ndarray | None
    asymmetric: np.ndarray | None
    transitions: np.ndarray | None
    views: np.ndarray | None
    sample_weight: np.ndarray | None

    def take(self, runs: Sequence[int]) -> BankInputs:
        """Return the same with these runs only, by position."""
        of_runs = ("y_noisy", "noise_rates", "asymmetric", "transitions", "sample_weight")
        kept = {name: getattr(self, name) for name in of_runs}
        return replace(
            self,
            seeds=[self.seeds[run] for run in runs],
            **{name: None if values is None else values[list(runs)] for name, values in kept.items()},
        )


def check_bank_inputs(
    X: np.ndarray,
    y_noisy: np.ndarray,
    X_test: np.ndarray | None,
    y_test: np.ndarray | None,
    n_classes: int,
    method: Method,
    *,
    seeds: Sequence[int] | None = None,
    noise_rates: Sequence[float] | None = None,
    noise_types: Sequence[str] | None = None,
    transitions: np.ndarray | None = None,
    views: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> BankInputs:
    """Return the inputs of `train_bank` after checking that all fits together.

    Without X_test, `y_test` is not looked at: nothing will be scored.

    Raises
    ------
    NoisylibError
        Naming the argument, its value and what is needed.
    """
    X = check_features(X, "X")
    if not isinstance(n_classes, int | np.integer) or n_classes < 2:
        raise NoisylibError(f"n_classes={n_classes!r}: a classifier needs at least 2 classes.")
    y_noisy = np.atleast_2d(np.asarray(y_noisy))
    if not len(y_noisy):
        raise NoisylibError("y_noisy holds no run: labels of shape (N,) or (R, N) are needed.")
    for run, labels in enumerate(y_noisy):
        check_labels(labels, n_classes, f"y_noisy[{run}]")
    _check_length("y_noisy", y_noisy.shape[1], "X", len(X))
    if X_test is not None:
        X_test = _check_test(X_test, y_test, X.shape[1], n_classes)
    method.check_labels(y_noisy, n_classes)
    runs = len(y_noisy)
    seeds = [0] * runs if seeds is None else _whole_numbers(seeds)
    _check_length("seeds", len(seeds), "y_noisy", runs)
    told = {"noise_rate": noise_rates, "noise_type": noise_types, "transition": transitions}
    for fact in method.told:
        if told[fact] is None:
            raise NoisylibError(
                f"{fact}s is missing: method {method.name!r} is told {TOLD[fact]} of each run. Pass what was "
                "really injected (a field of NoisyLabels), or choose a method that needs none."
            )
    return BankInputs(
        X,
        X_test,
        y_noisy.astype(np.int64),
        n_classes,
        seeds,
        check_rates(noise_rates, runs) if "noise_rate" in method.told else None,
        _asymmetric(noise_types, runs) if "noise_type" in method.told else None,
        check_transitions(transitions, runs, n_classes) if "transition" in method.told else None,
        _views(views, X, method) if method.n_views and views is not None else None,
        None if sample_weight is None else _checked_weights(sample_weight, y_noisy.shape, method),
    )


def _check_test(X_test: np.ndarray, y_test: np.ndarray, n_features: int, n_classes: int) -> np.ndarray:
    X_test = check_features(X_test, "X_test")
    if n_features != X_test.shape[1]:
        raise NoisylibError(
            f"X has {n_features} features and X_test {X_test.shape[1]}: use one backbone for both."
        )
    y_test = check_labels(y_test, n_classes, "y_test")
    _check_length("y_test", len(y_test), "X_test", len(X_test))
    absent = sorted(set(range(n_classes)) - set(y_test.tolist()))
    if absent:
        raise NoisylibError(
            f"y_test has no sample of class {absent}: its recall, and so balanced accuracy, is undefined. "
            "Split the data so that each class is in the test part, or merge classes."
        )
    return X_test


def check_rates(noise_rates: Sequence[float], runs: int) -> np.ndarray:
    """Return rates (R,) float64 in [0, 1), or raise."""
    rates = np.atleast_1d(_numbers(noise_rates, "noise_rates"))
    _check_length("noise_rates", len(rates), "y_noisy", runs)
    if not ((rates >= 0) & (rates < 1)).all():
        raise NoisylibError(f"noise_rates={rates.tolist()}: fractions in [0, 1) are needed.")
    return rates


def _asymmetric(noise_types: Sequence[str], runs: int) -> np.ndarray:
    """Return which runs have noise whose flips depend on the class, (R,) bool."""
    types = [noise_types] if isinstance(noise_types, str) else list(noise_types)
    _check_length("noise_types", len(types), "y_noisy", runs)
    for name in types:
        check_name("noise_types", name, NOISE_TYPES)
    return np.array([name in ("asymmetric", "pairflip") for name in types])


def check_transitions(transitions: np.ndarray, runs: int, n_classes: int) -> np.ndarray:
    """Return matrices (R, K, K) float64 whose rows sum to 1, or raise."""
    T = _numbers(transitions, "transitions")
    T = T[None] if T.ndim == 2 else T
    if T.shape != (runs, n_classes, n_classes):
        raise NoisylibError(
            f"transitions has shape {T.shape}: {(runs, n_classes, n_classes)} is needed, one matrix per run."
        )
    if not (np.isfinite(T).all() and (T >= 0).all() and np.allclose(T.sum(-1), 1, atol=1e-6)):
        raise NoisylibError(
            "transitions must hold probabilities whose rows sum to 1: T[i, j] = P(noisy = j | true = i). "
            "A matrix whose columns sum to 1 is the transpose."
        )
    return T


def check_views(views: np.ndarray, method: Method) -> None:
    """Raise NoisylibError if there are fewer views (V, N, D) than a step of the method needs."""
    if len(views) < method.n_views:
        raise NoisylibError(
            f"views holds {len(views)} versions of each sample, method {method.name!r} needs "
            f"{method.n_views}. Extract the bank with 'noisylib features extract --views {method.n_views}', "
            "or pass none."
        )


def _views(views: np.ndarray, X: np.ndarray, method: Method) -> np.ndarray:
    views = views if isinstance(views, MappedRows) else np.asarray(views)
    if views.ndim != 3 or views.shape[1:] != X.shape or views.dtype.kind not in "iuf":
        raise NoisylibError(
            f"views has shape {views.shape} and dtype {views.dtype}: numbers of shape "
            f"(V, {X.shape[0]}, {X.shape[1]}) are needed, in the order of X."
        )
    check_views(views, method)
    if bad_rows(views)[0]:
        raise NoisylibError("views has NaN or infinite values: extract them again.")
    return views


def _checked_weights(weights: np.ndarray, shape: tuple[int, int], method: Method) -> np.ndarray:
    """Return weights (R, N) scaled to a mean of 1 in each run."""
    if not method.mean_of_samples:
        able = ", ".join(name for name, cls in METHODS.items() if cls.mean_of_samples)
        raise NoisylibError(
            f"sample_weight does not fit method {method.name!r}: its step is more than a mean over single "
            f"samples, so nothing says what a weight should do. Leave the weights out, or use one of: {able}."
        )
    weights = np.atleast_2d(_numbers(weights, "sample_weight"))
    if weights.shape != shape:
        raise NoisylibError(
            f"sample_weight has shape {weights.shape}: {shape} is needed, one number for each label."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise NoisylibError("sample_weight holds negative, NaN or infinite values: 0 or more is needed.")
    largest = weights.max(1, keepdims=True)
    if not (largest > 0).all():
        raise NoisylibError("sample_weight is 0 throughout: some samples must count.")
    weights = weights / largest  # so that no sum overflows
    return weights / weights.mean(1, keepdims=True)


def _whole_numbers(seeds: Sequence[int]) -> list[int]:
    values = np.asarray(seeds)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise NoisylibError(f"seeds={seeds!r}: one whole number per run is needed.")
    return values.tolist()


def _numbers(values: object, argument: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NoisylibError(f"{argument} is not an array of numbers: {error}") from None


def _check_length(argument: str, length: int, other: str, expected: int) -> None:
    if length != expected:
        raise NoisylibError(f"{argument} has length {length}, but {other} has {expected}: they must agree.")
