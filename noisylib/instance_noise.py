"""Instance-dependent noise: what a wrong label is depends on the sample itself (Xia et al. 2020)."""

from __future__ import annotations

import numpy as np

from noisylib.errors import NoisylibError


def check_reference(features: np.ndarray | None, n: int) -> np.ndarray:
    """Return reference features as finite (n, D) float64, or raise NoisylibError."""
    if features is None:
        raise NoisylibError("features is missing: noise_type='instance' needs (N, D) reference features.")
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) != n or not np.isfinite(features).all():
        raise NoisylibError(
            f"features has shape {features.shape}: finite numbers of shape ({n}, D) are needed."
        )
    return features


def instance_labels(
    y_true: np.ndarray,
    rate: float,
    K: int,
    features: np.ndarray,
    temperature: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return labels (N,) drawn from P_i = q_i softmax(a_i) off the true class and 1 - q_i on it.

    Parameters
    ----------
    y_true, features : (N,) clean labels and (N, D) finite features.
    rate : mean of q_i, from 0.005 to 0.995.
    K : number of classes.
    temperature : factor on the features of unit length: higher makes targets more certain.
    """
    from scipy.optimize import brentq
    from scipy.stats import truncnorm

    spread = 0.1
    if not 0.005 <= rate <= 0.995:
        raise NoisylibError(
            f"noise_rate={rate} is too near 0 or 1 for instance noise, whose per-sample rates scatter "
            f"by {spread} around it: use 0 or a rate from 0.005 to 0.995."
        )

    def truncated(mean: float):
        return truncnorm(-mean / spread, (1 - mean) / spread, loc=mean, scale=spread)

    # Truncation to [0, 1] shifts the mean (0.1 becomes 0.129), so the location is solved for.
    location = brentq(lambda mean: truncated(mean).mean() - rate, -20 * spread, 1 + 20 * spread)
    q = truncated(location).rvs(size=len(y_true), random_state=rng)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    weights = rng.standard_normal((K, features.shape[1], K))
    scores = np.empty((len(y_true), K))
    for c in range(K):
        scores[y_true == c] = temperature * unit[y_true == c] @ weights[c]
    rows = np.arange(len(y_true))
    scores[rows, y_true] = -np.inf
    P = np.exp(scores - scores.max(1, keepdims=True))
    P *= (q / P.sum(1))[:, None]
    P[rows, y_true] = 1 - q
    return (P.cumsum(1) < rng.random((len(P), 1))).sum(1).clip(max=K - 1)
