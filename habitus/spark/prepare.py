"""Preparing on Spark: events and examples become the sequence rows of one machine, bit for bit.

    events ---read, reject---> [cut heavy entities] --\\
                                                       union -> shuffle by entity -> sort -> slice -> Parquet
    examples -read, reject, number------------------- /

Spark shuffles, sorts and writes; the columns are read and the rows are sliced by the code of one machine, an Arrow
batch at a time. Events at or after an entity's last cutoff are left out. An entity with very many events (a crawler) is
cut before the shuffle to what its rows can show, and what arrives is read in chunks, so no task holds a whole history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import polars as pl
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from habitus.config import check_choice
from habitus.data.options import Data
from habitus.data.sequence import DROPPED, ENTITY, EXAMPLE, History, slice_rows
from habitus.data.sources import ROW
from habitus.data.split import Split
from habitus.fields.schema import Schema
from habitus.spark.cut import KIND, CutHeavy, SliceRows
from habitus.spark.failures import in_a_sentence
from habitus.spark.parts import with_parts
from habitus.spark.reading import (
    SparkExamples,
    SparkLog,
    derive_spark_examples,
    read_spark_examples,
    read_spark_log,
    with_entity_of,
)
from habitus.spark.sources import column
from habitus.spark.types import empty_frame

HEAVY = 1_000_000  # events of an entity from which on it is cut before the shuffle
_MOST_HEAVY = 1_000  # entities that are cut so; further ones are cut after it
_FEW_EXAMPLES = 200_000  # so many are sent to every task, so that only their entities' events are shuffled
_LAST = "_last"


@dataclass(frozen=True)
class SparkRows:
    """Sequence rows in Spark.

    Args:
        frame: the columns of `habitus.data.sequence.Sequences`, and `_part` where a split was asked for.
        log, examples: what they were made of.
        max_length, history: how histories are cut.
    """

    frame: DataFrame
    log: SparkLog
    examples: SparkExamples
    max_length: int
    history: History

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.examples.schema if self.examples.schema.fields else self.log.schema

    @property
    def notes(self) -> list[str]:
        """Sentences to say aloud."""
        return list(dict.fromkeys([*self.log.known.notes, *self.examples.notes]))


def sequence_rows(
    spark: SparkSession,
    events: Any,
    examples: Any | None = None,
    *,
    target: str | Sequence[str] | None = None,
    data: Data | None = None,
    split: Split | None = None,
    schema: Schema | None = None,
    order: str | None = None,
    examples_order: str | None = None,
    partitions: int | None = None,
    heavy: int = HEAVY,
) -> SparkRows:
    """Build sequence rows; what decides how columns are read runs now, the rest when Spark is asked for it.

    Args:
        spark: the session.
        events: a Spark DataFrame, a path that every node sees, or an address of Parquet.
        examples: who is judged and when, in the same forms; None: every entity, just after its last event.
        target: column of the examples to predict; several names become one list column.
        data: how to read and cut.
        split: adds `_part`: "train", "validation", "test" or "left-out".
        schema: of a fitted model, which then decides how columns are read.
        order, examples_order: of DataFrames: the column of whole numbers or times by which their rows were written.
        partitions: of the shuffle; None takes `spark.sql.shuffle.partitions`.
        heavy: events of an entity from which on it is cut before the shuffle.

    Raises:
        DataError: if a column is missing or there is no usable row, as on one machine.
    """
    data = data or Data()
    check_choice("history", data.history, get_args(History))
    log = read_spark_log(spark, events, data, schema, order=order)
    if examples is None:
        table = derive_spark_examples(log)
    else:
        table = read_spark_examples(spark, examples, log, data, target=target, schema=schema, order=examples_order)
    rows = _sliced(log, table, data, partitions, heavy)
    if split is not None:
        rows = with_parts(rows, table, split)
    return SparkRows(rows, log, table, data.max_length, data.history)


def rows_to_score(
    events: DataFrame,
    examples: DataFrame | None,
    model: Any,
    *,
    entity: str | None = None,
    time: str | None = None,
    order: str | None = None,
    time_zone: str | None = None,
) -> DataFrame:
    """Build the rows on which a fitted model is asked, from raw events."""
    given = {"entity": entity, "time": time, "time_zone": time_zone}
    data = replace(model.data, **{name: value for name, value in given.items() if value is not None})
    schema = model.encoder_.schema
    return sequence_rows(events.sparkSession, events, examples, data=data, schema=schema, order=order).frame


# --- the shuffle


def _sliced(log: SparkLog, table: SparkExamples, data: Data, partitions: int | None, heavy: int) -> DataFrame:
    schema = table.schema if table.schema.fields else log.schema
    events = _events(log, table, schema, data, heavy)
    kernel = SliceRows(
        schema,
        data.max_length,
        data.history,
        tuple(table.columns),
        _output_schema(log, table, schema, data),
    )
    together = events.unionByName(_markers(table, events, schema), allowMissingColumns=True)
    by_entity = (
        together.repartition(column(schema.entity))
        if partitions is None
        else together.repartition(partitions, column(schema.entity))
    )
    ordered = by_entity.sortWithinPartitions(column(schema.entity), KIND, column(schema.time), ROW)
    return ordered.mapInArrow(kernel, from_arrow_schema(kernel.output))


def _markers(table: SparkExamples, events: DataFrame, schema: Schema) -> DataFrame:
    """Return the examples as rows that stand before the events of their entity."""
    return table.frame.select(
        *map(column, table.frame.columns),
        F.lit(0).cast("byte").alias(KIND),
        F.lit(None).cast(events.schema[schema.time].dataType).alias(schema.time),
        column(EXAMPLE).alias(ROW),
        F.lit(0).cast("bigint").alias(DROPPED),
    )


def _events(log: SparkLog, table: SparkExamples, schema: Schema, data: Data, heavy: int) -> DataFrame:
    """Return the events that may matter, canonical columns with `_kind` and `_dropped`."""
    frame = with_entity_of(log, table).select(
        column(schema.entity),
        column(schema.time),
        *map(column, schema.fields),
        column(ROW),
        F.lit(1).cast("byte").alias(KIND),
        F.lit(0).cast("bigint").alias(DROPPED),
    )
    frame = _only_of_examples(frame, table, schema)
    cutoffs = _heavy_cutoffs(log, table, schema, heavy) if data.history == "latest" else {}
    if not cutoffs:
        return frame
    return frame.mapInArrow(CutHeavy(cutoffs, schema.entity, schema.time, data.max_length), frame.schema)


def _only_of_examples(frame: DataFrame, table: SparkExamples, schema: Schema) -> DataFrame:
    """Leave out, where the examples are few, events of other entities and those after an entity's last cutoff."""
    if table.n > _FEW_EXAMPLES:
        return frame
    entity, cutoff = column(schema.entity), column(schema.cutoff)
    last = table.frame.groupBy(entity).agg(F.max(cutoff).alias(_LAST))
    joined = frame.join(F.broadcast(last), on=schema.entity, how="inner")
    return joined.filter(column(schema.time) < F.col(_LAST)).drop(_LAST)


