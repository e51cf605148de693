"""Reading embeddings from tables: which column is what, and the features block by block."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisylib.errors import NoisylibError, check_name

if TYPE_CHECKING:
    import pyarrow as pa

LABEL_NAMES = ("label", "labels", "y", "y_noisy", "target", "class")
MORE_NAMES = {
    "ids": ("id", "ids", "key", "keys", "name", "file", "filename", "path", "image", "image_id"),
    "split": ("split", "part"),
}
LIST_NAMES = ("embedding", "embeddings", "features", "x")
INDEX_NAMES = ("", "index", "unnamed: 0", "__index_level_0__")
# Labels of a CSV file that are read as numbers.
WHOLE, DECIMAL = r"-?(0|[1-9]\d{0,17})", r"-?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?"
ROWS = 4096  # of a Parquet file that are read at once


@dataclass(frozen=True, eq=False)
class RawEmbeddings:
    """What a file holds, before one part of it is chosen; the fields are those of `Embeddings`."""

    X: np.ndarray
    feature_names: tuple[str, ...]
    y: np.ndarray | None
    label_name: str | None
    ids: np.ndarray | None
    split: np.ndarray | None
    others: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """Which columns of a table stand for what; `lists` says that one column holds all features."""

    features: tuple[str, ...]
    lists: bool
    labels: str | None
    ids: str | None
    split: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that hold no feature."""
        return tuple(name for name in (self.labels, self.ids, self.split) if name is not None)


def pick(
    what: str, asked: str | None, names: Collection[str], known: Iterable[str], where: str
) -> str | None:
    """Return the name in a file that stands for `what`: the one that was asked for, or a known one.

    Raises
    ------
    NoisylibError
        If the name that was asked for is absent, or several known ones are there.
    """
    if asked is not None:
        return check_name(f"{where}: {what}", asked, names)
    found = [name for name in names if name.lower() in {word.lower() for word in known}]
    if len(found) > 1:
        fix = "Rename the others." if what in MORE_NAMES else f"Name the one with {what} (--{what} NAME)."
        raise NoisylibError(f"{where}: {what} could be {' or '.join(map(repr, found))}. {fix}")
    return found[0] if found else None


def read_table(path: Path, *, features: str | None, labels: str | None) -> RawEmbeddings:
    """Return the embeddings in a Parquet or CSV file; numbers that are missing become NaN."""
    with _errors(path):
        kinds = _csv_kinds(path) if path.suffix.lower() == ".csv" else _parquet_kinds(path)
        columns = choose(kinds, features, labels, str(path))
        batches = (_csv_batches if path.suffix.lower() == ".csv" else _parquet_batches)(path, columns)
        X, texts = [], {name: [] for name in columns.texts}
        for batch in batches:
            X.append(_block(batch, columns, path))
            for name, parts in texts.items():
                parts.append(_values(batch.column(name)))
    if not X:
        raise NoisylibError(f"{path} has no rows.")
    if len({block.shape[1] for block in X}) > 1:
        raise NoisylibError(f"{path}: the lists in {columns.features[0]!r} differ in length.")
    of = {name: np.concatenate(parts) for name, parts in texts.items()}
    is_csv, y = path.suffix.lower() == ".csv", of.get(columns.labels)
    width = X[0].shape[1]
    return RawEmbeddings(
        X=np.concatenate(X),
        feature_names=tuple(f"{columns.features[0]}[{i}]" for i in range(width))
        if columns.lists
        else columns.features,
        y=_parsed(y) if is_csv and y is not None else y,
        label_name=columns.labels,
        ids=of.get(columns.ids),
        split=_parsed(of[columns.split]) if is_csv and columns.split else of.get(columns.split),
        others=tuple(name for name in kinds if name not in (*columns.features, *columns.texts)),
    )


def choose(kinds: dict[str, str], features: str | None, labels: str | None, where: str) -> Columns:
    """Return which columns stand for what.

    Parameters
    ----------
    kinds : name of each column -> "number", "list" or "other".
    features, labels : as `noisylib.embedding_files.read_embeddings`.
    where : the file, for errors.
    """
    label = pick("labels", labels, kinds, LABEL_NAMES, where)
    taken = [label, *(pick(what, None, kinds, known, where) for what, known in MORE_NAMES.items())]
    free = {n: kind for n, kind in kinds.items() if n not in taken and n.lower() not in INDEX_NAMES}
    lists = [name for name, kind in free.items() if kind == "list"]
    numbers = [name for name, kind in free.items() if kind == "number"]
    if features is not None:
        lists = [features] if features in lists else []
        numbers = [name for name in numbers if name.startswith(features)]
    elif len(lists) > 1:
        lists = [pick("features", None, lists, LIST_NAMES, where) or lists[0]]
    if lists:
        return Columns(tuple(lists), True, *taken)
    if not numbers:
        asked = "" if features is None else f" {features!r}, or that starts with it"
        raise NoisylibError(
            f"{where} has no column of numbers or lists{asked} to take features from. It has: "
            f"{', '.join(map(repr, list(kinds)[:20]))}{', ...' * (len(kinds) > 20)}."
        )
    _refuse_gaps(numbers, [name for name, kind in free.items() if kind == "other"], where)
    if features is None:
        _refuse_strangers(numbers, where)
    return Columns(tuple(numbers), False, *taken)


