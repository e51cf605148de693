"""The chapter on a file of one's own: what it reads, what it says of the labels, and how it is checked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from blobs import blobs
from typer.testing import CliRunner

from noisylib import BankMeta, FeatureBank
from noisylib.book.advice_parameters import YourEmbeddingsParameters
from noisylib.book.describe import your_embeddings as yours
from noisylib.book.describe import your_embeddings_check as checks
from noisylib.book.describe.your_embeddings_check import Scores, Trusted
from noisylib.cli import app
from noisylib.embedding_files import read_embeddings
from noisylib.errors import NoisylibError
from noisylib.estimators import NoisyLabelClassifier
from noisylib.recommendation_inputs import check_data
from noisylib.trained import load_head

NBSP = "\N{NO-BREAK SPACE}"
N, K, D = 160, 3, 6
WRONG = 39  # a quarter of each class, rounded
# Not in alphabetical order, which is that of the classes of a classifier.
NAMES = ("nevus", "ulcer", "burn")
PARAMS = YourEmbeddingsParameters(
    dataset="breastmnist", noise_type="symmetric", noise_rate=0.25, method="gce", epochs=2, seed=3
)


def bank(*_: str) -> FeatureBank:
    X, y = blobs(N + 40, K, D, spread=3)
    split = np.r_[np.zeros(N), np.full(40, 2)].astype(np.uint8)
    return FeatureBank.from_arrays(X, y, split, NAMES, BankMeta("blobs", "raw"))


def classifier() -> NoisyLabelClassifier:
    return NoisyLabelClassifier("gce", epochs=2, random_state=3)


def report_on(given: yours.Given) -> yours.Report:
    read = given.read()
    return yours.report(given, read, classifier().fit(read.X, read.labels()))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> yours.Report:
    """The report on a file that stands in for one, with a quarter of its training labels wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yours, "load_bank", bank)
        return report_on(yours.open_file(PARAMS, tmp_path_factory.mktemp("standin")))


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> yours.Report:
    """The report on a table of somebody's own, two classes, without parts and without truth."""
    X, y = blobs(60, 2, 4, spread=3)
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(4)])
    frame = frame.assign(doctor=np.array(["no", "yes"])[y], id=[f"image {i}" for i in range(60)])
    path = tmp_path_factory.mktemp("own") / "my table.csv"
    frame.to_csv(path, index=False)
    params = replace(PARAMS, path=str(path), labels="doctor")
    return report_on(yours.open_file(params, path.parent))


def test_a_stand_in_is_a_file_like_any_other_with_wrong_labels_in_the_training_part_only(found) -> None:
    given, clean = found.given, bank()
    file = dict(np.load(given.path))
    assert set(file) == {"X", "y", "split"}
    assert (file["split"] == "test").sum() == 40
    wrong = file["y"] != np.array(NAMES)[clean.labels]
    assert wrong[:N].sum() == WRONG
    assert not wrong[N:].any()
    np.testing.assert_array_equal(given.truth, np.array(NAMES)[clean.labels[:N]])
    np.testing.assert_array_equal(found.read.X, clean.part("train")[0])
    assert given.arguments == given.shown == "my_embeddings.npz"
    assert f"Symmetric noise of 25{NBSP}% made 24.4{NBSP}% of the training labels wrong" in given.origin


def test_a_file_of_ones_own_is_read_where_it_is(table) -> None:
    assert table.given.truth is None
    assert table.given.arguments == f"'{table.given.path}' --labels doctor"
    assert table.given.origin == "This page reads `my table.csv`, which was given as `path`."
    assert table.explain().startswith(f"Which method? {table.given.path}: 60 samples, 4 features, 2 classes")
    assert f"noisylib clean '{table.given.path}' --labels doctor --out" in table.explain()


def test_the_table_of_what_was_found_names_classes_and_what_is_odd(found, table) -> None:
    rows = dict(yours.found_table(found.read, found.data).to_numpy())
    assert rows["Samples"] == "160; 40 more belong to other parts"
    assert rows["Features"] == "6: `X[0]` to `X[5]`"
    assert rows["Labels"] == "3 classes, from `y`"
    assert (rows["Not read"], rows["To be aware of"]) == ("nothing", "nothing")
    assert rows["Names of samples"].startswith("none")
    few = pd.Series(found.read.labels()).value_counts()
    assert rows["Smallest class"] == f"{few.index[-1]}, {few.iloc[-1]} samples"
    assert dict(yours.found_table(table.read, table.data).to_numpy())["Names of samples"] == "yes"
    copies = check_data(np.r_[table.read.X, table.read.X[:1]], np.r_[table.read.y, table.read.y[:1]])
    odd = dict(yours.found_table(table.read, copies).to_numpy())["To be aware of"]
    assert odd.startswith("1 row repeats")


