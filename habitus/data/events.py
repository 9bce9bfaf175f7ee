"""Events: read a log, lazily, into canonical columns; say what was rejected and what was noticed.

    source -> columns found or inferred -> readings -> good rows (lazy) + rejects (one streaming pass)

A log may be larger than memory. What happens to each kind of bad input is a named rule: see docs/data.md.
Ties: events with equal timestamps keep the order of the log, which `_row` holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from habitus.data.columns import Reading, read_entity, read_field
from habitus.data.inference import find_entity, find_time, infer_fields
from habitus.data.rejects import Rejects
from habitus.data.rows import Rows, read_rows
from habitus.data.sound_log import audio_of
from habitus.data.sources import Source, open_source
from habitus.data.timestamps import TimeColumn, TimeUnit, naive_sentence, read_time
from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.fields.schema import Field, Schema, field_from_json


@dataclass(frozen=True)
class EventLog:
    """A log that can be read, and what is known of it.

    Args:
        frame: lazy; the entity (Int64 or String), the time (UTC, microseconds), every field, and `_row`.
        schema: what the columns mean.
        source: where it came from, for sentences.
        rejects: rows left out, counted by reason.
        notes: sentences to say aloud; `rejects.summary()` is one more.
        columns: all columns of the source, read or not.
    """

    frame: pl.LazyFrame
    schema: Schema
    source: str = "the log"
    rejects: Rejects = field(default_factory=Rejects)
    notes: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()


def read_events(
    source: Any,
    schema: Schema | None = None,
    *,
    entity: str | None = None,
    time: str | None = None,
    fields: Mapping[str, Field | str | Mapping[str, Any]] | None = None,
    time_zone: str | None = None,
    time_unit: TimeUnit | None = None,
    drop: Sequence[str] = (),
) -> EventLog:
    """Read a log of events.

    Args:
        source: path of a Parquet, CSV, TSV, Arrow or Feather file, a folder of them or a glob; or a pyarrow, Polars
            or pandas table; or a folder of sound files, each an entity whose events are its frames.
        schema: of a saved model: its columns are required and extra ones ignored. None infers one.
        entity: column that says whose event it is; None looks for a well-known name.
        time: column that says when.
        fields: columns whose meaning is not to be inferred, e.g. `{"amount": "number"}`. Names of other columns are
            passed over with a note, because the same option may be meant for the examples.
        time_zone: zone of times written without one, e.g. "UTC"; None refuses them.
        time_unit: unit of times written as numbers; None takes the unit that the median is in.
        drop: columns to leave out. With a schema, which decides the fields, `fields` and `drop` change nothing.

    Raises:
        DataError: if there is no usable row, or a column is missing or of a type that cannot be used.

    >>> log = read_events(pl.DataFrame({"user_id": [7], "timestamp": ["2024-01-31T10:00:00Z"], "item_id": ["tea"]}))
    >>> log.frame.collect().columns
    ['user_id', 'timestamp', 'item_id', '_row']
    """
    opened = open_source(source, None if schema is None else audio_of(schema))
    if schema is not None:
        return _read_known(opened, schema, entity, time, time_zone, time_unit)
    decided = {**(opened.sound.fields if opened.sound else {}), **as_fields(fields)}
    return _read_new(opened, entity, time, decided, time_zone, time_unit, drop)


def entity_dtype(events: pl.LazyFrame, examples: pl.DataFrame, entity: str) -> pl.DataType:
    """Return the type in which entities are compared: Int64 if both are whole numbers, else String.

    >>> entity_dtype(pl.LazyFrame({"user_id": ["7"]}), pl.DataFrame({"user_id": [7]}), "user_id")
    String
    """
    both = (events.collect_schema()[entity], examples.schema[entity])
    return pl.Int64() if all(dtype.is_integer() for dtype in both) else pl.String()


def as_fields(given: Mapping[str, Field | str | Mapping[str, Any]] | None) -> dict[str, Field]:
    """Return fields from what a user may write for them.

    >>> as_fields({"amount": "number"})
    {'amount': Number(log=None, bins=None)}
    """
    specs = (given or {}).items()
    return {name: field_from_json(spec, name) if isinstance(spec, str | Mapping) else spec for name, spec in specs}


def _read_new(
    source: Source,
    entity: str | None,
    time: str | None,
    decided: Mapping[str, Field],
    time_zone: str | None,
    time_unit: TimeUnit | None,
    drop: Sequence[str],
) -> EventLog:
    """Read a log whose meaning is inferred."""
    who = find_entity(source, entity)
    when = find_time(source, time, taken=who)
    _refuse_double_use(who, when, decided)
    whose = read_entity(who, source.columns[who], source.label)
    column = read_time(source, when, time_zone=time_zone, unit=time_unit)
    here = {name: spec for name, spec in decided.items() if name in source.columns and name not in drop}
    fields, ignored = infer_fields(source, here, {who, when, *drop})
    schema = Schema(entity=who, time=when, fields=fields, time_zone=time_zone, time_unit=column.unit)
    absent = [name for name in (*decided, *drop) if name not in source.columns]
    said = [f"{source.label} has no column '{name}'; {did_you_mean(name, source.columns)}" for name in absent]
    return _read(source, schema, whose, column, [*ignored, *said])


def _refuse_double_use(entity: str, time: str, decided: Mapping[str, Field]) -> None:
    if entity == time:
        raise ConfigError(f"Column '{entity}' cannot be both the entity and the time; name two columns.")
    for name in (entity, time):
        if name in decided:
            raise ConfigError(f"Column '{name}' is the entity or the time, so fields= cannot name it as well.")


def _read_known(
    source: Source,
    schema: Schema,
    entity: str | None,
    time: str | None,
    time_zone: str | None,
    time_unit: TimeUnit | None,
) -> EventLog:
    """Read a log as a saved model's schema says; `entity` and `time` may be called differently here."""
    who, when = entity or schema.entity, time or schema.time
    zone = time_zone or schema.time_zone
    whose, column = _known_columns(source, schema, who, when, zone, time_unit)
    extra = extra_note(source, [who, when, *schema.fields])
    return _read(source, replace(schema, time_zone=zone), whose, column, extra)


