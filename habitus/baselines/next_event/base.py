"""What every counting baseline of the next event promises, and the sums that all of them need.

A baseline learns from the training part of each history, up to a stop, and scores the whole catalogue for a window's
next event. Scores only rank: they are no probabilities, and not comparable between baselines. Columns 0-2 (padding,
unknown, missing) hold 0 and are never an answer; as something that happened before, they count like any other id.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import numpy as np

from habitus.baselines.base import State
from habitus.data.histories import Histories, Windows
from habitus.data.slices import positions, row_numbers
from habitus.fields.category import N_RESERVED

__all__ = ["N_RESERVED", "NextBaseline", "State", "item_shares", "training_events"]


class NextBaseline(Protocol):
    """A rival by counting for next events."""

    name: ClassVar[str]

    def fit(self, histories: Histories, stops: np.ndarray, item: str, size: int) -> Self:
        """Learn from the events offsets[i]:stops[i] of every entity i and return self; later events are not read.

        Args:
            histories: whole histories of n entities.
            stops: int64 (n,), where the training part of each history ends.
            item: the category field to predict.
            size: V, its ids including the three reserved ones.
        """

    def score(self, histories: Histories, windows: Windows, at_us: np.ndarray | None = None) -> np.ndarray:
        """Return a score of every id as the event at each window's stop, float32 (q, V); higher is likelier.

        Args:
            histories: may be other entities than those of `fit`.
            windows: q questions; some hundreds at a time keep (q, V) small.
            at_us: int64 (q,), when the event to predict happens, if that is known; no baseline here reads it.
        """

    def to_state(self) -> State:
        """Return tensors and a JSON-able document from which `from_state` restores the same scores."""

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Self:
        """Restore a fitted baseline."""


def training_events(histories: Histories, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in the flat arrays and entity numbers of all events before the stops, (m,) each.

    >>> histories = Histories(np.array([0, 3, 5]), {}, {}, np.arange(5))
    >>> positions, entity = training_events(histories, np.array([2, 5]))
    >>> positions.tolist(), entity.tolist()
    ([0, 1, 3, 4], [0, 0, 1, 1])
    """
    begin = histories.offsets[:-1]
    return positions(begin, stops), row_numbers(begin, stops)


def item_shares(ids: np.ndarray, size: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return each id's share of the events, float32 (V,), with zeros for the reserved ids.

    >>> item_shares(np.array([1, 3, 3, 4, 3]), size=6).tolist()
    [0.0, 0.0, 0.0, 0.75, 0.25, 0.0]
    """
    counts = np.bincount(ids, weights, minlength=size).astype(np.float64)
    counts[:N_RESERVED] = 0
    return (counts / (counts.sum() or 1.0)).astype(np.float32)
