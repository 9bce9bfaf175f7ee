"""Follow users on a stream with Structured Streaming: every event gets the score that `predict` gives just after it.

    source -> read as the model reads -> per user: wait, order, fold (state) -> scores, alerts, rejects -> batch folders

A batch of Spark writes one folder, `OUT/batch=0000000007/kind=score|alert|reject/`, named by its number: a batch that
is run again after a crash writes the same folder anew, so that nothing is doubled, and a folder counts only once it
holds `_SUCCESS`. The state store is RocksDB. Order, lateness and ties are explained in `stream_state.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import IntegralType

from habitus.data.rows import REASON
from habitus.errors import ConfigError, DataError
from habitus.model import SequenceModel
from habitus.spark.bundles import open_bundle, ship_bundle
from habitus.spark.failures import in_a_sentence
from habitus.spark.stream_alerts import AlertRule
from habitus.spark.stream_answers import answers_of
from habitus.spark.stream_files import Folder
from habitus.spark.stream_processor import ALERT, OUTPUT, REJECT, SCORE, Follow, Follower, ShippedAnswers
from habitus.spark.stream_read import ENTITY, FILE, ROW_NUMBER, TIME_US, VALUES, read_batches

_STORE = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
_UNITS_US = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_HEAD_TYPES = "kind STRING, entity STRING, since_us LONG, n LONG, time_us LONG, reason STRING, row STRING"
_READ_TYPES = f"{ENTITY} STRING, {TIME_US} LONG, {FILE} STRING, {ROW_NUMBER} LONG, {VALUES} STRING, {REASON} STRING"
_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}

_STARTS = 4
_SLOW_WORKER = re.compile(r"failed to connect back|CANNOT_OPEN_SOCKET")

OnBatch = Callable[[Mapping[str, int]], None]


@dataclass(frozen=True)
class Streaming:
    """How a stream is followed.

    Args:
        lateness: how much later than the latest event one may come; an event waits as long before it is scored.
        state_ttl: forget a user after so long without an event (in the events' own time); None: never.
        rule: when to alert.
        alert_class: class whose probability is watched; None takes the positive one of two.
        k: items that a next-event model recommends.

    >>> Streaming(lateness="10m").lateness_us
    600000000
    """

    lateness: str = "10m"
    state_ttl: str | None = None
    rule: AlertRule = field(default_factory=AlertRule)
    alert_class: str | None = None
    k: int = 10

    def __post_init__(self) -> None:
        duration_us("lateness", self.lateness)
        if self.state_ttl is not None:
            duration_us("state_ttl", self.state_ttl)

    @property
    def lateness_us(self) -> int:
        """The lateness in microseconds."""
        return duration_us("lateness", self.lateness)

    @property
    def time_limit_us(self) -> int | None:
        """The time limit of the state in microseconds."""
        return None if self.state_ttl is None else duration_us("state_ttl", self.state_ttl)


def duration_us(name: str, text: str) -> int:
    """Return a duration such as "90s", "10m", "36h" or "30d" in microseconds.

    >>> duration_us("lateness", "2h")
    7200000000
    """
    found = re.fullmatch(r"(\d+)\s*([smhd])", text.strip())
    if found is None:
        raise ConfigError(f"{name}={text!r} is no duration; write for example 90s, 10m, 36h or 30d.")
    return int(found[1]) * _UNITS_US[found[2]]


def read_folder(spark: SparkSession, folder: str, *, files_per_batch: int | None = None) -> DataFrame:
    """Return a stream of the files that stand in a folder and that will come to it.

    Args:
        spark: the session.
        folder: of Parquet files or of JSON lines; at least one file says what the columns are.
        files_per_batch: most new files that one batch reads; None reads all that are there.

    Files arrive in the order of the time they were written, then of their names; rows as they stand in their file.
    """
    form = _format_of(folder)
    schema = spark.read.format(form).load(folder).schema
    reader = spark.readStream.format(form).schema(schema)
    if files_per_batch is not None:
        reader = reader.option("maxFilesPerTrigger", files_per_batch)
    written, start = F.unix_micros("_metadata.file_modification_time"), F.col("_metadata.file_block_start")
    place = F.concat_ws(" ", F.lpad(written.cast("string"), 20, "0"), "_metadata.file_path", F.lpad(start, 20, "0"))
    return reader.load(folder).withColumn(FILE, place)


def follow(events: DataFrame, bundle: str | Path, streaming: Streaming | None = None) -> DataFrame:
    """Return a stream of scores, alerts and rejects.

    Args:
        events: a stream with the columns of the model's log, and if there is one `_file`, text that orders events with
            equal times by arrival (`read_folder` adds it; of Kafka: the offset, with zeros before it).
        bundle: a saved model, or a run folder.
        streaming: options.

    Returns:
        A stream with the columns kind ("score", "alert" or "reject"), the entity, `since` and `n` (which name an event:
        the first one's time, and its number), the time, `reason` (of alerts and rejects), `row` (of rejects), and what
        `predict` gives; for a next-event model the surprise of the event, and the items that it recommends next.
    """
    streaming = streaming or Streaming()
    spark = events.sparkSession
    model = open_bundle(bundle)
    _refuse_absent(events, model)
    watched: dict[str, Any] = {"alert_class": streaming.alert_class, "hit_at": streaming.rule.above, "k": streaming.k}
    columns = answers_of(model, **watched).columns
    _refuse_unnamed_class(model, streaming)
    spark.conf.set("spark.sql.streaming.stateStore.providerClass", _STORE)
    answers = ShippedAnswers(ship_bundle(spark, bundle), **watched)
    processor = Follower(Follow(answers, tuple(columns), streaming.rule, streaming.time_limit_us))
    types = ", ".join([_HEAD_TYPES, *(f"`{name}` {kind}" for name, kind in columns.items())])
    schema = model.encoder_.schema
    read = events.mapInArrow(partial(read_batches, schema=schema), _READ_TYPES)
    clock = F.timestamp_micros(F.when(F.col(REASON).isNull(), F.col(TIME_US)).otherwise(F.lit(0)))
    # without the clock in its input the operator gets late events too, and can count them
    timed = read.withColumn("_clock", clock).withWatermark("_clock", f"{streaming.lateness_us // 10**6} seconds")
    rows = timed.drop("_clock").groupBy(ENTITY).transformWithState(processor, types, "Append", "EventTime")
    entity = F.col("entity")
    if isinstance(events.schema[schema.entity].dataType, IntegralType):
        entity = entity.cast("long")
    named = [
        F.col("kind"),
        entity.alias(schema.entity),
        F.timestamp_micros("since_us").alias("since"),
        F.col("n"),
        F.timestamp_micros("time_us").alias(schema.time),
        F.col("reason"),
        F.col("row"),
    ]
    assert len(named) == len(OUTPUT)
    return rows.select(*named, *(F.col(f"`{name}`") for name in columns))


def write_stream(
    rows: DataFrame,
    out: str | Path,
    checkpoint: str | Path,
    *,
    once: bool = False,
    every: str = "5s",
    on_batch: OnBatch | None = None,
) -> StreamingQuery:
    """Start the query that writes what `follow` gives, and return it.

    Args:
        rows: of `follow`.
        out: folder of the batch folders.
        checkpoint: folder of Spark's checkpoint; a query that is started again with it goes on where it stopped.
        once: score what is there and stop.
        every: time between batches, unless `once`.
        on_batch: is told the counts of each batch.

    Raises:
        ConfigError: if `out` holds batches of another checkpoint, which would be overwritten.
    """
    folder = Folder(rows.sparkSession, str(out))
    folder.refuse_foreign(str(checkpoint))

    def write(batch: DataFrame, number: int) -> None:
        seen = Observation()
        counts = [F.count_if(F.col("kind") == kind).alias(kind) for kind in (SCORE, ALERT, REJECT)]
        observed = batch.observe(seen, *counts)
        observed.write.mode("overwrite").partitionBy("kind").parquet(folder.batch(number))
        if on_batch is not None:
            on_batch({"batch": number, **{kind: int(seen.get[kind] or 0) for kind in (SCORE, ALERT, REJECT)}})

    writer = rows.writeStream.foreachBatch(write).option("checkpointLocation", str(checkpoint)).queryName("habitus")
    seconds = f"{duration_us('every', every) // 10**6} seconds"
    return (writer.trigger(availableNow=True) if once else writer.trigger(processingTime=seconds)).start()


def run_stream(
    rows: DataFrame,
    out: str | Path,
    checkpoint: str | Path,
    *,
    once: bool = False,
    every: str = "5s",
    on_batch: OnBatch | None = None,
) -> dict[str, int]:
    """Run the query of `write_stream` until it ends or is interrupted; return how many rows of each kind it wrote.

    A query that fails because a Python worker came up too slowly (Spark waits 10 s, on a busy machine too few) is
    started again from its checkpoint, three times at most.

    Raises:
        HabitusError: if the query fails, with the first line of the reason.
    """
    totals = dict.fromkeys((SCORE, ALERT, REJECT), 0)

    def count(counts: Mapping[str, int]) -> None:
        for kind in totals:
            totals[kind] += counts[kind]
        if on_batch is not None:
            on_batch(counts)

    with in_a_sentence("The streaming query"):
        for attempt in range(_STARTS):
            query = write_stream(rows, out, checkpoint, once=once, every=every, on_batch=count)
            try:
                query.awaitTermination()
                break
            except Exception as error:
                if attempt == _STARTS - 1 or not _SLOW_WORKER.search(str(error)):
                    raise
                print("a Python worker came up too slowly; the query starts again", file=sys.stderr)
            finally:
                query.stop()
    return totals


def read_stream(spark: SparkSession, out: str | Path, kind: str = SCORE) -> DataFrame:
    """Return the rows of one kind of all finished batches."""
    paths = [f"{path}/kind={kind}" for path in Folder(spark, str(out)).finished()]
    paths = [path for path in paths if Folder(spark, path).exists()]
    if not paths:
        raise DataError(f"'{out}' holds no finished batch with rows of the kind '{kind}' yet.")
    return spark.read.parquet(*paths)


def _refuse_unnamed_class(model: SequenceModel, streaming: Streaming) -> None:
    classes = [str(one) for one in getattr(model.task, "classes_", ())]
    alerts = streaming.rule.above is not None or streaming.rule.rate is not None
    if alerts and len(classes) > 2 and streaming.alert_class is None:
        raise ConfigError(
            f"Say which class alerts watch: alert_class= (--alert-class), one of {', '.join(classes[:10])}."
        )


def _refuse_absent(events: DataFrame, model: SequenceModel) -> None:
    schema = model.encoder_.schema
    absent = [name for name in (schema.entity, schema.time, *schema.fields) if name not in events.columns]
    if absent:
        shown = ", ".join(f"'{name}'" for name in absent)
        raise DataError(
            f"The stream lacks {shown}, which the model needs; its columns are {', '.join(events.columns)}."
        )


def _format_of(folder: str) -> str:
    found = sorted({path.suffix for path in Path(folder).glob("*") if not path.name.startswith(("_", "."))})
    forms = {_FORMATS[suffix] for suffix in found if suffix in _FORMATS}
    if len(forms) != 1:
        raise DataError(
            f"--events '{folder}' holds {', '.join(found) or 'no file yet'}; give a folder of Parquet files or of "
            "JSON lines, with at least one file in it that says what the columns are."
        )
    return forms.pop()
