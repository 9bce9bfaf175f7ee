"""The case that the leak check looks into: a log, its examples, and each class of the target as a yes or no.

Joins are left lazy, so that a log larger than memory works; the examples are held in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.data.events import EventLog
from habitus.data.examples import Examples, align_entities
from habitus.data.sources import readable
from habitus.fields.category import Category, as_category_strings
from habitus.fields.number import Number
from habitus.fields.schema import Schema

EXAMPLE, LAST = "_example", "_last"
_MOST_CLASSES = 20  # the commonest ones are looked at
_FEW_VALUES = 20


@dataclass(frozen=True)
class Case:
    """What the parts of the check share.

    Args:
        events: lazy; entities in the type in which they are compared.
        examples: the examples, with their position in `_example`.
        schema: what the columns mean.
        labels: for each class (or label), named as in a sentence, whether an example has it, bool (n,).
    """

    events: pl.LazyFrame
    examples: pl.DataFrame
    schema: Schema
    labels: Mapping[str, np.ndarray]

    @property
    def category_fields(self) -> list[str]:
        """Names of the event fields that are categories."""
        return [name for name, spec in self.schema.fields.items() if isinstance(spec, Category)]

    @property
    def number_fields(self) -> list[str]:
        """Names of the event fields that are numbers."""
        return [name for name, spec in self.schema.fields.items() if isinstance(spec, Number)]

    def joined(self, examples: pl.DataFrame, columns: list[str]) -> pl.LazyFrame:
        """Return the events of the examples' entities, once for each example, with the columns asked for."""
        schema = self.schema
        events = self.events.select(schema.entity, schema.time, *columns)
        return events.join(examples.lazy(), on=schema.entity, how="inner")

    def last_examples(self) -> pl.DataFrame:
        """Return, for each entity, its last cutoff as `_last` and the position of that example."""
        schema = self.schema
        ordered = self.examples.select(schema.entity, EXAMPLE, pl.col(schema.cutoff).alias(LAST)).sort(LAST, EXAMPLE)
        return ordered.group_by(schema.entity).agg(pl.col(LAST).last(), pl.col(EXAMPLE).last())


def open_case(log: EventLog, examples: Examples) -> Case:
    """Return the case of a log and its examples.

    >>> from habitus.data.events import read_events
    >>> from habitus.data.examples import read_examples
    >>> log = read_events(pl.DataFrame({"user_id": [7], "timestamp": ["2024-01-31T10:00Z"]}))
    >>> table = pl.DataFrame({"user_id": [7, 8], "cutoff": ["2024-02-01T00:00Z"] * 2, "risk": [1, 0]})
    >>> open_case(log, read_examples(table, log, target="risk")[0]).labels
    {"'risk' = '1'": array([ True, False])}
    """
    aligned = align_entities(log, examples)
    schema = examples.schema if examples.schema.fields else log.schema
    events = log.frame
    if aligned.schema[schema.entity] == pl.String:
        events = events.with_columns(pl.col(schema.entity).cast(pl.String))
    return Case(events, aligned.with_row_index(EXAMPLE), schema, _labels(examples))


def collect(frame: pl.LazyFrame, log: str = "the log") -> pl.DataFrame:
    """Run a query with the streaming engine."""
    with readable(log):
        return frame.collect(engine="streaming")


def _labels(examples: Examples) -> dict[str, np.ndarray]:
    target = examples.target
    if target is None:
        return {}
    present = [name for name in examples.labels if name in examples.frame.columns]
    if present:  # several labels, a column each
        return {_named(name, 1): _flags(examples.frame[name]) for name in present}
    if target not in examples.frame.columns:
        return {}
    values = examples.frame[target]
    if isinstance(values.dtype, pl.List | pl.Array):
        names = examples.labels or [f"{target}[{i}]" for i in range(len(values[0]) if len(values) else 0)]
        columns = {name: values.list.get(i, null_on_oob=True) for i, name in enumerate(names)}
        return {_named(name, 1): _flags(column) for name, column in columns.items()}
    return _classes(target, values)


def _classes(target: str, values: pl.Series) -> dict[str, np.ndarray]:
    """Return one yes or no for each of the commonest classes; an amount is cut at its median."""
    if values.dtype.is_float() and values.n_unique() > _FEW_VALUES:
        middle = float(np.nanmedian(values.cast(pl.Float64).fill_null(np.nan).to_numpy()))
        return {f"'{target}' > {middle:.6g}": (values > middle).fill_null(False).to_numpy()}
    strings = as_category_strings(values)
    counts = strings.drop_nulls().value_counts(sort=True)
    classes = counts.to_series(0).to_list()[:_MOST_CLASSES]
    if len(counts) == 2:  # one of two is enough; the second in order is the positive one, as in Classify
        classes = [max(classes, key=_natural)]
    return {_named(target, name): (strings == name).fill_null(False).to_numpy() for name in classes}


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), "")
    except ValueError:
        return (1, 0.0, name)


def _flags(values: pl.Series) -> np.ndarray:
    return (values.cast(pl.Float64, strict=False) == 1).fill_null(False).to_numpy()


def _named(target: str, value: object) -> str:
    return f"'{target}' = {str(value)!r}"
