"""MedMNIST files: official splits, MD5, several sizes, nothing unpickled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from medmnist.info import INFO

from noisylib.data import dataset_info, load_images, split_counts
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest

LENGTHS = {"train": 6, "val": 2, "test": 4}


def write(folder, name, monkeypatch, size=28, colour=False):
    """Write a miniature file of the official layout, whose MD5 the table then lists."""
    flag = "" if size == 28 else f"_{size}"
    path = folder / f"{name}{flag}.npz"
    draw = np.random.default_rng(size)
    shape = (size, size, 3) if colour else (size, size)
    arrays = {}
    for split, n in LENGTHS.items():
        arrays[f"{split}_images"] = draw.integers(0, 256, (n, *shape), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    np.savez(path, **arrays)
    monkeypatch.setitem(INFO[name], f"MD5{flag}", file_digest(path, "md5"))
    return arrays


@pytest.mark.parametrize(("name", "colour"), [("breastmnist", False), ("bloodmnist", True)])
def test_official_splits_labels_and_pixels(tmp_path, monkeypatch, name, colour):
    arrays = write(tmp_path, name, monkeypatch, colour=colour)
    images = load_images(name, tmp_path)
    assert len(images) == 12
    assert images.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert images.split.tolist() == [0] * 6 + [1] * 2 + [2] * 4
    assert images.keys[5:9] == ("train/5", "val/0", "val/1", "test/0")
    assert images.groups is None
    for i, split, j in ((0, "train", 0), (6, "val", 0), (7, "val", 1), (8, "test", 0), (5, "train", 5)):
        picture = images.image(i)
        assert picture.mode == "RGB"
        stored = arrays[f"{split}_images"][j]
        expected = stored if colour else np.repeat(stored[:, :, None], 3, 2)
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_largest_file_unless_a_size_is_asked_for(tmp_path, monkeypatch):
    write(tmp_path, "breastmnist", monkeypatch)
    write(tmp_path, "breastmnist", monkeypatch, size=64)
    assert load_images("breastmnist", tmp_path).image(0).size == (64, 64)
    assert load_images("breastmnist", tmp_path, size=28).image(0).size == (28, 28)
    with pytest.raises(MissingDataError, match=r"breastmnist_224\.npz"):
        load_images("breastmnist", tmp_path, size=224)
    with pytest.raises(NoisylibError, match=r"size=32 is not a MedMNIST size. Allowed: 28, 64, 128, 224"):
        load_images("breastmnist", tmp_path, size=32)


def test_images_survive_pickling_to_a_worker(tmp_path, monkeypatch):
    write(tmp_path, "breastmnist", monkeypatch)
    images = load_images("breastmnist", tmp_path)
    images.image(0)
    copy = pickle.loads(pickle.dumps(images.open))
    assert len(pickle.dumps(images.open)) < 1000  # the pixels stay behind
    np.testing.assert_array_equal(np.asarray(copy(9)), np.asarray(images.open(9)))


def test_wrong_md5_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "breastmnist", monkeypatch)
    monkeypatch.setitem(INFO["breastmnist"], "MD5", "0" * 32)
    with pytest.raises(
        NoisylibError, match=r"is not the official file: its MD5 is .*must be 0000.*Delete it"
    ):
        load_images("breastmnist", tmp_path)


def test_pickled_arrays_are_never_opened(tmp_path, monkeypatch):
    path = tmp_path / "breastmnist.npz"
    np.savez(path, train_labels=np.array([print], dtype=object))
    monkeypatch.setitem(INFO["breastmnist"], "MD5", file_digest(path, "md5"))
    with pytest.raises(ValueError, match=r"allow_pickle=False"):
        load_images("breastmnist", tmp_path)


def test_absent_file_says_where_from_and_where_to(tmp_path):
    with pytest.raises(MissingDataError) as error:
        load_images("pathmnist", tmp_path)
    for text in ("pathmnist.npz", "zenodo.org/records/10519652", str(tmp_path), "download=True", "CC BY 4.0"):
        assert text in str(error.value)


def test_download_goes_through_medmnist_and_checks_the_md5(tmp_path, monkeypatch):
    import medmnist

    calls = []

    class Fake:
        def __init__(self, split, root, download, size):
            calls.append((root, download, size))
            write(tmp_path / "new", "breastmnist", monkeypatch)

    monkeypatch.setattr(medmnist, "BreastMNIST", Fake)
    images = load_images("breastmnist", tmp_path / "new", download=True)
    assert calls == [(str(tmp_path / "new"), True, 28)]
    assert len(images) == 12
    load_images("breastmnist", tmp_path / "new", download=True)
    assert len(calls) == 1  # a local file is used before any network


def test_failed_download_is_a_missing_data_error(tmp_path, monkeypatch):
    import medmnist

    def fail(**options):
        raise RuntimeError("no network")

    monkeypatch.setattr(medmnist, "BreastMNIST", fail)
    with pytest.raises(MissingDataError, match=r"breastmnist.npz \(its download failed\) not found"):
        load_images("breastmnist", tmp_path, download=True)


@pytest.mark.parametrize("name", ["breastmnist", "retinamnist", "pneumoniamnist"])
def test_real_files(shared_data, name):
    images, info = load_images(name, shared_data / "medmnist"), dataset_info(name)
    counts = split_counts(images.labels, images.split, info.n_classes)
    assert dict(zip(("train", "val", "test"), counts.sum(1).tolist(), strict=True)) == info.counts
    assert tuple(counts.sum(0).tolist()) == info.class_counts
    assert images.image(len(images) - 1).size == (28, 28)
