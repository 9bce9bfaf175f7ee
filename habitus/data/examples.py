"""Examples: who is judged, at which moment, and what came of it.

A table with an entity, a cutoff, perhaps a target, and profile fields; or no table at all, when each entity is judged
at the end of its history. Rows that cannot be used are rejected as in a log; the order of the others is kept.
Knows nothing about histories: `sequence.py` joins them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from habitus.data.columns import Reading, read_entity, read_field
from habitus.data.events import EventLog, as_fields, entity_dtype, extra_note, refuse_useless, require_columns
from habitus.data.inference import find_column, find_entity, infer_fields
from habitus.data.rejects import Rejects
from habitus.data.rows import Rows, read_rows
from habitus.data.sound_log import SOUND_ENDING, audio_of
from habitus.data.sources import ROW, Source, open_source, readable
from habitus.data.targets import pack_targets, packed_name, read_targets
from habitus.data.timestamps import UTC_TIME, TimeColumn, read_time
from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.fields.category import Category
from habitus.fields.schema import Field, Schema

CUTOFF = "cutoff"
_LEAKS = re.compile(
    r"(^|_)(y|true|truth|label|labels|target|outcome|prob|proba|probability|score|scores|pred|predicted|prediction|"
    r"predictions|split|fold|leak|leakage)(_|$)"
)
_JUST_AFTER = timedelta(microseconds=1)


@dataclass(frozen=True)
class Examples:
    """Who is judged, when, and what came of it.

    Args:
        frame: the entity, the cutoff (UTC, microseconds), the target if there is one, and profile columns.
        schema: what the columns mean.
        target: name of the target column, or None.
        notes: sentences that were said aloud.
        rejects: rows left out, counted by reason.
        labels: for a target packed from several columns, their names in order.
    """

    frame: pl.DataFrame
    schema: Schema
    target: str | None = None
    notes: list[str] = field(default_factory=list)
    rejects: Rejects = field(default_factory=Rejects)
    labels: tuple[str, ...] = ()


def read_examples(
    source: Any,
    events: EventLog,
    *,
    target: str | Sequence[str] | None = None,
    cutoff: str = CUTOFF,
    entity: str | None = None,
    schema: Schema | None = None,
    fields: Mapping[str, Field | str | Mapping[str, Any]] | None = None,
    drop: Sequence[str] = (),
) -> tuple[Examples, Schema]:
    """Read a table of examples and return it with the schema that it completes.

    Args:
        source: what `read_events` takes.
        events: the log that they are judged on.
        target: column to predict, required in every row; several names become one list column. None reads no target.
        cutoff: column of the moment; where there is none, each entity is judged at the end of its history.
        entity: column of the entity; None takes the log's name for it.
        schema: of a saved model: its profile columns are required and extra ones ignored. None infers them.
        fields: profile columns whose meaning is not to be inferred; columns of the log may be named as well.
        drop: profile columns to leave out; columns of the log may be named as well.

    Raises:
        DataError: if there is no usable row, or a column is missing or of a type that cannot be used.

    >>> from habitus.data.events import read_events
    >>> log = read_events(pl.DataFrame({"user_id": [7], "timestamp": ["2024-01-31T10:00:00Z"]}))
    >>> table = pl.DataFrame({"user_id": [7], "cutoff": ["2024-02-01T00:00:00Z"], "risk": [1]})
    >>> examples, schema = read_examples(table, log, target="risk")
    >>> examples.frame.columns, schema.target
    (['user_id', 'cutoff', 'risk'], 'risk')
    """
    opened, base = open_source(source), schema or events.schema
    names = (target,) if isinstance(target, str) else tuple(target or ())
    who, notes = _find_entity(opened, base, entity)
    when = _find_cutoff(opened, base.cutoff if schema and cutoff == CUTOFF else cutoff)
    _refuse_clashes(opened, base, names, {who, when})
    taken = [name for name in (who, when, *names) if name]
    if schema is None:
        _refuse_unknown(opened, events, [*(fields or {}), *drop])
        profile, said = infer_profile(opened, base, [*taken, *drop], as_fields(fields))
    else:
        profile, said = known_profile(opened, schema, taken)
    column = read_time(opened, when, time_zone=base.time_zone) if when else None
    clock = _cutoff_name(when, base)
    rows = read_rows(opened, _readings(opened, base, who, column, clock, profile, names))
    refuse_useless(opened, rows, when or who, "table of examples")
    frame, derived = _collect(opened, rows, events, base.entity, clock, derive=when is None)
    frame, packed = pack_targets(frame, names), packed_name(names)
    completed = base.with_examples(cutoff=clock, target=packed or base.target, profile=profile)
    column_notes = column.notes if column else ()
    told = [*opened.notes, *notes, *column_notes, *said, *rows.notes, *derived, *_repeats(frame, base.entity, clock)]
    order = [base.entity, clock, *([packed] if packed else []), *profile]
    labels = names if len(names) > 1 else ()
    return Examples(frame.select(order), completed, packed, told, rows.rejects, labels), completed


def derive_examples(events: EventLog) -> Examples:
    """Return one example for each entity of a log, judged just after its last event, in order of first appearance.

    >>> from habitus.data.events import read_events
    >>> log = read_events(pl.DataFrame({"user_id": [7, 7], "timestamp": ["2024-01-31T10:00Z", "2024-01-30T10:00Z"]}))
    >>> derive_examples(log).frame["cutoff"].dt.to_string("%d %H:%M:%S%.f").to_list()
    ['31 10:00:00.000001']
    """
    schema = events.schema
    profile = [
        pl.lit(None, pl.String if isinstance(spec, Category) else pl.Float64).alias(name)
        for name, spec in schema.profile.items()
    ]
    cutoff = (pl.col("_last") + _JUST_AFTER).alias(schema.cutoff)
    frame = _last_times(events).sort(ROW).select(schema.entity, cutoff, *profile)
    notes = ["Each entity is judged just after its last event."]
    if profile:
        notes.append(f"No profile is given, so {', '.join(schema.profile)} are missing for every entity.")
    return Examples(frame, schema, notes=notes)


def align_entities(events: EventLog, examples: Examples) -> pl.DataFrame:
    """Return the examples with entities in the type in which they are compared with the log's.

    Whole numbers are compared with whole numbers; everything else is compared as text ("7" and 7 are one entity,
    "007" is another).

    >>> from habitus.data.events import read_events
    >>> log = read_events(pl.DataFrame({"user_id": ["7"], "timestamp": ["2024-01-31T10:00Z"]}))
    >>> table = pl.DataFrame({"user_id": [7], "cutoff": ["2024-02-01T00:00Z"]})
    >>> align_entities(log, read_examples(table, log)[0])["user_id"].to_list()
    ['7']
    """
    entity = examples.schema.entity
    return examples.frame.with_columns(pl.col(entity).cast(entity_dtype(events.frame, examples.frame, entity)))


def _find_entity(source: Source, schema: Schema, given: str | None) -> tuple[str, list[str]]:
    if given is not None or schema.entity in source.columns:
        return find_column(source, given) or schema.entity, []
    found = find_entity(source, None)
    return found, [f"Column '{found}' of {source.label} is taken as the entity, '{schema.entity}' in the log."]


def _find_cutoff(source: Source, name: str) -> str | None:
    """Return the cutoff column; None where there is none and nothing looks like a misspelt one."""
    if name in source.columns:
        return name
    advice = did_you_mean(name, source.columns)
    same = [column for column in source.columns if column.lower().replace("_", "") == name.lower().replace("_", "")]
    if name != CUTOFF or same or advice.startswith("did you mean"):
        raise DataError(f"{source.label} has no column '{name}' for the cutoff; {advice} Say it with cutoff=.")
    return None


def _cutoff_name(column: str | None, schema: Schema) -> str:
    """Return the name of the cutoff after reading; a column of the log may already have the name."""
    return CUTOFF if column is None or column in (schema.time, *schema.fields) else column


def _refuse_clashes(source: Source, schema: Schema, targets: Sequence[str], taken: set[str | None]) -> None:
    for name in targets:
        find_column(source, name)
        if name in taken:
            raise ConfigError(f"Column '{name}' is the entity or the cutoff, so it cannot be the target as well.")
        if name in (schema.entity, schema.time, CUTOFF, *schema.fields):
            raise DataError(f"The target '{name}' of {source.label} has the name of a column of the log; rename it.")
    if len(set(targets)) < len(targets):
        raise ConfigError(f"target={list(targets)} names a column twice; name each once.")


def known_profile(source: Source, schema: Schema, taken: Sequence[str]) -> tuple[dict[str, Field], list[str]]:
    """Return the profile fields of a fitted model, which the table must have, and notes on other columns."""
    require_columns(source, list(schema.profile))
    target = [schema.target] if schema.target else []
    return dict(schema.profile), extra_note(source, [*taken, *target, *schema.profile])


def _refuse_unknown(source: Source, events: EventLog, names: Sequence[str]) -> None:
    """Refuse names in `fields` or `drop` that neither table has."""
    known = {*source.columns, *events.columns}
    for name in names if events.columns else ():
        if name not in known:
            raise DataError(f"Neither the log nor {source.label} has a column '{name}'; {did_you_mean(name, known)}")


def infer_profile(
    source: Source, schema: Schema, taken: Sequence[str], given: Mapping[str, Field]
) -> tuple[dict[str, Field], list[str]]:
    """Return the profile fields of a table: columns that are not taken and clash with none of the log's; and notes."""
    clashing = [name for name in source.columns if name in (schema.entity, schema.time, CUTOFF, *schema.fields)]
    clashing = [name for name in clashing if name not in taken]
    here = {name: spec for name, spec in given.items() if name in source.columns}
    here = {name: spec for name, spec in here.items() if name not in (*taken, *clashing)}
    profile, notes = infer_fields(source, here, {*taken, *clashing})
    notes += [f"Column '{name}' is ignored: a column of the log has the same name; rename it." for name in clashing]
    suspects = [name for name in profile if _LEAKS.search(name.lower())]
    notes += [
        f"Suspected leak: the profile field '{name}' sounds like an answer, a score or a split. It IS read; remove the "
        "column unless it is known at the cutoff."
        for name in suspects
    ]
    return profile, notes


