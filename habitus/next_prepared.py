"""From a log to histories, parts and questions for next-event prediction: done once, read by every model compared.

The vocabulary and the scalers are learned from the training part of each history only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.data.clock import DAY_US
from habitus.data.encode import Encoder
from habitus.data.events import EventLog
from habitus.data.histories import Histories, latest
from habitus.data.next_split import NextParts, NextSplit, Positions
from habitus.data.options import Data
from habitus.data.read_histories import LogRows, bare_histories, encode_histories, fit_encoder, read_rows_of
from habitus.data.slices import positions, row_numbers
from habitus.errors import DataError, did_you_mean
from habitus.fields.category import N_RESERVED, Category, Vocabulary
from habitus.prepared import read_log
from habitus.tasks.next_event import NextEvent
from habitus.tasks.ranking import Questions


@dataclass(frozen=True)
class PreparedNext:
    """Encoded histories with their parts.

    Args:
        log: as it was read.
        entities: whose history each is, (n,).
        encoder: vocabularies and scalers of the training part.
        histories: encoded.
        parts: which events train, choose and judge.
        item: the field that is predicted.
        max_length: most events that are read to answer a question.
    """

    log: EventLog
    entities: pl.Series
    encoder: Encoder
    histories: Histories
    parts: NextParts
    item: str
    max_length: int

    @property
    def begin(self) -> np.ndarray:
        """Where each history begins, int64 (n,)."""
        return self.histories.offsets[:-1]

    def validation(self) -> Questions:
        """Return the questions that choose the best epoch."""
        return questions_at(self.histories, self.parts.validation, self.item, self.max_length)

    def test(self) -> dict[str, Questions]:
        """Return the questions that judge, by the name of the target."""
        return {
            name: questions_at(self.histories, positions, self.item, self.max_length)
            for name, positions in self.parts.test.items()
        }

    def fingerprint(self) -> str:
        """Return a hash of all histories and where their training parts end."""
        digest = hashlib.sha256(self.parts.train_stop.tobytes())
        histories = self.histories
        for array in [histories.offsets, histories.time_us, *histories.ids.values(), *histories.numbers.values()]:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def prepare_next(
    task: NextEvent, events: Any, data: Data, split: NextSplit, known: Encoder | None = None
) -> PreparedNext:
    """Read a log, divide its histories, learn vocabularies from the training part and encode.

    Args:
        task: names the fields that are predicted.
        events: the log.
        data: how it is read.
        split: which events train, choose and judge.
        known: an encoder that is kept, its items followed by those that are new in the training part.

    Raises:
        DataError: if the item is no category of the log, or a part would be empty.
    """
    log = read_log(events, _keeping_items(data, task.item), None if known is None else known.schema)
    _refuse_wrong_fields(log, task)
    if known is None:
        _refuse_fractions(log, task.item, data)
    rows = read_rows_of(log)
    bare = bare_histories(rows)
    parts = split.divide(bare)
    encoder = fit_encoder(rows, parts.train_stop - bare.offsets[:-1])
    if known is not None:
        encoder = with_new_items(known, task.item, encoder.fields[task.item])
    histories = encode_histories(encoder, rows)
    return PreparedNext(log, rows.entities, encoder, histories, parts, task.item, data.max_length)


def read_histories(encoder: Encoder, events: Any, data: Data) -> tuple[EventLog, LogRows, Histories]:
    """Read and encode a log for a fitted model."""
    log = read_log(events, data, encoder.schema)
    rows = read_rows_of(log)
    return log, rows, encode_histories(encoder, rows)


def questions_at(histories: Histories, positions: Positions, item: str, max_length: int) -> Questions:
    """Return the questions of known events: their answers and their times are in the histories."""
    begin = histories.offsets[:-1][positions.row]
    return Questions(
        windows=latest(begin, positions.stop, max_length),
        begin=begin,
        entity=positions.row,
        target=histories.ids[item][positions.stop].astype(np.int64),
        at_us=histories.time_us[positions.stop],
    )


def questions_at_end(histories: Histories, max_length: int, at_us: int | None = None) -> Questions:
    """Ask what comes after the last event of every history."""
    begin, stop = histories.offsets[:-1], histories.offsets[1:]
    told = None if at_us is None else np.full(len(begin), at_us, dtype=np.int64)
    return Questions(latest(begin, stop, max_length), begin, np.arange(len(begin)), None, told)


def with_new_items(known: Encoder, item: str, found: Any) -> Encoder:
    """Return an encoder with the values of another vocabulary behind its own, in that order; known ids stay.

    >>> from habitus.fields.schema import Schema
    >>> old = Encoder(Schema(), {"item_id": Vocabulary(Category(min_count=1), ["a"], [5])})
    >>> new = Vocabulary(Category(min_count=1), ["b", "a", "c"], [4, 3, 2])
    >>> with_new_items(old, "item_id", new).fields["item_id"].values
    ['a', 'b', 'c']
    """
    old = known.fields[item]
    assert isinstance(old, Vocabulary) and isinstance(found, Vocabulary), "the item is a category"
    counts = dict(zip(found.values, found.counts, strict=True))
    own = set(old.values)
    new = [value for value in found.values if value not in own]
    values = [*old.values, *new]
    vocabulary = Vocabulary(old.spec, values, [counts.get(value, 0) for value in values])
    return Encoder(known.schema, {**known.fields, item: vocabulary}, known.profile)


def _keeping_items(data: Data, item: str) -> Data:
    """Keep every item that training saw, however rare, unless the options say something of that field."""
    if item in data.fields:
        return data
    return replace(data, fields={**data.fields, item: {"kind": "category", "min_count": 1}})


def _refuse_wrong_fields(log: EventLog, task: NextEvent) -> None:
    fields = log.schema.fields
    for name in (task.item, *task.also):
        if name not in fields:
            raise DataError(f"'{log.source}' has no event field '{name}' to predict; {did_you_mean(name, fields)}")
        spec = fields[name]
        if getattr(spec, "hash_buckets", None) or getattr(spec, "bins", None):
            raise DataError(
                f"'{name}' is read as {spec}, whose ids cannot be turned back into values, so that it cannot be "
                "predicted; leave hash_buckets or bins out."
            )
    if not isinstance(fields[task.item], Category):
        raise DataError(f"The item '{task.item}' is read as a number; say --field {task.item}=category.")


def _refuse_fractions(log: EventLog, item: str, data: Data) -> None:
    """Refuse an item that looks like an amount, unless the options say that it is a category."""
    if item in data.fields or not log.frame.collect_schema()[item].is_float():
        return
    whole = (pl.col(item).is_null() | pl.col(item).is_nan() | (pl.col(item) == pl.col(item).round())).all()
    if not log.frame.select(whole).collect(engine="streaming").item():
        raise DataError(
            f"The item '{item}' holds numbers with fractions, which are amounts rather than items; name another field, "
            f"or say --field {item}=category if each number is a name."
        )


def training_counts(prepared: PreparedNext) -> np.ndarray:
    """Return how often each id stands in the training part, int64 (V,)."""
    ids = _training_ids(prepared)[0]
    return np.bincount(ids, minlength=prepared.encoder.sizes[prepared.item]).astype(np.int64)


def has_integer_items(prepared: PreparedNext) -> bool:
    """Say whether the items are whole numbers in the log (floats too: pandas makes them of integers with a gap)."""
    if not prepared.log.frame.collect_schema()[prepared.item].is_numeric():
        return False
    vocabulary = prepared.encoder.fields[prepared.item]
    assert isinstance(vocabulary, Vocabulary), "the item is a category"
    return not pl.Series(vocabulary.values, dtype=pl.String).cast(pl.Int64, strict=False).null_count()


def repeat_share(prepared: PreparedNext) -> float:
    """Return the share of training events whose item its user had before."""
    ids, entity = _training_ids(prepared)
    is_item = ids >= N_RESERVED  # two events whose item is missing are no repeat
    ids, entity = ids[is_item], entity[is_item]
    pairs = entity.astype(np.int64) * prepared.encoder.sizes[prepared.item] + ids
    return 1 - len(np.unique(pairs)) / max(len(pairs), 1)


def training_gaps(prepared: PreparedNext) -> np.ndarray:
    """Return the days between neighbouring training events, float64 (E,)."""
    histories, begin, stop = prepared.histories, prepared.begin, prepared.parts.train_stop
    position = positions(begin + 1, np.maximum(stop, begin + 1))
    gaps: np.ndarray = (histories.time_us[position] - histories.time_us[position - 1]) / DAY_US
    return gaps


def _training_ids(prepared: PreparedNext) -> tuple[np.ndarray, np.ndarray]:
    begin, stop = prepared.begin, prepared.parts.train_stop
    entity = row_numbers(begin, stop)
    return prepared.histories.ids[prepared.item][positions(begin, stop)], entity
