"""A killed fine-tuning goes on as if nothing had happened, and only what it was a checkpoint of goes on."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tinytuning import SIZE, K, forgetful, made_images, noisy, recipe, taught, tiny

from noisylib.errors import NoisylibError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning import EpochRecord, FineTuned, Turn, checkpoint, finetune, loop
from noisylib.finetuning.rules import ELRRule

N, EPOCHS = 14, 2  # in batches of 4: four steps per epoch, the last one of two images
SETTINGS = recipe(epochs=EPOCHS, batch_size=4, accumulate=2, augment=True)


class Killed(Exception):
    """Stands for a process that ends."""


def tune(folder: Path | None, stop_after: int | None = None, **options) -> FineTuned:
    """Train on few images; with `stop_after`, end after so many calls of `progress`."""
    pixels = options.pop("pixels", None) or made_images(N, 6)
    rows = options.pop("rows", pixels.rows("train"))
    y = options.pop("y", noisy(pixels.labels[rows]))
    steps = []

    def progress(*_: float) -> None:
        steps.append(1)
        if len(steps) == stop_after:
            raise Killed

    given = {
        "n_classes": K,
        "method": "ce",
        "recipe": SETTINGS,
        "checkpoint_every": 1,
        "device": "cpu",
        **options,
    }
    backbone = given.pop("backbone", None) or taught()
    return finetune(pixels, rows, y, backbone, checkpoint=folder, progress=progress, **given)


def stopped(folder: Path, after: int = 2, **options) -> Path:
    """Leave a checkpoint in `folder`; return its file."""
    with pytest.raises(Killed):
        tune(folder, after, **options)
    return folder / checkpoint.FILE


@functools.cache
def whole(method: str = "ce") -> FineTuned:
    """The uninterrupted training."""
    return tune(None, method=method)


def equal(one: FineTuned, other: FineTuned) -> None:
    """Bit for bit: weights, and all of the history but the seconds."""
    states = one.classifier.state_dict(), other.classifier.state_dict()
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name
    for mine, its in zip(one.history, other.history, strict=True):
        for name in set(EpochRecord.__dataclass_fields__) - {"seconds", "selection"}:
            assert getattr(mine, name) == getattr(its, name), name
        assert (mine.selection is None) == (its.selection is None)
        if mine.selection is not None:
            for name in ("losses", "posterior", "clean", "drawn", "counts"):
                np.testing.assert_array_equal(getattr(mine.selection, name), getattr(its.selection, name))
            assert mine.selection.n == its.selection.n


@pytest.mark.parametrize("after", [1, 3, 4, 5, 8])
def test_a_training_killed_after_a_step_ends_as_an_uninterrupted_one(tmp_path: Path, after: int) -> None:
    assert (whole("elr").steps, whole("elr").images) == (8, 28)
    stopped(tmp_path / "run", after, method="elr")
    equal(tune(tmp_path / "run", method="elr"), whole("elr"))


@pytest.mark.parametrize("method", ["ce", "gce", "turn"])
def test_every_method_goes_on_in_the_middle_of_an_epoch(tmp_path: Path, method: str) -> None:
    first, second = (record.steps for record in whole(method).history)
    middle = first + second // 2
    assert second >= 2
    stopped(tmp_path / "run", middle, method=method)
    equal(tune(tmp_path / "run", method=method), whole(method))


def test_dropout_goes_on_as_well(tmp_path: Path) -> None:
    expected = tune(None, backbone=forgetful())
    assert expected.history[0].loss != whole().history[0].loss
    stopped(tmp_path, 6, backbone=forgetful())
    equal(tune(tmp_path, backbone=forgetful()), expected)


@pytest.mark.parametrize("every", [2, 3, 100])
def test_steps_after_the_last_checkpoint_are_taken_again(tmp_path: Path, every: int) -> None:
    """With one checkpoint per epoch as the least."""
    stopped(tmp_path, 7, method="elr", checkpoint_every=every)
    steps = []
    options = {"method": "elr", "checkpoint_every": every, "watch": lambda record: steps.append(record.epoch)}
    equal(tune(tmp_path, **options), whole("elr"))
    assert steps == [1], "the first epoch is not trained again"


def test_a_training_killed_after_every_step_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    stopped(tmp_path, 1, method="turn")
    for _ in range(whole("turn").steps - 2):  # the step whose checkpoint was not written is taken again
        stopped(tmp_path, 2, method="turn")
    equal(tune(tmp_path, method="turn"), whole("turn"))


def test_no_work_of_a_probe_is_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path, 1, method="turn", checkpoint_every=100)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the probe was trained again")

    monkeypatch.setattr(loop, "probe_head", never)
    assert tune(tmp_path, method="turn").seconds["probe"] > 0, "the time of the phases goes on counting"


def test_seconds_add_up_over_a_break(tmp_path: Path) -> None:
    stopped(tmp_path, 6)
    done = tune(tmp_path)
    assert done.seconds["tuning"] == pytest.approx(sum(record.seconds for record in done.history))
    assert all(record.seconds > 0 for record in done.history)


def test_the_checkpoint_of_a_finished_training_is_gone(tmp_path: Path) -> None:
    tune(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("of mine")
    tune(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_checkpoint_is_one_file_without_pickles(tmp_path: Path) -> None:
    file = stopped(tmp_path, method="elr")
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    with safe_open(file, framework="pt") as content:
        names = set(content.keys())
        assert {"model.head.weight", "model.backbone.blocks.0.attn.qkv.weight", "memory"} <= names
        assert content.get_tensor("memory").shape == (N, K)


OTHERS = {
    "weights": ({"backbone": tiny(5)}, "weights is '[0-9a-f]+' there"),
    "backbone": ({"backbone": tiny_backbone(size=SIZE, patch=8, width=6, depth=1, heads=1)}, "weights"),
    "n_classes": ({"n_classes": K + 1}, "n_classes is 3 there and 4 here"),
    "labels": ({"y": np.arange(N) % K}, "labels"),
    "images": ({"pixels": made_images(N, 6, seed=5)}, "images"),
    "rows": ({"rows": np.arange(N)[::-1].copy()}, "rows"),
    "recipe": ({"recipe": replace(SETTINGS, lr_head=0.5)}, r"lr_head is 0\.02 there and 0\.5 here"),
    "epochs": ({"recipe": replace(SETTINGS, epochs=7)}, "epochs is 2 there and 7 here"),
    "method": ({"method": "gce"}, "method is 'elr' there and 'gce' here"),
    "options": ({"method": ELRRule(lam=1.0)}, r"method\.lam is 3\.0 there and 1\.0 here"),
    "seed": ({"seed": 4}, "seed is 0 there and 4 here"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_training_is_refused_and_kept(tmp_path: Path, what: str) -> None:
    options, said = OTHERS[what]
    labels = noisy(made_images(N, 6).labels[:N])
    file = stopped(tmp_path, method="elr", y=labels)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(NoisylibError, match=f"belongs to another training: .*{said}") as error:
        tune(tmp_path, **{"method": "elr", "y": labels, **options})
    assert str(file) in str(error.value)
    assert "It is untouched" in str(error.value)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_other_options_of_turn_are_another_training(tmp_path: Path) -> None:
    stopped(tmp_path, method=Turn(tau=0.6))
    with pytest.raises(NoisylibError, match=r"method\.tau is 0\.6 there and 0\.5 here"):
        tune(tmp_path, method=Turn(tau=0.5))


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    file = stopped(tmp_path)
    sound = file.read_bytes()
    for content in (sound[: len(sound) // 2], b"", b"not a checkpoint at all"):
        file.write_bytes(content)
        with pytest.raises(NoisylibError, match=r"state\.safetensors is damaged .* Delete it to start anew"):
            tune(tmp_path)
        assert file.read_bytes() == content


def test_a_checkpoint_of_a_newer_version_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 9)
        stopped(tmp_path)
    with pytest.raises(NoisylibError, match="has format 9, this version reads up to 1: update"):
        tune(tmp_path)


def test_a_write_that_fails_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stopped(tmp_path, 3)
    before = file.read_bytes()

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", no_space)
        with pytest.raises((NoisylibError, OSError), match="space"):
            tune(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    equal(tune(tmp_path), whole())


@pytest.mark.parametrize("every", [0, -3, 2.5, True])
def test_a_distance_of_checkpoints_is_a_number_of_steps(tmp_path: Path, every: object) -> None:
    with pytest.raises(NoisylibError, match=f"checkpoint_every={every}.*whole number of at least 1"):
        tune(tmp_path / "run", checkpoint_every=every)
    assert not (tmp_path / "run").exists()
