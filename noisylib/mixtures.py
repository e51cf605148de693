"""Two-component Gaussian mixtures of one variable, fitted to many problems at once.

Methods that divide samples into clean and noisy fit such a mixture to the losses of a run, every epoch.
All leading axes of the values, (runs, N) or (runs, classes, N), are independent problems of one tensor
program. They go in blocks that fit a processor's cache. :mod:`noisylib.mixture_em` has the steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from noisylib import mixture_em as em
from noisylib.errors import NoisylibError

BLOCK = {"cpu": 2**18, "cuda": 2**24}  # values per block
LARGEST = 1e100  # squares of values, and their sums, stay finite


@dataclass(frozen=True)
class Mixture:
    """Fitted mixtures, one per problem; the component of lower mean comes first.

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
        """Return each value's probability, (..., M) in [0, 1], to be of the component with the lower mean."""
        flat, _, _, _ = _read(values, None)
        if values.shape[:-1] != self.converged.shape:
            raise NoisylibError(
                f"values has shape {tuple(values.shape)}, but the leading axes of the mixture are "
                f"{tuple(self.converged.shape)}: give one row of values per problem."
            )
        weights, means, variances = (x.reshape(-1, 2) for x in (self.weights, self.means, self.variances))
        origin = means[:, :1]
        joint = em.log_densities(torch.stack([weights, means - origin, variances], 1))
        odds, out, size = joint[..., :1] - joint[..., 1:], torch.empty_like(flat), _block_rows(flat)
        for part, v, o, c in zip(*(x.split(size) for x in (out, flat, origin, odds)), strict=True):
            em.quadratic(v - o, c, part).sigmoid_()
        return out.view(values.shape)


def scale_to_unit(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return each problem of `values` (..., N) moved and scaled to [0, 1]; all 0 where the range is 0.

    Entries where `mask` is False do not count, whatever their value, and become 0.
    """
    flat, kept, low, high = _read(values, mask)
    out = (flat - low).div_(torch.where(high > low, high - low, 1.0))
    return (out if kept is None else out.masked_fill_(~kept, 0.0)).view(values.shape)


def low_posterior(
    values: Tensor, mask: Tensor | None = None, **options: float | tuple[Tensor, Tensor, Tensor]
) -> Tensor:
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
    """Fit a mixture to each problem of `values` (..., N) by expectation maximisation.

    Parameters
    ----------
    values : (..., N), finite; each row of the last axis is a problem of its own.
    mask : (..., N) bool; False entries do not count, whatever their value. None: all count.
    max_iter, tol : a problem stops after so many iterations, or when its mean log-likelihood per value
        changes by less than `tol` nats. It keeps its parameters while others go on.
    reg : added to every variance. The three defaults are those of DivideMix's code.
    init : weights, means and variances, each (..., 2), to start from. None: the groups of 2-means, whose
        threshold starts at the mean and moves to the middle of the two means until it stays.

    Raises
    ------
    NoisylibError
        Values that are not finite, a mask of another shape or type, or an option out of its range.

    Source: J. Li, R. Socher, S. C. H. Hoi, "DivideMix: Learning with noisy labels as semi-supervised
    learning", ICLR 2020. Their 2-means starts at random; this one draws nothing.
    """
    flat, kept, low, high = _read(values, mask)
    _check_options(values, max_iter, tol, reg, init)
    if kept is not None:
        flat, kept = _pack(flat, kept)
    # A degenerate problem keeps this: its high component has no weight.
    theta = torch.stack([torch.zeros_like(low), low, torch.full_like(low, reg)], 1).repeat(1, 1, 2)
    theta[:, 0, 0] = 1.0
    start = None if init is None else torch.stack([part.to(theta) for part in init], -2).view_as(theta)
    iterations = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    converged = torch.ones_like(iterations, dtype=torch.bool)
    centre, half = high / 2 + low / 2, high / 2 - low / 2
    scale = half.clamp(min=math.sqrt(reg))
    for rows in half.flatten().nonzero().flatten().split(_block_rows(flat)):
        c, s = centre[rows], scale[rows]
        problems = em.Problems.of(flat[rows], None if kept is None else kept[rows], c, s, reg)
        if start is None:
            first = em.two_means(problems, half[rows] / s)
        else:
            first = em.rescale(start[rows], 1 / s, -c / s)
        last, iterations[rows], converged[rows] = em.maximise(problems, first, max_iter, tol)
        theta[rows] = em.rescale(last, s, c)
    lead = values.shape[:-1]
    parameters = em.low_first(theta).view(*lead, 3, 2).unbind(-2)
    return Mixture(*parameters, iterations.view(lead), converged.view(lead))


def _block_rows(flat: Tensor) -> int:
    return max(1, BLOCK.get(flat.device.type, BLOCK["cuda"]) // max(1, flat.shape[1]))


def _pack(flat: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kept values of each row at its front, as wide as the fullest row, and where they are."""
    count = kept.sum(1, keepdim=True)
    front = torch.arange(int(count.max()) if len(count) else 0, device=flat.device) < count
    return torch.zeros_like(front, dtype=flat.dtype).masked_scatter_(front, flat[kept]), front


def _read(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Return values (P, N) as float64, mask (P, N), and each problem's lowest and highest value (P, 1)."""
    if not values.ndim or not values.shape[-1]:
        raise NoisylibError(f"values has shape {tuple(values.shape)}: its last axis needs at least 1 value.")
    flat, kept = values.detach().to(torch.float64).reshape(-1, values.shape[-1]), None
    low = high = flat
    if mask is not None:
        if mask.shape != values.shape or mask.dtype != torch.bool:
            raise NoisylibError(
                f"mask is {mask.dtype} of shape {tuple(mask.shape)}: it must be bool and of the shape "
                f"of values, {tuple(values.shape)}."
            )
        kept = mask.reshape(flat.shape)
        empty = ~kept.any(1, keepdim=True)
        low, high = (flat.masked_fill(~kept, x).masked_fill_(empty, 0.0) for x in (math.inf, -math.inf))
    low, high = low.amin(1, keepdim=True), high.amax(1, keepdim=True)
    wrong = ~((low > -LARGEST) & (high < LARGEST))
    if wrong.any():
        raise NoisylibError(
            f"values: {int(wrong.sum())} of {len(flat)} problems hold NaN, infinity or numbers beyond "
            f"{LARGEST:g}. All must be finite; leave out entries with mask."
        )
    return flat, kept, low, high


def _check_options(
    values: Tensor, max_iter: int, tol: float, reg: float, init: tuple[Tensor, Tensor, Tensor] | None
) -> None:
    for name, value, holds, allowed in (
        ("max_iter", max_iter, max_iter >= 1, "at least 1"),
        ("tol", tol, tol >= 0, "0 or more"),
        ("reg", reg, 0 < reg < math.inf, "positive and finite"),
    ):
        if not holds:
            raise NoisylibError(f"{name}={value} must be {allowed}.")
    if init is None:
        return
    shape = (*values.shape[:-1], 2)
    for name, part in zip(("weights", "means", "variances"), init, strict=True):
        good = part.isfinite() & ((part > 0) | (name == "means")) if part.shape == shape else None
        if good is None or not good.all():
            raise NoisylibError(
                f"init: the {name}, of shape {tuple(part.shape)}, must be finite"
                f"{'' if name == 'means' else ', positive'} and of shape {shape}."
            )
