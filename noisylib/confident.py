"""Which observed labels confident learning keeps, by cleanlab."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError

# cleanlab imports tqdm, which asks notebooks for widgets that nobody needs here.
WIDGETS = "IProgress not found"


def keep_mask(y: Tensor | np.ndarray, probabilities: Tensor | np.ndarray) -> Tensor:
    """Return which observed labels confident learning keeps, (..., N) bool, on the device of `y`.

    For each pair of classes (a, b) as many samples labelled a are dropped as the estimated joint
    distribution of observed and true labels counts as b, those with the largest P_b - P_a first; labels
    that are their sample's most probable class always stay. cleanlab calls this "prune by noise rate".
    No observed class loses all of its samples, and a class without a sample changes nothing.

    Parameters
    ----------
    y : (..., N) observed labels; every leading axis is a run of its own.
    probabilities : (..., N, K) predicted probabilities. They must come from models that did not see
        the sample's label, such as those of a cross-validation, or hardly any label looks wrong.

    Raises
    ------
    NoisylibError
        If shapes disagree, a label is not in 0..K-1, or a row of `probabilities` is no distribution.

    Source: Northcutt, Jiang and Chuang 2021, section 3; cleanlab, ``find_label_issues``.
    """
    y, P = torch.as_tensor(y), torch.as_tensor(probabilities)
    _check(y, P)
    runs = P.shape[:-2].numel()
    labels = y.reshape(runs, -1).cpu().numpy()
    rows = P.reshape(runs, *P.shape[-2:]).cpu().double().numpy()
    kept = np.stack([_keep_run(labels[run], rows[run]) for run in range(runs)])
    return torch.from_numpy(kept).reshape(y.shape).to(y.device)


def quality_scores(y: np.ndarray, probabilities: np.ndarray, method: str) -> np.ndarray:
    """Return cleanlab's score (N,) of every observed label, higher = cleaner.

    Parameters
    ----------
    y, probabilities : (N,) and (N, K), as `keep_mask`.
    method : "self_confidence", "normalized_margin" or "confidence_weighted_entropy".

    Source: Kuan and Mueller 2022; cleanlab, ``get_label_quality_scores``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=WIDGETS)
        from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(y, probabilities, method=method)


def _keep_run(labels: np.ndarray, P: np.ndarray) -> np.ndarray:
    if (labels == labels[0]).all():
        return np.ones(len(labels), dtype=bool)  # nothing to confuse it with; cleanlab refuses to look
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=WIDGETS)
        from cleanlab.filter import find_label_issues

        # A class of no or one sample cannot lose any, which is what is wanted here.
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        return ~find_label_issues(labels, P, filter_by="prune_by_noise_rate", n_jobs=1)


def _check(y: Tensor, P: Tensor) -> None:
    if y.ndim < 1 or P.shape[:-1] != y.shape or 0 in P.shape or P.shape[-1] < 2:
        raise NoisylibError(
            f"y has shape {tuple(y.shape)} and probabilities {tuple(P.shape)}: (..., N) and (..., N, K) with "
            "K of at least 2 are needed."
        )
    if y.is_floating_point() or y.dtype == torch.bool or y.min() < 0 or y.max() >= P.shape[-1]:
        raise NoisylibError(
            f"y holds {y.dtype} from {y.min()} to {y.max()}: "
            f"integer labels in 0..{P.shape[-1] - 1} are needed."
        )
    bad = ~((P >= 0) & (P <= 1)).all(-1) | ~((P.sum(-1) - 1).abs() < 1e-3)
    if bad.any():
        raise NoisylibError(
            f"probabilities has {int(bad.sum())} rows that are no distribution, the first with values "
            f"{P[bad][0].tolist()}: values in [0, 1] that sum to 1 are needed. Pass softmax outputs."
        )
