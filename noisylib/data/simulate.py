"""Made features whose class posterior is known exactly: Gaussian classes with one shared covariance.

What follows from it without a sample (errors, confusion, overlap of the losses) is in
`noisylib.analysis.closed_forms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from noisylib.data.catalog import dataset_info
from noisylib.errors import NoisylibError
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.seeding import derive_seed, numpy_generator


@dataclass(frozen=True, eq=False)
class GaussianBed:
    """Class c is N(means[c], covariance) and has probability priors[c]; `posterior` is Bayes' rule.

    Attributes
    ----------
    means : (K, D) float64 class means, K >= 2.
    priors : (K,) float64 class probabilities; they sum to 1, and one may be 0.
    covariance : (D, D) float64 within every class, symmetric and positive definite. A number s > 0 stands
        for s times the identity: every feature then has the standard deviation sqrt(s), without correlation.
    class_names : K distinct names, "class 0", "class 1", ... by default.
    factor : (D, D) lower triangle with covariance = factor @ factor.T; it follows from the rest.

    Raises
    ------
    NoisylibError
        Anything outside what is described here.
    """

    means: np.ndarray
    priors: np.ndarray
    covariance: np.ndarray | float = 1.0
    class_names: Sequence[str] = ()
    factor: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        means, priors = np.array(self.means, np.float64, order="C"), np.array(self.priors, np.float64)
        if means.ndim != 2 or len(means) < 2 or means.shape[1] < 1 or not np.isfinite(means).all():
            raise NoisylibError(f"means has shape {means.shape}: finite numbers (K, D), K >= 2, are needed.")
        if priors.shape != (len(means),) or not (priors >= 0).all() or abs(priors.sum() - 1) > 1e-6:
            raise NoisylibError(f"priors={priors.tolist()}: {len(means)} fractions with sum 1 are needed.")
        names = tuple(self.class_names) or tuple(f"class {c}" for c in range(len(means)))
        if len(set(names)) != len(names) or len(names) != len(means):
            raise NoisylibError(f"class_names={names}: {len(means)} distinct names are needed.")
        covariance, factor = _factorise(self.covariance, means.shape[1])
        arrays = {"means": means, "priors": priors / priors.sum(), "covariance": covariance, "factor": factor}
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "class_names", names)

    @classmethod
    def simplex(
        cls, n_classes: int, n_features: int, separation: float, priors: Sequence[float] | None = None
    ) -> GaussianBed:
        """Return a bed whose class means are all `separation` standard deviations from each other.

        They use the first K - 1 features, centred on 0; the others are noise. With two classes the
        means are -separation/2 and +separation/2. Without `priors` (K,), all classes are as frequent.
        """
        _check_whole("n_classes", n_classes, 2)
        _check_whole(f"n_features (for {n_classes} classes at equal distances)", n_features, n_classes - 1)
        _check_positive("separation", separation)
        # Helmert's orthonormal rows, all orthogonal to (1, ..., 1): seen along them, the K unit vectors
        # keep their distances, which are sqrt(2).
        rows = np.zeros((n_classes - 1, n_classes))
        for j in range(1, n_classes):
            rows[j - 1, :j], rows[j - 1, j] = -1, j
            rows[j - 1] /= np.sqrt(j * (j + 1))
        means = np.zeros((n_classes, n_features))
        means[:, : n_classes - 1] = separation / np.sqrt(2) * rows.T
        return cls(means, np.full(n_classes, 1 / n_classes) if priors is None else priors)

    @classmethod
    def long_tailed(cls, n_classes: int, n_features: int, separation: float, imbalance: float) -> GaussianBed:
        """Return a simplex whose classes get rarer by a constant factor, from class 0 to class K - 1.

        `imbalance` >= 1 is the prior of class 0 over that of class K - 1.
        """
        _check_whole("n_classes", n_classes, 2)
        if not 1 <= imbalance < np.inf:
            raise NoisylibError(f"imbalance={imbalance}: largest over smallest prior, a finite number >= 1.")
        priors = float(imbalance) ** (-np.arange(n_classes) / (n_classes - 1))
        return cls.simplex(n_classes, n_features, separation, priors / priors.sum())

    @classmethod
    def isic2019(cls, n_features: int, separation: float) -> GaussianBed:
        """Return a simplex with the names and the published frequencies of the 8 classes of ISIC 2019."""
        info = dataset_info("isic2019")
        priors = np.array(info.class_counts) / info.counts["all"]
        bed = cls.simplex(info.n_classes, n_features, separation, priors)
        return replace(bed, class_names=info.classes)

    @classmethod
    def circle(cls, n_classes: int, separation: float, priors: Sequence[float] | None = None) -> GaussianBed:
        """Return a bed in two features: class c at angle 2 pi c / K, neighbours `separation` apart."""
        _check_whole("n_classes", n_classes, 2)
        _check_positive("separation", separation)
        angle = 2 * np.pi * np.arange(n_classes) / n_classes
        radius = separation / (2 * np.sin(np.pi / n_classes))
        means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return cls(means, np.full(n_classes, 1 / n_classes) if priors is None else priors)

    def with_covariance(self, covariance: np.ndarray | float) -> GaussianBed:
        """Return the bed seen through a linear map that gives it `covariance`, as in the constructor.

        The means move along, so Mahalanobis distances, posteriors and everything that follows from them
        stay as they are, and so do the separations asked for. (`dataclasses.replace` would leave the means.)
        """
        means = _factorise(covariance, self.means.shape[1])[1] @ np.linalg.solve(self.factor, self.means.T)
        return replace(self, means=means.T, covariance=covariance)

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, D) float32 and y (n,) int64 in random order.

        Class counts are n * priors by largest remainder, and at least 1 where the prior is positive.
        Beds that differ in means or covariance only draw the same labels and the same standard normal
        numbers, which `factor` turns into offsets from the mean.
        """
        _check_whole("n (one sample per class at least)", n, np.count_nonzero(self.priors))
        generator = numpy_generator("gaussian-bed", seed)
        y = generator.permutation(np.repeat(np.arange(len(self.priors)), _counts(n, self.priors)))
        X = self.means[y] + generator.standard_normal((n, self.means.shape[1])) @ self.factor.T
        return X.astype(np.float32), y

    def posterior(self, X: np.ndarray) -> np.ndarray:
        """Return P(y = c | x) for every row of `X` (n, D), (n, K) float64."""
        scores = self._scores(X)
        p = np.exp(scores - scores.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def bayes_predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable class of every row of `X` (n, D), (n,) int64; ties: the lowest."""
        return self._scores(X).argmax(1)

    def squared_distances(self, X: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance of rows of `X` (n, D) to the means, (n, K) float64."""
        white, white_means = (np.linalg.solve(self.factor, rows.T).T for rows in (self._check(X), self.means))
        return ((white[:, None] - white_means) ** 2).sum(-1)

    def bank(self, n_train: int, n_test: int, seed: int, name: str = "gaussian") -> FeatureBank:
        """Return a bank with ``sample(n_train, seed)`` as training part and an independent test part.

        A bank stores float16: what it holds is the draw rounded to about three digits.
        """
        X, y = self.sample(n_train, seed)
        X_test, y_test = self.sample(n_test, derive_seed("gaussian-bed-test", seed))
        variance = self.covariance[0, 0]
        spread = f"standard deviation {np.sqrt(variance):g}"
        if (self.covariance != variance * np.eye(len(self.covariance))).any():
            low, high = np.sqrt(np.linalg.eigvalsh(self.covariance)[[0, -1]])
            spread = f"one covariance (standard deviations {low:.3g} to {high:.3g} along its axes)"
        meta = BankMeta(
            dataset=name,
            backbone="raw",
            preprocessing={"features": "drawn at random, no backbone"},
            licence="CC0-1.0",
            command=f"noisylib.GaussianBed(...).bank({n_train}, {n_test}, seed={seed})",
            source="made data",
            notes=f"Gaussian classes of {spread} in {self.means.shape[1]} features, priors "
            f"{self.priors.round(4).tolist()}.",
        )
        split = np.repeat([0, 2], [n_train, n_test])
        return FeatureBank.from_arrays(np.r_[X, X_test], np.r_[y, y_test], split, self.class_names, meta)

    def _scores(self, X: np.ndarray) -> np.ndarray:
        """Return log P(y = c, x) up to a constant of each row, (n, K); -inf where the prior is 0."""
        weights = np.ascontiguousarray(np.linalg.solve(self.covariance, self.means.T).T)
        with np.errstate(divide="ignore"):
            bias = np.log(self.priors) - (self.means * weights).sum(1) / 2
        return self._check(X) @ weights.T + bias

    def _check(self, X: np.ndarray) -> np.ndarray:
        X = np.asarray(X, np.float64)
        if X.ndim != 2 or X.shape[1] != self.means.shape[1]:
            raise NoisylibError(f"X has shape {X.shape}: (n, {self.means.shape[1]}) is needed.")
        return X


def _factorise(covariance: np.ndarray | float, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance (D, D) and its lower Cholesky factor (D, D)."""
    matrix = np.array(covariance, np.float64)
    if matrix.ndim == 0:
        _check_positive("covariance", covariance)
        return matrix * np.eye(n_features), np.sqrt(matrix) * np.eye(n_features)
    if matrix.shape != (n_features, n_features) or not np.isfinite(matrix).all():
        raise NoisylibError(
            f"covariance has shape {matrix.shape}: finite numbers ({n_features}, {n_features}) are needed, "
            "or one number > 0, the variance of every feature."
        )
    if np.abs(matrix - matrix.T).max() > 1e-8 * np.abs(matrix).max():
        raise NoisylibError("covariance is not symmetric: covariance[i, j] and [j, i] are the same number.")
    matrix = (matrix + matrix.T) / 2
    smallest, largest = np.linalg.eigvalsh(matrix)[[0, -1]]
    if smallest <= 1e-12 * largest:
        raise NoisylibError(
            f"covariance has the eigenvalue {smallest:.3g} (the largest is {largest:.3g}): all must be "
            "positive. Drop features that others determine, or add a small multiple of the identity."
        )
    return matrix, np.linalg.cholesky(matrix)


def _counts(n: int, priors: np.ndarray) -> np.ndarray:
    ideal = np.round(n * priors, 9)  # remainders that are equal on paper shall be equal here
    counts = np.floor(ideal).astype(np.int64)
    counts[np.argsort(counts - ideal, kind="stable")[: n - counts.sum()]] += 1
    for c in np.flatnonzero((priors > 0) & (counts == 0)):
        counts[counts.argmax()] -= 1
        counts[c] = 1
    return counts


def _check_whole(argument: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise NoisylibError(f"{argument}={value!r}: a whole number >= {least} is needed.")


def _check_positive(argument: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise NoisylibError(f"{argument}={value}: a finite number > 0 is needed.")
