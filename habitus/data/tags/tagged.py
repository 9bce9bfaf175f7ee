"""Histories with a label for every event, the windows in which they are read, and what an answer to them looks like.

    events   a  b  c  d  e  f  g  h  i  j        max_length=4, reading only the past
    window 1 [a  b  c  d]                        tags a b c d
    window 2       [c  d  e  f]                  tags e f, having read c d
    window 3             [e  f  g  h]            tags g h

Every event is tagged, and learned, in exactly one window; the other events of a window are context. A label that is
missing is neither learned nor judged, while its event is still read. Knows nothing about torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from habitus.data.histories import Histories
from habitus.data.slices import positions
from habitus.fields.category import MISSING

UNLABELLED = -1
_MOST_PAIRS = 1_000_000  # ids of a field joined with the label; above it only the label itself is read


@dataclass(frozen=True)
class Tagged:
    """Histories of n entities with a label for each of E events.

    Args:
        histories: the encoded events; the label is none of their fields.
        labels: int32 (E,), positions in `names`; -1 where there is no label.
        names: the labels; those from `n_known` on were never seen in training.
        n_known: labels that training saw.

    >>> histories = Histories(np.array([0, 2, 3]), {"skill": np.array([3, 4, 3], np.int32)}, {}, np.arange(3))
    >>> rows = Tagged(histories, np.array([1, -1, 0], np.int32), ("no", "yes"), 2)
    >>> rows.take(np.array([1])).labels.tolist(), rows.n_labelled
    ([0], 2)
    """

    histories: Histories
    labels: np.ndarray
    names: tuple[str, ...]
    n_known: int

    def __len__(self) -> int:
        return len(self.histories)

    @property
    def n_labelled(self) -> int:
        """Events that have a label."""
        return int((self.labels != UNLABELLED).sum())

    @property
    def unit(self) -> np.ndarray:
        """The number of each event's entity, int64 (E,)."""
        return np.repeat(np.arange(len(self)), self.histories.lengths)

    def take(self, rows: np.ndarray) -> Tagged:
        """Return the entities of these numbers, in this order."""
        start, stop = self.histories.offsets[:-1][rows], self.histories.offsets[1:][rows]
        return replace(self, histories=self.histories.cut(start, stop), labels=self.labels[positions(start, stop)])

    def arrays(self) -> Iterator[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        histories = self.histories
        yield from (histories.offsets, histories.time_us, self.labels)
        yield from (*histories.ids.values(), *histories.numbers.values())


@dataclass(frozen=True)
class Tags:
    """Answers to `Tagged` rows, one for each of E events.

    Args:
        codes: int32 (E,), positions in the names of the rows.
        probability: float32 (E, C) over the labels that training saw; None where nothing is known of it.
    """

    codes: np.ndarray
    probability: np.ndarray | None = None

    @classmethod
    def likeliest(cls, probability: np.ndarray) -> Tags:
        """Return the likeliest label of each event, (E, C) -> (E,).

        >>> Tags.likeliest(np.array([[0.2, 0.8]])).codes.tolist()
        [1]
        """
        codes = probability.argmax(axis=1) if len(probability) else np.zeros(0)
        return cls(codes.astype(np.int32), probability.astype(np.float32))


@dataclass(frozen=True)
class TagWindows:
    """Windows of histories: window i reads the events start[i]:stop[i] and tags first[i]:last[i] of them.

    Args:
        start, stop, first, last: int64 (n,), positions in the flat arrays; start <= first < last <= stop.
    """

    start: np.ndarray
    stop: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> np.ndarray:
        """Events that each window reads, int64 (n,)."""
        return self.stop - self.start

    def take(self, rows: np.ndarray) -> TagWindows:
        """Return some of the windows."""
        return TagWindows(self.start[rows], self.stop[rows], self.first[rows], self.last[rows])


def tag_windows(offsets: np.ndarray, max_length: int, *, both: bool = False) -> TagWindows:
    """Cut histories into windows of at most `max_length` events that tag every event exactly once.

    A history that fits is one window. Of a longer one the events are tagged with at least half a window of past, or,
    with `both`, with a quarter of a window on either side; at its ends there is less, because there is no more.

    Args:
        offsets: int64 (n+1), whose events are whose.
        max_length: most events that a window reads.
        both: later events are read as well.

    >>> windows = tag_windows(np.array([0, 7]), max_length=4)
    >>> [(int(a), int(b)) for a, b in zip(windows.start, windows.stop)]
    [(0, 4), (2, 6), (3, 7)]
    >>> [(int(a), int(b)) for a, b in zip(windows.first, windows.last)]
    [(0, 4), (4, 6), (6, 7)]
    """
    begin, end = offsets[:-1], offsets[1:]
    before, after = (max_length // 4, max_length // 4) if both else (max_length // 2, 0)
    step = max_length - before - after
    opening = max_length - after  # events that the first window tags, if another one follows
    n_windows = np.where(end - begin <= max_length, end > begin, 1 - (-(end - begin - opening) // step))
    row = np.repeat(np.arange(len(begin)), n_windows)
    number = np.arange(len(row)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    first = begin[row] + np.where(number == 0, 0, opening + (number - 1) * step)
    is_last = number == n_windows[row] - 1
    last = np.where(is_last, end[row], begin[row] + opening + number * step)
    stop = np.minimum(last + after, end[row])
    start = np.maximum(begin[row], stop - max_length)  # whatever fits in front
    return TagWindows(start, stop, first, last)


def with_label_history(rows: Tagged) -> Histories:
    """Return the events with what is known before each: the previous event's label, alone and joined with its values.

    The joined fields say that this skill was answered right, that one wrong, in one id, as the one-hot input of
    Piech et al. 2015 (arXiv:1506.05908, section 3.2) does. An entity's first event has nothing before it.

    >>> histories = Histories(np.array([0, 3]), {"skill": np.array([3, 4, 3], np.int32)}, {}, np.arange(3))
    >>> known = with_label_history(Tagged(histories, np.array([1, 0, 1], np.int32), ("no", "yes"), 2))
    >>> known.ids["previous label"].tolist(), known.ids["previous skill with its label"].tolist()
    ([2, 4, 3], [6, 11, 13])
    """
    histories, n_known = rows.histories, rows.n_known
    is_first = np.zeros(len(rows.labels), dtype=bool)
    is_first[histories.offsets[:-1][histories.lengths > 0]] = True
    usable = np.where((rows.labels >= 0) & (rows.labels < n_known), rows.labels, UNLABELLED)
    label = np.where(is_first, UNLABELLED, np.roll(usable, 1))
    ids = dict(histories.ids)
    ids[_PREVIOUS] = np.where(label == UNLABELLED, MISSING, label + 3).astype(np.int32)
    for name, values in histories.ids.items():
        before = np.where(is_first, MISSING, np.roll(values, 1))
        ids[_JOINED.format(name)] = (before * (n_known + 1) + label + 1).astype(np.int32)
    return replace(histories, ids=ids)


def label_history_sizes(sizes: dict[str, int], n_known: int) -> dict[str, int]:
    """Return the number of ids of each field of `with_label_history`; joined fields with too many ids are not read.

    >>> label_history_sizes({"skill": 10}, n_known=2)
    {'skill': 10, 'previous label': 5, 'previous skill with its label': 30}
    """
    joined = {_JOINED.format(name): size * (n_known + 1) for name, size in sizes.items()}
    few = {name: size for name, size in joined.items() if size <= _MOST_PAIRS}
    return {**sizes, _PREVIOUS: n_known + 3, **few}


_PREVIOUS, _JOINED = "previous label", "previous {} with its label"
