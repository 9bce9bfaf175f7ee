"""Spark's types as Arrow's, as they arrive in Python workers: times are UTC, lists are plain."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from pyspark.sql import types as T

from habitus.errors import DataError

_PLAIN: dict[type[T.DataType], pa.DataType] = {
    T.BooleanType: pa.bool_(), T.ByteType: pa.int8(), T.ShortType: pa.int16(), T.IntegerType: pa.int32(),
    T.LongType: pa.int64(), T.FloatType: pa.float32(), T.DoubleType: pa.float64(), T.StringType: pa.string(),
    T.BinaryType: pa.binary(), T.DateType: pa.date32(), T.TimestampType: pa.timestamp("us", tz="UTC"),
    T.TimestampNTZType: pa.timestamp("us"), T.NullType: pa.null(), T.DayTimeIntervalType: pa.duration("us"),
}  # fmt: skip


def arrow_schema(schema: T.StructType, label: str = "the Spark table") -> pa.Schema:
    """Return the Arrow schema of batches of a DataFrame.

    Raises:
        DataError: for a column of a type that Arrow batches of Spark do not hold.

    >>> arrow_schema(T.StructType().add("item", T.ArrayType(T.StringType()))).field("item").type
    ListType(list<element: string>)
    """
    return pa.schema([pa.field(one.name, _arrow_type(one.dataType, one.name, label)) for one in schema])


def empty_frame(schema: T.StructType) -> pl.DataFrame:
    """Return a Polars frame without rows that has the columns of a DataFrame."""
    frame = pl.from_arrow(arrow_schema(schema).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def _arrow_type(kind: T.DataType, name: str, label: str) -> pa.DataType:
    if type(kind) in _PLAIN:
        return _PLAIN[type(kind)]
    if isinstance(kind, T.StringType):  # with a collation, CHAR or VARCHAR
        return pa.string()
    if isinstance(kind, T.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, T.ArrayType):
        return pa.list_(pa.field("element", _arrow_type(kind.elementType, name, label)))
    if isinstance(kind, T.StructType):
        return pa.struct([pa.field(one.name, _arrow_type(one.dataType, name, label)) for one in kind])
    if isinstance(kind, T.MapType):
        return pa.map_(_arrow_type(kind.keyType, name, label), _arrow_type(kind.valueType, name, label))
    raise DataError(f"Column '{name}' of {label} holds {kind.simpleString()}, which is not read; leave it out (drop).")
