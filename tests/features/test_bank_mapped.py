"""Banks whose features stay on disk, in one file or in shards: the same bank, and every damage is named."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from noisylib.errors import BankError
from noisylib.features import bank_file
from noisylib.features.bank import BankMeta, FeatureBank, list_banks, load_bank
from noisylib.features.bank_blocks import write_blocks
from noisylib.features.bank_shards import shard_folder
from noisylib.mapped_rows import MappedRows

META = BankMeta("made", "tiny")
N, D, V = 23, 3, 2
SPLIT = np.array([0, 0, 2] * 7 + [0, 0], dtype=np.uint8)  # not sorted: training rows lie apart
LABELS = np.arange(N) // 3 % 2
FEATURES = np.arange(N * D, dtype=np.float16).reshape(N, D) / 8
VIEWS = 100 + np.arange(V * 16 * D, dtype=np.float16).reshape(V, 16, D)


def made(**more) -> FeatureBank:
    return FeatureBank.from_arrays(FEATURES, LABELS, SPLIT, ["a", "b"], META, **more)


@pytest.fixture(params=["one file", "shards of 5", "shards of 23"])
def path(request, tmp_path) -> Path:
    """A bank with views, on disk in one way or another."""
    path = tmp_path / "made-tiny.safetensors"
    rows = {"one file": None, "shards of 5": 5, "shards of 23": 23}[request.param]
    made(views=VIEWS, groups=np.arange(N)).save(path, shard_rows=rows)
    return path


def test_a_mapped_bank_is_the_bank(path) -> None:
    bank, whole = FeatureBank.load(path, mapped=True), made(views=VIEWS, groups=np.arange(N))
    assert isinstance(bank.features, MappedRows)
    assert isinstance(bank.views, MappedRows)
    assert bank.checksum == whole.checksum
    assert (bank.n_samples, bank.n_features, bank.n_classes) == (N, D, 2)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(np.asarray(bank.arrays()[name]), array)
    for split in ("train", "val", "test"):
        (X, y), (expected, labels) = bank.part(split), whole.part(split)
        assert X.shape == expected.shape
        assert X.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(X), expected)
        np.testing.assert_array_equal(y, labels)
    views = bank.training_views()
    assert views.shape == (V, 16, D)
    np.testing.assert_array_equal(np.asarray(views), VIEWS)
    np.testing.assert_array_equal(np.asarray(views[1]), VIEWS[1])


def test_a_bank_in_shards_can_be_read_into_memory(path) -> None:
    bank = FeatureBank.load(path)
    assert type(bank.features) is type(bank.views) is np.ndarray
    assert bank.checksum == made(views=VIEWS, groups=np.arange(N)).checksum


def test_the_checksum_of_a_bank_in_memory_follows_its_arrays(path) -> None:
    bank = FeatureBank.load(path)
    bank.features[0, 0] += 1
    assert bank.checksum != FeatureBank.load(path).checksum


def test_rows_come_in_any_order_from_every_shard(path) -> None:
    features = FeatureBank.load(path, mapped=True).features
    for rows in ([22, 0, 11, 11, 4, 5], [3], [], range(N)):
        np.testing.assert_array_equal(
            features[np.array(rows, dtype=int)], FEATURES[np.array(rows, dtype=int)]
        )
    np.testing.assert_array_equal(features[3:20:4], FEATURES[3:20:4])
    np.testing.assert_array_equal(features[-1], FEATURES[-1])
    train = features.take(np.flatnonzero(SPLIT == 0)).astype(np.float64)
    np.testing.assert_array_equal(train[np.array([15, 2])], FEATURES[SPLIT == 0][[15, 2]])
    assert train[np.array([15])].dtype == np.float64
    with pytest.raises(IndexError):
        features[np.array([N])]


def test_a_folder_lists_the_index_and_not_the_shards(tmp_path) -> None:
    path = tmp_path / "made-tiny.safetensors"
    made().save(path, shard_rows=7)
    assert list_banks(tmp_path) == [("made", "tiny", path)]
    assert isinstance(load_bank("made", "tiny", tmp_path, mapped=True).features, MappedRows)
    assert [len(load_file(p)["features"]) for p in sorted(shard_folder(path).iterdir())] == [7, 7, 7, 2]
    with safe_open(path, framework="np") as file:
        assert sorted(file.keys()) == ["labels", "split"]


def test_whether_features_stay_on_disk_follows_from_their_size(tmp_path, monkeypatch) -> None:
    path = tmp_path / "made-tiny.safetensors"
    numbers = N * D + V * 16 * D
    made(views=VIEWS).save(path)
    for limit, there in ((34 * numbers, False), (34 * numbers - 1, True)):
        bank = load_bank("made", "tiny", tmp_path, mapped="auto", memory_limit=limit)
        assert isinstance(bank.features, MappedRows) is there
    for free, there in ((68 * numbers, False), (68 * numbers - 2, True), (None, False)):
        monkeypatch.setattr(bank_file, "free_memory", lambda free=free: free)
        assert isinstance(FeatureBank.load(path, mapped="auto").features, MappedRows) is there
    made(views=VIEWS).save(path, shard_rows=4)
    assert isinstance(
        FeatureBank.load(path, mapped="auto", memory_limit=34 * numbers - 1).features, MappedRows
    )
    assert not isinstance(
        FeatureBank.load(path, mapped="auto", memory_limit=34 * numbers).features, MappedRows
    )


def shards_of(tmp_path: Path) -> tuple[Path, list[Path]]:
    path = tmp_path / "made-tiny.safetensors"
    made(views=VIEWS).save(path, shard_rows=6)
    return path, sorted(shard_folder(path).iterdir())


def test_a_missing_shard_is_named(tmp_path) -> None:
    path, shards = shards_of(tmp_path)
    shards[2].unlink()
    for mapped in (True, False):
        with pytest.raises(
            BankError, match=rf"{shards[2].name} .* is not there: copy the folder made-tiny.shards"
        ):
            FeatureBank.load(path, mapped=mapped)


@pytest.mark.parametrize("kept", [0, 7, 60, -1])
def test_a_shard_that_is_cut_off_is_named(tmp_path, kept) -> None:
    path, shards = shards_of(tmp_path)
    shards[1].write_bytes(shards[1].read_bytes()[:kept])
    with pytest.raises(BankError, match=rf"{shards[1].name} cannot be read .* Take a fresh copy"):
        FeatureBank.load(path, mapped=True)


def test_a_damaged_shard_is_named(tmp_path) -> None:
    path, shards = shards_of(tmp_path)
    content = bytearray(shards[3].read_bytes())
    content[-1] ^= 1
    shards[3].write_bytes(content)
    with pytest.raises(BankError, match=rf"{shards[3].name} of the bank made-tiny.safetensors was altered"):
        FeatureBank.load(path, mapped=True)


def test_a_shard_of_another_bank_is_named(tmp_path) -> None:
    path, shards = shards_of(tmp_path)
    arrays = load_file(shards[1])
    save_file({**arrays, "features": arrays["features"][:-1]}, shards[1])
    with pytest.raises(BankError, match=rf"{shards[1].name} has features of shape \(5, 3\), .* \(6, 3\)"):
        FeatureBank.load(path, mapped=True)
    save_file({"features": arrays["features"]}, shards[1])
    with pytest.raises(BankError, match=rf"{shards[1].name} cannot be read \('views'\)"):
        FeatureBank.load(path, mapped=True)
    save_file({**arrays, "features": arrays["features"].astype(np.float32)}, shards[1])
    with pytest.raises(BankError, match=rf"{shards[1].name} cannot be read \(features has dtype F32"):
        FeatureBank.load(path, mapped=True)


def test_shards_that_changed_places_are_noticed(tmp_path) -> None:
    path, shards = shards_of(tmp_path)
    one, other = shards[0].read_bytes(), shards[1].read_bytes()
    shards[0].write_bytes(other)
    shards[1].write_bytes(one)
    with pytest.raises(BankError, match=shards[0].name):
        FeatureBank.load(path, mapped=True)


def test_nan_on_disk_is_found(tmp_path) -> None:
    """In blocks; checksums are right, because the bank was written with it."""
    values = FEATURES.copy()
    values[[7, 19], 1] = np.nan
    path = tmp_path / "made-tiny.safetensors"
    blocks = [values[:10], values[10:]]
    with pytest.raises(BankError, match="features is NaN or infinite in 2 of 23 rows, first row 7"):
        write_blocks(path, blocks, LABELS, SPLIT, ["a", "b"], META)
    assert not path.exists()


def test_blocks_make_the_bank_that_arrays_make(tmp_path) -> None:
    path, train = tmp_path / "made-tiny.safetensors", np.cumsum(SPLIT == 0)
    edges, pairs = [0, 9, 10, 11, N], []  # one block is a single test sample, which has no views
    for a, b in pairwise(edges):
        first = 0 if a == 0 else train[a - 1]
        pairs.append((FEATURES[a:b], VIEWS[:, first : train[b - 1]].swapaxes(0, 1)))
    bank = write_blocks(path, pairs, LABELS, SPLIT, ["a", "b"], META)
    assert SPLIT[11] == 2
    assert bank.checksum == made(views=VIEWS).checksum
    again = FeatureBank.load(path, mapped=True)
    assert again.checksum == bank.checksum
    np.testing.assert_array_equal(np.asarray(again.views), VIEWS)
    with pytest.raises(BankError, match="blocks is empty"):
        write_blocks(path, [], LABELS, SPLIT, ["a", "b"], META)


def test_a_bank_that_stands_outlives_a_failed_one(tmp_path) -> None:
    path, _ = shards_of(tmp_path)
    with pytest.raises(BankError):
        write_blocks(path, [FEATURES], LABELS[:-1], SPLIT, ["a", "b"], META)
    assert FeatureBank.load(path, mapped=True).checksum == made(views=VIEWS).checksum
    made().save(path, shard_rows=N)
    assert len(list(shard_folder(path).iterdir())) == 1, "shards of the bank before are gone"
    assert FeatureBank.load(path).checksum == made().checksum
    with pytest.raises(BankError, match="shard_rows=0"):
        made().save(path, shard_rows=0)


def test_a_damaged_index_is_noticed(tmp_path) -> None:
    path, _ = shards_of(tmp_path)
    whole = path.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    begin = whole.index(b"shards")
    assert "noisylib" in header["__metadata__"]
    for position in (*range(begin, begin + 60), len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(BankError):
            FeatureBank.load(path, mapped=True)
