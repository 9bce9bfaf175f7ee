"""From a log, one of whose columns is each event's label, to `Tagged` rows.

The label and the column that says the part are read like any other, and then taken out of the fields: no event's own
label is ever among what is read of it. Vocabularies, scalers and labels are learned from the training entities only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.data.encode import Encoder
from habitus.data.events import EventLog, read_events
from habitus.data.kept_fields import keeping, refuse_other_meanings
from habitus.data.list_columns import flat
from habitus.data.options import Data
from habitus.data.read_histories import LogRows, bare_histories, encode_histories, fit_encoder, read_rows_of
from habitus.data.sources import open_source
from habitus.data.tags.split import TagSplit
from habitus.data.tags.tagged import Tagged
from habitus.data.tags.text_events import SENTENCE_LABEL, find_text, read_text
from habitus.data.tags.words import EventWords
from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.fields.category import N_RESERVED, Category, Vocabulary
from habitus.fields.schema import Schema

_MOST_LABELS = 1000


@dataclass
class TagEncoder:
    """What the training entities taught: the meaning of every field, and the labels.

    Args:
        events: vocabularies and scalers of the fields, the label not among them.
        target: column of the labels.
        labels: those that training saw, in the order of the outputs.
        has_times: whether the times of events are more than their order.
        words: how events are written as words for a pretrained encoder, or None.
    """

    events: Encoder
    target: str
    labels: tuple[str, ...] = ()
    has_times: bool = True
    words: EventWords | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        plain = {"target": self.target, "labels": list(self.labels), "has_times": self.has_times}
        words = {} if self.words is None else {"words": self.words.to_json()}
        return {"events": self.events.to_json(), **plain, **words}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TagEncoder:
        """Build from `to_json` data."""
        words = EventWords.from_json(data["words"]) if "words" in data else None
        return cls(Encoder.from_json(data["events"]), data["target"], tuple(data["labels"]), data["has_times"], words)


@dataclass(frozen=True)
class TagLog:
    """A log that was read, its histories, and its rows with labels.

    Args:
        log: as it was read.
        entities: whose history each is, (n,).
        encoder: what was learned.
        rows: encoded.
        part: of each entity, (n,).
        notes: sentences to say aloud.
        split: how the entities were divided, in words.
    """

    log: EventLog
    entities: pl.Series
    encoder: TagEncoder
    rows: Tagged
    part: np.ndarray
    notes: tuple[str, ...]
    split: str = ""


def read_to_learn(
    source: Any,
    target: str,
    data: Data,
    split: TagSplit,
    *,
    labels: Sequence[str] = (),
    past_only: bool = True,
    tokenizer: str | None = None,
    known: Encoder | None = None,
) -> TagLog:
    """Read a log, divide its entities, and learn the fields and the labels of the training entities.

    Args:
        source: a log, or files of tagged text.
        target: column that holds each event's label.
        data: how the log is read.
        split: which entities train, choose and judge.
        labels: in their order; empty takes those of the training entities, sorted.
        past_only: leave out fields of text that look at the next token.
        tokenizer: pretrained encoder for which events are written as words; None for none.
        known: vocabularies and scalers of event fields that are kept.

    Raises:
        DataError: if the column is absent, is no label, or training knows fewer than two labels.
    """
    table, split, said = _opened(source, split, past_only=past_only)
    if known is not None:
        _refuse_label(known, target)
        refuse_other_meanings(known, data)
        data = replace(data, fields={**data.fields, **known.schema.fields})
    log = _read_new(table, target, _for_text(data) if said else data, split)
    rows = read_rows_of(log)
    part = split.assign(rows.entities, _of_entities(rows, split.column))
    names, codes = _labels(rows, target)
    _refuse_no_labels(names, codes, target, log)
    bare = bare_histories(rows)
    encoder = fit_encoder(rows, np.where(part == "train", bare.lengths, 0))
    for taken in (target, split.column):
        encoder.fields.pop(taken or "", None)
    encoder.schema = _without(encoder.schema, target, split.column)
    encoder = keeping(known, encoder)
    trained = np.unique(codes[np.repeat(part == "train", bare.lengths)])
    order = _in_order([names[code] for code in trained if code >= 0], labels, target)
    words = None if tokenizer is None else EventWords.learn(rows, _word_fields(data, target, bool(said)), tokenizer)
    learned = TagEncoder(encoder, target, order, has_times=not said, words=words)
    tagged, notes = _tagged(learned, rows, names, codes)
    return TagLog(log, rows.entities, learned, tagged, part, (*said, *log.notes, *notes), split.sentence())


def read_to_answer(encoder: TagEncoder, source: Any, data: Data) -> TagLog:
    """Read a log for a fitted model; the column of labels may be absent, and then no event has one."""
    table, _, said = _opened(source, TagSplit(), past_only=False)
    schema, target = encoder.events.schema, encoder.target
    has_labels = target in open_source(table).columns
    if has_labels:
        schema = replace(schema, fields={**schema.fields, target: Category(min_count=1)})
    data = _for_text(data) if said else data
    log = read_events(table, schema, entity=data.entity, time=data.time, time_zone=data.time_zone)
    rows = read_rows_of(log)
    values, codes = _labels(rows, target) if has_labels else ([], np.full(len(bare_histories(rows).time_us), -1))
    tagged, notes = _tagged(encoder, rows, values, codes)
    part = np.full(len(rows.entities), "given", dtype="<U10")
    told = notes if has_labels else []  # nothing is missing where nothing was to be given
    return TagLog(log, rows.entities, encoder, tagged, part, (*said, *log.notes, *told))


def in_log_order(found: TagLog, columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Return the log with columns of answers (E,) beside it, in the order in which the log has its events."""
    schema = found.log.schema
    number = pl.DataFrame({schema.entity: found.entities}).with_row_index("_entity")
    frame = found.log.frame.collect().with_columns(pl.col(schema.entity).cast(found.entities.dtype))
    frame = frame.join(number, on=schema.entity, how="left").sort("_entity", schema.time, "_row")
    assert frame.height == len(found.rows.labels), (frame.height, len(found.rows.labels))
    return frame.with_columns(columns).sort("_row").drop("_entity", "_row")


