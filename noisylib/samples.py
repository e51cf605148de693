"""The features that a bank trains on and is scored on, as its heads see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from noisylib import pages
from noisylib.networks import Networks
from noisylib.recipe import Recipe
from noisylib.validation import BankInputs


class Samples:
    """Standardised features on the device; the parts of a bank share them.

    Attributes
    ----------
    X : (N, D) training features.
    X_test : (N_test, D), or None where nothing is scored.
    views : (V, N, D) augmented versions of the training features, or None.
    """

    def __init__(self, inputs: BankInputs, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> None:
        self.X, self.X_test, self.views = as_heads_see(
            inputs.X, inputs.X_test, inputs.views, recipe=recipe, device=device, dtype=dtype
        )
        self._prepared: dict[int, tuple[Tensor, Tensor | None]] = {}

    def prepared(self, networks: Networks) -> tuple[Tensor, Tensor | None]:
        """Return training and test features as `networks` take them, (N, F) and (N_test, F)."""
        if networks.n_inputs not in self._prepared:
            test = None if self.X_test is None else networks.prepare(self.X_test)
            self._prepared[networks.n_inputs] = (pages.copy(networks.prepare(self.X)), test)
        return self._prepared[networks.n_inputs]


def as_heads_see(
    X: np.ndarray, *others: np.ndarray | None, recipe: Recipe, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, ...]:
    """Return training features (N, D) and `others` (..., D) as heads get them; None stays None.

    If the recipe says so, all are z-scored with the mean and deviation of `X`.
    """
    # A copy, because torch warns of arrays that are read-only, such as memory maps.
    tensors = [None if a is None else torch.as_tensor(np.array(a, dtype=np.float64)) for a in (X, *others)]
    if recipe.standardise:
        mean, std = moments(tensors[0])
        tensors = [None if t is None else (t - mean) / std for t in tensors]
    return tuple(None if t is None else t.to(device, dtype) for t in tensors)


def moments(X: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (D,) of features (N, D); the deviation of a constant feature counts as 1."""
    mean, std = X.mean(0), X.std(0, correction=0)
    std[std == 0] = 1  # a constant feature carries nothing: leave it at zero
    return mean, std
