"""Class-per-folder trees: PBC with its duplicates, and a user's own."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from noisylib.data import dataset_info, load_folder, load_images, split_counts
from noisylib.data.folders import distinct
from noisylib.errors import MissingDataError

CLASSES = dataset_info("pbc").classes


def jpeg(value):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value % 256, value // 256, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pbc(tmp_path):
    """Ten different pictures per class, as in the unpacked archive."""
    for c, label in enumerate(CLASSES):
        folder = tmp_path / "PBC_dataset_normal_DIB" / label
        folder.mkdir(parents=True)
        for i in range(10):
            (folder / f"{label[:2].upper()}_{i}.jpg").write_bytes(jpeg(10 * c + i))
    return tmp_path


def test_pbc_tree(pbc):
    images = load_images("pbc", pbc)
    assert images.keys[:2] == ("basophil/BA_0.jpg", "basophil/BA_1.jpg")
    assert images.labels.tolist() == [i // 10 for i in range(80)]
    assert split_counts(images.labels, images.split, 8).tolist() == [[8] * 8, [0] * 8, [2] * 8]
    assert np.asarray(images.image(37))[0, 0].tolist() == [37, 0, 0]
    inner = load_images("pbc", pbc / "PBC_dataset_normal_DIB")
    np.testing.assert_array_equal(images.split, inner.split)


def test_duplicates_are_dropped_before_the_split(pbc):
    tree = pbc / "PBC_dataset_normal_DIB"
    (tree / "ig" / "copy.jpg").write_bytes(jpeg(30))  # the same picture as ig/IG_0.jpg
    (tree / "ig" / "IG_1.jpg").write_bytes(jpeg(0))  # the same as basophil/BA_0.jpg: labels differ
    images = load_images("pbc", pbc)
    assert len(images) == 78
    assert "ig/IG_0.jpg" in images.keys
    assert not {"ig/copy.jpg", "ig/IG_1.jpg", "basophil/BA_0.jpg"} & set(images.keys)
    assert "3 duplicate files left out" in images.source


def test_absent_class_folder_and_empty_class_folder(pbc, tmp_path):
    for path in (pbc / "PBC_dataset_normal_DIB" / "ig").iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match=r"images of class 'ig' not found.*10.17632/snkd93bnjr"):
        load_images("pbc", pbc)
    (pbc / "PBC_dataset_normal_DIB" / "ig").rmdir()
    with pytest.raises(MissingDataError, match=r"the class folders not found.*basophil"):
        load_images("pbc", pbc)


def test_own_folder(tmp_path):
    for c, label in enumerate(("cats", "dogs", "notes")):
        (tmp_path / label).mkdir()
        for i in range(5 if label != "notes" else 0):
            (tmp_path / label / f"{i}.PNG").write_bytes(jpeg(5 * c + i))
    (tmp_path / "notes" / "readme.txt").write_text("no picture")
    images = load_folder(tmp_path, name="pets")
    assert images.info.classes == ("cats", "dogs")
    assert images.info.class_counts == (5, 5)
    assert split_counts(images.labels, images.split, 2).tolist() == [[4, 4], [0, 0], [1, 1]]
    with pytest.raises(MissingDataError, match=r"has 0 class folders with images, needs at least 2"):
        load_folder(tmp_path / "cats")


def test_real_duplicates(shared_data, tmp_path):
    """Of the two known conflicting files none is kept, of two known copies one."""
    names = [
        "eosinophil/EO_225902.jpg",
        "neutrophil/BNE_191112.jpg",
        "ig/PMY_187173.jpg",
        "ig/PMY_225787.jpg",
    ]
    with zipfile.ZipFile(shared_data / "pbc_112px.zip") as archive:
        for name in names:
            archive.extract(f"pbc/{name}", tmp_path)
        found = [name.split("/")[1] for name in archive.namelist() if name.endswith(".jpg")]
    labels = {name: CLASSES.index(name.split("/")[0]) for name in names}
    assert distinct(tmp_path / "pbc", labels) == ("ig/PMY_187173.jpg",)
    assert tuple(found.count(label) for label in CLASSES) == dataset_info("pbc").class_counts
