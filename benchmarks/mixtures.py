"""Times the mixtures of many runs as one tensor program against a loop of scikit-learn's fits.

The loop is timed as one writes it, where scikit-learn chooses its start by k-means, and from the start
that the tensor program makes for itself, which leaves the EM alone. Every round times every case once.
Ratios are ratios of medians over the rounds. scikit-learn keeps the threads it takes by default.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks.heads import Case
from noisylib.mixtures import fit_mixture, low_posterior, scale_to_unit
from noisylib.seeding import numpy_generator

REG = 5e-4
AS_DIVIDEMIX = {"n_components": 2, "max_iter": 10, "tol": 1e-2, "reg_covar": REG, "random_state": 0}


@dataclass(frozen=True)
class Setting:
    """What is timed."""

    problems: int = 100
    n_samples: int = 8000
    rounds: int = 5
    calls: int = 10  # of the tensor program per round, which one call is too short for


def made_losses(problems: int, n_samples: int) -> torch.Tensor:
    """Return losses (problems, n_samples) in [0, 1]: exponential where the label is right, else Gaussian.

    From problem to problem the noise rate goes from 10 to 60 %, and places and widths change.
    """
    random = numpy_generator("benchmark", "mixtures")
    rate, right, wrong, width = random.uniform(
        [[0.1], [0.1], [1.5], [0.4]], [[0.6], [0.5], [4.0], [1.0]], (4, problems)
    )[..., None]
    shape = (problems, n_samples)
    losses = np.where(
        random.random(shape) < rate,
        np.abs(random.normal(wrong, width, shape)),
        random.exponential(right, shape),
    )
    return scale_to_unit(torch.from_numpy(losses))


def hard_start(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return scikit-learn's arguments for the start from 2-means whose threshold begins at the mean."""
    threshold, before = values.mean(), None
    while threshold != before:
        groups, before = (values[values <= threshold], values[values > threshold]), threshold
        threshold = sum(group.mean() for group in groups) / 2
    return {
        "weights_init": np.array([len(group) / len(values) for group in groups]),
        "means_init": np.array([[group.mean()] for group in groups]),
        "precisions_init": np.array([[[1 / (group.var() + REG)]] for group in groups]),
    }


def loop(losses: np.ndarray, starts: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Return the posterior of each problem's component of lower mean, one fit after the other."""
    out = np.empty_like(losses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are the rule, not a failure
        for i, start in enumerate(starts):
            column = losses[i, :, None]
            mixture = GaussianMixture(**AS_DIVIDEMIX, **start).fit(column)
            out[i] = mixture.predict_proba(column)[:, mixture.means_.argmin()]
    return out


def _case(title: str, calls: int, run: Callable[[], object]) -> Case:
    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return time.perf_counter() - start

    return Case(title, calls, seconds)


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``; scikit-learn has no other device than the CPU."""
    return measure(quick)


def measure(quick: bool) -> dict[str, object]:
    """Return ratios, raw seconds and setting, under keys that start with ``mixtures.``."""
    setting = Setting(problems=4, n_samples=500, rounds=2, calls=2) if quick else Setting()
    losses = made_losses(setting.problems, setting.n_samples)
    columns = losses.numpy()
    starts = [hard_start(row) for row in columns]
    cases = {
        "tensor": _case("noisylib, all at once", setting.calls, lambda: low_posterior(losses)),
        "loop": _case("scikit-learn, one at a time", 1, lambda: loop(columns, [{}] * len(columns))),
        "loop_same_start": _case("  from the same start", 1, lambda: loop(columns, starts)),
    }
    low_posterior(losses)  # warm
    for turn in range(setting.rounds):
        for case in list(cases.values())[:: -1 if turn % 2 else 1]:
            case.measure()
    tensor = cases["tensor"].median
    difference = np.abs(low_posterior(losses).numpy() - loop(columns, starts)).max()
    return {
        "mixtures.speedup": cases["loop"].median / tensor,
        "mixtures.speedup_same_start": cases["loop_same_start"].median / tensor,
        "mixtures.largest_difference": float(difference),
        "mixtures.mean_iterations": statistics.fmean(fit_mixture(losses).iterations.tolist()),
        "mixtures.seconds": {name: case.summary() for name, case in cases.items()},
        "mixtures.setting": {**asdict(setting), "torch_threads": torch.get_num_threads()},
    }


def table(results: dict[str, object]) -> str:
    """Return the measurements as text, one way to fit per line."""
    s = results["mixtures.setting"]
    lines = [
        f"mixtures of {s['problems']} problems of N={s['n_samples']}: milliseconds for all of them "
        f"over {s['rounds']} rounds, {s['torch_threads']} torch thread(s)",
        "",
        f"{'':36}{'median':>9}{'min':>9}{'max':>9}{'noisylib is faster':>20}",
    ]
    rows = results["mixtures.seconds"]
    for row in rows.values():
        spread = "".join(f"{row[key] * 1e3:9.1f}" for key in ("median", "min", "max"))
        lines.append(f"{row['title']:36}{spread}{row['median'] / rows['tensor']['median']:18.1f} x")
    return "\n".join(
        [
            *lines,
            "",
            f"{results['mixtures.mean_iterations']:.1f} iterations on average; from the same start, "
            f"posteriors differ by at most {results['mixtures.largest_difference']:.0e}",
        ]
    )
