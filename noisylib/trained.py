"""Training one head that can be kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from noisylib.descriptors import describe
from noisylib.devices import pick_device
from noisylib.errors import NoisylibError
from noisylib.evidence import FOLDS, collect_evidence
from noisylib.facts import Facts, settle
from noisylib.methods import Method, TrainingFree, make_method
from noisylib.noise import check_labels
from noisylib.noise_estimate import NoiseEstimate, estimate_noise
from noisylib.recipe import Recipe
from noisylib.samples import moments
from noisylib.trained_head import TrainedHead, load_head
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs, check_features

if TYPE_CHECKING:
    from noisylib.evidence import Evidence

__all__ = ["TrainedHead", "load_head", "train_head"]


def train_head(
    X: np.ndarray,
    y_noisy: np.ndarray,
    n_classes: int,
    *,
    method: str | Method = "ce",
    head: str = "adapter",
    seed: int = 0,
    noise_rate: float | None = None,
    noise_type: str | None = None,
    transition: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    views: np.ndarray | None = None,
    classes: Sequence[str | int | bool] | None = None,
    feature_names: Sequence[str] = (),
    evidence: Evidence | None = None,
    recipe: Recipe | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> TrainedHead:
    """Train one head and return it: one run of `noisylib.train_bank`, without a test split.

    What the method must be told of the noise and is not given is estimated from `X` and `y_noisy`, and
    DivideMix gets its setting for noise that nobody knows; `noisylib.facts.settle` has the rules.

    Parameters
    ----------
    X : (N, D) features.
    y_noisy : (N,) int observed labels in 0..K-1.
    n_classes : K.
    method, head, views, recipe, device : as `noisylib.train_bank`.
    seed : of the start of the heads and the batch order.
    noise_rate, noise_type, transition : what is known of the noise; T[i, j] = P(noisy = j | true = i).
    sample_weight : (N,) at least 0, as `noisylib.train_bank`.
    classes : K labels to predict with; by default 0..K-1.
    feature_names : D names, kept with the head.
    evidence : of these labels, if it is at hand; else it is collected if something must be estimated.
    progress : called with (epochs done, epochs) after each epoch.

    Raises
    ------
    NoisylibError
        As `noisylib.train_bank`, and for a method that trains no head.
    """
    recipe = recipe or Recipe()
    if isinstance(make_method(method), TrainingFree):
        raise NoisylibError(
            f"method={make_method(method).name!r} votes with the training samples and trains no head that "
            "could be kept: use noisylib.train_bank, or a method that trains one, such as 'elr'."
        )
    X, y_noisy = check_features(X, "X"), check_labels(y_noisy, n_classes, "y_noisy")

    def estimate() -> NoiseEstimate:
        folds = min(FOLDS, len(X))
        found = (
            evidence or collect_evidence(X, y_noisy, n_classes, seeds=[seed], folds=folds, device=device)[0]
        )
        return estimate_noise(found, describe(X, found))

    method, facts = settle(
        method, y_noisy, n_classes, estimate,
        noise_rate=noise_rate, noise_type=noise_type, transition=transition,
    )  # fmt: skip
    inputs = check_bank_inputs(
        X, y_noisy, None, None, n_classes, method, seeds=[seed], views=views, sample_weight=sample_weight,
        noise_rates=None if facts.noise_rate is None else [facts.noise_rate],
        noise_types=None if facts.noise_type is None else [facts.noise_type],
        transitions=facts.transition,
    )  # fmt: skip
    bank = BankInTraining(inputs, method, head, recipe, pick_device(device), torch.float32)
    for epoch in range(recipe.epochs):
        bank.train_epoch(epoch, None)
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    return _trained(bank, X, facts, range(n_classes) if classes is None else classes, feature_names)


def _trained(
    bank: BankInTraining, X: np.ndarray, facts: Facts, classes: Sequence, feature_names: Sequence[str]
) -> TrainedHead:
    """Return what predicts of a bank of one run."""
    D, recipe = X.shape[1], bank.recipe
    mean, std = np.zeros(D), np.ones(D)
    if recipe.standardise:
        mean, std = (m.numpy() for m in moments(torch.as_tensor(np.array(X, dtype=np.float64))))
    kind, weights = _predicting(bank)
    told = {name: getattr(facts, name) for name in bank.method.told}
    told = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}
    method = bank.method
    return TrainedHead(
        kind=kind,
        weights=weights,
        mean=mean,
        std=std,
        classes=tuple(classes),
        method=method.name,
        options={option.name: getattr(method, option.name) for option in dataclasses.fields(method)},
        recipe=recipe,
        seed=bank.layout.seeds[0],
        told={**told, "estimated": list(facts.estimated)} if told else {},
        feature_names=tuple(feature_names),
    )


def _predicting(bank: BankInTraining) -> tuple[str, dict[str, np.ndarray]]:
    """Return kind and weights (nets, rows, columns) of the networks whose logits the method ranks.

    Which they are is read off what the method makes of one-hot logits: network i says i.
    """
    nets = sum(part.grid[1] for part in bank.networks.banks)
    one_hot = torch.eye(nets, dtype=bank.dtype, device=bank.device).view(nets, 1, 1, 1, nets)
    share = bank.method.scores(one_hot, bank.state).flatten().tolist()
    first, found = 0, []
    for part in bank.networks.banks:
        numbers = [i for i in range(part.grid[1]) if share[first + i]]
        found += [(part, numbers)] if numbers else []
        first += part.grid[1]
    if len(found) != 1 or not set(share) <= {0.0, 1.0}:
        raise NoisylibError(
            f"method {bank.method.name!r} ranks no plain sum of networks of one kind: a head cannot be kept."
        )
    ((part, numbers),) = found
    return part.kind, {
        name: values[0, numbers].to("cpu", torch.float32).numpy() for name, values in part.parameters.items()
    }
