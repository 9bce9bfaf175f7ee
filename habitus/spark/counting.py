"""Vocabularies and scalers from counts: workers count the values of their rows, Spark adds the counts up.

What is learned from the counts is the business of `habitus.fields`, the same as on one machine, so the encoder is equal
to the last bit. The driver holds each distinct value of the training rows once (numbers as 16 bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from habitus.data.encode import Encoder, Fitted
from habitus.data.list_columns import as_series, flat
from habitus.data.sequence import WINDOW, plain_table
from habitus.data.text.in_events import EventText
from habitus.fields.category import Category, Vocabulary, as_category_strings
from habitus.fields.number import Number, Scaler, as_floats, share_scales
from habitus.fields.schema import Field, Schema
from habitus.fields.text import Text
from habitus.spark.failures import in_a_sentence
from habitus.spark.parts import PART
from habitus.spark.sources import column

_COUNTED = "field string, text string, number double, n bigint"
_KINDS = {"field": pl.String, "text": pl.String, "number": pl.Float64, "n": pl.Int64}


def fit_encoder(rows: DataFrame, schema: Schema) -> Encoder:
    """Learn vocabularies and scalers from sequence rows.

    Args:
        rows: as `habitus.spark.prepare` makes them; where they have a `_part`, only those of "train" are learned from.
        schema: what the columns mean.
    """
    train = rows.filter(F.col(PART) == "train") if PART in rows.columns else rows
    names = [WINDOW, *schema.fields, *schema.profile]
    counted = train.select(*map(column, names)).mapInArrow(_CountValues(schema), _COUNTED)
    total = counted.groupBy("field", "text", "number").agg(F.sum("n").alias("n"))
    with in_a_sentence("Counting values"):
        found = pl.from_arrow(total.toArrow())
    assert isinstance(found, pl.DataFrame)
    fields = {name: _fitted(found, name, spec) for name, spec in schema.fields.items()}
    profile = {name: _fitted(found, name, spec) for name, spec in schema.profile.items()}
    return Encoder(schema, share_scales(fields), profile)


@dataclass(frozen=True)
class _CountValues:
    """Counts the values of each field in the rows of a batch."""

    schema: Schema

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            first = table.filter(pa.array(np.asarray(table[WINDOW]) == 0))  # a profile counts once an example
            events = _counted(self.schema.fields, lambda name, table=table: flat(table, name))
            profile = _counted(self.schema.profile, lambda name, first=first: as_series(first[name]))
            for found in (*events, *profile):
                yield from plain_table(found).combine_chunks().to_batches()


def _counted(fields: Mapping[str, Field], values_of: object) -> Iterator[pl.DataFrame]:
    assert callable(values_of)
    for name, spec in fields.items():
        if isinstance(spec, Category) and spec.hash_buckets:
            continue  # keeps no vocabulary
        values = values_of(name)
        if isinstance(spec, Number):
            known = as_floats(values)
            own = pl.Series("number", known[np.isfinite(known)], dtype=pl.Float64)
        else:
            own = as_category_strings(values).drop_nulls().cast(pl.String).alias("text")
        found = own.value_counts(name="n").with_columns(pl.lit(name).alias("field"))
        absent = [pl.lit(None, kind).alias(one) for one, kind in _KINDS.items() if one not in found.columns]
        yield found.with_columns(*absent).select(pl.col(one).cast(kind) for one, kind in _KINDS.items())


def _fitted(found: pl.DataFrame, name: str, spec: Field) -> Fitted:
    own = found.filter(pl.col("field") == name)
    if isinstance(spec, Number):
        ordered = own.sort("number")
        return Scaler.from_counts(spec, ordered["number"].to_numpy(), ordered["n"].to_numpy())
    if isinstance(spec, Text):
        ordered = own.sort("n", "text", descending=[True, False])
        return EventText.learn(spec, ordered["text"], ordered["n"].to_numpy())
    return Vocabulary.from_counts(spec, own.select("text", "n").iter_rows())
