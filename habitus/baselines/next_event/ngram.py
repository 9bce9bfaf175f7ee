"""Back-off n-gram: what followed the longest run of latest events that training has seen. For small vocabularies.

A run of k events is numbered by two numbers only, the number of its latest k - 1 events and the event before them, so
that a table of one order holds one int64 per run whatever the vocabulary, and looking a run up is k binary searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.next_event.base import N_RESERVED, State, item_shares, training_events
from habitus.data.histories import Histories, Windows
from habitus.errors import ConfigError, require

SHORTER = np.float32(1e-3)  # what the next shorter run weighs: it orders what the longest says nothing about


@dataclass(frozen=True)
class _Runs:
    """All kept runs of one length: their keys, ascending, and a CSR (runs, V) of what followed them."""

    keys: np.ndarray
    followers: Any

    def find(self, key: np.ndarray) -> np.ndarray:
        """Return the number of each run, -1 for one that is not kept."""
        if not len(self.keys):
            return np.full(len(key), -1)
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[place] == key, place, -1)

    def shares(self, run: np.ndarray) -> np.ndarray:
        """Return how often each id followed, as shares, float32 (runs asked, V)."""
        counts = self.followers[run].toarray().astype(np.float32)
        return counts / counts.sum(axis=1, keepdims=True)


class NGram:
    """Score by what followed the longest kept run of up to `order` latest events; back off to shorter ones.

    The score is p_k + .001 p_(k-1) + .000001 p_(k-2) + ..., p_k being the share of each item after the longest kept
    run and p_0 the popularity: shorter runs decide only between items that the longer ones hold equal. Backing off
    without discounts as in Brants et al. 2007, https://aclanthology.org/D07-1090, equation 5; differs from the paper
    in that factor (.4 there), because here only the ranking counts, and in leaving out runs seen less than `min_count`
    times.

    Args:
        order: events in the longest run.
        min_count: how often a run must have been followed by something in training to be kept.

    >>> NGram(order=3).name
    'order-n n-gram'
    """

    name: ClassVar[str] = "order-n n-gram"

    def __init__(self, order: int = 5, min_count: int = 2):
        if order < 1 or min_count < 1:
            raise ConfigError(f"order={order}, min_count={min_count}: both must be 1 or more; use for example 5 and 2.")
        self.order, self.min_count = order, min_count

    def fit(self, histories: Histories, stops: np.ndarray, item: str, size: int) -> Self:
        """Count what followed every run of events before the stops."""
        positions, entity = training_events(histories, stops)
        ids = histories.ids[item]
        self.item_, self.size_, self.runs_ = item, size, []
        self.popularity_ = item_shares(ids[positions], size)
        target = positions[ids[positions] >= N_RESERVED]
        begin = histories.offsets[entity[ids[positions] >= N_RESERVED]]
        run = np.zeros(len(target), dtype=np.int64)
        for length in range(1, self.order + 1):
            target, begin, run = (a[target - length >= begin] for a in (target, begin, run))
            key = run * size + ids[target - length]
            runs, run = self._count(key, ids[target])
            self.runs_.append(runs)
            target, begin, run = (a[run >= 0] for a in (target, begin, run))
        return self

    def score(self, histories: Histories, windows: Windows, at_us: np.ndarray | None = None) -> np.ndarray:
        """Return shares after the longest kept run, and a little of the shorter ones', float32 (q, V)."""
        ids = histories.ids[self.item_]
        scores = np.tile(self.popularity_, (len(windows), 1))
        question, run = np.arange(len(windows)), np.zeros(len(windows), dtype=np.int64)
        for length, runs in enumerate(self.runs_, start=1):
            long_enough = windows.lengths[question] >= length
            question, run = question[long_enough], run[long_enough]
            run = runs.find(run * self.size_ + ids[windows.stop[question] - length])
            question, run = question[run >= 0], run[run >= 0]
            scores[question] = runs.shares(run) + SHORTER * scores[question]
        return scores

    def to_state(self) -> State:
        """Return each order's keys and followers."""
        tensors = {"popularity": self.popularity_}
        for length, runs in enumerate(self.runs_, start=1):
            tensors[f"keys_{length}"] = runs.keys
            tensors |= {f"{part}_{length}": getattr(runs.followers, part) for part in ("data", "indices", "indptr")}
        return tensors, {"item": self.item_, "order": self.order, "min_count": self.min_count}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Self:
        """Restore a fitted baseline."""
        baseline = cls(document["order"], document["min_count"])
        baseline.item_, baseline.popularity_ = document["item"], np.asarray(tensors["popularity"])
        baseline.size_, baseline.runs_ = len(baseline.popularity_), []
        csr_matrix = require("scipy.sparse", "baselines").csr_matrix
        for length in range(1, baseline.order + 1):
            keys = np.asarray(tensors[f"keys_{length}"])
            parts = tuple(np.asarray(tensors[f"{part}_{length}"]) for part in ("data", "indices", "indptr"))
            baseline.runs_.append(_Runs(keys, csr_matrix(parts, shape=(len(keys), baseline.size_))))
        return baseline

    def _count(self, key: np.ndarray, follower: np.ndarray) -> tuple[_Runs, np.ndarray]:
        """Return the kept runs, and the run of every row, -1 where it is not kept."""
        keys, n = np.unique(key, return_counts=True)
        keys = keys[n >= self.min_count]
        empty = _Runs(keys, None)
        run = empty.find(key)
        row, column = run[run >= 0], follower[run >= 0]
        csr_matrix = require("scipy.sparse", "baselines").csr_matrix
        followers = csr_matrix((np.ones(len(row), np.int32), (row, column)), shape=(len(keys), self.size_))
        return _Runs(keys, followers), run
