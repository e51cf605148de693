"""The written-out backward pass, folding, starts and layout of banks of heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.heads import HEAD_KINDS, HeadBank

F64 = torch.float64
S, NETS, H, B, D, K = 3, 2, 2, 5, 7, 4


def bank_of(kind: str, **more) -> HeadBank:
    heads = HeadBank(kind, [0, 1, 5], D, K, n_nets=NETS, runs_per_seed=H, width=3, dtype=F64, **more)
    noise = torch.Generator().manual_seed(0)
    heads.flat.add_(torch.randn(heads.flat.shape, generator=noise, dtype=F64) * 0.3)
    return heads


def unfolded(kind: str, p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The head's definition, head by head, on raw features x (S, B, D): logits (S, M, B, K)."""
    x = x[:, None]  # (S, 1, B, D)
    if kind == "linear":
        u = x
    elif kind == "mlp":
        u = F.gelu(x @ p["V"].mT + p["c"].mT)
    else:
        u = x + F.gelu(F.layer_norm(x, (D,)) @ p["V"].mT) @ p["U"].mT
    return u @ p["W"].mT + p["b"].mT


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_forward_equals_the_definition(kind: str) -> None:
    heads, x = bank_of(kind), torch.randn((S, B, D), generator=torch.Generator().manual_seed(1), dtype=F64)
    expected = unfolded(kind, heads.parameters, x).view(S, NETS, H, B, K).permute(1, 0, 2, 3, 4)
    torch.testing.assert_close(heads.forward(heads.prepare(x)), expected)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_one_batch_for_all_seeds(kind: str) -> None:
    heads, x = bank_of(kind), torch.randn((B, D), generator=torch.Generator().manual_seed(1), dtype=F64)
    shared = heads.forward(heads.prepare(x)).clone()
    torch.testing.assert_close(shared, heads.forward(heads.prepare(x.repeat(S, 1, 1))))


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_backward_equals_automatic_differentiation(kind: str) -> None:
    heads, x = bank_of(kind), torch.randn((S, B, D), generator=torch.Generator().manual_seed(1), dtype=F64)
    weight = torch.randn((NETS, S, H, B, K), generator=torch.Generator().manual_seed(2), dtype=F64)
    heads.flat.grad.fill_(torch.nan)  # the backward pass overwrites; nothing may be left over
    prepared = heads.prepare(x)
    heads.forward(prepared)
    heads.backward(prepared, weight)
    copies = {name: p.clone().requires_grad_() for name, p in heads.parameters.items()}
    z = unfolded(kind, copies, x).view(S, NETS, H, B, K).permute(1, 0, 2, 3, 4)
    expected = torch.autograd.grad((z * weight).sum(), list(copies.values()))
    for (name, got), want in zip(heads.gradients.items(), expected, strict=True):
        torch.testing.assert_close(got, want, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_buffers_are_safe_when_the_batch_shrinks_and_grows(kind: str) -> None:
    heads = bank_of(kind)
    for size in (B, 2, 9, B):
        x = heads.prepare(torch.randn((S, size, D), generator=torch.Generator().manual_seed(size), dtype=F64))
        fresh = bank_of(kind)
        torch.testing.assert_close(heads.forward(x), fresh.forward(x), rtol=0, atol=0)


def test_runs_of_a_seed_start_alike_and_networks_do_not() -> None:
    for name, p in HeadBank("mlp", [0, 1], D, K, n_nets=2, runs_per_seed=3).parameters.items():
        grid = p.detach().view(2, 2, 3, *p.shape[2:])  # seeds, networks, runs
        assert torch.equal(grid, grid[:, :, :1].expand_as(grid)), name
        assert not torch.equal(grid[:, 0], grid[:, 1]), name
        assert not torch.equal(grid[0], grid[1]), name


def test_start_is_uniform_within_one_over_root_fan_in() -> None:
    V = HeadBank("adapter", [0], 100, 5, width=200).parameters["V"].numpy()
    assert np.abs(V).max() <= 0.1
    assert V.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_adapter_starts_as_a_linear_head() -> None:
    heads = HeadBank("adapter", [4], D, K, dtype=F64)
    x = torch.randn((B, D), generator=torch.Generator().manual_seed(3), dtype=F64)
    W, b = heads.parameters["W"][0, 0], heads.parameters["b"][0, 0, :, 0]
    torch.testing.assert_close(heads.forward(heads.prepare(x))[0, 0, 0], x @ W.T + b)


def test_float32_and_float64_start_alike() -> None:
    single = HeadBank("mlp", [1], D, K).flat
    double = HeadBank("mlp", [1], D, K, dtype=F64).flat
    assert torch.equal(single, double.float())


@pytest.mark.parametrize(
    ("kind", "expected"), [("linear", 2 * 2 * 7 * 4), ("adapter", 2 * (2 * 7 * 7 + 3 * 3 * 4))]
)
def test_flop_count_by_hand(kind: str, expected: int) -> None:
    # linear: (B,7)x(7,4) forward and weight gradient. adapter, width 3: 7 x (3 + 4) twice, 3 x 4 three times.
    width = None if kind == "linear" else 3
    assert HeadBank(kind, [0], 7, 4, width=width).flops_per_sample() == expected


def test_unknown_kind_and_empty_width_are_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'adapter'"):
        HeadBank("adaptor", [0], D, K)
    with pytest.raises(NoisylibError, match="width=0"):
        HeadBank("mlp", [0], D, K, width=0)
