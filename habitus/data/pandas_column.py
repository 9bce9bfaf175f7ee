"""A column of a pandas table as a Polars one: mixed types become text, half characters are refused."""

from __future__ import annotations

from typing import Any, cast

import polars as pl
import pyarrow as pa

from habitus.errors import DataError


def pandas_column(values: Any, name: str, label: str) -> tuple[pl.Series, str | None]:
    """Convert a column; an object column of mixed types is read as text."""
    if values.dtype == object:
        _refuse_surrogates(values, name, label)
    try:
        converted = pl.from_pandas(values.reset_index(drop=True).rename(name), nan_to_null=False)
        return cast(pl.Series, converted).alias(name), None
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        if values.dtype != object:
            raise DataError(f"{label}: column '{name}' ({values.dtype}) cannot be read: {error}.") from error
    missing = values.isna()
    texts = [None if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    return pl.Series(name, texts, dtype=pl.String), f"Column '{name}' of {label} mixes types; it is read as text."


def _refuse_surrogates(values: Any, name: str, label: str) -> None:
    for row, value in enumerate(values):
        if isinstance(value, str) and not value.isascii() and _is_broken(value):
            raise DataError(
                f"{label}, row {row + 1}: '{name}' = {value!a} holds half a character (a lone surrogate), which is not "
                "text; clean it with value.encode('utf-8', 'replace').decode(), or drop the row."
            )


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