def _heavy_cutoffs(log: SparkLog, table: SparkExamples, schema: Schema, heavy: int) -> dict[str, np.ndarray]:
    """Return the cutoffs of entities with very many events, in microseconds."""
    if log.known.rejects.n_rows < heavy:
        return {}
    raw = column(log.entity)
    counts = log.source.data.groupBy(raw.cast("string").alias("name")).count().filter(F.col("count") >= heavy)
    with in_a_sentence("Counting events of each entity"):
        names = [row[0] for row in counts.orderBy(F.desc("count")).limit(_MOST_HEAVY).collect() if row[0] is not None]
    if not names:
        return {}
    own = table.frame.filter(column(schema.entity).cast("string").isin(names))
    moments = own.select(column(schema.entity).cast("string"), F.unix_micros(column(schema.cutoff))).distinct()
    found: dict[str, list[int]] = {name: [] for name in names}  # without an example: every event is left out
    for name, moment in moments.collect():
        found[name].append(moment)
    return {name: np.sort(np.array(times, dtype=np.int64)) for name, times in found.items()}


def _output_schema(log: SparkLog, table: SparkExamples, schema: Schema, data: Data) -> Any:
    """Return the names and types of sequence rows: those of slicing nothing."""
    number = pl.lit(None, pl.UInt32).alias(ENTITY)
    events = empty_frame(with_entity_of(log, table).schema).with_columns(number)
    who = empty_frame(table.frame.schema).with_columns(number)
    return slice_rows(events, who, schema, data.max_length, data.history).schema
