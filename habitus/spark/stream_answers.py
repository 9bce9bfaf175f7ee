"""What a model says after each event of a user: the answer of the row so far, or one more step of a folded state.

A labelled model reads its latest `max_length` events again at every event, as `predict` does just after that event.
A next-event model folds the event into the user's state and says how surprising it was and what comes next.
Knows nothing about Spark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from scipy.special import logsumexp

from habitus.data.sequence import EXAMPLE, N_EVENTS, WINDOW
from habitus.data.slices import offsets_of, positions
from habitus.errors import ConfigError, did_you_mean
from habitus.fields.category import N_RESERVED
from habitus.fields.number import Number
from habitus.model import LabelledModel, NextEventModel, SequenceModel
from habitus.spark.stream_state import Event, Kept

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JUST_AFTER_US = 1


@dataclass(frozen=True)
class Answer:
    """The answer after one event.

    Args:
        values: by the names in `Answers.columns`.
        score: what alerts look at; None where there is none.
        hit: whether the event counts for the rate of the alert rule's class.
    """

    values: dict[str, Any]
    score: float | None
    hit: bool


class Answers(Protocol):
    """A model that answers event by event."""

    @property
    def columns(self) -> dict[str, str]:
        """Names of the answers, and their types in Spark's words."""

    @property
    def n_recent(self) -> int:
        """How many events it wants to read again."""

    def fold(self, kept: Kept, state: bytes | None, events: Sequence[Event]) -> tuple[list[Answer], bytes | None]:
        """Return an answer for each of a user's next events, and the state after them; changes nothing."""


def answers_of(model: SequenceModel, *, alert_class: str | None, hit_at: float | None, k: int = 10) -> Answers:
    """Return how a model answers in a stream.

    Args:
        model: fitted.
        alert_class: the class whose probability is the score; None takes the positive one of two.
        hit_at: for a model without classes, the score from which an event counts for the rate.
        k: items that a next-event model recommends.

    Raises:
        ConfigError: if the task has no answer event by event.
    """
    if isinstance(model, NextEventModel):
        return _NextAnswers(model, hit_at, k)
    if isinstance(model, LabelledModel) and model.data.history == "latest" and model.data.text is None:
        return _LabelledAnswers(model, alert_class, hit_at)
    raise ConfigError(
        f"A model of the task '{model.task.name}' with such data cannot follow a stream; give one of classify or "
        "regress that reads events with history='latest' (windows read the whole history again), or next-event."
    )


class _LabelledAnswers:
    def __init__(self, model: LabelledModel, alert_class: str | None, hit_at: float | None) -> None:
        self._model, self._hit_at = model, hit_at
        self.n_recent = model.data.max_length
        shown = model.task.answer_columns(np.zeros((1, model.task.n_outputs)))
        self.columns = {column.name: _spark_type(column.dtype) for column in shown}
        self._score, self._class = _score_column(list(self.columns), model, alert_class)

    def fold(self, kept: Kept, state: bytes | None, events: Sequence[Event]) -> tuple[list[Answer], bytes | None]:
        frame = self._model.answer_rows(rows_so_far(self._model, kept, events))
        return [self._answer(row) for row in frame.iter_rows(named=True)], None

    def _answer(self, values: dict[str, Any]) -> Answer:
        score = float(values[self._score])
        if self._class is not None and "prediction" in values:
            return Answer(values, score, str(values["prediction"]) == self._class)
        hit_at = 0.5 if self._class is not None else self._hit_at
        return Answer(values, score, hit_at is not None and score >= hit_at)


