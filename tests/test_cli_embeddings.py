"""The commands for embeddings of one's own, from a file to a report, a list, a head and predictions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer
from blobs import blobs
from typer.testing import CliRunner

from noisylib import cli_embeddings as commands
from noisylib.analysis.selector import load_selector
from noisylib.errors import NoisylibError
from noisylib.recipe import Recipe
from noisylib.trained import load_head, train_head

K, N, D = 3, 150, 6
X, CLEAN = blobs(N, K, D, spread=3)
WRONG = np.arange(N) % 10 == 4
NAMES = np.array(["benign", "doubtful", "malignant"])
OBSERVED = NAMES[np.where(WRONG, (CLEAN + 1) % K, CLEAN)]

app = typer.Typer()
for command in (commands.recommend, commands.clean, commands.train, commands.predict):
    app.command()(command)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the same samples as an archive and as a table, the latter with names and parts."""
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", X=X, y=OBSERVED)
    table = pd.DataFrame(X, columns=[f"f{i}" for i in range(D)]).assign(doctor=OBSERVED)
    table["id"] = [f"image {i}" for i in range(N)]
    table["split"] = np.where(np.arange(N) < 30, "test", "train")
    table.to_csv("mine.csv", index=False)
    return tmp_path


def call(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def slip(*arguments: str) -> str:
    """The error that a call ends with."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, NoisylibError), result.output
    return str(result.exception)


def test_recommend_prints_a_report_and_keeps_the_rest_off_it(folder) -> None:
    result = call("recommend", "mine.npz")
    assert result.stdout.startswith("Which method? mine.npz: 150 samples, 6 features, 3 classes\n")
    assert "noisylib clean mine.npz --out flagged.csv" in result.stdout
    assert "mine.npz: 150 samples, 6 features (X[0] to X[5]), labels from 'y'" in result.stderr
    assert "100/100 steps after" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["mine.csv", "mine.npz"], "it writes nothing"


def test_recommend_as_json_holds_nothing_else(folder) -> None:
    read = json.loads(call("recommend", "mine.npz", "--json").stdout)
    assert read["file"] == "mine.npz"
    assert read["class_names"] == NAMES.tolist()
    assert read["metric"] == "balanced_accuracy"
    assert len(read["ranking"]) == len(load_selector().candidates)
    some = json.loads(
        call("recommend", "mine.npz", "--json", "--methods", "ce, elr", "--metric", "accuracy").stdout
    )
    assert {entry["candidate"] for entry in some["ranking"]} == {"ce", "elr"}
    assert some["metric"] == "accuracy"
    assert some["noise_rate"] == read["noise_rate"]


def test_the_next_commands_repeat_what_was_said_of_the_file(folder) -> None:
    (folder / "mine.csv").rename("my data.csv")
    text = call("recommend", "my data.csv", "--labels", "doctor", "--split", "all").stdout
    assert "noisylib clean 'my data.csv' --labels doctor --split all --out flagged.csv" in text
    assert "150 samples" in text


def test_clean_lists_suspects_first_with_their_places_in_the_file(folder) -> None:
    result = call("clean", "mine.csv", "--labels", "doctor", "--out", "flagged.csv")
    found = pd.read_csv("flagged.csv")
    assert list(found) == ["row", "id", "label", "clean_probability", "suggested_label", "flagged"]
    assert sorted(found.row) == list(range(30, N)), "the training part, by position in the file"
    assert (found.id == [f"image {row}" for row in found.row]).all()
    assert (found.label == OBSERVED[found.row]).all()
    assert found.clean_probability.is_monotonic_increasing
    assert found.clean_probability.between(0, 1).all()
    wrong = WRONG[found.row]
    assert wrong[: wrong.sum()].mean() > 0.9, "the planted flips come first"
    assert (found.suggested_label == NAMES[CLEAN[found.row]]).mean() > 0.9
    assert found.flagged.isin([0, 1]).all()
    assert (found.flagged.to_numpy() == wrong).mean() > 0.9
    assert f"{found.flagged.sum()} of 120 labels flagged" in result.stdout
    assert "flagged.csv" in result.stdout


def test_clean_without_ids_has_no_column_of_them_and_says_what_is_odd(folder) -> None:
    np.savez("twice.npz", X=np.concatenate([X, X[:3]]), y=np.concatenate([OBSERVED, OBSERVED[:3]]))
    result = call("clean", "twice.npz", "--out", "new/flagged.csv")
    assert list(pd.read_csv("new/flagged.csv"))[:2] == ["row", "label"]
    assert "beware: 3 rows repeat the features of another row." in result.stderr


def test_train_then_predict(folder) -> None:
    options = ("--method", "ce", "--head", "linear", "--epochs", "5", "--seed", "3")
    result = call("train", "mine.csv", "--labels", "doctor", *options, "--out", "head.safetensors")
    assert "ce trained on 120 samples of 3 classes; see head.safetensors" in result.stdout
    assert "5/5 epochs after" in result.stderr
    head = load_head("head.safetensors")
    codes = np.searchsorted(NAMES, OBSERVED)[30:]
    same = train_head(
        X[30:].astype(np.float32), codes, K, method="ce", head="linear", seed=3,
        classes=NAMES.tolist(), recipe=Recipe(epochs=5, score_epochs=1),
    )  # fmt: skip
    assert np.array_equal(head.weights["W"], same.weights["W"])

    np.savez("new.npz", X=X)
    assert (
        "150 predictions in p.csv" in call("predict", "head.safetensors", "new.npz", "--out", "p.csv").stdout
    )
    found = pd.read_csv("p.csv")
    P = head.probabilities(X.astype(np.float32))
    assert list(found) == ["row", "label", "probability"]
    assert found.row.tolist() == list(range(N))
    assert found.label.tolist() == NAMES[P.argmax(axis=1)].tolist()
    np.testing.assert_allclose(found.probability, P.max(axis=1), atol=6e-5)
    call("predict", "head.safetensors", "mine.csv", "--features", "f", "--out", "p.csv", "--all-classes")
    found = pd.read_csv("p.csv")
    assert len(found) == N, "all parts, unless one is asked for"
    np.testing.assert_allclose(found[[f"probability of {name}" for name in NAMES]], P, atol=2e-6)
    assert found.id[7] == "image 7"
    call("predict", "head.safetensors", "mine.csv", "--split", "test", "--features", "f", "--out", "p.csv")
    assert pd.read_csv("p.csv").row.tolist() == list(range(30))


def test_features_are_found_by_their_names(folder) -> None:
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(D)])
    frame.assign(label=OBSERVED).to_csv("named.csv", index=False)
    frame[frame.columns[::-1]].to_csv("turned.csv", index=False)
    frame.rename(columns={"f2": "g2"}).to_csv("other.csv", index=False)
    call("train", "named.csv", "--method", "ce", "--epochs", "5", "--out", "head.safetensors")
    assert load_head("head.safetensors").feature_names == tuple(frame)
    for name in ("named", "turned", "mine"):
        file = "mine.npz" if name == "mine" else f"{name}.csv"
        call("predict", "head.safetensors", file, "--out", f"{name}-p.csv")
    assert Path("named-p.csv").read_text() == Path("turned-p.csv").read_text()
    assert Path("named-p.csv").read_text() == Path("mine-p.csv").read_text(), "an array has no names"
    message = slip("predict", "head.safetensors", "other.csv", "--features", "", "--out", "p.csv")
    assert "['f2'] are missing, ['g2'] were not there" in message
    assert "holds a trained head" in slip("predict", "head.safetensors", "head.safetensors", "--out", "p.csv")


def test_a_folder_is_no_place_for_a_file(folder) -> None:
    (folder / "out.csv").mkdir()
    assert "out.csv is a folder" in slip("clean", "mine.npz", "--out", "out.csv")


def test_train_by_itself_takes_what_is_recommended(folder) -> None:
    expected = json.loads(call("recommend", "mine.npz", "--json").stdout)["method"]
    result = call("train", "mine.npz", "--epochs", "2", "--out", "head.safetensors")
    assert load_head("head.safetensors").method == expected
    assert f"({expected})" in result.stderr


@pytest.mark.parametrize(
    ("options", "rate"), [(("--noise-rate", "0.3"), 0.3), ((), 0.6)], ids=["known", "estimated"]
)
def test_a_method_that_must_be_told_the_rate_gets_it(folder, monkeypatch, options, rate: float) -> None:
    found = SimpleNamespace(method="coteaching", title="Co-teaching", noise_rate=0.7)
    monkeypatch.setattr("noisylib.recommendation.recommend", lambda *_, **__: found)
    call("train", "mine.npz", "--epochs", "2", "--out", "head.safetensors", *options)
    head = load_head("head.safetensors")
    assert head.method == "coteaching"
    assert head.told["noise_rate"] == rate, "an estimate is kept within what the method can use"


def test_an_input_is_never_overwritten(folder) -> None:
    before = (folder / "mine.csv").read_bytes()
    assert "is the input" in slip("clean", "mine.csv", "--labels", "doctor", "--out", "./mine.csv")
    (folder / "link.csv").symlink_to(folder / "mine.csv")
    assert "is the input" in slip("clean", "mine.csv", "--labels", "doctor", "--out", "link.csv")
    assert (folder / "mine.csv").read_bytes() == before
    (folder / "bank.safetensors").write_bytes(b"precious")
    assert "is the input" in slip("train", "bank.safetensors", "--out", "bank.safetensors")
    assert (folder / "bank.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "mine.csv"], "has no labels .*'doctor'.*--labels NAME"),
        (["recommend", "nowhere.npz"], "no file nowhere.npz"),
        (["recommend", "mine.npz", "--methods", "ellr"], "Did you mean 'elr'"),
        (["recommend", "mine.npz", "--labels", "z"], "labels='z' is unknown"),
        (["recommend", "mine.npz", "--split", "test"], "does not tell parts apart"),
        (["clean", "mine.npz", "--out", "a.txt"], "--out a.txt: a name that ends in .csv"),
        (["train", "mine.npz", "--out", "a.pkl"], "ends in .safetensors"),
        (["train", "mine.npz", "--out", "a.safetensors", "--method", "knn"], "trains no head"),
        (["predict", "mine.npz", "mine.npz", "--out", "p.csv"], "mine.npz"),
    ],
)
def test_slips_are_named(folder, arguments: list[str], message: str) -> None:
    import re

    assert re.search(message, slip(*arguments), flags=re.S)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.csv", "mine.npz"]


def test_another_width_is_refused(folder) -> None:
    call("train", "mine.npz", "--method", "ce", "--epochs", "1", "--out", "h.safetensors")
    np.savez("wide.npz", X=np.ones((5, D + 1)))
    message = slip("predict", "h.safetensors", "wide.npz", "--out", "p.csv")
    assert "X has 7 features, but the head was trained on 6" in message
    assert not (folder / "p.csv").exists()


def test_an_interrupt_leaves_nothing(folder, monkeypatch) -> None:
    def stopped(*_, progress, **__):
        progress(1, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr("noisylib.evidence.collect_evidence", stopped)
    result = call("clean", "mine.npz", "--out", "flagged.csv", code=130)
    assert "nothing was written" in result.stderr
    assert not (folder / "flagged.csv").exists()


def test_progress_never_goes_back_and_counts_whole_steps(monkeypatch, capsys) -> None:
    added = []

    class Bar:
        def __init__(self, done, total, cost, unit, echo) -> None:
            self.done, self.seconds, self.asked = done, 0.0, (done, total, cost, unit)

        def add(self, items, cost, seconds) -> None:
            self.done += items
            added.append(items)

        def close(self) -> None:
            added.append("closed")

    monkeypatch.setattr(commands, "Progress", Bar)
    with commands._following("steps", 10) as report:
        for done in (1, 30, 30, 55, 99, 100):
            report(done, 100)
    assert added == [3, 2, 4, 1, "closed"]
