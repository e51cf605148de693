"""RCAL-head: calibrated Gaussians per class fill up the small classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import cross_entropy
from noisylib.methods.mixup import draw_mixup, mix_rows
from noisylib.methods.session import Batch, State, Training
from noisylib.seeding import numpy_generator, torch_generator

JITTER = 1e-6  # on the diagonal before the Cholesky factor
_OURS = "ours: the paper's value is not known to us"


@dataclass(frozen=True)
class RCALHead(Method):
    """Each observed class becomes a Gaussian, small classes borrow from large ones, and are sampled from.

    Outliers of a class are removed by local outlier factor; mean and shrunk covariance (Ledoit and Wolf)
    describe the rest. Classes of at least the median size are heads; another class mixes its mean and
    covariance with those of its nearest heads, weighted by their size. Points drawn from the Gaussians
    bring each class to the size of the largest, but to no more than six times its own. A linear or larger
    head trains with cross entropy and MixUp on real and drawn points together; an epoch has the usual
    number of steps.

    The frozen feature stands for the paper's contrastive feature, so its penalty on changed
    representations has nothing to act on and is left out. No public code exists, and every constant here is
    ours: this is the idea of the paper on frozen features, not its reproduction. With 20 neighbours the
    outlier factor sees a group of wrong labels only while it has fewer samples than that.

    Source: Zhang et al. 2023, section 3.
    """

    name: ClassVar[str] = "rcal"
    title: ClassVar[str] = "RCAL-head"
    citation: ClassVar[str] = "zhang2023rcal"
    own_batches: ClassVar[bool] = True
    whole_features: ClassVar[bool] = True
    step_cost: ClassVar[float] = 3.0
    neighbours: int = hyper(20, "neighbours of the outlier factor", _OURS, low=1, high=1000, whole=True)
    heads: int = hyper(3, "large classes that a small one borrows from", _OURS, low=1, high=1000, whole=True)
    mix: float = hyper(0.5, "share of the borrowed statistics", _OURS, low=0, high=1)
    cap: float = hyper(5.0, "drawn points of a class, in multiples of its size", _OURS, low=0, high=1000)
    alpha: float = hyper(1.0, "parameter of MixUp's Beta(a, a)", _OURS, low=1e-3, high=100)

    def start(self, training: Training) -> State:
        """Draw the extra points of every run: lists of features (E, D) and labels (E,)."""
        context = training.context
        X = training.X.double().cpu().numpy()
        extras = [
            self.extra_points(X, y.cpu().numpy(), seed)
            for y, seed in zip(training.y[:, 0], context.seeds, strict=True)
        ]
        return {
            "points": [torch.as_tensor(points).to(context.device, context.dtype) for points, _ in extras],
            "labels": [torch.as_tensor(labels).to(context.device) for _, labels in extras],
        }

    def extra_points(self, X: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return drawn points (E, D) and their labels (E,), classes in order."""
        classes, counts = np.unique(y, return_counts=True)
        means, covariances = self.calibrated(X, y, classes, counts)
        points, labels = [], []
        for c, count, mean, covariance in zip(classes, counts, means, covariances, strict=True):
            wanted = int(min(counts.max() - count, self.cap * count))
            factor = np.linalg.cholesky(covariance + JITTER * np.eye(X.shape[1]))
            noise = numpy_generator("rcal", seed, int(c)).standard_normal((wanted, X.shape[1]))
            points.append(mean + noise @ factor.T)
            labels.append(np.full(wanted, c))
        return np.concatenate(points), np.concatenate(labels)

    def calibrated(
        self, X: np.ndarray, y: np.ndarray, classes: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (C, D) and covariance (C, D, D) of each observed class, small ones mixed."""
        own = [class_statistics(X[y == c], self.neighbours) for c in classes]
        means, covariances = (np.stack(values) for values in zip(*own, strict=True))
        large = np.flatnonzero(counts >= np.median(counts))
        mixed_means, mixed_covariances = means.copy(), covariances.copy()
        for k in np.flatnonzero(counts < np.median(counts)):
            distance = np.linalg.norm(means[large] - means[k], axis=1)
            nearest = large[np.argsort(distance, kind="stable")[: self.heads]]
            weights = counts[nearest] / counts[nearest].sum()
            mixed_means[k] += self.mix * (weights @ means[nearest] - means[k])
            borrowed = np.tensordot(weights, covariances[nearest], axes=1)
            mixed_covariances[k] += self.mix * (borrowed - covariances[k])
        return mixed_means, mixed_covariances

    def order(self, training: Training, epoch: int, state: State) -> Tensor:
        """Return N positions (S, N) of real (below N) and drawn points."""
        N = training.context.n_samples
        orders = [
            torch.randperm(N + len(points), generator=torch_generator("batches", seed, epoch))[:N]
            for seed, points in zip(training.context.seeds, state["points"], strict=True)
        ]
        return torch.stack(orders).to(training.X.device)

    def step(self, training: Training, batch: Batch) -> None:
        """Train on a batch mixed with itself."""
        rows, labels = self._lookup(training, batch)
        lam, permutation = draw_mixup(training, batch, rows.shape[1], self.alpha)
        lam = lam.to(rows.dtype)
        x = training.prepare(mix_rows(rows, permutation, lam))
        logits = training.forward(x).detach().requires_grad_()
        one, two = labels.unsqueeze(1), labels.gather(1, permutation).unsqueeze(1)
        weight = lam.view(-1, 1, 1)
        loss = weight * cross_entropy(logits, one) + (1 - weight) * cross_entropy(logits, two)
        training.backward(x, torch.autograd.grad(loss.mean(-1).sum(), logits)[0])
        training.step()

    def _lookup(self, training: Training, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return features (S, B, D) and labels (S, B) of real and drawn points."""
        N = training.context.n_samples
        drawn = batch.index - N
        rows = training.X[batch.index.clamp(max=N - 1)].to(training.context.dtype)
        labels = training.y[:, 0].gather(1, batch.index.clamp(max=N - 1))
        for s, (points, classes) in enumerate(zip(batch.state["points"], batch.state["labels"], strict=True)):
            extra = drawn[s] >= 0
            rows[s, extra] = points[drawn[s, extra]]
            labels[s, extra] = classes[drawn[s, extra]]
        return rows, labels

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross entropy of unmixed samples."""
        return cross_entropy(logits, targets).mean(-1)


def class_statistics(X: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (D,) and shrunk covariance (D, D) of a class without its outliers.

    A class with no more samples than neighbours keeps them all; a single sample has no spread.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.neighbors import LocalOutlierFactor

    if len(X) > neighbours:
        X = X[LocalOutlierFactor(n_neighbors=neighbours).fit_predict(X) == 1]
    if len(X) == 1:
        return X[0], np.zeros((X.shape[1], X.shape[1]))
    fitted = LedoitWolf().fit(X)
    return fitted.location_, fitted.covariance_
