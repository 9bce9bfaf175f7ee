"""The two rivals that look at no history: what most events were, and what most recent events were."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.next_event.base import State, item_shares, training_events
from habitus.data.clock import DAY_US
from habitus.data.histories import Histories, Windows
from habitus.errors import ConfigError

TINY = 1e-9  # share of all-time popularity in recent popularity: an order for items long gone, and no more


class MostPopular:
    """Give everybody each item's share of the training events.

    >>> MostPopular.name
    'most popular'
    """

    name: ClassVar[str] = "most popular"
    shares_: np.ndarray

    def fit(self, histories: Histories, stops: np.ndarray, item: str, size: int) -> Self:
        """Count the items before the stops."""
        positions, _ = training_events(histories, stops)
        self.shares_ = item_shares(histories.ids[item][positions], size)
        return self

    def score(self, histories: Histories, windows: Windows, at_us: np.ndarray | None = None) -> np.ndarray:
        """Return the same shares for every question, float32 (q, V)."""
        return np.tile(self.shares_, (len(windows), 1))

    def to_state(self) -> State:
        """Return the shares."""
        return {"shares": self.shares_}, {}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Self:
        """Restore a fitted baseline."""
        baseline = cls(**document)
        baseline.shares_ = np.asarray(tensors["shares"])
        return baseline


class RecencyPopular(MostPopular):
    """Count a training event half as much for every `half_life_days` before the last of them.

    Halving has no window to fall out of, and at any later moment all counts have shrunk by the same factor: the
    ranking is the one of that moment too, so that the time of a question is not needed.

    Args:
        half_life_days: after which an event counts half. 30 is a habit, not tuned: fit for logs of months or years.

    >>> RecencyPopular(half_life_days=7).name
    'recency popular'
    """

    name: ClassVar[str] = "recency popular"

    def __init__(self, half_life_days: float = 30.0):
        if not half_life_days > 0:
            raise ConfigError(f"half_life_days={half_life_days} is not a time span; use for example 30.")
        self.half_life_days = half_life_days

    def fit(self, histories: Histories, stops: np.ndarray, item: str, size: int) -> Self:
        """Count the items before the stops, recent ones more."""
        positions, _ = training_events(histories, stops)
        ids, time_us = histories.ids[item][positions], histories.time_us[positions]
        age_days = (time_us.max(initial=np.iinfo(np.int64).min) - time_us) / DAY_US
        recent = item_shares(ids, size, np.exp2(-age_days / self.half_life_days))
        self.shares_ = recent + np.float32(TINY) * item_shares(ids, size)
        return self

    def to_state(self) -> State:
        """Return the shares and the half-life."""
        return {"shares": self.shares_}, {"half_life_days": self.half_life_days}
