"""What the data of a next-event run was: counts, parts, lengths, gaps, the commonest items. Plain data for `data.json`.

Says aloud what a reader cannot see: events beyond `max_length`, repeats, items that training never saw, equal times.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from habitus.data.histories import cover
from habitus.fields.category import MISSING, N_RESERVED
from habitus.fields.schema import field_to_json
from habitus.model import NextEventModel
from habitus.next_prepared import PreparedNext, repeat_share, training_counts, training_gaps
from habitus.tasks.ranking import Questions

_COMMONEST = 15
_BINS = 20
_DAY_S = 86_400
_SHORTEST_S = 0.5  # gaps below it are shown as simultaneous
_GAP_BINS = 30


def describe_next(model: NextEventModel, prepared: PreparedNext) -> dict[str, Any]:
    """Return the description of a run's data.

    Args:
        model: fitted on `prepared`.
        prepared: histories and parts.
    """
    histories, log = prepared.histories, prepared.log
    counts = training_counts(prepared)
    return {
        "task": "next-event",
        "source": log.source,
        "item": prepared.item,
        "events": len(histories.time_us),
        "entities": len(histories),
        "items": len(model.vocabulary_.values),
        "time_range": _time_range(histories.time_us),
        "fields": _fields(prepared),
        "split": {
            "by": model.split.by,
            "seed": model.split.seed,
            "sentence": model.split.sentence(),
            "cut": None if prepared.parts.cut_us is None else _moment(prepared.parts.cut_us),
            "parts": _parts(prepared),
        },
        "lengths": _lengths(prepared),
        "gaps": _gaps(training_gaps(prepared)),
        "repeat_share": float(repeat_share(prepared)),
        "commonest": _commonest(model, counts),
        "rejects": {"n": log.rejects.total, "by_reason": dict(log.rejects.counts)},
        "notes": list(log.notes),
        "fingerprint": prepared.fingerprint(),
        "padding_waste": model.result_.padding_waste,
    }


def _time_range(time_us: np.ndarray) -> list[str | None]:
    return [_moment(int(time_us.min())), _moment(int(time_us.max()))] if len(time_us) else [None, None]


def _moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat()


def _fields(prepared: PreparedNext) -> list[dict[str, Any]]:
    described = []
    for name, fitted in prepared.encoder.fields.items():
        ids, numbers = prepared.histories.ids.get(name), prepared.histories.numbers.get(name)
        is_missing = ids == MISSING if ids is not None else numbers[:, 1] > 0  # type: ignore[index]
        described.append(
            {
                "name": name,
                "kind": field_to_json(fitted.spec)["kind"],
                "n_values": fitted.size - N_RESERVED if ids is not None else None,
                "missing": float(np.mean(is_missing)) if len(is_missing) else 0.0,
            }
        )
    return described


def _parts(prepared: PreparedNext) -> dict[str, Any]:
    """Say what trains, chooses and judges: targets, windows, whose, and how many items training never saw."""
    begin, stop = prepared.begin, prepared.parts.train_stop
    n_targets = np.maximum(stop - begin - 1, 0)
    windows = cover(begin, stop, prepared.max_length)
    train = {
        "targets": int(n_targets.sum()),
        "entities": int((n_targets > 0).sum()),
        "events": int((stop - begin).sum()),
        "windows": len(windows),
    }
    asked = {"validation": prepared.validation(), **{f"test: {name}": one for name, one in prepared.test().items()}}
    return {"train": train, **{name: _asked(questions) for name, questions in asked.items()}}


def _asked(questions: Questions) -> dict[str, int]:
    assert questions.target is not None, "these questions have answers"
    return {
        "targets": len(questions),
        "entities": len(np.unique(questions.entity)),
        "unknown_items": int((questions.target < N_RESERVED).sum()),
    }


def _lengths(prepared: PreparedNext) -> dict[str, Any]:
    n_events = prepared.histories.lengths
    longest = max(1, int(n_events.max(initial=0)))
    edges = np.unique(np.geomspace(1, longest + 1, _BINS + 1).round().astype(int))
    counts, edges = np.histogram(n_events, bins=edges if len(edges) > 1 else [0, 1, 2])
    beyond = np.maximum(n_events - prepared.max_length, 0)
    return {
        "mean": float(n_events.mean()),
        "median": float(np.median(n_events)),
        "max": longest,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "max_length": prepared.max_length,
        "n_events_unread": int(beyond.sum()),  # by an answer at the end of each history; training reads them all
        "n_entities_cut": int((beyond > 0).sum()),
    }


def _gaps(days: np.ndarray) -> dict[str, Any]:
    """Return the time between neighbouring training events, in seconds on a logarithmic scale."""
    if not len(days):
        return {}
    seconds = np.maximum(days * _DAY_S, _SHORTEST_S)
    edges = np.geomspace(_SHORTEST_S, max(float(seconds.max()) * 1.01, 2 * _SHORTEST_S), _GAP_BINS + 1)
    counts, _ = np.histogram(seconds, bins=edges)
    return {
        "n": len(days),
        "median_days": float(np.median(days)),
        "equal_share": float((days == 0).mean()),
        "histogram": {"edges_s": edges.tolist(), "counts": counts.tolist()},
    }


def _commonest(model: NextEventModel, counts: np.ndarray) -> list[dict[str, Any]]:
    total = max(int(counts[N_RESERVED:].sum()), 1)
    ids = np.argsort(-counts[N_RESERVED:], kind="stable")[:_COMMONEST] + N_RESERVED
    values = model.vocabulary_.decode(ids)
    return [
        {"value": value, "count": int(counts[code]), "share": int(counts[code]) / total}
        for code, value in zip(ids, values, strict=True)
        if counts[code]
    ]
