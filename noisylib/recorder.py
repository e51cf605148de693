"""What comes out of a bank in training: scores on the test split, and traces of the training samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from noisylib.analysis import metrics
from noisylib.methods.losses import cross_entropy

if TYPE_CHECKING:
    from noisylib.methods import TrainingFree
    from noisylib.training import BankInTraining


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
    views : where augmented views came from, for methods that need them: "cached" or "feature dropout".
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
    views: str
    seconds: float


@dataclass
class Recorder:
    """Scores and traces, in the caller's order of runs."""

    bank: BankInTraining
    y_test: np.ndarray
    trace: bool
    epochs: list[int] = field(default_factory=list)
    recall: list[np.ndarray] = field(default_factory=list)
    accuracy: list[np.ndarray] = field(default_factory=list)
    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)
    selection: Tensor | None = None
    test_logits: np.ndarray | None = None

    def after_epoch(self, epoch: int) -> None:
        """Evaluate if the epoch counts, and trace if that was asked for."""
        recipe = self.bank.recipe
        if self.trace:
            self._trace_training_set()
        if self.trace or epoch >= recipe.epochs - recipe.score_epochs:
            self._evaluate(epoch)

    def vote(self, method: TrainingFree) -> None:
        """Evaluate a method that trains nothing."""
        bank = self.bank
        votes = method.predict(bank.X, bank.y, bank.X_test, bank.context.n_classes)
        self._score(0, bank.layout.gather(votes).cpu().numpy())

    def _evaluate(self, epoch: int) -> None:
        bank = self.bank
        # A block of logits lives in a buffer that the next block overwrites, hence the clone.
        blocks = [bank.method.scores(z, bank.state).clone() for z in bank.logits(bank.X_test)]
        self._score(epoch, bank.layout.gather(torch.cat(blocks, dim=2)).cpu().numpy())

    def _score(self, epoch: int, scores: np.ndarray) -> None:
        """Take the scores (R, N_test, K) of one epoch."""
        predicted = scores.argmax(-1)
        self.epochs.append(epoch)
        self.recall.append(metrics.recall_per_class(predicted, self.y_test, scores.shape[-1]))
        self.accuracy.append((predicted == self.y_test).mean(-1))
        self.test_logits = scores

    def _trace_training_set(self) -> None:
        bank = self.bank
        losses, predicted = [], []
        for rows, z in bank.sweep():
            losses.append(cross_entropy(z, bank.y[:, :, rows]).float())
            predicted.append(z.argmax(-1).to(torch.int16))
        self._append("loss", torch.cat(losses, dim=3))
        self._append("predicted", torch.cat(predicted, dim=3))
        if self.selection is not None:
            self._append("selected", self.selection)
            self.selection = None

    def record_selection(self, index: Tensor, selected: Tensor) -> None:
        """Note which samples of a batch each network trained on."""
        nets, S, H, _ = selected.shape
        if self.selection is None:
            self.selection = selected.new_zeros((nets, S, H, self.bank.context.n_samples))
        self.selection.scatter_(3, index[None, :, None].expand(nets, S, H, -1), selected)

    def _append(self, name: str, values: Tensor) -> None:
        nets = [self.bank.layout.gather(v).cpu().numpy() for v in values]
        self.rows.setdefault(name, []).append(np.stack(nets))

    def results(self, seconds: float) -> RunResults:
        """Return the scores: means over the last epochs."""
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
            views=self.bank.view_source,
            seconds=seconds,
        )
