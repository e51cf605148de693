"""Augmented versions of training images, for the cached views of a feature bank.

A view is a random crop of 60 to 100 % of the image's area with a width of 0.9 to 1.1 heights, resized to
the backbone's input and mirrored half of the time: the crop of [1]_, section 6, in narrow ranges, because
the networks are frozen and the images are often medical. Colours stay as they are. The backbone's own
normalisation follows, as for any image.

Differences from [1]_: its ranges are 8 to 100 % and 3/4 to 4/3. Where a crop of the drawn shape cannot
cover the drawn area, because the image is longer than the crop, the area is drawn below what fits; common
implementations try again and then take the centre.

.. [1] C. Szegedy et al. Going deeper with convolutions. CVPR 2015.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from noisylib.errors import NoisylibError, require
from noisylib.seeding import numpy_generator

if TYPE_CHECKING:
    from PIL.Image import Image

    from noisylib.data import ImageSet
    from noisylib.features.backbones import Backbone

CROP_AREA = (0.6, 1.0)
CROP_RATIO = (0.9, 1.1)
FLIP = 0.5
SIDED = re.compile(r"(?<![a-z])(left|right)(?![a-z])", flags=re.IGNORECASE)


@dataclass(frozen=True)
class Augmentation:
    """V random versions of an image, each from a generator of its own.

    Attributes
    ----------
    n_views : V.
    size : (height, width) of the backbone's input.
    interpolation : the backbone's, for example "bicubic".
    flip : probability of a left-right flip.
    """

    n_views: int
    size: tuple[int, int]
    interpolation: str
    flip: float = FLIP

    @classmethod
    def of(cls, images: ImageSet, backbone: Backbone, n_views: int) -> Augmentation:
        """Return the augmentation of `images` for `backbone`: no flip where classes tell left from right."""
        _, height, width = backbone.preprocessing["input_size"]
        sided = any(SIDED.search(name) for name in images.info.classes)
        flip = 0.0 if sided else FLIP
        return cls(n_views, (height, width), backbone.preprocessing["interpolation"], flip)

    def recipe(self) -> dict[str, Any]:
        """Return what is done, as plain values for a bank's record."""
        ranges = {"crop_area": list(CROP_AREA), "crop_ratio": list(CROP_RATIO), "horizontal_flip": self.flip}
        return {"views": self.n_views, "view_recipe": ranges}

    def pixels(self, image: Image, key: str) -> list[Tensor]:
        """Return V versions (3, H, W) uint8; they depend on `key` and the view's number, on no other call."""
        return [self._view(image, numpy_generator("view", view, key)) for view in range(self.n_views)]

    def _view(self, image: Image, generator: np.random.Generator) -> Tensor:
        functional = require("torchvision.transforms.v2.functional", "backbones")
        mode = require("torchvision.transforms", "backbones").InterpolationMode(self.interpolation)
        window = crop_window(*image.size, generator)
        # Flipped or not, each view takes the same number of draws.
        mirrored = generator.random() < self.flip
        crop = functional.resized_crop(image, *window, size=list(self.size), interpolation=mode)
        return functional.pil_to_tensor(functional.horizontal_flip(crop) if mirrored else crop)


def crop_window(width: int, height: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a random crop inside an image, in pixels."""
    ratio = math.exp(generator.uniform(*np.log(CROP_RATIO)))
    # The largest share of the area that a crop with this ratio can cover.
    fits = min(1.0, height * ratio / width, width / (height * ratio))
    low, high = (min(share, fits) for share in CROP_AREA)
    area = generator.uniform(low, high) * width * height
    # Rounded sides still fit, and a single pixel stays one: the least side is sqrt(0.6 * 0.9) of it.
    crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    left = int(generator.integers(width - crop_width + 1))
    top = int(generator.integers(height - crop_height + 1))
    return top, left, crop_height, crop_width


def check_views(views: int) -> int:
    """Return `views` if it is 0 or at least 2, else raise NoisylibError."""
    if views == 1 or views < 0:
        raise NoisylibError(
            f"views={views}: give 0 to store none, or at least 2 augmented versions of each training image, "
            "since a method that uses views compares different ones."
        )
    return views
