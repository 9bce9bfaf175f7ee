"""A table of texts: examples that carry their own sequence, one text each.

    review,sentiment                 the text, what to predict, and perhaps: the entity (whose text it is), the cutoff
    "A fine film.",pos               (when it was written), and profile fields

Where no column names an entity, a text is its own: equal texts are one entity, so that none stands on both sides of a
split. Empty texts are kept and read as one missing token. Knows nothing about tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from habitus.data.columns import Check, Reading, as_text, is_text, parsed, read_entity, read_field
from habitus.data.events import EventLog, as_fields, refuse_useless
from habitus.data.examples import CUTOFF, Examples, infer_profile, known_profile
from habitus.data.inference import find_column, known_entity
from habitus.data.options import Data
from habitus.data.rows import read_rows
from habitus.data.sources import ROW, Source, open_source, readable
from habitus.data.targets import pack_targets, packed_name, read_targets
from habitus.data.timestamps import TimeColumn, read_time
from habitus.errors import ConfigError, DataError
from habitus.fields.schema import Field, Schema

TEXT_ID, NUMBER = "text_id", "row"
_START = datetime(2000, 1, 1, tzinfo=UTC)  # a moment where the table gives none: nothing is made of it


@dataclass(frozen=True)
class Texts:
    """A table of texts as it was read.

    Args:
        examples: entity, cutoff, target and profile of each text, (n,).
        texts: one column each of the texts to read, String (n,).
        source: where they came from, for sentences.
        keys: columns that say which example an answer is for, with `row`, its place in the table from 1.
    """

    examples: Examples
    texts: pl.DataFrame
    source: str
    keys: pl.DataFrame

    def log(self) -> EventLog:
        """Return a log without events, for what asks for one."""
        schema = self.examples.schema
        kinds = {schema.entity: pl.String(), schema.time: pl.Datetime("us", "UTC")}
        return EventLog(pl.LazyFrame(schema=kinds), schema, self.source)


def read_texts(
    source: Any, data: Data, *, target: str | Sequence[str] | None = None, schema: Schema | None = None
) -> Texts:
    """Read a table of texts.

    Args:
        source: what `read_events` takes.
        data: names the columns of texts, and says how the rest is read.
        target: column to predict, required in every row; several names become one list column. None reads no target.
        schema: of a fitted model; None infers the profile.

    Raises:
        DataError: if a column is absent or no text, or there is no usable row.

    >>> table = pl.DataFrame({"review": ["good", "bad", "good"], "stars": [5, 1, 4]})
    >>> found = read_texts(table, Data(text="review"), target="stars")
    >>> found.texts["review"].to_list(), found.examples.frame["text_id"].n_unique()
    (['good', 'bad', 'good'], 2)
    """
    opened = open_source(source)
    names = (target,) if isinstance(target, str) else tuple(target or ())
    who, when = _columns(opened, data, schema, names)
    base = schema or Schema(
        entity=who or TEXT_ID, time="timestamp", fields={"+".join(data.texts): data.text_spec}, cutoff=when or CUTOFF
    )
    clock = _clock(opened, when, base, data)
    profile, said = _profile(opened, base, data, [*data.texts, *(one for one in (who, when, *names) if one)], schema)
    rows = read_rows(opened, _readings(opened, base, data, who, clock, profile, names))
    refuse_useless(opened, rows, data.texts[0], "table of texts")
    with readable(opened.label):
        frame = rows.frame.collect(engine="streaming").sort(ROW)
    number = pl.Series(NUMBER, frame[ROW].to_numpy().astype(np.int64) + 1)
    texts = frame.select(pl.col(_hidden(name)).alias(name) for name in data.texts)
    frame = _with_keys(frame, texts, base, who, when)
    packed = packed_name(names)
    completed = base.with_examples(cutoff=base.cutoff, target=packed or base.target, profile=profile)
    order = [base.entity, base.cutoff, *([packed] if packed else []), *profile]
    told = [
        *opened.notes,
        *(clock.notes if clock else ()),
        *said,
        *rows.notes,
        *_notes(opened, texts, frame, data, who, is_new=schema is None),
    ]
    frame = pack_targets(frame, names).select(order)
    examples = Examples(frame, completed, packed, told, rows.rejects, names if len(names) > 1 else ())
    shown = [name for name, given in ((base.entity, who), (base.cutoff, when)) if given and name != NUMBER]
    return Texts(examples, texts, opened.label.strip("'"), pl.DataFrame([number, *(frame[name] for name in shown)]))


def _columns(
    source: Source, data: Data, schema: Schema | None, targets: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return the entity and the cutoff column, where there are any; refuse columns that mean two things."""
    for name in (*data.texts, *targets):
        find_column(source, name)
    who = find_column(source, data.entity) or (known_entity(source) if schema is None else None)
    if schema is not None and who is None and schema.entity in source.columns:
        who = schema.entity
    when = data.cutoff if data.cutoff in source.columns else None
    if when is None and data.cutoff != CUTOFF:
        find_column(source, data.cutoff)
    who = None if who in (*data.texts, *targets) and data.entity is None else who
    for name in targets:
        if name in (who, when, *data.texts):
            raise ConfigError(f"Column '{name}' is the text, the entity or the cutoff, so it cannot be the target too.")
    for name in data.texts:
        if name in (who, when):
            raise ConfigError(f"Column '{name}' is the entity or the cutoff, so it cannot be the text as well.")
    return who, when


