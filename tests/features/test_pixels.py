"""Pixels are the backbone's own, in memory and on demand; bad images and bad files are said, never used."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from _tiny_extraction import tiny_images
from PIL import Image
from safetensors.numpy import load_file, save_file

from noisylib.data import ImageSet, load_folder, load_images
from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.features import pixel_decoding
from noisylib.features.pixels import made_pixels, read_pixels
from noisylib.features.sized import sized_backbone, tiny_backbone

BACKBONE = tiny_backbone(size=8, width=12, depth=1)


@pytest.fixture
def tree(tmp_path):
    """Twelve JPEG files of 20 x 14 pixels, six in each of two classes."""
    for i in range(12):
        folder = tmp_path / "tree" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (14, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.jpg")
    return tmp_path / "tree"


def read_counted(images: ImageSet) -> tuple[ImageSet, list[int]]:
    """Return the set, and the list of rows that are opened from now on."""
    opened: list[int] = []

    def look(row):
        opened.append(row)
        return images.open(row)

    return replace(images, open=look), opened


def test_pixels_are_those_of_the_backbone():
    images = tiny_images(7)
    found = read_pixels(images, BACKBONE)
    for i in (0, 3, 6):
        assert torch.equal(found.take([i])[0], BACKBONE.pixels(images.image(i)))
    assert found.size == 8
    assert found.n_classes == 2
    assert found.keys == images.keys
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert found.split.tolist() == [0, 0, 0, 2, 2, 2, 2]
    assert found.index.tolist() == list(range(7))
    assert found.rows("train").tolist() == [0, 1, 2]
    assert found.rows("val").tolist() == []
    assert found.rows("test").tolist() == [3, 4, 5, 6]
    assert (found.licence, found.citation, found.skipped, found.sided) == ("CC0", "none", (), False)


def test_on_demand_equals_in_memory():
    kept, demanded = (read_pixels(tiny_images(9), BACKBONE, memory=memory) for memory in ("keep", "demand"))
    rows = torch.tensor([8, 0, 4, 4])
    assert torch.equal(kept.take(rows), demanded.take(rows))
    assert kept.checksum == demanded.checksum


def test_auto_keeps_what_fits(monkeypatch):
    from noisylib.features import pixels

    images, opened = read_counted(tiny_images(5))
    monkeypatch.setattr(pixels, "MEMORY_BYTES", 5 * 3 * 8 * 8)
    read_pixels(images, BACKBONE).take([0])
    assert len(opened) == 5
    monkeypatch.setattr(pixels, "MEMORY_BYTES", 5 * 3 * 8 * 8 - 1)
    read_pixels(images, BACKBONE).take([0])
    assert len(opened) == 5 + 5 + 1


def test_what_is_taken_can_be_changed():
    found = read_pixels(tiny_images(4), BACKBONE)
    before = found.take([0, 1])
    found.take([0, 1]).zero_()
    assert torch.equal(found.take([0, 1]), before)
    assert found.take(np.array([], np.int64)).shape == (0, 3, 8, 8)


def test_limit_takes_a_part_and_remembers_where_from():
    images = tiny_images(40)
    found = read_pixels(images, BACKBONE, limit={"train": 8, "test": 4})
    assert len(found) == 12
    assert np.bincount(found.labels[found.rows("train")]).tolist() == [4, 4]
    assert np.bincount(found.labels[found.rows("test")]).tolist() == [2, 2]
    assert found.keys == tuple(images.keys[i] for i in found.index)
    assert torch.equal(found.take([5])[0], BACKBONE.pixels(images.image(int(found.index[5]))))


def test_progress_counts_every_image(monkeypatch):
    monkeypatch.setattr(pixel_decoding, "BLOCK", 4)
    seen = []
    read_pixels(tiny_images(10), BACKBONE, progress=lambda done, of: seen.append((done, of)))
    # Five training images, then five test images, in blocks that do not mix them.
    assert seen == [(4, 10), (5, 10), (9, 10), (10, 10)]


def test_splits_are_never_read_side_by_side():
    """A MedMNIST file holds one split in memory: threads that ask for two would take each other's images."""
    images, opened = read_counted(tiny_images(40))
    order = np.random.default_rng(0).permutation(40)
    found = read_pixels(replace(images, split=images.split[order]), BACKBONE, memory="demand")
    for rows in (opened.copy(), None):
        if rows is None:
            opened.clear()
            found.take(np.arange(40))
            rows = opened
        assert len(rows) == 40
        assert (np.diff(images.split[order][rows].astype(int)) != 0).sum() == 1


