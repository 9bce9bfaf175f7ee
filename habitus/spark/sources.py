"""A log or a table of examples that Spark reads, as a `habitus.data` source.

What a column means, which rows are rejected and why is decided by the code of one machine: its Polars queries run on
one Arrow batch after another, and their counts are added up by Spark. The order of the rows, which decides ties of
time, is that of one machine too: files by path, rows as they stand in a file; a DataFrame names a column of its order,
or says aloud that it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import polars as pl
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from habitus.data.sequence import plain_table
from habitus.data.sources import ROW, Query, Source, hive_keys, open_source, scan_file
from habitus.errors import DataError
from habitus.spark.failures import in_a_sentence
from habitus.spark.queries import (
    INDEX,
    ORDER,
    PATH,
    ROW_BITS,
    MapTask,
    Numbering,
    added_counts,
    all_rows,
    fact_counts,
    first_rows,
    safe,
)
from habitus.spark.types import arrow_schema

_CHUNK = 200_000  # rows of a file that a worker reads at a time


@dataclass(frozen=True, kw_only=True)
class SparkSource(Source):
    """A `Source` whose rows are in Spark; `frame` is empty and only says the types.

    Args:
        data: its columns, and what numbers its rows.
        numbering: turns a batch of `data` into a frame with `_row`.
    """

    data: DataFrame
    numbering: Numbering
    _scans: list[Query] = field(default_factory=list)

    def scan(self, query: Query) -> pl.LazyFrame:
        """Remember the query that reads the good rows, which `rows` runs in Spark."""
        self._scans[:] = [query]
        return query(self.frame)

    def head(self, query: Query, n: int) -> pl.DataFrame:
        """Return `n` rows of a query that works row by row, the first of each task that is looked at."""
        empty = query(self.frame).collect()
        found = self._mapped(partial(first_rows, query, n), safe(empty))
        if ROW in empty.columns:
            found = found.orderBy(f"c{empty.columns.index(ROW)}")
        with in_a_sentence(f"Reading {self.label}"):
            frame = pl.from_arrow(found.limit(n).toArrow())
        assert isinstance(frame, pl.DataFrame)
        frame.columns = empty.columns
        return frame.cast(empty.schema)

    def total(self, query: Query) -> dict[str, int]:
        """Return counts, added up over all batches."""
        empty = query(self.frame).collect()
        parts = self._mapped(partial(added_counts, query), safe(empty.cast(pl.Int64)))
        sums = [F.sum(name) for name in parts.columns]
        with in_a_sentence(f"Reading {self.label}"):
            found = parts.agg(*sums).first()
        assert found is not None
        return {name: int(count or 0) for name, count in zip(empty.columns, found, strict=True)}

    def facts(self, counts: Sequence[pl.Expr], unique: Sequence[pl.Expr]) -> dict[str, int]:
        """Return counts and, by Spark's sketch, about how many values each of `unique` takes."""
        names = [one.meta.output_name() for one in counts], [one.meta.output_name() for one in unique]
        added, told = ([one.alias(str(n)) for n, one in enumerate(asked)] for asked in (counts, unique))
        kind = pl.DataFrame(schema={"column": pl.Int64, "n": pl.Int64, "value": pl.String})
        parts = self._mapped(partial(fact_counts, added, told), kind).groupBy("column")
        with in_a_sentence(f"Reading {self.label}"):
            rows = parts.agg(F.sum("n"), F.approx_count_distinct("value", 0.01)).collect()
        sums, sizes = {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}
        found = {name: int(sums.get(number, 0)) for number, name in enumerate(names[0])}
        return found | {name: int(sizes.get(-1 - number, 0)) for number, name in enumerate(names[1])}

    def rows(self) -> DataFrame:
        """Return the good rows as they were read, with `_row`, after a reader has decided what they are."""
        (query,) = self._scans
        return self._mapped(partial(all_rows, query), query(self.frame).collect())

    def locate(self, row: int) -> tuple[str, int]:
        """Return the file of a row number and the row within it, from 1."""
        if not self.files:
            return self.label, row + 1
        return self.files[row >> ROW_BITS], (row & ((1 << ROW_BITS) - 1)) + 1

    def _mapped(
        self, kernel: Callable[[Iterable[pl.LazyFrame]], Iterator[pl.DataFrame]], empty: pl.DataFrame
    ) -> DataFrame:
        """Run a kernel over the frames of each task; `empty` has its columns."""
        schema = plain_table(empty).schema
        return self.data.mapInArrow(MapTask(kernel, self.numbering, schema), from_arrow_schema(schema))


# --- opening


def open_spark_source(spark: SparkSession, source: Any, *, what: str = "log", order: str | None = None) -> SparkSource:
    """Open a log or a table of examples in Spark.

    Args:
        spark: the session.
        source: a Spark DataFrame; a path that every node sees (Parquet, CSV, TSV, Arrow; a file, a folder, a glob); or
            an address of Parquet that Spark reads, such as "s3a://bucket/events".
        what: how to call it in sentences.
        order: of a DataFrame: a column of whole numbers or times by which its rows were written.

    Raises:
        DataError: if it cannot be read.
    """
    if hasattr(source, "sparkSession") and hasattr(source, "mapInArrow"):
        return _from_dataframe(source, what, order)
    text = str(source)
    if urlparse(text).scheme in ("", "file"):
        return _from_files(spark, text.removeprefix("file://"))
    return _from_address(spark, text)


