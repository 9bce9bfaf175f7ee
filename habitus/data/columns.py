"""Columns: how one raw column becomes canonical values, and which rows it rejects.

A `Reading` is a value expression and checks. A check is written over the raw column and over the value (see
`parsed`); the first check that holds rejects the row. Entities, categories and numbers are here, times in
`timestamps.py`. Nothing is computed here: expressions are handed to the reader.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from habitus.errors import DataError
from habitus.fields.number import Number
from habitus.fields.schema import Field

# listed in full, because folding the case of every value costs more than reading it
MISSING_TOKENS = ("", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "NULL", "Null", "null", "None", "none", "NONE")
_PARSED = "\0"  # before a column's name: its value after reading; no file's column begins with NUL


@dataclass(frozen=True)
class Check:
    """A reason to reject a row, and the expression that finds it."""

    reason: str
    bad: pl.Expr


@dataclass(frozen=True)
class Reading:
    """How a column is read.

    Args:
        name: the raw column.
        value: expression of its canonical values.
        checks: what rejects a row, in order.
        infinite: expression that finds infinite numbers, which are read as missing; None where there can be none.
        output: name of the column after reading; None keeps `name`.
    """

    name: str
    value: pl.Expr
    checks: tuple[Check, ...] = ()
    infinite: pl.Expr | None = None
    output: str | None = None


def parsed(name: str) -> pl.Expr:
    """Refer, in a check, to the value that a reading gives."""
    return pl.col(_PARSED + name)


def parsed_alias(reading: Reading) -> pl.Expr:
    """Return a reading's value under the name that `parsed` refers to."""
    return reading.value.alias(_PARSED + reading.name)


def read_entity(name: str, dtype: pl.DataType, label: str) -> Reading:
    """Read whose event it is: Int64 for whole numbers, else text compared byte for byte.

    Raises:
        DataError: for types that cannot name an entity (booleans, times, lists).
    """
    column, missing = pl.col(name), Check("is missing", pl.col(name).is_null())
    if dtype.is_integer():
        unfit = () if _fits_int64(dtype) else (Check("does not fit in 64 bits", parsed(name).is_null()),)
        return Reading(name, column.cast(pl.Int64, strict=False), (missing, *unfit))
    if dtype.is_float():
        return _read_float_entity(name)
    if dtype.is_decimal():
        whole = column.cast(pl.Int64, strict=False)
        value = pl.when(whole.cast(dtype, strict=False) == column).then(whole)
        return Reading(name, value, (missing, Check("is not a whole number", parsed(name).is_null())))
    if not is_text(dtype) and dtype != pl.Null:
        raise DataError(f"Column '{name}' of {label} holds {dtype}, which cannot name an entity; give numbers or text.")
    checks = (missing, *_not_utf8(name, dtype), Check("is empty", (parsed(name) == "").fill_null(False)))
    return Reading(name, as_text(name, dtype), checks)


def _fits_int64(dtype: pl.DataType) -> bool:
    return dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


def _read_float_entity(name: str) -> Reading:
    # pandas turns integers with a gap into floats; above 2**53 a float no longer names one integer
    column = pl.col(name).cast(pl.Float64)
    whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2**53)
    missing = Check("is missing", column.is_null() | column.is_nan().fill_null(False))
    unfit = Check("is not a whole number below 2^53", parsed(name).is_null())
    return Reading(name, pl.when(whole).then(column).cast(pl.Int64), (missing, unfit))


def read_field(name: str, dtype: pl.DataType, spec: Field, label: str) -> Reading:
    """Read a field as its spec says.

    Raises:
        DataError: for types that the spec cannot be made from.
    """
    return _read_number(name, dtype, label) if isinstance(spec, Number) else _read_category(name, dtype, label)


def _read_category(name: str, dtype: pl.DataType, label: str) -> Reading:
    if dtype.is_nested() or dtype in (pl.Object, pl.Duration):
        raise DataError(f"Column '{name}' of {label} holds {dtype}, not categories; give text or numbers.")
    if dtype.is_numeric() or dtype == pl.Boolean:
        value = pl.col(name).cast(pl.String) if dtype in (pl.Int128, pl.UInt128) else pl.col(name)
        return Reading(name, value.fill_nan(None) if dtype.is_float() else value)
    return Reading(name, as_text(name, dtype), _not_utf8(name, dtype))


def _read_number(name: str, dtype: pl.DataType, label: str) -> Reading:
    column = pl.col(name)
    if dtype == pl.Null:
        return Reading(name, column.cast(pl.Float64))
    if is_text(dtype) and dtype != pl.Binary:
        return _read_number_text(name, dtype)
    if not dtype.is_numeric():
        raise DataError(
            f"Column '{name}' of {label} holds {dtype}, where numbers are expected; give numbers, or read it as a "
            'category (fields={"' + name + '": Category()}).'
        )
    if dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128):
        return Reading(name, column)
    numbers = column if dtype.is_float() else column.cast(pl.Float64)
    return Reading(name, _finite(numbers), infinite=numbers.is_infinite())


def _read_number_text(name: str, dtype: pl.DataType) -> Reading:
    text = as_text(name, dtype).str.strip_chars()
    missing = text.is_in(MISSING_TOKENS)
    numbers = text.cast(pl.Float64, strict=False)
    bad = text.is_not_null() & ~missing & numbers.is_null()
    return Reading(name, _finite(numbers), (Check("is not a number", bad),), numbers.is_infinite())


def _finite(numbers: pl.Expr) -> pl.Expr:
    """Null for NaN and infinity; -0.0 becomes 0."""
    return pl.when(numbers == 0).then(0.0).when(numbers.is_finite()).then(numbers)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether a column holds text in some encoding."""
    return dtype in (pl.String, pl.Categorical, pl.Binary) or isinstance(dtype, pl.Enum)


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as text; bytes that are not UTF-8 become null."""
    if dtype == pl.Binary:
        return pl.col(name).map_batches(_decoded, return_dtype=pl.String, is_elementwise=True)
    return pl.col(name) if dtype == pl.String else pl.col(name).cast(pl.String, strict=False)


def _decoded(values: pl.Series) -> pl.Series:
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:  # even a cast that is not strict stops at bytes that are no UTF-8
        return pl.Series(values.name, [_decoded_or_none(value) for value in values], dtype=pl.String)


def _decoded_or_none(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _not_utf8(name: str, dtype: pl.DataType) -> tuple[Check, ...]:
    bad = pl.col(name).is_not_null() & parsed(name).is_null()
    return (Check("is not UTF-8 text", bad),) if dtype == pl.Binary else ()
