"""A backbone pretrained on the spot knows more than a random one about digits that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisylib.errors import NoisylibError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning.tiny import _state, digit_pixels, pretrained_tiny, turned_and_mirrored


def probe_accuracy(backbone):
    """Test accuracy on the other digits of a linear layer fitted by least squares to one-hot labels."""
    pixels = digit_pixels()
    with torch.inference_mode():
        X = backbone.model(backbone.normalise(pixels.take(np.arange(len(pixels))))).double().numpy()
    X = np.c_[X, np.ones(len(X))]
    train, test = pixels.rows("train"), pixels.rows("test")
    W = np.linalg.lstsq(X[train], np.eye(5)[pixels.labels[train]], rcond=None)[0]
    return ((X[test] @ W).argmax(1) == pixels.labels[test]).mean()


def test_what_it_learned_carries_over_to_other_digits():
    random, taught = probe_accuracy(pretrained_tiny(steps=0)), probe_accuracy(pretrained_tiny())
    assert taught > random + 0.03  # of the errors, two in five are gone


def test_the_same_again_and_independent_of_the_session():
    torch.manual_seed(1)
    one = pretrained_tiny(steps=5)
    expected = torch.rand(3)
    _state.cache_clear()
    torch.manual_seed(1)
    with torch.inference_mode(False), torch.no_grad():
        other = pretrained_tiny(steps=5)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), expected)
    first, second = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_changing_one_leaves_the_next_alone():
    one = pretrained_tiny(steps=5)
    before = one.model.pos_embed.clone()
    with torch.no_grad():
        one.model.pos_embed.zero_()
    assert torch.equal(pretrained_tiny(steps=5).model.pos_embed, before)


def test_seed_and_digits_matter_and_zero_steps_is_random():
    made = [
        pretrained_tiny(steps=5),
        pretrained_tiny(steps=5, seed=1),
        pretrained_tiny(steps=5, classes=(8, 9)),
        pretrained_tiny(steps=0),
    ]
    assert len({backbone.model.cls_token.sum().item() for backbone in made}) == 4
    assert torch.equal(made[3].model.cls_token, tiny_backbone().model.cls_token)
    assert made[2].preprocessing["weights"] == "digits 89, 5 steps, seed 0"
    assert not any(p.requires_grad for p in made[0].model.parameters())


def test_eight_positions_of_a_square():
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    found = turned_and_mirrored(pixels)
    # The corners 0 1 / 2 3 of the first channel: quarter turns to the left, then those of the mirror image.
    assert found[:, 0].reshape(8, 4).tolist() == [
        [0, 1, 2, 3],
        [1, 3, 0, 2],
        [3, 2, 1, 0],
        [2, 0, 3, 1],
        [1, 0, 3, 2],
        [0, 2, 1, 3],
        [2, 3, 0, 1],
        [3, 1, 2, 0],
    ]
    assert np.array_equal(found[:1], pixels)


def test_digits_of_the_task_are_never_mirrored():
    pixels = digit_pixels()
    assert pixels.sided
    assert pixels.class_names == ("5", "6", "7", "8", "9")
    assert len(pixels.rows("train")) + len(pixels.rows("test")) == len(pixels) == 896
    assert (pixels.name, pixels.licence, pixels.citation) == ("digits", "CC BY 4.0", "alpaydin1998digits")


@pytest.mark.parametrize("steps", [-1, 2.5, True])
def test_steps_that_are_none(steps):
    with pytest.raises(NoisylibError, match=r"steps=.* must be an integer, 0 or more"):
        pretrained_tiny(steps=steps)
