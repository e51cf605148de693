"""FeatureBank: what it accepts, what it refuses, and that its file tells on every change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from noisylib.errors import BankError, MissingDataError, UnknownNameError, WriteError
from noisylib.features import BankMeta, FeatureBank, list_banks, load_bank

META = BankMeta(
    dataset="made",
    backbone="tiny",
    preprocessing={"mean": [0.5, 0.5, 0.5]},
    licence="CC BY 4.0",
    citation="made2026",
    command="noisylib features extract made",
)


def arrays(**changes):
    """Eight samples, two features, two classes, each class in each of train and test."""
    fields = {
        "features": np.arange(16, dtype=np.float16).reshape(8, 2),
        "labels": np.array([0, 1, 0, 1, 0, 1, 0, 1]),
        "split": np.array([0, 0, 0, 0, 1, 1, 2, 2], dtype=np.uint8),
        "groups": np.array([7, 7, 8, 9, 10, 11, 12, 13]),
        "class_names": ("healthy", "ill"),
        "meta": META,
    }
    return {**fields, **changes}


# Three versions of the four training samples.
VIEWS = np.arange(24, dtype=np.float16).reshape(3, 4, 2)
# The mean of three original features, and the two directions they were projected on.
PROJECTION = np.arange(9, dtype=np.float16).reshape(3, 3)
OPTIONS = [{}, {"views": VIEWS}, {"projection": PROJECTION}, {"views": VIEWS, "projection": PROJECTION}]


@pytest.fixture
def bank() -> FeatureBank:
    return FeatureBank(**arrays())


@pytest.fixture
def viewed() -> FeatureBank:
    return FeatureBank(**arrays(views=VIEWS))


def test_parts_are_float32_rows_of_their_split(bank):
    X, y = bank.part("val")
    assert X.dtype == np.float32
    assert X.tolist() == [[8.0, 9.0], [10.0, 11.0]]
    assert y.tolist() == [0, 1]
    assert bank.indices("test").tolist() == [6, 7]
    assert (bank.n_samples, bank.n_features, bank.n_classes) == (8, 2, 2)


def test_parts_do_not_share_memory_with_the_bank(bank):
    X, y = bank.part("train")
    X[:] = -1
    y[:] = -1
    assert bank.features.min() == 0
    assert bank.labels.min() == 0


def test_views_are_a_fresh_float32_array_or_none(bank, viewed):
    views = viewed.training_views()
    assert views.dtype == np.float32
    assert views.tolist() == VIEWS.tolist()
    views[:] = -1
    assert viewed.views.min() == 0
    assert bank.training_views() is None


@pytest.mark.parametrize("options", OPTIONS)
def test_round_trip_keeps_every_bit(tmp_path, options):
    bank = FeatureBank(**arrays(**options))
    path = tmp_path / "made-tiny.safetensors"
    bank.save(path)
    again = FeatureBank.load(path)
    for name, array in bank.arrays().items():
        assert again.arrays()[name].dtype == array.dtype
        assert again.arrays()[name].tobytes() == array.tobytes()
    assert list(again.arrays()) == list(bank.arrays())
    assert again.class_names == bank.class_names
    assert again.meta == bank.meta
    assert again.checksum == bank.checksum


def test_bank_without_groups_round_trips(tmp_path):
    FeatureBank(**arrays(groups=None)).save(tmp_path / "a.safetensors")
    assert FeatureBank.load(tmp_path / "a.safetensors").groups is None


def test_equal_banks_are_equal_files(bank, tmp_path):
    bank.save(tmp_path / "a.safetensors")
    FeatureBank(**arrays()).save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"meta": dataclasses.replace(META, notes="other words")}, True),
        ({"meta": dataclasses.replace(META, dataset="other")}, False),
        ({"meta": dataclasses.replace(META, backbone="other")}, False),
        ({"class_names": ("ill", "healthy")}, False),
        ({"labels": np.array([1, 0, 0, 1, 0, 1, 0, 1])}, False),
        ({"split": np.array([0, 0, 0, 0, 1, 0, 2, 2], dtype=np.uint8)}, False),
        ({"groups": None}, False),
        ({"views": None}, True),
        ({"views": VIEWS}, False),
        ({"projection": None}, True),
        ({"projection": PROJECTION}, False),
    ],
)
def test_checksum_follows_the_content_not_the_notes(bank, changes, same):
    assert (FeatureBank(**arrays(**changes)).checksum == bank.checksum) is same


def test_checksum_follows_the_views(viewed):
    assert FeatureBank(**arrays(views=VIEWS.copy())).checksum == viewed.checksum
    assert FeatureBank(**arrays(views=VIEWS[::-1].copy())).checksum != viewed.checksum
    assert FeatureBank(**arrays(views=VIEWS[:2])).checksum != viewed.checksum


def test_checksum_follows_the_projection():
    projected = FeatureBank(**arrays(projection=PROJECTION))
    assert FeatureBank(**arrays(projection=PROJECTION.copy())).checksum == projected.checksum
    assert FeatureBank(**arrays(projection=PROJECTION[::-1].copy())).checksum != projected.checksum
    wider = np.hstack([PROJECTION, PROJECTION[:, :1]])
    assert FeatureBank(**arrays(projection=wider)).checksum != projected.checksum


def test_from_arrays_casts_what_fits():
    bank = FeatureBank.from_arrays(
        features=np.linspace(0, 1, 8).reshape(4, 2),
        labels=np.array([0, 1, 0, 1], dtype=np.int32),
        split=np.array([0, 0, 2, 2]),
        class_names=["a", "b"],
        meta=META,
        views=VIEWS[:, :2].astype(np.float64),
        projection=PROJECTION.astype(np.float64),
    )
    assert bank.features.dtype == bank.views.dtype == bank.projection.dtype == np.float16
    assert bank.projection.tolist() == PROJECTION.tolist()
    assert bank.views.tolist() == VIEWS[:, :2].tolist()
    assert bank.features[3, 1] == np.float16(1)
    assert bank.split.dtype == np.uint8


def with_value(name, position, value, **kwargs):
    array = arrays()[name].copy()
    array[position] = value
    return {name: array, **kwargs}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_value("features", (5, 1), np.nan), r"NaN or infinite in 1 of 8 rows, first row 5"),
        (with_value("features", (0, 0), np.inf), r"NaN or infinite in 1 of 8 rows, first row 0"),
        (with_value("labels", 3, 2), r"labels holds 2; K=2 classes allow 0 to 1"),
        (with_value("labels", 3, -1), r"labels holds -1"),
        (with_value("split", 3, 3), r"split holds 3; allowed are 0 \(train\), 1 \(val\) and 2 \(test\)"),
        (with_value("labels", 7, 0), r"class 'ill' has no sample in the test split"),
        ({"labels": np.array([1, 1, 1, 1, 0, 1, 0, 1])}, r"class 'healthy' has no sample in the train split"),
        ({"labels": np.zeros(8, int), "class_names": ("one",)}, r"K=1 .* at least 2 classes"),
        ({"class_names": ("a", "a")}, r"its own, non-empty name"),
        ({"labels": np.array([0, 1])}, r"labels has shape \(2,\); features has N=8 rows"),
        ({"groups": np.array([0, 1])}, r"groups has shape \(2,\)"),
        ({"features": np.zeros(8, np.float16)}, r"must be \(N, D\)"),
        ({"features": np.zeros((0, 2), np.float16)}, r"N, D >= 1"),
        ({"features": np.zeros((8, 2), np.float32)}, r"features has dtype float32; a bank holds float16"),
        ({"labels": np.zeros(8, np.int32)}, r"labels has dtype int32; a bank holds int64"),
        ({"features": [[1.0]]}, r"features has dtype list"),
        ({"meta": dataclasses.replace(META, dataset="a-b")}, r"dataset='a-b'"),
        ({"views": VIEWS[:1]}, r"views has shape \(1, 4, 2\); it must be \(V, 4, 2\): V >= 2"),
        ({"views": VIEWS[:, :3]}, r"views has shape \(3, 3, 2\).* each of the 4 training samples"),
        ({"views": VIEWS[..., :1]}, r"views has shape \(3, 4, 1\).* D=2 wide"),
        ({"views": VIEWS[0]}, r"views has shape \(4, 2\)"),
        ({"views": VIEWS[0, 0, :1].reshape(())}, r"views has shape \(\)"),
        ({"views": VIEWS.astype(np.float32)}, r"views has dtype float32; a bank holds float16"),
        ({"views": VIEWS.tolist()}, r"views has dtype list"),
        ({"views": np.where(VIEWS == 13, np.nan, VIEWS)}, r"views\[1\] is NaN .* 1 of 4 rows, first row 2"),
        (
            {"views": np.where(VIEWS < 4, np.float16(np.inf), VIEWS)},
            r"views\[0\] .* 2 of 4 rows, first row 0",
        ),
        ({"views": VIEWS, "split": np.repeat([1, 2], 4).astype(np.uint8)}, r"train split is empty"),
        ({"projection": PROJECTION[:2]}, r"projection has shape \(2, 3\); it must be \(3, D0\) with D0 >= 2"),
        ({"projection": PROJECTION[:, :1]}, r"projection has shape \(3, 1\)"),
        ({"projection": PROJECTION[0]}, r"projection has shape \(3,\)"),
        ({"projection": PROJECTION.astype(np.float32)}, r"projection has dtype float32; .* float16"),
        ({"projection": np.where(PROJECTION == 4, np.float16(np.inf), PROJECTION)}, r"projection holds NaN"),
    ],
)
def test_bad_content_is_refused(changes, words):
    with pytest.raises(BankError, match=words):
        FeatureBank(**arrays(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.full((8, 2), 7e4)}, r"holds 70000; float16 ends at 65504"),
        ({"features": np.full((8, 2), np.nan)}, r"NaN or infinite in 8 of 8"),
        ({"features": np.array([["a"]])}, r"features has dtype <U1"),
        ({"labels": np.full(8, 0.5)}, r"labels has dtype float64; give integers"),
        ({"split": np.full(8, 256)}, r"split holds values from 256 to 256, beyond uint8"),
        ({"views": np.full((2, 4, 2), -7e4)}, r"views holds 70000; float16 ends at 65504"),
        ({"views": np.full((2, 4, 2), "a")}, r"views has dtype <U1; give real numbers"),
        ({"projection": np.full((3, 3), 7e4)}, r"projection holds 70000; float16 ends at 65504"),
    ],
)
def test_from_arrays_refuses_what_a_cast_would_change(changes, words):
    with pytest.raises(BankError, match=words):
        FeatureBank.from_arrays(**arrays(**changes))


def test_a_split_may_be_empty_but_not_unknown():
    bank = FeatureBank(**arrays(split=np.zeros(8, np.uint8)))
    assert bank.part("test")[0].shape == (0, 2)
    with pytest.raises(UnknownNameError, match="Did you mean 'test'"):
        bank.part("tests")


@pytest.mark.parametrize("options", OPTIONS)
def test_every_damaged_byte_is_noticed(tmp_path, options):
    path = tmp_path / "made-tiny.safetensors"
    FeatureBank(**arrays(**options)).save(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(BankError, match=r"made-tiny.safetensors.*features extract"):
            FeatureBank.load(path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1, None])
def test_truncated_or_extended_file_is_refused(bank, tmp_path, kept):
    path = tmp_path / "made-tiny.safetensors"
    bank.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" if kept is None else whole[:kept])
    with pytest.raises(BankError, match="not a readable feature bank"):
        FeatureBank.load(path)


def test_files_that_are_no_bank_are_refused(tmp_path):
    path = tmp_path / "a-b.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(BankError, match="not a readable feature bank"):
        FeatureBank.load(path)
    path.write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(BankError, match="not a readable feature bank"):
        FeatureBank.load(path)


def rewrite(path, tensors, **changes):
    """Write a bank file by hand with valid checksums, so that only the rules can object."""
    meta = json.dumps(dataclasses.asdict(META), sort_keys=True)
    shapes = {name: [str(array.dtype), *array.shape] for name, array in tensors.items()}
    digest = hashlib.sha256(json.dumps(["made", "tiny", ["healthy", "ill"], shapes]).encode())
    for array in tensors.values():
        digest.update(array.tobytes())
    header = {
        "format": "noisylib-bank-1",
        "class_names": ["healthy", "ill"],
        "meta": meta,
        "meta_checksum": hashlib.sha256(meta.encode()).hexdigest(),
        "checksum": digest.hexdigest(),
        **changes,
    }
    save_file(tensors, path, metadata={"noisylib": json.dumps(header)})


def test_rules_hold_for_a_file_with_valid_checksum(tmp_path):
    path = tmp_path / "made-tiny.safetensors"
    tensors = {name: arrays()[name] for name in ("features", "labels", "split")}
    rewrite(path, tensors)
    assert FeatureBank.load(path).n_samples == 8
    rewrite(path, {**tensors, "features": np.full((8, 2), np.nan, np.float16)})
    with pytest.raises(BankError, match=r"made-tiny.*NaN or infinite in 8 of 8"):
        FeatureBank.load(path)
    rewrite(path, {**tensors, "extra": np.zeros(1)})
    with pytest.raises(BankError, match="extra"):
        FeatureBank.load(path)
    rewrite(path, tensors, checksum="0" * 64)
    with pytest.raises(BankError, match="altered or damaged"):
        FeatureBank.load(path)
    rewrite(path, tensors, format="noisylib-bank-9")
    with pytest.raises(BankError, match="reads 'noisylib-bank-1', 'noisylib-bank-2', 'noisylib-bank-3'"):
        FeatureBank.load(path)


# Which optional arrays each format holds; the third may hold views as well.
FORMATS = [(1, {}), (2, {"views": VIEWS}), (3, {"projection": PROJECTION}), (3, OPTIONS[-1])]


@pytest.mark.parametrize(("number", "options"), FORMATS)
def test_each_format_is_written_and_read_with_its_own_arrays_only(tmp_path, number, options):
    path = tmp_path / "made-tiny.safetensors"
    tensors = {name: arrays()[name] for name in ("features", "labels", "split", "groups")} | options
    bank = FeatureBank(**arrays(**options))
    bank.save(path)
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["noisylib"])["format"] == f"noisylib-bank-{number}"
        assert set(file.keys()) == set(tensors)
    for other in {1, 2, 3} - {number}:
        rewrite(path, tensors, format=f"noisylib-bank-{other}")
        names = re.escape(str(sorted(tensors)))
        with pytest.raises(BankError, match=rf"'noisylib-bank-{other}' with arrays {names}"):
            FeatureBank.load(path)
    rewrite(path, tensors, format=f"noisylib-bank-{number}")
    assert FeatureBank.load(path).checksum == bank.checksum


def test_failed_save_leaves_the_old_file(bank, tmp_path, monkeypatch):
    path = tmp_path / "made-tiny.safetensors"
    bank.save(path)
    before = path.read_bytes()

    def full_disk(tensors, filename, metadata):
        filename.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("noisylib.features.bank_file.save_file", full_disk)
    with pytest.raises(WriteError, match=r"cannot write .*No space left"):
        bank.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_banks_are_found_by_name(bank, tmp_path, monkeypatch):
    bank.save(tmp_path / "made-tiny.safetensors")
    (tmp_path / "README.md").write_text("card")
    (tmp_path / "nodash.safetensors").write_text("")
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path))
    assert list_banks() == [("made", "tiny", tmp_path / "made-tiny.safetensors")]
    assert load_bank("made", "tiny").checksum == bank.checksum
    assert list_banks(tmp_path / "absent") == []
    with pytest.raises(MissingDataError, match="no feature bank at"):
        FeatureBank.load(tmp_path / "absent.safetensors")
