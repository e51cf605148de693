"""Class probabilities of every training sample from a linear probe that never saw its label."""

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
    """Return probabilities (S, H, N, K) float64 by cross-validation over `folds` parts.

    One linear probe per fold trains with cross entropy on the other folds, all folds of all runs as
    one bank. Rate, decay and batch size are those of the recipe.
    """
    context, recipe = training.context, replace(training.recipe, epochs=epochs, score_epochs=1)
    fold_of = stratified_folds(training.y, context.seeds, folds, context.n_classes)
    heads = HeadBank(
        "linear",
        context.seeds,
        training.X.shape[1],
        context.n_classes,
        n_nets=folds,
        runs_per_seed=context.runs[1],
        device=context.device,
        dtype=context.dtype,
    )
    optimiser = torch.optim.Adam(
        [heads.flat], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    numbers = torch.arange(folds, device=context.device).view(-1, 1, 1, 1)
    for epoch in range(epochs):
        optimiser.param_groups[0]["lr"] = recipe.learning_rate_at(epoch)
        for index in _order(training, epoch).split(recipe.batch_size, dim=1):
            at = index.unsqueeze(1).expand(-1, context.runs[1], -1)
            x = heads.gather(training.X, index)
            gradient = add_at_label(softmax(heads.forward(x)), training.y.gather(2, at), -1)
            seen = (fold_of.gather(2, at) != numbers).to(context.dtype)  # (folds, S, H, B)
            gradient.mul_((seen / seen.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-1))
            heads.backward(x, gradient)
            optimiser.step()
    held_out = [
        softmax(heads.forward(rows).double()).gather(
            0, fold[None, ..., None].expand(1, *fold.shape, context.n_classes)
        )[0]
        for rows, fold in zip(training.X.split(1024), fold_of.split(1024, dim=2), strict=True)
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


def _order(training: Training, epoch: int) -> Tensor:
    seeds = training.context.seeds
    orders = {
        seed: torch.randperm(len(training.X), generator=torch_generator("fold-batches", seed, epoch))
        for seed in seeds
    }
    return torch.stack([orders[seed] for seed in seeds]).to(training.X.device)
