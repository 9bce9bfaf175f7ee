"""Targets: the column to predict, as it stands in the table of examples.

A row without a label is rejected. Several columns (one a label) become one list column in the order given. What a
target means, classes or amounts, is the business of a task.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from habitus.data.columns import Check, Reading, as_text, is_text, parsed, read_field
from habitus.data.inference import text_types
from habitus.data.sources import Source
from habitus.errors import DataError
from habitus.fields.number import Number

_NO_LABEL = "has no label"


def read_targets(source: Source, names: Sequence[str]) -> list[Reading]:
    """Return how target columns are read.

    >>> from habitus.data.sources import open_source
    >>> [reading.name for reading in read_targets(open_source(pl.DataFrame({"risk": [0, 1]})), ["risk"])]
    ['risk']
    """
    types = text_types(source, names) if source.is_text and names else {}
    return [_read_target(name, source.columns[name], types.get(name), source.label) for name in names]


def _read_target(name: str, dtype: pl.DataType, written: pl.DataType | None, label: str) -> Reading:
    missing = Check(_NO_LABEL, pl.col(name).is_null())
    if written is not None and written.is_numeric():  # a CSV column of numbers
        return _read_number_target(name, dtype, written, label)
    if is_text(dtype):
        text = as_text(name, dtype)
        return Reading(name, text, (missing, Check(_NO_LABEL, (text == "").fill_null(True))))
    if dtype.is_float() or dtype.is_decimal():
        return _read_number_target(name, dtype, pl.Float64(), label)
    if dtype.is_integer() or dtype in (pl.Boolean, pl.Null) or isinstance(dtype, pl.List | pl.Array):
        return Reading(name, pl.col(name), (missing,))
    raise DataError(f"The target '{name}' of {label} holds {dtype}; give numbers, text, booleans or lists of them.")


def _read_number_target(name: str, dtype: pl.DataType, written: pl.DataType, label: str) -> Reading:
    """Read a target of numbers, which may neither be missing nor infinite."""
    number = read_field(name, dtype, Number(), label)
    infinite = Check("is infinite", number.infinite.fill_null(False)) if number.infinite is not None else None
    checks = [*number.checks, *([infinite] if infinite else []), Check(_NO_LABEL, parsed(name).is_null())]
    value = number.value.cast(written, strict=False) if written.is_integer() else number.value
    return Reading(name, value, tuple(checks))


def packed_name(names: Sequence[str]) -> str | None:
    """Return the name of the target column: itself, or the names joined by "+".

    >>> packed_name(["fraud", "churn"])
    'fraud+churn'
    """
    return "+".join(names) or None


def pack_targets(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Turn several target columns into one list column.

    >>> pack_targets(pl.DataFrame({"fraud": [1], "churn": [0]}), ["fraud", "churn"]).to_dict(as_series=False)
    {'fraud+churn': [[1, 0]]}
    """
    if len(names) < 2:
        return frame
    return frame.with_columns(pl.concat_list(names).alias("+".join(names))).drop(names)
