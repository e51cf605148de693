"""Votes of the nearest training points; nothing is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from reference.heads import F64
from reference.run import Rule, Run
from torch import Tensor


@dataclass
class KNN(Rule):
    k: int

    def networks(self, kind: str) -> list[str]:
        return []

    def scores(self, run: Run, x: Tensor) -> Tensor:
        votes = torch.zeros(run.K, dtype=F64)
        for i in by_distance(run, x)[: self.k]:
            votes[run.y[i]] += 1
        return votes


@dataclass
class ANN(Rule):
    """Each training point knows how many neighbours it takes to be outvoted into its own label."""

    kmin: int
    kmax: int
    needed: list[int] = field(default_factory=list, init=False)

    def networks(self, kind: str) -> list[str]:
        return []

    def prepare(self, run: Run) -> None:
        self.needed = [self._needed(run, i) for i in range(run.N)]

    def _needed(self, run: Run, i: int) -> int:
        others = [n for n in by_distance(run, run.X[i]) if n != i]
        for k in range(self.kmin, self.kmax, 2):
            labels = [run.y[n] for n in others[:k]]
            majority = max(range(run.K), key=lambda c, labels=labels: (labels.count(c), -c))
            if majority == run.y[i]:
                return k
        return self.kmax

    def weight(self, i: int) -> float:
        return 1.0

    def scores(self, run: Run, x: Tensor) -> Tensor:
        near = by_distance(run, x)
        votes = torch.zeros(run.K, dtype=F64)
        for i in near[: self.needed[near[0]]]:
            votes[run.y[i]] += self.weight(i)
        return votes


@dataclass
class WANN(ANN):
    """The same with votes weighted by reliability, one over that number."""

    def weight(self, i: int) -> float:
        return 1 / self.needed[i]


def by_distance(run: Run, x: Tensor) -> list[int]:
    """Training positions from the nearest to the farthest; of equal ones the earlier first."""
    point = x.tolist()
    distances = [math.dist(row, point) for row in run.X.tolist()]
    return sorted(range(run.N), key=lambda i: (distances[i], i))
