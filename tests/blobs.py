"""Small made data: Gaussian blobs, one per class."""

from __future__ import annotations

import numpy as np


def blobs(n: int, n_classes: int, width: int, *, seed: int = 0, spread: float = 1.5):
    """Return X (n, width) float64 and y (n,) int64 with every class present."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, width)) * spread
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    return centres[y] + rng.normal(size=(n, width)), y
