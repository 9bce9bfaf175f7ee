"""Rows of different length in one flat array: what token ids are kept in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from habitus.data.slices import offsets_of, positions


@dataclass(frozen=True)
class Ragged:
    """Rows side by side.

    Args:
        values: of all rows, (E,).
        offsets: where each row begins and the last one ends, int64 (n+1).

    >>> rows = Ragged.of([[7, 8], [9]])
    >>> rows.take(np.array([1, 0])).values.tolist(), rows.lengths.tolist()
    ([9, 7, 8], [2, 1])
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Build from lists of ids."""
        flat = [value for row in rows for value in row]
        return cls(np.array(flat, dtype=np.int32), offsets_of(np.array([len(row) for row in rows], dtype=np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Return the length of each row, int64 (n,)."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> Ragged:
        """Return the given rows in the given order."""
        return self.cut(self.offsets[:-1][rows], self.offsets[1:][rows])

    def cut(self, start: np.ndarray, stop: np.ndarray) -> Ragged:
        """Return rows that hold start:stop of the flat array."""
        return Ragged(self.values[positions(start, stop)], offsets_of(stop - start))

    def first(self, n: int) -> Ragged:
        """Return every row cut to its first n values."""
        return self.cut(self.offsets[:-1], np.minimum(self.offsets[1:], self.offsets[:-1] + n))

    def last(self, n: int) -> Ragged:
        """Return every row cut to its last n values."""
        return self.cut(np.maximum(self.offsets[:-1], self.offsets[1:] - n), self.offsets[1:])

    def beside(self, other: Ragged) -> Ragged:
        """Return rows that hold a row of this one and then the same row of the other.

        >>> Ragged.of([[7], [8]]).beside(Ragged.of([[1, 2], []])).lists()
        [[7, 1, 2], [8]]
        """
        both = np.concatenate([self.values, other.values])
        starts = np.stack([self.offsets[:-1], other.offsets[:-1] + len(self.values)], axis=1).ravel()
        lengths = np.stack([self.lengths, other.lengths], axis=1).ravel()
        return Ragged(both[positions(starts, starts + lengths)], offsets_of(self.lengths + other.lengths))

    def lists(self) -> list[list[int]]:
        """Return the rows as lists."""
        flat, bounds = self.values.tolist(), self.offsets.tolist()
        return [flat[start:stop] for start, stop in itertools.pairwise(bounds)]
