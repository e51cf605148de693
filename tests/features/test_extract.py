"""Extraction: right features in the right rows, and a killed run that goes on to the same bank."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from _tiny_extraction import TINY, tiny_backbone, tiny_images
from PIL import Image

from noisylib.data import ImageSet
from noisylib.errors import BankError, ConfigError, NoisylibError, UnknownNameError
from noisylib.features import FeatureBank, extract
from noisylib.features.extract import extract_bank, extract_features, read_batches, resolve_precision


@pytest.fixture
def backbone(tmp_path):
    return tiny_backbone(tmp_path)


SETTINGS = {"batch_size": 4, "precision": "float32", "progress": False, "shard_images": 8}


def test_features_are_those_of_a_plain_loop(backbone, tmp_path):
    images = tiny_images(22)
    out = tmp_path / "made-test_vit.safetensors"
    bank = extract_features(images, backbone, out=out, **SETTINGS)
    with torch.inference_mode():
        one_by_one = [backbone.model(backbone.transform(images.image(i))[None])[0] for i in range(22)]
    # Features are of order 1, so float16 rounds them by at most 2 ** -10.
    np.testing.assert_allclose(bank.features, torch.stack(one_by_one), atol=2e-3, rtol=2e-3)
    assert bank.labels.tolist() == images.labels.tolist()
    assert bank.split.tolist() == images.split.tolist()
    assert FeatureBank.load(out).checksum == bank.checksum
    assert not list(tmp_path.glob("*.partial"))


def test_bank_says_where_it_comes_from(backbone, tmp_path):
    bank = extract_features(
        tiny_images(),
        backbone,
        out=tmp_path / "a.safetensors",
        name="tiny",
        command="the command",
        **SETTINGS,
    )
    meta = bank.meta
    assert (meta.dataset, meta.backbone, meta.licence, meta.command) == ("made", "tiny", "CC0", "the command")
    assert meta.preprocessing == {**backbone.preprocessing, "precision": "float32"}
    assert meta.notes == "Images as read: 40 x 30 pixels."


def test_bfloat16_is_close_to_float32(backbone, tmp_path):
    full = extract_features(tiny_images(), backbone, out=tmp_path / "a.safetensors", **SETTINGS)
    half = extract_features(
        tiny_images(), backbone, out=tmp_path / "b.safetensors", **{**SETTINGS, "precision": "bfloat16"}
    )
    assert not np.array_equal(full.features, half.features)
    assert np.corrcoef(full.features.ravel(), half.features.ravel())[0, 1] > 0.999


class Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_interrupted_run_goes_on_to_the_same_bank(backbone, tmp_path, monkeypatch, after):
    images, out = tiny_images(22), tmp_path / "made.safetensors"
    whole = extract_features(images, backbone, out=tmp_path / "whole.safetensors", **SETTINGS)
    forward, calls = extract.forward, []

    def failing(*args):
        if len(calls) == after:
            raise Stopped
        calls.append(1)
        return forward(*args)

    monkeypatch.setattr(extract, "forward", failing)
    with pytest.raises(Stopped):
        extract_features(images, backbone, out=out, **SETTINGS)
    assert not out.exists()
    done = len(list(out.with_name("made.safetensors.partial").glob("0*.safetensors")))
    assert done == after // 2  # two batches make a shard

    calls.clear()
    monkeypatch.setattr(extract, "forward", lambda *args: calls.append(1) or forward(*args))
    resumed = extract_features(images, backbone, out=out, **SETTINGS)
    assert len(calls) == 6 - 2 * done  # 22 images in batches of 4
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert resumed.features.tobytes() == whole.features.tobytes()


def test_other_settings_do_not_continue_a_started_run(backbone, tmp_path, monkeypatch):
    out = tmp_path / "made.safetensors"
    forward = extract.forward

    def fail(*args):
        raise Stopped

    monkeypatch.setattr(extract, "forward", fail)
    with pytest.raises(Stopped):
        extract_features(tiny_images(), backbone, out=out, **SETTINGS)
    monkeypatch.setattr(extract, "forward", forward)
    other = tmp_path / "other"
    other.mkdir()
    for images, network, settings, words in (
        (tiny_images(21), backbone, {}, r"n_images: there 20, now 21"),
        (tiny_images(colour=1), backbone, {}, r"images: there"),
        (tiny_images(), tiny_backbone(other, seed=1), {}, r"weights_sha256: there"),
        (tiny_images(), backbone, {"batch_size": 2}, r"batch_size: there 4, now 2"),
        (tiny_images(), backbone, {"precision": "bfloat16"}, r"precision: there 'float32', now 'bfloat16'"),
    ):
        with pytest.raises(ConfigError, match=words + ".*--no-resume"):
            extract_features(images, network, out=out, **{**SETTINGS, **settings})
    bank = extract_features(tiny_images(21), backbone, out=out, **SETTINGS, resume=False)
    assert bank.n_samples == 21


def test_damaged_shard_is_made_again(backbone, tmp_path, monkeypatch):
    out = tmp_path / "made.safetensors"
    whole = extract_features(tiny_images(), backbone, out=tmp_path / "whole.safetensors", **SETTINGS)
    monkeypatch.setattr(extract.ShardFolder, "collect", lambda self: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        extract_features(tiny_images(), backbone, out=out, **SETTINGS)
    monkeypatch.undo()
    partial = out.with_name("made.safetensors.partial")
    shard = partial / "00000008.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    shutil.copy(partial / "00000016.safetensors", partial / "00000000.safetensors")  # too few rows
    assert extract_features(tiny_images(), backbone, out=out, **SETTINGS).checksum == whole.checksum


KILLED = """
import sys
from pathlib import Path
from _tiny_extraction import tiny_backbone, tiny_images
from noisylib.features.extract import extract_features
folder = Path(sys.argv[1])
extract_features(tiny_images(40, seconds=0.1), tiny_backbone(folder), out=folder / "made.safetensors",
                 batch_size=4, precision="float32", progress=False, shard_images=8)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_process_leaves_shards_that_are_used(tmp_path, root):
    path = os.pathsep.join([str(root), str(root / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    partial = tmp_path / "made.safetensors.partial"
    try:
        deadline = time.monotonic() + 60
        while not (partial / "00000008.safetensors").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "made.safetensors").exists()
    backbone = tiny_backbone(tmp_path)
    opened = []

    def watch(images: ImageSet) -> ImageSet:
        def open_image(i: int) -> Image.Image:
            opened.append(i)
            return images.open(i)

        return ImageSet(images.info, images.keys, images.labels, images.split, None, open_image)

    resumed = extract_features(
        watch(tiny_images(40)), backbone, out=tmp_path / "made.safetensors", **SETTINGS
    )
    assert len(set(opened)) < 40 - 8
    whole = extract_features(tiny_images(40), backbone, out=tmp_path / "whole.safetensors", **SETTINGS)
    assert resumed.checksum == whole.checksum


def test_unreadable_image_is_reported_and_threads_end(backbone, tmp_path):
    import threading

    images = tiny_images()

    def open_image(i: int) -> Image.Image:
        if i == 13:
            raise NoisylibError("cannot read image 13")
        return images.open(i)

    broken = ImageSet(images.info, images.keys, images.labels, images.split, None, open_image)
    out = tmp_path / "made.safetensors"
    with pytest.raises(NoisylibError, match="cannot read image 13"):
        extract_features(broken, backbone, out=out, **SETTINGS)
    assert not out.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order(backbone, workers):
    images = tiny_images(17)
    batches = [range(i, min(i + 3, 17)) for i in range(0, 17, 3)]
    for rows, (pixels, sizes) in zip(batches, read_batches(images, backbone, batches, workers), strict=True):
        assert torch.equal(pixels, torch.stack([backbone.pixels(images.image(i)) for i in rows]))
        assert sizes.tolist() == [[40, 30]] * len(rows)


def test_precision_is_checked_and_resolved(monkeypatch):
    with pytest.raises(UnknownNameError, match="precision='bf16'"):
        resolve_precision("bf16", "cpu")
    assert resolve_precision("float32", "cpu") == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_precision("auto", "cpu") == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert resolve_precision("auto", "cpu") == "float32"
    assert resolve_precision("auto", "mps") == "float32"


def test_batch_size_below_one_is_refused(backbone, tmp_path):
    with pytest.raises(NoisylibError, match="batch_size=0 must be at least 1"):
        extract_features(tiny_images(), backbone, out=tmp_path / "a", batch_size=0)


@pytest.mark.parametrize(
    ("name", "n", "words"), [("a-b", 20, "backbone='a-b'"), (None, 2, "class 'b' has no sample in the train")]
)
def test_what_no_bank_may_hold_is_refused_before_the_work(backbone, tmp_path, monkeypatch, name, n, words):
    monkeypatch.setattr(extract, "forward", lambda *args: pytest.fail("extracted in vain"))
    with pytest.raises(BankError, match=words):
        extract_features(tiny_images(n), backbone, out=tmp_path / "a.safetensors", name=name)
    assert not list(tmp_path.glob("a*"))


def test_progress_goes_to_stderr(backbone, tmp_path, capsys):
    extract_features(
        tiny_images(), backbone, out=tmp_path / "a.safetensors", **{**SETTINGS, "progress": True}
    )
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "made test_vit" in printed.err
    assert "20/20" in printed.err


def test_command_names_files_but_no_folder_of_this_machine(tmp_path, monkeypatch):
    tiny_backbone(tmp_path)
    monkeypatch.setattr("noisylib.data.load_images", lambda name, root, **more: tiny_images())
    monkeypatch.setattr(extract, "load_backbone", lambda name, path, *_: tiny_backbone(Path(path).parent))
    bank = extract_bank(
        "breastmnist",
        tmp_path / "mnist",
        TINY.name,
        weights=tmp_path / "tiny.safetensors",
        name="tiny",
        out=tmp_path / "a.safetensors",
        device="cpu",
        precision="float32",
        progress=False,
    )
    assert bank.meta.command == (
        "noisylib features extract breastmnist --backbone test_vit --data DATA/mnist "
        "--weights tiny.safetensors --name tiny --batch-size 64 --precision float32"
    )


def test_real_images_are_extracted(shared_data, shared_weights, tmp_path):
    from noisylib.data import load_images

    images = load_images("breastmnist", shared_data / "medmnist")
    some = np.r_[0:4, 546 + 78 : 546 + 82]
    few = ImageSet(
        images.info,
        tuple(images.keys[i] for i in some),
        np.tile([0, 1], 4),
        images.split[some],
        None,
        lambda i: images.open(int(some[i])),
    )
    weights = shared_weights / "deit_tiny_patch16_224.safetensors"
    network = extract.load_backbone("deit_tiny", weights)
    bank = extract_features(few, network, out=tmp_path / "a.safetensors", precision="float32", progress=False)
    assert bank.features.shape == (8, 192)
    assert bank.meta.notes == "Images as read: 28 x 28 pixels."
