"""The features of a good analyst who counts: no order, no sequence.

Two tables of a row each per example: counts of every value of every category field (sparse), and aggregates
(dense): recency, length, events per window, counts per window for fields of few values, rhythm, statistics of
numbers, the profile. Amounts of days and events come as log(1 + x), which trees do not mind and a linear model needs.
Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from habitus.data.encode import EncodedSequences
from habitus.errors import require

WINDOWS_DAYS = (7, 30, 90)
FEW_VALUES = 64  # a field with more ids is not counted per window
NIGHT_ENDS_HOUR = 6
Columns = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class BagFeatures:
    """Which columns there are; fixed at fit, the same ever after.

    Args:
        fields: number of ids per event category.
        numbers: event numbers.
        profile: number of ids per profile category.
        profile_numbers: profile numbers.
        totals: also the number of events and the total of each event number as they are, for amounts that add up.

    >>> BagFeatures({"action": 5}, [], {}, []).count_names
    ['action:0', 'action:1', 'action:2', 'action:3', 'action:4']
    """

    fields: dict[str, int]
    numbers: list[str]
    profile: dict[str, int]
    profile_numbers: list[str]
    totals: bool = False

    @classmethod
    def of(cls, encoded: EncodedSequences, sizes: dict[str, int], *, totals: bool = False) -> BagFeatures:
        """Take the columns that `encoded` has."""
        return cls(
            fields={name: sizes[name] for name in encoded.ids},
            numbers=list(encoded.numbers),
            profile={name: sizes[name] for name in encoded.profile_ids},
            profile_numbers=list(encoded.profile_numbers),
            totals=totals,
        )

    @property
    def count_names(self) -> list[str]:
        """Names of the columns of `counts`; `item_id:17` is id 17 of the field's vocabulary."""
        return [f"{name}:{i}" for name, size in self.fields.items() for i in range(size)]

    def counts(self, encoded: EncodedSequences) -> Any:
        """Return how often each value stands in each row: scipy CSR float64 (n, all ids)."""
        sparse = require("scipy.sparse", "baselines")
        row, offset, columns = _rows(encoded), 0, []
        for name, size in self.fields.items():
            columns.append(encoded.ids[name].astype(np.int64) + offset)
            offset += size
        place = (np.tile(row, len(columns)), np.concatenate(columns) if columns else np.zeros(0, np.int64))
        counts = sparse.coo_matrix((np.ones(len(place[0])), place), shape=(len(encoded), offset)).tocsr()
        counts.sum_duplicates()
        return counts

    def aggregates(self, encoded: EncodedSequences) -> tuple[list[str], np.ndarray]:
        """Return names and values of the dense columns, float64 (n, A)."""
        pairs = [*_recency(encoded), *_rhythm(encoded)]
        for name, size in self.fields.items():
            pairs += _per_field(encoded, name, size)
        for name in self.numbers:
            pairs += _statistics(encoded, name)
        pairs += self._profile_columns(encoded)
        if self.totals:
            pairs += _totals(encoded, self.numbers)
        return [name for name, _ in pairs], np.stack([values for _, values in pairs], axis=1).astype(np.float64)

    def _profile_columns(self, encoded: EncodedSequences) -> Columns:
        for name, size in self.profile.items():
            for i in range(1, size):
                yield f"{name}:{i}", encoded.profile_ids[name] == i
        for name in self.profile_numbers:
            yield name, encoded.profile_numbers[name][:, 0]
            yield f"{name} is missing", encoded.profile_numbers[name][:, 1]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BagFeatures:
        """Build from `to_json` data."""
        return cls(**data)


def _rows(encoded: EncodedSequences) -> np.ndarray:
    return np.repeat(np.arange(len(encoded)), np.diff(encoded.offsets))


def _recency(encoded: EncodedSequences) -> Columns:
    """How long, how many, how lately. A row without events has zeros, and says so."""
    row, n, age = _rows(encoded), len(encoded), encoded.age_days
    has_events = np.diff(encoded.offsets) > 0
    last, first = np.zeros(n), np.zeros(n)
    last[has_events] = age[encoded.offsets[1:][has_events] - 1]
    first[has_events] = age[encoded.offsets[:-1][has_events]]
    yield "no events", ~has_events
    yield "events", np.log1p(encoded.n_events)
    yield "days since last event", np.log1p(last)
    yield "days since first event", np.log1p(first)
    yield "events per day", np.log1p(encoded.n_events / np.maximum(first, 1.0))
    for days in WINDOWS_DAYS:
        yield f"events in last {days} days", np.log1p(np.bincount(row[age <= days], minlength=n))


def _rhythm(encoded: EncodedSequences) -> Columns:
    """Mean and longest gap, shares of nights and weekends."""
    yield "mean gap in days", np.log1p(_mean(encoded, encoded.gap_days))
    yield "longest gap in days", np.log1p(_reduce(encoded, np.maximum, encoded.gap_days))
    yield "night share", _mean(encoded, encoded.hour < NIGHT_ENDS_HOUR)
    yield "weekend share", _mean(encoded, encoded.weekday >= 5)


def _per_field(encoded: EncodedSequences, name: str, size: int) -> Columns:
    """How many different values; for fields of few values, the counts per window."""
    row, n, ids = _rows(encoded), len(encoded), encoded.ids[name].astype(np.int64)
    pairs = np.unique(row * size + ids)
    yield f"different {name}", np.log1p(np.bincount(pairs // size, minlength=n))
    if size > FEW_VALUES:
        return
    for days in WINDOWS_DAYS:
        recent = encoded.age_days <= days
        table = np.bincount(row[recent] * size + ids[recent], minlength=n * size).reshape(n, size)
        for i in range(1, size):
            yield f"{name}:{i} in last {days} days", np.log1p(table[:, i])


def _statistics(encoded: EncodedSequences, name: str) -> Columns:
    """Mean, extremes and last of a scaled number; a missing value stands at the scaler's centre, 0."""
    values, missing = encoded.numbers[name].T
    last = np.zeros(len(encoded))
    has_events = np.diff(encoded.offsets) > 0
    last[has_events] = values[encoded.offsets[1:][has_events] - 1]
    yield f"mean {name}", _mean(encoded, values)
    yield f"smallest {name}", _reduce(encoded, np.minimum, values)
    yield f"largest {name}", _reduce(encoded, np.maximum, values)
    yield f"last {name}", last
    yield f"{name} missing share", _mean(encoded, missing)


def _totals(encoded: EncodedSequences, names: list[str]) -> Columns:
    """Sums, from which a linear model can rebuild a total in the number's own unit, though numbers come scaled."""
    yield "number of events", encoded.n_events
    for name in names:
        yield f"total {name}", np.bincount(_rows(encoded), weights=encoded.numbers[name][:, 0], minlength=len(encoded))


def _mean(encoded: EncodedSequences, values: np.ndarray) -> np.ndarray:
    total = np.bincount(_rows(encoded), weights=values, minlength=len(encoded))
    return total / np.maximum(np.diff(encoded.offsets), 1)


def _reduce(encoded: EncodedSequences, function: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Reduce each row's values; 0 for a row without events, which `reduceat` alone would get wrong."""
    result = np.zeros(len(encoded))
    has_events = np.diff(encoded.offsets) > 0
    if has_events.any():
        result[has_events] = function.reduceat(values, encoded.offsets[:-1][has_events])
    return result
