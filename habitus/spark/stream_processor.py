"""The stateful operator of a streaming query: Spark hands it a user's new events, it hands back answers and alerts.

`transformWithState` of PySpark (rows; the pandas form builds a frame for each user and trigger, see docs/spark.md) in
event time: a timer calls for each user when the watermark passes the next event that waits, or when the time limit of
the state is over. All state of a user is one value, so that a trigger reads and writes the store once per user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pyspark.sql import Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

from habitus.data.rows import REASON
from habitus.spark.bundles import ShippedBundle
from habitus.spark.stream_alerts import AlertRule
from habitus.spark.stream_read import FILE, ROW_NUMBER, TIME_US, VALUES
from habitus.spark.stream_state import Event, Kept

if TYPE_CHECKING:
    from habitus.spark.stream_answers import Answers

SCORE, ALERT, REJECT = "score", "alert", "reject"  # kinds of rows that come out
OUTPUT = ("kind", "entity", "since_us", "n", "time_us", "reason", "row")  # before the columns of the answers
LATE = "came later than the allowed lateness"


@dataclass(frozen=True)
class ShippedAnswers:
    """Opens the answers of a shipped bundle (see `stream_answers.answers_of`), once in each Python worker."""

    bundle: ShippedBundle
    alert_class: str | None
    hit_at: float | None
    k: int

    def __call__(self) -> Answers:
        """Return the answers."""
        return _opened(self)


@cache
def _opened(shipped: ShippedAnswers) -> Answers:
    import torch  # here, because Spark starts a Python at the driver that only asks for the store

    from habitus.spark.stream_answers import answers_of

    torch.set_num_threads(1)  # as many workers as cores run already
    model = shipped.bundle.open()
    return answers_of(model, alert_class=shipped.alert_class, hit_at=shipped.hit_at, k=shipped.k)


@dataclass(frozen=True)
class Follow:
    """How users are followed.

    Args:
        answers: opens the model, once in each Python worker.
        columns: names of the answers, in order.
        rule: when to alert.
        time_limit_us: after how long without an event a user is forgotten; None: never.
    """

    answers: Callable[[], Answers]
    columns: tuple[str, ...]
    rule: AlertRule
    time_limit_us: int | None


class Follower(StatefulProcessor):
    """Follow one user after another; see `Follow`."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._row: Any = Row(*OUTPUT, *follow.columns)

    def init(self, handle: Any) -> None:
        """Open the store; not the model: Spark calls this at the driver too, where shipped files are not."""
        self._handle = handle
        self._store = handle.getValueState("kept", "user STRING, model BINARY")

    def handleInputRows(self, key: Any, rows: Iterable[Row], timerValues: Any) -> Iterator[Row]:
        """Take in new events of one user; the user None holds the rows that could not be read."""
        arrived = sorted(rows, key=lambda row: (row[FILE], row[ROW_NUMBER]))
        if key[0] is None:
            yield from (self._reject(None, row, row[REASON]) for row in arrived)
            return
        kept, state = self._load()
        watermark_us = timerValues.getCurrentWatermarkInMs() * 1000
        for row in arrived:
            if row[TIME_US] <= watermark_us and watermark_us > 0:
                yield self._reject(key[0], row, LATE)
            else:
                kept.hold(Event(row[TIME_US], tuple(json.loads(row[VALUES]))))
        yield from self._advance(key[0], kept, state, watermark_us)

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[Row]:
        """Release what the watermark has passed, or forget the user."""
        kept, state = self._load()
        if kept.timer_ms == expiredTimerInfo.getExpiryTimeInMs():
            kept.timer_ms = None  # Spark has removed it
            yield from self._advance(key[0], kept, state, timerValues.getCurrentWatermarkInMs() * 1000)

    def close(self) -> None:
        """Nothing is open."""

    def _load(self) -> tuple[Kept, bytes | None]:
        found = self._store.get() or (None, None)
        return Kept.from_json(found[0]), None if found[1] is None else bytes(found[1])

    def _advance(self, entity: str, kept: Kept, state: bytes | None, watermark_us: int) -> Iterator[Row]:
        events = kept.release(watermark_us)
        if events:
            model = self._follow.answers()
            answers, state = model.fold(kept, state, events)
            since_us = kept.since_us if kept.since_us is not None else events[0].time_us
            for number, (event, answer) in enumerate(zip(events, answers, strict=True), start=kept.n + 1):
                head = (entity, since_us, number, event.time_us)
                values = [answer.values[name] for name in self._follow.columns]
                yield self._row(SCORE, *head, None, None, *values)
                for reason in self._follow.rule.reasons(kept.alerts, answer.score, answer.hit):
                    yield self._row(ALERT, *head, reason, None, *values)
            kept.fold(events, model.n_recent)
        if kept.is_over(watermark_us, self._follow.time_limit_us):
            self._set_timer(kept, None)
            self._store.clear()
            return
        self._set_timer(kept, kept.due_ms(self._follow.time_limit_us))
        self._store.update((kept.to_json(), state))

    def _set_timer(self, kept: Kept, due_ms: int | None) -> None:
        if kept.timer_ms == due_ms:
            return
        if kept.timer_ms is not None:
            self._handle.deleteTimer(kept.timer_ms)
        if due_ms is not None:
            self._handle.registerTimer(due_ms)
        kept.timer_ms = due_ms

    def _reject(self, entity: str | None, row: Row, reason: str) -> Row:
        nothing = (None,) * len(self._follow.columns)
        return self._row(
            REJECT, entity, None, None, row[TIME_US] if entity is not None else None, reason, row[VALUES], *nothing
        )
