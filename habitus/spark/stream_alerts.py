"""Alerts: when a score, or the rate of a class over the latest events, rises over a threshold.

An alert is given when a threshold is crossed upwards and not again while the score stays above it. The memory is a
small dict that is kept with the user, so that a restart repeats and forgets none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from habitus.errors import ConfigError


@dataclass(frozen=True)
class AlertRule:
    """When an event is worth an alert.

    Args:
        above: alert when the score rises to this or more; None: never.
        rate: alert when this share of the latest events or more is a hit: of the class, for a model of classes, or
            with a score of at least `above`; None: never.
        window: latest events that the rate counts; none is given before there are so many.

    >>> rule, memory = AlertRule(above=0.8), {}
    >>> [rule.reasons(memory, score, hit=False) for score in (0.9, 0.95, 0.1, 0.8)]
    [['score 0.9 is at least 0.8'], [], [], ['score 0.8 is at least 0.8']]
    """

    above: float | None = None
    rate: float | None = None
    window: int = 20

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ConfigError(f"alert_rate={self.rate} is a share of events: above 0 and at most 1.")
        if self.window < 1:
            raise ConfigError(f"alert_window={self.window} counts events: 1 or more.")

    def reasons(self, memory: dict[str, Any], score: float | None, hit: bool) -> list[str]:
        """Take in the score of one more event and return the reasons for an alert, mostly none.

        Args:
            memory: of this user; changed in place.
            score: None where the event has none.
            hit: whether the event counts for the rate.
        """
        found = [*self._of_score(memory, score), *self._of_rate(memory, hit)]
        return [reason for reason in found if reason]

    def _of_score(self, memory: dict[str, Any], score: float | None) -> list[str]:
        if self.above is None or score is None:
            return []
        was, memory["is_above"] = memory.get("is_above", False), score >= self.above
        return [f"score {score:.4g} is at least {self.above:g}"] if memory["is_above"] and not was else []

    def _of_rate(self, memory: dict[str, Any], hit: bool) -> list[str]:
        if self.rate is None:
            return []
        hits = [*memory.get("hits", []), int(hit)][-self.window :]
        rate = sum(hits) / self.window
        was = memory.get("is_frequent", False)
        memory |= {"hits": hits, "is_frequent": len(hits) == self.window and rate >= self.rate}
        if not memory["is_frequent"] or was:
            return []
        return [f"{sum(hits)} of the latest {self.window} events, at least {self.rate:g}"]
