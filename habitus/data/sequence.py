"""Sequences: each example's events before its cutoff, in time order, as one Arrow row.

    events (lazy) --entity code--> parts that fit in memory --sort--> slices --> rows with list columns

A log is split by entity into parts of a few million events, spilled to a temporary folder by Polars' streaming
engine, and each part is sorted and sliced on its own, so that a log larger than memory works. Ties: events of
one entity with equal timestamps keep the order of the log. Long histories keep the latest `max_length`
events, or become several rows (`history="windows"`). Knows nothing about vocabularies or torch.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from habitus.atomic import replace_folder
from habitus.config import check_choice
from habitus.data.events import EventLog
from habitus.data.examples import Examples, align_entities
from habitus.data.slices import offsets_of, positions
from habitus.errors import ConfigError, DataError
from habitus.fields.schema import Schema

History = Literal["latest", "windows"]

EXAMPLE, WINDOW, N_EVENTS = "_example", "_window", "n_events"
ENTITY, DROPPED = "_entity", "_dropped"
_ROW, _ENTITY, _PART = "_row", ENTITY, "_part"
_EVENTS_PER_PART = 4_000_000


@dataclass(frozen=True)
class Sequences:
    """Sequence rows, in memory or in Parquet files, a part at a time.

    Args:
        schema: what the columns mean.
        n_examples: number of examples (rows, unless histories are cut into windows).
        parts: Arrow tables, or Parquet files that hold them.

    Columns of a part: `_example` (position in the example table), `_window`, the entity, the cutoff, `n_events`
    (events before the cutoff, before any cut), one list column for the time and for each event field, the
    profile columns and the target.
    """

    schema: Schema
    n_examples: int
    parts: tuple[pa.Table | Path, ...]
    max_length: int
    history: History

    def tables(self) -> Iterator[pa.Table]:
        """Yield one table a part; files are read when their turn comes."""
        for part in self.parts:
            yield pq.read_table(part) if isinstance(part, Path) else part

    def to_table(self) -> pa.Table:
        """Return all rows as one table, in the order of the examples."""
        table = pa.concat_tables(self.tables())
        return table.sort_by([(EXAMPLE, "ascending"), (WINDOW, "ascending")])


def build_sequences(
    events: EventLog, examples: Examples, *, max_length: int = 512, history: History = "latest"
) -> Sequences:
    """Build the sequences of examples in memory.

    Args:
        events: the log.
        examples: who, at which moment.
        max_length: most events in a row.
        history: "latest" keeps the latest `max_length` events; "windows" makes rows of at most `max_length`
            events until the whole history is covered.
    """
    tables = tuple(_iter_parts(events, examples, max_length, history))
    return Sequences(_row_schema(examples, events), examples.frame.height, tables, max_length, history)


def write_sequences(
    events: EventLog, examples: Examples, folder: str | Path, *, max_length: int = 512, history: History = "latest"
) -> Sequences:
    """Build sequences out of core and write them as Parquet parts with a `sequences.json`.

    The folder appears whole or not at all. `read_sequences` opens it again.
    """
    folder, schema = Path(folder), _row_schema(examples, events)
    with replace_folder(folder) as temporary:
        n_parts = 0
        for n_parts, table in enumerate(_iter_parts(events, examples, max_length, history), start=1):
            pq.write_table(table, temporary / _part_name(n_parts - 1), compression="zstd")
        document = {
            "n_examples": examples.frame.height,
            "n_parts": n_parts,
            "max_length": max_length,
            "history": history,
            "schema": schema.to_json(),
        }
        (temporary / "sequences.json").write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
    return read_sequences(folder)


def read_sequences(folder: str | Path) -> Sequences:
    """Open sequences that `write_sequences` wrote."""
    folder = Path(folder)
    if not (folder / "sequences.json").is_file():
        raise DataError(f"'{folder}' holds no sequences.json; give a folder that write_sequences wrote.")
    document: dict[str, Any] = json.loads((folder / "sequences.json").read_text("utf-8"))
    parts = tuple(folder / _part_name(number) for number in range(document["n_parts"]))
    schema = Schema.from_json(document["schema"])
    return Sequences(schema, document["n_examples"], parts, document["max_length"], document["history"])


def _part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _row_schema(examples: Examples, events: EventLog) -> Schema:
    return examples.schema if examples.schema.fields else events.schema


def _iter_parts(events: EventLog, examples: Examples, max_length: int, history: History) -> Iterator[pa.Table]:
    check_choice("history", history, get_args(History))
    if max_length < 1:
        raise ConfigError(f"max_length={max_length} keeps no event; use 1 or more.")
    schema = _row_schema(examples, events)
    numbered = _number_examples(events, examples, schema)
    seen = _seen_events(events, numbered, schema)
    with tempfile.TemporaryDirectory(prefix="habitus-") as scratch:
        for sorted_events, part_examples in _split(seen, numbered, schema, Path(scratch)):
            yield slice_rows(sorted_events, part_examples, schema, max_length, history)


def _number_examples(events: EventLog, examples: Examples, schema: Schema) -> pl.DataFrame:
    """Add to each example its position and a dense number for its entity."""
    frame = align_entities(events, examples)
    entities = frame.select(pl.col(schema.entity).unique(maintain_order=True)).with_row_index(_ENTITY)
    return frame.with_row_index(EXAMPLE).join(entities, on=schema.entity, how="left", maintain_order="left")


def _seen_events(events: EventLog, numbered: pl.DataFrame, schema: Schema) -> pl.LazyFrame:
    """Keep the events of the examples' entities that lie before the entity's last cutoff."""
    last = numbered.group_by(schema.entity).agg(pl.col(_ENTITY).first(), pl.col(schema.cutoff).max().alias("_last"))
    log = events.frame
    if numbered.schema[schema.entity] == pl.String and log.collect_schema()[schema.entity] != pl.String:
        log = log.with_columns(pl.col(schema.entity).cast(pl.String))
    columns = [_ENTITY, schema.time, _ROW, *schema.fields]
    return (
        log.join(last.lazy(), on=schema.entity, how="inner")
        .filter(pl.col(schema.time) < pl.col("_last"))
        .select(columns)
    )


def _split(
    seen: pl.LazyFrame, numbered: pl.DataFrame, schema: Schema, scratch: Path
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield (sorted events, examples) of one part of the entities after another."""
    n_rows = _count_rows(seen)
    n_parts = max(1, -(-n_rows // _EVENTS_PER_PART))
    if n_parts == 1:
        yield _sorted(seen.collect(engine="streaming"), schema), numbered
        return
    spilled = pl.PartitionBy(scratch, key=(pl.col(_ENTITY) % n_parts).alias(_PART), include_key=False)
    seen.sink_parquet(spilled, compression="lz4", statistics=False, mkdir=True, maintain_order=False)
    for number in range(n_parts):
        folder = scratch / f"{_PART}={number}"
        chosen = numbered.filter(pl.col(_ENTITY) % n_parts == number)
        found = pl.read_parquet(folder) if folder.is_dir() else seen.clear().collect()
        yield _sorted(found, schema), chosen


def _count_rows(seen: pl.LazyFrame) -> int:
    return int(seen.select(pl.len()).collect(engine="streaming").item())


def _sorted(events: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    return events.sort(_ENTITY, schema.time, _ROW)


def slice_rows(
    events: pl.DataFrame, examples: pl.DataFrame, schema: Schema, max_length: int, history: History
) -> pa.Table:
    """Slice sorted events into one row an example (or several windows).

    Args:
        events: `_entity` (a dense number), the time, the fields; sorted by entity, time and order of the log. Where
            events that no row can show were left out already, `_dropped` says how many before each event.
        examples: `_example`, `_entity` and the columns of the example table.
        schema, max_length, history: as for `build_sequences`.
    """
    begin, end = _history_bounds(events, examples, schema)
    row, window, start, stop = _cut(begin, end, max_length, history)
    offsets, order = offsets_of(stop - start).astype(np.int32), positions(start, stop)
    n_events = end - begin
    if DROPPED in events.columns:
        before = offsets_of(events[DROPPED].to_numpy())
        n_events = n_events + before[end] - before[begin]
    columns = _scalar_columns(examples[row], window, n_events[row], schema)
    for name in (schema.time, *schema.fields):
        values = _plain_arrow(events.get_column(name).gather(order))
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), values)
    return pa.table(columns)


def _scalar_columns(examples: pl.DataFrame, window: np.ndarray, n_events: np.ndarray, schema: Schema) -> dict[str, Any]:
    """Return the columns with one value a row, the reserved ones first."""
    columns = {EXAMPLE: pa.array(examples[EXAMPLE].to_numpy().astype(np.int64)), WINDOW: pa.array(window)}
    for name in examples.columns:
        if name not in (EXAMPLE, _ENTITY, schema.time, *schema.fields):
            columns[name] = _plain_arrow(examples.get_column(name))
    columns[N_EVENTS] = pa.array(n_events.astype(np.int64))
    return columns


def plain_table(frame: pl.DataFrame) -> pa.Table:
    """Return a frame in the plain Arrow types that every reader (Spark among them) takes.

    >>> plain_table(pl.DataFrame({"item": [["tea"]]})).schema.field("item").type
    ListType(list<item: string>)
    """
    return pa.table({name: _plain_arrow(frame.get_column(name)) for name in frame.columns})


def _plain_arrow(values: pl.Series) -> pa.Array:
    """Convert to the plain Arrow types that every reader (Spark among them) takes."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    return values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(_small(values.to_arrow().type))


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(_small(kind.value_type))
    return kind


def _history_bounds(events: pl.DataFrame, examples: pl.DataFrame, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Return where each example's history begins and ends: events of its entity strictly before its cutoff."""
    entity = events[_ENTITY].to_numpy()
    time = events[schema.time].to_physical().to_numpy()
    cutoff = examples[schema.cutoff].to_physical().to_numpy()
    wanted = examples[_ENTITY].to_numpy()
    begin = np.searchsorted(entity, wanted, side="left")
    low, high = begin.copy(), np.searchsorted(entity, wanted, side="right")
    while (open_ := low < high).any():  # a binary search over all examples at once
        middle = (low + high) // 2
        before = open_ & (time[np.minimum(middle, max(len(time) - 1, 0))] < cutoff) if len(time) else open_ & False
        low, high = np.where(before, middle + 1, low), np.where(open_ & ~before, middle, high)
    return begin, low


def _cut(
    begin: np.ndarray, end: np.ndarray, max_length: int, history: History
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (row, window, start, stop) slices; windows are counted back from the end of the history."""
    if history == "latest":
        rows = np.arange(len(begin))
        return rows, np.zeros(len(begin), np.int32), np.maximum(begin, end - max_length), end
    n_windows = np.maximum(1, -(-(end - begin) // max_length))
    rows = np.repeat(np.arange(len(begin)), n_windows)
    first = np.cumsum(n_windows) - n_windows
    window = np.arange(len(rows)) - first[rows]  # 0 is the oldest
    back = (n_windows[rows] - 1 - window) * max_length
    stop = end[rows] - back
    return rows, window.astype(np.int32), np.maximum(begin[rows], stop - max_length), stop