def test_the_recommendation_is_that_of_the_fit_or_asked_for_beside_a_named_method(found) -> None:
    assert found.model.recommendation_ is None
    assert found.advice.n_samples == N
    own = SimpleNamespace(
        recommendation_="advice", clean_probability_=np.array([0.4, 0.6] * 80), metric="", random_state=0
    )
    again = yours.report(found.given, found.read, own)
    assert again.advice == "advice"
    assert again.flagged.sum() == 80
    own.clean_probability_ = None
    with pytest.raises(NoisylibError, match="assess_labels"):
        yours.report(found.given, found.read, own)
    ranking = yours.ranking(found.advice)
    assert ranking["candidate"][0] == found.advice.method
    assert ranking["regret"].is_monotonic_increasing


def test_classes_are_listed_by_risk_beside_the_truth(found, table) -> None:
    risk, purity = np.array([0.1, 0.5, 0.1]), np.array([0.9, 0.8, 0.4])
    T = np.array([[0.99, 0.005, 0.005], [0.1, 0.6, 0.3], [0.0, 0.25, 0.75]])
    advice = replace(found.advice, class_risk=risk, purity=purity, T=T)
    rows = yours.class_table(replace(found, advice=advice))
    assert rows["Class"].tolist() == ["nevus", "ulcer", "burn"]  # sorted: burn, nevus, ulcer
    assert rows["Risk of being missed (%)"].tolist() == ["50", "10", "10"]
    assert rows["Right, estimated (%)"].tolist() == ["80", "40", "90"]
    assert rows["Most often labelled as"].tolist() == ["ulcer (30 %)", "nevus (25 %)", "-"]
    y, truth = found.read.labels(), found.given.truth
    right = [f"{100 * (truth[y == name] == name).mean():.0f}" for name in rows["Class"]]
    assert rows["Right, in truth (%)"].tolist() == right
    assert "Right, in truth (%)" not in yours.class_table(table)


def test_flagged_labels_are_those_that_the_command_writes(found, table, tmp_path) -> None:
    for report, name in ((found, "a.csv"), (table, "b.csv")):
        out, file = tmp_path / name, report.given
        call = ["clean", str(file.path), "--out", str(out), "--seed", "3"]
        done = CliRunner().invoke(app, call + (["--labels", file.labels] if file.labels else []))
        assert done.exit_code == 0, done.output
        own = yours.suspects(report)
        # Nearly equal probabilities may change places, so that rows are put side by side.
        frames = [frame.sort_values("row", ignore_index=True) for frame in (pd.read_csv(out), own)]
        pd.testing.assert_frame_equal(*frames, check_dtype=False, atol=5e-3, rtol=0)
        assert own["clean_probability"].is_monotonic_increasing
        assert own["flagged"].sum() == report.flagged.sum()
    shown = yours.suspects_table(found, 5)
    assert shown.columns.tolist() == ["Row", "Label", "Probability it is right", "Suggested", "Truth"]
    assert shown["Truth"].tolist() == found.given.truth[shown["Row"]].tolist()
    assert "Name" in yours.suspects_table(table)


def test_the_commands_do_what_the_page_did(found, tmp_path) -> None:
    lines = yours.commands(found, PARAMS).splitlines()
    assert lines[1] == "noisylib recommend my_embeddings.npz --seed 3"
    assert lines[3] == (
        "noisylib train my_embeddings.npz --method gce --epochs 2 --seed 3 --out head.safetensors"
    )
    head = tmp_path / "head.safetensors"
    words = lines[3].split()[1:-1]
    words[1] = str(found.given.path)
    done = CliRunner().invoke(app, [*words, str(head)])
    assert done.exit_code == 0, done.output
    X = found.read.X
    np.testing.assert_array_equal(load_head(head).probabilities(X), found.model.predict_proba(X))
    other = yours.commands(found, replace(PARAMS, metric="accuracy", seed=0))
    assert "my_embeddings.npz --metric accuracy\n" in other
    assert "--seed" not in other