def _from_dataframe(frame: DataFrame, what: str, order: str | None) -> SparkSource:
    label = f"the Spark table ({what})"
    if order is None:
        notes = [
            f"Rows of {label} have no order of their own: of events with equal times, the one that Spark delivers "
            "first comes first. Name a column of the order (order=; orderCol) to have the same rows every time."
        ]
        return _numbered(frame.withColumn(ORDER, F.monotonically_increasing_id()), label, tuple(notes))
    if order not in frame.columns:
        raise DataError(f"{label} has no column '{order}' to order it by; its columns are {', '.join(frame.columns)}.")
    kind = frame.schema[order].dataType.typeName()
    if kind not in ("byte", "short", "integer", "long", "timestamp"):
        raise DataError(f"Column '{order}' of {label} holds {kind}; give whole numbers or times to order by.")
    number = F.unix_micros(order) if kind == "timestamp" else column(order).cast("long")
    return _numbered(frame.withColumn(ORDER, number).drop(order), label, ())


def _numbered(data: DataFrame, label: str, notes: tuple[str, ...]) -> SparkSource:
    return _spark_source(data, label, Numbering(), notes=notes)


def _from_files(spark: SparkSession, text: str) -> SparkSource:
    """Open files that every node sees under the same path."""
    opened = open_source(text)
    if opened.sound is not None:
        raise DataError(f"{opened.label} holds sound, which Spark does not read here; use habitus without spark.")
    numbers = {file: number for number, file in enumerate(opened.files)}
    if opened.files[0].lower().endswith((".parquet", ".pq")):
        data, numbers = _read_parquet(spark, opened.files, text)
    else:
        data = _read_in_workers(spark, opened, text)
    return _spark_source(
        data, opened.label, Numbering(numbers), is_text=opened.is_text, files=opened.files, notes=opened.notes
    )


def _from_address(spark: SparkSession, text: str) -> SparkSource:
    with in_a_sentence(f"Opening '{text}'"):
        data = spark.read.option("mergeSchema", "true").parquet(text)
        files = sorted(unquote(file) for file in data.inputFiles())
    return _spark_source(
        _with_positions(data), f"'{text}'", Numbering({file: n for n, file in enumerate(files)}), files=tuple(files)
    )


def _read_parquet(spark: SparkSession, files: Sequence[str], root: str) -> tuple[DataFrame, dict[str, int]]:
    reader = spark.read.option("mergeSchema", "true")
    if Path(root).is_dir():
        reader = reader.option("basePath", str(Path(root).absolute()))
    with in_a_sentence(f"Opening '{root}'"):
        data = reader.parquet(*(str(Path(file).absolute()) for file in files))
    return _with_positions(data), {str(Path(file).absolute()): n for n, file in enumerate(files)}


def _with_positions(data: DataFrame) -> DataFrame:
    names = [column(name) for name in data.columns if name != ROW]
    path = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    plain = F.regexp_replace(path, "^file:/+", "/")
    return data.select(*names, plain.alias(PATH), F.col("_metadata.row_index").alias(INDEX))


def _read_in_workers(spark: SparkSession, opened: Source, root: str) -> DataFrame:
    """Read files that Spark has no exact reader for by Polars, a file at a time in a worker."""
    schema = pl.DataFrame(schema={**opened.columns, PATH: pl.String, INDEX: pl.Int64})
    declared = plain_table(schema).schema
    keys = tuple(hive_keys(opened.files, root))
    files = [(str(Path(file).absolute()), file) for file in opened.files]
    table = spark.createDataFrame(files, "path string, name string").repartition(len(files), "path")
    return table.mapInArrow(_ReadFiles(dict(opened.columns), declared, keys), from_arrow_schema(declared))


@dataclass(frozen=True)
class _ReadFiles:
    """Reads each file of its task in chunks, as one machine does."""

    columns: Mapping[str, pl.DataType]
    schema: pa.Schema
    keys: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                yield from self._chunks(row["path"], row["name"])

    def _chunks(self, path: str, name: str) -> Iterator[pa.RecordBatch]:
        frame = scan_file(path, self.keys)
        present = frame.collect_schema().names()
        columns = [
            (pl.col(one) if one in present else pl.lit(None)).cast(kind).alias(one)
            for one, kind in self.columns.items()
        ]
        row = pl.col(ROW).cast(pl.Int64).alias(INDEX)
        asked = frame.select(*columns, pl.lit(name).alias(PATH), row)
        for chunk in asked.collect_batches(chunk_size=_CHUNK, maintain_order=True):
            yield from plain_table(chunk).cast(self.schema).combine_chunks().to_batches()


def _spark_source(data: DataFrame, label: str, numbering: Numbering, **rest: Any) -> SparkSource:
    _refuse_types(data.schema, label)
    given = arrow_schema(data.schema, label)
    empty = numbering(pa.RecordBatch.from_pylist([], schema=given)).collect()
    notes = tuple(rest.pop("notes", ()))
    return SparkSource(frame=empty.lazy(), label=label, notes=notes, data=data, numbering=numbering, **rest)


def column(name: str) -> Column:
    """Return the column of a name, whatever characters the name has."""
    return F.col("`" + name.replace("`", "``") + "`")


def _refuse_types(schema: StructType, label: str) -> None:
    names = [one.name.lower() for one in schema]
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"{label} has {names.count(name)} columns named '{name}' (Spark does not tell upper from lower case); "
                "rename all but one."
            )
