"""train_bank: the one training loop. It trains R runs at once and never sees a clean training label."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from noisylib.analysis import metrics
from noisylib.devices import pick_device
from noisylib.heads import HeadBank
from noisylib.layout import RunLayout
from noisylib.methods import BankContext, Batch, Method, make_method
from noisylib.methods.base import cross_entropy
from noisylib.recipe import Recipe
from noisylib.seeding import torch_generator
from noisylib.validation import check_bank_inputs

EVALUATION_ROWS = 1024


@dataclass(frozen=True)
class RunResults:
    """Scores of R runs on the clean test split, each the mean over the last `score_epochs` epochs.

    Attributes
    ----------
    accuracy, balanced_accuracy : (R,) in [0, 1].
    recall : (R, K) per class, NaN where the test split lacks the class.
    dead_classes : (R,) classes whose recall was 0 in every scored epoch.
    test_logits : (R, N_test, K) scores after the last epoch.
    epochs : the epochs that were evaluated, from 0.
    recall_history, accuracy_history : (len(epochs), R, K) and (len(epochs), R).
    trace : per epoch, if asked for: "loss" (E, nets, R, N) plain cross entropy on the observed
        label in nats and "predicted" (E, nets, R, N), in evaluation mode after the epoch; for methods
        that select, "selected" (E, nets, R, N), what they trained on during the epoch.
    seconds : wall time of the bank, shared by its R runs.
    """

    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    recall: np.ndarray
    dead_classes: np.ndarray
    test_logits: np.ndarray
    epochs: list[int]
    recall_history: np.ndarray
    accuracy_history: np.ndarray
    trace: dict[str, np.ndarray]
    seconds: float


def train_bank(
    X: np.ndarray,
    y_noisy: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    n_classes: int,
    method: str | Method = "ce",
    head: str = "adapter",
    seeds: Sequence[int] | None = None,
    noise_rates: Sequence[float] | None = None,
    recipe: Recipe | None = None,
    trace: bool = False,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> RunResults:
    """Train R heads with one method on one feature matrix, all at once, and score them.

    Parameters
    ----------
    X : (N, D) training features. They are z-scored with their own mean and deviation unless
        ``recipe.standardise`` is False.
    y_noisy : (R, N) or (N,) int, the observed labels of each run.
    X_test, y_test : (N_test, D) and (N_test,) clean evaluation data; only the evaluator reads them.
    n_classes : K.
    method : registry name or a configured method.
    head : "linear", "mlp" or "adapter".
    seeds : (R,) training seeds: they set the start of the heads and the batch order; default all 0.
        Runs that share a seed share both, which makes comparisons between them paired.
    noise_rates : (R,) realised noise rates, read only by methods that are told the rate.
    recipe : optimisation settings; the default is the package's.
    trace : also record per-sample losses, predictions and selections, and evaluate every epoch.
    device : "auto", "cpu", "cuda" or "cuda:N".
    dtype : torch.float32, or torch.float64 for checks.
    progress : called with (epochs done, epochs) after each epoch.

    Raises
    ------
    NoisylibError
        For features with NaN, labels out of range or of the wrong length, K = 1, a class absent from
        the test split, a missing noise rate, or an unknown head, device, method or option.
    """
    recipe = recipe or Recipe()
    method = make_method(method)
    y_noisy, seeds, noise_rates = check_bank_inputs(
        X, y_noisy, X_test, y_test, n_classes, seeds, noise_rates, method
    )
    layout = RunLayout(seeds)
    bank = _Bank(
        X, y_noisy, X_test, n_classes, method, head, layout, noise_rates, recipe, pick_device(device), dtype
    )
    recorder = _Recorder(bank, np.asarray(y_test), trace)
    started = time.perf_counter()
    for epoch in range(recipe.epochs):
        bank.train_epoch(epoch, recorder if trace else None)
        recorder.after_epoch(epoch)
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    return recorder.results(time.perf_counter() - started)


class _Bank:
    """Features, labels, heads, optimiser and method state of one call of train_bank."""

    def __init__(
        self, X, y_noisy, X_test, n_classes, method, head, layout, noise_rates, recipe, device, dtype
    ):
        self.method, self.layout, self.recipe, self.device = method, layout, recipe, device
        X, X_test = (torch.as_tensor(np.asarray(a, dtype=np.float64)) for a in (X, X_test))
        if recipe.standardise:
            mean, std = X.mean(0), X.std(0, correction=0)
            std[std == 0] = 1  # a constant feature carries nothing: leave it at zero
            X, X_test = (X - mean) / std, (X_test - mean) / std
        self.heads = HeadBank(
            head,
            layout.seeds,
            X.shape[1],
            n_classes,
            n_nets=method.n_nets,
            runs_per_seed=layout.runs_per_seed,
            width=recipe.width,
            device=device,
            dtype=dtype,
        )
        self.X, self.X_test = (self.heads.prepare(a.to(device, dtype)) for a in (X, X_test))
        self.y = layout.spread(torch.as_tensor(y_noisy)).to(device)  # (S, H, N)
        told = layout.spread(torch.as_tensor(noise_rates)).to(device) if method.told_noise_rate else None
        context = BankContext(tuple(self.y.shape[:2]), len(X), n_classes, told, dtype, device)
        self.state = method.start(context)
        self.optimiser = torch.optim.Adam(
            [self.heads.flat], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield the positions (S, B) of each batch; the order depends on seed and epoch only."""
        orders = [
            torch.randperm(len(self.X), generator=torch_generator("batches", seed, epoch))
            for seed in self.layout.seeds
        ]
        yield from torch.stack(orders).to(self.device).split(self.recipe.batch_size, dim=1)

    def train_epoch(self, epoch: int, recorder: _Recorder | None) -> None:
        """One pass over the training samples, the last partial batch included."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate_at(epoch)
        S, H, N = self.y.shape
        first = torch.arange(S * H, device=self.device).view(S, H, 1) * N
        for index in self.batches(epoch):
            flat = first + index.unsqueeze(1)  # (S, H, B)
            batch = Batch(epoch, flat, self.state)
            x = self.heads.gather(self.X, index)
            targets = self.y.gather(2, index.unsqueeze(1).expand_as(flat))
            logits = self.heads.forward(x)
            self.heads.backward(x, self.method.gradient(logits, targets, batch))
            self.optimiser.step()
            if recorder is not None and batch.selected is not None:
                recorder.record_selection(index, batch.selected)

    def logits(self, X: Tensor) -> Iterator[Tensor]:
        """Yield (nets, S, H, rows, K) blocks over the rows of prepared features."""
        for rows in X.split(EVALUATION_ROWS):
            yield self.heads.forward(rows)


@dataclass
class _Recorder:
    """Scores and traces, in the caller's order of runs."""

    bank: _Bank
    y_test: np.ndarray
    trace: bool
    epochs: list[int] = field(default_factory=list)
    recall: list[np.ndarray] = field(default_factory=list)
    accuracy: list[np.ndarray] = field(default_factory=list)
    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)
    selection: Tensor | None = None
    test_logits: np.ndarray | None = None

    def after_epoch(self, epoch: int) -> None:
        recipe = self.bank.recipe
        if self.trace:
            self._trace_training_set()
        if self.trace or epoch >= recipe.epochs - recipe.score_epochs:
            self._evaluate(epoch)

    def _evaluate(self, epoch: int) -> None:
        bank = self.bank
        # A block of logits lives in a buffer that the next block overwrites, hence the clone.
        blocks = [bank.method.scores(z).clone() for z in bank.logits(bank.X_test)]
        scores = bank.layout.gather(torch.cat(blocks, dim=2)).cpu().numpy()  # (R, N_test, K)
        predicted = scores.argmax(-1)
        self.epochs.append(epoch)
        self.recall.append(metrics.recall_per_class(predicted, self.y_test, scores.shape[-1]))
        self.accuracy.append((predicted == self.y_test).mean(-1))
        self.test_logits = scores

    def _trace_training_set(self) -> None:
        bank = self.bank
        losses, predicted, start = [], [], 0
        for z in bank.logits(bank.X):
            y = bank.y[:, :, start : start + z.shape[3]]
            losses.append(cross_entropy(z, y).float())
            predicted.append(z.argmax(-1).to(torch.int16))
            start += z.shape[3]
        self._append("loss", torch.cat(losses, dim=3))
        self._append("predicted", torch.cat(predicted, dim=3))
        if self.selection is not None:
            self._append("selected", self.selection)
            self.selection = None

    def record_selection(self, index: Tensor, selected: Tensor) -> None:
        nets, S, H, _ = selected.shape
        if self.selection is None:
            self.selection = selected.new_zeros((nets, S, H, len(self.bank.X)))
        self.selection.scatter_(3, index[None, :, None].expand(nets, S, H, -1), selected)

    def _append(self, name: str, values: Tensor) -> None:
        nets = [self.bank.layout.gather(v).cpu().numpy() for v in values]
        self.rows.setdefault(name, []).append(np.stack(nets))

    def results(self, seconds: float) -> RunResults:
        scored = slice(-self.bank.recipe.score_epochs, None)
        recall, accuracy = np.stack(self.recall), np.stack(self.accuracy)
        mean = recall[scored].mean(0)
        return RunResults(
            accuracy=accuracy[scored].mean(0),
            balanced_accuracy=metrics.balanced_accuracy(mean),
            recall=mean,
            dead_classes=metrics.dead_classes(mean),
            test_logits=self.test_logits,
            epochs=self.epochs,
            recall_history=recall,
            accuracy_history=accuracy,
            trace={name: np.stack(values) for name, values in self.rows.items()},
            seconds=seconds,
        )
