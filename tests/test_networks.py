"""Banks of several kinds of head that act as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_bank import noisy, train

from noisylib.heads import HeadBank
from noisylib.methods.cufit import CUFITHead
from noisylib.networks import Networks
from noisylib.seeding import torch_generator

F64 = torch.float64
SEEDS, H, B, D, K, WIDTH = [4, 0], 3, 5, 6, 4, 3
MIXTURES = [
    (("linear", 1), ("adapter", 2)),
    (("linear", 1), ("mlp", 2)),
    (("linear", 1), ("linear", 1)),
    (("adapter", 1), ("linear", 2), ("mlp", 1)),
]


def networks_of(kinds, *, moved: bool = True) -> Networks:
    networks = Networks(kinds, SEEDS, D, K, runs_per_seed=H, width=WIDTH, dtype=F64)
    for number, flat in enumerate(networks.parameters):
        noise = torch.Generator().manual_seed(number)
        flat.add_(torch.randn(flat.shape, generator=noise, dtype=F64), alpha=0.3 * moved)
    return networks


def alone(networks: Networks, kinds, position: int) -> HeadBank:
    """The bank at `position` built by itself, with the same parameters."""
    kind, count = kinds[position]
    first = sum(n for _, n in kinds[:position])
    bank = HeadBank(
        kind, SEEDS, D, K, n_nets=count, first_net=first, runs_per_seed=H, width=WIDTH, dtype=F64
    )  # fmt: skip
    bank.flat.copy_(networks.banks[position].flat)
    return bank


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("kinds", MIXTURES)
def test_mixed_kinds_equal_separate_banks(kinds) -> None:
    networks, x = networks_of(kinds), random(len(SEEDS), B, D)
    prepared = networks.prepare(x)
    logits = networks.forward(prepared)
    weight = random(*logits.shape, seed=1)
    networks.backward(prepared, weight)
    first = 0
    for position, (_, count) in enumerate(kinds):
        bank, nets = alone(networks, kinds, position), slice(first, first + count)
        x_own = bank.prepare(x)
        torch.testing.assert_close(logits[nets], bank.forward(x_own), rtol=0, atol=1e-13)
        bank.backward(x_own, weight[nets])
        for name, gradient in bank.gradients.items():
            got = networks.banks[position].gradients[name]
            torch.testing.assert_close(got, gradient, rtol=0, atol=1e-13)
        first += count
    assert logits.shape == (first, len(SEEDS), H, B, K)


@pytest.mark.parametrize("kinds", MIXTURES)
def test_one_batch_for_all_seeds_and_batches_that_shrink_and_grow(kinds) -> None:
    networks = networks_of(kinds)
    for size in (B, 2, 9):
        shared = networks.prepare(random(size, D, seed=size))
        each = networks.forward(shared.expand(len(SEEDS), -1, -1)).clone()
        assert each.shape[3] == size
        torch.testing.assert_close(networks.forward(shared), each, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kinds", MIXTURES)
def test_gather_takes_the_rows_that_were_prepared(kinds) -> None:
    networks, index = networks_of(kinds), torch.tensor([[3, 0, 3], [1, 2, 0]])
    prepared = networks.prepare(random(4, D))
    assert torch.equal(networks.gather(prepared, index), prepared[index])


def test_networks_are_numbered_through_the_kinds() -> None:
    networks = networks_of((("linear", 1), ("adapter", 2), ("linear", 1)), moved=False)
    numbers = [[0], [1, 2], [3]]
    for bank, of_bank in zip(networks.banks, numbers, strict=True):
        W = bank.parameters["W"].view(len(SEEDS), len(of_bank), H, K, D)
        for at, number in enumerate(of_bank):
            for s, seed in enumerate(SEEDS):
                generator = torch_generator("init", seed, number, bank.kind, "W")
                drawn = torch.rand((K, D), generator=generator, dtype=F64)
                expected = (drawn * 2 - 1) * D**-0.5
                torch.testing.assert_close(W[s, at], expected.expand(H, K, D), rtol=0, atol=0)


def test_a_resting_bank_stays_as_it_is_even_under_weight_decay() -> None:
    networks = networks_of((("linear", 1), ("adapter", 1), ("mlp", 1)))
    optimiser = torch.optim.Adam(networks.parameters, lr=0.1, weight_decay=0.5, fused=True)
    prepared = networks.prepare(random(len(SEEDS), B, D))
    for training in ([1], [0, 2], [1], [0, 1, 2]):
        networks.train_only(training)
        before = [flat.clone() for flat in networks.parameters]
        networks.backward(prepared, random(*networks.forward(prepared).shape))
        optimiser.step()
        moved = [not torch.equal(a, b) for a, b in zip(before, networks.parameters, strict=True)]
        assert moved == [position in training for position in range(3)]


def test_waking_up_does_not_use_old_gradients() -> None:
    """A bank's gradient comes back as the buffer that backward writes, not as a stale copy."""
    networks = networks_of((("linear", 1), ("adapter", 1)))
    networks.train_only([0])
    networks.train_only([0, 1])
    prepared = networks.prepare(random(len(SEEDS), B, D))
    networks.backward(prepared, random(*networks.forward(prepared).shape))
    for bank in networks.banks:
        assert bank.flat.grad is bank.flat_gradient
        assert bank.flat.grad.abs().sum() > 0


@dataclass(frozen=True)
class FirstModule(CUFITHead):
    """CUFIT-head that predicts with the LPM."""

    def scores(self, logits: torch.Tensor, state: dict) -> torch.Tensor:
        return logits[0]


@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
def test_first_module_of_cufit_is_a_linear_probe_with_cross_entropy(head: str) -> None:
    y, seeds = noisy(3), [2, 5, 2]
    module = train(y, FirstModule(), head=head, seeds=seeds)
    probe = train(y, "ce", head="linear", seeds=seeds)
    np.testing.assert_allclose(module.test_logits, probe.test_logits, rtol=0, atol=1e-12)
    whole = train(y, "cufit", head=head, seeds=seeds)
    assert np.abs(whole.test_logits - probe.test_logits).max() > 1e-2
