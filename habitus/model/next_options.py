"""How a next-event model ranks its answers, and which rivals stand beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from habitus.baselines.next_event import NEXT_BASELINES
from habitus.config import check_taken_rate
from habitus.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class NextOptions:
    """How answers are ranked, and which rivals stand beside them.

    Args:
        filter_seen: take items of the user's past out of rankings; "auto" does so where hardly any event of training
            repeats an earlier item of its user (films), and not where many do (actions, visits).
        baselines: rivals by counting that are fitted beside the model.
        taken_rate: learning rate of what was taken over from a pretrained bundle, as a share of the training's; 0 holds
            it still.
    """

    filter_seen: Literal["auto", "yes", "no"] = "auto"
    baselines: tuple[str, ...] = tuple(NEXT_BASELINES)
    taken_rate: float = 1.0

    def __post_init__(self) -> None:
        check_taken_rate(self.taken_rate)
        if self.filter_seen not in ("auto", "yes", "no"):
            raise ConfigError(
                f"filter_seen={self.filter_seen!r}; {did_you_mean(str(self.filter_seen), ('auto', 'yes', 'no'))}"
            )
        for name in self.baselines:
            if name not in NEXT_BASELINES:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, NEXT_BASELINES)}")
