"""A linear probe on clean labels: how much the features of a bank know. Scores may lie beside the banks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from noisylib.features.bank import FeatureBank, bank_path
from noisylib.seeding import numpy_generator

PROBE_C = (0.0001, 0.001, 0.01, 0.1, 1.0)
PROBES_FILE = "probes.json"
_FOLDS = 5


class Probe(TypedDict):
    """Test scores of a linear probe, in [0, 1]; `auc` is the mean over classes, one against the rest.

    `majority_accuracy` is what always naming the largest training class gives; `C` is the chosen inverse
    penalty.
    """

    C: float
    accuracy: float
    balanced_accuracy: float
    auc: float
    majority_accuracy: float


class BankProbes(TypedDict, total=False):
    """Scores of one bank file: of its features, and of those of untrained weights where measured.

    `checksum` is that of the bank whose features were scored.
    """

    checksum: str
    pretrained: Probe
    random: Probe


Probes = Mapping[str, BankProbes]  # by the name of the bank file


def linear_probe(bank: FeatureBank, max_train: int | None = None) -> Probe:
    """Return the test scores of logistic regression on the clean labels of the train split.

    Features are z-scored with the train split's mean and standard deviation; the L2 penalty is chosen by
    cross-validation on the train split.

    Parameters
    ----------
    max_train : fit on at most about this many training samples, drawn at random from each class in
        proportion, but five of every class that has them; None for all.
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

    X, y = bank.part("train")
    X_test, y_test = bank.part("test")
    rows = np.arange(len(y)) if max_train is None else _draw(y, max_train)
    chances, best_c = _fitted(X[rows], y[rows], X_test)
    found = chances.argmax(axis=1)
    scores = {
        "C": best_c,
        "accuracy": accuracy_score(y_test, found),
        "balanced_accuracy": balanced_accuracy_score(y_test, found),
        "auc": roc_auc_score(y_test, chances[:, 1] if bank.n_classes == 2 else chances, multi_class="ovr"),
        "majority_accuracy": np.mean(y_test == np.bincount(y).argmax()),
    }
    # Four digits: the solver's last ones differ between machines.
    return {name: round(float(score), 4) for name, score in scores.items()}


def stored_probe(bank: FeatureBank, root: str | Path | None = None) -> Probe | None:
    """Return the probe stored in the folder of the banks for exactly these features, if there is one."""
    path = bank_path(bank.meta.dataset, bank.meta.backbone, root)
    stored = path.with_name(PROBES_FILE)
    rows = json.loads(stored.read_text(encoding="utf-8")).get(path.name, {}) if stored.is_file() else {}
    return rows["pretrained"] if rows.get("checksum") == bank.checksum else None


def _draw(y: np.ndarray, max_train: int) -> np.ndarray:
    """Return sorted indices (n,) of a random part of `y` that leaves no class short of the folds."""
    share = min(1.0, max_train / len(y))
    generator = numpy_generator("probe", len(y), max_train)
    parts = []
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        parts.append(generator.permutation(rows)[: max(_FOLDS, round(share * len(rows)))])
    return np.sort(np.concatenate(parts))


def _fitted(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the probabilities (n_test, K) under the best penalty, and its C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    folds = min(_FOLDS, np.bincount(y).min())
    if folds < 2:
        # A class of one sample is in no training fold beside its test fold, so nothing can be chosen.
        middle = PROBE_C[len(PROBE_C) // 2]
        model.set_params(logisticregression__C=middle)
        return model.fit(X, y).predict_proba(X_test), middle
    search = GridSearchCV(
        model,
        {"logisticregression__C": PROBE_C},
        scoring="neg_log_loss",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
    )
    chances = search.fit(X, y).predict_proba(X_test)
    return chances, search.best_params_["logisticregression__C"]
