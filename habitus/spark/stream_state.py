"""What a streaming query keeps of each user: events that wait for earlier ones, and what has been folded in.

    arrived -> held (until the watermark has passed them) -> released in time order -> folded

An event may come late by the allowed lateness, so that none may be folded in before the watermark, the latest time
seen anywhere minus the lateness, has passed it. Events of one user with equal times are released in the order of
their arrival. Plain data in and out (JSON); knows nothing about Spark, models or alerts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event: its time in microseconds since 1970 (UTC), and its fields in the order of the model's schema."""

    time_us: int
    values: tuple[Any, ...]


@dataclass
class Kept:
    """One user.

    Args:
        since_us: time of the first event that was folded in; with `n` it names an event for good, also after the
            user has been forgotten and has come back.
        n: events folded in since then.
        last_us: time of the last of them.
        held: [time, arrival number, *values] of events that wait.
        n_arrived: events that have arrived, which orders ties.
        recent: [time, *values] of the latest events that were folded in, for models that read them again.
        timer_ms: when Spark is to call next, in milliseconds since 1970.
        alerts: what the alert rules remember.
    """

    since_us: int | None = None
    n: int = 0
    last_us: int | None = None
    held: list[list[Any]] = field(default_factory=list)
    n_arrived: int = 0
    recent: list[list[Any]] = field(default_factory=list)
    timer_ms: int | None = None
    alerts: dict[str, Any] = field(default_factory=dict)

    def hold(self, event: Event) -> None:
        """Let an event wait.

        >>> kept = Kept()
        >>> for time, name in ((5, "b"), (3, "a"), (5, "c"), (9, "d")):
        ...     kept.hold(Event(time, (name,)))
        >>> [event.values[0] for event in kept.release(5)], len(kept.held)
        (['a', 'b', 'c'], 1)
        """
        self.held.append([event.time_us, self.n_arrived, *event.values])
        self.n_arrived += 1

    def release(self, watermark_us: int) -> list[Event]:
        """Return the events up to the watermark in time order, ties as they arrived; they wait no longer."""
        ready = sorted([*row[:2], row] for row in self.held if row[0] <= watermark_us)
        self.held = [row for row in self.held if row[0] > watermark_us]
        return [Event(row[0], tuple(row[2:])) for *_, row in ready]

    def fold(self, events: Sequence[Event], n_recent: int) -> None:
        """Count events as folded in, and keep the latest `n_recent` of all."""
        if not events:
            return
        self.since_us = events[0].time_us if self.since_us is None else self.since_us
        self.n, self.last_us = self.n + len(events), events[-1].time_us
        recent = self.recent + [[event.time_us, *event.values] for event in events]
        self.recent = recent[-n_recent:] if n_recent else []

    def due_ms(self, time_limit_us: int | None) -> int | None:
        """Return when the user is to be looked at next: an event can be released, or the time limit is over."""
        moments = [row[0] for row in self.held]
        if not moments and self.last_us is not None and time_limit_us is not None:
            moments = [self.last_us + time_limit_us]
        return -(-min(moments) // 1000) if moments else None  # rounded up: not before the moment itself

    def is_over(self, watermark_us: int, time_limit_us: int | None) -> bool:
        """Say whether nothing waits and the last event lies the time limit back."""
        waits = bool(self.held) or self.last_us is None or time_limit_us is None
        return not waits and int(self.last_us or 0) + int(time_limit_us or 0) <= watermark_us

    def to_json(self) -> str:
        """Return the user as text, which Spark's state reader can show."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Kept:
        """Return the user that `to_json` wrote; a new one for None.

        >>> Kept.from_json(Kept(n=3).to_json()).n
        3
        """
        return cls(**json.loads(text)) if text else cls()
