"""What a method is told of the noise by someone who may not know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from noisylib.candidates import CANDIDATES
from noisylib.methods import Method, make_method
from noisylib.methods.correction import check_invertible
from noisylib.methods.coteaching_by_class import observed_purity
from noisylib.noise_estimate import transition_at_rate
from noisylib.validation import check_rates, check_transitions

if TYPE_CHECKING:
    from noisylib.noise_estimate import NoiseEstimate

# An estimated rate of 0 would switch a method off, and no rule is of use where most labels are wrong.
LOWEST_RATE, HIGHEST_RATE = 0.01, 0.6


@dataclass(frozen=True)
class Facts:
    """What a method is told; None where nobody said and the method does not ask.

    Attributes
    ----------
    noise_rate : fraction of wrong labels.
    noise_type : "symmetric" or "asymmetric".
    transition : (K, K) float64, T[i, j] = P(noisy = j | true = i).
    estimated : which of the three were estimated from the labels.
    """

    noise_rate: float | None = None
    noise_type: str | None = None
    transition: np.ndarray | None = None
    estimated: tuple[str, ...] = ()


def settle(
    method: str | Method,
    y: np.ndarray,
    n_classes: int,
    estimate: Callable[[], NoiseEstimate],
    *,
    noise_rate: float | None = None,
    noise_type: str | None = None,
    transition: np.ndarray | None = None,
) -> tuple[Method, Facts]:
    """Return the configured method, and what it is told: as given, else as estimated.

    A given transition matrix also says rate and type, where they are not given. A method named by its name
    that has a setting for people who know nothing (DivideMix) gets it if a fact it would ask for is not
    given; every other fact that a method is told and that is not given is estimated, a matrix at the rate
    that is given.

    Parameters
    ----------
    method : registry name or a configured method.
    y : (N,) int64 observed labels.
    estimate : called at most once, and only if something must be estimated.

    Raises
    ------
    NoisylibError
        For an unknown method, a rate outside [0, 1), or a matrix of the wrong shape, whose rows do not sum
        to 1, or from which the rate cannot be had because it has no inverse.
    """
    given: dict[str, object] = {"noise_type": noise_type}
    if transition is not None:
        T = check_transitions(transition, 1, n_classes)[0]
        given["transition"] = T
        given["noise_type"] = noise_type or type_of(T)
        if noise_rate is None:
            given["noise_rate"] = rate_of(T, y)
    if noise_rate is not None:
        (given["noise_rate"],) = check_rates([noise_rate], 1).tolist()
    settled = make_method(method)
    missing = [fact for fact in settled.told if given.get(fact) is None]
    if missing and isinstance(method, str) and method in CANDIDATES:
        settled = CANDIDATES[method].method
        missing = [fact for fact in settled.told if given.get(fact) is None]
    if missing:
        found, shares = estimate(), np.bincount(y, minlength=n_classes) / len(y)
        estimated = {
            "noise_rate": float(np.clip(found.rate, LOWEST_RATE, HIGHEST_RATE)),
            "noise_type": type_of(found.T),
            "transition": found.T if noise_rate is None else transition_at_rate(found.T, shares, noise_rate),
        }
        given |= {fact: estimated[fact] for fact in missing}
    return settled, Facts(**{fact: given[fact] for fact in settled.told}, estimated=tuple(missing))


def rate_of(T: np.ndarray, y: np.ndarray) -> float:
    """Return the share of wrong labels among `y` (N,) if `T` (K, K) made them."""
    T = torch.as_tensor(T)[None, None]
    check_invertible(T)
    counts = torch.bincount(torch.as_tensor(y), minlength=T.shape[-1])
    purity = observed_purity(T, counts[None, None])[0, 0]
    return float(1 - (counts * purity).sum() / counts.sum())


def type_of(T: np.ndarray) -> str:
    """Return whether `T` (K, K) spreads wrong labels over the classes, "symmetric", or not, "asymmetric".

    With K > 2, the largest share that one class has of a row's wrong labels, averaged over the rows that
    have any, is compared with the middle of its range, 1 / (K - 1) to 1. With two classes it is whether one
    is mistaken for the other less than half as often as the other way round.
    """
    K, wrong = len(T), T * (1 - np.eye(len(T)))
    rates = wrong.sum(1)
    if K == 2:
        return "asymmetric" if rates.min() < rates.max() / 2 else "symmetric"
    largest = wrong.max(1)[rates > 0] / rates[rates > 0]
    middle = (1 / (K - 1) + 1) / 2
    return "asymmetric" if largest.size and largest.mean() > middle else "symmetric"
