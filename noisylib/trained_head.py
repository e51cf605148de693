"""A trained head: what it predicts, what it must be, and how it is kept in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError, check_name
from noisylib.head_files import read_head, write_head
from noisylib.heads import HEAD_KINDS, HeadBank
from noisylib.recipe import Recipe
from noisylib.training import EVALUATION_ROWS
from noisylib.validation import check_features

# What the file says beside the arrays.
FACTS = ("kind", "classes", "method", "options", "recipe", "seed", "told", "feature_names")


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """The networks that a method predicts with, as they were after the last epoch.

    The scores of a benchmark are means over the last ten epochs, of which this is the last. What else a
    method trains, such as the peer of Co-teaching's first network, is not kept.

    Parameters
    ----------
    kind : "linear", "mlp" or "adapter": the kind of the networks, whose logits are summed.
    weights : name -> (nets, rows, columns), the parameters of `noisylib.heads.HeadBank`.
    mean, std : (D,) float64 of the training features; what is predicted is z-scored with them.
    classes : K labels, all text, all whole numbers or all truth values.
    method, options : registry name and hyper-parameters.
    recipe : optimisation settings.
    seed : of the start of the heads and the batch order.
    told : what the method was told of the noise, and under "estimated" which of it was estimated.
    feature_names : D names, or none; where samples come with names, they must be these.

    Raises
    ------
    NoisylibError
        If these do not fit together, or a number is not finite.
    """

    kind: str
    weights: dict[str, np.ndarray]
    mean: np.ndarray
    std: np.ndarray
    classes: tuple[str | int | bool, ...]
    method: str = ""
    options: dict[str, float | None] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    feature_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "feature_names", tuple(self.feature_names))
        _check_head(self)

    @property
    def n_features(self) -> int:
        """Feature width D."""
        return len(self.mean)

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    def logits(self, X: np.ndarray, *, dtype: torch.dtype = torch.float64) -> np.ndarray:
        """Return the scores (M, K) of samples (M, D): the sum of the networks' logits.

        In double precision the score of a sample does not depend on the samples beside it. In that of the
        training, float32, the scores are those that `noisylib.train_bank` gives for the same test split, up
        to rounding if the method trained other networks too, which were multiplied along there.

        Raises
        ------
        NoisylibError
            For features with NaN, or of another width than those of the training.
        """
        X = check_features(X, "X")
        if X.shape[1] != self.n_features:
            raise NoisylibError(
                f"X has {X.shape[1]} features, but the head was trained on {self.n_features}: use the same "
                "backbone."
            )
        bank = _bank(self, dtype)
        for name, values in bank.parameters.items():
            values[0].copy_(torch.as_tensor(self.weights[name]))
        blocks = [bank.forward(bank.prepare(x))[:, 0, 0].sum(0) for x in self._blocks(X, dtype)]
        return torch.cat(blocks).numpy()

    def order_of(self, names: Sequence[str]) -> list[int]:
        """Return where each feature of the training stands among columns of these names.

        Raises
        ------
        NoisylibError
            Some features of the training are not there, or other columns are.
        """
        absent = [name for name in self.feature_names if name not in names]
        others = [name for name in names if name not in self.feature_names]
        if absent or others:
            raise NoisylibError(
                f"the features are not those of the training: {absent[:5]} are missing, {others[:5]} were "
                "not there. Name or drop columns so that the two agree."
            )
        at = {name: i for i, name in enumerate(names)}
        return [at[name] for name in self.feature_names]

    def _blocks(self, X: np.ndarray, dtype: torch.dtype) -> Iterator[Tensor]:
        """Yield z-scored features, (rows, D) at a time."""
        for start in range(0, len(X), EVALUATION_ROWS):
            rows = X[start : start + EVALUATION_ROWS].astype(np.float64)
            yield torch.as_tensor((rows - self.mean) / self.std).to(dtype)

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Return the softmax (M, K) float64 of `logits`; columns are in the order of `classes`."""
        return torch.as_tensor(self.logits(X)).softmax(-1).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest class (M,) of each sample, one of `classes`; ties go to the first."""
        return np.array(self.classes)[self.logits(X).argmax(-1)]

    def save(self, path: str | Path) -> None:
        """Write the head to `path` as safetensors, or leave `path` as it was if that fails."""
        facts = {name: value for name, value in vars(self).items() if name in FACTS}
        facts |= {"classes": list(self.classes), "feature_names": list(self.feature_names)}
        facts |= {"recipe": asdict(self.recipe)}
        write_head(path, facts, {"mean": self.mean, "std": self.std, **self.weights})


def load_head(path: str | Path) -> TrainedHead:
    """Return the head stored at `path`. Nothing in such a file can run code.

    Raises
    ------
    MissingDataError
        There is no such file.
    NoisylibError
        The file is damaged, altered, no head, or of a newer version of the package.
    """
    facts, arrays = read_head(path)
    try:
        facts["recipe"] = Recipe(**facts["recipe"])
        mean, std = arrays.pop("mean"), arrays.pop("std")
        return TrainedHead(weights=arrays, mean=mean, std=std, **{name: facts[name] for name in FACTS})
    except (NoisylibError, KeyError, TypeError) as error:
        raise NoisylibError(f"{path} holds no usable head ({error}): train it again.") from error


def _check_head(head: TrainedHead) -> None:
    """Raise NoisylibError unless the parts of a head fit together."""
    check_name("kind", head.kind, HEAD_KINDS)
    _check_classes(head.classes)
    if head.feature_names and len(set(head.feature_names)) != head.n_features:
        raise NoisylibError(
            f"feature_names holds {len(set(head.feature_names))} different names: "
            f"{head.n_features} are needed, one for each feature, or none."
        )
    shapes = {name: values.shape[1:] for name, values in _bank(head).parameters.items()}
    if set(head.weights) != set(shapes):
        raise NoisylibError(
            f"weights holds {sorted(head.weights)}: a head of kind {head.kind!r} has {sorted(shapes)}."
        )
    for name, array in {**head.weights, "mean": head.mean, "std": head.std}.items():
        expected = tuple(shapes.get(name, (head.n_features,)))
        if array.shape != expected:
            raise NoisylibError(f"{name} has shape {array.shape}: {expected} is needed.")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise NoisylibError(f"{name} holds NaN, infinite values or other than floats.")
    if not (head.std > 0).all():
        raise NoisylibError("std holds values that are not above 0.")


def _check_classes(classes: tuple[str | int | bool, ...]) -> None:
    one_type = any(all(type(c) is kind for c in classes) for kind in (str, int, bool))
    if len(classes) < 2 or len(set(classes)) < len(classes) or not one_type:
        raise NoisylibError(
            f"classes={list(classes)!r}: at least two different labels are needed, all text, all whole "
            "numbers or all truth values."
        )


def _bank(head: TrainedHead, dtype: torch.dtype = torch.float32) -> HeadBank:
    """Return fresh networks, (1 seed, nets, 1 run), as many and as wide as the arrays of a head say."""
    sizes = {name: array.shape for name, array in head.weights.items()}
    if "W" not in sizes or any(len(size) != 3 or 0 in size for size in sizes.values()) or head.mean.ndim != 1:
        raise NoisylibError(f"weights has shapes {sizes}: 'W' is needed, and three axes of at least 1 each.")
    nets, width = sizes["W"][0], sizes["V"][1] if "V" in sizes else None
    return HeadBank(head.kind, [0], head.n_features, head.n_classes, n_nets=nets, width=width, dtype=dtype)