def _refuse_label(known: Encoder, target: str) -> None:
    if target in known.fields:
        raise DataError(
            f"The model to start from was pretrained on '{target}' too, which is the label; pretrain without it "
            f"(habitus pretrain --drop {target})."
        )


def _word_fields(data: Data, target: str, is_text: bool) -> tuple[str, ...]:
    """Return the fields whose values are the words of an event."""
    fields = data.word_fields or (("token",) if is_text else ())
    if not fields:
        raise ConfigError(
            "A pretrained encoder reads words: name the fields of the log whose values are words with words= (--words)."
        )
    if target in fields:
        raise ConfigError(f"words names '{target}', which is the label; name what an event is before it is tagged.")
    return fields


def _opened(source: Any, split: TagSplit, *, past_only: bool) -> tuple[Any, TagSplit, tuple[str, ...]]:
    """Read tagged text into a table of events; other sources pass."""
    files = find_text(source)
    if not files:
        return source, split, ()
    text = read_text(files, look_ahead=not past_only)
    if split.column is None and "split" in text.frame.columns:
        split = replace(split, column="split")
    return text.frame, split, text.notes


def _for_text(data: Data) -> Data:
    return replace(data, entity="sentence_id", time="timestamp")


def _read_new(table: Any, target: str, data: Data, split: TagSplit) -> EventLog:
    columns = open_source(table).columns
    own = [target, *([split.column] if split.column else [])]
    for name in own:
        if name not in columns:
            raise DataError(f"The log has no column '{name}'; {did_you_mean(name, columns)}")
    label = Category(min_count=1, max_size=10**9)
    hidden = [name for name in (SENTENCE_LABEL,) if name in columns and name not in own]
    return read_events(
        table,
        entity=data.entity,
        time=data.time,
        fields={**data.fields, **dict.fromkeys(own, label)},
        time_zone=data.time_zone,
        time_unit=data.time_unit,
        drop=[*(name for name in data.drop if name not in own), *hidden],
    )