def _refuse_strangers(names: list[str], where: str) -> None:
    """Raise NoisylibError if most columns are numbered features and some are something else.

    A column such as the true label or an age among the features would go unseen.
    """
    stem, like = _numbered(names)
    strangers = [name for name in names if name not in like]
    if strangers and len(strangers) <= len(names) / 2:
        raise NoisylibError(
            f"{where}: are {', '.join(map(repr, strangers[:5]))} features too, beside {len(like)} columns "
            f"called {stem!r} and a number? Name the start of the features' columns with features "
            f"(--features {stem or 'NAME'}), or drop the others."
        )


def _refuse_gaps(names: list[str], others: list[str], where: str) -> None:
    """Raise NoisylibError if a column that is numbered as the features are does not hold numbers.

    A single cell that reads "missing" would otherwise take its column from the features.
    """
    stem, like = _numbered(names)
    gaps = [name for name in others if re.fullmatch(re.escape(stem) + r"\d+", name)] if like else []
    if gaps:
        raise NoisylibError(
            f"{where}: {', '.join(map(repr, gaps[:5]))}{', ...' * (len(gaps) > 5)} do not hold numbers "
            f"alone, but {len(like)} other columns called {stem!r} and a number do. Make them numbers, drop "
            "the rows where they are not, or rename the columns if they are no features."
        )


def _numbered(names: list[str]) -> tuple[str, set[str]]:
    """Return what most of the names that end in a number start with, and the names that do."""
    stems = {name: match[1] for name in names if (match := re.fullmatch(r"(.*?)\d+", name))}
    stem = Counter(stems.values()).most_common(1)[0][0] if stems else ""
    return stem, {name for name, start in stems.items() if start == stem}


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn errors of the reader into one of this package."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise NoisylibError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error


def _kind(dtype: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_null(dtype):
        return "number"
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return "list" if any(test(dtype) for test in lists) else "other"


def _parquet_kinds(path: Path) -> dict[str, str]:
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    return _by_name(path, schema.names, schema.types)


def _by_name(path: Path, names: list[str], types: list[pa.DataType]) -> dict[str, str]:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise NoisylibError(f"{path} has several columns called {twice[0]!r}: rename them.")
    return {name: _kind(dtype) for name, dtype in zip(names, types, strict=True)}


def _parquet_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(ROWS, columns=[*columns.features, *columns.texts])


def _csv_kinds(path: Path) -> dict[str, str]:
    """Return the kinds of the columns, judged by the first block of rows."""
    import pyarrow.csv as csv

    with csv.open_csv(path, parse_options=_parse(path)) as reader:
        schema = reader.schema
    if any("." in name and _is_number(name) for name in schema.names):
        raise NoisylibError(
            f"{path}: the first line holds {schema.names[0]!r}, a number: a line of column names is needed, "
            "such as label,f0,f1."
        )
    return _by_name(path, schema.names, schema.types)


def _csv_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.csv as csv

    # Said beforehand, or a column that starts with whole numbers could not go on with fractions.
    types = dict.fromkeys(columns.features, pa.float32()) | dict.fromkeys(columns.texts, pa.string())
    convert = csv.ConvertOptions(column_types=types, include_columns=list(types))
    with csv.open_csv(path, parse_options=_parse(path), convert_options=convert) as reader:
        yield from reader


def _parse(path: Path):
    """Return how the lines are cut: by whichever of comma, semicolon and tab the first has most."""
    import pyarrow.csv as csv

    with open(path, encoding="utf-8") as file:
        line = file.readline()
    return csv.ParseOptions(delimiter=max(",;\t", key=line.count))


def _block(batch: pa.RecordBatch, columns: Columns, path: Path) -> np.ndarray:
    """Return the features (rows, D) float32 of a batch."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not columns.lists:
        block = np.empty((batch.num_rows, len(columns.features)), dtype=np.float32)
        for at, name in enumerate(columns.features):
            block[:, at] = _values(batch.column(name).cast(pa.float32(), safe=False))
        return block
    lists = batch.column(columns.features[0])
    lengths = pc.list_value_length(lists)
    if lengths.null_count or len(lengths.unique()) > 1 or not lengths[0].as_py():
        raise NoisylibError(
            f"{path}: the lists in {columns.features[0]!r} are missing, empty or differ in length."
        )
    values = lists.flatten()
    if _kind(values.type) != "number":
        raise NoisylibError(f"{path}: {columns.features[0]!r} holds lists of {values.type}, not of numbers.")
    return _values(values.cast(pa.float32(), safe=False)).reshape(batch.num_rows, -1)


def _values(column: pa.Array) -> np.ndarray:
    """Return a column as NumPy has it: missing numbers are NaN, missing text None."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.to_numpy(zero_copy_only=False)


def _parsed(texts: np.ndarray) -> np.ndarray:
    """Return labels of a CSV file as whole numbers if all of them read so, else as numbers or text.

    Codes such as 007 stay text, and an empty cell is a missing label, None.
    """
    found = sorted({text for text in texts if text})
    if found and all(re.fullmatch(WHOLE, text) for text in found):
        values = {text: int(text) for text in found}
    elif found and all(re.fullmatch(DECIMAL, text) for text in found):
        values = {text: float(text) for text in found}
    else:
        values = {text: text for text in found}
    labels = [values.get(text) for text in texts]
    return np.array(labels) if None not in labels and found else np.array(labels, dtype=object)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
