"""What fine-tuning says of input that it cannot use, and of a training that cannot go on."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tinytuning import WIDTH, K, made_images, noisy, recipe, taught, tiny

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning import FinetuneRecipe, ImageClassifier, Turn, finetune, make_classifier
from noisylib.finetuning.rules import ELRRule, GCERule
from noisylib.methods import make_method

N = 24
PIXELS = made_images(N, 12)
ROWS = PIXELS.rows("train")
Y = noisy(PIXELS.labels[ROWS])


def tune(**options):
    given = {"pixels": PIXELS, "rows": ROWS, "y_noisy": Y, "backbone": tiny(), "n_classes": K, "method": "ce"}
    return finetune(**{**given, "recipe": recipe(epochs=1), "device": "cpu", **options})


BAD = {
    "label too high": ({"n_classes": 2}, "y_noisy"),
    "negative label": ({"y_noisy": np.where(Y == 0, -1, Y)}, "y_noisy"),
    "labels in fractions": ({"y_noisy": Y + 0.5}, "y_noisy"),
    "labels of other length": ({"y_noisy": Y[:-1]}, r"y_noisy has shape \(23,\).*\(24,\)"),
    "one class": ({"y_noisy": np.ones(N, int)}, "y_noisy holds one class only"),
    "no image": ({"rows": ROWS[:0], "y_noisy": Y[:0]}, "rows|y_noisy"),
    "row too high": ({"rows": np.r_[ROWS[:-1], 99]}, r"rows.*0 to 99.*36 images"),
    "negative row": ({"rows": np.r_[ROWS[:-1], -1]}, "rows goes from -1"),
    "row twice": ({"rows": np.r_[ROWS[:-1], 0]}, "rows.*named once"),
    "a mask for rows": ({"rows": np.ones(N, bool)}, "rows has .*bool.*whole numbers"),
    "features of other rows": (
        {"method": "turn", "features": np.zeros((36, WIDTH))},
        r"features has shape \(36, 12\)",
    ),
    "features of other width": ({"method": "turn", "features": np.zeros((N, 5))}, r"must be \(24, 12\)"),
    "features without numbers": ({"method": "turn", "features": np.full((N, WIDTH), np.nan)}, "NaN"),
    "other image size": (
        {"backbone": tiny_backbone(size=16, patch=4, width=12, heads=2)},
        "size 8.*built for 16",
    ),
    "method": ({"method": "trun"}, "method='trun' is unknown. Did you mean 'turn'"),
    "method of heads": ({"method": make_method("gce")}, "method"),
    "no method": ({"method": 3}, "method"),
    "device": ({"device": "tpu"}, "device='tpu'"),
    "empty clean set": ({"method": Turn(tau=1.0)}, r"tau=1.0 leaves the clean set empty.*Lower tau"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_said_by_name(what: str, tmp_path: Path) -> None:
    options, said = BAD[what]
    with pytest.raises(NoisylibError, match=said):
        tune(**options, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", 1.5), ("batch_size", True), ("accumulate", 0), ("lr_backbone", "1e-5"),
        ("lr_head", -1), ("weight_decay", 11), ("layer_decay", 0), ("layer_decay", 1.1), ("warmup", 1),
        ("clip", -1), ("augment", 1), ("lr_head", float("nan")),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_said_by_name(name: str, value: object) -> None:
    with pytest.raises(NoisylibError, match=f"finetune.{name}="):
        FinetuneRecipe(**{name: value})


def test_settings_that_do_not_fit_each_other_are_said() -> None:
    with pytest.raises(NoisylibError, match=r"accumulate=9 is more than finetune.batch_size=8"):
        FinetuneRecipe(batch_size=8, accumulate=9)
    for name, value in (("schedule", "linear"), ("precision", "float16")):
        with pytest.raises(UnknownNameError, match=f"finetune.{name}='{value}' is unknown"):
            FinetuneRecipe(**{name: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Turn(q=0), lambda: Turn(tau=1.2), lambda: Turn(probe_epochs=0), lambda: Turn(balanced=1),
        lambda: GCERule(q=1.5), lambda: ELRRule(lam=-1), lambda: ELRRule(beta=1), lambda: ELRRule(lam="3"),
    ],
)  # fmt: skip
def test_an_option_of_a_method_out_of_range_is_said(make) -> None:
    with pytest.raises(NoisylibError, match=r"(turn|gce|elr)\.(q|tau|probe_epochs|balanced|lam|beta)="):
        make()


def test_a_head_of_another_shape_is_said() -> None:
    for head in ((np.zeros((K, 5)), np.zeros(K)), (np.zeros((K, WIDTH)), np.zeros(2))):
        with pytest.raises(NoisylibError, match=r"'tiny_vit' with 3 classes needs \(3, 12\) and \(3,\)"):
            make_classifier(tiny(), K, head=head)


def test_layer_decay_needs_a_network_whose_blocks_are_known() -> None:
    class Bare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, WIDTH)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images.mean((2, 3)))

    from dataclasses import replace

    bare = replace(tiny(), model=Bare().eval())
    with pytest.raises(NoisylibError, match=r"layer_decay=0.5 needs a network of timm.*Bare"):
        tune(backbone=bare, recipe=recipe(layer_decay=0.5))
    assert tune(backbone=bare).steps == 3, "with all layers alike, any network can be tuned"


class Hungry:
    """Lets the network run out of memory when more than `most` images go through it at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, calls: int = 0) -> None:
        forward, seen = ImageClassifier.forward, SimpleNamespace(calls=0)

        def short(network: ImageClassifier, images: torch.Tensor) -> torch.Tensor:
            seen.calls += network.training
            if len(images) > most and seen.calls > calls:
                raise error
            return forward(network, images)

        monkeypatch.setattr(ImageClassifier, "forward", short)


