"""How far features moved: similarity of two representations of the same images, maps and probes of them.

Two networks rarely have the same axes, so features are compared by what is near to what. Linear CKA
(Kornblith et al., 2019) is the cosine between the two matrices of inner products of the centred features: 1
if one representation is the other rotated, mirrored, shifted or scaled, 0 if nothing linear is shared.

Its plug-in estimate is too large when images are few beside the feature widths: about D / (n + D) for two
unrelated representations of n images in D dimensions of equal variance. With 150 images and 192 dimensions
that is more than a half. The unbiased estimator of the same quantities (Song et al., 2012; used for CKA by
Nguyen et al., 2021) has about 0 there, and is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.seeding import derive_seed, numpy_generator

PROBE_C = (0.001, 0.01, 0.1, 1.0)
MAP_PERPLEXITY = 30
_HELD_OUT = 5  # one in so many training samples chooses the penalty of a probe


class ProbeScore(NamedTuple):
    """Test scores of a linear probe, in [0, 1], and its inverse penalty."""

    accuracy: float
    balanced_accuracy: float
    C: float


def linear_cka(X: np.ndarray, Y: np.ndarray, *, debiased: bool = True) -> float:
    """Return the linear CKA of two representations of the same samples; 1 means the same up to rotation.

    Parameters
    ----------
    X, Y : (n, D1) and (n, D2) features, row i of both of the same sample; n >= 4.
    debiased : the unbiased estimator, at most 1 but for rounding, near 0 and possibly just below for
        unrelated features; False gives the plug-in estimate in [0, 1], which grows as n falls.

    Returns
    -------
    float; NaN where a representation does not vary at all, so nothing can be compared.

    Raises
    ------
    NoisylibError
        Fewer than four samples, numbers of samples that differ, NaN or infinite features.

    Source: Kornblith et al., ICML 2019; debiased: the unbiased HSIC of Song et al., JMLR 2012.
    """
    X, Y = _check_features("X", X), _check_features("Y", Y)
    if len(X) != len(Y):
        raise NoisylibError(
            f"X has {len(X)} samples and Y {len(Y)}: CKA compares two representations of the same samples, "
            "row by row."
        )
    if min(_spread(X), _spread(Y)) == 0:
        return float("nan")
    grams = [_gram(Z) for Z in (X, Y)]
    product = _unbiased_product if debiased else _product
    shared, own_x, own_y = (product(grams[i], grams[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
    if min(own_x, own_y) <= 0:
        return float("nan")
    return float(shared / np.sqrt(own_x * own_y))


def relative_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return ||after - before|| / ||before||, Euclidean norms over all entries.

    0 means unmoved; infinity if `before` is all zeros and `after` is not.
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.shape != after.shape:
        raise NoisylibError(
            f"before has shape {before.shape} and after {after.shape}: a change is that of the same array."
        )
    moved, size = np.linalg.norm(after - before), np.linalg.norm(before)
    if size == 0:
        return 0.0 if moved == 0 else float("inf")
    return float(moved / size)


def tsne_map(
    stages: Mapping[str, np.ndarray], seed: int = 0, *, perplexity: float = MAP_PERPLEXITY
) -> dict[str, np.ndarray]:
    """Return a two-dimensional t-SNE map per stage, all turned onto the first one.

    Every stage is mapped on its own from the same seed, so equal features give equal maps. t-SNE leaves
    rotation and reflection open; each map is centred, scaled to unit root mean square and turned (or
    mirrored) to lie as near as possible to that of the first stage. Distances between clusters and their
    sizes mean nothing in such a map; which points are neighbours does.

    Parameters
    ----------
    stages : name -> (n, D) features of the same n samples, the first one the reference; n >= 5.
    perplexity : effective number of neighbours; at most a third of n - 1 is taken.

    Returns
    -------
    name -> (n, 2) float64, mean 0 and mean squared distance from the centre 1.
    """
    from sklearn.manifold import TSNE

    checked = {name: _check_features(name, X, least=5) for name, X in stages.items()}
    sizes = {len(X) for X in checked.values()}
    if len(sizes) != 1:
        raise NoisylibError(f"stages have {sorted(sizes)} samples: every stage must show the same ones.")
    (n,) = sizes
    state = derive_seed("tsne", int(seed)) % 2**32
    maps: dict[str, np.ndarray] = {}
    for name, X in checked.items():
        if _spread(X) == 0:
            raise NoisylibError(f"stages[{name!r}] has the same features for all samples: nothing to map.")
        found = TSNE(
            perplexity=min(perplexity, (n - 1) / 3), init="pca", learning_rate="auto", random_state=state
        ).fit_transform(X / X.std(axis=0).max())
        maps[name] = _unit(np.asarray(found, np.float64))
    reference = next(iter(maps.values()))
    return {name: points @ _rotation(points, reference) for name, points in maps.items()}


def nearest_agreement(X: np.ndarray, y: np.ndarray) -> float:
    """Return the share of samples whose nearest other sample has the same label, in [0, 1].

    Parameters
    ----------
    X, y : (n, D) features or points of a map, n >= 2, and (n,) labels. Of equally near ones the first counts.
    """
    X = _check_features("X", X, least=2)
    y = _check_labels("y", y, X)
    squares = (X**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * X @ X.T
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(y[distances.argmin(axis=1)] == y))


def probe_accuracy(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    Cs: tuple[float, ...] = PROBE_C,
    seed: int = 0,
) -> ProbeScore:
    """Return the test scores of logistic regression on z-scored features: what a linear head can read.

    The penalty is the one with the smallest log-loss on a fifth of the training samples of each class; the
    probe is then fitted on all of them. Given clean labels, this is an evaluator's number.

    Parameters
    ----------
    X_train, y_train, X_test, y_test : (n, D) features and (n,) int labels.
    Cs : inverse L2 penalties to choose from; a single one is taken as it is.
    seed : which samples choose the penalty.

    Raises
    ------
    NoisylibError
        Fewer than two classes in `y_train`, labels and features of different length, NaN features.
    """
    X_train, X_test = _check_features("X_train", X_train), _check_features("X_test", X_test, least=1)
    y_train, y_test = _check_labels("y_train", y_train, X_train), _check_labels("y_test", y_test, X_test)
    if len(np.unique(y_train)) < 2:
        raise NoisylibError("y_train has one class only: a probe needs two or more.")
    scale = X_train.std(axis=0)
    scale[scale == 0] = 1
    X_train, X_test = ((X - X_train.mean(axis=0)) / scale for X in (X_train, X_test))
    best = _chosen_penalty(X_train, y_train, Cs, seed) if len(Cs) > 1 else Cs[0]
    found = _fit(X_train, y_train, best).predict(X_test)
    recalls = [np.mean(found[y_test == label] == label) for label in np.unique(y_test)]
    return ProbeScore(float(np.mean(found == y_test)), float(np.mean(recalls)), best)


def _gram(X: np.ndarray) -> np.ndarray:
    """Return the inner products (n, n) of the centred features, of unit size (CKA knows no scale)."""
    centred = X - X.mean(axis=0)
    gram = centred @ centred.T
    return gram / np.abs(gram).max()


def _product(K: np.ndarray, L: np.ndarray) -> float:
    """Return the plug-in inner product of two centred Gram matrices (n, n)."""
    return float((K * L).sum())


def _unbiased_product(K: np.ndarray, L: np.ndarray) -> float:
    """Return n (n - 3) times the unbiased estimate of HSIC of two Gram matrices (n, n)."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    rows_k, rows_l = K.sum(axis=1), L.sum(axis=1)
    constant = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    return float((K * L).sum() + constant - 2 / (n - 2) * rows_k @ rows_l)


