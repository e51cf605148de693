"""Fewer features: a principal component analysis fitted on the training split, recorded in the bank.

Wide features (1280 of a MobileNetV2) cost time and disk in every run that follows, and most of their
directions hold next to nothing. The mean and the directions stay in the bank, so that the features of a
new image can be brought to the same form.

Every training here z-scores its features, and z-scored principal components are whitened ones: directions
that are mostly noise would weigh as much as the first. The kept components are therefore rotated so that
all have the same variance. A rotation changes no distance and no angle, and a z-score after it is one
common factor.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noisylib.errors import BankError, NoisylibError
from noisylib.features.bank import FeatureBank


def reduce_bank(bank: FeatureBank, n_components: int) -> FeatureBank:
    """Return `bank` with its features projected on their first principal components.

    The components are those of the z-scored features of the training split alone, rotated to equal
    variance. Mean and directions are rounded to float16 before they are used, so that `project` with the
    stored ones gives the stored features. Test and validation samples and views are projected with them.

    Parameters
    ----------
    bank : with features (N, D0).
    n_components : D, a power of two, at most D0 and at most the number of training samples.

    Raises
    ------
    NoisylibError
        `n_components` is out of range, or `bank` has been reduced before.
    """
    from scipy.linalg import hadamard
    from sklearn.decomposition import PCA

    if bank.projection is not None:
        raise NoisylibError(
            f"bank {bank.meta.dataset}-{bank.meta.backbone} has been reduced before, from "
            f"{bank.projection.shape[1]} features to {bank.n_features}: reduce the bank it was made from."
        )
    train = bank.part("train")[0].astype(np.float64)
    check_components(n_components, *train.shape)
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale == 0] = 1  # a constant feature stays constant
    # By a full decomposition, the result does not depend on a random start.
    pca = PCA(n_components, svd_solver="full").fit((train - mean) / scale)
    # The squared entries of this orthogonal matrix are all equal, so each row mixes all components evenly.
    rotation = hadamard(n_components) / np.sqrt(n_components)
    # A feature that is all but constant has a direction beyond the range of float16: the limit stands for it.
    limit = float(np.finfo(np.float16).max)
    directions = np.clip(rotation @ pca.components_ / scale, -limit, limit)
    projection = np.vstack([mean, directions]).astype(np.float16)
    reduction = {
        "method": "principal components of the z-scored training split, rotated to equal variance",
        "n_components": n_components,
        "original_features": bank.n_features,
        "original_checksum": bank.checksum,
        "explained_variance": round(float(pca.explained_variance_ratio_.sum()), 4),
    }
    return FeatureBank.from_arrays(
        project(bank.features, projection),
        bank.labels,
        bank.split,
        bank.class_names,
        replace(bank.meta, preprocessing={**bank.meta.preprocessing, "reduction": reduction}),
        bank.groups,
        None if bank.views is None else np.stack([project(view, projection) for view in bank.views]),
        projection,
        bank.human_labels,
    )


def check_components(n_components: int, n_train: int, n_features: int) -> None:
    """Raise NoisylibError unless so many components can be had."""
    largest = min(n_train, n_features)
    if not 1 <= n_components <= largest or n_components & (n_components - 1):
        raise NoisylibError(
            f"n_components={n_components}: a power of two is needed, and {n_train} training samples of "
            f"{n_features} features allow at most {largest}."
        )


def project(features: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Return features (n, D) float32 from original ones (n, D0) with the projection of a bank.

    Raises
    ------
    BankError
        The features are not D0 wide.
    """
    features = np.asarray(features, dtype=np.float32)
    if features.ndim != 2 or features.shape[1] != projection.shape[1]:
        raise BankError(
            f"features has shape {features.shape}; the projection is for (n, {projection.shape[1]})."
        )
    mean, directions = projection[0].astype(np.float32), projection[1:].astype(np.float32)
    return (features - mean) @ directions.T
