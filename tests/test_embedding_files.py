"""Reading embeddings: every layout a file may have, and every way it may be wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from noisylib.embedding_files import Embeddings, read_embeddings
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.features.bank import BankMeta, FeatureBank

N, D = 12, 3
X = np.arange(N * D, dtype=np.float32).reshape(N, D) / 4
WORDS = np.array(["cat", "dog", "eel"] * 4)
NUMBERS = np.arange(N) % 3
PARTS = np.array(["train"] * 6 + ["val"] * 2 + ["test"] * 4)
COLUMNS = {f"f{i}": X[:, i] for i in range(D)}


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write arrays or columns in the format of the suffix."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        save_file({name: torch.as_tensor(np.array(a)) for name, a in arrays.items()}, path)
    elif path.suffix == ".parquet":
        pd.DataFrame(arrays).to_parquet(path)
    else:
        pd.DataFrame(arrays).to_csv(path, index=False)
    return path


def check(read: Embeddings, y: np.ndarray | None, rows: np.ndarray | None = None) -> None:
    """All of X, or its `rows`, were read, and so were the labels."""
    rows = np.arange(N) if rows is None else rows
    assert read.X.dtype == np.float32
    assert read.X.flags["C_CONTIGUOUS"]
    assert read.X.tolist() == X[rows].tolist()
    assert read.rows.tolist() == rows.tolist()
    assert read.n_rows == N
    assert (read.y is None) == (y is None)
    if y is not None:
        assert read.y.tolist() == y[rows].tolist()
        assert read.labels() is read.y


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("features", ["X", "features", "embeddings"])
@pytest.mark.parametrize("labels", ["y", "labels"])
def test_arrays(tmp_path, suffix: str, features: str, labels: str) -> None:
    read = read_embeddings(write(tmp_path / f"a{suffix}", {features: X, labels: NUMBERS}))
    check(read, NUMBERS)
    assert read.label_name == labels
    assert read.feature_names == (f"{features}[0]", f"{features}[1]", f"{features}[2]")
    assert read.ids is read.split is None
    assert read.summary() == (
        f"a{suffix}: 12 samples, 3 features ({features}[0] to {features}[2]), labels from '{labels}'"
    )


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("labels", ["label", "y", "target"])
def test_tables(tmp_path, suffix: str, labels: str) -> None:
    read = read_embeddings(write(tmp_path / f"a{suffix}", {"id": WORDS, labels: WORDS, **COLUMNS}))
    check(read, WORDS)
    assert read.feature_names == ("f0", "f1", "f2")
    assert read.ids.tolist() == WORDS.tolist()


def test_one_file_in_four_formats_reads_alike(tmp_path) -> None:
    for suffix in (".npz", ".safetensors"):
        check(read_embeddings(write(tmp_path / f"a{suffix}", {"X": X, "y": NUMBERS})), NUMBERS)
    for suffix in (".parquet", ".csv"):
        check(read_embeddings(write(tmp_path / f"a{suffix}", {**COLUMNS, "y": NUMBERS})), NUMBERS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_any_number_becomes_float32(tmp_path, dtype: type) -> None:
    whole = np.arange(N * D).reshape(N, D).astype(dtype)
    for suffix in (".npz", ".safetensors"):
        read = read_embeddings(write(tmp_path / f"a{suffix}", {"X": whole}))
        assert read.X.dtype == np.float32
        assert read.X.tolist() == whole.tolist()
        assert read.y is None
    columns = {f"f{i}": whole[:, i] for i in range(D)}
    for suffix in (".parquet", ".csv"):
        assert read_embeddings(write(tmp_path / f"b{suffix}", columns)).X.tolist() == whole.tolist()


def test_bfloat16_tensors(tmp_path) -> None:
    save_file({"X": torch.as_tensor(X).bfloat16()}, tmp_path / "a.safetensors")
    check(read_embeddings(tmp_path / "a.safetensors"), None)


def test_a_column_of_lists(tmp_path) -> None:
    pd.DataFrame({"label": WORDS, "embedding": list(X.astype(np.float64))}).to_parquet(tmp_path / "a.parquet")
    read = read_embeddings(tmp_path / "a.parquet")
    check(read, WORDS)
    assert read.feature_names == ("embedding[0]", "embedding[1]", "embedding[2]")


def test_a_parquet_file_is_read_in_blocks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("noisylib.embedding_tables.ROWS", 5)
    check(read_embeddings(write(tmp_path / "a.parquet", {"label": WORDS, **COLUMNS})), WORDS)
    pd.DataFrame({"label": WORDS, "embedding": list(X)}).to_parquet(tmp_path / "b.parquet")
    check(read_embeddings(tmp_path / "b.parquet"), WORDS)


def test_categories_and_an_index_column(tmp_path) -> None:
    frame = pd.DataFrame({"label": pd.Categorical(WORDS), **COLUMNS}, index=np.arange(N) + 100)
    frame.to_parquet(tmp_path / "a.parquet")
    check(read_embeddings(tmp_path / "a.parquet"), WORDS)
    frame.to_csv(tmp_path / "a.csv")  # pandas writes the index without a name
    check(read_embeddings(tmp_path / "a.csv"), WORDS)


def test_columns_of_numbers_alone_are_features_whatever_their_names(tmp_path) -> None:
    path = write(tmp_path / "a.csv", {"age": X[:, 0], "size": X[:, 1], "dose": X[:, 2], "label": WORDS})
    check(read_embeddings(path), WORDS)
    pd.DataFrame(X).assign(label=WORDS).to_csv(tmp_path / "b.csv", index=False)
    assert read_embeddings(tmp_path / "b.csv").feature_names == ("0", "1", "2")


@pytest.mark.parametrize(("mark", "suffix"), [(";", ".csv"), ("\t", ".csv")])
def test_csv_with_other_marks(tmp_path, mark: str, suffix: str) -> None:
    pd.DataFrame({"label": WORDS, **COLUMNS}).to_csv(tmp_path / "a.csv", sep=mark, index=False)
    check(read_embeddings(tmp_path / "a.csv"), WORDS)


def test_a_column_that_starts_with_whole_numbers_may_go_on_with_fractions(tmp_path) -> None:
    n = 200_000  # beyond the block by which the reader judges
    values = np.where(np.arange(n) < n - 1, 1.0, 0.5)
    lines = "\n".join(f"{v:g},{'a' if i < n - 2 else 'b'}" for i, v in enumerate(values))
    (tmp_path / "a.csv").write_text(f"f0,label\n{lines}\n")
    read = read_embeddings(tmp_path / "a.csv")
    assert read.X[-1, 0] == 0.5
    assert read.y[-3:].tolist() == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["3", "10", "-2"], [3, 10, -2]),
        (["1.0", "2.5", "3"], [1.0, 2.5, 3.0]),
        (["007", "10", "3"], ["007", "10", "3"]),
        (["a", "", "b"], ["a", None, "b"]),
        (["NA", "x", "y"], ["NA", "x", "y"]),
        (["1", "", "2"], [1, None, 2]),
    ],
)
def test_labels_of_a_csv_file(tmp_path, texts: list[str], expected: list) -> None:
    lines = "\n".join(f"{i},{text}" for i, text in enumerate(texts))
    (tmp_path / "a.csv").write_text(f"f0,label\n{lines}\n")
    assert read_embeddings(tmp_path / "a.csv").y.tolist() == expected


def test_labels_and_features_can_be_named(tmp_path) -> None:
    arrays = {"X": X, "mine": X + 1, "y": NUMBERS, "guess": NUMBERS[::-1]}
    for suffix in (".npz", ".safetensors"):
        path = write(tmp_path / f"a{suffix}", arrays)
        read = read_embeddings(path, features="mine", labels="guess")
        assert read.X.tolist() == (X + 1).tolist()
        assert read.y.tolist() == NUMBERS[::-1].tolist()
        assert set(read.others) == {"X", "y"}
    columns = {**COLUMNS, "g0": X[:, 0] + 1, "y": NUMBERS, "guess": WORDS}
    for suffix in (".parquet", ".csv"):
        path = write(tmp_path / f"b{suffix}", columns)
        check(read_embeddings(path, features="f", labels="guess"), WORDS)


def test_columns_that_would_slip_in_among_the_features_are_asked_about(tmp_path) -> None:
    path = write(tmp_path / "a.csv", {**COLUMNS, "truth": NUMBERS, "label": WORDS})
    with pytest.raises(
        NoisylibError, match=r"are 'truth' features too, beside 3 columns called 'f'.*--features f"
    ):
        read_embeddings(path)
    check(read_embeddings(path, features="f"), WORDS)


def test_text_that_is_not_numbered_like_the_features_is_left_out(tmp_path) -> None:
    path = write(tmp_path / "a.csv", {**COLUMNS, "f": WORDS, "af1": WORDS, "label": WORDS})
    check(read_embeddings(path), WORDS)


def test_features_are_named_if_they_are_columns(tmp_path) -> None:
    assert read_embeddings(write(tmp_path / "a.csv", COLUMNS)).column_names == tuple(COLUMNS)
    assert read_embeddings(write(tmp_path / "a.npz", {"X": X})).column_names == ()


# Parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "split",
    [
        PARTS,
        np.array([0] * 6 + [1] * 2 + [2] * 4),
        np.char.upper(PARTS),
        np.repeat([0.0, 1.0, 2.0], [6, 2, 4]),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_training_rows_are_read_unless_another_part_is_asked_for(tmp_path, split, suffix: str) -> None:
    arrays = {"X": X} if suffix == ".npz" else dict(COLUMNS)
    path = write(tmp_path / f"a{suffix}", {**arrays, "y": WORDS, "split": split})
    for part, rows in ((None, range(6)), ("train", range(6)), ("test", range(8, 12)), ("all", range(12))):
        read = read_embeddings(path, split=part)
        check(read, WORDS, np.array(rows))
        assert read.split.tolist() == PARTS[np.array(rows)].tolist()
    assert "6 samples of 12 in the file" in read_embeddings(path).summary()
    with pytest.raises(NoisylibError, match=r"split='holdout': .* has no such part. It has test, train, val"):
        read_embeddings(path, split="holdout")


def test_a_file_without_parts_has_no_part_to_choose(tmp_path) -> None:
    path = write(tmp_path / "a.npz", {"X": X, "y": NUMBERS})
    check(read_embeddings(path, split="all"), NUMBERS)
    with pytest.raises(NoisylibError, match=r"split='test': .* does not tell parts apart"):
        read_embeddings(path, split="test")


def test_a_feature_bank_gives_names_of_classes(tmp_path) -> None:
    split = np.array([0] * 6 + [1] * 2 + [2] * 4)
    human = np.where(split == 0, (NUMBERS + 1) % 3, -1)
    bank = FeatureBank.from_arrays(
        X, NUMBERS, split, ("cat", "dog", "eel"), BankMeta("a", "b"), human_labels={"worst": human}
    )
    path = tmp_path / "bank.safetensors"
    bank.save(path)
    check(read_embeddings(path), WORDS, np.arange(6))
    check(read_embeddings(path, split="test"), WORDS, np.arange(8, 12))
    read = read_embeddings(path, labels="human_labels.worst")
    assert read.y.tolist() == ["dog", "eel", "cat"] * 2
    assert read_embeddings(path, labels="human_labels.worst", split="test").y.tolist() == [None] * 4
    with pytest.raises(NoisylibError, match=r"labels='features' is unknown.*human_labels.worst, labels"):
        read_embeddings(path, labels="features")


# What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".joblib", ".npy"])
def test_pickles_are_never_opened(tmp_path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps({"X": X}))
    with pytest.raises(NoisylibError, match="pickle can run any code"):
        read_embeddings(path)


def test_objects_in_an_archive_are_never_unpickled(tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "a.npz", X=X, y=np.array([Bomb()] * N, dtype=object))
    with pytest.raises(NoisylibError, match=r"Python objects.*np.array\(values, dtype=str\)"):
        read_embeddings(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet", ".csv"])
def test_wrong_names_are_listed(tmp_path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", {"zebra": WORDS if suffix in (".parquet", ".csv") else X})
    with pytest.raises(NoisylibError, match="'zebra'"):
        read_embeddings(path)
    with pytest.raises(NoisylibError, match=r"zebr.*Did you mean 'zebra'"):
        read_embeddings(path, **{"features" if suffix in (".npz", ".safetensors") else "labels": "zebr"})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet", ".csv"])
def test_a_file_without_labels_says_so_when_they_are_needed(tmp_path, suffix: str) -> None:
    arrays = {"X": X, "guess": NUMBERS} if suffix in (".npz", ".safetensors") else {**COLUMNS, "word": WORDS}
    read = read_embeddings(write(tmp_path / f"a{suffix}", arrays))
    other = "guess" if suffix in (".npz", ".safetensors") else "word"
    with pytest.raises(NoisylibError, match=f"has no labels .* It also holds: '{other}'.*--labels NAME"):
        read.labels()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet", ".csv"])
def test_damaged_files(tmp_path, suffix: str) -> None:
    arrays = {"X": X, "y": NUMBERS} if suffix in (".npz", ".safetensors") else {**COLUMNS, "y": NUMBERS}
    path = write(tmp_path / f"a{suffix}", arrays)
    whole = path.read_bytes()
    damaged = [b"", b"\x00\x01\x02" * 50]
    damaged += [whole[: len(whole) // 2]] if suffix != ".csv" else []
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(NoisylibError, match="a" + suffix):
            read_embeddings(path)
    if suffix == ".npz":
        path.write_bytes(whole.replace(X.tobytes(), X.tobytes()[::-1]))
        with pytest.raises(NoisylibError, match="damaged"):
            read_embeddings(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_rows_without_a_finite_number_are_named(tmp_path, value: float, suffix: str) -> None:
    bad = X.astype(np.float64)
    bad[7, 1] = bad[9, 2] = value
    arrays = {"X": bad} if suffix == ".npz" else {f"f{i}": bad[:, i] for i in range(D)}
    path = write(tmp_path / f"a{suffix}", {**arrays, "split": PARTS})
    with pytest.raises(NoisylibError, match=r"features of 2 samples are missing.* first in row 7 "):
        read_embeddings(path, split="all")
    with pytest.raises(NoisylibError, match=r"features of 1 samples .* first in row 9 "):
        read_embeddings(path, split="test")
    check(read_embeddings(path), None, np.arange(6))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X[:, 0]}, r"'X' has shape \(12,\)"),
        ({"X": X[:, :0]}, r"'X' has shape \(12, 0\)"),
        ({"X": WORDS[:, None]}, "'X' has shape .* numbers of shape"),
        ({"X": X, "y": NUMBERS[:-1]}, r"'y' has shape \(11,\), but there are 12 samples"),
        ({"X": X, "y": np.eye(3)[NUMBERS]}, "scores per class take the argmax"),
        ({"X": X, "features": X}, "features could be 'X' or 'features'.*--features NAME"),
        ({"X": X, "y": NUMBERS, "labels": NUMBERS}, "labels could be 'y' or 'labels'.*--labels NAME"),
        ({"X": X, "id": WORDS, "key": WORDS}, "ids could be 'id' or 'key'. Rename the others"),
        ({"X": X, "split": NUMBERS + 1}, "split holds 1 to 3: codes are 0, 1 and 2"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        read_embeddings(write(tmp_path / "a.npz", arrays))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,0.25,cat\n0.1,0.2,dog\n", "first line holds '0.5', a number"),
        ("f0,f0,label\n1,2,a\n", "several columns called 'f0'"),
        ("f0,label\n1,a\nx,b\n", "has no column of numbers"),
        ("f0,label\n1,a\n2\n", "cannot be read as CSV"),
        ("label\na\n", "has no column of numbers or lists to take features from. It has: 'label'"),
        ("f0,label\n", "has no rows"),
        (
            "f0,f1,f2,label\n1,2,3,a\n2,missing,,b\n",
            "'f1' do not hold numbers alone, but 2 other .* called 'f'",
        ),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(NoisylibError, match=message):
        read_embeddings(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "lists", [[[1.0, 2.0], [1.0]], [[], []], [[1.0], None], [["a"], ["b"]], [[[1.0]], [[2.0]]]]
)
def test_lists_that_do_not_fit(tmp_path, lists: list) -> None:
    pd.DataFrame({"embedding": lists}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(NoisylibError, match="embedding"):
        read_embeddings(tmp_path / "a.parquet")


def test_absent_files_and_other_suffixes(tmp_path) -> None:
    with pytest.raises(MissingDataError, match="no file"):
        read_embeddings(tmp_path / "a.npz")
    with pytest.raises(NoisylibError, match=r"files end in \.npz, \.safetensors, \.parquet, \.csv\. Save"):
        read_embeddings(tmp_path / "a.txt")
