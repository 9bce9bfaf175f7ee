"""Behaviour as text: the events of a history written out as words, the latest one first.

    buy phone, click, browse phone          of  browse phone -> click -> buy phone

A reader of text then sees what a reader of events sees, so that the two ways can be compared on the same examples. The
latest event comes first because of a long text the first tokens are read. Times and numbers are left out unless they
are named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from habitus.data.examples import Examples
from habitus.data.list_columns import combined, flat
from habitus.data.sequence import EXAMPLE, Sequences
from habitus.data.text.table import Texts
from habitus.errors import ConfigError, did_you_mean
from habitus.fields.category import as_category_strings

WORDS = "words"


def write_out(sequences: Sequences, examples: Examples, fields: Sequence[str], source: str) -> Texts:
    """Return each example's events as one text.

    Args:
        sequences: a row an example.
        examples: whose they are.
        fields: whose values are written, in this order.
        source: of the log, for sentences.

    Raises:
        ConfigError: if a field is not there.
    """
    for name in fields:
        if name not in sequences.schema.fields:
            known = sequences.schema.fields
            raise ConfigError(f"words names '{name}', which is no field of the log; {did_you_mean(name, known)}")
    texts, order = [], []
    for table in sequences.tables():
        texts.append(_texts(table, fields))
        order.append(np.asarray(table[EXAMPLE]))
    place = np.argsort(np.concatenate(order), kind="stable")
    keys = examples.frame.select(examples.schema.entity, examples.schema.cutoff)
    return Texts(examples, pl.concat(texts).gather(place).alias(WORDS).to_frame(), source, keys)


def _texts(table: pa.Table, fields: Sequence[str]) -> pl.Series:
    columns = [as_category_strings(flat(table, name)).fill_null("").alias(name) for name in fields]
    events = pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator=" ").str.strip_chars()).to_series()
    events = events.str.replace_all("_", " ", literal=True)
    offsets = combined(table, fields[0]).offsets
    lists = pa.ListArray.from_arrays(offsets, events.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()))
    written: pl.Series = pl.Series(pl.from_arrow(lists)).list.reverse().list.join(", ")
    return written
