"""Which item follows which, as a sparse matrix: what the Markov chains and the item-kNN have in common.

They differ in what they put in (which pairs of events, how scaled) and in how the latest events of a history are
weighted when it is asked. Scoring is one sparse product a chunk of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from habitus.baselines.next_event.base import N_RESERVED, State, item_shares, training_events
from habitus.data.histories import Histories, Windows
from habitus.errors import ConfigError, require

BLOCK = 2**22  # pairs of events counted at a time
TINY = 1e-3  # all popularity together weighs this part of the least that one observed pair can


def harmonic(n_back: int) -> np.ndarray:
    """Return the weights 1, 1/2, 1/3, ... of the latest n_back events, the latest first.

    >>> harmonic(4).round(2).tolist()
    [1.0, 0.5, 0.33, 0.25]
    """
    if n_back < 1:
        raise ConfigError(f"n_back={n_back} looks at no event; use 1 or more, usually 10.")
    return 1 / np.arange(1, n_back + 1)


@dataclass(frozen=True)
class Transitions:
    """How much each id (row) speaks for each id (column) as a later event.

    Args:
        matrix: scipy CSR (V, V), float32.
        popularity: float32 (V,), orders the items that no event of the window speaks for.
        item: the category field.
    """

    matrix: Any
    popularity: np.ndarray
    item: str

    @classmethod
    def count(
        cls, histories: Histories, stops: np.ndarray, item: str, size: int, weights: Sequence[float] | np.ndarray
    ) -> Transitions:
        """Add up weights[d - 1] for every two training events of an entity that stand d apart."""
        positions, entity = training_events(histories, stops)
        ids = histories.ids[item][positions]
        matrix = _empty(size)
        for distance, weight in enumerate(weights, start=1):
            for start in range(0, max(len(ids) - distance, 0), BLOCK):
                earlier = slice(start, min(start + BLOCK, len(ids) - distance))
                later = slice(earlier.start + distance, earlier.stop + distance)
                is_pair = (entity[earlier] == entity[later]) & (ids[later] >= N_RESERVED)
                matrix = matrix + _sparse(float(weight), ids[earlier][is_pair], ids[later][is_pair], size)
        return cls(matrix, item_shares(ids, size), item)

    def scaled(self, rows: np.ndarray, columns: np.ndarray | None = None) -> Transitions:
        """Return it with every row, and column, multiplied by a number, (V,)."""
        matrix = self.matrix.copy()
        matrix.data *= np.repeat(rows, np.diff(matrix.indptr)).astype(np.float32)
        if columns is not None:
            matrix.data *= columns.astype(np.float32)[matrix.indices]
        return Transitions(matrix, self.popularity, self.item)

    def strongest(self, n: int) -> Transitions:
        """Return it with only the n largest numbers of every row; of equal ones those with smaller ids."""
        matrix = self.matrix.sorted_indices()
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        order = np.lexsort((-matrix.data, row))
        place = np.arange(len(row)) - matrix.indptr[row]  # rows keep their places in this order
        kept = np.sort(order[place < n])
        indptr = np.searchsorted(row[kept], np.arange(matrix.shape[0] + 1))
        return Transitions(_restore(matrix.data[kept], matrix.indices[kept], indptr), self.popularity, self.item)

    def score(self, histories: Histories, windows: Windows, weights: np.ndarray) -> np.ndarray:
        """Return the weighted sum of the rows of each window's latest events, float32 (q, V)."""
        scores = (self._latest(histories, windows, weights) @ self.matrix).toarray()
        least = float(self.matrix.data.min(initial=1.0)) * float(np.min(weights))
        return scores + np.float32(TINY * least) * self.popularity

    def to_state(self) -> State:
        """Return the matrix as three arrays, the popularity, and the field's name."""
        parts = {name: getattr(self.matrix, name) for name in ("data", "indices", "indptr")}
        return parts | {"popularity": self.popularity}, {"item": self.item}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Self:
        """Restore it."""
        matrix = _restore(*(np.asarray(tensors[name]) for name in ("data", "indices", "indptr")))
        return cls(matrix, np.asarray(tensors["popularity"]), document["item"])

    def _latest(self, histories: Histories, windows: Windows, weights: np.ndarray) -> Any:
        """Return a sparse (q, V) with the weights of each window's latest events at their ids."""
        position = windows.stop[:, None] - 1 - np.arange(len(weights))
        question, age = np.nonzero(position >= windows.start[:, None])
        ids = histories.ids[self.item][position[question, age]]
        shape = (len(windows), self.matrix.shape[0])
        csr_matrix = require("scipy.sparse", "baselines").csr_matrix
        return csr_matrix((weights.astype(np.float32)[age], (question, ids)), shape=shape)


def _empty(size: int) -> Any:
    return require("scipy.sparse", "baselines").csr_matrix((size, size), dtype=np.float32)


def _sparse(value: float, row: np.ndarray, column: np.ndarray, size: int) -> Any:
    """Return a (V, V) matrix of how often each pair occurs, times value."""
    csr_matrix = require("scipy.sparse", "baselines").csr_matrix
    matrix = csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(size, size))
    return matrix * np.float32(value)


def _restore(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray) -> Any:
    csr_matrix = require("scipy.sparse", "baselines").csr_matrix
    size = len(indptr) - 1
    return csr_matrix((data, indices, indptr), shape=(size, size))
