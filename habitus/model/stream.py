"""A stream: users' states that fold in one event at a time, with the same answers as reading the histories again.

    push(user, event) -> one step of the backbone on the user's state (a GRU state, or keys and values of a Transformer)

A state answers exactly as the model does on the user's whole history, up to `max_length` events. When it is full, its
oldest quarter is dropped and the rest is read again, so that from then on it answers as the model does on the events
that it keeps (`n_kept`). Nothing is shared between users. States are saved beside the hash of their model.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from safetensors.numpy import load, save

from habitus.bundle import read_bundle, write_bundle
from habitus.data.clock import DAY_US
from habitus.data.text.in_events import EventText
from habitus.errors import ConfigError, DataError, HabitusError
from habitus.fields.category import MISSING, UNKNOWN, Vocabulary, as_category_strings
from habitus.metrics.rank import top_k
from habitus.model.folded import Folded, pack, unpack
from habitus.tasks.next_event import NextEventNetwork

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_DROPPED = 4  # a full state drops one part in four


class EventStream:
    """States of users that grow event by event; made by `NextEventModel.stream`.

    Args:
        model: a fitted model.
    """

    def __init__(self, model: NextEventModel) -> None:
        if model.task.query_time == 1:
            raise ConfigError("This model must be told when the next event happens, which a stream does not know.")
        self.model = model
        self._network: NextEventNetwork = model.network_.eval()
        self._max_length = model.data.max_length
        self._users: dict[Hashable, Folded] = {}
        self._coders = {name: _coder(fitted) for name, fitted in model.encoder_.fields.items()}
        self._item_place = list(self._coders).index(model.task.item)

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, user: Hashable) -> bool:
        return user in self._users

    def n_kept(self, user: Hashable) -> int:
        """Return how many events the user's state has read."""
        return len(self._known(user).events)

    def push(self, user: Hashable, event: Mapping[str, Any]) -> None:
        """Fold one event into a user's state; a new user starts with it.

        Args:
            user: the entity.
            event: the timestamp (a datetime with a zone) and the fields by their names in the log; a field that is
                not there is missing.

        Raises:
            DataError: if the time is missing, has no zone, or lies before the user's last event.
        """
        time_us = self._time_us(user, event)
        encoded = tuple(_coded(name, code, event.get(name)) for name, code in self._coders.items())
        folded = self._users.get(user)
        if folded is None:
            folded = self._users[user] = self._empty()
        gap = (time_us - folded.events[-1][0]) / DAY_US if folded.events else 0.0
        if len(folded.events) >= self._max_length:
            folded = self._users[user] = self._shortened(folded)
        self._fold(folded, time_us, encoded, gap)

    def recommend(self, user: Hashable, k: int = 10, *, filter_seen: bool | None = None) -> pl.DataFrame:
        """Return the k likeliest next items of a user: item, score, rank."""
        folded = self._known(user)
        scores = self.scores(user)[None]
        filters = self.model.filter_seen_ if filter_seen is None else filter_seen
        seen = np.fromiter(folded.seen, np.int64, len(folded.seen))
        ids, best = top_k(scores, k, (np.zeros(len(seen), np.int64), seen) if filters else None)
        frame = pl.DataFrame(
            [self.model.item_column(ids[0]), pl.Series("score", best[0]), pl.Series("rank", np.arange(1, k + 1))]
        )
        return frame.filter(pl.col("score").is_finite())

    @torch.no_grad()
    def scores(self, user: Hashable) -> np.ndarray:
        """Return the score of every id as the user's next item, float32 (V,)."""
        scores: np.ndarray = self._network.item_scores(self._known(user).answer)[0].numpy()
        return scores

    def state(self, user: Hashable) -> np.ndarray:
        """Return the state after the user's last event, float32 (D,): what `NextEventModel.embed` gives."""
        state: np.ndarray = self._known(user).answer[0].numpy()
        return state

    def forget(self, user: Hashable) -> None:
        """Drop a user's state."""
        self._users.pop(user, None)

    def dump(self, user: Hashable) -> bytes:
        """Return one user's state as bytes (safetensors and JSON), for a store of one's own; `take` reads them."""
        tensors, document = pack({str(user): self._known(user)}, list(self._coders))
        return save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {"s": json.dumps(document)})

    def take(self, user: Hashable, data: bytes) -> None:
        """Put the state that `dump` gave of the same model in place of the user's own, if there is one."""
        length = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["s"])
        (folded,) = unpack(load(data), document, list(self._coders)).values()
        self._users[user] = folded

    # -- saving

    def save(self, path: str | Path) -> str:
        """Write all states as a folder of tensors and JSON with checksums; returns its hash.

        Raises:
            HabitusError: if the model has not been saved, or was trained again, so that the states could not name it.
        """
        if self.model.hash_ is None:
            raise HabitusError("Save the model first: a stream's states belong to one saved model, and name its hash.")
        if self.model.network_ is not self._network:
            raise HabitusError("The model was trained again after this stream began; make a new one and push again.")
        tensors, document = pack(self._users, list(self._coders))
        return write_bundle(path, tensors=tensors, documents={"stream": {"model": self.model.hash_, **document}})

    def restore(self, path: str | Path) -> EventStream:
        """Take the states that `save` wrote in place of the present ones; returns self.

        Raises:
            HabitusError: if they belong to another model.
        """
        bundle = read_bundle(path)
        document = bundle.documents.get("stream")
        if document is None:
            raise HabitusError(f"'{path}' holds no stream; give a folder that `EventStream.save` wrote.")
        if document["model"] != self.model.hash_:
            raise HabitusError(
                f"The states in '{path}' belong to the model {document['model'][:12]}, not to this one "
                f"({str(self.model.hash_)[:12]}); restore them with their own, or read the histories again."
            )
        self._users = unpack(bundle.tensors, document, list(self._coders))
        return self

    # -- inside

    def _empty(self) -> Folded:
        return Folded(self._network.backbone.start(), torch.empty(0))

    def _known(self, user: Hashable) -> Folded:
        if user not in self._users:
            raise DataError(f"The stream has no event of user {user!r} yet; push one first.")
        return self._users[user]

    def _time_us(self, user: Hashable, event: Mapping[str, Any]) -> int:
        name = self.model.encoder_.schema.time
        moment = event.get(name)
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise DataError(f"The event's '{name}' is {moment!r}; give a datetime with a time zone, such as UTC.")
        time_us = round(moment.timestamp() * 1e6)
        folded = self._users.get(user)
        if folded is not None and folded.events and time_us < folded.events[-1][0]:
            raise DataError(
                f"The event of user {user!r} at {moment.isoformat()} lies before the last one that was folded in; "
                "events must come in time order. To correct the past, forget the user and push the history again."
            )
        return time_us

    @torch.no_grad()
    def _fold(self, folded: Folded, time_us: int, encoded: tuple[Any, ...], gap_days: float) -> None:
        folded.events.append((time_us, encoded))
        folded.gaps.append(gap_days)
        fields = dict(zip(self._coders, encoded, strict=True))
        vector_BD = self._network.step_vector(fields, gap_days, time_us)
        days_B = torch.from_numpy(np.array([time_us / DAY_US]))
        folded.answer, folded.state = self._network.backbone.step(vector_BD, days_B, folded.state)
        folded.seen.add(int(encoded[self._item_place]))

    def _shortened(self, folded: Folded) -> Folded:
        """Return the state of the later part of a user's events; what was seen stays known."""
        n_dropped = max(1, self._max_length // _DROPPED)
        fresh = self._empty()
        for (time_us, encoded), gap in zip(folded.events[n_dropped:], folded.gaps[n_dropped:], strict=True):
            self._fold(fresh, time_us, encoded, gap)
        fresh.seen |= folded.seen
        return fresh


def _coder(fitted: Any) -> Any:
    """Return a function from one value to what the network reads: an id, or a value with its missing flag."""
    if isinstance(fitted, EventText):
        return lambda value: tuple(fitted.encode(pl.Series([value], dtype=pl.String))[0].tolist())
    if isinstance(fitted, Vocabulary) and not fitted.spec.hash_buckets:
        place = {value: number for number, value in enumerate(fitted.values, start=3)}

        def look_up(value: Any) -> int:
            if value is None:
                return MISSING
            text = value if isinstance(value, str) else as_category_strings(pl.Series([value]))[0]
            return MISSING if text is None else place.get(text, UNKNOWN)  # NaN is no text

        return look_up

    def encode(value: Any) -> Any:
        found = fitted.encode(pl.Series([value]))[0]
        return tuple(float(part) for part in found) if np.ndim(found) else int(found)

    return encode


def _coded(name: str, code: Any, value: Any) -> Any:
    try:
        return code(value)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DataError(f"The event's '{name}' is {value!r}, which the model cannot read: {error}.") from error