def test_checksum_depends_on_everything():
    pixels = np.zeros((4, 3, 2, 2), np.uint8)
    labels, split = np.array([0, 1, 0, 1]), np.array([0, 0, 2, 2])
    other = pixels.copy()
    other[3, 2, 1, 1] = 1
    swapped = pixels.copy()
    swapped[0] = 1
    again = np.roll(swapped, 1, axis=0)  # the same images in another order
    made = [
        made_pixels(pixels, labels, split, "ab"),
        made_pixels(other, labels, split, "ab"),
        made_pixels(swapped, labels, split, "ab"),
        made_pixels(again, labels, split, "ab"),
        made_pixels(pixels, labels[::-1], split, "ab"),
        made_pixels(pixels, labels, split[::-1], "ab"),
        made_pixels(pixels, labels, split, "ac"),
        made_pixels(pixels, labels, split, "ab", keys="wxyz"),
    ]
    assert len({one.checksum for one in made}) == len(made)
    assert made_pixels(pixels, labels, split, "ab").checksum == made[0].checksum


# --- images that cannot be read


def spoil(tree):
    """Truncate one JPEG, replace one by text and empty a third; return the set and their keys."""
    images = load_folder(tree)
    bad = [next(i for i in range(12) if images.labels[i] == c and images.split[i] == 0) for c in (0, 1)]
    bad.append(next(i for i in range(12) if images.split[i] == 0 and i not in bad))
    paths = [tree / images.keys[i] for i in bad]
    paths[0].write_bytes(paths[0].read_bytes()[:-200])
    paths[1].write_text("no picture")
    paths[2].write_bytes(b"")
    return images, [images.keys[i] for i in bad]


def test_a_bad_image_stops_and_is_named(tree):
    images, bad = spoil(tree)
    with pytest.raises(NoisylibError, match=r"cannot read image .*\.jpg: .*corrupt='skip'") as raised:
        read_pixels(images, BACKBONE)
    assert any(key in str(raised.value) for key in bad)


@pytest.mark.parametrize("memory", ["keep", "demand"])
def test_bad_images_are_left_out_counted_and_listed(tree, caplog, memory):
    images, bad = spoil(tree)
    with caplog.at_level(logging.WARNING):
        found = read_pixels(images, BACKBONE, corrupt="skip", memory=memory)
    assert len(found) == 9
    assert sorted(line.partition(": ")[0] for line in found.skipped) == sorted(bad)
    assert sum(line.endswith(": not an image") for line in found.skipped) == 2
    assert sum("truncated" in line for line in found.skipped) == 1
    assert not any(str(tree) in line for line in found.skipped)
    assert "left out 3 of 12 images" in caplog.text
    assert set(found.keys) == set(images.keys) - set(bad)
    for position in range(9):
        row = int(found.index[position])
        assert images.keys[row] == found.keys[position]
        assert torch.equal(found.take([position])[0], BACKBONE.pixels(images.image(row)))


def test_an_absent_file_is_never_skipped(tree):
    images = load_folder(tree)
    (tree / images.keys[0]).unlink()
    with pytest.raises(NoisylibError, match="No such file"):
        read_pixels(images, BACKBONE, corrupt="skip")


def test_a_failure_elsewhere_is_never_skipped(monkeypatch):
    def broken(row):
        raise KeyError("a mistake in the program")

    with pytest.raises(KeyError):
        read_pixels(replace(tiny_images(4), open=broken), BACKBONE, corrupt="skip")


