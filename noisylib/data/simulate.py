"""Made features whose class posterior is known exactly: one round Gaussian per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.seeding import derive_seed, numpy_generator


@dataclass(frozen=True, eq=False)
class GaussianBed:
    """Class c is N(means[c], deviation^2 I) and has probability priors[c]; `posterior` is Bayes' rule.

    Attributes
    ----------
    means : (K, D) float64 class means, K >= 2.
    priors : (K,) float64 class probabilities; they sum to 1, and one may be 0.
    deviation : standard deviation of every feature within a class, > 0.

    Raises
    ------
    NoisylibError
        Anything outside what is described here.
    """

    means: np.ndarray
    priors: np.ndarray
    deviation: float = 1.0

    def __post_init__(self) -> None:
        means, priors = np.array(self.means, np.float64), np.array(self.priors, np.float64)
        if means.ndim != 2 or len(means) < 2 or means.shape[1] < 1 or not np.isfinite(means).all():
            raise NoisylibError(f"means has shape {means.shape}: finite numbers (K, D), K >= 2, are needed.")
        if priors.shape != (len(means),) or not (priors >= 0).all() or abs(priors.sum() - 1) > 1e-6:
            raise NoisylibError(f"priors={priors.tolist()}: {len(means)} fractions with sum 1 are needed.")
        _check_positive("deviation", self.deviation)
        for name, array in (("means", means), ("priors", priors / priors.sum())):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

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
        return cls(means, np.full(n_classes, 1 / n_classes) if priors is None else np.asarray(priors))

    @classmethod
    def circle(cls, n_classes: int, separation: float, priors: Sequence[float] | None = None) -> GaussianBed:
        """Return a bed in two features: class c at angle 2 pi c / K, neighbours `separation` apart."""
        _check_whole("n_classes", n_classes, 2)
        _check_positive("separation", separation)
        angle = 2 * np.pi * np.arange(n_classes) / n_classes
        radius = separation / (2 * np.sin(np.pi / n_classes))
        means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return cls(means, np.full(n_classes, 1 / n_classes) if priors is None else np.asarray(priors))

    def sample(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return X (n, D) float32 and y (n,) int64 in random order.

        Class counts are n * priors by largest remainder, and at least 1 where the prior is positive.
        Beds that differ in means or deviation only draw the same labels and the same standard offsets.
        """
        _check_whole("n (one sample per class at least)", n, np.count_nonzero(self.priors))
        generator = numpy_generator("gaussian-bed", seed)
        y = generator.permutation(np.repeat(np.arange(len(self.priors)), _counts(n, self.priors)))
        X = self.means[y] + self.deviation * generator.standard_normal((n, self.means.shape[1]))
        return X.astype(np.float32), y

    def posterior(self, X: np.ndarray) -> np.ndarray:
        """Return P(y = c | x) for every row of `X` (n, D), (n, K) float64."""
        scores = self._scores(X)
        p = np.exp(scores - scores.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def bayes_predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable class of every row of `X` (n, D), (n,) int64; ties: the lowest."""
        return self._scores(X).argmax(1)

    def bank(self, n_train: int, n_test: int, seed: int, name: str = "gaussian") -> FeatureBank:
        """Return a bank with ``sample(n_train, seed)`` as training part and an independent test part.

        A bank stores float16: what it holds is the draw rounded to about three digits.
        """
        X, y = self.sample(n_train, seed)
        X_test, y_test = self.sample(n_test, derive_seed("gaussian-bed-test", seed))
        meta = BankMeta(
            dataset=name,
            backbone="raw",
            preprocessing={"features": "drawn at random, no backbone"},
            licence="CC0-1.0",
            command=f"noisylib.GaussianBed(...).bank({n_train}, {n_test}, seed={seed})",
            source="made data",
            notes=f"Gaussian classes of standard deviation {self.deviation:g} in {self.means.shape[1]} "
            f"features, priors {self.priors.round(4).tolist()}.",
        )
        split = np.repeat([0, 2], [n_train, n_test])
        names = [f"class {c}" for c in range(len(self.priors))]
        return FeatureBank.from_arrays(np.r_[X, X_test], np.r_[y, y_test], split, names, meta)

    def _scores(self, X: np.ndarray) -> np.ndarray:
        """Return log P(y = c, x) up to a constant of each row, (n, K); -inf where the prior is 0."""
        X = np.asarray(X, np.float64)
        if X.ndim != 2 or X.shape[1] != self.means.shape[1]:
            raise NoisylibError(f"X has shape {X.shape}: (n, {self.means.shape[1]}) is needed.")
        with np.errstate(divide="ignore"):
            bias = np.log(self.priors) - (self.means**2).sum(1) / (2 * self.deviation**2)
        return X @ self.means.T / self.deviation**2 + bias


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
