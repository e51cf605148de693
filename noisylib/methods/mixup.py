"""MixUp: a batch is mixed with a permutation of itself, by one weight per seed."""

from __future__ import annotations

import torch
from torch import Tensor

from noisylib.devices import send
from noisylib.methods.session import Batch, Training
from noisylib.seeding import numpy_generator


def draw_mixup(training: Training, batch: Batch, rows: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Return per seed a weight from Beta(alpha, alpha), (S,) float64, and an order of rows, (S, rows)."""
    weights, orders = [], []
    for seed in training.context.seeds:
        random = numpy_generator("mixup", seed, batch.epoch, batch.step)
        weights.append(random.beta(alpha, alpha))
        orders.append(torch.as_tensor(random.permutation(rows)))
    device = batch.index.device
    return send(torch.tensor(weights, dtype=torch.float64), device), send(torch.stack(orders), device)


def mix_rows(rows: Tensor, order: Tensor, weight: Tensor) -> Tensor:
    """Return weight * rows + (1 - weight) * rows[order] for rows (S, rows, D)."""
    other = rows.gather(1, order.unsqueeze(-1).expand_as(rows))
    return torch.lerp(other, rows, weight.view(-1, 1, 1))
