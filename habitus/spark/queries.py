"""What runs in a worker when a log is read: Polars queries of one machine over one Arrow batch after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from habitus.data.sequence import plain_table
from habitus.data.sources import ROW, Query

PATH, INDEX, ORDER = "_file_path", "_row_index", "_order"
ROW_BITS = 40  # a row number is (number of the file << 40) + row in the file: 8 million files of 10^12 rows


@dataclass(frozen=True)
class Numbering:
    """How a worker numbers rows: by file and position, or by a column."""

    files: Mapping[str, int] | None = None

    def __call__(self, batch: pa.RecordBatch) -> pl.LazyFrame:
        """Return a batch as a lazy frame with `_row`."""
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        if self.files is None:
            return frame.rename({ORDER: ROW}).lazy()
        starts = {path: number << ROW_BITS for path, number in self.files.items()}
        first = frame[PATH].replace_strict(starts, return_dtype=pl.Int64)
        return frame.with_columns((first + frame[INDEX]).alias(ROW)).drop(PATH, INDEX).lazy()


@dataclass(frozen=True)
class MapTask:
    """What `mapInArrow` calls: Arrow batches in, Polars inside, Arrow batches of the declared schema out."""

    kernel: Callable[[Iterable[pl.LazyFrame]], Iterator[pl.DataFrame]]
    numbering: Numbering
    schema: pa.Schema

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Run the kernel over the batches of a task."""
        for found in self.kernel(self.numbering(batch) for batch in batches if batch.num_rows):
            yield from plain_table(found).cast(self.schema).combine_chunks().to_batches()


def all_rows(query: Query, frames: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """Yield what a query gives of each frame."""
    return (query(frame).collect() for frame in frames)


def safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with names that Arrow can hold (the readers' own begin with NUL) and types that Spark has."""
    frame = frame.with_columns(pl.col(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64).cast(pl.Int64))
    return frame.rename(dict(zip(frame.columns, (f"c{number}" for number in range(frame.width)), strict=True)))


def first_rows(query: Query, n: int, frames: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """Yield the first `n` rows that a query gives."""
    left = n
    for frame in frames:
        found = safe(query(frame).collect().head(left))
        yield found
        left -= found.height
        if not left:
            return


def added_counts(query: Query, frames: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """Yield the counts of a query, added up over a task."""
    found = [query(frame).collect().cast(pl.Int64) for frame in frames]
    if found:
        yield safe(pl.concat(found).sum())


def fact_counts(counts: list[pl.Expr], unique: list[pl.Expr], frames: Iterable[pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """Yield counts under their numbers, and the values of columns to be told apart under -1, -2 and so on."""
    for frame in frames:
        found = frame.select(counts).collect().cast(pl.Int64).row(0)
        yield _fact_rows(range(len(found)), found, [None] * len(found))
        values = frame.select(unique).collect() if unique else pl.DataFrame()
        for number, column_ in enumerate(values.get_columns()):
            own = column_.cast(pl.String).unique().drop_nulls()
            yield _fact_rows([-1 - number] * len(own), [0] * len(own), own)


def _fact_rows(column: Sequence[int], n: Sequence[int], value: Any) -> pl.DataFrame:
    kinds = {"column": pl.Int64, "n": pl.Int64, "value": pl.String}
    return pl.DataFrame({"column": column, "n": n, "value": value}, schema=kinds)
