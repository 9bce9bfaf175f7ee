"""Answers of a next-event model as tables: the likeliest event of each entity, and lists of recommendations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from habitus.data.histories import Histories
from habitus.data.next_batch import HistoryTensors
from habitus.errors import ConfigError, DataError
from habitus.fields.category import N_RESERVED, Vocabulary
from habitus.metrics.rank import top_k
from habitus.model.ann import ItemIndex, without_seen
from habitus.next_prepared import questions_at_end
from habitus.tasks.ranking import Questions, answer_states, seen_items, top_items

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_MOST_EXTRA = 2_000  # items beyond k that an index is asked for, so that k are left without those that were seen


def questions_of(model: NextEventModel, histories: Histories, at: Any | None) -> Questions:
    """Return what is asked of each history: the event after its end, at a moment if one is given."""
    return questions_at_end(histories, model.data.max_length, _told_at(model, at, histories))


@torch.no_grad()
def answer_columns(model: NextEventModel, states: Tensor) -> list[pl.Series]:
    """Return the likeliest item with its probability, the median time, and the other fields of states (n, D)."""
    likeliest, probability = [], []
    network = model.network_
    for chunk in states.split(max(1, 4_000_000 // len(network.item_table))):
        best = network.item_scores(chunk)[:, N_RESERVED:].softmax(-1).max(-1)
        likeliest.append(best.indices + N_RESERVED)
        probability.append(best.values)
    columns = [
        model.item_column(torch.cat(likeliest).numpy(), "prediction"),
        pl.Series("probability", torch.cat(probability).double().numpy()),
    ]
    if network.when is not None:
        columns.append(pl.Series("days", network.when.median(states).double().numpy()))
    return columns + [_field_column(model, name, states) for name in model.task.also]


def recommend(
    model: NextEventModel,
    entities: pl.Series,
    histories: Histories,
    k: int,
    *,
    filter_seen: bool,
    candidates: Iterable[Any] | None,
    at: Any | None,
    index: ItemIndex | None,
) -> pl.DataFrame:
    """Return the k likeliest next items of each history; see `NextEventModel.recommend`."""
    questions, tensors = questions_of(model, histories, at), HistoryTensors(histories)
    if index is not None:
        if candidates is not None:
            raise ConfigError("An index holds the whole catalogue; give candidates or an index, not both.")
        states = answer_states(model.network_, tensors, questions)
        ids, scores = _top_by_index(model, index, states, tensors, questions, k, filter_seen=filter_seen)
    else:
        allowed = None if candidates is None else _candidate_ids(model, candidates)
        ids, scores = top_items(model.network_, tensors, questions, k, filter_seen=filter_seen, candidates=allowed)
    return _ranked_frame(model, entities, ids, scores)


def _top_by_index(
    model: NextEventModel,
    index: ItemIndex,
    states: Tensor,
    tensors: HistoryTensors,
    questions: Questions,
    k: int,
    *,
    filter_seen: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Search for k items and as many more as the longest history may take away; who is left short is scored exactly."""
    if not filter_seen:
        return index.top(states, k)
    seen = seen_items(tensors.histories, model.task.item, questions.begin, questions.windows.stop)
    longest = int(np.bincount(seen[0], minlength=1).max()) if len(seen[0]) else 0
    ids, scores = without_seen(*index.top(states, k + min(longest, _MOST_EXTRA)), seen, k)
    short = np.flatnonzero((ids == 0).any(1))
    for row in short:
        with torch.no_grad():
            exact = model.network_.item_scores(states[row : row + 1]).numpy()
        own = seen[1][seen[0] == row]
        (ids[row],), (scores[row],) = top_k(exact, k, (np.zeros(len(own), np.int64), own))
    return ids, scores


def _told_at(model: NextEventModel, at: Any | None, histories: Histories) -> int | None:
    if at is None:
        if model.task.query_time == 1:
            raise ConfigError("This model was always told when the next event happens; give at=.")
        return None
    if not model.task.query_time:
        raise ConfigError("This model was never told the query time; fit it with query_time above 0 to give at=.")
    if getattr(at, "tzinfo", None) is None:
        raise DataError(f"at={at!r} has no time zone; give a datetime with one, such as UTC.")
    at_us = round(at.timestamp() * 1e6)
    n_later = int((histories.time_us[histories.offsets[1:] - 1] > at_us).sum())
    if n_later:
        raise DataError(
            f"at={at} lies before the last event of {n_later:,} of {len(histories):,} entities; "
            "leave their later events out of the log, so that none of them is read."
        )
    return at_us


def _field_column(model: NextEventModel, name: str, states: Tensor) -> pl.Series:
    fitted, answer = model.encoder_.fields[name], model.network_.field_answer(name, states)
    if isinstance(fitted, Vocabulary):
        ids = answer[:, N_RESERVED:].argmax(-1).numpy() + N_RESERVED
        return pl.Series(f"prediction_{name}", fitted.decode(ids), dtype=pl.String)
    return pl.Series(f"prediction_{name}", fitted.decode(answer[:, 0].double().numpy()))


def _candidate_ids(model: NextEventModel, candidates: Iterable[Any]) -> np.ndarray:
    given = pl.Series([candidates] if isinstance(candidates, str) else list(candidates), strict=False)
    ids = np.unique(model.vocabulary_.encode(given))
    known = ids[ids >= N_RESERVED]
    if not len(known):
        raise DataError(f"None of the {len(given)} candidates is an item that the model knows; check their ids.")
    return known.astype(np.int64)


def _ranked_frame(model: NextEventModel, entities: pl.Series, ids: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    n, k = ids.shape
    frame = pl.DataFrame(
        [
            entities.gather(np.repeat(np.arange(n), k)),
            model.item_column(ids.ravel()),
            pl.Series("score", scores.ravel().astype(np.float64)),
            pl.Series("rank", np.tile(np.arange(1, k + 1), n)),
        ]
    )
    return frame.filter(pl.col(model.task.item).is_not_null())
