"""The chapter on human labels: facts of the counts, training on made classes and on a bank, and a study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from noisylib.book.case_parameters import HumanParameters
from noisylib.book.describe import human, human_live
from noisylib.book.parameter_rules import check_values
from noisylib.data import DATASETS
from noisylib.data.simulate import GaussianBed
from noisylib.errors import BankError, ConfigError, UnknownNameError
from noisylib.features import BankMeta, FeatureBank
from noisylib.study import load_config, plan_study, run_study

SMALL = {"labels": ["worst"], "methods": ["ce", "elr"], "epochs": 2, "seeds": [0, 1], "samples": 200}
EACH = 20  # training samples of a class in the bank


@pytest.fixture(scope="module")
def table():
    return human.human_rows()[0]


def wrong_labels(y: np.ndarray, share: float) -> np.ndarray:
    """Labels of which the first `share` of each class are wrong, into the next class."""
    turn = np.zeros(len(y), np.int64)
    for c in range(10):
        turn[y == c] = np.arange((y == c).sum())
    return np.where(turn < share * EACH, (y + 1) % 10, y)


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """A bank of CIFAR-10 by name, ten classes far apart by content, with three sets of human labels."""
    bed = GaussianBed.simplex(10, 12, 8.0)
    (X, y), (X_test, y_test) = bed.sample(10 * EACH, 0), bed.sample(40, 1)
    people = {"aggregate": 0.1, "random1": 0.2, "worst": 0.4}
    made = FeatureBank.from_arrays(
        np.r_[X, X_test],
        np.r_[y, y_test],
        np.repeat([0, 2], [10 * EACH, 40]),
        DATASETS["cifar10"].classes,
        BankMeta(dataset="cifar10", backbone="deit_tiny"),
        human_labels={n: np.r_[wrong_labels(y, share), np.full(40, -1)] for n, share in people.items()},
    )
    (tmp_path / "banks").mkdir()
    made.save(tmp_path / "banks" / "cifar10-deit_tiny.safetensors")
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path / "banks"))
    monkeypatch.setenv("NOISYLIB_RESULTS", str(tmp_path / "results"))
    return made


def test_parameters_are_checked(monkeypatch, tmp_path):
    assert check_values(HumanParameters, {}) == HumanParameters()
    for values, error, message in (
        ({"labels": ["fine"]}, ConfigError, "fine are none of dataset='made', which has aggregate"),
        ({"labels": ["worst", "worst"]}, ConfigError, "has one twice"),
        ({"dataset": "cifar100"}, ConfigError, "which has fine"),
        ({"dataset": "cifar11"}, UnknownNameError, "Did you mean 'cifar10'"),
        ({"seeds": []}, ConfigError, "seeds"),
    ):
        with pytest.raises(error, match=message):
            check_values(HumanParameters, values)


def test_facts_are_those_of_the_counts(table):
    facts = human.file_facts(table)
    # Published: 9.03, 17.23 and 40.21 % of CIFAR-10N, and 40.20 % of CIFAR-100N (Wei et al. 2022).
    rates = [facts[f"rate_{name}"] for name in ("aggregate", "random1", "worst", "fine")]
    assert rates == pytest.approx([9.03, 17.23, 40.21, 40.20], abs=0.03)
    assert facts["easiest_rate"] < facts["rate_worst"] < facts["hardest_rate"]
    assert facts["superclass_chance"] == pytest.approx(100 * 4 / 99)
    row = table[table["labels"] == "worst"].iloc[0]
    assert facts["all_wrong"] == f"{row['right_votes'][0]:,}"
    assert human.class_rates(table).index[0] == "cat"


@pytest.mark.parametrize(
    ("ratio", "words"), [(3.21, "3.2 times as many"), (1.0, "about as many"), (0.5, "fewer than")]
)
def test_words_on_coincidence_follow_the_number(ratio, words):
    assert human._coincide(ratio).startswith(words)


def test_confusions_are_sorted_and_go_both_ways(table):
    shown = human.confusions_table(table)
    assert shown["File"].tolist() == ["CIFAR-10N"] * 4 + ["CIFAR-100N"] * 4
    often = shown["How often"].astype(float)
    assert often[:4].is_monotonic_decreasing
    assert often[4:].is_monotonic_decreasing
    pair = {(row._2, row._3): (row._4, row._5) for row in shown.itertuples()}
    assert pair["cat", "dog"] == pair["dog", "cat"][::-1]


def test_made_labels_follow_the_matrix_of_people(table):
    case = human_live.make_case(
        replace(HumanParameters(), samples=20_000, labels=["worst"], seeds=[0]), table
    )
    T = human_live.transition(human_live.counts_of(table, "cifar10", "worst"))
    (people,), (symmetric,) = case.noisy["worst", "human"], case.noisy["worst", "symmetric"]
    np.testing.assert_allclose(people.realised_T, T, atol=1 / 2000 + 1e-9)
    assert symmetric.realised_rate == pytest.approx(people.realised_rate, abs=10 / 20_000)
    off = symmetric.realised_T[~np.eye(10, dtype=bool)]
    assert np.ptp(off) <= 1 / 2000 + 1e-9
    assert "lost" in human._what(case)


def test_chapter_on_made_classes(table):
    params = HumanParameters(**SMALL)
    case = human_live.make_case(params, table)
    assert human_live.study_scores(case, params) is None
    scores = human_live.train_scores(case, params)
    assert len(scores) == 1 * 2 * 2 * 2
    shown = human.scores_table(scores)
    assert list(shown) == ["Method", "worst: people", "worst: symmetric"]
    assert human.source_text(case, params).startswith(
        "10 made classes, 200 training samples; adapter head; 2 "
    )


def test_facts_of_scores_by_hand(table):
    case = human_live.make_case(HumanParameters(**SMALL), table)
    means = {
        ("human", "ce"): 0.5,
        ("symmetric", "ce"): 0.6,
        ("human", "elr"): 0.7,
        ("symmetric", "elr"): 0.65,
    }
    rows = [("worst", noise, s, method, v, v) for s in (0, 1) for (noise, method), v in means.items()]
    scores = pd.DataFrame(
        rows, columns=["labels", "noise", "seed", "method", "accuracy", "balanced_accuracy"]
    )
    assessed = pd.DataFrame(
        {"labels": "worst", "noise": ["human", "symmetric"], "rate": [0.4, 0.4], "estimate": [0.3, 0.42],
         "clean_probability": [0.8, 0.9]}
    )  # fmt: skip
    facts = human.live_facts(case, scores, assessed)
    assert (facts["harder"], facts["methods"]) == (1, 2)
    assert (facts["widest"], facts["widest_way"], round(facts["widest_gap"], 6)) == (
        "Cross entropy",
        "lower",
        10,
    )
    assert (facts["best_human"], facts["best_symmetric"]) == ("ELR", "ELR")
    assert [facts[f"off_{n}"] for n in ("human", "symmetric")] == pytest.approx([10, 2])
    assert [facts[f"auroc_{n}"] for n in ("human", "symmetric")] == pytest.approx([80, 90])


def test_a_bank_with_human_labels_is_trained_on_them(table, bank):
    params = HumanParameters(dataset="cifar10", **SMALL)
    case = human_live.make_case(params, table)
    assert [run.y_noisy.tolist() for run in case.noisy["worst", "human"]] == [
        bank.training_human_labels("worst").tolist()
    ] * 2
    assert [run.realised_rate for run in case.noisy["worst", "symmetric"]] == pytest.approx([0.4, 0.4])
    assert human_live.study_scores(case, params) is None  # nothing has been run
    scores = human_live.train_scores(case, params)
    assert set(scores["noise"]) == {"human", "symmetric"}
    assert "the ones that people gave" in human._what(case)
    assert human.source_text(case, params).startswith("CIFAR-10, features of deit_tiny")
    with pytest.raises(BankError, match="no human labels 'random2'"):
        human_live.make_case(replace(params, labels=["random2"]), table)


def test_labels_are_assessed_once_per_set_and_made_noise_per_seed(table, bank):
    case = human_live.make_case(HumanParameters(dataset="cifar10", **SMALL), table)
    assessed = human_live.assess(case)
    assert assessed.groupby("noise").size().to_dict() == {"human": 1, "symmetric": 2}
    assert assessed["rate"].tolist() == pytest.approx([0.4] * 3)
    assert assessed[["clean_probability", "neighbour_share"]].to_numpy().min() > 0.5
    assert list(human.assessment_table(assessed)["Labels"]) == ["worst: people", "worst: symmetric"]


def test_rows_of_the_study_are_shown_when_they_are_there(table, bank, root, tmp_path, monkeypatch):
    shipped = load_config(root / "configs" / "cifarn.yaml")
    small = replace(shipped, methods=shipped.methods[:1], seeds=(0,), recipe=replace(shipped.recipe, epochs=2,
                    score_epochs=1))  # fmt: skip
    monkeypatch.setattr("noisylib.study.load_config", lambda path: small)
    part = replace(
        small, datasets=("cifar10",), backbones=("deit_tiny",), human_labels=("aggregate", "random1", "worst")
    )
    run_study(plan_study(part, tmp_path / "results"), tmp_path / "results")
    params = HumanParameters(dataset="cifar10", labels=["aggregate", "worst"], methods=["ce"])
    scores, source = human_live.study_scores(human_live.make_case(params, table), params)
    assert scores.groupby(["labels", "noise"]).size().to_dict() == {
        (name, noise): 1 for name in ("aggregate", "worst") for noise in ("human", "symmetric")
    }
    assert "study cifarn" in source
    for other in ({"methods": ["elr"]}, {"labels": ["random2"]}, {"head": "linear"}):
        assert human_live.study_scores(human_live.make_case(params, table), replace(params, **other)) is None
    assert list(human.scores_table(scores))[1:] == [
        "aggregate: people", "aggregate: symmetric", "worst: people", "worst: symmetric"
    ]  # fmt: skip
