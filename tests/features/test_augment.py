"""Augmentation of training images: what is cut out and who is flipped, by key and number of view alone."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from _tiny_extraction import tiny_backbone, tiny_images
from PIL import Image

from noisylib.errors import NoisylibError
from noisylib.features import augment
from noisylib.features.augment import Augmentation, check_views, crop_window


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def scripted(*numbers: float) -> SimpleNamespace:
    """Return a generator whose draws are the given shares of their ranges, in turn."""
    shares = iter(numbers)
    return SimpleNamespace(
        uniform=lambda low, high: low + next(shares) * (high - low),
        integers=lambda end: int(next(shares) * end),
    )


@pytest.mark.parametrize(
    ("size", "shares", "window"),
    [
        # The middle of the ratio range is sqrt(0.99) = 0.995; 0.8 of 100 x 100 pixels is then 89.2 x 89.7.
        ((100, 100), (0.5, 0.5, 0.0, 0.999), (10, 0, 90, 89)),
        # Widest and largest: 1.1 * h * h fits into 100 x 100 up to h = 90.9.
        ((100, 100), (1.0, 1.0, 0.999, 0.0), (0, 0, 91, 100)),
        # 1.1 * h * h = 0.6 * 100 * 100 gives h = 73.9, and 27 places from the top, 20 from the left.
        ((100, 100), (1.0, 0.0, 0.999, 0.999), (26, 19, 74, 81)),
        # A square-like crop of 200 x 50 pixels covers at most 1.1 * 50 * 50, less than 60 % of the area.
        ((200, 50), (1.0, 0.3, 0.5, 0.5), (0, 73, 50, 55)),
        ((50, 200), (0.0, 0.3, 0.5, 0.5), (72, 0, 56, 50)),
        ((1, 1), (0.0, 0.0, 0.0, 0.0), (0, 0, 1, 1)),
        ((1, 1), (1.0, 0.0, 0.0, 0.0), (0, 0, 1, 1)),
        ((500, 1), (0.0, 0.0, 0.5, 0.0), (0, 250, 1, 1)),
    ],
)
def test_windows_worked_out_by_hand(size, shares, window):
    assert crop_window(*size, scripted(*shares)) == window


@pytest.mark.parametrize("size", [(28, 28), (600, 450), (450, 600), (1000, 50), (3, 2)])
def test_windows_stay_inside_and_keep_their_ranges(size):
    width, height = size
    rng = np.random.default_rng(0)
    top, left, h, w = np.array([crop_window(width, height, rng) for _ in range(2000)]).T
    assert min(top.min(), left.min()) == 0
    assert min(h.min(), w.min()) >= 1
    assert (top + h).max() == height
    assert (left + w).max() == width
    if min(size) > 20:
        # Sides are rounded by at most half a pixel.
        assert ((w + 0.5) / (h - 0.5)).min() > 0.9
        assert ((w - 0.5) / (h + 0.5)).max() < 1.1
        fits = min(1.0, 1.1 * height / width, width / (0.9 * height))
        share = (w * h) / (width * height)
        assert share.min() > 0.95 * min(0.6, fits) * 0.9 / 1.1
        assert share.max() <= 1.02 * fits
    if size == (28, 28):
        assert (w * h).min() == pytest.approx(0.6 * 28 * 28, rel=0.05)
        assert (w * h).max() == pytest.approx(28 * 28, rel=0.05)
        assert np.mean(w * h) == pytest.approx(0.79 * 28 * 28, rel=0.02)  # 0.8, less where a corner is cut


def test_view_is_that_part_of_the_image_at_the_size_of_the_input(monkeypatch):
    monkeypatch.setattr(augment, "crop_window", lambda *_: (2, 3, 10, 12))  # top, left, height, width
    image = noise(40, 30)
    for mode, filter_ in (("bicubic", Image.Resampling.BICUBIC), ("nearest", Image.Resampling.NEAREST)):
        view, _ = Augmentation(2, (16, 24), mode, flip=0.0).pixels(image, "key")
        expected = image.crop((3, 2, 15, 12)).resize((24, 16), filter_)
        assert view.dtype == torch.uint8
        assert np.array_equal(view.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_views_depend_on_key_and_number_only():
    image, two = noise(40, 30), Augmentation(2, (32, 32), "bicubic")
    first = two.pixels(image, "a")
    two.pixels(image, "b")
    again = dataclasses.replace(two, n_views=5).pixels(image, "a")
    assert len(again) == 5
    assert all(torch.equal(x, y) for x, y in zip(first, again[:2], strict=True))
    everything = torch.stack([*again, *two.pixels(image, "b")]).flatten(1)
    assert len(torch.unique(everything, dim=0)) == 7


def test_global_generators_play_no_part():
    image, two = noise(40, 30), Augmentation(2, (32, 32), "bicubic")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = two.pixels(image, "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert all(torch.equal(x, y) for x, y in zip(first, two.pixels(image, "a"), strict=True))


def test_a_flipped_view_is_the_mirror_of_the_same_crop():
    image, plain = noise(40, 30), Augmentation(3, (32, 32), "bicubic", flip=0.0)
    mirrored = dataclasses.replace(plain, flip=1.0)
    for x, y in zip(plain.pixels(image, "a"), mirrored.pixels(image, "a"), strict=True):
        assert torch.equal(x, y.flip(-1))


def flips(augmentation: Augmentation) -> int:
    """Count the views of 200 whose bright side, the right one, has come to the left."""
    image = Image.fromarray(
        np.repeat(np.linspace(0, 255, 40, dtype=np.uint8)[None, :, None], 30, 0).repeat(3, 2)
    )
    views = [view for i in range(100) for view in augmentation.pixels(image, f"image {i}")]
    return sum(bool(view[..., 0].float().mean() > view[..., -1].float().mean()) for view in views)


@pytest.mark.parametrize(
    ("classes", "flipped"),
    [
        (("a", "b"), True),
        (("kidney-left", "kidney-right"), False),
        (("a", "Right lung"), False),
        (("leftover", "bright"), True),
    ],
)
def test_half_are_flipped_unless_classes_tell_left_from_right(tmp_path, classes, flipped):
    images = tiny_images()
    images = dataclasses.replace(images, info=dataclasses.replace(images.info, classes=classes))
    augmentation = Augmentation.of(images, tiny_backbone(tmp_path), 2)
    # Of 200 fair coins, 70 to 130 are heads in all but one of 50,000 trials.
    assert 70 < flips(augmentation) < 130 if flipped else flips(augmentation) == 0
    assert augmentation.recipe()["view_recipe"]["horizontal_flip"] == (0.5 if flipped else 0.0)


def test_size_and_interpolation_are_the_backbones(tmp_path):
    backbone = tiny_backbone(tmp_path)
    augmentation = Augmentation.of(tiny_images(), backbone, 2)
    assert (augmentation.size, augmentation.interpolation) == (
        (32, 32),
        backbone.preprocessing["interpolation"],
    )
    assert augmentation.pixels(noise(40, 30), "a")[0].shape == backbone.pixels(noise(40, 30)).shape
    wide = dataclasses.replace(backbone, preprocessing={**backbone.preprocessing, "input_size": [3, 24, 32]})
    assert Augmentation.of(tiny_images(), wide, 2).pixels(noise(40, 30), "a")[0].shape == (3, 24, 32)


@pytest.mark.parametrize("views", [1, -1, -2])
def test_numbers_of_views_that_make_no_sense(views):
    with pytest.raises(NoisylibError, match=rf"views={views}: give 0 .* at least 2"):
        check_views(views)


@pytest.mark.parametrize("views", [0, 2, 7])
def test_numbers_of_views_that_do(views):
    assert check_views(views) == views
