"""Slices of flat arrays: where the events of each row stand when rows are cut, reordered or put side by side.

Every place that takes start:stop of many rows at once asks here, so that there is one such sum and no loop over rows.
"""

from __future__ import annotations

import numpy as np


def positions(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return every position of start:stop, one slice after the other, int64.

    Args:
        start, stop: int (n,), stop at least start.

    >>> positions(np.array([4, 0]), np.array([6, 3])).tolist()
    [4, 5, 0, 1, 2]
    """
    lengths = stop - start
    begin = np.cumsum(lengths) - lengths  # where each slice stands in what is returned
    return np.arange(lengths.sum()) + np.repeat(start - begin, lengths)


def row_numbers(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return the number of the slice that each of `positions` belongs to, int64.

    >>> row_numbers(np.array([4, 0]), np.array([6, 3])).tolist()
    [0, 0, 1, 1, 1]
    """
    return np.repeat(np.arange(len(start)), stop - start)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return where each row begins and the last one ends, int64 (n+1).

    >>> offsets_of(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(lengths)])
