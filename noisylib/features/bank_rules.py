"""What every feature bank must satisfy, checked when one is made and when one is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import BankError
from noisylib.mapped_rows import MappedRows, bad_rows

if TYPE_CHECKING:
    from noisylib.features.bank import FeatureBank

SPLITS = ("train", "val", "test")
DTYPES = {
    "features": np.float16,
    "labels": np.int64,
    "split": np.uint8,
    "groups": np.int64,
    "views": np.float16,
    "projection": np.float16,
}
OPTIONAL = {"groups", "views", "projection"}
HUMAN = "human_labels."  # what the names of arrays of human labels begin with
_NAME = re.compile(r"[A-Za-z0-9_.]+")


def check_bank(bank: FeatureBank) -> None:
    """Raise BankError at the first rule that `bank` breaks; the rules are FeatureBank's."""
    _check_names(bank)
    _check_shapes(bank)
    _check_values(bank)
    _check_coverage(bank)
    for name, labels in bank.human_labels.items():
        _check_human(name, labels, bank)


def as_half(name: str, values: np.ndarray) -> np.ndarray:
    """Return real `values` as float16, or raise BankError where a finite one is beyond its range."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise BankError(f"{name} has dtype {values.dtype}; give real numbers.")
    if values.dtype != np.float16:
        largest = np.abs(values[np.isfinite(values)]).max(initial=0)
        if largest > np.finfo(np.float16).max:
            raise BankError(
                f"{name} holds {largest:g}; float16 ends at 65504. Divide the features by a constant first."
            )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float16)


def as_integers(name: str, values: np.ndarray, dtype: type) -> np.ndarray:
    """Return integer `values` as `dtype`, or raise BankError where that would change them."""
    values = np.asarray(values)
    if values.dtype.kind not in "iub":
        raise BankError(f"{name} has dtype {values.dtype}; give integers.")
    limits = np.iinfo(dtype)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise BankError(
            f"{name} holds values from {values.min()} to {values.max()}, beyond {np.dtype(dtype)}."
        )
    return np.ascontiguousarray(values, dtype=dtype)


def _check_names(bank: FeatureBank) -> None:
    for argument in ("dataset", "backbone"):
        value = getattr(bank.meta, argument)
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise BankError(f"{argument}={value!r}: use letters, digits, '_' and '.' only, at least one.")
    for name in bank.human_labels:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BankError(f"human labels called {name!r}: use letters, digits, '_' and '.' only.")
    names = bank.class_names
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise BankError(f"class_names={names!r}: every class needs its own, non-empty name.")
    if len(names) < 2:
        raise BankError(f"class_names has K={len(names)} entries; a classifier needs at least 2 classes.")


def _check_shapes(bank: FeatureBank) -> None:
    for name, array in bank.arrays().items():
        wanted = np.dtype(DTYPES.get(name, np.int64))  # human labels, under whatever name, are labels
        if not isinstance(array, np.ndarray | MappedRows) or array.dtype != wanted:
            found = getattr(array, "dtype", type(array).__name__)
            raise BankError(f"{name} has dtype {found}; a bank holds {wanted} (from_arrays casts).")
    if bank.features.ndim != 2 or 0 in bank.features.shape:
        raise BankError(f"features has shape {bank.features.shape}; it must be (N, D) with N, D >= 1.")
    for name, array in bank.arrays().items():
        if name not in ("features", "views", "projection") and array.shape != (bank.n_samples,):
            raise BankError(f"{name} has shape {array.shape}; features has N={bank.n_samples} rows.")
    if bank.views is not None:
        _check_view_shape(bank.views.shape, len(bank.indices("train")), bank.n_features)
    if bank.projection is not None:
        _check_projection(bank.projection, bank.n_features)


def _check_view_shape(shape: tuple[int, ...], n_train: int, n_features: int) -> None:
    if n_train == 0:
        raise BankError("views are of training samples, and the train split is empty: give no views.")
    if shape[1:] != (n_train, n_features) or shape[0] < 2:
        raise BankError(
            f"views has shape {shape}; it must be (V, {n_train}, {n_features}): V >= 2 versions of each of "
            f"the {n_train} training samples, in their order, D={n_features} wide."
        )


def _check_projection(projection: np.ndarray, n_features: int) -> None:
    shape = projection.shape
    if len(shape) != 2 or shape[0] != 1 + n_features or shape[1] < n_features:
        raise BankError(
            f"projection has shape {shape}; it must be ({1 + n_features}, D0) with D0 >= {n_features}: the "
            f"mean of D0 original features and the D={n_features} directions they were projected on."
        )
    if not np.isfinite(projection).all():
        raise BankError("projection holds NaN or infinite values.")


def _check_values(bank: FeatureBank) -> None:
    bad, first = bad_rows(bank.features)
    if bad:
        raise BankError(f"features is NaN or infinite in {bad} of {bank.n_samples} rows, first row {first}.")
    for view in range(0 if bank.views is None else len(bank.views)):
        rows = bank.views[view]
        bad, first = bad_rows(rows)
        if bad:
            raise BankError(
                f"views[{view}] is NaN or infinite in {bad} of {len(rows)} rows, first row {first}."
            )
    low, high = int(bank.labels.min()), int(bank.labels.max())
    if low < 0 or high >= bank.n_classes:
        wrong = low if low < 0 else high
        raise BankError(f"labels holds {wrong}; K={bank.n_classes} classes allow 0 to {bank.n_classes - 1}.")
    if bank.split.max() >= len(SPLITS):
        raise BankError(f"split holds {bank.split.max()}; allowed are 0 (train), 1 (val) and 2 (test).")


def _check_coverage(bank: FeatureBank) -> None:
    for split in ("train", "test"):
        present = np.bincount(bank.labels[bank.indices(split)], minlength=bank.n_classes)
        if present.any() and not present.all():
            absent = [bank.class_names[k] for k in np.flatnonzero(present == 0)]
            raise BankError(
                f"class {', '.join(map(repr, absent))} has no sample in the {split} split. "
                "Drop the class or make a stratified split."
            )


def _check_human(name: str, labels: np.ndarray, bank: FeatureBank) -> None:
    train = bank.split == SPLITS.index("train")
    if (labels[~train] != -1).any():
        row = int(np.flatnonzero(~train & (labels != -1))[0])
        raise BankError(
            f"{HUMAN}{name}[{row}]={labels[row]}: people's labels are of training samples; others have -1."
        )
    bad = np.flatnonzero(train & ((labels < 0) | (labels >= bank.n_classes)))
    if bad.size:
        raise BankError(
            f"{HUMAN}{name}[{bad[0]}]={labels[bad[0]]}: every training sample needs a label from 0 to "
            f"{bank.n_classes - 1}."
        )