def _labels(rows: LogRows, target: str) -> tuple[list[str], np.ndarray]:
    """Return all values of a column and each event's position among them, -1 where it is missing."""
    tables = list(rows.sequences.tables())
    vocabulary = Vocabulary.fit(Category(min_count=1, max_size=10**9), (flat(table, target) for table in tables))
    ids = encode_histories(Encoder(rows.sequences.schema, {target: vocabulary}), rows).ids[target]
    return vocabulary.values, np.where(ids >= N_RESERVED, ids - N_RESERVED, -1)


def _of_entities(rows: LogRows, column: str | None) -> list[str | None] | None:
    """Return the one value of each entity in a column."""
    if column is None:
        return None
    names, codes = _labels(rows, column)
    offsets = bare_histories(rows).offsets
    first = codes[offsets[:-1]]
    differs = codes != np.repeat(first, np.diff(offsets))
    if differs.any():
        entity = rows.entities[int(np.searchsorted(offsets, np.flatnonzero(differs)[0], side="right") - 1)]
        raise DataError(
            f"The column '{column}' says several parts of the entity {entity!r}; an entity trains, chooses or judges "
            "with all of its events."
        )
    return [names[code] if code >= 0 else None for code in first]


def _refuse_no_labels(names: list[str], codes: np.ndarray, target: str, log: EventLog) -> None:
    if len(names) > _MOST_LABELS:
        raise DataError(
            f"'{target}' of '{log.source}' holds {len(names):,} different values, too many to be labels (at most "
            f"{_MOST_LABELS:,}); name another column, or group its values."
        )
    if not (codes >= 0).any():
        raise DataError(f"'{target}' of '{log.source}' holds no label; name the column that does.")


def _in_order(found: list[str], wanted: Sequence[str], target: str) -> tuple[str, ...]:
    if wanted:
        absent = [name for name in found if name not in wanted]
        if absent:
            raise DataError(f"labels={list(wanted)} leaves out {absent[0]!r}, which '{target}' holds in training.")
        return tuple(wanted)
    if len(found) < 2:
        raise DataError(
            f"The training entities have {len(found)} labels in '{target}' ({', '.join(found) or 'none'}); there is "
            "nothing to tell apart. Give more data, or name another column."
        )
    return tuple(sorted(found, key=_natural))


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _without(schema: Schema, *names: str | None) -> Schema:
    return replace(schema, fields={name: spec for name, spec in schema.fields.items() if name not in names})


def _tagged(encoder: TagEncoder, rows: LogRows, names: list[str], codes: np.ndarray) -> tuple[Tagged, list[str]]:
    """Return encoded rows whose labels are numbered as the model knows them, unknown ones behind."""
    known = list(encoder.labels)
    unknown = [name for name in names if name not in set(known)]
    place = {name: number for number, name in enumerate([*known, *unknown])}
    table = np.array([*(place[name] for name in names), -1], dtype=np.int32)
    histories = encode_histories(encoder.events, rows)
    if encoder.words is not None:
        histories = replace(histories, ids={**histories.ids, **encoder.words.pieces(rows)})
    tagged = Tagged(histories, table[codes], (*known, *unknown), len(known))
    n_missing = len(codes) - tagged.n_labelled
    notes = []
    if n_missing:
        notes.append(f"{n_missing:,} of {len(codes):,} events have no label; they are read, but not learned or judged.")
    if unknown:
        n_unknown = int((tagged.labels >= len(known)).sum())
        shown = ", ".join(unknown[:3])
        notes.append(
            f"{n_unknown:,} events have a label that training never saw ({shown}); every answer to them is wrong."
        )
    return tagged, notes
