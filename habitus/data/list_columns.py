"""Columns of sequence rows as flat values: what encoders read."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa


def combined(table: pa.Table, name: str) -> pa.ListArray:
    """Return a list column as one array whose offsets start at 0.

    >>> combined(pa.table({"item": [[1], [2, 3]]}), "item").offsets.to_pylist()
    [0, 1, 3]
    """
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], type=column.type)
    if column.null_count:
        column = column.fill_null(pa.scalar([], type=column.type))
    bounds = (column.offset, column.offsets[0].as_py(), column.offsets[-1].as_py()) if len(column) else (0, 0, 0)
    if bounds != (0, 0, len(column.values)):  # a slice of a longer column
        offsets = column.offsets.to_numpy().astype(np.int64)
        return pa.ListArray.from_arrays(pa.array((offsets - offsets[0]).astype(np.int32)), column.flatten())
    return column


def flat(table: pa.Table, name: str) -> pl.Series:
    """Return the values of a list column, one row after the other."""
    return as_series(combined(table, name).flatten())


def as_series(values: pa.Array | pa.ChunkedArray) -> pl.Series:
    """Return an Arrow column as a Polars one."""
    series = pl.from_arrow(values)
    assert isinstance(series, pl.Series)
    return series
