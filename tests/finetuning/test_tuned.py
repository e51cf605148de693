"""A fine-tuned network in a file: it predicts the same, and a file of another network is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tinytuning import K, made_images, recipe, tiny

from noisylib.errors import NoisylibError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning import finetune, load_tuned

PIXELS = made_images(18, 9)
ROWS, TEST = PIXELS.rows("train"), PIXELS.rows("test")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory):
    """Return a tuned network and its file."""
    tuned = finetune(
        PIXELS,
        ROWS,
        PIXELS.labels[ROWS],
        tiny(),
        n_classes=K,
        method="ce",
        recipe=recipe(epochs=1),
        device="cpu",
    )
    return tuned, tuned.save(tmp_path_factory.mktemp("tuned") / "net.safetensors")


def altered(path: Path, to: Path, change) -> Path:
    """Write the file again with changed tensors and the same facts."""
    with safe_open(path, framework="pt") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors)
    save_file(tensors, to, metadata=facts)
    return to


def test_it_predicts_the_same(saved) -> None:
    tuned, path = saved
    # The weights of the network that it is read into do not matter: all are in the file.
    again = load_tuned(path, tiny(seed=5), K)
    np.testing.assert_array_equal(again.logits(PIXELS, TEST), tuned.logits(PIXELS, TEST))
    np.testing.assert_array_equal(again.features(PIXELS, TEST), tuned.features(PIXELS, TEST))
    assert not again.classifier.training
    assert again.history == []


def test_another_network_is_refused(saved) -> None:
    _, path = saved
    with pytest.raises(NoisylibError, match="n_classes is 3 there and 4 here"):
        load_tuned(path, tiny(), 4)
    with pytest.raises(NoisylibError, match="image_size is 8 there and 16 here"):
        load_tuned(path, tiny_backbone(size=16, patch=4, width=12, depth=2, heads=2), K)
    with pytest.raises(NoisylibError, match="does not fit backbone 'tiny_vit'"):
        load_tuned(path, tiny_backbone(size=8, patch=4, width=24, depth=2, heads=2), K)


def test_a_damaged_file_is_refused(saved, tmp_path: Path) -> None:
    _, path = saved
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:100])
    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    for wrong in (cut, plain, tmp_path / "absent.safetensors"):
        with pytest.raises(NoisylibError, match="is no fine-tuned classifier of noisylib, or damaged"):
            load_tuned(wrong, tiny(), K)
    poisoned = altered(path, tmp_path / "nan.safetensors", lambda t: t["head.bias"].fill_(torch.nan))
    with pytest.raises(NoisylibError, match=r"NaN or infinity in 1 tensors, (first )?head.bias"):
        load_tuned(poisoned, tiny(), K)


def test_images_of_the_test_split_are_not_trained_on() -> None:
    rows = np.r_[ROWS, TEST[:2]]
    with pytest.raises(NoisylibError, match="rows has 2 images of the test split"):
        finetune(PIXELS, rows, PIXELS.labels[rows], tiny(), n_classes=K, method="ce", device="cpu")