def _readings(
    source: Source,
    schema: Schema,
    who: str,
    column: TimeColumn | None,
    clock: str,
    profile: dict[str, Field],
    targets: Sequence[str],
) -> list[Reading]:
    whose = _renamed(read_entity(who, source.columns[who], source.label), schema.entity)
    when = [_renamed(column.reading, clock)] if column else []
    fields = [read_field(name, source.columns[name], spec, source.label) for name, spec in profile.items()]
    return [whose, *when, *read_targets(source, targets), *fields]


def _renamed(reading: Reading, output: str) -> Reading:
    return Reading(reading.name, reading.value, reading.checks, reading.infinite, output)


def _collect(
    source: Source, rows: Rows, events: EventLog, entity: str, clock: str, *, derive: bool
) -> tuple[pl.DataFrame, list[str]]:
    with readable(source.label):
        frame = rows.frame.collect(engine="streaming").sort(ROW).drop(ROW)
    if audio_of(events.schema) is not None:  # a recording is called by its path without the ending
        frame = frame.with_columns(pl.col(entity).cast(pl.String).str.replace(SOUND_ENDING, ""))
    if not derive:
        return frame, []
    note = (
        f"{source.label} has no cutoff column: each entity is judged just after its last event. For an outcome that "
        "comes later, give the moment at which it is to be predicted."
    )
    return _with_derived_cutoffs(frame, events, entity, clock), [note]


