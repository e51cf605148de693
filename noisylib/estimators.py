"""A scikit-learn classifier on features whose labels are in doubt."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from noisylib.candidates import able_candidates
from noisylib.descriptors import describe
from noisylib.errors import NoisylibError, check_name
from noisylib.evidence import FOLDS, Evidence, collect_evidence
from noisylib.facts import rate_of
from noisylib.label_quality import clean_probability, predicted_labels
from noisylib.labels import encode_labels
from noisylib.methods import METHODS, Method
from noisylib.noise_estimate import estimate_noise, transition_at_rate
from noisylib.recipe import Recipe
from noisylib.trained import train_head
from noisylib.validation import check_rates, check_transitions

# Below this nothing is recommended: neither the noise nor the regret of a method can be told.
FEWEST_SAMPLES = 50
DEFAULT = "ce"  # that of train_bank
# Checks of scikit-learn that do not apply, and why; for `check_estimator(..., expected_failed_checks=...)`.
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a weight scales what a sample contributes to a step; it neither repeats the sample in the batches "
        "nor counts in the z-score of the features, and a sample of weight 0 still has a place in both"
    ),
}
RECIPE = ("epochs", "batch_size", "learning_rate", "weight_decay", "width")
AUTO = "auto"


class NoisyLabelClassifier(ClassifierMixin, BaseEstimator):
    """A head on frozen features, trained by a method that expects wrong labels.

    It predicts with the head as it is after the last epoch. Labels are judged and the noise is estimated
    without the sample weights.

    Parameters
    ----------
    method : "auto" for the one `noisylib.recommend` chooses, a name of ``noisylib.METHODS`` that trains a
        head, or a configured method. With fewer than 50 samples, "auto" is cross entropy, with a warning.
        DivideMix by name is told nothing, unless `transition` is given.
    head : "linear", "mlp" or "adapter".
    noise_rate : fraction of wrong labels, if it is known; methods that are told it get an estimate otherwise.
    transition : (K, K) of T[i, j] = P(observed = j | true = i), if it is known, classes sorted; likewise.
    metric : the score that "auto" is to do well in, "balanced_accuracy" or "accuracy".
    epochs, batch_size, learning_rate, weight_decay, width : as `noisylib.Recipe`, None for its value.
    assess_labels : whether `fit` also judges the labels and the noise; it does so for "auto" anyway.
    random_state : seed of the start of the heads, the batch order and the folds; None for another each time.
    device : "auto", "cpu", "cuda" or "cuda:N".
    verbose : 1 to show the progress on stderr.

    Attributes
    ----------
    classes_ : (K,) labels, sorted.
    n_features_in_, feature_names_in_ : of the training features; names only if they are all text.
    method_ : name of the method that was trained.
    noise_rate_, transition_ : given, else estimated, else (without a look at the labels) None.
    clean_probability_ : (N,) probability that each training label is right, or None.
    predicted_labels_ : (N,) the label that each training sample should have, or None.
    recommendation_ : why "auto" chose its method; else None.
    head_ : the `noisylib.trained.TrainedHead`.
    """

    def __init__(
        self,
        method: str | Method = AUTO,
        *,
        head: str = "adapter",
        noise_rate: float | None = None,
        transition: ArrayLike | None = None,
        metric: str = "balanced_accuracy",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        width: int | None = None,
        assess_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.method = method
        self.head = head
        self.noise_rate = noise_rate
        self.transition = transition
        self.metric = metric
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.width = width
        self.assess_labels = assess_labels
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        """Say that the default recipe, made for hundreds of features, learns little from two of them."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> NoisyLabelClassifier:
        """Choose a method if asked to, train a head, and judge the labels.

        Parameters
        ----------
        X : (N, D) features: an array or a DataFrame, not sparse.
        y : (N,) observed labels: text, whole numbers or truth values.
        sample_weight : (N,) at least 0, for methods whose loss is a mean over samples; "auto" then chooses
            among these.

        Raises
        ------
        NoisylibError
            For labels that are missing, continuous or of one class, and as `noisylib.trained.train_head`.
        """
        X, codes = self._checked(X, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        seed = self._seed()
        evidence = self._look(X, codes, seed)
        self._describe(X, codes, evidence)
        self._judge(evidence)
        method = self._choose(X, codes, seed, evidence, weighted=sample_weight is not None)
        self.head_ = train_head(
            X, codes, len(self.classes_), method=method, head=self.head, seed=seed,
            noise_rate=self.noise_rate, transition=self.transition, sample_weight=sample_weight,
            classes=self.classes_.tolist(), feature_names=getattr(self, "feature_names_in_", ()),
            evidence=evidence, recipe=self._recipe(), device=self.device, progress=self._progress(),
        )  # fmt: skip
        self.method_ = self.head_.method
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return class probabilities (M, K) of samples (M, D); columns in the order of `classes_`."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.head_.probabilities(X)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likeliest class (M,) of each sample."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def _checked(self, X: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return features and codes of the labels; set what scikit-learn keeps of both."""
        if y is None:
            raise NoisylibError("NoisyLabelClassifier requires y to be passed, but the target y is None.")
        check_name("metric", self.metric, ("balanced_accuracy", "accuracy"))
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        # Only a column is unpacked: column_or_1d would make numbers of the truth values of pandas.
        labels = column_or_1d(y, warn=True) if getattr(y, "ndim", 1) == 2 else y
        codes, self.classes_ = encode_labels(labels)
        if len(codes) != len(X):
            raise NoisylibError(f"y has {len(codes)} labels, but X has {len(X)} rows: give one label each.")
        if self.noise_rate is not None:
            check_rates([self.noise_rate], 1)
        if self.transition is not None:
            check_transitions(self.transition, 1, len(self.classes_))
        return X, codes

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _recipe(self) -> Recipe:
        changed = {name: getattr(self, name) for name in RECIPE if getattr(self, name) is not None}
        # Grids of parameters are often arrays of NumPy.
        changed = {name: v.item() if isinstance(v, np.generic) else v for name, v in changed.items()}
        epochs = changed.get("epochs", Recipe.epochs)
        fewer = isinstance(epochs, int) and 0 < epochs < Recipe.score_epochs
        return Recipe(**changed, score_epochs=epochs if fewer else Recipe.score_epochs)

    def _look(self, X: np.ndarray, y: np.ndarray, seed: int) -> Evidence | None:
        """Return what can be seen of the labels, if that is wanted."""
        automatic = self.method == AUTO and len(X) >= FEWEST_SAMPLES
        if not (self.assess_labels or automatic):
            return None
        folds = min(FOLDS, len(X))
        return collect_evidence(X, y, len(self.classes_), seeds=[seed], folds=folds, device=self.device)[0]

    def _choose(
        self, X: np.ndarray, y: np.ndarray, seed: int, evidence: Evidence | None, *, weighted: bool
    ) -> str | Method:
        """Return the method to train; set `recommendation_`."""
        self.recommendation_ = None
        if self.method != AUTO:
            return self.method
        if len(X) < FEWEST_SAMPLES:
            warnings.warn(
                f"method='auto' cannot choose with {len(X)} samples, fewer than {FEWEST_SAMPLES}: "
                f"{METHODS[DEFAULT].title.lower()} is trained. Name a method to have another.",
                UserWarning,
                stacklevel=3,
            )
            return DEFAULT
        from noisylib.recommendation import recommend

        self.recommendation_ = recommend(
            X,
            self.classes_[y],
            metric=self.metric,
            methods=able_candidates(y, len(self.classes_), self.head, weighted=weighted),
            seed=seed,
            evidence=evidence,
        )
        return self.recommendation_.method

    def _describe(self, X: np.ndarray, y: np.ndarray, evidence: Evidence | None) -> None:
        """Set what is known of the noise: what was given or follows from that, else what is estimated."""
        rate, T = self.noise_rate, self.transition
        if rate is None and T is not None:
            rate = rate_of(np.asarray(T, dtype=np.float64), y)
        if evidence is not None and (rate is None or T is None):
            found = estimate_noise(evidence, describe(X, evidence))
            if T is None:
                shares = np.bincount(y, minlength=len(self.classes_)) / len(y)
                T = found.T if rate is None else transition_at_rate(found.T, shares, rate)
            rate = found.rate if rate is None else rate
        self.noise_rate_ = rate
        self.transition_ = None if T is None else np.array(T, dtype=np.float64)

    def _judge(self, evidence: Evidence | None) -> None:
        """Set what is known of each training label."""
        self.clean_probability_ = self.predicted_labels_ = None
        if evidence is None:
            return
        # A rate that is not given is that of the matrix already: nothing is scaled to it.
        known = {"noise_rate": self.noise_rate, "T": self.transition_}
        self.clean_probability_ = clean_probability(evidence, **known)
        self.predicted_labels_ = self.classes_[predicted_labels(evidence, **known)]

    def _progress(self) -> Callable[[int, int], None] | None:
        if not self.verbose:
            return None

        def show(done: int, of: int) -> None:
            sys.stderr.write(f"\rnoisylib: epoch {done} of {of}" + ("\n" if done == of else ""))

        return show
