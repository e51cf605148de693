"""Extraction with views: the right versions of the right images, whatever the batches and interruptions."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from _tiny_extraction import TINY, tiny_backbone, tiny_images
from typer.testing import CliRunner

from noisylib import cli
from noisylib.data import ImageSet
from noisylib.errors import BankError, ConfigError, NoisylibError, WriteError
from noisylib.features import FeatureBank, extract, shards
from noisylib.features.augment import Augmentation
from noisylib.features.extract import extract_bank, extract_features
from noisylib.features.reading import read_batches

# With 2 views, a shard of 24 forward passes is one of 8 images.
SETTINGS = {"batch_size": 4, "precision": "float32", "progress": False, "shard_images": 24}


@pytest.fixture
def backbone(tmp_path):
    return tiny_backbone(tmp_path)


def mixed_images(n: int = 22) -> ImageSet:
    """Return made-up images of which half are for training, in no row of their own."""
    return replace(tiny_images(n), split=np.resize(np.array([0, 0, 1, 2, 2, 0], dtype=np.uint8), n))


# In the second set, the last shards have no training image.
@pytest.mark.parametrize("make", [mixed_images, tiny_images])
def test_views_are_those_of_a_plain_loop(backbone, tmp_path, make):
    images, out = make(22), tmp_path / "made.safetensors"
    bank = extract_features(images, backbone, out=out, views=3, **SETTINGS)
    train = np.flatnonzero(images.split == 0)
    augmentation = Augmentation.of(images, backbone, 3)
    expected = np.empty((3, len(train), 64))
    with torch.inference_mode():
        for j, row in enumerate(train):
            versions = augmentation.pixels(images.image(row), images.keys[row])
            for v, pixels in enumerate(versions):
                expected[v, j] = backbone.model(backbone.normalise(pixels)[None])[0]
    # Features are of order 1, so float16 rounds them by at most 2 ** -10.
    np.testing.assert_allclose(bank.training_views(), expected, atol=2e-3, rtol=2e-3)
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    again = FeatureBank.load(out)
    assert again.checksum == bank.checksum
    assert again.views.tobytes() == bank.views.tobytes()
    assert not list(tmp_path.glob("*.partial"))


def test_only_training_images_are_augmented_and_plain_features_stay(backbone, tmp_path, monkeypatch):
    images, seen, pixels = mixed_images(), [], Augmentation.pixels

    def watched(self, image, key):
        seen.append(key)
        return pixels(self, image, key)

    monkeypatch.setattr(Augmentation, "pixels", watched)
    bank = extract_features(images, backbone, out=tmp_path / "a.safetensors", views=2, **SETTINGS)
    assert sorted(seen) == sorted(images.keys[i] for i in np.flatnonzero(images.split == 0))
    assert len(seen) == 11
    seen.clear()
    plain = extract_features(images, backbone, out=tmp_path / "b.safetensors", **SETTINGS)
    assert not seen
    assert plain.features.tobytes() == bank.features.tobytes()
    assert plain.training_views() is None
    assert "view_recipe" not in plain.meta.preprocessing


def test_views_differ_from_the_plain_features_and_from_each_other(backbone, tmp_path):
    images = mixed_images()
    bank = extract_features(images, backbone, out=tmp_path / "a.safetensors", views=2, **SETTINGS)
    X, views = bank.part("train")[0], bank.training_views()
    for a, b in ((views[0], X), (views[1], X), (views[0], views[1])):
        assert np.abs(a - b).max(axis=1).min() > 0.01


def test_bank_says_how_its_views_were_made(backbone, tmp_path):
    bank = extract_features(mixed_images(), backbone, out=tmp_path / "a", views=2, **SETTINGS)
    assert bank.meta.preprocessing == {
        **backbone.preprocessing,
        "precision": "float32",
        "views": 2,
        "view_recipe": {"crop_area": [0.6, 1.0], "crop_ratio": [0.9, 1.1], "horizontal_flip": 0.5},
    }
    assert bank.meta.notes == "Images as read: 40 x 30 pixels."


def test_batch_size_changes_no_view(backbone, tmp_path):
    banks = [
        extract_features(
            mixed_images(), backbone, out=tmp_path / "a", views=2, **{**SETTINGS, "batch_size": size}
        )
        for size in (1, 4, 32)
    ]
    for bank in banks[1:]:
        # The order of sums may differ in the last bits; another crop would differ by far more.
        np.testing.assert_allclose(bank.training_views(), banks[0].training_views(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("after", [1, 4, 9])
def test_interrupted_run_goes_on_to_the_same_bank(backbone, tmp_path, monkeypatch, after):
    images, out = mixed_images(), tmp_path / "made.safetensors"
    whole = tmp_path / "whole.safetensors"
    forward, calls = extract.forward, []
    monkeypatch.setattr(extract, "forward", lambda *args: calls.append(1) or forward(*args))
    extract_features(images, backbone, out=whole, views=2, **SETTINGS)
    # Rows 0-3, 4-7, ... hold 2, 3, 1, 2, 3, 0 training images, whose views make 1, 2, 1, 1, 2, 0 batches.
    per_shard = (2 + 3, 2 + 2, 2 + 2)
    assert len(calls) == sum(per_shard)

    def stopping(*args):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(1)
        return forward(*args)

    calls.clear()
    monkeypatch.setattr(extract, "forward", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, backbone, out=out, views=2, **SETTINGS)
    assert not out.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    done = len(list(tmp_path.glob("made.safetensors.partial/0*.safetensors")))
    assert done == {1: 0, 4: 0, 9: 2}[after]

    calls.clear()
    monkeypatch.setattr(extract, "forward", lambda *args: calls.append(1) or forward(*args))
    extract_features(images, backbone, out=out, views=2, **SETTINGS)
    assert len(calls) == sum(per_shard[done:])
    assert out.read_bytes() == whole.read_bytes()


def test_full_disk_is_named_and_what_is_done_is_kept(backbone, tmp_path, monkeypatch):
    images, out, save_file, saved = mixed_images(), tmp_path / "made.safetensors", shards.save_file, []

    def filling(arrays, path):
        if saved:
            raise OSError(28, "No space left on device")
        saved.append(path)
        save_file(arrays, path)

    monkeypatch.setattr(shards, "save_file", filling)
    with pytest.raises(WriteError, match=r"00000008.*No space left"):
        extract_features(images, backbone, out=out, views=2, **SETTINGS)
    monkeypatch.undo()
    kept = sorted(path.name for path in tmp_path.glob("made.safetensors.partial/*"))
    assert kept == ["00000000.safetensors", "fingerprint.json"]
    resumed = extract_features(images, backbone, out=out, views=2, **SETTINGS)
    whole = extract_features(images, backbone, out=tmp_path / "whole", views=2, **SETTINGS)
    assert resumed.checksum == whole.checksum


def test_started_run_with_other_views_or_split_is_not_continued(backbone, tmp_path, monkeypatch):
    images, out = mixed_images(), tmp_path / "made.safetensors"

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extract, "forward", fail)
        with pytest.raises(KeyboardInterrupt):
            extract_features(images, backbone, out=out, views=2, **SETTINGS)
    for changed, views, words in (
        (images, 3, "views: there 2, now 3"),
        (images, 0, "views: there 2, now None"),
        (tiny_images(22), 2, "split: there '"),
    ):
        with pytest.raises(ConfigError, match=words + ".*--no-resume"):
            extract_features(changed, backbone, out=out, views=views, **SETTINGS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # where batches are read when needed, and ahead
def test_batches_hold_plain_images_then_the_views_of_the_training_images(backbone, device):
    images = mixed_images(17)
    augmentation = Augmentation.of(images, backbone, 2)
    batches = [range(i, min(i + 3, 17)) for i in range(0, 17, 3)]
    # Reading asks the device's type only, so that no GPU is needed here.
    stream = read_batches(images, replace(backbone, device=torch.device(device)), batches, 2, augmentation)
    for rows, (pixels, sizes) in zip(batches, stream, strict=True):
        plain = [backbone.pixels(images.image(i)) for i in rows]
        views = [augmentation.pixels(images.image(i), images.keys[i]) for i in rows if images.split[i] == 0]
        assert torch.equal(pixels, torch.stack([*plain, *(view for both in views for view in both)]))
        assert len(sizes) == len(rows)


def test_each_image_is_decoded_once(backbone, tmp_path):
    images, opened = mixed_images(), []
    watched = replace(images, open=lambda i: opened.append(i) or images.open(i))
    extract_features(watched, backbone, out=tmp_path / "a", views=4, **SETTINGS)
    # The digest of the image set looks at the first, the middle and the last.
    assert sorted(opened) == sorted([*range(22), 0, 11, 21])


def test_bar_counts_images_and_views(backbone, tmp_path, monkeypatch, capsys):
    settings, forward, calls = {**SETTINGS, "progress": True}, extract.forward, []

    def stopping(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(extract, "forward", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract_features(mixed_images(), backbone, out=tmp_path / "a", views=2, **settings)
    assert "0/44" in capsys.readouterr().err  # 22 images and 2 views of 11
    extract_features(mixed_images(), backbone, out=tmp_path / "a", views=2, **settings)
    printed = capsys.readouterr()
    assert "18/44" in printed.err  # the first shard: 8 images and 2 views of 5
    assert "44/44" in printed.err
    assert printed.out == ""


def test_what_cannot_have_views_is_refused_before_the_work(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "forward", lambda *args: pytest.fail("extracted in vain"))
    tested = replace(tiny_images(), split=np.full(20, 2, dtype=np.uint8))
    with pytest.raises(BankError, match="the train split is empty"):
        extract_features(tested, backbone, out=tmp_path / "a.safetensors", views=2)
    with pytest.raises(NoisylibError, match=r"views=1: give 0 .* or at least 2"):
        extract_features(tiny_images(), backbone, out=tmp_path / "a.safetensors", views=1)
    assert not list(tmp_path.glob("a*"))


@pytest.mark.parametrize("views", ["1", "-2"])
def test_command_refuses_bad_numbers_before_it_looks_for_weights(monkeypatch, tmp_path, views):
    monkeypatch.setattr(extract, "load_backbone", lambda *args: pytest.fail("too late"))
    arguments = ["features", "extract", "breastmnist", "--data", str(tmp_path), "--views", views]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, NoisylibError)
    assert f"views={views}: give 0" in str(result.exception)


def test_command_extracts_views_and_records_itself(tmp_path, monkeypatch):
    tiny_backbone(tmp_path)
    monkeypatch.setattr("noisylib.data.load_images", lambda name, root, **more: mixed_images())
    monkeypatch.setattr(extract, "load_backbone", lambda name, path, *_: tiny_backbone(Path(path).parent))
    arguments = ["features", "extract", "breastmnist", "--data", str(tmp_path / "mnist")]
    arguments += ["--backbone", TINY.name, "--weights", str(tmp_path / "tiny.safetensors"), "--device", "cpu"]
    arguments += ["--views", "2", "--out", str(tmp_path / "a.safetensors"), "--precision", "float32"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "22 images and 2 views of each training image, 64 features each: made-test_vit" in result.output
    bank = FeatureBank.load(tmp_path / "a.safetensors")
    assert bank.views.shape == (2, 11, 64)
    assert bank.meta.command == (
        "noisylib features extract breastmnist --backbone test_vit --data DATA/mnist "
        "--weights tiny.safetensors --views 2 --batch-size 64 --precision float32"
    )
    plain = extract_bank("breastmnist", tmp_path, weights=tmp_path / "tiny.safetensors", out=tmp_path / "b")
    assert "--views" not in plain.meta.command


def test_views_of_real_images_are_nearer_to_their_own_image(shared_data, shared_weights, tmp_path):
    from noisylib.data import load_images

    images = load_images("breastmnist", shared_data / "medmnist")
    train, test = (np.flatnonzero(images.split == code)[:4] for code in (0, 2))
    some = np.r_[train, test]
    few = replace(
        images,
        keys=tuple(images.keys[i] for i in some),
        labels=np.tile([0, 1], 4),
        split=images.split[some],
        open=lambda i: images.open(int(some[i])),
    )
    network = extract.load_backbone("deit_tiny", shared_weights / "deit_tiny_patch16_224.safetensors")
    out = tmp_path / "a.safetensors"
    bank = extract_features(few, network, out=out, views=2, precision="float32", progress=False)
    X, views = bank.part("train")[0], bank.training_views()
    X, views = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (X, views))
    cosine = views @ X.T  # (2, view of image i, image j)
    own = np.diagonal(cosine, axis1=1, axis2=2)
    others = cosine[:, ~np.eye(4, dtype=bool)]
    assert own.mean() > 0.8
    assert own.mean() > others.mean() + 0.1
