"""FusedAdam takes the steps of torch's fused Adam, bit for bit, and leaves a resting parameter alone."""

from __future__ import annotations

import pytest
import torch

from noisylib.optimiser import FusedAdam

SIZES = (7, 40, 1030)
RATES = (1e-3, 1e-3, 0.5, 1e-4, 0.02, 3e-7)


def parameters(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator, dtype=dtype) for size in SIZES]


@pytest.mark.parametrize("decay", [0.0, 1e-5, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_torch(dtype: torch.dtype, decay: float) -> None:
    """The rate changes between steps; the second parameter rests in some, the third begins later."""
    ours, theirs = parameters(dtype), parameters(dtype)
    fused = FusedAdam(ours, learning_rate=1.0, weight_decay=decay)
    reference = torch.optim.Adam(theirs, lr=1.0, weight_decay=decay, fused=True)
    generator = torch.Generator().manual_seed(1)
    for step, rate in enumerate(RATES):
        fused.learning_rate = reference.param_groups[0]["lr"] = rate
        for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(a.shape, generator=generator, dtype=dtype)
            rests = (position, step) in {(1, 2), (1, 4), (2, 0), (2, 1)}
            a.grad, b.grad = (None, None) if rests else (gradient, gradient.clone())
        before = [a.clone() for a in ours]
        fused.step()
        reference.step()
        for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert torch.equal(a, b), (position, step)
            assert torch.equal(a, before[position]) == (a.grad is None)


def test_the_first_step_is_the_rate_towards_lower_loss() -> None:
    """m / (sqrt(v) + eps) is g / (|g| + eps) after both corrections; a gradient of 0 moves nothing."""
    p = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    p.grad = torch.tensor([2.0, -1e-8, 0.0], dtype=torch.float64)
    FusedAdam([p], learning_rate=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(p, torch.tensor([0.9, 1.05, 1.0], dtype=torch.float64), rtol=1e-6, atol=0)


def test_weight_decay_is_part_of_the_gradient() -> None:
    """Decay 0.5 of 2 cancels a gradient of -1, and alone pulls at full rate."""
    p = torch.tensor([2.0, 2.0], dtype=torch.float64)
    p.grad = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    FusedAdam([p], learning_rate=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(p, torch.tensor([2.0, 1.9], dtype=torch.float64), rtol=1e-6, atol=0)
