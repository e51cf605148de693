"""One classification head and one optimiser, written from their equations for one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from noisylib.seeding import torch_generator

F64 = torch.float64
Head = dict[str, Tensor]


def start_head(kind: str, seed: int, net: int, D: int, K: int, width: int) -> Head:
    """Uniform in +-1/sqrt(fan in); the adapter's U starts at zero."""

    def draw(name: str, rows: int, columns: int, fan_in: int) -> Tensor:
        u = torch.rand((rows, columns), generator=torch_generator("init", seed, net, kind, name), dtype=F64)
        return ((2 * u - 1) / math.sqrt(fan_in)).requires_grad_()

    if kind == "linear":
        return {"W": draw("W", K, D, D), "b": draw("b", K, 1, D)}
    if kind == "mlp":
        return {
            "V": draw("V", width, D, D),
            "c": draw("c", width, 1, D),
            "W": draw("W", K, width, width),
            "b": draw("b", K, 1, width),
        }
    U = torch.zeros((D, width), dtype=F64).requires_grad_()
    return {"V": draw("V", width, D, D), "U": U, "W": draw("W", K, D, D), "b": draw("b", K, 1, D)}


def gelu(v: Tensor) -> Tensor:
    return v * 0.5 * (1 + torch.erf(v / math.sqrt(2)))


def logits_of(kind: str, head: Head, x: Tensor) -> Tensor:
    """Logits (K,) of one sample (D,)."""
    b = head["b"][:, 0]
    if kind == "linear":
        return head["W"] @ x + b
    if kind == "mlp":
        return head["W"] @ gelu(head["V"] @ x + head["c"][:, 0]) + b
    centred = x - x.mean()
    normal = centred / torch.sqrt((centred**2).mean() + 1e-5)
    return head["W"] @ (x + head["U"] @ gelu(head["V"] @ normal)) + b


def log_p(z: Tensor) -> Tensor:
    """Logarithm of the softmax (K,) of one sample's logits."""
    shifted = z - z.max()
    return shifted - torch.log(torch.exp(shifted).sum())


def ce(z: Tensor, y: int) -> Tensor:
    return -log_p(z)[y]


def soft_ce(z: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of one sample with a target distribution (K,)."""
    return -(target * log_p(z)).sum()


class Adam:
    """Kingma and Ba 2015, algorithm 1, with the decay added to the gradient."""

    def __init__(self, head: Head, decay: float) -> None:
        self.head, self.decay, self.step_count = head, decay, 0
        self.m = {n: torch.zeros_like(p) for n, p in head.items()}
        self.v = {n: torch.zeros_like(p) for n, p in head.items()}

    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        self.step_count += 1
        with torch.no_grad():
            for (n, p), g in zip(self.head.items(), gradients, strict=True):
                g = g + self.decay * p
                self.m[n] = 0.9 * self.m[n] + 0.1 * g
                self.v[n] = 0.999 * self.v[n] + 0.001 * g**2
                m_hat = self.m[n] / (1 - 0.9**self.step_count)
                v_hat = self.v[n] / (1 - 0.999**self.step_count)
                p -= lr * m_hat / (torch.sqrt(v_hat) + 1e-8)


def learning_rate_at(epoch: int, epochs: int, lr: float, decay_at: Sequence[float]) -> float:
    """Return the rate, divided by ten at each of the fractions `decay_at` of the epochs."""
    return lr * 0.1 ** sum(epoch >= round(fraction * epochs) for fraction in decay_at)
