"""Inference: which column is the entity, which the time, and what the others mean, from names, types and one pass.

Columns that nothing can be made of (dates, lists, empty columns, identifiers of single rows) are left out, each with a
note. Text columns of a CSV file are numbers when at least 99 % of their values are and none begins with a spare zero.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from habitus.data.columns import MISSING_TOKENS
from habitus.data.sources import Source
from habitus.errors import DataError, did_you_mean
from habitus.fields.schema import ENTITY_NAMES, TIME_NAMES, Field, infer_field

RESERVED = ("_row", "_example", "_window", "_entity", "_part", "_last", "n_events")
_NUMERIC_SHARE = 0.99  # of a CSV column's values
_ROW_ID_SHARE, _ROW_ID_ROWS = 0.8, 1000  # most rows have a value of their own: an identifier (the count is approximate)


def find_entity(source: Source, given: str | None) -> str:
    """Return the entity column: the one given, or the first well-known name.

    >>> from habitus.data.sources import open_source
    >>> find_entity(open_source(pl.DataFrame({"Customer_ID": [1]})), None)
    'Customer_ID'
    """
    found = find_column(source, given) or known_entity(source)
    if found is None:
        raise DataError(
            f"{source.label} has no column named like an entity ({', '.join(ENTITY_NAMES)}); its columns are "
            f"{_listed(source)}. Say which one with entity= (command line: --entity)."
        )
    return found


def known_entity(source: Source) -> str | None:
    """Return the first column with a well-known name of an entity, or None."""
    return _known_name(source, ENTITY_NAMES)


def find_time(source: Source, given: str | None, taken: str) -> str:
    """Return the time column: the one given, the first well-known name, or the only one that holds times."""
    found = find_column(source, given) or _known_name(source, TIME_NAMES, but=taken)
    times = [name for name, dtype in source.columns.items() if isinstance(dtype, pl.Datetime)]
    if found is None and len(times) == 1:
        found = times[0]
    if found is None:
        raise DataError(
            f"{source.label} has no column named like a time ({', '.join(TIME_NAMES)}); its columns are "
            f"{_listed(source)}. Say which one with time= (command line: --time)."
        )
    return found


def find_column(source: Source, given: str | None) -> str | None:
    """Return the column if it exists, None if none is asked for; else refuse with the nearest name."""
    if given is None or given in source.columns:
        return given
    raise DataError(f"{source.label} has no column '{given}'; {did_you_mean(given, source.columns)}")


def _known_name(source: Source, known: Sequence[str], but: str | None = None) -> str | None:
    plain = {_plain(name): name for name in reversed(source.columns) if name != but}
    return next((plain[_plain(name)] for name in known if _plain(name) in plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _listed(source: Source) -> str:
    return ", ".join(f"'{name}'" for name in source.columns) or "none at all"


def infer_fields(
    source: Source, given: Mapping[str, Field], taken: Collection[str]
) -> tuple[dict[str, Field], list[str]]:
    """Return a field for each column that is not taken, in the source's order, and notes on those left out.

    Args:
        source: the table.
        given: fields that the caller has decided.
        taken: columns that mean something else (entity, time, dropped).
    """
    for name in given:
        find_column(source, name)
        if name in RESERVED:
            raise DataError(f"Column '{name}' of {source.label} has a name that Habitus uses itself; rename it.")
    asked = [name for name in source.columns if name not in taken and name not in given]
    facts = _measure(source, asked)
    fields, notes = dict(given), []
    for name in asked:
        field, why = _infer(source, name, facts)
        if field is not None:
            fields[name] = field
        else:
            notes.append(f"Column '{name}' is ignored: {why}.")
    return {name: fields[name] for name in source.columns if name in fields}, notes


def text_types(source: Source, names: Sequence[str]) -> dict[str, pl.DataType]:
    """Return the types that columns of a CSV file would have if CSV had types."""
    facts = _measure(source, names)
    return {name: _text_type(name, facts) for name in names}


def _infer(source: Source, name: str, facts: Mapping[str, Any]) -> tuple[Field | None, str]:
    n, n_rows = facts[f"n:{name}"], facts["rows"]
    if name in RESERVED:
        return None, "Habitus uses this name itself; rename the column to have it read"
    if n == 0:
        return None, "it holds no value"
    dtype = source.columns[name]
    n_unique = facts.get(f"unique:{name}", n)
    if source.is_text:
        dtype = _text_type(name, facts)
    field = infer_field(name, dtype, n_unique)
    if field is None:
        return None, f"nothing is made of {dtype} here; turn it into numbers or text to have it read"
    is_row_id = n_rows >= _ROW_ID_ROWS and n_unique >= _ROW_ID_SHARE * n_rows and not dtype.is_float()
    if is_row_id and type(field).__name__ == "Category":
        return None, "nearly every row has its own value, so it identifies rows; name it in fields= to have it read"
    return field, ""


def _text_type(name: str, facts: Mapping[str, Any]) -> pl.DataType:
    n = facts[f"n:{name}"]
    if facts[f"dates:{name}"] >= _NUMERIC_SHARE * n:
        return pl.Datetime()
    if facts[f"zeros:{name}"] or facts[f"numbers:{name}"] < _NUMERIC_SHARE * n:
        return pl.String()
    return pl.Int64() if facts[f"integers:{name}"] == facts[f"numbers:{name}"] else pl.Float64()


def _measure(source: Source, names: Sequence[str]) -> dict[str, Any]:
    """Count, in one streaming pass, what inference asks of each column."""
    asked, unique = [pl.len().alias("rows")], []
    for name in names:
        dtype, column = source.columns[name], pl.col(name)
        if source.is_text:
            column = column.str.strip_chars()
            column = pl.when(~column.is_in(MISSING_TOKENS)).then(column)
            asked += _measure_text(name, column)
        asked.append(column.count().alias(f"n:{name}"))
        if dtype == pl.String or dtype.is_integer():
            unique.append(column.alias(f"unique:{name}"))
    return source.facts(asked, unique)


def _measure_text(name: str, text: pl.Expr) -> list[pl.Expr]:
    return [
        text.cast(pl.Float64, strict=False).count().alias(f"numbers:{name}"),
        text.cast(pl.Int64, strict=False).count().alias(f"integers:{name}"),
        text.str.contains(r"^[+-]?0\d").sum().alias(f"zeros:{name}"),
        text.str.contains(r"^\d{4}-\d{2}-\d{2}(?:$|[T ])").sum().alias(f"dates:{name}"),
    ]
