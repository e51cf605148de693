"""Checks of what a user hands to train_bank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.methods import Method
from noisylib.noise import check_labels


def check_features(X: np.ndarray, argument: str) -> np.ndarray:
    """Return `X` if it is a finite (N, D) array of numbers, or raise."""
    X = np.asarray(X)
    if X.ndim != 2 or 0 in X.shape or not np.issubdtype(X.dtype, np.number):
        raise NoisylibError(
            f"{argument} has shape {X.shape} and dtype {X.dtype}: numbers of shape (N, D) are needed."
        )
    finite = np.isfinite(X).all(1)
    if not finite.all():
        raise NoisylibError(
            f"{argument} has NaN or infinite values in {int((~finite).sum())} rows, first in row "
            f"{int(np.flatnonzero(~finite)[0])}: drop those samples or extract them again."
        )
    return X


def check_bank_inputs(
    X: np.ndarray,
    y_noisy: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    n_classes: int,
    seeds: Sequence[int] | None,
    noise_rates: Sequence[float] | None,
    method: Method,
) -> tuple[np.ndarray, list[int], np.ndarray | None]:
    """Return y_noisy (R, N), seeds (R,) and noise rates (R,) after checking that all fits together."""
    X, X_test = check_features(X, "X"), check_features(X_test, "X_test")
    if X.shape[1] != X_test.shape[1]:
        raise NoisylibError(
            f"X has {X.shape[1]} features and X_test {X_test.shape[1]}: use one backbone for both."
        )
    if n_classes < 2:
        raise NoisylibError(f"n_classes={n_classes}: a classifier needs at least 2 classes.")
    y_noisy = np.atleast_2d(np.asarray(y_noisy))
    for run, labels in enumerate(y_noisy):
        check_labels(labels, n_classes, f"y_noisy[{run}]")
    _check_length("y_noisy", y_noisy.shape[1], "X", len(X))
    y_test = check_labels(y_test, n_classes, "y_test")
    _check_length("y_test", len(y_test), "X_test", len(X_test))
    absent = sorted(set(range(n_classes)) - set(y_test.tolist()))
    if absent:
        raise NoisylibError(
            f"y_test has no sample of class {absent}: its recall, and so balanced accuracy, is undefined. "
            "Split the data so that each class is in the test part, or merge classes."
        )
    runs = len(y_noisy)
    seeds = [0] * runs if seeds is None else [int(seed) for seed in seeds]
    _check_length("seeds", len(seeds), "y_noisy", runs)
    if not method.told_noise_rate:
        return y_noisy.astype(np.int64), seeds, None
    if noise_rates is None:
        raise NoisylibError(
            f"noise_rates is missing: method {method.name!r} is told the noise rate of each run. "
            "Pass the realised rates (NoisyLabels.realised_rate), or choose a method that needs none."
        )
    rates = np.atleast_1d(np.asarray(noise_rates, dtype=np.float64))
    _check_length("noise_rates", len(rates), "y_noisy", runs)
    if not ((rates >= 0) & (rates < 1)).all():
        raise NoisylibError(f"noise_rates={rates.tolist()}: fractions in [0, 1) are needed.")
    return y_noisy.astype(np.int64), seeds, rates


def _check_length(argument: str, length: int, other: str, expected: int) -> None:
    if length != expected:
        raise NoisylibError(f"{argument} has length {length}, but {other} has {expected}: they must agree.")
