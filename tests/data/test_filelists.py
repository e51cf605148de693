"""Clothing1M and WebVision from their list files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from noisylib.data import load_images
from noisylib.errors import MissingDataError, NoisylibError


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, value, value)).save(path)


@pytest.fixture
def clothing(tmp_path):
    """Four web-labelled images (one of them verified as well), two for val and two for test."""
    keys = [f"images/{i}/00/{i},1.jpg" for i in range(8)]
    for i, key in enumerate(keys):
        picture(tmp_path / key, i)
    write = {
        "noisy_train_key_list.txt": keys[:4],
        "clean_val_key_list.txt": keys[4:6],
        "clean_test_key_list.txt": keys[6:],
        "noisy_label_kv.txt": [f"{key} {i + 1}" for i, key in enumerate(keys[:5])],
        "clean_label_kv.txt": [f"{key} {i}" for i, key in enumerate(keys) if i >= 3],
    }
    for name, lines in write.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


def test_clothing1m(clothing):
    images = load_images("clothing1m", clothing)
    assert images.split.tolist() == [0] * 4 + [1] * 2 + [2] * 2
    assert images.labels.tolist() == [1, 2, 3, 4, 4, 5, 6, 7]
    assert images.human_labels["web"].tolist() == [1, 2, 3, 4, 5, -1, -1, -1]
    assert images.human_labels["verified"].tolist() == [-1, -1, -1, 3, 4, 5, 6, 7]
    assert np.asarray(images.image(6)).mean() == pytest.approx(6, abs=1)


def test_clothing1m_lists_in_annotations_folder(clothing):
    (clothing / "annotations").mkdir()
    for path in clothing.glob("*.txt"):
        path.rename(clothing / "annotations" / path.name)
    assert len(load_images("clothing1m", clothing)) == 8


def test_clothing1m_never_trains_on_a_held_out_image(clothing):
    with (clothing / "noisy_train_key_list.txt").open("a") as file:
        file.write("images/4/00/4,1.jpg\n")
    images = load_images("clothing1m", clothing)
    assert len(set(images.keys)) == len(images) == 8
    assert (images.split == 0).sum() == 4


def test_clothing1m_absent_list_label_and_image(clothing):
    (clothing / "images/0/00/0,1.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"image images/0/00/0,1.jpg not found"):
        load_images("clothing1m", clothing)
    (clothing / "noisy_label_kv.txt").write_text("images/0/00/0,1.jpg 3\n")
    with pytest.raises(NoisylibError, match=r"no label for 'images/1/00/1,1.jpg'"):
        load_images("clothing1m", clothing)
    (clothing / "clean_label_kv.txt").unlink()
    with pytest.raises(MissingDataError, match=r"clean_label_kv.txt not found.*Cysu/noisy_label"):
        load_images("clothing1m", clothing)


@pytest.mark.parametrize("line", ["images/0.jpg 14", "images/0.jpg x", "images/0.jpg"])
def test_bad_line_is_named(clothing, line):
    (clothing / "noisy_label_kv.txt").write_text(f"images/9.jpg 1\n\n{line}\n")
    with pytest.raises(NoisylibError, match=r"noisy_label_kv.txt, line 3: .* a label in 0\.\.13"):
        load_images("clothing1m", clothing)


def test_webvision_keeps_the_first_fifty_classes(tmp_path):
    (tmp_path / "info").mkdir()
    train = [("google/q0001/a b.jpg", 0), ("google/q0002/c.jpg", 49), ("google/q0003/d.jpg", 50)]
    test = [("val000001.jpg", 999), ("val000002.jpg", 49)]
    for name, rows in (("train_filelist_google", train), ("val_filelist", test)):
        (tmp_path / "info" / f"{name}.txt").write_text("".join(f"{key} {label}\n" for key, label in rows))
    for i, key in enumerate(("google/q0001/a b.jpg", "google/q0002/c.jpg", "val_images_256/val000002.jpg")):
        picture(tmp_path / key, 10 * i)
    images = load_images("webvision", tmp_path)
    assert images.labels.tolist() == [0, 49, 49]
    assert images.split.tolist() == [0, 0, 2]
    assert images.human_labels["web"].tolist() == [0, 49, -1]
    assert images.info.classes[49] == "African crocodile"
    assert np.asarray(images.image(2)).mean() == pytest.approx(20, abs=1)
    (tmp_path / "info" / "val_filelist.txt").unlink()
    with pytest.raises(MissingDataError, match=r"info/val_filelist.txt not found"):
        load_images("webvision", tmp_path)
