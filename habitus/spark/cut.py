"""From sorted rows of a Spark partition to sequence rows, in memory that does not grow with a history.

    (entity, examples first, then events by time and order of the log) -> `data.sequence.slice_rows` -> sequence rows

A partition is worked through in chunks of whole entities. Of a history that is longer than a chunk only what some row
can show is kept: of the events between two cutoffs of the entity, the latest `max_length`; how many were left out is
carried along with the next one, so that `n_events` stays exact. The same cut runs before the shuffle for entities that
are known to be heavy (a crawler). Knows nothing about Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from habitus.data.sequence import DROPPED, ENTITY, EXAMPLE, History, plain_table, slice_rows
from habitus.data.sources import ROW
from habitus.fields.schema import Schema

KIND = "_kind"  # 0: an example, 1: an event
CHUNK_ROWS = 300_000


@dataclass(frozen=True)
class SliceRows:
    """Turns a sorted partition into sequence rows; what `mapInArrow` calls.

    Args:
        schema, max_length, history: as for `build_sequences`.
        scalars: columns of the examples, in their order.
        output: names and types of the result.
        chunk_rows: rows that are held at once, about.
    """

    schema: Schema
    max_length: int
    history: History
    scalars: tuple[str, ...]
    output: pa.Schema
    chunk_rows: int = CHUNK_ROWS

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Slice the batches of a partition."""
        held: list[pa.RecordBatch] = []
        n = 0
        for batch in batches:
            held.append(batch)
            n += batch.num_rows
            if n < self.chunk_rows:
                continue
            table = pa.Table.from_batches(held)
            end = _start_of_last(table[self.schema.entity])
            yield from self._sliced(table[:end])
            rest = table[end:]
            if not end and self.history == "latest":
                rest = self._shrunk(rest)
            held, n = rest.to_batches(), rest.num_rows
        if n:
            yield from self._sliced(pa.Table.from_batches(held))

    def _sliced(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        if not table.num_rows:
            return
        frame = _frame(table).with_columns(pl.col(self.schema.entity).rle_id().alias(ENTITY))
        examples = frame.filter(pl.col(KIND) == 0).select(EXAMPLE, ENTITY, *self.scalars)
        if not examples.height:
            return
        events = frame.filter(pl.col(KIND) == 1).select(ENTITY, self.schema.time, *self.schema.fields, DROPPED)
        rows = slice_rows(events, examples, self.schema, self.max_length, self.history)
        yield from rows.select(self.output.names).cast(self.output).combine_chunks().to_batches()

    def _shrunk(self, table: pa.Table) -> pa.Table:
        """Leave out the events of one entity that no row can show."""
        frame = _frame(table)
        examples, events = frame.filter(pl.col(KIND) == 0), frame.filter(pl.col(KIND) == 1)
        cutoffs = np.unique(examples[self.schema.cutoff].to_physical().to_numpy())
        kept = latest_between(events, self.schema.time, cutoffs, self.max_length)
        return plain_table(pl.concat([examples, kept])).cast(table.schema)


@dataclass(frozen=True)
class CutHeavy:
    """Leaves out, before the shuffle, events of heavy entities that no row can show; others pass as they are.

    Args:
        cutoffs: of each heavy entity (as text), in microseconds, ascending.
        entity, time: names of the columns.
        max_length: most events in a row.
        chunk_rows: rows that are held at once, about.
    """

    cutoffs: Mapping[str, np.ndarray]
    entity: str
    time: str
    max_length: int
    chunk_rows: int = CHUNK_ROWS

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Cut the batches of a partition."""
        held: dict[str, pl.DataFrame] = {}
        for batch in batches:
            frame = _frame(pa.Table.from_batches([batch]))
            name = frame[self.entity].cast(pl.String)
            is_heavy = name.is_in(list(self.cutoffs))
            if not is_heavy.any():
                yield batch
                continue
            others = plain_table(frame.filter(~is_heavy)).cast(batch.schema)
            yield from others.combine_chunks().to_batches()
            for one in name.filter(is_heavy).unique().to_list():
                own = frame.filter(name == one)
                joined = pl.concat([held.pop(one), own]) if one in held else own
                held[one] = self._cut(one, joined) if joined.height >= self._most else joined
            schema = batch.schema
        for one, frame in held.items():
            yield from plain_table(self._cut(one, frame)).cast(schema).combine_chunks().to_batches()

    @property
    def _most(self) -> int:
        return max(self.chunk_rows // max(len(self.cutoffs), 1), 4 * self.max_length)

    def _cut(self, name: str, events: pl.DataFrame) -> pl.DataFrame:
        return latest_between(events.sort(self.time, ROW), self.time, self.cutoffs[name], self.max_length)


def latest_between(events: pl.DataFrame, time: str, cutoffs: np.ndarray, max_length: int) -> pl.DataFrame:
    """Keep of one entity's events, sorted, the latest `max_length` between any two cutoffs.

    Args:
        events: with `time` and `_dropped`, how many were left out before each.
        time: name of their time.
        cutoffs: int64, microseconds, ascending and unique; events at or after the last one are left out uncounted.
        max_length: most events in a row.

    Any row at any of the cutoffs shows the same events before and after. The first event that is kept between two
    cutoffs carries the number of those that were not.

    >>> log = pl.DataFrame({"t": [1, 2, 3, 7, 9], "_dropped": [0, 0, 0, 0, 0]})
    >>> latest_between(log, "t", np.array([5, 8]), 2).rows()
    [(2, 1), (3, 0), (7, 0)]
    """
    moment = events[time].to_physical().to_numpy()
    interval = np.searchsorted(cutoffs, moment, side="right")
    seen = interval < len(cutoffs)
    interval, events = interval[seen], events.filter(pl.Series(seen))
    size = np.bincount(interval, minlength=len(cutoffs))
    start = np.cumsum(size) - size
    place = np.arange(len(interval)) - start[interval]
    kept = place >= size[interval] - max_length
    first = place == np.maximum(size[interval] - max_length, 0)
    own = events[DROPPED].to_numpy()
    left_out = np.bincount(interval[~kept], weights=own[~kept] + 1, minlength=len(cutoffs)).astype(np.int64)
    carried = own + np.where(first, left_out[interval], 0)
    return events.with_columns(pl.Series(DROPPED, carried, dtype=pl.Int64)).filter(pl.Series(kept))


def _start_of_last(entities: pa.ChunkedArray) -> int:
    """Return where the rows of the last entity begin."""
    others = np.flatnonzero(np.asarray(pc.not_equal(entities, entities[-1])))
    return int(others[-1]) + 1 if len(others) else 0


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
