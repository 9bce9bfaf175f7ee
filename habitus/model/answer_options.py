"""What a model of answers has beside its task: how much is dropped out, and its rivals. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from habitus.baselines.answer import ANSWER_BASELINES
from habitus.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class AnswerOptions:
    """What the network of an `Answer` reads, and its rivals.

    Args:
        value_dropout: share of tokens read as UNKNOWN in training, of a network from scratch.
        baselines: rivals that are fitted beside the model.
    """

    value_dropout: float = 0.0
    baselines: tuple[str, ...] = tuple(ANSWER_BASELINES)

    def __post_init__(self) -> None:
        if not 0 <= self.value_dropout < 1:
            raise ConfigError(f"value_dropout={self.value_dropout} is a share: 0 or more and below 1.")
        for name in self.baselines:
            if name not in ANSWER_BASELINES:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, ANSWER_BASELINES)}")
