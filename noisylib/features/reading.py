"""Images read and decoded by threads, ahead of the network or between its steps."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from noisylib.features.augment import Augmentation
from noisylib.features.backbones import Backbone
from noisylib.features.bank_rules import SPLITS

if TYPE_CHECKING:
    from noisylib.data import ImageSet

_Read = tuple[Tensor, list[Tensor], tuple[int, int]]


def read_batches(
    images: ImageSet,
    backbone: Backbone,
    batches: Sequence[range],
    workers: int | None = None,
    augmentation: Augmentation | None = None,
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield (pixels (B, 3, H, W) uint8, sizes (B, 2) int32) per batch, decoded by threads on every core.

    Pillow lets go of the interpreter lock while it decodes and resizes, so threads are enough, and
    nothing has to be copied between processes. A GPU gets its batches decoded ahead. On a CPU a batch is
    decoded between two forward passes: beside one, it would hold up torch's threads at every step.

    With an `augmentation`, the views of the batch's training images follow its B plain images, all views
    of one image after those of another: (B + B_train V, 3, H, W). An image is decoded once for all.
    """
    ahead_of_use = 0 if backbone.device.type == "cpu" else 2
    training = images.split == SPLITS.index("train")

    def read(row: int) -> _Read:
        image = images.image(row)
        views = augmentation.pixels(image, images.keys[row]) if augmentation and training[row] else []
        return backbone.pixels(image), views, image.size

    def batch(futures: list[Future[_Read]]) -> tuple[Tensor, np.ndarray]:
        plain, views, sizes = zip(*(future.result() for future in futures), strict=True)
        return torch.stack([*plain, *chain.from_iterable(views)]), np.array(sizes, dtype=np.int32)

    ahead: deque[list[Future[_Read]]] = deque()
    pool = ThreadPoolExecutor(workers or os.cpu_count(), thread_name_prefix="decode")
    try:
        for rows in batches:
            ahead.append([pool.submit(read, row) for row in rows])
            if len(ahead) > ahead_of_use:
                yield batch(ahead.popleft())
        while ahead:
            yield batch(ahead.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