def test_a_set_without_files_names_the_key():
    def broken(row):
        raise SyntaxError("broken PNG file")

    with pytest.raises(NoisylibError, match="cannot read image 'image 3' of made: broken PNG file"):
        read_pixels(replace(tiny_images(6), open=broken), BACKBONE, limit={"train": 0})


def test_a_class_without_training_images_stops(tree):
    images = load_folder(tree)
    for i in np.flatnonzero((images.labels == 1) & (images.split == 0)):
        (tree / images.keys[i]).write_text("no picture")
    with pytest.raises(NoisylibError, match="none of the training images of 'b' can be read"):
        read_pixels(images, BACKBONE, corrupt="skip")


# --- the file of decoded images


@pytest.mark.parametrize("memory", ["keep", "demand"])
def test_second_time_nothing_is_decoded(tmp_path, memory):
    images, opened = read_counted(tiny_images(20))
    cache = tmp_path / "pixels.safetensors"
    first = read_pixels(images, BACKBONE, cache=cache, memory=memory)
    opened.clear()
    second = read_pixels(images, BACKBONE, cache=cache, memory=memory)
    assert sorted(opened) == [0, 10, 19]  # a look at three
    assert second.checksum == first.checksum
    assert torch.equal(second.take([3, 17]), first.take([3, 17]))
    assert ("pixels" in load_file(cache)) is (memory == "keep")


def test_a_file_without_pixels_is_no_use_in_memory(tmp_path):
    images, opened = read_counted(tiny_images(20))
    cache = tmp_path / "pixels.safetensors"
    first = read_pixels(images, BACKBONE, cache=cache, memory="demand")
    opened.clear()
    assert read_pixels(images, BACKBONE, cache=cache, memory="keep").checksum == first.checksum
    assert len(opened) == 3 + 20


@pytest.mark.parametrize(
    ("images", "backbone", "named"),
    [
        (tiny_images(18), BACKBONE, "images"),
        (tiny_images(20, colour=1), BACKBONE, "look"),
        (tiny_images(20), tiny_backbone(size=12, width=12, depth=1), "pixels"),
    ],
)
def test_other_images_are_decoded_anew(tmp_path, caplog, images, backbone, named):
    cache = tmp_path / "pixels.safetensors"
    read_pixels(tiny_images(20), BACKBONE, cache=cache)
    with caplog.at_level(logging.WARNING):
        found = read_pixels(images, backbone, cache=cache)
    assert "pixels.safetensors holds other images (other " in caplog.text
    assert named in caplog.text.partition("(other ")[2]
    assert found.checksum == read_pixels(images, backbone).checksum


def test_labels_come_from_the_set_and_not_from_the_file(tmp_path):
    images, cache = tiny_images(20), tmp_path / "pixels.safetensors"
    read_pixels(images, BACKBONE, cache=cache)
    turned = replace(images, labels=1 - images.labels)
    found = read_pixels(turned, BACKBONE, cache=cache)
    assert found.labels.tolist() == turned.labels.tolist()
    assert found.checksum == read_pixels(turned, BACKBONE).checksum


@pytest.mark.parametrize("where", ["pixels", "digests"])
def test_a_changed_byte_is_noticed(tmp_path, where):
    cache = tmp_path / "pixels.safetensors"
    read_pixels(tiny_images(6), BACKBONE, cache=cache)
    raw = bytearray(cache.read_bytes())
    raw[-1 if where == "pixels" else -6 * 3 * 8 * 8 - 1] ^= 1
    cache.write_bytes(raw)
    message = {"pixels": "1 of its 6 images have changed", "digests": "damaged: the digests"}[where]
    with pytest.raises(NoisylibError, match=message):
        read_pixels(tiny_images(6), BACKBONE, cache=cache)
    assert cache.read_bytes() == raw