def _clock(source: Source, when: str | None, base: Schema, data: Data) -> TimeColumn | None:
    if when is None:
        return None
    return read_time(source, when, time_zone=data.time_zone or base.time_zone, unit=data.time_unit or base.time_unit)


def _profile(
    source: Source, base: Schema, data: Data, taken: Sequence[str], schema: Schema | None
) -> tuple[dict[str, Field], list[str]]:
    if schema is not None:
        return known_profile(source, schema, taken)
    given = {name: spec for name, spec in as_fields(data.fields).items() if name not in taken}
    return infer_profile(source, replace(base, fields={}), [*taken, *data.drop], given)


def _readings(
    source: Source,
    base: Schema,
    data: Data,
    who: str | None,
    clock: TimeColumn | None,
    profile: Mapping[str, Field],
    targets: Sequence[str],
) -> list[Reading]:
    whose = [replace(read_entity(who, source.columns[who], source.label), output=base.entity)] if who else []
    when = [replace(clock.reading, output=base.cutoff)] if clock else []
    texts = [_read_text(name, source.columns[name], source.label) for name in data.texts]
    fields = [read_field(name, source.columns[name], spec, source.label) for name, spec in profile.items()]
    return [*whose, *when, *texts, *read_targets(source, targets), *fields]


def _read_text(name: str, dtype: pl.DataType, label: str) -> Reading:
    """Read a text; numbers are read as they are written, a missing text as an empty one."""
    if dtype.is_nested() or dtype.is_temporal() or dtype == pl.Object:
        raise DataError(f"Column '{name}' of {label} holds {dtype}, where texts are expected; name a column of texts.")
    if not is_text(dtype):
        return Reading(name, pl.col(name).cast(pl.String), output=_hidden(name))
    bad = pl.col(name).is_not_null() & parsed(name).is_null()
    checks = (Check("is not UTF-8 text", bad),) if dtype == pl.Binary else ()
    return Reading(name, as_text(name, dtype), checks, output=_hidden(name))


def _hidden(name: str) -> str:
    """Return the name of a text column while reading: a profile field may be called like the entity it stands for."""
    return f"\0text\0{name}"


def _with_keys(
    frame: pl.DataFrame, texts: pl.DataFrame, base: Schema, who: str | None, when: str | None
) -> pl.DataFrame:
    if who is None:
        frame = frame.with_columns(pl.Series(base.entity, _text_ids(texts), dtype=pl.String))
    if when is None:
        frame = frame.with_columns(pl.lit(_START).cast(pl.Datetime("us", "UTC")).alias(base.cutoff))
    return frame


def _text_ids(texts: pl.DataFrame) -> list[str]:
    """Return a name for every text, the same for equal ones and on every machine."""
    joined = texts.select(pl.concat_str(pl.all().fill_null(""), separator="\0")).to_series().to_list()
    return [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in joined]


def _notes(
    source: Source, texts: pl.DataFrame, frame: pl.DataFrame, data: Data, who: str | None, *, is_new: bool
) -> list[str]:
    said = []
    if who and data.entity is None:
        said.append(f"Column '{who}' is taken as the entity: all its texts stand on one side of the split.")
    for name in data.texts:
        if source.columns[name].is_numeric() or source.columns[name] == pl.Boolean:
            said.append(f"Column '{name}' holds {source.columns[name]}; its values are read as they are written.")
        n_empty = int((texts[name].fill_null("").str.strip_chars() == "").sum())
        if n_empty == frame.height and is_new:
            raise DataError(f"Column '{name}' of {source.label} holds no text in any row; name the column that does.")
        if n_empty:
            said.append(f"{n_empty:,} of {frame.height:,} texts in '{name}' are empty; they are read as missing.")
    n_more = frame.height - texts.unique().height
    if n_more and who is None:
        said.append(f"{n_more:,} texts repeat another one; all are kept, equal ones on one side of the split.")
    return said