def rows_so_far(model: LabelledModel, kept: Kept, events: Sequence[Event]) -> pa.Table:
    """Return a sequence row for each new event: the user's latest events up to it, with the cutoff just after it."""
    schema, n_old = model.encoder_.schema, len(kept.recent)
    rows = [*kept.recent, *([event.time_us, *event.values] for event in events)]
    stop = np.arange(n_old + 1, len(rows) + 1)
    start = np.maximum(0, stop - model.data.max_length)
    order, offsets = positions(start, stop), pa.array(offsets_of(stop - start).astype(np.int32))
    time, *fields = (list(column) for column in zip(*rows, strict=True))
    moment = pa.timestamp("us", "UTC")
    n = len(events)
    columns: dict[str, pa.Array] = {
        EXAMPLE: pa.array(np.arange(n)),
        WINDOW: pa.array(np.zeros(n, np.int32)),
        schema.cutoff: pa.array([event.time_us + _JUST_AFTER_US for event in events], pa.int64()).cast(moment),
        N_EVENTS: pa.array(np.arange(kept.n + 1, kept.n + n + 1)),
        schema.time: pa.ListArray.from_arrays(offsets, pa.array(time, pa.int64()).cast(moment).take(order)),
    }
    for (name, spec), values in zip(schema.fields.items(), fields, strict=True):
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values, _arrow_type(spec)).take(order))
    for name, spec in schema.profile.items():
        columns[name] = pa.nulls(n, _arrow_type(spec))
    return pa.table(columns)


class _NextAnswers:
    columns: ClassVar[dict[str, str]] = {"surprise": "double", "items": "array<string>", "scores": "array<double>"}
    n_recent = 0

    def __init__(self, model: NextEventModel, hit_at: float | None, k: int) -> None:
        self._stream, self._model, self._hit_at, self._k = model.stream(), model, hit_at, k
        self._names = list(model.encoder_.fields)

    def fold(self, kept: Kept, state: bytes | None, events: Sequence[Event]) -> tuple[list[Answer], bytes | None]:
        if state is not None:
            self._stream.take("", state)
        try:
            return [self._after(event) for event in events], self._stream.dump("")
        finally:
            self._stream.forget("")

    def _after(self, event: Event) -> Answer:
        values = dict(zip(self._names, event.values, strict=True))
        surprise = self._surprise(values[self._model.task.item]) if "" in self._stream else None
        moment = _EPOCH + timedelta(microseconds=event.time_us)
        self._stream.push("", {**values, self._model.encoder_.schema.time: moment})
        next_items = self._stream.recommend("", self._k)
        items = next_items.to_series(0).cast(pl.String).to_list()
        answer = {"surprise": surprise, "items": items, "scores": next_items["score"].cast(pl.Float64).to_list()}
        return Answer(answer, surprise, surprise is not None and self._hit_at is not None and surprise >= self._hit_at)

    def _surprise(self, item: Any) -> float | None:
        """Return -log of the share that the model gave, among all known items, to the one that came."""
        (item_id,) = self._model.vocabulary_.encode(pl.Series([item], dtype=pl.String))
        if item_id < N_RESERVED:
            return None
        scores = self._stream.scores("").astype(np.float64)
        known = scores[N_RESERVED:]
        found = float(logsumexp(known[np.isfinite(known)]) - scores[item_id])
        return found if math.isfinite(found) else None


def _score_column(names: list[str], model: LabelledModel, alert_class: str | None) -> tuple[str, str | None]:
    """Return the column that alerts look at, and its class."""
    classes = [str(one) for one in getattr(model.task, "classes_", ())]
    if not classes:
        if alert_class is not None:
            raise ConfigError(f"alert_class='{alert_class}': a model of the task '{model.task.name}' has no classes.")
        return names[0], None
    chosen = alert_class if alert_class is not None else classes[-1 if "probability" in names else 0]
    if chosen not in classes:
        raise ConfigError(f"There is no class '{chosen}'; {did_you_mean(chosen, classes)}")
    if "probability" not in names:
        return f"probability_{chosen}", chosen
    if chosen != classes[1]:
        raise ConfigError(f"Of two classes the score is the probability of '{classes[1]}'; leave alert_class out.")
    return "probability", chosen


def _spark_type(dtype: pl.DataType) -> str:
    if dtype.is_float():
        return "double"
    return "long" if dtype.is_integer() else "string"


def _arrow_type(spec: Any) -> pa.DataType:
    return pa.float64() if isinstance(spec, Number) else pa.string()
