"""Where the features of a bank lie: in memory if they fit, else where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_bank import SHORT, X_TEST, Y_TEST, D, K, N, X, noisy, small, train

from noisylib import samples
from noisylib.errors import NoisylibError
from noisylib.methods import METHODS
from noisylib.samples import MappedSamples, Samples, make_samples, needed_bytes
from noisylib.validation import BankInputs, check_bank_inputs

CPU, F64 = torch.device("cpu"), torch.float64
NUMBERS = (N + 30) * D
WHOLE = [name for name in METHODS if small(name).whole_features]


def inputs(method: str = "ce") -> BankInputs:
    return check_bank_inputs(X, noisy(2), X_TEST, Y_TEST, K, small(method))


def made(limit: int | None, method: str = "ce") -> Samples | MappedSamples:
    return make_samples(
        inputs(method), SHORT, CPU, torch.float32, method=small(method), head="linear", memory_limit=limit
    )


def test_features_are_in_memory_if_they_fit() -> None:
    """28 bytes for each number: three copies in double precision, and one in single."""
    assert type(made(28 * NUMBERS)) is Samples
    assert type(made(28 * NUMBERS - 1)) is MappedSamples
    assert type(made(None)) is Samples


@pytest.mark.parametrize("free", [56 * NUMBERS, None])
def test_without_a_limit_half_of_the_free_memory_may_be_taken(monkeypatch, free) -> None:
    monkeypatch.setattr(samples, "free_memory", lambda: free)
    monkeypatch.setattr(samples, "SMALL", 0)
    assert type(made(None)) is Samples
    if free is not None:
        monkeypatch.setattr(samples, "free_memory", lambda: free - 2)
        assert type(made(None)) is MappedSamples
        assert type(made(None, "knn")) is Samples, "it has no other way, so it may take all"


def test_little_is_taken_without_asking(monkeypatch) -> None:
    monkeypatch.setattr(samples, "free_memory", lambda: pytest.fail("asked"))
    made(None)


def test_a_gpu_needs_what_stays_there() -> None:
    gpu, wide = torch.device("cuda"), {"adapter": 3, "linear": 1, "mlp": 1}
    for head, copies in wide.items():
        assert needed_bytes(inputs(), small("ce"), head, gpu, torch.float32) == 4 * copies * NUMBERS
    assert needed_bytes(inputs(), small("ce"), "adapter", CPU, torch.float32) == 28 * NUMBERS


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "8GiB"])
def test_a_limit_is_a_number_of_bytes(limit) -> None:
    with pytest.raises(NoisylibError, match=r"memory_limit=.*a number of bytes, at least 1"):
        made(limit)


@pytest.mark.parametrize("method", WHOLE)
def test_methods_that_look_at_all_features_say_so(method: str) -> None:
    with pytest.raises(
        NoisylibError, match=rf"'{method}' looks at all .* 12.6 kB where 2 kB .* memory_limit"
    ):
        train(noisy(1), method, memory_limit=2000)
    train(noisy(1), method, memory_limit=28 * NUMBERS)


def test_neighbours_and_gaussians_need_all_features() -> None:
    assert WHOLE == ["rcal", "knn", "ann", "wann"]


def test_features_that_are_not_standardised_are_as_given() -> None:
    seen = MappedSamples(inputs(), replace(SHORT, standardise=False), CPU, F64, 1000)
    np.testing.assert_array_equal(seen.X[torch.arange(N)], X)
    assert seen.views is None
