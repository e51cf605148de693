"""Class probabilities of every training sample from a head that never saw its label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError
from noisylib.heads import HeadBank
from noisylib.methods.base import Method, hyper
from noisylib.methods.losses import add_at_label, softmax
from noisylib.methods.session import Training
from noisylib.optimiser import FusedAdam
from noisylib.recipe import Recipe
from noisylib.seeding import torch_generator


@dataclass(frozen=True)
class CrossValidated(Method):
    """Base of the methods that look at out-of-fold probabilities before they train."""

    folds: int = hyper(
        5, "folds of the cross-validation", "Northcutt et al. 2021", low=2, high=20, whole=True
    )
    fold_epochs: int = hyper(
        20, "epochs of each fold's linear probe", "Ahn et al. 2024, linear probing",
        low=1, high=1000, whole=True,
    )  # fmt: skip

    def check_labels(self, y_noisy: np.ndarray, n_classes: int) -> None:
        """Each class must be observed once per fold."""
        check_folds(y_noisy, self.folds, n_classes)

    def probabilities(self, training: Training) -> Tensor:
        """Return out-of-fold class probabilities (S, H, N, K) float64."""
        return out_of_fold(training, self.folds, self.fold_epochs)


def out_of_fold(training: Training, folds: int, epochs: int) -> Tensor:
    """Return probabilities (S, H, N, K) float64 by cross-validation of a linear probe.

    Rate, decay and batch size are those of the recipe.
    """
    context, recipe = training.context, replace(training.recipe, epochs=epochs, score_epochs=1)
    return held_out_probabilities(
        training.X.to(context.dtype), training.y, context.seeds, context.n_classes, folds=folds, recipe=recipe
    )


def held_out_probabilities(
    X: Tensor,
    y: Tensor,
    seeds: tuple[int, ...],
    n_classes: int,
    *,
    folds: int,
    recipe: Recipe,
    head: str = "linear",
) -> Tensor:
    """Return probabilities (S, H, N, K) float64 by cross-validation over `folds` parts.

    One head per fold trains with cross entropy on the other folds, all folds of all runs as one bank.

    Parameters
    ----------
    X : (N, D) features as the heads get them; a tensor, or ``noisylib.mapped.SeenRows`` that stay on disk.
    y : (S, H, N) observed labels, of S seeds with H runs each.
    seeds : S training seeds.
    head : kind of the heads.
    """
    fold_of = stratified_folds(y, seeds, folds, n_classes)
    heads = HeadBank(
        head,
        seeds,
        X.shape[1],
        n_classes,
        n_nets=folds,
        runs_per_seed=y.shape[1],
        width=recipe.width,
        device=X.device,
        dtype=X.dtype,
    )
    optimiser = FusedAdam([heads.flat], learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    in_memory, numbers = isinstance(X, Tensor), torch.arange(folds, device=X.device).view(-1, 1, 1, 1)
    prepared = heads.prepare(X) if in_memory else X.prepared(heads)
    for epoch in range(recipe.epochs):
        optimiser.learning_rate = recipe.learning_rate_at(epoch)
        indices = _order(X, seeds, epoch).split(recipe.batch_size, dim=1)
        if not in_memory:
            prepared.begin(indices)
        for index in indices:
            at = index.unsqueeze(1).expand(-1, y.shape[1], -1)
            x = heads.gather(prepared, index) if in_memory else prepared.gather(index)
            gradient = add_at_label(softmax(heads.forward(x)), y.gather(2, at), -1)
            seen = (fold_of.gather(2, at) != numbers).to(X.dtype)  # (folds, S, H, B)
            gradient.mul_((seen / seen.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-1))
            heads.backward(x, gradient)
            optimiser.step()
    held_out = [
        softmax(heads.forward(rows).double()).gather(
            0, fold[None, ..., None].expand(1, *fold.shape, n_classes)
        )[0]
        for rows, fold in zip(prepared.split(1024), fold_of.split(1024, dim=2), strict=True)
    ]
    return torch.cat(held_out, dim=2)


def check_folds(y_noisy: np.ndarray, folds: int, n_classes: int) -> None:
    """Raise NoisylibError if a class is observed less often than there are folds.

    Some probe might then never see it.

    Parameters
    ----------
    y_noisy : (R, N) observed labels.
    """
    for run, labels in enumerate(y_noisy):
        counts = np.bincount(labels, minlength=n_classes)
        if counts.min() < folds:
            raise NoisylibError(
                f"y_noisy[{run}] has class {counts.argmin()} only {counts.min()} times: cross-validation "
                f"with folds={folds} needs at least {folds} samples of each class. Merge or drop the "
                "class, or use fewer folds."
            )


def stratified_folds(y: Tensor, seeds: tuple[int, ...], folds: int, n_classes: int) -> Tensor:
    """Return the fold (S, H, N) of each sample; every observed class is dealt out evenly.

    In an order drawn from the seed, the samples of a class go to folds 0, 1, ... in turn.
    """
    N = y.shape[-1]
    draws = {seed: torch.randperm(N, generator=torch_generator("folds", seed)) for seed in seeds}
    priority = torch.stack([draws[seed] for seed in seeds]).to(y.device).unsqueeze(1).expand_as(y)
    one_hot = torch.nn.functional.one_hot(y.gather(2, priority), n_classes)
    turn = one_hot.cumsum(2).sub_(1).mul_(one_hot).sum(-1) % folds
    return torch.empty_like(turn).scatter_(2, priority, turn)


def _order(X: Tensor, seeds: tuple[int, ...], epoch: int) -> Tensor:
    orders = {
        seed: torch.randperm(len(X), generator=torch_generator("fold-batches", seed, epoch)) for seed in seeds
    }
    return torch.stack([orders[seed] for seed in seeds]).to(X.device)
