"""RCAL on frozen features: Gaussians of the classes, calibrated for rare ones, balance the training data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import ce
from reference.run import Batch, Rule, Run
from torch import Tensor

from noisylib.seeding import numpy_generator, torch_generator


@dataclass
class RCAL(Rule):
    neighbours: int
    heads: int
    mix: float
    cap: float
    alpha: float
    X: Tensor | None = field(default=None, init=False)
    y: list[int] = field(default_factory=list, init=False)

    def prepare(self, run: Run) -> None:
        X, y = run.X.numpy(), np.array(run.y)
        counts = {int(c): int((y == c).sum()) for c in np.unique(y)}
        gaussians = calibrated({c: X[y == c] for c in counts}, self.neighbours, self.heads, self.mix)
        rows, labels = [X], list(run.y)
        for c, (mean, covariance) in gaussians.items():
            extra = min(max(counts.values()) - counts[c], math.floor(self.cap * counts[c] + 1e-9))
            L = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
            draws = numpy_generator("rcal", run.seed, c).standard_normal((extra, len(mean)))
            rows += [mean + L @ eps for eps in draws]
            labels += [c] * extra
        self.X, self.y = torch.as_tensor(np.vstack(rows)), labels

    def order(self, run: Run, epoch: int) -> list[int]:
        generator = torch_generator("batches", run.seed, epoch)
        return torch.randperm(len(self.y), generator=generator)[: run.N].tolist()

    def losses(self, run: Run, batch: Batch) -> list[Tensor | None]:
        random = numpy_generator("mixup", run.seed, batch.epoch, batch.step)
        lam = random.beta(self.alpha, self.alpha)
        partners = [batch.samples[j] for j in random.permutation(len(batch.samples))]
        total = 0.0
        for i, other in zip(batch.samples, partners, strict=True):
            z = run.logits(0, lam * self.X[i] + (1 - lam) * self.X[other])
            total = total + lam * ce(z, self.y[i]) + (1 - lam) * ce(z, self.y[other])
        return [total / len(batch.samples)]


Gaussian = tuple[np.ndarray, np.ndarray]


def gaussian_of(members: np.ndarray, neighbours: int) -> Gaussian:
    """Mean and shrunk covariance of one class, without its outliers if it has enough samples."""
    from sklearn.covariance import LedoitWolf
    from sklearn.neighbors import LocalOutlierFactor

    if len(members) > neighbours:
        members = members[LocalOutlierFactor(n_neighbors=neighbours).fit_predict(members) == 1]
    return members.mean(0), LedoitWolf().fit(members).covariance_


def calibrated(
    members: dict[int, np.ndarray], neighbours: int, heads: int, mix: float
) -> dict[int, Gaussian]:
    """Class -> mean and covariance; a rare class borrows from the frequent ones with the nearest means."""
    counts = {c: len(rows) for c, rows in members.items()}
    own = {c: gaussian_of(rows, neighbours) for c, rows in members.items()}
    frequent = [c for c in own if counts[c] >= np.median(list(counts.values()))]
    result = {}
    for c, (mean, covariance) in own.items():
        if c in frequent:
            result[c] = own[c]
            continue
        near = sorted(frequent, key=lambda h, mean=mean: (np.linalg.norm(own[h][0] - mean), h))[:heads]
        total = sum(counts[h] for h in near)
        lent = [sum(counts[h] / total * own[h][part] for h in near) for part in (0, 1)]
        result[c] = ((1 - mix) * mean + mix * lent[0], (1 - mix) * covariance + mix * lent[1])
    return result
