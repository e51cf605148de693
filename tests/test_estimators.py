"""The scikit-learn face: its conventions, what it learns, and that it says what the functions say."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from blobs import blobs
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from noisylib import estimators
from noisylib.candidates import CANDIDATES
from noisylib.errors import NoisylibError
from noisylib.estimators import EXPECTED_FAILED_CHECKS, NoisyLabelClassifier
from noisylib.evidence import collect_evidence
from noisylib.label_quality import clean_probability, predicted_labels
from noisylib.methods import METHODS, make_method
from noisylib.recipe import Recipe
from noisylib.trained import train_head

K, D = 3, 6
X, Y = blobs(90, K, D, spread=3)
X_TEST, Y_TEST = blobs(60, K, D, seed=1, spread=3)
NAMES = np.array(["b", "c", "a"])  # not in the order of the numbers
WRONG = np.arange(90) % 10 == 0
LABELS = NAMES[np.where(WRONG, (Y + 1) % K, Y)]
WITH_NAN = np.where(np.arange(90 * D).reshape(90, D) == 20, np.nan, X)
QUICK = {"epochs": 20, "learning_rate": 0.02, "random_state": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads that judge labels train for five epochs, the fewest."""
    monkeypatch.setattr("noisylib.evidence.SAMPLES_SEEN", 1)


def made(method="ce", **changes) -> NoisyLabelClassifier:
    return NoisyLabelClassifier(method, **{**QUICK, **changes})


def test_keeps_the_conventions_of_scikit_learn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny sets, overflow on purpose
        found = check_estimator(
            made(head="linear", epochs=1, assess_labels=False),
            expected_failed_checks=EXPECTED_FAILED_CHECKS,
            on_skip=None,
        )
    status = Counter(row["status"] for row in found)
    assert status["passed"] >= 50
    assert status["xfail"] == len(EXPECTED_FAILED_CHECKS) == 1


def test_head_and_judgements_are_those_of_the_functions() -> None:
    codes = np.unique(LABELS, return_inverse=True)[1]
    fitted = made("coteaching").fit(X, LABELS)
    (seen,) = collect_evidence(X, codes, K, seeds=[0], device="cpu")
    recipe = Recipe(epochs=20, learning_rate=0.02)
    head = train_head(X, codes, K, method="coteaching", recipe=recipe, evidence=seen, device="cpu")
    np.testing.assert_array_equal(fitted.predict_proba(X_TEST), head.probabilities(X_TEST))
    assert fitted.head_.told == head.told == {"noise_rate": fitted.noise_rate_, "estimated": ["noise_rate"]}
    np.testing.assert_array_equal(fitted.clean_probability_, clean_probability(seen))
    suggested = np.array(["a", "b", "c"])[predicted_labels(seen)]
    assert fitted.predicted_labels_.tolist() == suggested.tolist()
    assert (fitted.method_, fitted.recommendation_) == ("coteaching", None)
    np.testing.assert_allclose(fitted.transition_.sum(1), 1)


def test_learns_and_finds_wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisylib.evidence.SAMPLES_SEEN", 600_000)
    points, y = blobs(700, K, 64, spread=0.7)
    wrong = np.arange(500) % 10 == 0
    labels = NAMES[np.where(wrong, (y[:500] + 1) % K, y[:500])]
    fitted = made("gce").fit(points[:500], labels)
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert fitted.score(points[500:], NAMES[y[500:]]) > 0.9
    P = fitted.predict_proba(points[500:])
    np.testing.assert_allclose(P.sum(1), 1, atol=1e-12)
    assert fitted.predict(points[500:]).tolist() == fitted.classes_[P.argmax(1)].tolist()
    assert roc_auc_score(~wrong, fitted.clean_probability_) > 0.95
    assert (fitted.predicted_labels_ == NAMES[y[:500]]).mean() > 0.9


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        Y,
        Y.astype(float),
        Y > 0,
        pd.Series(LABELS, dtype="category"),
        pd.Series(Y > 0, dtype="boolean"),
    ],
)
def test_predicts_labels_of_the_kind_it_was_given(labels) -> None:
    fitted = made(epochs=1).fit(X, labels)
    values = sorted(set(np.asarray(labels).tolist()))
    assert fitted.classes_.tolist() == values
    kind = int if isinstance(values[0], float) else type(values[0])
    assert {type(value) for value in [*fitted.classes_.tolist(), *fitted.predict(X_TEST).tolist()]} == {kind}
    assert set(fitted.predict(X_TEST).tolist()) | set(fitted.predicted_labels_.tolist()) <= set(values)


def test_data_frames_keep_their_names() -> None:
    names = [f"f{i}" for i in range(D)]
    frame = pd.DataFrame(X, columns=names)
    fitted = made(epochs=2).fit(frame, pd.Series(LABELS))
    assert fitted.feature_names_in_.tolist() == names == list(fitted.head_.feature_names)
    plain = made(epochs=2).fit(X, LABELS).predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(frame), plain, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[names[::-1]])


