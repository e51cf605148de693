"""Expectation maximisation for many two-component Gaussian mixtures of one variable at once.

Order of steps, regularisation and stopping rule are those of scikit-learn's ``GaussianMixture`` with full
covariances: from the same start, the same posteriors. What makes it fast:

- Two components need one posterior, the sigmoid of a quadratic, here that of the lighter component. The
  sums of the heavier one are what is left of the data's; the other way round, digits would be lost.
- The log-likelihood is a closed form of the data's sums plus sum log(1 + exp(log odds)), for which one
  logarithm of a product of a thousand posteriors stands in for a thousand logarithms.
- A problem leaves the tensors as soon as it converges.

Everywhere, theta (P, 3, 2) holds weights, means and variances of the two components of P problems.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

EMPTY = 10 * torch.finfo(torch.float64).eps  # as scikit-learn: values that every component has more
CHUNK = 1000  # factors per product: each is at least 1/2, and 2^-1000 does not underflow
TIE = 1e-9  # of half the range; values this near the threshold of 2-means count as low


@dataclass(frozen=True)
class Problems:
    """P problems in units of their own, v = (value - centre) / scale from at least -1 to at most 1.

    So that sums of squares lose no digits to a common offset, and no square overflows.
    """

    v: Tensor  # (P, N); 2 where absent, which is above every threshold
    absent: Tensor | None  # (P, N) added to log odds: -inf where absent, wholly of the other component
    totals: Tensor  # (P, 3) sums of 1, v and v^2
    shift: Tensor  # (P, 1) centre / scale
    reg: Tensor  # (P, 1)

    @classmethod
    def of(cls, values: Tensor, kept: Tensor | None, centre: Tensor, scale: Tensor, reg: float) -> Problems:
        """Standardise `values` (P, N), of which the entries `kept` (P, N) are there (None: all)."""
        v, absent = (values - centre).div_(scale), None
        count = v.new_full((len(v),), v.shape[1])
        if kept is not None:
            v.masked_fill_(~kept, 0.0)
            count = kept.sum(1).to(v)
            absent = torch.zeros_like(v).masked_fill_(~kept, -math.inf)
        totals = torch.stack([count, v.sum(1), v.square().sum(1)], 1)
        if kept is not None:
            v.masked_fill_(~kept, 2.0)
        return cls(v, absent, totals, centre / scale, reg / scale**2)

    def __getitem__(self, rows: Tensor) -> Problems:
        parts = (getattr(self, field.name) for field in fields(self))
        return Problems(*(None if part is None else part[rows] for part in parts))


def two_means(problems: Problems, half_range: Tensor) -> Tensor:
    """Return theta of the two groups of 2-means in one dimension.

    The threshold starts at the mean and moves to the middle of the groups' means until it stays.
    `half_range` (P, 1) is positive, in the problems' own units.
    """
    v = problems.v
    n, total, _ = problems.totals.split(1, dim=1)
    low, scratch = torch.empty_like(v), torch.empty_like(v)
    threshold, before = total / n, n
    while True:
        count = torch.le(v, threshold + TIE * half_range, out=low).sum(1, keepdim=True)
        # As many low values as before are the same values. More of them raise both means, so the count only
        # grows or only falls, and this ends; problems that have settled repeat themselves.
        if torch.equal(count, before):
            return m_step(problems, _sums(low, v, scratch))
        low_sum = torch.mul(low, v, out=scratch).sum(1, keepdim=True)
        threshold, before = (low_sum / count + (total - low_sum) / (n - count)) / 2, count


def maximise(problems: Problems, theta: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta, the iterations done (P,) int64 and whether that was convergence (P,) bool."""
    out, active = theta.clone(), torch.arange(len(theta), device=theta.device)
    iterations, converged = torch.zeros_like(active), torch.zeros_like(active, dtype=torch.bool)
    before = torch.full_like(theta[:, 0, 0], -math.inf)
    for iteration in range(1, max_iter + 1):
        sums, bound = e_step(problems, theta)
        theta = m_step(problems, sums)
        done = (bound - before).abs() < tol
        out[active], iterations[active], converged[active] = theta, iteration, done
        if done.all():
            break
        if done.any():
            problems, theta, bound, active = (x[~done] for x in (problems, theta, bound, active))
        before = bound
    return out, iterations, converged


def e_step(problems: Problems, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lighter component's sums (P, 3) and, but for a constant, the mean log-likelihood (P,)."""
    joint = log_densities(_flip(theta, theta[:, 0, 0] > theta[:, 0, 1]))
    q, scratch = torch.empty_like(problems.v), torch.empty_like(problems.v)
    quadratic(problems.v, joint[..., :1] - joint[..., 1:], q)
    if problems.absent is not None:
        q.add_(problems.absent)
    # log(1 + exp q) = max(q, 0) - log(the larger of the two posteriors)
    bound = (joint[..., 1] * problems.totals).sum(1) + torch.clamp(q, min=0, out=scratch).sum(1)
    share = q.sigmoid_()
    torch.sub(1.0, share, out=scratch)
    bound -= _log_product(torch.maximum(share, scratch, out=scratch))
    return _sums(share, problems.v, scratch), bound / problems.totals[:, 0]


def m_step(problems: Problems, sums: Tensor) -> Tensor:
    """Return theta, given one component's sums (P, 3) of 1, v and v^2."""
    mass, first, second = torch.stack([sums, problems.totals - sums], 2).unbind(1)
    count = mass + EMPTY
    means = (first - EMPTY * problems.shift) / count
    variances = (second - 2 * means * first + means**2 * mass).div_(count).clamp_(min=0.0) + problems.reg
    return torch.stack([count / count.sum(1, keepdim=True), means, variances], 1)


def log_densities(theta: Tensor) -> Tensor:
    """Return the coefficients (P, 3, 2) of 1, v and v^2 in log(weight * density), less a constant."""
    weights, means, variances = theta.unbind(1)
    precision = 0.5 / variances
    constant = weights.log() + precision.log() / 2 - precision * means**2
    return torch.stack([constant, 2 * precision * means, -precision], 1)


def quadratic(v: Tensor, coefficients: Tensor, out: Tensor) -> Tensor:
    """Write to `out` (P, N) the quadratic of `v` (P, N) with `coefficients` (P, 3, 1) of 1, v and v^2."""
    constant, linear, square = coefficients.unbind(1)
    return torch.mul(v, square, out=out).add_(linear).mul_(v).add_(constant)


def low_first(theta: Tensor) -> Tensor:
    """Return theta with the component of lower mean first."""
    return _flip(theta, theta[:, 1, 0] > theta[:, 1, 1])


def rescale(theta: Tensor, scale: Tensor, centre: Tensor) -> Tensor:
    """Return theta of centre + scale * v, given that of v."""
    weights, means, variances = theta.unbind(1)
    return torch.stack([weights, centre + scale * means, scale**2 * variances], 1)


def _flip(theta: Tensor, where: Tensor) -> Tensor:
    return torch.where(where[:, None, None], theta.flip(2), theta)


def _sums(share: Tensor, v: Tensor, scratch: Tensor) -> Tensor:
    mass, first = share.sum(1), torch.mul(share, v, out=scratch).sum(1)
    return torch.stack([mass, first, scratch.mul_(v).sum(1)], 1)


def _log_product(factors: Tensor) -> Tensor:
    whole = factors.shape[1] // CHUNK
    chunks, rest = factors[:, : whole * CHUNK].unflatten(1, (whole, CHUNK)), factors[:, whole * CHUNK :]
    return chunks.prod(2).log_().sum(1) + rest.prod(1).log_()
