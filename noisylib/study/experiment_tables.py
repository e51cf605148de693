"""Tables of experiments: a schema for each, rows that must fit it, and checked reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisylib.errors import NoisylibError, check_name
from noisylib.study.tables import TASK_ID, provenance_path, require_provenance

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KINDS = ("str", "int", "float", "bool", "ints", "floats", "floats32")


@dataclass(frozen=True)
class Column:
    """What one column of a table holds.

    Attributes
    ----------
    kind : str, int, float (64 bits), bool, or a list of any length (an array will do): ints (32 bits),
        floats (64 bits) or floats32.
    nan : whether NaN is a value there, as in the recall of an absent class. Infinity never is.
    """

    kind: str
    nan: bool = False

    def __post_init__(self) -> None:
        check_name("kind", self.kind, KINDS)
        if self.nan and not self.kind.startswith("float"):
            raise NoisylibError(f"nan=True with kind={self.kind!r}: only floats can be NaN.")


Schema = Mapping[str, Column]

# What every row of every experiment starts with.
CONDITION: dict[str, Column] = {
    "dataset": Column("str"),
    "backbone": Column("str"),
    "head": Column("str"),
    "noise_type": Column("str"),
    "noise_rate": Column("float"),
    "realised_rate": Column("float"),
    "class_map": Column("str"),
    "seed": Column("int"),
}


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the Arrow types of a table: its columns in order, and the id of the task of each row."""
    import pyarrow as pa

    types = {
        "str": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "ints": pa.list_(pa.int32()),
        "floats": pa.list_(pa.float64()),
        "floats32": pa.list_(pa.float32()),
    }
    return pa.schema(
        [*((name, types[column.kind]) for name, column in schema.items()), (TASK_ID, pa.string())]
    )


def to_arrow(
    rows: Sequence[Mapping[str, Any]], schema: Schema, task_id: str, source: str, *, optional: bool = False
) -> pa.Table:
    """Return the rows of one task as a table; only an `optional` one may have none.

    Raises
    ------
    NoisylibError
        There is no row, or one has other columns than the schema, a value of another kind, or NaN or infinity
        where it may not be. `source` is named.
    """
    import pyarrow as pa

    if not rows and not optional:
        raise NoisylibError(f"{source}: no rows. A task gives at least one row for every table.")
    for row in rows:
        if row.keys() != schema.keys():
            lacks, more = sorted(schema.keys() - row.keys()), sorted(row.keys() - schema.keys())
            raise NoisylibError(
                f"{source}: a row lacks the columns {', '.join(lacks) or 'none'} and has the unknown columns "
                f"{', '.join(more) or 'none'}."
            )
    types, arrays = arrow_schema(schema), []
    for name in schema:
        values = [_plain(row[name]) for row in rows]
        try:
            if schema[name].kind in ("int", "ints"):
                _check_whole(values)
            arrays.append(pa.array(values, types.field(name).type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise NoisylibError(
                f"{source}: column {name!r} holds what is not {schema[name].kind} ({error})."
            ) from error
    table = pa.Table.from_arrays([*arrays, pa.array([task_id] * len(rows))], schema=types)
    check_table(table, schema, source)
    return table


def _plain(value: Any) -> Any:
    """Return NumPy scalars and arrays as Python ones."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _check_whole(values: list[Any]) -> None:
    """Raise TypeError unless values or the values of lists are whole; Arrow would cut 0.5 to 0."""
    for value in values:
        for number in value if isinstance(value, list | tuple) else (value,):
            if number is not None and type(number) is not int:
                raise TypeError(f"{number!r} is {type(number).__name__}")


def check_table(table: pa.Table, schema: Schema, source: str) -> None:
    """Raise NoisylibError unless a table has the columns of its schema and numbers wherever they belong."""
    if not table.schema.equals(arrow_schema(schema)):
        raise NoisylibError(
            f"{source} has the columns {', '.join(table.schema.names)}, or others of their types than "
            f"expected: {', '.join(schema)}, {TASK_ID}."
        )
    for name, column in schema.items():
        values, bad = _flat(table[name]), 0
        if table[name].null_count or values.null_count:
            raise NoisylibError(f"{source}: column {name!r} has no value in some rows.")
        if column.kind.startswith("float"):
            numbers = values.to_numpy(zero_copy_only=False)
            bad = np.count_nonzero(np.isinf(numbers) if column.nan else ~np.isfinite(numbers))
        if bad:
            allowed = "NaN is allowed, infinity is not" if column.nan else "only finite numbers are allowed"
            raise NoisylibError(
                f"{source}: column {name!r} has {bad} values that are no number; {allowed} there."
            )


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """Return the values of a column, those of lists one after the other."""
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no or several chunks, by version
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.flatten() if pa.types.is_list(array.type) else array


def same_rows(a: pa.Table, b: pa.Table) -> bool:
    """Return whether two tables hold the same rows in the same order; NaN equals NaN here."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not a.schema.equals(b.schema) or a.num_rows != b.num_rows:
        return False
    for name in a.schema.names:
        one, two = _flat(a[name]), _flat(b[name])
        lists = pa.types.is_list(a.schema.field(name).type)
        if lists and not pc.list_value_length(a[name]).equals(pc.list_value_length(b[name])):
            return False
        if pa.types.is_floating(one.type):
            if not np.array_equal(one.to_numpy(), two.to_numpy(), equal_nan=True):
                return False
        elif not one.equals(two):
            return False
    return True


def read_arrow(path: str | Path) -> pa.Table:
    """Return a stored table without pandas.

    Raises
    ------
    NoisylibError
        It is not readable.
    """
    import pyarrow.parquet as pq

    try:
        # Not read_table: that would take "results/a=b/..." for a column of the table.
        with pq.ParquetFile(path) as file:
            return file.read().replace_schema_metadata(None)  # the metadata is about the file
    except (OSError, ValueError, KeyError) as error:
        raise NoisylibError(
            f"{path} is not a readable table of an experiment ({error}). Take a fresh copy, or delete it and "
            "run the experiment again: its rows are computed anew."
        ) from error


def describe(schema: Schema) -> dict[str, str]:
    """Return a schema as text by column, such as "floats" or "float or NaN"."""
    return {name: column.kind + (" or NaN" if column.nan else "") for name, column in schema.items()}


def parse(described: Mapping[str, str]) -> dict[str, Column]:
    """Return the schema that `describe` described."""
    return {
        name: Column(text.removesuffix(" or NaN"), text.endswith(" or NaN"))
        for name, text in described.items()
    }


def load_table(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of a collected table and its provenance, both checked.

    Lists are NumPy arrays in the cells of the frame.

    Raises
    ------
    MissingDataError
        The table or its provenance is not there.
    NoisylibError
        The table is not the file its provenance describes, or has other columns or another number of rows
        than it should, or NaN where it may not be.
    """
    path = Path(path)
    made_by = "'noisylib experiment NAME --collect' makes a table and its provenance."
    provenance, table = require_provenance(path, made_by), read_arrow(path)
    try:
        schema, stated = parse(provenance["columns"]), provenance["rows"]
    except (KeyError, AttributeError) as error:
        raise NoisylibError(
            f"{provenance_path(path)} describes no table of an experiment: it lacks {error}."
        ) from error
    check_table(table, schema, str(path))
    if table.num_rows != stated:
        raise NoisylibError(f"{path} has {table.num_rows} rows, its provenance says {stated}.")
    return table.to_pandas(), provenance
