"""One run at a time, one sample at a time: every training rule written out from its equations.

Slow on purpose and built on nothing of noisylib except the names of its random generators, which
fix the start of the heads and the batch order. Gradients come from automatic differentiation,
while the package writes its backward pass by hand; Adam is written from its equations.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from noisylib.seeding import torch_generator

F64 = torch.float64


def start_head(kind: str, seed: int, net: int, D: int, K: int, width: int) -> dict[str, torch.Tensor]:
    """Uniform in +-1/sqrt(fan in); the adapter's U starts at zero."""

    def draw(name: str, rows: int, columns: int, fan_in: int) -> torch.Tensor:
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


def gelu(v: torch.Tensor) -> torch.Tensor:
    return v * 0.5 * (1 + torch.erf(v / math.sqrt(2)))


def logits_of(kind: str, head: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Logits (K,) of one sample (D,)."""
    b = head["b"][:, 0]
    if kind == "linear":
        return head["W"] @ x + b
    if kind == "mlp":
        return head["W"] @ gelu(head["V"] @ x + head["c"][:, 0]) + b
    centred = x - x.mean()
    normal = centred / torch.sqrt((centred**2).mean() + 1e-5)
    return head["W"] @ (x + head["U"] @ gelu(head["V"] @ normal)) + b


def ce(z: torch.Tensor, y: int) -> torch.Tensor:
    return -torch.log(torch.exp(z - z.max())[y] / torch.exp(z - z.max()).sum())


class Adam:
    """Kingma and Ba 2015, algorithm 1, with the decay added to the gradient."""

    def __init__(self, head: dict[str, torch.Tensor], decay: float) -> None:
        self.head, self.decay, self.step_count = head, decay, 0
        self.m = {n: torch.zeros_like(p) for n, p in head.items()}
        self.v = {n: torch.zeros_like(p) for n, p in head.items()}

    def step(self, loss: torch.Tensor, lr: float) -> None:
        self.step_count += 1
        gradients = torch.autograd.grad(loss, list(self.head.values()))
        with torch.no_grad():
            for (n, p), g in zip(self.head.items(), gradients, strict=True):
                g = g + self.decay * p
                self.m[n] = 0.9 * self.m[n] + 0.1 * g
                self.v[n] = 0.999 * self.v[n] + 0.001 * g**2
                m_hat = self.m[n] / (1 - 0.9**self.step_count)
                v_hat = self.v[n] / (1 - 0.999**self.step_count)
                p -= lr * m_hat / (torch.sqrt(v_hat) + 1e-8)


def batch_losses(
    rule: dict, zs: list[list[torch.Tensor]], ys: list[int], samples: list[int], epoch: int
) -> list:
    """Return one loss per network for the batch; `zs[net][position]` are logits."""
    name, B = rule["name"], len(ys)
    if name == "ce":
        return [sum(ce(z, y) for z, y in zip(zs[0], ys, strict=True)) / B]
    if name == "ls":
        a, total = rule["smoothing"], 0.0
        for z, y in zip(zs[0], ys, strict=True):
            K = len(z)
            for c in range(K):
                total = total + ((1 - a) * (c == y) + a / K) * ce(z, c)
        return [total / B]
    if name == "gce":
        q = rule["q"]
        return [sum((1 - torch.exp(-ce(z, y)) ** q) / q for z, y in zip(zs[0], ys, strict=True)) / B]
    if name == "elr":
        total = 0.0
        for z, y, i in zip(zs[0], ys, samples, strict=True):
            p = torch.softmax(z, 0).clamp(1e-4, 1 - 1e-4)
            t = rule["buffer"].get(i, torch.zeros(len(z), dtype=F64))
            t = rule["beta"] * t + (1 - rule["beta"]) * (p / p.sum()).detach()
            rule["buffer"][i] = t
            total = total + ce(z, y) + rule["lam"] * torch.log(1 - (p * t).sum())
        return [total / B]
    assert name == "coteaching"
    forget = np.linspace(0, rule["tau"] ** rule["c"], rule["ramp"])
    rate = forget[epoch + 1] if epoch + 1 < rule["ramp"] else rule["tau"] ** rule["c"]
    keep = max(1, math.floor((1 - rate) * B + 1e-9))
    losses = [[ce(z, y) for z, y in zip(net, ys, strict=True)] for net in zs]
    easy = [sorted(range(B), key=lambda i, n=n: (losses[n][i].item(), i))[:keep] for n in range(2)]
    return [sum(losses[n][i] for i in easy[1 - n]) / keep for n in range(2)]


def train(X, y, X_test, rule, *, kind, seed, K, epochs, batch_size, lr, decay, decay_at, width, n_nets=1):
    """Return the first network's test logits (E, N_test, K) after every epoch, and the heads at the end."""
    mean = X.mean(0)
    std = X.std(0)
    std[std == 0] = 1
    X, X_test = torch.as_tensor((X - mean) / std), torch.as_tensor((X_test - mean) / std)
    heads = [start_head(kind, seed, net, X.shape[1], K, width) for net in range(n_nets)]
    optimisers = [Adam(head, decay) for head in heads]
    history = []
    for epoch in range(epochs):
        rate = lr * 0.1 ** sum(epoch >= round(f * epochs) for f in decay_at)
        order = torch.randperm(len(X), generator=torch_generator("batches", seed, epoch)).tolist()
        for first in range(0, len(X), batch_size):
            samples = order[first : first + batch_size]
            zs = [[logits_of(kind, head, X[i]) for i in samples] for head in heads]
            losses = batch_losses(rule, zs, [int(y[i]) for i in samples], samples, epoch)
            for optimiser, loss in zip(optimisers, losses, strict=True):
                optimiser.step(loss, rate)
        with torch.no_grad():
            history.append(torch.stack([logits_of(kind, heads[0], x) for x in X_test]).numpy())
    return np.stack(history), [{n: p.detach().numpy() for n, p in head.items()} for head in heads]
