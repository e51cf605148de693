"""The features that a bank trains on and is scored on, as its heads see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from noisylib import pages
from noisylib.errors import NoisylibError
from noisylib.mapped import Scale, SeenRows, Source, Windows, scale_of, source_of
from noisylib.memory import free_memory, in_words
from noisylib.methods import Method
from noisylib.networks import Networks
from noisylib.parts import free_bytes
from noisylib.recipe import Recipe
from noisylib.validation import BankInputs

# Of what is free: heads, labels and whatever else the machine does need some as well.
FREE_SHARE = 0.5
# Bytes of a number while features are z-scored in double precision, with its copy in single precision.
PREPARING = 28
SMALL = 2**28  # bytes that are taken without asking how much there is


class Samples:
    """Standardised features on the device; the parts of a bank share them.

    Attributes
    ----------
    X : (N, D) training features.
    X_test : (N_test, D), or None where nothing is scored.
    views : (V, N, D) augmented versions of the training features, or None.
    """

    def __init__(self, inputs: BankInputs, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> None:
        self.X, self.X_test, self.views = as_heads_see(
            inputs.X, inputs.X_test, inputs.views, recipe=recipe, device=device, dtype=dtype
        )
        self._prepared: dict[int, tuple[Tensor, Tensor | None]] = {}

    def prepared(self, networks: Networks) -> tuple[Tensor, Tensor | None]:
        """Return training and test features as `networks` take them, (N, F) and (N_test, F)."""
        if networks.n_inputs not in self._prepared:
            test = None if self.X_test is None else networks.prepare(self.X_test)
            self._prepared[networks.n_inputs] = (pages.copy(networks.prepare(self.X)), test)
        return self._prepared[networks.n_inputs]


class MappedSamples:
    """The same where features stay on disk, or in the host's memory beside a GPU: they are read as needed.

    Attributes
    ----------
    X, X_test, views : as of `Samples`, but no tensors; indexing reads rows.
    """

    def __init__(
        self, inputs: BankInputs, recipe: Recipe, device: torch.device, dtype: torch.dtype, budget: int
    ) -> None:
        source = source_of(inputs.X)
        scale = scale_of(source, moments) if recipe.standardise else Scale()

        def seen(source: Source) -> SeenRows:
            return SeenRows(source, scale, device, dtype, budget)

        self.X = seen(source)
        self.X_test = None if inputs.X_test is None else seen(source_of(inputs.X_test))
        self.views = None if inputs.views is None else seen(source_of(inputs.views))

    def prepared(self, networks: Networks) -> tuple[Windows, Windows | None]:
        """Return training and test features as `networks` take them, in place of tensors."""
        return self.X.prepared(networks), None if self.X_test is None else self.X_test.prepared(networks)


def make_samples(
    inputs: BankInputs,
    recipe: Recipe,
    device: torch.device,
    dtype: torch.dtype,
    *,
    method: Method,
    head: str,
    memory_limit: int | None = None,
) -> Samples | MappedSamples:
    """Return features in memory if they fit there, else features that are read as they are needed.

    Parameters
    ----------
    memory_limit : bytes that features may take on the device; by default half of what is free there.

    Raises
    ------
    NoisylibError
        The limit is no positive number, or they do not fit and the method needs all of them at once.
    """
    if memory_limit is not None and (
        isinstance(memory_limit, bool) or not isinstance(memory_limit, int) or memory_limit < 1
    ):
        raise NoisylibError(
            f"memory_limit={memory_limit!r}: a number of bytes, at least 1, is needed, or None."
        )
    needed = needed_bytes(inputs, method, head, device, dtype)
    allowed = memory_limit
    if allowed is None and needed > SMALL:
        # Without another way to train, there is no reason to leave anything free.
        allowed = _free(device, 1.0 if method.whole_features else FREE_SHARE)
    if allowed is None or needed <= allowed:
        return Samples(inputs, recipe, device, dtype)
    if method.whole_features:
        raise NoisylibError(
            f"method {method.name!r} looks at all training features at once, and they take "
            f"{in_words(needed)} where {in_words(allowed)} are allowed: raise memory_limit (--memory-limit), "
            "make the features narrower, or use a method that reads them in batches, such as 'gce'."
        )
    return MappedSamples(inputs, recipe, device, dtype, allowed)


def needed_bytes(
    inputs: BankInputs, method: Method, head: str, device: torch.device, dtype: torch.dtype
) -> int:
    """Return the bytes that features take at most, on a CPU while they are z-scored, on a GPU for good."""
    parts = [part for part in (inputs.X, inputs.X_test, inputs.views) if part is not None]
    numbers = sum(part.size for part in parts)
    if device.type == "cpu":
        return PREPARING * numbers
    wide = any(kind == "adapter" for kind, _ in method.head_kinds(head))
    prepared = 2 * sum(part.size for part in parts[:2]) if wide else 0
    return dtype.itemsize * (numbers + prepared)


def _free(device: torch.device, share: float) -> int | None:
    free = free_memory() if device.type == "cpu" else free_bytes(device)
    return None if free is None else int(share * free)


def as_heads_see(
    X: np.ndarray, *others: np.ndarray | None, recipe: Recipe, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, ...]:
    """Return training features (N, D) and `others` (..., D) as heads get them; None stays None.

    If the recipe says so, all are z-scored with the mean and deviation of `X`.
    """
    # A copy, because torch warns of arrays that are read-only, such as memory maps.
    tensors = [None if a is None else torch.as_tensor(np.array(a, dtype=np.float64)) for a in (X, *others)]
    if recipe.standardise:
        mean, std = moments(tensors[0])
        tensors = [None if t is None else (t - mean) / std for t in tensors]
    return tuple(None if t is None else t.to(device, dtype) for t in tensors)


def moments(X: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (D,) of features (N, D); the deviation of a constant feature counts as 1."""
    mean, std = X.mean(0), X.std(0, correction=0)
    std[std == 0] = 1  # a constant feature carries nothing: leave it at zero
    return mean, std
