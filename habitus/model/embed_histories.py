"""From a log to the units of an `Embed`: one history an entity, as it is at its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from habitus.data.embed.events import history_rows
from habitus.data.embed.rows import EmbedEncoder
from habitus.data.encode import EncodedSequences, Encoder
from habitus.data.examples import derive_examples
from habitus.data.kept_fields import keeping, refuse_other_meanings
from habitus.data.options import Data
from habitus.data.rejects import Rejects
from habitus.data.sequence import build_sequences
from habitus.data.split import Split
from habitus.prepared import read_log
from habitus.prepared_task import PreparedTask


def prepare_histories(events: Any, data: Data, split: Split, known: Encoder | None = None) -> PreparedTask:
    """Read a log, divide its entities, and learn fields of the training entities, or keep those that are `known`."""
    data.refuse_sources(events)
    if known is not None:
        refuse_other_meanings(known, data)
    log = read_log(events, data, None if known is None else known.schema)
    examples = derive_examples(log)
    frame, schema = examples.frame, examples.schema
    part = split.assign(frame, schema.entity, schema.cutoff)
    sequences = build_sequences(log, examples, max_length=data.max_length)
    inner = keeping(known, Encoder.fit(sequences, part == "train"))
    rows = history_rows(inner.encode(sequences))
    facts = {
        "units": "events",
        "n": len(rows),
        "n_events": int(rows.left.offsets[-1] + rows.right.offsets[-1]),
        "sizes": dict(inner.sizes),
        "split": split.sentence(),
    }
    keys, notes = _keys(frame[schema.entity]), tuple([*log.notes, *examples.notes])
    return PreparedTask(log.source, EmbedEncoder("events", inner), rows, part, keys, facts, (), notes, log.rejects)


def read_units(encoder: EmbedEncoder, events: Any, data: Data) -> PreparedTask:
    """Read a log for a fitted model; every unit's part is "given"."""
    data.refuse_sources(events)
    log = read_log(events, data, encoder.inner.schema)
    keys, encoded, notes, rejects = read_entities(encoder, log, data)
    part, who = np.full(len(encoded), "given"), _keys(keys.to_series(0))
    return PreparedTask(log.source, encoder, history_rows(encoded), part, who, notes=notes, rejects=rejects)


def read_entities(
    encoder: EmbedEncoder, events: Any, data: Data
) -> tuple[pl.DataFrame, EncodedSequences, tuple[str, ...], Rejects]:
    """Return the entities of a log, a row each, sentences to say aloud, and rejected rows."""
    data.refuse_sources(events)
    log = read_log(events, data, encoder.inner.schema)
    examples = derive_examples(log)
    sequences = build_sequences(log, examples, max_length=data.max_length)
    keys = examples.frame.select(examples.schema.entity)
    return keys, encoder.inner.encode(sequences), tuple(log.notes), log.rejects


def _keys(entities: pl.Series) -> pl.Series:
    return entities.cast(pl.String).alias("key")
