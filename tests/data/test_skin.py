"""HAM10000 and ISIC 2019 in their official layouts, split by lesion."""

from __future__ import annotations

import csv
import logging
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from noisylib.data import dataset_info, holdout_split, load_images, split_counts
from noisylib.data.skin import read_ham_labels, read_isic_labels
from noisylib.errors import MissingDataError, NoisylibError

HAM_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def write_csv(path, columns, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value, value, value)).save(path)


@pytest.fixture
def ham(tmp_path):
    """Six lesions of two images for each diagnosis, listed in no order, in the two official parts."""
    tmp_path = tmp_path / "ham10000"
    rows = []
    for i in range(7 * 12):
        dx = dataset_info("ham10000").classes[i // 12]
        rows.append((f"HAM_{i // 2:07d}", f"ISIC_{i:07d}", dx, "histo", "80.0", "male", "scalp"))
        picture(tmp_path / f"HAM10000_images_part_{1 + i % 2}" / f"ISIC_{i:07d}.jpg", i)
    write_csv(tmp_path / "HAM10000_metadata.csv", HAM_COLUMNS, rows[::-1])
    return tmp_path


def test_ham_lesions_are_whole_and_classes_stratified(ham):
    images = load_images("ham10000", ham)
    assert images.keys == tuple(f"ISIC_{i:07d}" for i in range(84))
    assert images.labels.tolist() == [i // 12 for i in range(84)]
    assert images.groups.tolist() == [i // 2 for i in range(84)]
    assert not set(images.groups[images.split == 0]) & set(images.groups[images.split == 2])
    assert split_counts(images.labels, images.split, 7).tolist() == [[10] * 7, [0] * 7, [2] * 7]
    assert np.asarray(images.image(40)).mean() == pytest.approx(40, abs=2)


def test_ham_one_images_folder_and_parent_folder_give_the_same_set(ham):
    first = load_images("ham10000", ham)
    for part in (1, 2):
        for path in (ham / f"HAM10000_images_part_{part}").iterdir():
            (ham / "images").mkdir(exist_ok=True)
            path.rename(ham / "images" / path.name)
    second = load_images("ham10000", ham.parent)
    assert first.keys == second.keys
    np.testing.assert_array_equal(first.split, second.split)
    assert second.image(83).size == (8, 6)
    shutil.copytree(ham, ham.parent / "other")
    with pytest.raises(NoisylibError, match=r"found in several folders.*ham10000, other"):
        load_images("ham10000", ham.parent)


def test_ham_partial_copy_is_logged(ham, caplog):
    with caplog.at_level(logging.WARNING, "noisylib"):
        load_images("ham10000", ham)
    assert "class counts (12, 12, 12, 12, 12, 12, 12), official (327," in caplog.text


def test_ham_absent_images_and_metadata(ham, tmp_path_factory):
    (ham / "HAM10000_images_part_2" / "ISIC_0000001.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"1 of 84 images \(the first is ISIC_0000001.jpg\).*DBW86T"):
        load_images("ham10000", ham)
    with pytest.raises(MissingDataError, match=r"HAM10000_metadata.csv not found.*CC BY-NC 4.0"):
        load_images("ham10000", tmp_path_factory.mktemp("empty"))
    with pytest.raises(MissingDataError, match=r"not found under root='/no/such/folder'"):
        load_images("ham10000", "/no/such/folder")


def test_ham_unknown_diagnosis_and_missing_column(ham):
    path = ham / "HAM10000_metadata.csv"
    path.write_text(path.read_text().replace(",df,", ",wart,", 1))
    with pytest.raises(NoisylibError, match=r"dx='wart' is unknown. Allowed: akiec, bcc"):
        load_images("ham10000", ham)
    path.write_text(path.read_text().replace("lesion_id", "lesion", 1))
    with pytest.raises(NoisylibError, match=r"has no column 'lesion_id'"):
        load_images("ham10000", ham)


def test_unreadable_image_is_named(ham):
    path = ham / "HAM10000_images_part_1" / "ISIC_0000002.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(NoisylibError, match=r"cannot read image .*ISIC_0000002.jpg.*Fetch this file again"):
        load_images("ham10000", ham).image(2)


ISIC_COLUMNS = ("image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


@pytest.fixture
def isic(tmp_path):
    """Ten images of each of eight classes and one UNK; the first four images are one lesion."""
    rows, lesions = [], []
    for i in range(81):
        name = f"ISIC_{i:07d}" + ("_downsampled" if i % 2 else "")
        rows.append((name, *(str(float(i // 10 == c)) for c in range(9))))
        lesions.append((name, "55", "anterior torso", "BCN_1" if i < 4 else "", "male"))
        picture(tmp_path / "ISIC_2019_Training_Input" / f"{name}.jpg", i)
    write_csv(tmp_path / "ISIC_2019_Training_GroundTruth.csv", ISIC_COLUMNS, rows)
    columns = ("image", "age_approx", "anatom_site_general", "lesion_id", "sex")
    write_csv(tmp_path / "ISIC_2019_Training_Metadata.csv", columns, lesions)
    return tmp_path


def test_isic_drops_unk_and_groups_known_lesions(isic):
    images = load_images("isic2019", isic)
    assert len(images) == 80
    assert images.labels.tolist() == [i // 10 for i in range(80)]
    assert len(set(images.groups[:4])) == 1
    assert len(set(images.groups.tolist())) == 77
    assert len(set(images.split[:4])) == 1
    assert split_counts(images.labels, images.split, 8)[2].tolist() == [2] * 8
    assert np.asarray(images.image(33)).mean() == pytest.approx(33, abs=2)


def test_isic_without_metadata_takes_each_image_alone(isic):
    (isic / "ISIC_2019_Training_Metadata.csv").unlink()
    assert len(set(load_images("isic2019", isic).groups.tolist())) == 80


def test_isic_labels_without_images_is_an_error(isic):
    (isic / "ISIC_2019_Training_Input").rename(isic / "elsewhere")
    with pytest.raises(MissingDataError, match=r"80 of 80 images.*ISIC_2019_Training_Input"):
        load_images("isic2019", isic)


def test_isic_row_with_two_diagnoses_is_an_error(isic):
    path = isic / "ISIC_2019_Training_GroundTruth.csv"
    path.write_text(path.read_text().replace("ISIC_0000000,1.0,0.0", "ISIC_0000000,1.0,1.0"))
    with pytest.raises(NoisylibError, match=r"image ISIC_0000000 must have exactly one 1.0"):
        load_images("isic2019", isic)


def test_real_isic_ground_truth(shared_data):
    info = dataset_info("isic2019")
    keys, labels = read_isic_labels(info, shared_data / "isic2019" / "ISIC_2019_Training_GroundTruth.csv")
    assert len(keys) == len(set(keys)) == 25_331
    assert tuple(np.bincount(labels).tolist()) == info.class_counts


def test_real_ham_metadata_and_split(shared_data, tmp_path):
    info = dataset_info("ham10000")
    with zipfile.ZipFile(shared_data / "ham10000_200x150.zip") as archive:
        path = archive.extract("ham10000/HAM10000_metadata.csv", tmp_path)
        names = {name.rpartition("/")[2] for name in archive.namelist() if name.endswith(".jpg")}
    keys, labels, lesions = read_ham_labels(info, tmp_path / path)
    assert {f"{key}.jpg" for key in keys} == names
    assert tuple(np.bincount(labels).tolist()) == info.class_counts
    assert len(set(lesions)) == 7470
    split = holdout_split("ham10000", labels, lesions)
    assert not {les for les, s in zip(lesions, split, strict=True) if s} & {
        les for les, s in zip(lesions, split, strict=True) if not s
    }
    # 20 % of 327, 514, 1099, 115, 1113, 6705, 142 to the nearest image: lesions of one image fill the gaps.
    assert split_counts(labels, split, 7)[2].tolist() == [65, 103, 220, 23, 223, 1341, 28]
