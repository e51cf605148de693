"""Two-component Gaussian mixtures of one variable, fitted to many problems at once.

Methods that divide samples into clean and noisy fit such a mixture to the losses of a run, every epoch.
All leading axes, (runs, N) or (runs, classes, N), are independent problems of one tensor program. Order of
steps, regularisation and stopping rule are those of scikit-learn's ``GaussianMixture`` with full
covariances: from the same start, the same posteriors. What makes it fast:

- Two components need one posterior, the sigmoid of a quadratic: the log odds of the lighter component.
  Its sums are taken over the values; those of the heavier one are what is left of the data's sums,
  which loses no digits, as it would the other way round.
- The log-likelihood is a closed form of the data's sums plus sum log(1 + exp(log odds)), for which one
  logarithm of a product of a thousand posteriors stands in for a thousand logarithms.
- Problems go in blocks that fit a processor's cache, and leave their block as soon as they converge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from noisylib.errors import NoisylibError

# scikit-learn adds this to each component's number of values; it decides where an empty one goes.
EMPTY = 10 * torch.finfo(torch.float64).eps
BLOCK = {"cpu": 2**17, "cuda": 2**24}  # values per block
CHUNK = 1000  # factors per product: each is at least 1/2, and 2^-1000 does not underflow
TIE = 1e-12  # of half the range; a value this near the threshold of 2-means counts as low
LARGEST = 1e100  # squares of values, and their sums, stay finite


@dataclass(frozen=True)
class Mixture:
    """Fitted mixtures; the component of lower mean comes first.

    Attributes
    ----------
    weights, means, variances : (..., 2) float64, in the units of the values.
    iterations : (...) int64, EM iterations done; 0 for a degenerate problem.
    converged : (...) bool, False where `max_iter` ended the fit.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    iterations: Tensor
    converged: Tensor

    def low_posterior(self, values: Tensor) -> Tensor:
        """Return the probability, (..., M) in [0, 1], that each of `values` (..., M) is of the low component."""
        flat, _, _, _ = _read(values, None)
        if values.shape[:-1] != self.converged.shape:
            raise NoisylibError(
                f"values has shape {tuple(values.shape)}, the mixture has problems of shape "
                f"{tuple(self.converged.shape)}: give one row of values per problem."
            )
        means = self.means.reshape(-1, 2)
        low = means[:, :1]
        theta = torch.stack([self.weights.reshape(-1, 2), means - low, self.variances.reshape(-1, 2)], 1)
        odds = _log_densities(theta).diff(dim=2).neg_()
        out = torch.empty_like(flat)
        size = _rows_per_block(flat)
        for i in range(0, len(flat), size):
            rows = slice(i, i + size)
            _quadratic(flat[rows] - low[rows], odds[rows], out=out[rows]).sigmoid_()
        return out.view(values.shape)