def test_the_test_part_is_there_if_the_file_has_one_with_labels(found, table, tmp_path) -> None:
    test = checks.test_part(found)
    np.testing.assert_array_equal(test.y, np.array(NAMES)[bank().labels[N:]])
    np.testing.assert_array_equal(test.X, bank().part("test")[0])
    assert checks.test_part(table) is None
    frame = pd.DataFrame(found.read.X[:60]).add_prefix("f").assign(label=found.read.labels()[:60])
    frame["split"] = np.where(np.arange(60) < 55, "train", "test")
    frame.loc[56:, "label"] = None
    frame.to_csv(tmp_path / "some.csv", index=False)
    given = replace(found.given, path=tmp_path / "some.csv")
    some = replace(found, given=given, read=given.read())
    assert len(checks.test_part(some).y) == 1  # the others have no label
    frame[frame["split"] == "train"].to_csv(tmp_path / "some.csv", index=False)
    assert checks.test_part(replace(some, read=read_embeddings(given.path))) is None
    frame.assign(split="test").to_csv(tmp_path / "some.csv", index=False)  # then all of it is learned from
    assert checks.test_part(replace(some, read=read_embeddings(given.path))) is None


def test_cross_entropy_is_the_rival_unless_it_was_trained(found) -> None:
    assert checks.rival(found) == "ce"
    plain = replace(found, model=SimpleNamespace(method_="ce"))
    expected = found.advice.method if found.advice.method != "ce" else found.advice.runner_up.candidate
    assert checks.rival(plain) == expected


# Class 0 has three samples and class 1 two.
HITS = np.array([[True, True, False, True, True], [True, False, False, False, True]])
SCORES = Scores(("elr", "ce"), HITS, np.array([0, 0, 0, 1, 1]), np.array(["a", "b"]))


def test_scores_and_gain_by_hand() -> None:
    np.testing.assert_allclose(SCORES.accuracy, [4 / 5, 2 / 5])
    np.testing.assert_allclose(SCORES.recall, [[2 / 3, 1], [1 / 3, 1 / 2]])
    np.testing.assert_allclose(SCORES.balanced_accuracy, [5 / 6, 5 / 12])
    # One of three and one of two is gained: sample variances 1/3 and 1/2.
    expected = 1.96 * np.sqrt((1 / 3) / 3 + (1 / 2) / 2) / 2
    np.testing.assert_allclose(SCORES.gain("balanced_accuracy"), (5 / 12, expected))
    np.testing.assert_allclose(SCORES.gain("accuracy"), (2 / 5, 1.96 * np.sqrt(0.3 / 5)))
    single = replace(SCORES, hits=HITS[:, 2:4], codes=np.array([0, 1]))
    assert single.gain("balanced_accuracy")[1] == pytest.approx(1.96 * np.sqrt(2) / 2)


def test_models_are_compared_on_the_labels_of_the_test_part(found) -> None:
    test = Trusted(np.zeros((3, D)), np.array(["burn", "nevus", "burn"], dtype=object))
    always = SimpleNamespace(method_="ce", predict=lambda X: np.array(["burn"] * len(X)))
    never = SimpleNamespace(method_="gce", predict=lambda X: np.array(["ulcer"] * len(X)))
    scores = checks.compare(replace(found, model=never), always, test)
    assert scores.methods == ("gce", "ce")
    assert scores.recall.tolist() == [[0, 0], [1, 0]]
    shown = checks.score_table(scores)
    assert shown["Score (%)"].tolist()[2:] == ["Recall of nevus (1 samples)", "Recall of burn (2 samples)"]
    assert shown["Cross entropy"].tolist() == ["50.0", "66.7", "0.0", "100.0"]


def test_the_text_on_scores_says_who_is_better_only_if_that_is_sure(found) -> None:
    unsure = checks.score_text(found, SCORES)
    assert "of ELR differs by +41.7 points from that of Cross entropy" in unsure
    assert "do not tell the two apart" in unsure
    assert "not ahead in every class" not in unsure
    sure = replace(SCORES, hits=np.repeat(HITS[:, [1, 1, 2, 3, 3]], 40, 1), codes=np.repeat(SCORES.codes, 40))
    assert "so that ELR is the better of the two here" in checks.score_text(found, sure)
    behind = checks.score_text(found, replace(sure, hits=sure.hits[::-1]))
    assert "so that Cross entropy is the better of the two here" in behind
    assert "ELR is not ahead in every class: of b it recognises 0 %, Cross entropy 100 %." in behind
    assert "The recommendation expected" not in behind
    advised = replace(found, model=SimpleNamespace(method_=found.advice.method))
    assert "and it has 83 %; forecasts" in checks.score_text(advised, SCORES)
    assert checks.score_text(found, None) == checks.NO_TEST


