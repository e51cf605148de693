"""The linear probe: what separates, what does not, a smaller train split, and scores stored with banks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from noisylib.features import BankMeta, FeatureBank, list_banks
from noisylib.features.probe import PROBES_FILE, linear_probe, stored_probe

SCORES = {"C": 1.0, "accuracy": 0.9, "balanced_accuracy": 0.8, "auc": 0.95, "majority_accuracy": 0.6667}


def made_bank(labels, features, n_train: int) -> FeatureBank:
    split = np.repeat([0, 2], [n_train, len(labels) - n_train])
    names = [f"class {k}" for k in range(max(labels) + 1)]
    return FeatureBank.from_arrays(features, labels, split, names, BankMeta("made", "none"))


def two_classes(shift: float, width: int = 4) -> FeatureBank:
    """Two classes, `shift` standard deviations apart in the first feature; 30 + 0 + 15 samples."""
    labels = np.tile([0, 1, 1], 15)
    features = np.random.default_rng(0).normal(size=(45, width))
    features[:, 0] += shift * labels
    return made_bank(labels, features, 30)


def test_probe_separates_what_is_separable() -> None:
    found = linear_probe(two_classes(20.0))
    assert found == {
        "C": 1.0, "accuracy": 1.0, "balanced_accuracy": 1.0, "auc": 1.0, "majority_accuracy": 0.6667,
    }  # fmt: skip
    assert linear_probe(two_classes(0.0))["balanced_accuracy"] < 0.8


def test_probe_holds_back_where_features_say_nothing() -> None:
    assert linear_probe(two_classes(0.0, width=60))["C"] <= 0.01


@pytest.mark.parametrize("rare", [1, 3])
def test_a_class_smaller_than_the_folds_is_probed_without_a_warning(rare: int) -> None:
    labels = np.repeat([0, 1, 2, 0, 1, 2], [20, 20, rare, 5, 5, 5])
    features = np.random.default_rng(0).normal(size=(len(labels), 3)) + 9 * np.eye(3)[labels]
    found = linear_probe(made_bank(labels, features, 40 + rare))
    assert found["balanced_accuracy"] >= 0.6667  # both large classes at the least
    assert rare > 1 or found["C"] == 0.01  # nothing to choose by: the middle of the grid


def test_a_smaller_train_split_keeps_classes_and_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from noisylib.features import probe

    labels = np.repeat([0, 1, 0, 1], [180, 20, 30, 10])
    features = np.random.default_rng(0).normal(size=(240, 2)) + 9 * labels[:, None]
    bank, fitted = made_bank(labels, features, 200), []
    real = probe._fitted
    monkeypatch.setattr(probe, "_fitted", lambda X, y, X_test: (fitted.append(y), real(X, y, X_test))[1])
    small = linear_probe(bank, 40)
    assert np.bincount(fitted[0]).tolist() == [36, 5]  # a fifth, but five where that is less
    assert small["majority_accuracy"] == 0.75
    assert small == linear_probe(bank, 40)
    assert linear_probe(bank, 1000) == linear_probe(bank)


def test_a_stored_score_counts_for_the_features_it_was_measured_on(tmp_path) -> None:
    bank = two_classes(4.0)
    assert stored_probe(bank, tmp_path) is None
    rows = {"made-none.safetensors": {"checksum": bank.checksum, "pretrained": SCORES}}
    (tmp_path / PROBES_FILE).write_text(json.dumps(rows))
    assert stored_probe(bank, tmp_path) == SCORES
    assert stored_probe(two_classes(5.0), tmp_path) is None


def test_every_shipped_bank_has_a_stored_score(root) -> None:
    shipped = root / "data" / "banks"
    for _, _, path in list_banks(shipped):
        assert stored_probe(FeatureBank.load(path), shipped), f"measure {path.name}: see the data card"


def test_shipped_scores_are_those_of_the_shipped_banks(root) -> None:
    shipped = root / "data" / "banks"
    bank = FeatureBank.load(shipped / "breastmnist-deit_tiny.safetensors")
    assert linear_probe(bank) == pytest.approx(stored_probe(bank, shipped), abs=0.01)