def scale_to_unit(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return each problem of `values` (..., N) moved and scaled to [0, 1]; all 0 where the range is 0.

    Entries where `mask` is False do not count and become 0.
    """
    flat, kept, low, high = _read(values, mask)
    out = (flat - low).div_(torch.where(high > low, high - low, 1.0))
    return (out if kept is None else out.masked_fill_(~kept, 0.0)).view(values.shape)


def low_posterior(values: Tensor, mask: Tensor | None = None, **options) -> Tensor:
    """Return each value's probability, (..., N) in [0, 1], to be of the component with the lower mean.

    A degenerate problem, of fewer than two values or of equal ones, has one component: all 1.
    Entries where `mask` is False get 0. Options are those of :func:`fit_mixture`.
    """
    mixture = fit_mixture(values, mask, **options)
    if mask is None:
        return mixture.low_posterior(values)
    return mixture.low_posterior(values.masked_fill(~mask, 0.0)).masked_fill_(~mask, 0.0)


def fit_mixture(
    values: Tensor,
    mask: Tensor | None = None,
    *,
    max_iter: int = 10,
    tol: float = 1e-2,
    reg: float = 5e-4,
    init: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Mixture:
    flat, kept, low, high = _read(values, mask)
    _check(max_iter >= 1 and tol >= 0 and reg > 0, f"{max_iter=}, {tol=}, {reg=}: ...")
    # A problem without a range keeps this: the high component has no weight.
    means = low.expand(-1, 2)
    theta = torch.stack([low.new_tensor([1.0, 0.0]).expand_as(means), means, torch.full_like(means, reg)], 1)
    iterations = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    converged = torch.ones_like(iterations, dtype=torch.bool)
    start = None if init is None else torch.stack([part.to(theta) for part in init], -2).view_as(theta)
    centre, half = high / 2 + low / 2, high / 2 - low / 2
    scale = half.clamp(min=math.sqrt(reg))
    for rows in (half > 0).flatten().nonzero().flatten().split(_rows_per_block(flat)):
        problems = _standardise(flat[rows], None if kept is None else kept[rows], centre[rows], scale[rows], reg)
        if start is None:
            first = _two_means(problems, TIE * (half / scale)[rows])
        else:
            first = _rescale(start[rows], 1 / scale[rows], -centre[rows]/scale[rows])
        last, iterations[rows], converged[rows] = _maximise(problems, first, max_iter, tol)
        theta[rows] = _rescale(last, scale[rows], centre[rows])
    crossed = theta[:, 1, 0] > theta[:, 1, 1]
    theta = torch.where(crossed[:, None, None], theta.flip(2), theta)
    weights, means, variances = theta.view(*values.shape[:-1], 3, 2).unbind(-2)
    shape = values.shape[:-1]
    return Mixture(weights, means, variances, iterations.view(shape), converged.view(shape))


@dataclass(frozen=True)
class _Problems:
    """P problems in units of their own: v = (value - centre) / scale, between -1 and 1."""

    v: Tensor  # (P, N); 2 where masked, above every threshold
    masked: Tensor | None  # (P, N) -inf where masked, to be added to log odds; else 0
    totals: Tensor  # (P, 3) sums of 1, v, v^2
    shift: Tensor  # (P, 1) centre / scale
    reg: Tensor  # (P, 1)

    def __getitem__(self, rows: Tensor) -> _Problems:
        parts = (getattr(self, field.name) for field in fields(self))
        return _Problems(*(None if part is None else part[rows] for part in parts))


def _standardise(values: Tensor, kept: Tensor | None, centre: Tensor, scale: Tensor, reg: float) -> _Problems:
    P, N = values.shape
    v = (values - centre).div_(scale)
    masked, count = None, torch.full_like(v[:, 0], N)
    if kept is not None:
        v.masked_fill_(~kept, 0.0)
        count = kept.sum(1).to(v)
        masked = torch.zeros_like(v).masked_fill_(~kept, -math.inf)
    totals = torch.stack([count, v.sum(1), v.square().sum(1)], 1)
    if kept is not None:
        v.masked_fill_(~kept, 2.0)
    return _Problems(v, masked, totals, centre / scale, reg / scale**2)


def _two_means(problems: _Problems, tie: Tensor) -> Tensor:
    v = problems.v
    n, total, _ = problems.totals.split(1, dim=1)
    threshold, before = total / n, n
    low, scratch = torch.empty_like(v), torch.empty_like(v)
    while True:
        torch.le(v, threshold + tie, out=low)
        count = low.sum(1, keepdim=True)
        if torch.equal(count, before):
            break
        low_sum = torch.mul(low, v, out=scratch).sum(1, keepdim=True)
        threshold = (low_sum / count + (total - low_sum) / (n - count)) / 2
        before = count
    return _m_step(problems, _sums(low, v, scratch))


def _maximise(problems: _Problems, theta: Tensor, max_iter: int, tol: float):
    out, active = theta.clone(), torch.arange(len(theta), device=theta.device)
    iterations = torch.zeros_like(active)
    converged = torch.zeros_like(active, dtype=torch.bool)
    before = torch.full_like(theta[:, 0, 0], -math.inf)
    for iteration in range(1, max_iter + 1):
        sums, bound = _e_step(problems, theta)
        theta = _m_step(problems, sums)
        done = (bound - before).abs() < tol
        out[active], iterations[active], converged[active] = theta, iteration, done
        if done.all():
            break
        if done.any():
            problems, theta, bound, active = (x[~done] for x in (problems, theta, bound, active))
        before = bound
    return out, iterations, converged


def _e_step(problems: _Problems, theta: Tensor) -> tuple[Tensor, Tensor]:
    lighter = theta[:, 0, 0] <= theta[:, 0, 1]
    theta = torch.where(lighter[:, None, None], theta, theta.flip(2))
    joint = _log_densities(theta)
    scratch = torch.empty_like(problems.v)
    q = _quadratic(problems.v, joint[..., :1] - joint[..., 1:], out=torch.empty_like(problems.v))
    if problems.masked is not None:
        q.add_(problems.masked)
    bound = (joint[..., 1] * problems.totals).sum(-1)
    bound += torch.clamp(q, min=0, out=scratch).sum(1)
    share = q.sigmoid_()
    torch.sub(1.0, share, out=scratch)
    bound -= _log_product(torch.maximum(share, scratch, out=scratch))
    return _sums(share, problems.v, scratch), bound / problems.totals[:, 0]


def _sums(share: Tensor, v: Tensor, scratch: Tensor) -> Tensor:
    mass = share.sum(1)
    first = torch.mul(share, v, out=scratch).sum(1)
    return torch.stack([mass, first, scratch.mul_(v).sum(1)], 1)


def _log_product(factors):
    whole = factors.shape[1] // CHUNK
    chunks = factors[:, : whole * CHUNK].unflatten(1, (whole, CHUNK))
    return chunks.prod(2).log_().sum(1) + factors[:, whole * CHUNK :].prod(1).log_()


def _log_densities(theta: Tensor) -> Tensor:
    """(P, 3, 2) coefficients of 1, v, v^2"""
    weights, means, variances = theta.unbind(1)
    precision = 0.5 / variances
    constant = weights.log() + precision.log() / 2 - precision * means**2
    return torch.stack([constant, 2 * precision * means, -precision], 1)


def _quadratic(v, coefficients, out):
    constant, linear, square = coefficients.unbind(1)
    return torch.mul(v, square, out=out).add_(linear).mul_(v).add_(constant)


def _m_step(problems: _Problems, sums: Tensor) -> Tensor:
    """Return weights, means and variances (P, 3, 2) from posteriors (P, 2, L)."""
    mass, first, second = torch.stack([sums, problems.totals - sums], 2).unbind(1)
    padded = mass + EMPTY
    means = (first - EMPTY * problems.shift) / padded
    variances = (second - 2 * means * first + means**2 * mass).div_(padded).clamp_(min=0.0) + problems.reg
    return torch.stack([padded / padded.sum(-1, keepdim=True), means, variances], 1)


def _rescale(theta: Tensor, scale: Tensor, centre: Tensor) -> Tensor:
    weights, means, variances = theta.unbind(1)
    return torch.stack([weights, centre + scale * means, scale**2 * variances], 1)


def _rows_per_block(flat: Tensor) -> int:
    return max(1, BLOCK.get(flat.device.type, BLOCK["cuda"]) // flat.shape[1])


def _check(holds, message):
    if not holds:
        raise NoisylibError(message)


def _read(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Return values (P, N) and mask as float64 and bool, and each problem's extremes (P, 1)."""
    flat = values.to(torch.float64).reshape(-1, values.shape[-1])
    kept = None if mask is None else mask.reshape(flat.shape)
    low = (flat if kept is None else flat.masked_fill(~kept, math.inf)).amin(1, keepdim=True)
    high = (flat if kept is None else flat.masked_fill(~kept, -math.inf)).amax(1, keepdim=True)
    if kept is not None:
        some = kept.any(1, keepdim=True)
        low, high = low.where(some, 0.0), high.where(some, 0.0)
    _check(((low.abs() < LARGEST) & (high.abs() < LARGEST)).all(), "values ...")
    return flat, kept, low, high
