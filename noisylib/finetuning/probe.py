"""The linear probe that TURN starts from: a head on frozen features, as a layer over plain features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noisylib.methods import Method
from noisylib.recipe import Recipe
from noisylib.trained import train_head


def probe_head(
    features: np.ndarray,
    y_noisy: np.ndarray,
    n_classes: int,
    *,
    method: str | Method = "gce",
    epochs: int = 20,
    seed: int = 0,
    recipe: Recipe | None = None,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (K, D) and bias (K,), float64, of a linear head trained on frozen features.

    It is the linear head of `noisylib.train_bank` with the same method, seed and recipe. That one sees
    features z-scored by their mean and deviation; here both are folded into the layer, so that it takes
    features as the backbone gives them: W / s and b - W (m / s).

    Parameters
    ----------
    features : (N, D).
    y_noisy : (N,) int observed labels.
    n_classes : K.
    method, epochs, seed, device : of the training; the defaults are TURN's first phase.
    recipe : other settings of the optimiser; its number of epochs is replaced.

    Raises
    ------
    NoisylibError
        As `noisylib.train_head`.
    """
    recipe = replace(recipe or Recipe(), epochs=epochs, score_epochs=min(epochs, 10))
    head = train_head(
        features, y_noisy, n_classes, method=method, head="linear", seed=seed, recipe=recipe, device=device
    )
    W, b = (head.weights[name][0].astype(np.float64) for name in ("W", "b"))
    W = W / head.std
    return W, b[:, 0] - W @ head.mean