def _spread(X: np.ndarray) -> float:
    """Return the largest range of a feature over samples; exactly 0 for a constant representation."""
    return float(np.ptp(X, axis=0).max())


def _unit(points: np.ndarray) -> np.ndarray:
    points = points - points.mean(axis=0)
    return points / np.sqrt((points**2).sum(axis=1).mean())


def _rotation(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix (2, 2) that brings `points` nearest to `reference` (Procrustes)."""
    left, _, right = np.linalg.svd(points.T @ reference)
    return left @ right


def _chosen_penalty(X: np.ndarray, y: np.ndarray, Cs: tuple[float, ...], seed: int) -> float:
    generator = numpy_generator("probe-penalty", len(y), int(seed))
    held_out = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = generator.permutation(np.flatnonzero(y == label))
        held_out[members[: len(members) // _HELD_OUT]] = True
    if not held_out.any():  # classes of fewer than five samples each
        return Cs[len(Cs) // 2]
    losses = []
    for C in Cs:
        model = _fit(X[~held_out], y[~held_out], C)
        chances = model.predict_proba(X[held_out])
        own = chances[np.arange(len(chances)), np.searchsorted(model.classes_, y[held_out])]
        losses.append(-np.log(np.maximum(own, 1e-12)).mean())
    return Cs[int(np.argmin(losses))]


def _fit(X: np.ndarray, y: np.ndarray, C: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=5000).fit(X, y)


def _check_features(argument: str, X: np.ndarray, least: int = 4) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "iuf" or len(X) < least or not X.shape[1]:
        raise NoisylibError(
            f"{argument} has shape {X.shape} and dtype {X.dtype}: numbers of shape (n, D) with n >= {least} "
            "are needed."
        )
    X = X.astype(np.float64)
    if not np.isfinite(X).all():
        bad = int((~np.isfinite(X)).any(axis=1).sum())
        raise NoisylibError(
            f"{argument} has NaN or infinity in {bad} of {len(X)} rows: the network that made them diverged. "
            "Use a lower learning rate, or float32."
        )
    return X


def _check_labels(argument: str, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    y = np.asarray(y)
    if y.shape != (len(X),) or y.dtype.kind not in "iu":
        raise NoisylibError(
            f"{argument} has shape {y.shape} and dtype {y.dtype}: whole numbers of shape ({len(X)},) are "
            "needed, one per row of its features."
        )
    return y