def known_readings(source: Source, schema: Schema) -> list[Reading]:
    """Return how a saved model's schema reads a source: the entity, the time and every field, by these names."""
    whose, column = _known_columns(source, schema, schema.entity, schema.time, schema.time_zone, None)
    others = [read_field(name, source.columns[name], spec, source.label) for name, spec in schema.fields.items()]
    return [whose, column.reading, *others]


def _known_columns(
    source: Source, schema: Schema, who: str, when: str, zone: str | None, unit: TimeUnit | None
) -> tuple[Reading, TimeColumn]:
    require_columns(source, [who, when, *schema.fields])
    whose = replace(read_entity(who, source.columns[who], source.label), output=schema.entity)
    column = read_time(source, when, time_zone=zone, unit=unit or schema.time_unit)
    return whose, replace(column, reading=replace(column.reading, output=schema.time))


def require_columns(source: Source, names: Sequence[str]) -> None:
    """Refuse a source that lacks columns, with the nearest names."""
    absent = [name for name in names if name not in source.columns]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent)
        advice = did_you_mean(absent[0], source.columns)
        raise DataError(f"{source.label} lacks {listed}, which the model needs; {advice}")


def extra_note(source: Source, used: Sequence[str]) -> list[str]:
    """Say which columns are ignored."""
    extra = [name for name in source.columns if name not in used]
    return [f"Columns that the model does not know are ignored: {', '.join(extra)}."] if extra else []


def _read(source: Source, schema: Schema, whose: Reading, column: TimeColumn, said: Sequence[str]) -> EventLog:
    others = [read_field(name, source.columns[name], spec, source.label) for name, spec in schema.fields.items()]
    rows = read_rows(source, [whose, column.reading, *others])
    refuse_useless(source, rows, column.reading.name, "log")
    notes = [*source.notes, *column.notes, *said, *rows.notes]
    rejects = source.sound.rejects.before(rows.rejects) if source.sound else rows.rejects
    return EventLog(rows.frame, schema, source.label.strip("'"), rejects, notes, tuple(source.columns))


def refuse_useless(source: Source, rows: Rows, time: str, what: str) -> None:
    """Refuse a source with no row, no good row, or mostly naive times."""
    rejects = rows.rejects
    if rejects.n_rows == 0:
        raise DataError(f"The {what} {source.label} holds no rows; give one with at least one row.")
    if 2 * rejects.counts.get(f"'{time}' has no time zone", 0) >= rejects.n_rows:
        raise DataError(naive_sentence(time, source.label))
    if rejects.total == rejects.n_rows:
        raise DataError(
            f"No row of the {what} {source.label} can be used. {rejects.summary()} The first: "
            f"{rejects.samples[0].sentence()}. Mend the column, or name another one."
        )
