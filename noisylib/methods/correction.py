"""Loss correction by the noise transition matrix T[i, j] = P(noisy = j | true = i)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import log_softmax
from noisylib.methods.out_of_fold import CrossValidated
from noisylib.methods.session import Batch, State, Training

SINGULAR = 1e6  # condition number beyond which T cannot be undone; single precision can hide it above 1e7


@dataclass(frozen=True)
class OracleForwardCorrection(Method):
    """-log of the probability of the observed label, (T' p)[y], with the true T.

    The network learns the clean posterior p, which is also what it predicts with. The gradient is
    p - r, with r the posterior of the true class given the observed label.

    Source: Patrini et al. 2017, theorem 2.
    """

    name: ClassVar[str] = "forward_oracle"
    title: ClassVar[str] = "Forward correction, true T"
    citation: ClassVar[str] = "patrini2017making"
    mean_of_samples: ClassVar[bool] = True
    told: ClassVar[tuple[str, ...]] = ("transition",)

    def start(self, training: Training) -> State:
        """Keep log T, (S, H, K, K)."""
        T = training.context.transition
        check_invertible(T)
        return {"log_T": T.log().to(training.context.dtype)}

    def _joint(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return log p_i + log T[i, y], (nets, S, H, B, K)."""
        column = batch.state["log_T"].mT  # (S, H, y, i)
        where = targets.unsqueeze(-1).expand(*targets.shape, column.shape[-1])
        return log_softmax(logits) + column.gather(2, where)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return -self._joint(logits, targets, batch).logsumexp(-1).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - r) / B."""
        posterior = self._joint(logits, targets, batch).softmax(-1)
        return (log_softmax(logits).exp() - posterior) / targets.shape[-1]


@dataclass(frozen=True)
class ForwardCorrection(OracleForwardCorrection, CrossValidated):
    """Forward correction with T estimated from the noisy labels alone.

    A linear probe gives every sample out-of-fold class probabilities. For each class i, the sample
    that is likeliest to be i stands for it, after values at or above the 97th percentile are set aside
    as outliers: its probabilities are row i of T. The authors' estimate uses in-sample probabilities of
    a deep network, which on frozen features overfits into the identity.

    Source: Patrini et al. 2017, equations 12 and 13; the percentile is that of the authors' release.
    """

    name: ClassVar[str] = "forward"
    title: ClassVar[str] = "Forward correction"
    ranked: ClassVar[bool] = True
    told: ClassVar[tuple[str, ...]] = ()
    percentile: float = hyper(
        97, "percentile from which probabilities are set aside", "Patrini et al. 2017, release",
        low=1, high=100,
    )  # fmt: skip

    def start(self, training: Training) -> State:
        """Estimate T and keep its logarithm."""
        T = estimate_transition(self.probabilities(training), self.percentile)
        # An estimate of exactly zero would make the label it rules out impossible, and its loss infinite.
        log_T = T.clamp(min=torch.finfo(T.dtype).tiny).log()
        return {"log_T": log_T.to(training.context.dtype), "T": T}


@dataclass(frozen=True)
class BackwardCorrection(Method):
    """Cross entropy of all classes, weighted by row y of the inverse of the true T.

    Its mean over the observed label is the cross entropy of the true one, but a single loss may be
    negative and has no lower bound. With two classes it is the estimator of Natarajan et al. 2013.

    Source: Patrini et al. 2017, theorem 1; Natarajan et al. 2013, lemma 1.
    """

    name: ClassVar[str] = "backward"
    title: ClassVar[str] = "Backward correction, true T"
    citation: ClassVar[str] = "natarajan2013learning"
    mean_of_samples: ClassVar[bool] = True
    told: ClassVar[tuple[str, ...]] = ("transition",)

    def start(self, training: Training) -> State:
        """Keep the inverse of T, (S, H, K, K)."""
        T = training.context.transition
        check_invertible(T)
        return {"inverse": torch.linalg.inv(T).to(training.context.dtype)}

    def _weights(self, targets: Tensor, batch: Batch) -> Tensor:
        inverse = batch.state["inverse"]
        return inverse.gather(2, targets.unsqueeze(-1).expand(*targets.shape, inverse.shape[-1]))

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return -(self._weights(targets, batch) * log_softmax(logits)).sum(-1).mean(-1)

    def gradient(self, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return (p - weights) / B: rows of the inverse sum to 1."""
        return (log_softmax(logits).exp() - self._weights(targets, batch)) / targets.shape[-1]


def check_invertible(T: Tensor) -> None:
    """Raise NoisylibError unless every matrix (S, H, K, K) can be inverted."""
    condition = torch.linalg.cond(T)
    if not (condition < SINGULAR).all():
        raise NoisylibError(
            f"transitions holds a matrix with condition number {float(condition.max()):.1e}: it cannot be "
            "inverted, so the clean classes cannot be told apart. Use less noise or another method."
        )


def estimate_transition(P: Tensor, percentile: float) -> Tensor:
    """Return T (S, H, K, K) from class probabilities P (S, H, N, K): row i is its purest sample's.

    Probabilities of a class at or above the percentile are set aside, unless nothing is left.
    """
    columns = P.mT.contiguous()  # (S, H, K, N)
    ceiling = _percentile(columns, percentile)
    left = torch.where(columns < ceiling, columns, -1)
    none_left = (left.amax(-1, keepdim=True) < 0).expand_as(left)
    purest = torch.where(none_left, columns, left).argmax(-1)  # (S, H, K)
    T = P.gather(2, purest.unsqueeze(-1).expand(*purest.shape, P.shape[-1]))
    return T / T.sum(-1, keepdim=True)


def _percentile(values: Tensor, percentile: float) -> Tensor:
    """Return the percentile over the last axis, linearly interpolated, (..., 1).

    torch.quantile refuses more than 16 million values.
    """
    place = percentile / 100 * (values.shape[-1] - 1)
    low = int(place)
    ordered = values.sort(-1).values
    lower, upper = ordered[..., low], ordered[..., min(low + 1, values.shape[-1] - 1)]
    return torch.lerp(lower, upper, place - low).unsqueeze(-1)
