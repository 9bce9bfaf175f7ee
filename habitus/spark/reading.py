"""The log and the examples, read by the rules of one machine into DataFrames of canonical columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from habitus.data.events import EventLog, read_events
from habitus.data.examples import read_examples
from habitus.data.options import Data
from habitus.data.rejects import Rejects
from habitus.data.sequence import EXAMPLE
from habitus.data.sources import ROW
from habitus.fields.category import Category
from habitus.fields.schema import Schema
from habitus.spark.numbering import dense_numbers
from habitus.spark.sources import SparkSource, column, open_spark_source

_LAST, _KEY = "_last", "_key"


@dataclass(frozen=True)
class SparkLog:
    """A log in Spark.

    Args:
        frame: entity (long or string), time (UTC), every field, and `_row`; only rows that can be used.
        source: the raw rows.
        known: what one machine would know of the log: schema, rejects, notes, columns; its frame is empty.
        entity: the raw column of the entity.
    """

    frame: DataFrame
    source: SparkSource
    known: EventLog
    entity: str

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.known.schema


@dataclass(frozen=True)
class SparkExamples:
    """Examples in Spark.

    Args:
        frame: `_example`, entity, cutoff, target if there is one, profile.
        schema: what the columns mean, those of the log included.
        n: how many there are.
        target: name of the target column, or None.
        notes, rejects, labels: as for `habitus.data.examples.Examples`.
    """

    frame: DataFrame
    schema: Schema
    n: int
    target: str | None = None
    notes: list[str] = field(default_factory=list)
    rejects: Rejects = field(default_factory=Rejects)
    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Columns of the example table, without `_example`."""
        return [name for name in self.frame.columns if name != EXAMPLE]


def read_spark_log(
    spark: SparkSession, events: Any, data: Data, schema: Schema | None = None, *, order: str | None = None
) -> SparkLog:
    """Read a log; arguments as for `open_spark_source`, `data` and `schema` as for `read_events`."""
    data.refuse_text()
    source = open_spark_source(spark, events, what="log", order=order)
    known = read_events(
        source,
        schema,
        entity=data.entity,
        time=data.time,
        fields=data.fields,
        time_zone=data.time_zone,
        time_unit=data.time_unit,
        drop=data.drop,
    )
    entity = (data.entity or schema.entity) if schema is not None else known.schema.entity
    return SparkLog(source.rows(), source, known, entity)


def read_spark_examples(
    spark: SparkSession,
    examples: Any,
    log: SparkLog,
    data: Data,
    *,
    target: str | Sequence[str] | None = None,
    schema: Schema | None = None,
    order: str | None = None,
) -> SparkExamples:
    """Read a table of examples and number its rows; arguments as for `read_examples`."""
    source = open_spark_source(spark, examples, what="examples", order=order)
    options: Mapping[str, Any] = {} if schema else {"drop": data.drop, "fields": data.fields}
    known, completed = read_examples(source, log.known, target=target, cutoff=data.cutoff, schema=schema, **options)
    frame, notes = _packed(source.rows(), known.target, known.labels), list(known.notes)
    if completed.cutoff not in frame.columns:
        frame = _with_last_times(frame, log, completed)
    n = known.rejects.n_rows - known.rejects.total
    frame = dense_numbers(frame.persist(), n, ROW, EXAMPLE)
    order_ = [completed.entity, completed.cutoff, *([known.target] if known.target else []), *completed.profile]
    frame = _aligned(frame.select(EXAMPLE, *map(column, order_)), log, completed.entity)
    repeats = n - frame.select(column(completed.entity), column(completed.cutoff)).distinct().count()
    notes += [f"{repeats:,} examples repeat an entity and a cutoff; all are kept."] if repeats else []
    return SparkExamples(frame, completed, n, known.target, notes, known.rejects, known.labels)


def derive_spark_examples(log: SparkLog) -> SparkExamples:
    """Return one example for each entity, judged just after its last event, in order of first appearance."""
    schema = log.schema
    last = _last_times(log).persist()
    n = last.count()
    numbered = dense_numbers(last, n, ROW, EXAMPLE)
    cutoff = _just_after(F.col(_LAST))
    missing = [
        F.lit(None).cast("string" if isinstance(spec, Category) else "double").alias(name)
        for name, spec in schema.profile.items()
    ]
    notes = ["Each entity is judged just after its last event."]
    if missing:
        notes.append(f"No profile is given, so {', '.join(schema.profile)} are missing for every entity.")
    frame = numbered.select(EXAMPLE, column(schema.entity), cutoff.alias(schema.cutoff), *missing)
    return SparkExamples(frame, schema, n, notes=notes)


def with_entity_of(log: SparkLog, examples: SparkExamples) -> DataFrame:
    """Return the log with its entities in the type in which the examples have theirs."""
    name = log.schema.entity
    return log.frame.withColumn(name, column(name).cast(examples.frame.schema[name].dataType))


def _packed(frame: DataFrame, target: str | None, labels: Sequence[str]) -> DataFrame:
    """Turn several target columns into one list column."""
    if not labels:
        return frame
    return frame.withColumn(str(target), F.array(*map(column, labels))).drop(*labels)


def _aligned(frame: DataFrame, log: SparkLog, entity: str) -> DataFrame:
    """Compare whole numbers with whole numbers, everything else as text."""
    return frame.withColumn(entity, column(entity).cast(_common(frame, log, entity)))


def _common(frame: DataFrame, log: SparkLog, entity: str) -> DataType | str:
    kinds = (frame.schema[entity].dataType, log.frame.schema[log.schema.entity].dataType)
    return "bigint" if all(kind.typeName() == "long" for kind in kinds) else "string"


def _last_times(log: SparkLog) -> DataFrame:
    schema = log.schema
    return log.frame.groupBy(column(schema.entity)).agg(F.max(column(schema.time)).alias(_LAST), F.min(ROW).alias(ROW))


def _with_last_times(frame: DataFrame, log: SparkLog, schema: Schema) -> DataFrame:
    """Add the end of each history; entities without one are judged at the end of the log."""
    kind = _common(frame, log, schema.entity)
    last = _last_times(log)
    keyed = last.select(column(schema.entity).cast(kind).alias(_KEY), _LAST)
    joined = frame.withColumn(_KEY, column(schema.entity).cast(kind)).join(keyed, on=_KEY, how="left")
    latest = F.timestamp_micros(F.lit(_micros(last)))
    moment = _just_after(F.coalesce(F.col(_LAST), latest))
    return joined.withColumn(schema.cutoff, moment).drop(_KEY, _LAST)


def _just_after(time: Column) -> Column:
    return F.timestamp_micros(F.unix_micros(time) + 1)


def _micros(last: DataFrame) -> int:
    found = last.agg(F.unix_micros(F.max(_LAST))).first()
    assert found is not None
    return int(found[0])


def all_rejects(log: SparkLog, examples: SparkExamples) -> Rejects:
    """Return the rejected rows of both, counted together."""
    one, other = log.known.rejects, examples.rejects
    counts = dict(one.counts)
    for reason, n in other.counts.items():
        counts[reason] = counts.get(reason, 0) + n
    return Rejects(one.n_rows + other.n_rows, counts, [*one.samples, *other.samples])
