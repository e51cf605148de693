"""One step of a method without the loop around it: made batches, and banks whose steps can be watched."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from noisylib.methods import BankContext, Batch, Method, make_method
from noisylib.recipe import Recipe
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

F64 = torch.float64


def step_of(
    method: Method,
    B: int,
    K: int,
    *,
    N: int | None = None,
    runs: tuple[int, int] = (1, 1),
    epoch: int = 100,
    rate: float | Tensor = 0.0,
    asymmetric: bool | Tensor = False,
    transition: Tensor | None = None,
    index: list[int] | None = None,
) -> Batch:
    """A batch of the samples `index` (default 0..B-1) with fresh state.

    The training set has N samples, by default enough of each class for five folds; sample i is
    labelled i modulo K. `rate` and `asymmetric` are those of all runs or (S, H); `transition` likewise.
    """
    S, H = runs
    N = N or max(B, 5 * K)
    transition = torch.eye(K, dtype=F64) if transition is None else transition
    context = BankContext(
        runs, tuple(range(S)), N, K, 200,
        torch.as_tensor(rate, dtype=F64).expand(runs), torch.as_tensor(asymmetric).expand(runs),
        transition.expand(*runs, K, K), F64, torch.device("cpu"),
    )  # fmt: skip
    X = torch.randn((N, 3), generator=torch.Generator().manual_seed(9), dtype=F64)
    y = (torch.arange(N) % K).expand(*runs, N)
    state = method.start(SimpleNamespace(context=context, X=X, y=y, recipe=Recipe(batch_size=8)))
    index = torch.arange(B) if index is None else torch.as_tensor(index)
    flat = torch.arange(S * H).view(S, H, 1) * N + index
    return Batch(epoch, 0, 1, index.expand(S, -1), flat, state)


def logits(nets: int, B: int, K: int, seed: int = 0, runs: tuple[int, int] = (1, 1)) -> Tensor:
    """Standard normal logits (nets, S, H, B, K), with gradient."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn((nets, *runs, B, K), generator=g, dtype=F64).requires_grad_()


def gradient(method: Method, z: Tensor, y: Tensor, batch: Batch) -> Tensor:
    """d (B x loss) / d logits: per-sample gradients of the mean, by automatic differentiation."""
    (g,) = torch.autograd.grad(method.loss(z, y, batch).sum() * y.shape[-1], z)
    return g


def labels(*values: int) -> Tensor:
    """Labels (1, 1, B) of one run."""
    return torch.tensor(values).view(1, 1, -1)


def one_hot(y: Tensor, K: int) -> Tensor:
    """(..., K) float64."""
    return torch.nn.functional.one_hot(y, K).to(F64)


def made(values: list) -> Tensor:
    """Values (nets, B, ...) of one run as (nets, 1, 1, B, ...) float64."""
    return torch.tensor(values, dtype=F64)[:, None, None]


def bank_of(
    method: str | Method,
    X: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    *,
    K: int,
    head: str = "linear",
    seeds: list[int] | None = None,
    told: dict | None = None,
    views: np.ndarray | None = None,
    dtype: torch.dtype = F64,
    **recipe,
) -> BankInTraining:
    """A bank in training as `train_bank` makes it, on X as it is unless ``standardise`` is passed.

    `y` is (R, N) or (N,); `told` holds noise_rates, noise_types and transitions; the rest is the recipe.
    """
    method = make_method(method)
    recipe = {"epochs": 6, "batch_size": 16, "width": 4, "standardise": False, "score_epochs": 1, **recipe}
    X = np.asarray(X, dtype=np.float64)
    inputs = check_bank_inputs(
        X, np.asarray(y), np.zeros((K, X.shape[1])), np.arange(K), K, method,
        seeds=seeds, views=views, **(told or {}),
    )  # fmt: skip
    return BankInTraining(inputs, method, head, Recipe(**recipe), torch.device("cpu"), dtype)


def batch_of(
    bank: BankInTraining, index: list[int] | Tensor, epoch: int = 0, step: int = 0, n_steps: int = 1
) -> Batch:
    """The batch of the samples `index` (B,), the same for every seed, as the loop makes it."""
    S, H, N = bank.y.shape
    index = torch.as_tensor(index).expand(S, -1)
    flat = torch.arange(S * H).view(S, H, 1) * N + index.unsqueeze(1)
    return Batch(epoch, step, n_steps, index, flat, bank.state)


def watched_step(bank: BankInTraining, batch: Batch) -> SimpleNamespace:
    """Take one step, and return what it trained on: x, logits (nets, ...) and gradient, all copies."""
    seen = SimpleNamespace()
    forward, backward = bank.forward, bank.backward

    def keep_forward(x: Tensor) -> Tensor:
        z = forward(x)
        seen.logits = z.clone()
        return z

    def keep_backward(x: Tensor, g: Tensor) -> None:
        seen.x, seen.gradient = x.clone(), g.clone()
        backward(x, g)

    bank.forward, bank.backward = keep_forward, keep_backward
    try:
        bank.method.step(bank, batch)
    finally:
        del bank.forward, bank.backward
    return seen
