"""Reading embeddings and their labels from a file: arrays, tables or a feature bank, never a pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from noisylib.embedding_tables import LABEL_NAMES, MORE_NAMES, RawEmbeddings, pick, read_table
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.features.bank import FeatureBank
from noisylib.features.bank_rules import SPLITS
from noisylib.head_files import FORMAT

SUFFIXES = (".npz", ".safetensors", ".parquet", ".csv")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy")
FEATURE_NAMES = ("X", "features", "embeddings", "embedding")
# What people call the parts of their data.
PARTS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Features of samples, and what their file says of each.

    Attributes
    ----------
    X : (N, D) float32, finite.
    y : (N,) labels as the file has them, or None.
    ids : (N,) text that names each sample, or None.
    rows : (N,) int64 position of each sample in the file, from 0.
    split : (N,) text, the part each sample belongs to, or None.
    feature_names : D names.
    label_name, path : where the labels and all of it came from.
    n_rows : samples in the file, those of other parts included.
    others : names in the file that were not read.
    """

    X: np.ndarray
    y: np.ndarray | None
    ids: np.ndarray | None
    rows: np.ndarray
    split: np.ndarray | None
    feature_names: tuple[str, ...]
    label_name: str | None
    path: Path
    n_rows: int
    others: tuple[str, ...]

    def labels(self) -> np.ndarray:
        """Return the labels, or raise NoisylibError if the file has none."""
        if self.y is None:
            raise NoisylibError(
                f"{self.path} has no labels under any of the names {', '.join(LABEL_NAMES)}. "
                f"It also holds: {', '.join(map(repr, self.others)) or 'nothing'}. Name them with labels "
                "(--labels NAME)."
            )
        return self.y

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns of the features, if each feature has one of its own."""
        return () if self.feature_names[0].endswith("[0]") else self.feature_names

    def summary(self) -> str:
        """Return one line on what was read."""
        part = "" if len(self.X) == self.n_rows else f" of {self.n_rows:,} in the file"
        names = self.feature_names
        width = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
        labels = "no labels" if self.y is None else f"labels from {self.label_name!r}"
        return f"{self.path.name}: {len(self.X):,} samples{part}, {len(names)} features ({width}), {labels}"


def read_embeddings(
    path: str | Path,
    *,
    features: str | None = None,
    labels: str | None = None,
    split: str | None = None,
) -> Embeddings:
    """Return the embeddings in a file; its suffix says how they are stored.

    - ``.npz`` and ``.safetensors``: an array ``X``, ``features`` or ``embeddings`` (N, D), and if there are
      any ``labels`` or ``y``, ``ids`` and ``split`` (N,). A feature bank gives the names of its classes.
    - ``.parquet`` and ``.csv``: a column of labels, and either one column of lists or one column per
      feature. Columns called like an id, an index or a split are taken for that, and other text is left out.

    Parameters
    ----------
    path : the file.
    features : array or column of lists that holds the features, or what the names of their columns start
        with.
    labels : array or column that holds the labels.
    split : part to read, "train", "val", "test" or "all"; by default the training part where the file
        tells parts apart, and all rows elsewhere.

    Raises
    ------
    MissingDataError
        There is no such file.
    NoisylibError
        The suffix is none of these, the file is damaged or would run code, a name is absent or could mean
        two things, lengths differ, or a value is NaN, infinite or no number.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        more = " A pickle can run any code when it is opened, so none is read here." * (
            path.suffix.lower() in PICKLES
        )
        raise NoisylibError(
            f"{path}: files end in {', '.join(SUFFIXES)}.{more} Save arrays with "
            "np.savez(FILE, X=X, y=y), or a table with DataFrame.to_parquet."
        )
    if not path.is_file():
        raise MissingDataError(f"no file {path}: check the path.")
    if path.suffix.lower() in (".parquet", ".csv"):
        raw = read_table(path, features=features, labels=labels)
    elif path.suffix.lower() == ".npz":
        raw = _npz(path, features, labels)
    else:
        raw = _safetensors(path, features, labels)
    return _chosen(path, raw, split)


