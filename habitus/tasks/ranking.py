"""Asking a next-event network: rank the whole catalogue for many questions, in batches by length.

Scores of a chunk of questions are one matrix product with the item table and are gone before the next chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from habitus.data.histories import Histories, Windows
from habitus.data.loader import length_batches
from habitus.data.next_batch import HistoryTensors
from habitus.data.slices import positions, row_numbers
from habitus.metrics.rank import target_ranks, top_k
from habitus.tasks.next_event import NextEventNetwork

_BATCH_TOKENS = 16_384
_SCORES_AT_ONCE = 4_000_000  # 16 MB of float32


@dataclass(frozen=True)
class Questions:
    """What comes at these positions?

    Args:
        windows: what may be read; the event asked for stands at `windows.stop`.
        begin: int64 (q,), where the whole history begins, for taking out items that were seen.
        target: int64 (q,), ids of the true answers, or None.
        at_us: int64 (q,), when the event asked for happens, or None where that is not told.
        entity: int64 (q,), whose question it is.
    """

    windows: Windows
    begin: np.ndarray
    entity: np.ndarray
    target: np.ndarray | None = None
    at_us: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, rows: np.ndarray) -> Questions:
        """Return some of the questions."""
        return Questions(
            self.windows.take(rows),
            self.begin[rows],
            self.entity[rows],
            None if self.target is None else self.target[rows],
            None if self.at_us is None else self.at_us[rows],
        )

    def first(self, n: int) -> Questions:
        """Return at most n of them, spread evenly over all."""
        if len(self) <= n:
            return self
        return self.take(np.linspace(0, len(self) - 1, n).astype(np.int64))

    def untold(self) -> Questions:
        """Return the questions without their times."""
        return replace(self, at_us=None)


def seen_items(histories: Histories, item: str, begin: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, ids): every item in each history begin:stop.

    >>> histories = Histories(np.array([0, 2]), {"item_id": np.array([3, 4], np.int32)}, {}, np.arange(2))
    >>> [found.tolist() for found in seen_items(histories, "item_id", np.array([0, 0]), np.array([1, 2]))]
    [[0, 1, 1], [3, 3, 4]]
    """
    return row_numbers(begin, stop), histories.ids[item][positions(begin, stop)].astype(np.int64)


@torch.no_grad()
def answer_states(network: NextEventNetwork, tensors: HistoryTensors, questions: Questions) -> Tensor:
    """Return the state that answers each question, float32 (q, D), in the order of the questions."""
    network.eval()
    device = network.item_table.device  # an accelerator while training judges an epoch
    states = torch.empty(len(questions), network.item_table.shape[1], device=device)
    for rows in length_batches(questions.windows.lengths, batch_tokens=_BATCH_TOKENS, batch_rows=1024):
        asked = questions.take(rows)
        batch = tensors.question(asked.windows, asked.at_us).to(device)
        states[torch.from_numpy(rows).to(device)] = network.answer_states(batch).float()
    return states


@torch.no_grad()
def scored(network: NextEventNetwork, states: Tensor) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, scores (r, V)) of answer states, a few million scores at a time."""
    step = max(1, _SCORES_AT_ONCE // len(network.item_table))
    for first in range(0, len(states), step):
        rows = slice(first, min(first + step, len(states)))
        yield rows, network.item_scores(states[rows]).cpu().numpy()


def rank_targets(
    network: NextEventNetwork, tensors: HistoryTensors, questions: Questions, *, filter_seen: bool
) -> np.ndarray:
    """Return the rank of each true answer among the whole catalogue, from 1, (q,)."""
    assert questions.target is not None, "these questions have no answers"
    ranks = np.empty(len(questions), dtype=np.int64)
    for rows, scores in scored(network, answer_states(network, tensors, questions)):
        excluded = _seen(network, tensors, questions, rows) if filter_seen else None
        ranks[rows] = target_ranks(scores, questions.target[rows], excluded)
    return ranks


def top_items(
    network: NextEventNetwork,
    tensors: HistoryTensors,
    questions: Questions,
    k: int,
    *,
    filter_seen: bool,
    candidates: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the k best items of each question, (q, k) each; `candidates` are the ids allowed."""
    found = []
    for rows, scores in scored(network, answer_states(network, tensors, questions)):
        if candidates is not None:
            allowed = np.full_like(scores, -np.inf)
            allowed[:, candidates] = scores[:, candidates]
            scores = allowed
        excluded = _seen(network, tensors, questions, rows) if filter_seen else None
        found.append(top_k(scores, k, excluded))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def _seen(
    network: NextEventNetwork, tensors: HistoryTensors, questions: Questions, rows: slice
) -> tuple[np.ndarray, np.ndarray]:
    begin, stop = questions.begin[rows], questions.windows.stop[rows]
    return seen_items(tensors.histories, network.task.item, begin, stop)
