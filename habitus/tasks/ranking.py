"""Asking a next-event network: rank the whole catalogue for many questions, in batches by length.

Scores of a chunk of questions are one matrix product with the item table and are gone before the next chunk. On the
CPU each thread has a batch, or a chunk, of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from habitus.data.histories import Histories, Windows
from habitus.data.loader import length_batches
from habitus.data.next_batch import HistoryTensors
from habitus.data.slices import positions, row_numbers
from habitus.metrics.rank import target_ranks, top_k
from habitus.tasks.next_event import NextEventNetwork
from habitus.tasks.side_by_side import side_by_side

_BATCH_TOKENS = 4096  # of a thread: 1 MB at a width of 64, which its own cache holds
_BATCH_TOKENS_ELSEWHERE = 16_384
_SCORES_AT_ONCE = 1_000_000  # 4 MB of float32

Part = TypeVar("Part")
Result = TypeVar("Result")


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

    def answer(rows: np.ndarray) -> None:
        asked = questions.take(rows)
        batch = tensors.question(asked.windows, asked.at_us).to(device)
        states[torch.from_numpy(rows).to(device)] = network.answer_states(batch).float()

    tokens = _BATCH_TOKENS if device.type == "cpu" else _BATCH_TOKENS_ELSEWHERE
    _each(answer, length_batches(questions.windows.lengths, batch_tokens=tokens, batch_rows=1024), device)
    return states


def rank_targets(
    network: NextEventNetwork,
    tensors: HistoryTensors,
    questions: Questions,
    *,
    filter_seen: bool,
    states: Tensor | None = None,
) -> np.ndarray:
    """Return the rank of each true answer among the whole catalogue, from 1, (q,).

    Args:
        network: a trained network.
        tensors: the histories.
        questions: with their answers.
        filter_seen: leave items of the user's past out of the ranking.
        states: what `answer_states` gives, where it is known already.
    """
    assert questions.target is not None, "these questions have no answers"
    target = questions.target

    def rank(rows: slice, scores: np.ndarray) -> np.ndarray:
        excluded = _seen(network, tensors, questions, rows) if filter_seen else None
        return target_ranks(scores, target[rows], excluded)

    states = answer_states(network, tensors, questions) if states is None else states
    return np.concatenate([np.empty(0, np.int64), *_of_scores(network, states, rank)])


def top_items(
    network: NextEventNetwork,
    tensors: HistoryTensors,
    questions: Questions,
    k: int,
    *,
    filter_seen: bool,
    candidates: np.ndarray | None = None,
    states: Tensor | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the k best items of each question, (q, k) each.

    Args:
        network, tensors, questions, filter_seen, states: as for `rank_targets`.
        k: items a question.
        candidates: the ids allowed; None allows all.
    """

    def list_best(rows: slice, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if candidates is not None:
            allowed = np.full_like(scores, -np.inf)
            allowed[:, candidates] = scores[:, candidates]
            scores = allowed
        excluded = _seen(network, tensors, questions, rows) if filter_seen else None
        return top_k(scores, k, excluded)

    states = answer_states(network, tensors, questions) if states is None else states
    found = [(np.empty((0, k), np.int64), np.empty((0, k), np.float32)), *_of_scores(network, states, list_best)]
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def _of_scores(network: NextEventNetwork, states: Tensor, work: Callable[[slice, np.ndarray], Result]) -> list[Result]:
    """Return what `work` makes of rows and their scores (r, V), a million scores at a time."""
    step = max(1, _SCORES_AT_ONCE // len(network.item_table))
    rows = [slice(first, min(first + step, len(states))) for first in range(0, len(states), step)]
    return _each(lambda at: work(at, network.item_scores(states[at]).cpu().numpy()), rows, states.device)


def _each(work: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> list[Result]:
    """Return what `work` makes of each part: side by side on the CPU, and one after the other elsewhere."""
    if device.type == "cpu":
        return side_by_side(work, parts)
    with torch.no_grad():
        return [work(part) for part in parts]


def _seen(
    network: NextEventNetwork, tensors: HistoryTensors, questions: Questions, rows: slice
) -> tuple[np.ndarray, np.ndarray]:
    begin, stop = questions.begin[rows], questions.windows.stop[rows]
    return seen_items(tensors.histories, network.task.item, begin, stop)
