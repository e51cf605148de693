"""Descriptions of banks and noise, on made banks with known answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisylib import comparison
from noisylib.book.describe import banks as describe
from noisylib.comparison import compare_methods
from noisylib.errors import UnknownNameError
from noisylib.features import BankMeta, FeatureBank
from noisylib.recipe import Recipe


@pytest.fixture(scope="module")
def bank() -> FeatureBank:
    """Three blobs; 30, 20 and 10 training samples per class, 20 for validation, 40 for the test."""
    y = np.repeat([0, 1, 2] * 3, [30, 20, 10, 10, 6, 4, 10, 14, 16])
    split = np.repeat([0, 1, 2], [60, 20, 40])
    X = np.random.default_rng(0).normal(size=(120, 9)) + 8 * np.eye(3, 9)[y]
    X[:, -1] *= 1000  # one feature of another unit, which knows nothing
    meta = BankMeta("made", "none", licence="CC0", citation="key")
    return FeatureBank.from_arrays(X, y, split, ("a", "b", "c"), meta)


def test_counts_by_class_and_split(bank: FeatureBank) -> None:
    counts = describe.class_counts({"made": bank})
    y_test = bank.part("test")[1]
    of_b = counts[(counts["class"] == "b") & (counts["split"] == "test")]["samples"].item()
    assert of_b == (y_test == 1).sum()
    assert counts["samples"].sum() == 120
    table = describe.counts_table(counts)
    assert list(table["Data set"]) == ["made", "", ""]
    assert table[["Train", "Validation", "Test"]].sum().to_list() == [60, 20, 40]


def test_sizes_have_the_imbalance_of_the_training_split(bank: FeatureBank) -> None:
    table = describe.sizes_table({"made": bank})
    assert table["Imbalance"].item() == "3.0"  # 30 over 10
    assert table[["Train", "Validation", "Test"]].to_numpy().tolist() == [["60", "20", "40"]]


def test_sources_carry_licence_and_citation(bank: FeatureBank) -> None:
    table = describe.sources_table({"made": bank})
    assert table.to_numpy().tolist() == [["made", "", "CC0", "{cite:p}`key`"]]


def test_trivial_scores_of_the_test_split(bank: FeatureBank) -> None:
    facts = describe.test_facts(bank)
    share = np.bincount(bank.part("test")[1]).max() / 40
    assert facts["majority"] == pytest.approx(100 * share)
    assert facts["standard_error"] == pytest.approx(100 * (share * (1 - share) / 40) ** 0.5)
    assert facts["chance"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_projection_is_reproducible_and_holds_the_points_asked_for(
    bank: FeatureBank, projection: str
) -> None:
    points = describe.projection_points({"made": bank}, projection, 50, seed=1)
    again = describe.projection_points({"made": bank}, projection, 50, seed=1)
    assert len(points) == 50
    np.testing.assert_array_equal(points[["x", "y"]], again[["x", "y"]])
    # The blobs are far apart, so a map that mixes them up is no map of them.
    centres = points.groupby("class")[["x", "y"]].mean()
    spread = points.groupby("class")[["x", "y"]].std().to_numpy().max()
    gaps = [np.linalg.norm(centres.loc[p] - centres.loc[q]) for p, q in ("ab", "bc", "ac")]
    assert min(gaps) > 2 * spread


def test_an_unknown_projection_is_an_error(bank: FeatureBank) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tsne'"):
        describe.projection_points({"made": bank}, "tsn", 50, seed=0)


def test_probes_solve_blobs_and_know_the_trivial_scores(bank: FeatureBank) -> None:
    scores = describe.probe_scores({"made": bank}, neighbours=5).squeeze()
    y, y_test = bank.part("train")[1], bank.part("test")[1]
    assert scores["majority"] == pytest.approx((y_test == np.bincount(y).argmax()).mean())
    assert scores["chance"] == pytest.approx(1 / 3)
    assert scores["knn_balanced"] > 0.9
    assert scores["linear_balanced"] > 0.9
    assert describe.probe_table(scores.to_frame().T)["Chance: balanced"].item() == "33.3"


def test_the_stored_score_of_the_data_card_is_the_one_that_is_shown(
    bank: FeatureBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"C": 1.0, "accuracy": 0.123, "balanced_accuracy": 0.456, "auc": 0.5, "majority_accuracy": 0.5}
    rows = {"made-none.safetensors": {"checksum": bank.checksum, "pretrained": stored}}
    (tmp_path / "probes.json").write_text(json.dumps(rows))
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path))
    scores = describe.probe_scores({"made": bank}, neighbours=5).squeeze()
    assert (scores["linear_accuracy"], scores["linear_balanced"]) == (0.123, 0.456)


def test_facts_name_the_strongest_and_the_weakest_bank() -> None:
    scores = pd.DataFrame(
        {
            "dataset": ["A", "B"],
            "majority": [0.5, 0.9],
            "chance": [0.5, 0.25],
            "linear_accuracy": [0.8, 0.95],
            "linear_balanced": [0.7, 0.65],
        }
    )
    facts = describe.probe_facts(scores)
    assert (facts["strongest"], facts["weakest"], facts["closest"]) == ("B", "A", "B")
    assert facts["strongest_gain"] == pytest.approx(40)
    assert facts["weakest_gain"] == pytest.approx(20)
    assert facts["closest_over"] == pytest.approx(5)
    # Numpy numbers would print as np.float64(40.0) in the book.
    assert {type(value) for value in facts.values()} == {str, float}


def test_compared_methods_see_the_same_wrong_labels(bank: FeatureBank) -> None:
    recipe = Recipe(epochs=3, score_epochs=1)
    rows = compare_methods(bank, ["ce", "coteaching"], "symmetric", 0.2, seeds=[0, 1], recipe=recipe)
    assert list(rows["method"]) == ["ce", "ce", "coteaching", "coteaching"]
    assert rows["realised_rate"].to_list() == [0.2] * 4
    assert rows["balanced_accuracy"].between(0, 1).all()
    alone = compare_methods(bank, ["ce"], "symmetric", 0.2, seeds=[1], recipe=recipe)
    assert alone["balanced_accuracy"].item() == pytest.approx(rows["balanced_accuracy"][1], abs=0.03)


def test_methods_that_are_told_the_rate_get_the_realised_one(
    bank: FeatureBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    real = comparison.train_bank
    monkeypatch.setattr(
        comparison, "train_bank", lambda *a, **k: (told.append(k["noise_rates"]), real(*a, **k))[1]
    )
    recipe = Recipe(epochs=1, score_epochs=1)
    # Only class 0, half of the 60 training samples, is affected: 20 % of it is 10 % of all.
    compare_methods(bank, ["ce"], "asymmetric", 0.2, seeds=[0, 1], class_map={0: 1}, recipe=recipe)
    assert told == [[0.1, 0.1]]


def test_class_maps_come_from_the_catalogue_and_unknown_banks_have_none() -> None:
    assert describe.class_map_of("breastmnist") == {0: 1}
    assert describe.class_map_of("mine") is None