def test_the_truth_is_beside_what_was_said(found, table) -> None:
    y, truth, flagged = found.read.labels(), found.given.truth, found.flagged
    rows = {what: (said, true) for what, said, true in checks.truth_table(found).to_numpy()}
    assert rows["Wrong labels"][1] == f"24.4{NBSP}%"
    caught = (flagged & (y != truth)).sum()
    assert rows["Flagged labels that are wrong"][1].startswith(f"{caught} of {flagged.sum()} (")
    assert (
        rows["Wrong labels that are flagged"][1] == f"{caught} of {WRONG} ({100 * caught / WRONG:.0f}{NBSP}%)"
    )
    assert rows["Labels flagged as wrong"] == (str(flagged.sum()), f"{WRONG} are wrong")
    right = replace(found, given=replace(found.given, truth=y))
    assert len(checks.truth_table(right)) == 5  # no pairs of a right and a wrong label
    assert checks.wrong_labels(table) is None
    assert checks.wrong_labels(found).sum() == WRONG


def test_the_true_transition_matrix_is_counted_in_the_order_of_the_classes(found, table) -> None:
    y, truth = found.read.labels(), found.given.truth
    T = checks.transitions(found)["True"]
    assert T[1, 2] == pytest.approx((y[truth == "nevus"] == "ulcer").mean())
    np.testing.assert_allclose(T.sum(1), 1)
    assert list(checks.transitions(table)) == ["Estimated"]
    row = checks.truth_table(replace(found, advice=replace(found.advice, T=T))).iloc[1]
    assert row["True"] == "0.0 points off on average"


def test_the_text_on_the_truth_says_whether_the_interval_held(found, table) -> None:
    for low, word in ((0.2, "inside"), (0.26, "outside")):
        advice = replace(found.advice, rate_low=low, rate_high=0.4)
        text = checks.truth_text(replace(found, advice=advice), PARAMS)
        assert f"wrong labels, 24 %, is {word} the interval" in text
        assert "Images of this kind are among those" in text
    assert "learned from" not in checks.truth_text(found, replace(PARAMS, dataset="cifar10"))
    assert "cannot be told from the file" in checks.truth_text(table, PARAMS)


def test_facts_follow_the_numbers(found, table) -> None:
    facts = yours.facts(found)
    assert facts["source"] == "my_embeddings.npz, 160 samples."
    assert facts["which"].startswith(f"Recommended: {found.advice.title}. This page was told to train Gen")
    assert facts["stacked"]
    assert yours.facts(table)["stacked"] == yours.facts(table)["beside"] == ""
    probability = np.array([0.1, 0.4, 0.5, 0.75, 1.0])
    judged = replace(
        found, model=SimpleNamespace(method_="gce", clean_probability_=probability), flagged=probability < 0.5
    )
    doubtful = yours.facts(judged)["doubtful"]
    assert "2 of 5 labels (40 %) are flagged" in doubtful
    assert "some 2 of them" in doubtful  # 0.9 + 0.6
    assert "Another 1 or so" in doubtful  # 0.5 + 0.25


def test_the_text_says_which_classes_are_in_danger_and_whether_methods_differ(found) -> None:
    def facts(**changed):
        return yours.facts(replace(found, advice=replace(found.advice, **changed)))

    assert facts(at_risk=np.zeros(K, bool))["risky"] == "No class is in danger here."
    assert facts(at_risk=np.array([True, False, False]))["risky"].startswith("burn is in danger")
    assert facts(at_risk=np.array([True, False, True]))["risky"].startswith("burn, ulcer are in danger")
    next_one = replace(found.advice.ranking[1], regret=0.05, low=0.02, high=0.08)
    ranking = (found.advice.ranking[0], next_one)
    assert "may do as well" in facts(ranking=ranking, expected_regret=0.03)["which"]
    assert "worse in most cases" in facts(ranking=ranking, expected_regret=0.01)["which"]
    assert facts(ranking=ranking[:1])["which"].endswith("instead.")
