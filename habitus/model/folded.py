"""What a stream keeps of each user, and all users as a few flat tensors, to be saved and restored.

Histories stand one after the other with their lengths beside them, so that a bundle of many users has as few tensors
as one of a single user. Knows nothing about models or files.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from habitus.backbones.stream import StreamState

_STATE, _FIELD = "state/", "field/"


@dataclass
class Folded:
    """One user.

    Args:
        state: of the backbone, after the events.
        answer: (1, D), the network's state after the last event.
        events: time and encoded fields of what the state has read.
        gaps: days before each of them.
        seen: ids of all items so far, also of events that were dropped.
    """

    state: StreamState
    answer: Tensor
    events: list[tuple[int, tuple[Any, ...]]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def pack(users: Mapping[Hashable, Folded], names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return all users as tensors and a document; `names` are those of the encoded fields."""
    folded = list(users.values())
    states = [one.state.tensors() for one in folded]
    events = [event for one in folded for event in one.events]
    seen = [sorted(one.seen) for one in folded]
    tensors = {
        "answer": torch.cat([one.answer for one in folded]).numpy() if folded else np.zeros((0, 0), np.float32),
        "time_us": np.array([time_us for time_us, _ in events], dtype=np.int64),
        "gap_days": np.array([gap for one in folded for gap in one.gaps], dtype=np.float64),
        "seen": np.array([item for items in seen for item in items], dtype=np.int64),
    }
    tensors |= {f"{_FIELD}{name}": np.array([fields[i] for _, fields in events]) for i, name in enumerate(names)}
    kinds = list(states[0]) if states else []
    tensors |= {f"{_STATE}{kind}": torch.cat([state[kind].flatten() for state in states]).numpy() for kind in kinds}
    document = {
        "users": list(users),
        "n_events": [len(one.events) for one in folded],
        "n_seen": [len(items) for items in seen],
        "shapes": {kind: [list(state[kind].shape) for state in states] for kind in kinds},
    }
    return tensors, document


def unpack(tensors: Mapping[str, np.ndarray], document: Mapping[str, Any], names: Sequence[str]) -> dict[Any, Folded]:
    """Return the users that `pack` was given."""
    shapes = document["shapes"]
    states = {kind: _parts(tensors[_STATE + kind], [math.prod(shape) for shape in shapes[kind]]) for kind in shapes}
    n_events = document["n_events"]
    times, gaps = (_parts(tensors[name], n_events) for name in ("time_us", "gap_days"))
    fields = [_parts(tensors[_FIELD + name], n_events) for name in names]
    seen = _parts(tensors["seen"], document["n_seen"])
    users = {}
    for i, user in enumerate(document["users"]):
        own = {kind: torch.from_numpy(states[kind][i].reshape(shapes[kind][i])) for kind in shapes}
        rows = zip(*(map(_plain, field[i].tolist()) for field in fields), strict=True)
        users[user] = Folded(
            StreamState.from_tensors(own),
            torch.from_numpy(tensors["answer"][i : i + 1].copy()),
            list(zip(times[i].tolist(), rows, strict=True)),
            gaps[i].tolist(),
            set(seen[i].tolist()),
        )
    return users


def _parts(values: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """Cut flat values into parts of the given lengths."""
    bounds = np.cumsum([0, *lengths]).tolist()
    return [values[begin:end].copy() for begin, end in itertools.pairwise(bounds)]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