@pytest.mark.parametrize("content", ["half", "text", "other"])
def test_a_file_that_is_something_else_is_not_overwritten(tmp_path, content):
    cache = tmp_path / "pixels.safetensors"
    read_pixels(tiny_images(6), BACKBONE, cache=cache)
    if content == "half":
        cache.write_bytes(cache.read_bytes()[:-100])
    elif content == "text":
        cache.write_text("a letter")
    else:
        save_file({"features": np.zeros(3)}, cache)
    before = cache.read_bytes()
    with pytest.raises(NoisylibError, match=r"no intact file of decoded images.*Delete it"):
        read_pixels(tiny_images(6), BACKBONE, cache=cache)
    assert cache.read_bytes() == before


def test_what_was_skipped_is_kept_and_said_again(tree, tmp_path, caplog):
    images, _ = spoil(tree)
    cache = tmp_path / "pixels.safetensors"
    first = read_pixels(images, BACKBONE, corrupt="skip", cache=cache)
    caplog.clear()
    second = read_pixels(images, BACKBONE, corrupt="skip", cache=cache)
    assert second.skipped == first.skipped
    assert second.checksum == first.checksum
    assert "left out 3 of 12 images" in caplog.text
    with pytest.raises(NoisylibError, match="cannot read image"):
        read_pixels(images, BACKBONE, corrupt="stop", cache=cache)


# --- what cannot be asked for


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([-1], "range from -1"),
        ([0, 4], "within 0..3"),
        (np.ones(4, bool), "dtype bool.*flatnonzero"),
        ([0.0], "dtype float64"),
        (np.zeros((2, 2), int), r"shape \(2, 2\)"),
    ],
)
def test_rows_that_are_none(rows, message):
    with pytest.raises(NoisylibError, match=message):
        read_pixels(tiny_images(4), BACKBONE).take(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrupt": "ignore"}, "corrupt='ignore'"),
        ({"memory": "disk"}, "memory='disk'"),
        ({"limit": {"train": 0, "test": 0}}, "leaves no image of made"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(NoisylibError, match=message):
        read_pixels(tiny_images(4), BACKBONE, **options)


def test_a_split_that_is_none():
    with pytest.raises(UnknownNameError, match="split='training'"):
        read_pixels(tiny_images(4), BACKBONE).rows("training")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((4, 3, 2, 2))}, "dtype float64"),
        ({"pixels": np.zeros((4, 3, 2, 3), np.uint8)}, r"\(4, 3, 2, 3\)"),
        ({"labels": [0, 1, 2, 0]}, r"labels range from 0 to 2, must be within 0..1"),
        ({"labels": [0, 1]}, r"labels has shape \(2,\)"),
        ({"split": [0, 0, 3, 0]}, "split range from 0 to 3"),
        ({"keys": "aabc"}, "3 different names"),
    ],
)
def test_made_pixels_that_cannot_be(change, message):
    given = {"pixels": np.zeros((4, 3, 2, 2), np.uint8), "labels": [0, 1, 0, 1], "split": [0, 0, 2, 2]}
    with pytest.raises(NoisylibError, match=message):
        made_pixels(**{**given, "class_names": "ab", **change})


def test_sides_come_from_the_class_names_or_are_given():
    given = (np.zeros((2, 3, 2, 2), np.uint8), [0, 1], [0, 0])
    assert made_pixels(*given, ("kidney-left", "kidney-right")).sided
    assert not made_pixels(*given, ("bright", "dark")).sided
    assert made_pixels(*given, ("5", "2"), sided=True).sided


def test_real_images(shared_data, shared_weights):
    backbone = sized_backbone("deit_tiny", 64, shared_weights / "deit_tiny_patch16_224.safetensors")
    images = load_images("breastmnist", shared_data / "medmnist")
    found = read_pixels(images, backbone, limit={"train": 64, "val": 0})
    # 147 malignant and 399 benign images train; 64 * 147 / 546 = 17.2.
    assert np.bincount(found.labels[found.rows("train")]).tolist() == [17, 47]
    with torch.inference_mode():
        features = backbone.model(backbone.normalise(found.take(found.rows("train"))))
    assert features.shape == (64, 192)
    assert features.std() > 0.5
