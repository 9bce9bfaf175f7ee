"""Whole histories of entities as flat arrays, and the questions asked of them: what comes at this position?

    entity 0: events offsets[0]:offsets[1]   entity 1: events offsets[1]:offsets[2]   ...   in time order

`Windows` name slices of the flat arrays by start and stop, so that training windows, a user's latest events and
the context of a test event are all the same thing and no event is copied. Knows nothing about torch or models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from habitus.data.slices import offsets_of, positions


@dataclass(frozen=True)
class Histories:
    """Histories of n entities; E events in all.

    Args:
        offsets: int64 (n+1), entity i owns events offsets[i]:offsets[i+1].
        ids: per category field int32 (E,): 0 PAD, 1 UNKNOWN, 2 MISSING, learned values from 3.
        numbers: per number field float32 (E, 2): scaled value and missing flag.
        time_us: int64 (E,), microseconds since 1970 in UTC.

    >>> histories = Histories(np.array([0, 2, 3]), {"item_id": np.array([3, 4, 3], np.int32)}, {}, np.arange(3))
    >>> len(histories), histories.lengths.tolist()
    (2, [2, 1])
    """

    offsets: np.ndarray
    ids: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    time_us: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Events of each entity, int64 (n,)."""
        return np.diff(self.offsets)

    def cut(self, start: np.ndarray, stop: np.ndarray) -> Histories:
        """Return the events start:stop of the flat arrays as histories, one for each slice.

        >>> histories = Histories(np.array([0, 2, 3]), {"item_id": np.array([3, 4, 3], np.int32)}, {}, np.arange(3))
        >>> histories.cut(np.array([2, 1]), np.array([3, 2])).time_us.tolist()
        [2, 1]
        """
        index = positions(start, stop)
        return Histories(
            offsets_of(stop - start),
            {name: values[index] for name, values in self.ids.items()},
            {name: values[index] for name, values in self.numbers.items()},
            self.time_us[index],
        )


@dataclass(frozen=True)
class Windows:
    """Slices of `Histories`: window i holds the events start[i]:stop[i], all of one entity.

    The event to predict stands at stop[i]; everything from there on is the future of the window.

    Args:
        start, stop: int64 (n,).
    """

    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> np.ndarray:
        """Events of each window, int64 (n,)."""
        return self.stop - self.start

    def take(self, rows: np.ndarray) -> Windows:
        """Return some of the windows."""
        return Windows(self.start[rows], self.stop[rows])


def latest(begin: np.ndarray, stop: np.ndarray, max_length: int) -> Windows:
    """Return the latest `max_length` events before each stop, and none before begin.

    >>> latest(np.array([0, 0]), np.array([5, 2]), max_length=3).start.tolist()
    [2, 0]
    """
    return Windows(np.maximum(begin, stop - max_length), stop)


def cover(begin: np.ndarray, stop: np.ndarray, max_length: int, rng: np.random.Generator | None = None) -> Windows:
    """Cut whole histories into windows in which every event but the first is a target exactly once.

    A window of w events has w - 1 targets in training, so that neighbouring windows share one event. With `rng` the
    cuts fall elsewhere in every epoch; without it they are counted back from the end. Histories of fewer than two
    events give no window.

    Args:
        begin, stop: int64 (n,), the events of each history that may be read.
        max_length: most inputs in a window; a window has up to `max_length` targets and one event more.

    >>> windows = cover(np.array([0]), np.array([6]), max_length=3)
    >>> list(zip(windows.start.tolist(), windows.stop.tolist()))
    [(0, 3), (2, 6)]
    """
    has_target = stop - begin > 1
    begin, stop = begin[has_target], stop[has_target]
    n_targets = stop - begin - 1
    # of the first window; the others are full. Without rng the last window is full.
    first = (n_targets - 1) % max_length + 1 if rng is None else rng.integers(1, max_length + 1, len(begin))
    first = np.minimum(first, n_targets)
    n_windows = 1 - (-(n_targets - first) // max_length)
    row = np.repeat(np.arange(len(begin)), n_windows)
    number = np.arange(len(row)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    start = begin[row] + np.where(number == 0, 0, first[row] + (number - 1) * max_length)
    length = np.where(number == 0, first[row], max_length)
    return Windows(start, np.minimum(start + length + 1, stop[row]))
