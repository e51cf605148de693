"""Out-of-fold probabilities, and what is read off them: a transition matrix and a list of suspects."""

from __future__ import annotations

import numpy as np
import torch
from reference.heads import Adam, ce, learning_rate_at, logits_of, start_head
from reference.run import Run

from noisylib.seeding import torch_generator


def fold_of(run: Run, folds: int) -> list[int]:
    """Deal the samples of each observed class, in a random order, over the folds in turn."""
    seen = [0] * run.K
    fold = [0] * run.N
    for i in torch.randperm(run.N, generator=torch_generator("folds", run.seed)).tolist():
        fold[i] = seen[run.y[i]] % folds
        seen[run.y[i]] += 1
    return fold


def out_of_fold(run: Run, folds: int, fold_epochs: int) -> np.ndarray:
    """Probabilities (N, K), each from a linear network that did not train on the sample."""
    fold = fold_of(run, folds)
    P = np.zeros((run.N, run.K))
    for f in range(folds):
        head = _linear_without(run, f, fold, fold_epochs)
        for i in range(run.N):
            if fold[i] == f:
                with torch.no_grad():
                    P[i] = torch.softmax(logits_of("linear", head, run.X[i]), 0).numpy()
    return P


def _linear_without(run: Run, f: int, fold: list[int], fold_epochs: int) -> dict[str, torch.Tensor]:
    head = start_head("linear", run.seed, f, run.X.shape[1], run.K, run.width)
    optimiser = Adam(head, run.decay)
    for epoch in range(fold_epochs):
        rate = learning_rate_at(epoch, fold_epochs, run.lr, run.decay_at)
        order = torch.randperm(run.N, generator=torch_generator("fold-batches", run.seed, epoch)).tolist()
        for first in range(0, run.N, run.batch_size):
            others = [i for i in order[first : first + run.batch_size] if fold[i] != f]
            # Nothing to learn from: only the decay acts.
            gradients = [torch.zeros_like(p) for p in head.values()]
            if others:
                loss = sum(ce(logits_of("linear", head, run.X[i]), run.y[i]) for i in others) / len(others)
                gradients = torch.autograd.grad(loss, list(head.values()))
            optimiser.step(gradients, rate)
    return head


def transition_from(P: np.ndarray, percentile: float) -> np.ndarray:
    """Row i is the row of P that is surest of class i below the percentile (Patrini et al. 2017)."""
    T = np.zeros((P.shape[1], P.shape[1]))
    for i in range(P.shape[1]):
        column = P[:, i]
        threshold = np.percentile(column, percentile)
        below = [n for n in range(len(P)) if column[n] < threshold] or list(range(len(P)))
        surest = max(below, key=lambda n: (column[n], -n))
        T[i] = P[surest] / P[surest].sum()
    return T


def mislabelled(y: list[int], P: np.ndarray) -> np.ndarray:
    """Mask (N,) of the samples that confident learning calls mislabelled."""
    from cleanlab.filter import find_label_issues

    return find_label_issues(np.array(y), P, filter_by="prune_by_noise_rate", n_jobs=1)
