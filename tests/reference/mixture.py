"""The mixture of two Gaussians over losses, fitted by scikit-learn from a start without chance."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

FLOOR = 5e-4  # added to every variance


def scale_to_unit(values: np.ndarray) -> np.ndarray:
    """Map (n,) values linearly onto [0, 1]; equal values all go to 0."""
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)


def low_posterior(values: np.ndarray) -> np.ndarray:
    """Probability (n,) that each value comes from the component with the smaller mean."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2 or values.max() == values.min():
        return np.ones(len(values))
    threshold = values.mean()
    while True:
        low, high = values[values <= threshold], values[values > threshold]
        middle = (low.mean() + high.mean()) / 2
        if middle == threshold:
            break
        threshold = middle
    mixture = GaussianMixture(
        2, max_iter=10, tol=1e-2, reg_covar=FLOOR,
        weights_init=[len(low) / len(values), len(high) / len(values)],
        means_init=[[low.mean()], [high.mean()]],
        precisions_init=[[[1 / (low.var() + FLOOR)]], [[1 / (high.var() + FLOOR)]]],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are the rule, not a failure
        mixture.fit(values[:, None])
    return mixture.predict_proba(values[:, None])[:, int(mixture.means_[:, 0].argmin())]