def _npz(path: Path, features: str | None, labels: str | None) -> RawEmbeddings:
    if not zipfile.is_zipfile(path):
        raise NoisylibError(f"{path} is no .npz archive, or is cut off: save it again with np.savez.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return _from_arrays(path, file.files, file.__getitem__, features, labels)
    except NoisylibError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        reason = "is damaged"
        if "pickle" in str(error):
            reason = (
                "holds Python objects, which only a pickle can store, and pickles can run code; save text as "
                "np.array(values, dtype=str)"
            )
        raise NoisylibError(f"{path} {reason} ({error}): save it again with np.savez.") from error


def _safetensors(path: Path, features: str | None, labels: str | None) -> RawEmbeddings:
    try:
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            ours = (file.metadata() or {}).get("noisylib")
            if ours is not None and FORMAT in ours:
                raise NoisylibError(
                    f"{path} holds a trained head, not embeddings: 'noisylib predict HEAD FILE' takes both."
                )
            if ours is None:

                def get(name: str) -> np.ndarray:
                    values = file.get_tensor(name)
                    return (values.float() if values.is_floating_point() else values).numpy()

                return _from_arrays(path, list(file.keys()), get, features, labels)
    except (SafetensorError, OSError) as error:
        raise NoisylibError(f"{path} is no safetensors file, or is damaged ({error}).") from error
    return _bank(path, labels)


def _bank(path: Path, labels: str | None) -> RawEmbeddings:
    """Return what a feature bank holds, with the names of classes as labels."""
    bank = FeatureBank.load(path)
    codes = {n: a for n, a in bank.arrays().items() if n == "labels" or n.startswith("human_labels.")}
    chosen = pick("labels", labels, codes, ("labels",), str(path))
    names = np.array(bank.class_names, dtype=object)
    return RawEmbeddings(
        X=bank.features,
        feature_names=tuple(f"features[{i}]" for i in range(bank.n_features)),
        # -1 stands for a sample that nobody looked at.
        y=np.where(codes[chosen] < 0, None, names[codes[chosen]]),
        label_name=chosen,
        ids=None,
        split=np.array(SPLITS)[bank.split],
        others=tuple(name for name in codes if name != chosen),
    )


def _from_arrays(
    path: Path,
    there: list[str],
    get: Callable[[str], np.ndarray],
    features: str | None,
    labels: str | None,
) -> RawEmbeddings:
    """Return the arrays of a file, `there` by name, that stand for features, labels, ids and split."""
    where = str(path)
    at = pick("features", features, there, FEATURE_NAMES, where)
    if at is None:
        raise NoisylibError(
            f"{path} has no features under any of the names {', '.join(FEATURE_NAMES)}. It holds: "
            f"{', '.join(map(repr, there)) or 'nothing'}. Name them with features (--features NAME)."
        )
    X = get(at)
    if X.ndim != 2 or 0 in X.shape or X.dtype.kind not in "iuf":
        raise NoisylibError(
            f"{path}: {at!r} has shape {X.shape} and dtype {X.dtype}: numbers of shape (N, D) are needed."
        )
    names = [pick("labels", labels, there, LABEL_NAMES, where)]
    names += [pick(what, None, there, known, where) for what, known in MORE_NAMES.items()]
    y, ids, split = (None if name is None else _column(path, name, get(name), len(X)) for name in names)
    others = tuple(name for name in there if name not in (at, *names))
    columns = tuple(f"{at}[{i}]" for i in range(X.shape[1]))
    return RawEmbeddings(X, columns, y, names[0], ids, split, others)


def _column(path: Path, name: str, values: np.ndarray, n_rows: int) -> np.ndarray:
    """Return an array of one value per sample."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n_rows,):
        raise NoisylibError(
            f"{path}: {name!r} has shape {values.shape}, but there are {n_rows} samples: one value each, "
            f"({n_rows},), is needed. Of scores per class take the argmax."
        )
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


def _chosen(path: Path, raw: RawEmbeddings, split: str | None) -> Embeddings:
    """Return the samples of one part, with features as float32."""
    parts = None if raw.split is None else _parts(path, raw.split)
    keep = _kept(path, parts, split)
    rows = np.arange(len(raw.X)) if keep is None else np.flatnonzero(keep)

    def take(values: np.ndarray | None) -> np.ndarray | None:
        return values if values is None or keep is None else values[keep]

    with np.errstate(over="ignore"):  # what is beyond float32 is named below, as infinite
        X = take(raw.X).astype(np.float32, copy=False)
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise NoisylibError(
            f"{path}: the features of {int((~finite).sum())} samples are missing, NaN or infinite, "
            f"first in row {rows[~finite][0]} (counted from 0): drop those samples or extract them again."
        )
    ids = take(raw.ids)
    return Embeddings(
        X=np.ascontiguousarray(X),
        y=take(raw.y),
        ids=None if ids is None else ids.astype(str),
        rows=rows,
        split=take(parts),
        feature_names=raw.feature_names,
        label_name=raw.label_name,
        path=path,
        n_rows=len(raw.X),
        others=raw.others,
    )


def _parts(path: Path, split: np.ndarray) -> np.ndarray:
    """Return the part of each sample by name; numbers are codes 0 train, 1 val, 2 test."""
    if split.dtype.kind == "f" and np.array_equal(split, np.round(split)):
        split = split.astype(np.int64)
    if split.dtype.kind in "iu":
        if split.min() < 0 or split.max() >= len(SPLITS):
            raise NoisylibError(f"{path}: split holds {split.min()} to {split.max()}: codes are 0, 1 and 2.")
        return np.array(SPLITS)[split]
    names, at = np.unique(split.astype(str), return_inverse=True)
    return np.array([PARTS.get(name.lower(), name.lower()) for name in names])[at]


def _kept(path: Path, parts: np.ndarray | None, split: str | None) -> np.ndarray | None:
    """Return which rows belong to the part that is wanted, or None for all."""
    if split == "all" or (parts is None and split is None):
        return None
    if parts is None:
        raise NoisylibError(f"split={split!r}: {path} does not tell parts apart. Leave split out.")
    if split is None and "train" not in parts:
        return None
    keep = parts == (split or "train")
    if not keep.any():
        here = ", ".join(sorted(set(parts.tolist())))
        raise NoisylibError(f"split={split!r}: {path} has no such part. It has {here}; 'all' reads all.")
    return keep
