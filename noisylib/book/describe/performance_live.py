"""The live part of the chapter on speed: one small bank, and the same runs one by one in plain PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisylib.book.describe.performance_numbers import duration, times
from noisylib.heads import HeadBank
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.seeding import numpy_generator, torch_generator
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.book.performance_parameters import PerformanceParameters

K = 7
RATE = 0.3
DISTANCE = 3.5  # between classes, in standard deviations
TESTED = 700
RUNS_PER_SEED = 10
CHECKED = 3  # runs that are trained again in double precision
WAYS = {
    "bank": "noisylib, all runs as one bank",
    "single": "noisylib, one run at a time",
    "loop": "plain PyTorch, one run at a time",
}


@dataclass(frozen=True, eq=False)
class Live:
    """What was trained and how long it took.

    Attributes
    ----------
    seconds : way (key of `WAYS`) -> seconds of all runs, on one thread.
    accuracy : way -> (R,) accuracy on clean test samples after the last epoch.
    difference : largest difference between logits of bank and plain loop, in double precision, over the
        runs that were `checked`; in units of the largest logit.
    """

    seconds: dict[str, float]
    accuracy: dict[str, np.ndarray]
    difference: float
    checked: int


def train(params: PerformanceParameters) -> Live:
    """Train the runs in all three ways on one thread, then some of them again in double precision."""
    X, y = _made("train", params.samples, params.n_features)
    X_test, y_test = _made("test", TESTED, params.n_features)
    noise = [inject(y, "symmetric", RATE, n_classes=K, seed=r, dataset="made") for r in range(params.runs)]
    labels, seeds = np.stack([one.y_noisy for one in noise]), [r // RUNS_PER_SEED for r in range(params.runs)]
    recipe = Recipe(epochs=params.epochs, decay_at=(), score_epochs=1, standardise=False)

    def bank(chosen: slice = slice(None), dtype: torch.dtype = torch.float32) -> np.ndarray:
        return train_bank(
            *(X, labels[chosen], X_test, y_test),
            **{"n_classes": K, "method": "ce", "head": params.head, "seeds": seeds[chosen]},
            **{"recipe": recipe, "device": "cpu", "dtype": dtype},
        ).test_logits

    def loop(n: int, dtype: torch.dtype = torch.float32) -> np.ndarray:
        features = [torch.as_tensor(part).to(dtype) for part in (X, X_test)]
        runs = zip(torch.as_tensor(labels[:n]), seeds[:n], strict=True)
        return torch.stack(
            [plain_run(*features, observed, params.head, seed, recipe) for observed, seed in runs]
        ).numpy()

    def one_by_one() -> np.ndarray:
        return np.concatenate([bank(slice(r, r + 1)) for r in range(params.runs)])

    ways = {"bank": bank, "single": one_by_one, "loop": lambda: loop(params.runs)}
    with one_thread():
        bank(slice(1)), loop(1)  # what is loaded and compiled on first use is not timed
        timed = {way: _timed(run) for way, run in ways.items()}
        checked = min(CHECKED, params.runs)
        exact, plain = bank(dtype=torch.float64)[:checked], loop(checked, torch.float64)
    return Live(
        seconds={way: seconds for way, (seconds, _) in timed.items()},
        accuracy={way: (z.argmax(2) == y_test).mean(1) for way, (_, z) in timed.items()},
        difference=float(np.abs(exact - plain).max() / np.abs(plain).max()),
        checked=checked,
    )


def _made(part: str, n: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples (n, D) float32 of K classes whose means are equally far apart, and the classes."""
    y = np.arange(n) % K
    X = numpy_generator("performance", part).standard_normal((n, n_features), dtype=np.float32)
    X[np.arange(n), y] += DISTANCE / np.sqrt(2)
    return X, y


def plain_run(X: Tensor, X_test: Tensor, y: Tensor, head: str, seed: int, recipe: Recipe) -> Tensor:
    """Train one head with cross entropy by automatic differentiation, and return its test logits (N, K).

    It starts where the bank's head of this seed starts, and sees the same batches. X (N, D), y (N,).
    """
    start = HeadBank(head, [seed], X.shape[1], K, width=recipe.width, dtype=X.dtype).parameters
    weights = {name: p[0, 0].clone().requires_grad_() for name, p in start.items()}
    optimiser = torch.optim.Adam(
        weights.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(X), generator=torch_generator("batches", seed, epoch))
        for index in order.split(recipe.batch_size):
            optimiser.zero_grad()
            F.cross_entropy(plain_logits(X[index], weights), y[index]).backward()
            optimiser.step()
    with torch.no_grad():
        return plain_logits(X_test, weights)


def plain_logits(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Return the logits (B, K) of features (B, D), for the head that has these weights."""
    if "U" in weights:  # a residual bottleneck
        hidden = F.gelu(F.layer_norm(x, x.shape[1:]) @ weights["V"].T)
        x = x + hidden @ weights["U"].T
    elif "V" in weights:  # a hidden layer
        x = F.gelu(x @ weights["V"].T + weights["c"].T)
    return x @ weights["W"].T + weights["b"].T


def _timed(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    logits = run()
    return time.perf_counter() - start, logits


@contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread, as each process of a study has, and give it back what it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def live_table(live: Live, params: PerformanceParameters) -> pd.DataFrame:
    """Return time, time per run and epoch, how often the bank's time, and mean accuracy, per way."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Way": title,
                "All runs": duration(live.seconds[way]),
                "A run and epoch": duration(live.seconds[way] / params.runs / params.epochs),
                "Of the bank's time": times(live.seconds[way] / live.seconds["bank"]),
                "Mean accuracy (%)": f"{100 * live.accuracy[way].mean():.1f}",
            }
            for way, title in WAYS.items()
        ]
    )


def live_source(params: PerformanceParameters) -> str:
    """Return what was trained, for a caption."""
    return (
        f"{params.runs} {params.head} heads, D = {params.n_features}, K = {K}, N = {params.samples:,}, "
        f"{params.epochs} epoch{'' if params.epochs == 1 else 's'} of batches of {Recipe().batch_size}, "
        "cross entropy, one thread; timed once, whatever else the machine did"
    )


def live_reading(live: Live) -> str:
    """Return the ratio on this machine, and that both ways give the same."""
    ratio, single = (live.seconds[way] / live.seconds["bank"] for way in ("loop", "single"))
    slower = "" if ratio > 1 else "the bank was not faster: "
    verdict = (
        f"On the machine that made this page, {slower}the plain loop took **{times(ratio)}** as long as the "
        "bank"
    )
    gap = max(float(np.abs(live.accuracy["bank"] - live.accuracy[way]).max()) for way in ("single", "loop"))
    same = (
        "The accuracy of every run is the same all three ways"
        if gap == 0
        else f"The accuracies of a run differ by at most {100 * gap:.1f} points, by rounding"
    )
    n = live.checked
    return (
        f"{verdict}, and the bank's own code, one run at a time, {times(single)}. {same}; in double "
        f"precision the logits of {n} run{'' if n == 1 else 's'} agree with the plain loop's to "
        f"{_power(live.difference)}."
    )


def _power(value: float) -> str:
    if value == 0:
        return "the last digit"
    exponent = int(np.floor(np.log10(value)))
    return f"a relative ${value / 10.0**exponent:.0f} \\times 10^{{{exponent}}}$"