def test_works_in_pipelines_and_searches() -> None:
    pipe = make_pipeline(StandardScaler(), made("gce", assess_labels=False, epochs=2))
    grid = {"noisylabelclassifier__epochs": [1, 30], "noisylabelclassifier__method": ["ce", "gce"]}
    search = GridSearchCV(pipe, grid, scoring=make_scorer(balanced_accuracy_score), cv=3, refit=True)
    search.fit(X, LABELS)
    assert search.best_params_["noisylabelclassifier__epochs"] == 30
    assert search.predict(X_TEST).shape == (60,)
    assert cross_val_score(made(assess_labels=False), X, LABELS, cv=3).mean() > 0.7


def test_clones_and_pickles() -> None:
    fitted = made(make_method("gce", {"q": 0.5}), noise_rate=0.1, transition=np.eye(K), epochs=2)
    copy = clone(fitted)
    assert {k: v for k, v in copy.get_params().items() if k != "transition"} == {
        k: v for k, v in fitted.get_params().items() if k != "transition"
    }
    fitted.fit(X, LABELS)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict_proba(X_TEST), fitted.predict_proba(X_TEST))
    assert (fitted.method_, fitted.head_.options) == ("gce", {"q": 0.5})
    assert fitted.noise_rate_ == 0.1
    np.testing.assert_array_equal(fitted.transition_, np.eye(K))


def test_random_state() -> None:
    def first(state: object) -> float:
        return made(assess_labels=False, epochs=1, random_state=state).fit(X, LABELS).predict_proba(X)[0, 0]

    assert first(3) == first(3) != first(4)
    assert first(np.random.RandomState(3)) == first(np.random.RandomState(3))
    assert first(None) != first(None)


def test_without_a_look_at_the_labels_nothing_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "collect_evidence", None)
    fitted = made(assess_labels=False, epochs=1).fit(X, LABELS)
    said = (fitted.noise_rate_, fitted.transition_, fitted.clean_probability_, fitted.predicted_labels_)
    assert said == (None, None, None, None)


def test_given_facts_are_told() -> None:
    T = np.full((K, K), 0.1) + 0.7 * np.eye(K)
    told = made("dividemix", transition=T, epochs=1, assess_labels=False).fit(X, Y).head_.told
    assert (told["noise_type"], told["estimated"]) == ("symmetric", [])
    untold = made("dividemix", epochs=1, assess_labels=False).fit(X, Y).head_
    assert (untold.told, untold.options["alpha"]) == ({}, CANDIDATES["dividemix"].method.alpha)
    assert made("jocor", noise_rate=0.3, epochs=1).fit(X, Y).head_.told == {
        "noise_rate": 0.3,
        "estimated": [],
    }


def test_a_given_matrix_also_says_the_rate() -> None:
    T = np.full((K, K), 0.1) + 0.7 * np.eye(K)
    fitted = made("coteaching", transition=T, epochs=1).fit(X, Y)
    assert fitted.noise_rate_ == pytest.approx(0.2), "the classes are equally frequent"
    assert fitted.head_.told["noise_rate"] == fitted.noise_rate_
    (seen,) = collect_evidence(X, Y, K, seeds=[0], device="cpu")
    np.testing.assert_array_equal(fitted.clean_probability_, clean_probability(seen, T=T))


def test_an_estimated_matrix_has_the_rate_that_is_given() -> None:
    fitted = made("forward_oracle", noise_rate=0.3, epochs=1).fit(X, Y)
    T = fitted.transition_
    shares = np.linalg.solve(T.T, np.bincount(Y) / len(Y))  # of the true classes
    assert (shares * (1 - np.diag(T))).sum() == pytest.approx(0.3)
    np.testing.assert_allclose(fitted.head_.told["transition"], T)


def test_parameters_may_be_numbers_of_numpy() -> None:
    fitted = made(epochs=np.int64(1), learning_rate=np.float32(0.5), assess_labels=False).fit(X, LABELS)
    assert (fitted.head_.recipe.epochs, fitted.head_.recipe.learning_rate) == (1, 0.5)


def test_noise_that_no_label_can_be_judged_under_is_refused_before_the_training(monkeypatch) -> None:
    monkeypatch.setattr(estimators, "train_head", None)
    with pytest.raises(NoisylibError, match=r"noise_rate=0.7.* below \(K - 1\) / K"):
        made(noise_rate=0.7).fit(X, LABELS)


def test_sample_weights_reach_the_head_and_must_fit_the_method() -> None:
    w = np.arange(90) % 3.0
    plain, weighted = (made(epochs=2).fit(X, LABELS, v).predict_proba(X_TEST) for v in (None, w))
    assert np.abs(plain - weighted).max() > 1e-3
    np.testing.assert_array_equal(made(epochs=2).fit(X, LABELS, np.full(90, 7)).predict_proba(X_TEST), plain)
    with pytest.raises(NoisylibError, match="sample_weight does not fit method 'dividemix'"):
        made("dividemix").fit(X, LABELS, w)


# "auto".


