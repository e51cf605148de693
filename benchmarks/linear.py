"""Times a bank of linear heads against a loop over them and against scikit-learn's logistic regression.

Bank, loop and products are timed as in the part on heads: the second of two epochs, every case once per
round. scikit-learn solves the same problem by another method, in full batches until a tolerance is met, so
what is compared there are finished runs: its fit beside all epochs of the recipe, set-up and scoring
included. Both minimise the mean cross entropy on noisy labels plus half the weight decay times the squared
weights, which is C = 1 / (N times the decay) in scikit-learn's terms; the bank decays biases as well. What
either ends with, on what it was trained on and on clean samples it has not seen, stands beside the seconds.
scikit-learn has one thread here, as the bank has.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks import peers
from benchmarks.heads import Case, best_rate, gemm_cases, in_rounds
from benchmarks.workload import QUICK as QUICK_HEADS
from benchmarks.workload import Setting, TimedEpochs, Workload, clock
from noisylib.heads import HeadBank
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.seeding import numpy_generator
from noisylib.training import train_bank

SETTING = Setting(head="linear", n_features=768, repeats=5)
QUICK = replace(QUICK_HEADS, head="linear", repeats=1)
GPU_BATCH = 512
APART = 5.0  # distance scale of the class centres, in deviations of a sample: neither easy nor hopeless
NOISE = 0.2
HELD_OUT = 2000
COMPARED = 4  # runs whose loss and accuracy are compared


@dataclass(frozen=True)
class Classes:
    """Gaussian classes: training features (N, D) with noisy labels (R, N), and clean held-out samples."""

    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    n_classes: int


def made_classes(setting: Setting, held_out: int = HELD_OUT) -> Classes:
    """Return the data that finished runs are compared on, one draw of the noise per run."""
    s, random = setting, numpy_generator("benchmark", "linear")
    centres = random.normal(0, APART / s.n_features**0.5, (s.n_classes, s.n_features))

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = random.permutation(np.arange(n) % s.n_classes)  # every class is there
        return (centres[y] + random.standard_normal((n, s.n_features))).astype(np.float32), y

    (X, y), (X_test, y_test) = draw(s.n_samples), draw(held_out)
    Y = [
        inject(y, "symmetric", NOISE, n_classes=s.n_classes, seed=run, dataset="made").y_noisy
        for run in range(s.runs)
    ]
    return Classes(X, np.stack(Y), X_test, y_test, s.n_classes)


class FinishedRuns:
    """Whole runs of the bank and of scikit-learn on the same data."""

    def __init__(self, setting: Setting, device: torch.device, recipe: Recipe | None = None) -> None:
        self.setting, self.device = setting, device
        self.recipe = recipe or Recipe(batch_size=setting.batch_size, standardise=False)
        self.data = made_classes(setting)
        self.iterations: list[int] = []

    def bank(self) -> float:
        """Train all runs with all epochs and return the seconds."""
        s, start = self.setting, clock(self.device)
        seeds = [run // s.runs_per_seed for run in range(s.runs)]
        self._train(self.data.Y, seeds, self.data.X_test, self.data.y_test)
        return clock(self.device) - start

    def _train(self, Y: np.ndarray, seeds: list[int], X_test: np.ndarray, y_test: np.ndarray) -> np.ndarray:
        """Return the logits (R, N_test, K) after training."""
        return train_bank(
            self.data.X, Y, X_test, y_test, n_classes=self.data.n_classes, head="linear", seeds=seeds,
            recipe=self.recipe, device=str(self.device),
        ).test_logits  # fmt: skip

    def sklearn(self) -> float:
        """Fit one run by scikit-learn's default solver and return the seconds."""
        start = time.perf_counter()
        self._fit(self.data.Y[len(self.iterations) % self.setting.runs])
        return time.perf_counter() - start

    def _fit(self, y: np.ndarray) -> object:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        C = 1 / (len(y) * self.recipe.weight_decay)
        with threadpool_limits(1):
            model = LogisticRegression(C=C, max_iter=10_000).fit(self.data.X, y)
        self.iterations.append(int(model.n_iter_[0]))
        return model

    def quality(self) -> dict[str, dict[str, float]]:
        """Return mean losses in nats and accuracies of the same few runs; nothing here is timed."""
        d, few = self.data, range(min(COMPARED, self.setting.runs))
        seeds, Y = [run // self.setting.runs_per_seed for run in few], d.Y[few]
        models = [self._fit(y) for y in Y]
        found = {
            "bank": (self._train(Y, seeds, d.X, d.Y[0]), self._train(Y, seeds, d.X_test, d.y_test)),
            "sklearn": tuple(
                np.stack([model.decision_function(X).reshape(len(X), -1) for model in models])
                for X in (d.X, d.X_test)
            ),
        }
        return {
            name: {
                "training_loss": _loss(train, Y),
                "held_out_loss": _loss(test, np.broadcast_to(d.y_test, (len(Y), len(d.y_test)))),
                "held_out_accuracy": float((test.argmax(-1) == d.y_test).mean()),
            }
            for name, (train, test) in found.items()
        }


def _loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Return the mean cross entropy of logits (R, N, K) on labels (R, N)."""
    logits, y = torch.as_tensor(np.array(logits)).double(), torch.as_tensor(np.array(y))
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()))


def peer_cases(work: Workload) -> dict[str, Case]:
    """The loop over the runs, and all of them at once by vmap."""
    s, device = work.setting, work.device
    X, Y = torch.as_tensor(work.X, device=device), torch.as_tensor(work.Y, device=device)

    def timed(train: partial, Y: torch.Tensor) -> float:
        bank = HeadBank(s.head, [0], s.n_features, s.n_classes, runs_per_seed=len(Y), device=device)
        epochs = TimedEpochs(s.n_samples, device)
        train(peers.heads_like(bank), X, Y, epochs, work.recipe)
        return epochs.seconds

    few = Y[: s.loop_runs]
    return {
        "tight": Case("tight loop, one run at a time", len(few), lambda: timed(peers.tight_loop, few)),
        "vmap": Case("torch.func vmap, all runs", s.runs, lambda: timed(peers.vmap_ensemble, Y)),
    }


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``; a GPU gets batches of the size it is for."""
    setting = SETTING if device.type == "cpu" else replace(SETTING, batch_size=GPU_BATCH)
    if quick:
        recipe = Recipe(epochs=4, batch_size=QUICK.batch_size, score_epochs=1, standardise=False)
        return measure(QUICK, device, recipe)
    return measure(setting, device)


def measure(setting: Setting, device: torch.device, recipe: Recipe | None = None) -> dict[str, object]:
    """Return ratios, raw seconds and setting, under keys that start with ``linear.``."""
    work, finished = Workload(setting, device), FinishedRuns(setting, device, recipe)
    bank = Case("noisylib, a bank", setting.runs, lambda: sum(work.train(c) for c in work.chunks()))
    gemms, epochs = gemm_cases(work), {"bank": bank, **peer_cases(work)}
    runs = {
        "bank": Case(f"noisylib, {finished.recipe.epochs} epochs", setting.runs, finished.bank),
        "sklearn": Case("scikit-learn LogisticRegression", 1, finished.sklearn),
    }
    quality = finished.quality()  # first, so that what is imported or built on first use is not timed
    finished.iterations.clear()
    in_rounds([*gemms.values(), *epochs.values(), *runs.values()], setting.repeats)
    rate, size = best_rate(gemms)
    return {
        **{f"linear.speedup_{name}": epochs[name].median / bank.median for name in ("tight", "vmap")},
        "linear.speedup_sklearn": runs["sklearn"].median / runs["bank"].median,
        "linear.gemm_fraction": work.flops_per_head_epoch() / bank.median / rate,
        "linear.gemm_gflops": rate / 1e9,
        "linear.gemm_size": size,
        "linear.seconds_per_head_epoch": {name: case.summary() for name, case in epochs.items()},
        "linear.seconds_per_run": {name: case.summary() for name, case in runs.items()},
        "linear.seconds_per_product": {name: case.summary() for name, case in gemms.items()},
        "linear.quality": quality,
        "linear.iterations": finished.iterations,
        "linear.setting": {
            **asdict(setting),
            "runs": setting.runs,
            "epochs": finished.recipe.epochs,
            "weight_decay": finished.recipe.weight_decay,
            "C": 1 / (setting.n_samples * finished.recipe.weight_decay),
            "noise_rate": NOISE,
        },
    }


def table(results: dict[str, object]) -> str:
    """Return the measurements as text, one way to train per line."""
    s, rows = results["linear.setting"], results["linear.seconds_per_head_epoch"]
    lines = [
        f"{s['runs']} linear heads, D={s['n_features']}, K={s['n_classes']}, N={s['n_samples']}, batch "
        f"{s['batch_size']}, over {s['repeats']} rounds",
        "",
        f"{'milliseconds per head and epoch':36}{'median':>9}{'min':>9}{'max':>9}{'bank is faster':>17}",
    ]
    for row in rows.values():
        spread = "".join(f"{row[key] * 1e3:9.2f}" for key in ("median", "min", "max"))
        lines.append(f"{row['title']:36}{spread}{row['median'] / rows['bank']['median']:15.2f} x")
    runs = results["linear.seconds_per_run"]
    lines += ["", f"{'seconds per finished run':36}{'median':>9}{'min':>9}{'max':>9}{'bank is faster':>17}"]
    for row in runs.values():
        spread = "".join(f"{row[key]:9.3f}" for key in ("median", "min", "max"))
        lines.append(f"{row['title']:36}{spread}{row['median'] / runs['bank']['median']:15.2f} x")
    lines += ["", f"{'what they end with':36}{'training loss':>14}{'held-out loss':>15}{'accuracy':>10}"]
    for name, row in results["linear.quality"].items():
        lines.append(
            f"{runs[name]['title']:36}{row['training_loss']:14.4f}{row['held_out_loss']:15.4f}"
            f"{row['held_out_accuracy']:10.1%}"
        )
    n, rate = results["linear.gemm_size"], results["linear.gemm_gflops"]
    share = f"{results['linear.gemm_fraction']:.0%} of the machine's matrix-product rate"
    return "\n".join([*lines, "", f"{share}, {rate:.1f} GFLOP/s at {n} x {n}"])
