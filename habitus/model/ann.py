"""An index over the items for catalogues of millions, where even one matrix product a user is too much.

The score of an item is the inner product of the user's state, with a 1 behind it, and the item's embedding, with its
bias behind it, so that a search for the largest inner product is a search for the best items. The search is
approximate (HNSW: Malkov & Yashunin 2018, arXiv:1603.09320); `recall` says what it misses. Needs the extra `ann`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from habitus.errors import ConfigError, require
from habitus.fields.category import N_RESERVED
from habitus.metrics.rank import top_k

if TYPE_CHECKING:
    from habitus.tasks.next_event import NextEventNetwork


@dataclass(frozen=True)
class Search:
    """How thoroughly the index is built and searched.

    Args:
        links: neighbours of an item in the graph; more find better and take more memory.
        build_width: candidates looked at when an item is put in.
        search_width: candidates looked at for a user; more find better and take longer.

    >>> Search(search_width=128).links
    32
    """

    links: int = 32
    build_width: int = 200
    search_width: int = 256

    def __post_init__(self) -> None:
        for name in ("links", "build_width", "search_width"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name}={getattr(self, name)} is too few; use 2 or more.")


class ItemIndex:
    """Find the best items of states without scoring all of them; made by `NextEventModel.index`.

    Args:
        network: whose items are indexed.
        search: how thoroughly.
    """

    def __init__(self, network: NextEventNetwork, search: Search | None = None) -> None:
        faiss = require("faiss", "ann")
        self.search = search or Search()
        self._network = network
        with torch.no_grad():
            items = torch.cat([network.item_table, network.item_bias[:, None]], dim=1)[N_RESERVED:]
        self._index: Any = faiss.IndexHNSWFlat(items.shape[1], self.search.links, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = self.search.build_width
        self._index.add(np.ascontiguousarray(items.numpy()))
        self._index.hnsw.efSearch = self.search.search_width

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def top(self, states: torch.Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and scores of about the n best items of each state, (q, n), the best first; id 0 where none."""
        n = min(n, len(self))
        self._index.hnsw.efSearch = max(self.search.search_width, n)
        queries = torch.cat([states, torch.ones(len(states), 1)], dim=1).numpy()
        scores, places = self._index.search(np.ascontiguousarray(queries), n)
        return np.where(places < 0, 0, places + N_RESERVED), np.where(places < 0, -np.inf, scores)

    def recall(self, states: torch.Tensor, k: int = 10) -> float:
        """Return the share of the true k best items that the search finds, over all states."""
        found = self.top(states, k)[0]
        hits = 0
        for first in range(0, len(states), 256):
            rows = slice(first, first + 256)
            with torch.no_grad():
                best = top_k(self._network.item_scores(states[rows]).numpy(), k)[0]
            hits += int((best[:, :, None] == found[rows][:, None, :]).any(2).sum())
        return hits / max(1, len(states) * min(k, len(self)))


def without_seen(
    ids: np.ndarray, scores: np.ndarray, seen: tuple[np.ndarray, np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take seen pairs (rows, ids) out of lists (q, n) and keep the first k of what is left.

    >>> lists, scores = np.array([[5, 4, 3]]), np.array([[0.9, 0.5, 0.1]])
    >>> without_seen(lists, scores, (np.array([0]), np.array([5])), k=2)[0].tolist()
    [[4, 3]]
    """
    size = int(max(ids.max(initial=0), seen[1].max(initial=0))) + 1
    rows = np.arange(len(ids))[:, None]
    taken = np.isin(rows * size + ids, seen[0] * size + seen[1])
    scores = np.where(taken, -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(np.isneginf(best), 0, np.take_along_axis(ids, order, axis=1)), best