class Asked:
    """Stands for `recommend`, and remembers what it was asked."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(self, X, y, **options):
        self.X, self.y, self.options = X, y, options
        return self


def test_auto_trains_what_is_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked("dividemix")
    monkeypatch.setattr("noisylib.recommendation.recommend", asked)
    fitted = made("auto", metric="accuracy", epochs=2).fit(X, LABELS)
    assert (fitted.method_, fitted.recommendation_) == ("dividemix", asked)
    assert fitted.head_.options["unlabelled_weight"] == 0
    assert asked.y.tolist() == LABELS.tolist()
    assert (asked.options["metric"], asked.options["seed"]) == ("accuracy", 0)
    assert asked.options["methods"] == list(CANDIDATES)
    assert asked.options["evidence"].held_out.shape == (90, K)


def test_auto_chooses_among_what_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked("ce")
    monkeypatch.setattr("noisylib.recommendation.recommend", asked)
    made("auto", epochs=1).fit(X, LABELS, np.ones(90))
    assert asked.options["methods"] == [name for name in CANDIDATES if METHODS[name].mean_of_samples]
    made("auto", epochs=1, head="mlp").fit(X, LABELS)
    assert set(CANDIDATES) - set(asked.options["methods"]) == {"turn"}
    rare = np.where(np.arange(90) < 4, "z", LABELS)
    made("auto", epochs=1).fit(X, rare)
    assert set(CANDIDATES) - set(asked.options["methods"]) == {"forward"}


def test_auto_with_the_shipped_advice() -> None:
    fitted = made("auto", epochs=1).fit(X, LABELS)
    advice = fitted.recommendation_
    assert fitted.method_ == advice.method in CANDIDATES
    assert advice.class_names == ("a", "b", "c")
    assert fitted.noise_rate_ == advice.noise_rate
    np.testing.assert_array_equal(fitted.transition_, advice.T)
    assert fitted.head_.options == vars(CANDIDATES[advice.method].method)


def test_auto_on_fewer_than_50_samples_is_cross_entropy_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="cannot choose with 49 samples"):
        fitted = made("auto", epochs=1).fit(X[:49], LABELS[:49])
    assert (fitted.method_, fitted.recommendation_) == ("ce", None)
    assert fitted.clean_probability_.shape == (49,)


def test_verbose_counts_epochs(capsys: pytest.CaptureFixture) -> None:
    made(epochs=2, verbose=1, assess_labels=False).fit(X, LABELS)
    told = capsys.readouterr()
    assert told.out == ""
    assert "epoch 1 of 2" in told.err
    assert told.err.endswith("epoch 2 of 2\n")


# Bad input.


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (X[:, 0], LABELS, "Expected 2D array"),
        (X[:5], LABELS, "y has 90 labels, but X has 5 rows"),
        (WITH_NAN, LABELS, "contains NaN"),
        (np.nan_to_num(WITH_NAN, nan=np.inf), LABELS, "contains infinity"),
        (X, np.full(90, "a"), "only one class"),
        (X, X[:, 0], "is continuous"),
        (X, [None, *LABELS[1:]], "no label .* in row 0"),
        (X, None, "requires y"),
    ],
)
def test_bad_data(X, y, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        made().fit(X, y)


@pytest.mark.parametrize("matrix", [scipy.sparse.csr_array(X), scipy.sparse.coo_matrix(X)])
def test_sparse_features_are_refused(matrix) -> None:
    with pytest.raises(TypeError, match="Sparse data was passed"):
        made().fit(matrix, LABELS)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "elrr"}, "Did you mean 'elr'"),
        ({"method": "knn"}, "trains no head"),
        ({"method": "turn", "head": "mlp"}, "head='mlp' does not fit"),
        ({"head": "deep"}, "head='deep' is unknown"),
        ({"metric": "f1"}, "metric='f1' is unknown"),
        ({"epochs": 0}, "recipe.epochs=0"),
        ({"learning_rate": -1}, "recipe.learning_rate=-1"),
        ({"noise_rate": 1.0}, "fractions in"),
        ({"transition": np.ones((K, K))}, "rows sum to 1"),
        ({"transition": np.eye(K + 1)}, "transitions has shape"),
        ({"device": "tpu"}, "device='tpu'"),
    ],
)
def test_bad_parameters(changes: dict, text: str) -> None:
    with pytest.raises(NoisylibError, match=text):
        made(**{"assess_labels": False, **changes}).fit(X, LABELS)


@pytest.mark.parametrize("counts", [(40, 1), (40, 4), (3, 3)])
def test_rare_classes_and_tiny_sets_are_fitted(counts: tuple[int, int]) -> None:
    y = np.repeat([0, 1], counts)
    fitted = made(epochs=1).fit(X[: len(y)], y)
    assert np.isfinite(fitted.clean_probability_).all()
    assert np.isfinite(fitted.transition_).all()


def test_constant_features_and_duplicated_rows_are_fitted() -> None:
    constant = np.column_stack([X, np.full(90, 3.0)])
    twice = np.concatenate([constant, constant])
    fitted = made(epochs=1).fit(twice, np.concatenate([LABELS, LABELS[::-1]]))
    assert np.isfinite(fitted.predict_proba(constant)).all()
    assert np.isfinite(made(epochs=1).fit(np.ones((60, 3)), LABELS[:60]).predict_proba(np.ones((2, 3)))).all()
