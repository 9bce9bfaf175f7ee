"""A few users' last events, and what the model recommended before it saw the next one: plain data for the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from habitus.data.next_batch import HistoryTensors
from habitus.evaluate.next_ranks import model_ranks
from habitus.fields.category import N_RESERVED
from habitus.metrics.rank import MISS
from habitus.model import NextEventModel
from habitus.model.judging import asked
from habitus.next_prepared import PreparedNext
from habitus.tasks.ranking import top_items

_USERS, _EVENTS, _LIST = 4, 8, 10
_NOT_KNOWN = "(an item that training never saw)"


def timelines(model: NextEventModel, prepared: PreparedNext) -> list[dict[str, Any]]:
    """Return examples of questions of the test part, spread evenly over it: not chosen for their answers.

    Args:
        model: fitted on `prepared`.
        prepared: with a test part.

    Returns:
        For each user: `entity`, the last `events` ({time, item}), `n_before` (events before those), the true `next`
        event, the `recommended` items with scores, and the `rank` of the true one (None: it could not be ranked).
    """
    questions = next(iter(prepared.test().values())).first(_USERS)
    ids, scores = top_items(
        model.network_,
        HistoryTensors(prepared.histories),
        asked(model, questions),
        _LIST,
        filter_seen=model.filter_seen_,
    )
    ranks = model_ranks(model, prepared, questions)
    found = []
    for row in range(len(questions)):
        stop, begin = int(questions.windows.stop[row]), int(questions.begin[row])
        first = max(begin, stop - _EVENTS)
        listed = [k for k in range(_LIST) if ids[row, k] >= N_RESERVED]
        found.append(
            {
                "entity": str(prepared.entities[int(questions.entity[row])]),
                "n_before": first - begin,
                "events": [_event(model, prepared, position) for position in range(first, stop)],
                "next": _event(model, prepared, stop),
                "recommended": [{"item": _item(model, ids[row, k]), "score": float(scores[row, k])} for k in listed],
                "rank": None if ranks[row] == MISS else int(ranks[row]),
            }
        )
    return found


def _event(model: NextEventModel, prepared: PreparedNext, position: int) -> dict[str, Any]:
    histories = prepared.histories
    moment = datetime.fromtimestamp(int(histories.time_us[position]) / 1e6, UTC)
    return {"time": moment.isoformat(), "item": _item(model, histories.ids[prepared.item][position])}


def _item(model: NextEventModel, code: np.integer[Any]) -> str:
    return model.vocabulary_.decode(np.array([code]))[0] or _NOT_KNOWN
