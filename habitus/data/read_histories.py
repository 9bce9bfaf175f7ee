"""From a log to whole histories: the same rows, ties and vocabularies as every other task, without a cutoff.

Every entity's history is one sequence row that ends after its last event; only the events of the training part are
read to learn vocabularies and scalers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from habitus.data.encode import Encoder
from habitus.data.events import EventLog
from habitus.data.examples import derive_examples
from habitus.data.histories import Histories
from habitus.data.list_columns import combined, flat
from habitus.data.sequence import EXAMPLE, Sequences, build_sequences
from habitus.data.slices import offsets_of, positions
from habitus.data.text.in_events import encoded_fields

_WHOLE = 2**31 - 1


@dataclass(frozen=True)
class LogRows:
    """Whole histories before encoding.

    Args:
        sequences: a row an entity.
        entities: whose row it is, in order.
    """

    sequences: Sequences
    entities: pl.Series


def read_rows_of(log: EventLog) -> LogRows:
    """Return the whole history of every entity of a log, entities in order of first appearance."""
    examples = derive_examples(log)
    sequences = build_sequences(log, examples, max_length=_WHOLE, history="latest")
    return LogRows(sequences, examples.frame[log.schema.entity])


def bare_histories(rows: LogRows) -> Histories:
    """Return offsets and times alone, from which a split is made before anything is learned."""
    return encode_histories(Encoder(rows.sequences.schema), rows)


def fit_encoder(rows: LogRows, n_train: np.ndarray) -> Encoder:
    """Learn vocabularies and scalers from the first `n_train` (n,) events of each history."""
    tables = tuple(_first_events(table, n_train[np.asarray(table[EXAMPLE])]) for table in rows.sequences.tables())
    everyone = np.ones(len(rows.entities), dtype=bool)
    return Encoder.fit(replace(rows.sequences, parts=tables), everyone)


def encode_histories(encoder: Encoder, rows: LogRows) -> Histories:
    """Return the histories as flat arrays, in the order of `rows.entities`."""
    parts = [_encoded(encoder, table) for table in rows.sequences.tables()]
    order = np.argsort(np.concatenate([example for example, _ in parts]), kind="stable")
    return _in_order(_joined([histories for _, histories in parts]), order)


def _encoded(encoder: Encoder, table: pa.Table) -> tuple[np.ndarray, Histories]:
    time = combined(table, encoder.schema.time)
    lists = encoded_fields(encoder.fields, partial(flat, table))
    return np.asarray(table[EXAMPLE]), Histories(
        offsets=time.offsets.to_numpy().astype(np.int64),
        ids={name: lists[name] for name in encoder.sizes},
        numbers={name: values for name, values in lists.items() if name not in encoder.sizes},
        time_us=time.values.cast(pa.int64()).to_numpy(zero_copy_only=False),
    )


def _joined(parts: list[Histories]) -> Histories:
    if len(parts) == 1:
        return parts[0]
    return Histories(
        offsets=offsets_of(np.concatenate([part.lengths for part in parts])),
        ids={name: np.concatenate([part.ids[name] for part in parts]) for name in parts[0].ids},
        numbers={name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
        time_us=np.concatenate([part.time_us for part in parts]),
    )


def _in_order(histories: Histories, order: np.ndarray) -> Histories:
    if (order == np.arange(len(order))).all():
        return histories
    return histories.cut(histories.offsets[:-1][order], histories.offsets[1:][order])


def _first_events(table: pa.Table, n_events: np.ndarray) -> pa.Table:
    """Cut every list column to its first events."""
    lists = [name for name in table.column_names if pa.types.is_list(table.schema.field(name).type)]
    offsets = combined(table, lists[0]).offsets.to_numpy().astype(np.int64)
    kept, index = offsets_of(n_events), pa.array(positions(offsets[:-1], offsets[:-1] + n_events))
    for name in lists:
        values = combined(table, name).values.take(index)
        cut = pa.ListArray.from_arrays(pa.array(kept.astype(np.int32)), values)
        table = table.set_column(table.column_names.index(name), name, cut)
    return table
