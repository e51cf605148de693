"""Softmax and cross entropy over banks of logits (nets, S, H, B, K)."""

from __future__ import annotations

from torch import Tensor


def log_softmax(logits: Tensor) -> Tensor:
    """Return log probabilities over the last axis.

    Logits arrive as a transposed view; taken along its stored order the kernel is several times faster.
    """
    return logits.mT.log_softmax(-2).mT


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return per-sample cross entropy (nets, S, H, B) in nats."""
    return -pick(log_softmax(logits), targets)


def pick(values: Tensor, targets: Tensor) -> Tensor:
    """Return values[..., b, targets[..., b]], with targets broadcast over the networks."""
    return values.gather(-1, targets.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def softmax(logits: Tensor) -> Tensor:
    """Return fresh probabilities over the last axis, computed along the stored order."""
    return logits.mT.softmax(-2).mT


def add_at_label(values: Tensor, targets: Tensor, amount: float) -> Tensor:
    """Add `amount` to values[..., b, targets[..., b]] in place and return them."""
    where = targets.expand(values.shape[:-1]).unsqueeze(-1)
    return values.scatter_add_(-1, where, values.new_full((), amount).expand(where.shape))
