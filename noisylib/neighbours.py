"""Exact nearest neighbours in blocks, and how many of them it takes to confirm an observed label."""

from __future__ import annotations

import torch
from torch import Tensor

from noisylib.errors import NoisylibError

# Numbers in the largest tensor of a block: 64 MiB of float64.
BLOCK_SIZE = 2**23


def nearest(X: Tensor, k: int, queries: Tensor | None = None, *, block_rows: int | None = None) -> Tensor:
    """Return the positions (M, k) of the k rows of `X` nearest to each query, nearest first.

    Distances are Euclidean, in float64, and equal ones go to the smaller position, whatever the size of
    the blocks. Beyond a float64 copy of `X` and the result, memory is bounded: no (M, N) matrix is made.

    Parameters
    ----------
    X : (N, D) features.
    k : neighbours per query, at most N, or N - 1 without `queries`.
    queries : (M, D) features; None asks for the neighbours of each row of `X` among the other rows. A
        row is left out of its own neighbours by position, so its duplicates stay in.
    block_rows : queries handled at once; by default as many as a block of 64 MiB takes.

    Raises
    ------
    NoisylibError
        If `k` is out of range, the widths differ, or a value is NaN or infinite.
    """
    own = queries is None
    _check(X, k, X if own else queries, own)
    X = X.double()
    queries = X if own else queries
    squares = torch.linalg.vector_norm(X, dim=1).square_()
    rows = min(block_rows or max(1, BLOCK_SIZE // len(X)), len(queries))
    buffer = X.new_empty((rows, len(X)))
    found = torch.empty((len(queries), k), dtype=torch.int64, device=X.device)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows].double()
        # The squared distance less |query|^2, which is the same for a whole row of (rows, N).
        partial = torch.addmm(squares, block, X.T, alpha=-2, out=buffer[: len(block)])
        if own:
            at = torch.arange(len(block), device=X.device)
            partial[at, start + at] = torch.inf
        found[start : start + rows] = _smallest(X, squares, block, partial, k)
    return found


def _smallest(X: Tensor, squares: Tensor, block: Tensor, partial: Tensor, k: int) -> Tensor:
    """Return the positions (rows, k) of the nearest samples of each query of a block.

    The matrix product rounds by where a sample stands in it, so duplicates may differ in the last
    digits. Where two of the first k + 1 values are closer than its rounding error allows to tell apart,
    the distances are taken anew from differences, which treat equal samples equally.
    """
    values, found = partial.topk(min(k + 1, partial.shape[1]), largest=False)
    reach = block.square().sum(1).sqrt() + squares.max().sqrt()
    error = (X.shape[1] + 8) * torch.finfo(X.dtype).eps * reach.square()
    doubtful = (values.diff(dim=1) <= 2 * error.unsqueeze(1)).any(1)
    found = found[:, :k]
    for row in doubtful.nonzero().flatten().tolist():
        (near,) = (partial[row] <= values[row, k - 1] + 2 * error[row]).nonzero(as_tuple=True)
        parts = near.split(max(1, BLOCK_SIZE // X.shape[1]))
        distances = torch.cat([(X[part] - block[row]).square_().sum(1) for part in parts])
        found[row] = near[distances.argsort(stable=True)[:k]]
    return found


def confirming_k(index: Tensor, y: Tensor, kmin: int, n_classes: int) -> Tensor:
    """Return how many neighbours it takes to confirm each observed label, (..., N) int64; fewer is better.

    The first of kmin, kmin + 2, ... below kmax at which the majority label of that many nearest other
    samples (the lowest class on ties) is the sample's own, else kmax.

    Parameters
    ----------
    index : (N, kmax) positions of the nearest other samples, nearest first, from `nearest(X, kmax)`.
    y : (..., N) observed labels in 0..K-1; every leading axis is a run of its own.
    kmin : the smallest number that is tried.
    n_classes : K.

    Source: Di Salvo et al. 2025, adaptive neighbourhoods.
    """
    n, kmax = index.shape
    runs = y.reshape(-1, n)
    found = torch.full_like(runs, kmax)
    rows = max(1, BLOCK_SIZE // (len(runs) * max(kmax, n_classes)))
    for start in range(0, n, rows):
        own = runs[:, start : start + rows]
        labels = runs[:, index[start : start + rows]]  # (R, rows, kmax)
        counts = labels.new_zeros((*own.shape, n_classes), dtype=torch.int32)
        one = counts.new_ones(()).expand(labels.shape)
        first, block = 0, found[:, start : start + rows]
        for k in range(kmin, kmax, 2):
            counts.scatter_add_(-1, labels[..., first:k], one[..., first:k])
            block.masked_fill_((counts.argmax(-1) == own) & (block == kmax), k)
            first = k
    return found.reshape(y.shape)


def _check(X: Tensor, k: int, queries: Tensor, own: bool) -> None:
    for name, rows in (("X", X), ("queries", queries)):
        if rows.ndim != 2 or rows.shape[1] != X.shape[-1]:
            raise NoisylibError(
                f"{name} has shape {tuple(rows.shape)}: (rows, D) with the same D as X is needed."
            )
        if not rows.isfinite().all():
            raise NoisylibError(f"{name} has NaN or infinite values: drop those rows or extract them again.")
    if not 1 <= k <= len(X) - own:
        others = "other " if own else ""
        raise NoisylibError(
            f"k={k}: X has {len(X)} rows, so each has from 1 to {len(X) - own} {others}neighbours. "
            "Ask for fewer, or pass more samples."
        )
