"""A `Category` field: one of many values, such as an app, a country or an action.

The vocabulary is learned from training examples only. Ids 0-2 are reserved (PAD, UNKNOWN, MISSING);
learned values follow, the most frequent first. With `hash_buckets` no vocabulary is kept: a value's id is
CRC-32 of its UTF-8 bytes modulo the number of buckets, which Spark and every other system compute the same way.

Values are compared byte for byte as strings (the NFC and NFD forms of a name are two values); whole
numbers are written without a decimal point, so that 3, 3.0 and "3" are one value. Knows nothing about torch.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from habitus.errors import ConfigError

PAD, UNKNOWN, MISSING = 0, 1, 2
N_RESERVED = 3


@dataclass(frozen=True)
class Category:
    """Say how a column of categories is read.

    Args:
        min_count: values seen less often than this in training become UNKNOWN.
        max_size: at most this many values are kept, the most frequent first.
        hash_buckets: if set, hash values into this many ids instead of keeping a vocabulary
            (for millions of values; two values may share an id).

    >>> Category(min_count=5)
    Category(min_count=5, max_size=200000, hash_buckets=None)
    """

    min_count: int = 2
    max_size: int = 200_000
    hash_buckets: int | None = None

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ConfigError(f"min_count={self.min_count} is not a count; use 1 (keep all) or more.")
        if self.max_size < 1:
            raise ConfigError(f"max_size={self.max_size} keeps no value; use 1 or more.")
        if self.hash_buckets is not None and self.hash_buckets < 2:
            raise ConfigError(f"hash_buckets={self.hash_buckets} is too few; use 2 or more, or leave it out.")


def as_category_strings(values: pl.Series) -> pl.Series:
    """Return values as the strings that a vocabulary compares.

    >>> as_category_strings(pl.Series([1.0, 2.5, None])).to_list()
    ['1', '2.5', None]
    """
    if values.dtype == pl.String:
        return values
    if values.dtype.is_float():
        whole = values.is_finite() & (values == values.round(0)) & (values.abs() < 2**53)
        as_int = values.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
        as_float = values.fill_nan(None).cast(pl.String)
        return as_int.zip_with(whole.fill_null(False), as_float).alias(values.name)
    if values.dtype == pl.Decimal:
        return as_category_strings(values.cast(pl.Float64))
    return values.cast(pl.String)


@dataclass
class Vocabulary:
    """The fitted side of a `Category`: value -> id.

    Args:
        spec: the field as the user described it.
        values: learned values in id order, from id 3; empty when hashed.
        counts: how often each value was seen in training, same order.

    >>> vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(["a", "b", "a", None]))
    >>> vocabulary.encode(pl.Series(["b", "zzz", None])).tolist()
    [4, 1, 2]
    """

    spec: Category
    values: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of ids, reserved ones included."""
        return N_RESERVED + (self.spec.hash_buckets or len(self.values))

    @classmethod
    def fit(cls, spec: Category, values: pl.Series | Iterable[pl.Series]) -> Vocabulary:
        """Learn the values of training examples, given whole or in chunks."""
        if spec.hash_buckets:
            return cls(spec)
        counts: Counter[str] = Counter()
        for chunk in [values] if isinstance(values, pl.Series) else values:
            found = as_category_strings(chunk).drop_nulls().value_counts()
            counts.update(dict(zip(found.to_series(0).to_list(), found.to_series(1).to_list(), strict=True)))
        return cls.from_counts(spec, counts.items())

    @classmethod
    def from_counts(cls, spec: Category, counts: Iterable[tuple[str, int]]) -> Vocabulary:
        """Learn from how often each value (as `as_category_strings` writes it) was seen, wherever it was counted.

        >>> Vocabulary.from_counts(Category(), [("a", 2), ("b", 3), ("c", 1)]).values
        ['b', 'a']
        """
        if spec.hash_buckets:
            return cls(spec)
        kept = sorted(((-n, value) for value, n in counts if n >= spec.min_count))[: spec.max_size]
        return cls(spec, [value for _, value in kept], [-n for n, _ in kept])

    def encode(self, values: pl.Series) -> np.ndarray:
        """Return ids: int32 of the same length, UNKNOWN for unseen values, MISSING for nulls."""
        strings = as_category_strings(values)
        missing = strings.is_null().to_numpy()
        ids = self._hashed(strings) if self.spec.hash_buckets else self._looked_up(strings)
        return np.where(missing, MISSING, ids).astype(np.int32)

    def decode(self, ids: np.ndarray) -> list[str | None]:
        """Return the values of ids; None for reserved or hashed ids."""
        return [self.values[i - N_RESERVED] if N_RESERVED <= i < N_RESERVED + len(self.values) else None for i in ids]

    def _looked_up(self, strings: pl.Series) -> np.ndarray:
        positions = pc.index_in(strings.to_arrow(), value_set=pa.array(self.values, type=pa.large_string()))
        found = positions.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(found < 0, UNKNOWN, found + N_RESERVED)

    def _hashed(self, strings: pl.Series) -> np.ndarray:
        buckets = self.spec.hash_buckets
        assert buckets is not None
        unique = strings.unique().drop_nulls()
        hashed = [zlib.crc32(value.encode()) % buckets + N_RESERVED for value in unique.to_list()]
        position = pc.index_in(strings.to_arrow(), value_set=unique.to_arrow()).fill_null(0)
        table = np.asarray(hashed or [UNKNOWN], dtype=np.int64)
        return table[position.to_numpy(zero_copy_only=False)]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        spec = {
            "min_count": self.spec.min_count,
            "max_size": self.spec.max_size,
            "hash_buckets": self.spec.hash_buckets,
        }
        return {"kind": "category", "spec": spec, "values": self.values, "counts": self.counts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Vocabulary:
        """Build from `to_json` data."""
        return cls(Category(**data["spec"]), list(data["values"]), list(data["counts"]))
