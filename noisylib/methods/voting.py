"""Methods that train nothing: the nearest training samples vote with their observed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.methods.base import Method, TrainingFree, hyper
from noisylib.neighbours import BLOCK_SIZE, confirming_k, nearest

SOURCE = "Di Salvo et al. 2025, experiments"


@dataclass(frozen=True)
class KNearestNeighbours(TrainingFree):
    """The k nearest training samples have one vote each; Euclidean distance.

    Source: Cover and Hart 1967.
    """

    name: ClassVar[str] = "knn"
    title: ClassVar[str] = "k nearest neighbours"
    citation: ClassVar[str] = "cover1967nearest"
    k: int = hyper(11, "voters per sample, odd", SOURCE, low=1, high=9999, whole=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_odd(self, "k")

    def check_labels(self, y_noisy: np.ndarray, n_classes: int) -> None:
        """There must be more than k training samples."""
        _check_size(self, "k", y_noisy.shape[1])

    def predict(self, X: Tensor, y: Tensor, X_test: Tensor, n_classes: int) -> Tensor:
        """Return how many of the k nearest have each label, (S, H, M, K)."""
        _check_size(self, "k", len(X))
        return _votes(nearest(X, self.k, X_test), y, n_classes)


@dataclass(frozen=True)
class AdaptiveNearestNeighbours(TrainingFree):
    """Each sample is judged by as many voters as it takes to confirm the label of its nearest neighbour.

    A training sample's k is the first of kmin, kmin + 2, ... at which the majority of its k nearest
    others has its own label, else kmax. A new sample takes the k of its nearest training sample.

    Source: Di Salvo et al. 2025. A tie of votes goes to the lowest class, there to the one met first.
    """

    name: ClassVar[str] = "ann"
    title: ClassVar[str] = "Adaptive nearest neighbours"
    citation: ClassVar[str] = "disalvo2025embedding"
    weighted: ClassVar[bool] = False
    kmin: int = hyper(11, "fewest voters, odd", SOURCE, low=1, high=9999, whole=True)
    kmax: int = hyper(51, "most voters, odd", SOURCE, low=1, high=9999, whole=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_odd(self, "kmin")
        _check_odd(self, "kmax")
        if self.kmin > self.kmax:
            raise NoisylibError(
                f"kmin={self.kmin} of method {self.name!r} is more than kmax={self.kmax}: lower kmin."
            )

    def check_labels(self, y_noisy: np.ndarray, n_classes: int) -> None:
        """There must be more than kmax training samples."""
        _check_size(self, "kmax", y_noisy.shape[1])

    def predict(self, X: Tensor, y: Tensor, X_test: Tensor, n_classes: int) -> Tensor:
        """Return the summed votes of the neighbours that count, (S, H, M, K)."""
        _check_size(self, "kmax", len(X))
        k = confirming_k(nearest(X, self.kmax), y, self.kmin, n_classes)  # (S, H, N)
        index = nearest(X, self.kmax, X_test)
        return _votes(index, y, n_classes, k[..., index[:, 0]], 1 / k.double() if self.weighted else None)


@dataclass(frozen=True)
class WeightedAdaptiveNearestNeighbours(AdaptiveNearestNeighbours):
    """As adaptive nearest neighbours, and a voter's weight is one over its own k: its reliability.

    Source: Di Salvo et al. 2025.
    """

    name: ClassVar[str] = "wann"
    title: ClassVar[str] = "Weighted adaptive nearest neighbours"
    weighted: ClassVar[bool] = True


def _votes(
    index: Tensor, y: Tensor, n_classes: int, k: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """Return the votes (S, H, M, K) float64 of the first `k` neighbours of each sample.

    Parameters
    ----------
    index : (M, kmax) neighbours, nearest first.
    y, weight : (S, H, N) labels and voting weights of the training samples; without weights all count 1.
    k : (S, H, M) voters; without it all kmax vote.
    """
    votes = y.new_zeros((*y.shape[:2], len(index), n_classes), dtype=torch.float64)
    position = torch.arange(index.shape[1], device=index.device)
    rows = max(1, BLOCK_SIZE // (y.shape[:2].numel() * index.shape[1]))
    for start in range(0, len(index), rows):
        part = slice(start, start + rows)
        cast = votes.new_ones(()) if weight is None else weight[:, :, index[part]]
        if k is not None:
            cast = cast * (position < k[:, :, part].unsqueeze(-1))
        labels = y[:, :, index[part]]  # (S, H, rows, kmax)
        votes[:, :, part].scatter_add_(-1, labels, cast.expand(labels.shape))
    # Sums of 1/k that are equal on paper differ in their last digits, by the order of the voters.
    return votes.mul_(2**40).round_().div_(2**40)


def _check_odd(method: Method, option: str) -> None:
    value = getattr(method, option)
    if value % 2 == 0:
        raise NoisylibError(
            f"{option}={value} of method {method.name!r} is even, and two classes could tie: "
            f"an odd number is needed, such as {value + 1}."
        )


def _check_size(method: Method, option: str, n_samples: int) -> None:
    value = getattr(method, option)
    if n_samples <= value:
        raise NoisylibError(
            f"{option}={value} of method {method.name!r} needs more than {value} training samples, but X has "
            f"{n_samples}: lower {option}, or use more samples."
        )
