"""Labels as people have them, and as the package counts them: 0 to K-1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from noisylib.errors import NoisylibError

# Beyond this a float no longer holds every whole number.
LARGEST_EXACT = 2.0**53


def encode_labels(y: ArrayLike, argument: str = "y") -> tuple[np.ndarray, np.ndarray]:
    """Return labels as numbers from 0, and the class that each number stands for.

    Parameters
    ----------
    y : (N,) strings, whole numbers (floats such as 2.0 count as whole), or truth values; an array, a list
        or a pandas Series, categories included.
    argument : what an error calls `y`.

    Returns
    -------
    codes : (N,) int64 in 0..K-1.
    classes : (K,) sorted distinct labels, text, integers or truth values; ``classes[codes]`` are the labels.
        The categories of a pandas Series that no sample has are not among them.

    Raises
    ------
    NoisylibError
        If `y` is empty, has more than one axis, a missing label, fractions, labels of several types or of
        an unknown one, or one class only.
    """
    # NumPy would make text of a list that holds both numbers and text.
    labels = _plain(np.asarray(y, dtype=object if isinstance(y, list | tuple) else None), argument)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) == 1:
        raise NoisylibError(
            f"{argument} holds only one class, {classes[0].item()!r}: a classifier needs two. "
            "Add samples of another, or check which column holds the labels."
        )
    return codes.astype(np.int64), classes


def _plain(labels: np.ndarray, argument: str) -> np.ndarray:
    """Return labels (N,) of kind text, integer or bool, or raise."""
    if labels.ndim != 1 or not labels.size:
        raise NoisylibError(f"{argument} has shape {labels.shape}: one label per sample, (N,), is needed.")
    if labels.dtype.kind in "OT":
        labels = _of_one_type(labels.astype(object), argument)
    if labels.dtype.kind == "f":
        return _whole(labels, argument)
    if labels.dtype.kind not in "Uiub":
        raise NoisylibError(
            f"Unknown label type: {argument} has dtype {labels.dtype}. Labels are text, whole numbers or "
            "truth values; convert them to one of these."
        )
    return labels


def _of_one_type(labels: np.ndarray, argument: str) -> np.ndarray:
    """Return objects as an array of text, numbers or truth values."""
    _refuse_missing(np.array([_is_missing(label) for label in labels]), argument)
    kinds = {bool if isinstance(label, bool | np.bool_) else type(label) for label in labels}
    if all(issubclass(kind, str) for kind in kinds):
        return labels.astype(str)
    if kinds == {bool}:
        return labels.astype(bool)
    if bool not in kinds and all(issubclass(kind, int | float | np.integer | np.floating) for kind in kinds):
        whole = all(issubclass(kind, int | np.integer) for kind in kinds)
        return np.array(list(labels)) if whole else labels.astype(np.float64)
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise NoisylibError(
        f"Unknown label type: {argument} holds values of type {found}. Labels are all text, all whole "
        "numbers or all truth values; convert them to one of these."
    )


def _whole(labels: np.ndarray, argument: str) -> np.ndarray:
    """Return floats as integers, or raise."""
    labels = labels.astype(np.float64)
    _refuse_missing(np.isnan(labels), argument)
    fractions = (labels != np.round(labels)) | (np.abs(labels) > LARGEST_EXACT)
    if fractions.any():
        first = int(np.flatnonzero(fractions)[0])
        raise NoisylibError(
            f"Unknown label type: {argument}[{first}]={labels[first]} is continuous. A class is text or a "
            "whole number: if these are measurements, divide them into classes first."
        )
    return labels.astype(np.int64)


def _is_missing(label: object) -> bool:
    # NaN and NaT differ from themselves; NA of pandas will not say.
    return label is None or type(label).__name__ == "NAType" or label != label


def _refuse_missing(missing: np.ndarray, argument: str) -> None:
    if missing.any():
        raise NoisylibError(
            f"{argument} has no label (None or NaN) in {int(missing.sum())} rows, first in row "
            f"{int(np.flatnonzero(missing)[0])}: drop those rows, or label them."
        )
