"""Classes as they stand in a table: their names, their order, and columns of 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from habitus.errors import DataError
from habitus.fields.category import as_category_strings


def as_class(name: Any) -> str:
    """Return a class as its text in a column, so that 1, 1.0 and "1" are one class."""
    return str(as_category_strings(pl.Series([name]))[0])


def natural(name: str) -> tuple[int, float, str]:
    """Order whole numbers by value and before names, so that class 10 follows class 9."""
    try:
        return (0, float(name), "")
    except ValueError:
        return (1, 0.0, name)


def as_flags(values: pl.Series) -> np.ndarray:
    """Return a label column of 0 and 1 as float32 (n,).

    Raises:
        DataError: if it holds anything else.
    """
    flags = values.cast(pl.Float32, strict=False)
    if not flags.is_in([0.0, 1.0]).fill_null(False).all():
        raise DataError(
            f"The label column '{values.name}' must hold 0 and 1 only; it holds other values or missing ones."
        )
    return flags.to_numpy()