SHORT = {
    "of a GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    "of the host": MemoryError(),
    "of torch on Linux": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
    "of torch on Windows": RuntimeError(
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."
    ),
}


@pytest.mark.parametrize("what", SHORT)
def test_out_of_memory_says_what_to_try(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Eight images are too many and four are not: so the first proposal works, and trains the same."""
    expected = tune().classifier.state_dict()
    Hungry(monkeypatch, 4, SHORT[what])
    with pytest.raises(
        NoisylibError, match=r"out of memory on cpu with batch_size=8 and accumulate=1"
    ) as error:
        tune()
    assert "8 images at once. Try accumulate=2, which takes 4 at once" in str(error.value)
    assert "or batch_size=4" in str(error.value)
    assert error.value.__cause__ is SHORT[what]
    found = tune(recipe=recipe(epochs=1, accumulate=2)).classifier.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)


def test_more_parts_than_images_are_never_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    Hungry(monkeypatch, 1, SHORT["of a GPU"])
    with pytest.raises(NoisylibError, match=r"2 images at once. Try accumulate=8, which takes 1 at once"):
        tune(recipe=recipe(epochs=1, accumulate=5))
    assert tune(recipe=recipe(epochs=1, accumulate=8)).steps == 3


def test_where_one_image_is_too_much_no_smaller_batch_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    Hungry(monkeypatch, 0, SHORT["of a GPU"])
    with pytest.raises(
        NoisylibError, match=r"1 images? at once. One image does not fit: use a smaller image size"
    ):
        tune(recipe=recipe(epochs=1, accumulate=8))


def test_out_of_memory_in_the_middle_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The proposal goes on from the checkpoint, because it trains the same."""
    expected = tune(recipe=recipe(epochs=2)).classifier.state_dict()
    with monkeypatch.context() as patch:
        Hungry(patch, 4, SHORT["of a GPU"], calls=4)
        with pytest.raises(NoisylibError, match=r"Try accumulate=2.* [Cc]heckpoint .*is kept"):
            tune(recipe=recipe(epochs=2), checkpoint=tmp_path, checkpoint_every=1)
        steps = []
        options = {"checkpoint": tmp_path, "progress": lambda *_: steps.append(1)}
        again = tune(recipe=recipe(epochs=2, accumulate=2), **options)
    assert len(steps) == 2, "the four steps before are not taken again"
    for name, value in again.classifier.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-4)


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    Hungry(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        tune()


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forward, calls = ImageClassifier.forward, []

    def diverged(network: ImageClassifier, images: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(network, images) * (float("nan") if len(calls) > 2 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "forward", diverged)
        with pytest.raises(
            NoisylibError, match=r"not finite in epoch 0, step 2: lr_backbone=0.002 or lr_head=0.02"
        ):
            tune(checkpoint=tmp_path, checkpoint_every=1)
    found = tune(checkpoint=tmp_path).classifier.state_dict()
    for name, value in tune().classifier.state_dict().items():
        assert torch.equal(found[name], value)


def test_few_clean_samples_of_a_class_are_said(caplog: pytest.LogCaptureFixture) -> None:
    rare = np.where((Y == 2) & (np.cumsum(Y == 2) > 2), 0, Y)
    assert (rare == 2).sum() == 2
    with caplog.at_level(logging.WARNING):
        tuned = tune(y_noisy=rare, method=Turn(probe_epochs=300), backbone=taught())
    (record,) = tuned.history
    assert record.selection.counts.argmin() == 2
    assert record.selection.n == 2
    assert "class 2 has 2 clean samples" in caplog.text
    assert "6 of 24" in caplog.text
    caplog.clear()
    tune(y_noisy=rare, method=Turn(balanced=False), backbone=taught())
    assert not caplog.records


def test_a_class_that_nobody_was_given_takes_no_part() -> None:
    two = np.where(Y == 2, 0, Y)
    tuned = tune(y_noisy=two, method="turn", backbone=taught())
    (record,) = tuned.history
    assert record.selection.counts[2] == 0
    assert record.images == 2 * record.selection.n
    assert tuned.logits(PIXELS, PIXELS.rows("test")).shape == (12, K)


def test_rows_may_come_in_any_kind_of_array() -> None:
    """Reversed, read only, of another width: the same rows."""
    y = np.ascontiguousarray(Y[::-1])
    expected = tune(rows=np.ascontiguousarray(ROWS[::-1]), y_noisy=y)
    frozen = ROWS[::-1].copy().astype(np.int32)
    frozen.setflags(write=False)
    y.setflags(write=False)
    for rows, labels in ((ROWS[::-1], Y[::-1]), (frozen, y)):
        found = tune(rows=rows, y_noisy=labels)
        for name, value in expected.classifier.state_dict().items():
            assert torch.equal(found.classifier.state_dict()[name], value)
    logits = expected.logits(PIXELS, ROWS)
    np.testing.assert_array_equal(expected.logits(PIXELS, ROWS[::-1]), logits[::-1])


def test_features_may_be_a_list() -> None:
    features = np.random.default_rng(0).normal(size=(N, WIDTH))
    assert tune(method="turn", features=features.tolist(), backbone=taught()).steps > 0


def test_settings_of_accelerate_in_the_environment_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `accelerate launch` hands on is for its own loops: the recipe says all of ours."""
    from accelerate.state import AcceleratorState, GradientState

    expected = tune(recipe=recipe(epochs=1, clip=0.3))
    for name, value in {"GRADIENT_ACCUMULATION_STEPS": "4", "MIXED_PRECISION": "bf16"}.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    try:
        found = tune(recipe=recipe(epochs=1, clip=0.3))
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    assert found.history[0].gradient_norm == expected.history[0].gradient_norm
    for name, value in expected.classifier.state_dict().items():
        assert torch.equal(found.classifier.state_dict()[name], value)
