"""Other ways to train the same heads, each as a practitioner would write it.

Every function trains `heads` in place with cross entropy and fused Adam, and takes the batch order
from the caller, so that the tests can hold each against ``train_bank`` step for step. What lasts longer
than an epoch (optimisers, loaders, stacked parameters) is made before the first order is asked for.

Common arguments: heads, R modules; X (N, D) features; Y (R, N) labels; orders, one permutation of
0..N-1 per epoch, gone through once per head where heads train in turn; recipe, the optimisation settings.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

from noisylib.heads import HeadBank
from noisylib.recipe import Recipe


class AdapterHead(nn.Module):
    """A residual bottleneck and a linear layer: z = W (x + U g(V LN(x))) + b, with g = GELU."""

    def __init__(self, n_features: int, n_classes: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_features, elementwise_affine=False)
        self.down = nn.Linear(n_features, width, bias=False)
        self.up = nn.Linear(width, n_features, bias=False)
        self.out = nn.Linear(n_features, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) of features (B, D)."""
        return self.out(x + self.up(F.gelu(self.down(self.norm(x)))))


def heads_like(bank: HeadBank) -> list[nn.Module]:
    """Return one module for each head of a bank of adapters or linear heads, with the same parameters."""
    stacked = {name: p.detach().flatten(0, 1) for name, p in bank.parameters.items()}  # (S M, ...)
    return [
        _module(bank, dict(zip(stacked, parameters, strict=True)))
        for parameters in zip(*stacked.values(), strict=True)
    ]


def _module(bank: HeadBank, p: dict[str, Tensor]) -> nn.Module:
    state = {"weight": p["W"], "bias": p["b"][:, 0]}
    if bank.kind == "linear":
        head = nn.Linear(bank.n_features, bank.n_classes)
    else:
        head = AdapterHead(bank.n_features, bank.n_classes, bank.width)
        outgoing = {f"out.{name}": values for name, values in state.items()}
        state = {"down.weight": p["V"], "up.weight": p["U"], **outgoing}
    head = head.to(p["W"])
    head.load_state_dict(state)
    return head


def tight_loop(
    heads: Sequence[nn.Module], X: Tensor, Y: Tensor, orders: Iterable[Tensor], recipe: Recipe
) -> None:
    """One run after the other on tensors in memory, with nothing in the loop but the step."""
    for head, y in zip(heads, Y, strict=True):
        optimiser = _adam(head.parameters(), recipe)
        for order in orders:
            for index in order.split(recipe.batch_size):
                optimiser.zero_grad()
                logits = head(X.index_select(0, index))
                F.cross_entropy(logits, y.index_select(0, index)).backward()
                optimiser.step()


def dataloader_loop(
    heads: Sequence[nn.Module],
    X: Tensor,
    Y: Tensor,
    orders: Iterable[Tensor],
    recipe: Recipe,
    *,
    workers: int = 0,
) -> None:
    """One run after the other through a DataLoader, whose workers stay from epoch to epoch."""
    device = next(heads[0].parameters()).device
    positions = list(range(len(X)))  # a loader keeps its sampler: each epoch's order is written into it
    for head, y in zip(heads, Y, strict=True):
        optimiser = _adam(head.parameters(), recipe)
        loader = DataLoader(
            TensorDataset(X, y),
            batch_size=recipe.batch_size,
            sampler=positions,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for order in orders:
            positions[:] = order.tolist()
            for features, labels in loader:
                optimiser.zero_grad()
                F.cross_entropy(head(features.to(device)), labels.to(device)).backward()
                optimiser.step()


def vmap_ensemble(
    heads: Sequence[nn.Module], X: Tensor, Y: Tensor, orders: Iterable[Tensor], recipe: Recipe
) -> None:
    """All runs at once: stacked parameters, and per-head gradients from ``vmap(grad(...))``."""
    stacked, buffers = stack_module_state(list(heads))
    # Detached: with requires_grad set, autograd would record the inner gradients a second time.
    stacked = {name: p.detach() for name, p in stacked.items()}
    skeleton = copy.deepcopy(heads[0]).to("meta")

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, (parameters, buffers), (x,)), y)

    gradients = vmap(grad(loss), in_dims=(0, None, 0))
    optimiser = _adam(stacked.values(), recipe)
    for order in orders:
        for index in order.split(recipe.batch_size):
            found = gradients(stacked, X.index_select(0, index), Y.index_select(1, index))
            for name, p in stacked.items():
                p.grad = found[name]
            optimiser.step()
    for r, head in enumerate(heads):
        head.load_state_dict({name: p[r] for name, p in stacked.items()})


def module_dict(
    heads: Sequence[nn.Module], X: Tensor, Y: Tensor, orders: Iterable[Tensor], recipe: Recipe
) -> None:
    """All runs in step: a ModuleDict of heads on shared features, summed loss, one optimiser.

    Source: the linear evaluation of Oquab et al. 2023 (DINOv2) trains its sweep of heads this way.
    """
    together = nn.ModuleDict({f"run_{r}": head for r, head in enumerate(heads)})
    optimiser = _adam(together.parameters(), recipe)
    for order in orders:
        for index in order.split(recipe.batch_size):
            x, y = X.index_select(0, index), Y.index_select(1, index)
            optimiser.zero_grad()
            losses = [F.cross_entropy(head(x), y[r]) for r, head in enumerate(together.values())]
            torch.stack(losses).sum().backward()
            optimiser.step()


def _adam(parameters: Iterable[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        list(parameters), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