def _with_derived_cutoffs(frame: pl.DataFrame, events: EventLog, entity: str, clock: str) -> pl.DataFrame:
    """Add the end of each history; entities without one are judged at the end of the log."""
    last = _last_times(events)
    dtype = entity_dtype(last.lazy(), frame, entity) if entity == events.schema.entity else pl.String()
    keyed = last.select(pl.col(events.schema.entity).cast(dtype).alias("_key"), pl.col("_last").alias(clock))
    joined = frame.with_columns(pl.col(entity).cast(dtype).alias("_key")).join(
        keyed, on="_key", how="left", maintain_order="left"
    )
    latest = pl.lit(last["_last"].max(), UTC_TIME)
    return joined.with_columns(pl.col(clock).fill_null(latest) + _JUST_AFTER).drop("_key")


def _last_times(events: EventLog) -> pl.DataFrame:
    schema = events.schema
    times = pl.col(schema.time).max().cast(UTC_TIME).alias("_last")
    with readable(events.source):
        return events.frame.group_by(schema.entity).agg(times, pl.col(ROW).min()).collect(engine="streaming")


def _repeats(frame: pl.DataFrame, entity: str, clock: str) -> list[str]:
    n = frame.height - frame.select(pl.struct(entity, clock).n_unique()).item()
    return [f"{n:,} examples repeat an entity and a cutoff; all are kept."] if n else []
