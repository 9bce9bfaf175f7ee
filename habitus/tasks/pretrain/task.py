"""Pretrain: learn from histories alone, so that a later task needs fewer labels.

    next          after every event, which fields the next one has, and how long it takes
    masked        fields of events that were hidden, from everything around them (Devlin et al. 2019, arXiv:1810.04805)
    contrastive   slices of one entity's history lie close, those of others apart (CoLES, Babaev et al. 2022,
                  arXiv:2002.08232)
    order         which kinds of events stood in which order, how close and how long ago, from the pooled state

There is nothing to decode: what is kept of the network is its embedding of events and its backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

from habitus.config import build, check_choice
from habitus.errors import ConfigError

Objective = Literal["next", "masked", "contrastive", "order"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)


@dataclass(frozen=True)
class Pretrain:
    """Learn from unlabelled histories.

    Args:
        objective: "next", "masked", "contrastive" or "order".
        mask_share: of "masked": share of events to be told from the others; of these 80 % are hidden, 10 % replaced by
            another event of the batch and 10 % left as they are (section 3.1 of BERT).
        slices: of "contrastive": slices drawn from each history.
        shortest: of "contrastive": fewest events in a slice; shorter histories give no slices.
        longest_share: of "contrastive": most events in a slice, as a share of the history.
        temperature: of "contrastive": the smaller, the more the nearest strangers count.

    >>> Pretrain("masked").mask_share
    0.15
    """

    name: ClassVar[str] = "pretrain"

    objective: Objective = "next"
    mask_share: float = 0.15
    slices: int = 4
    shortest: int = 5
    longest_share: float = 0.6
    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        for name in ("mask_share", "longest_share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} is a share: above 0 and below 1.")
        if self.slices < 2 or self.shortest < 1:
            raise ConfigError(
                f"slices={self.slices} and shortest={self.shortest} give nothing to compare; use slices=2 or more and "
                "shortest=1 or more."
            )
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature} must be above 0, such as 0.1.")

    @property
    def looks_ahead(self) -> bool:
        """Whether a step may see later ones; a network that predicts the next event may not."""
        return self.objective == "masked"

    @property
    def trains_pooling(self) -> bool:
        """Whether what is learned is told from pooled states, so that the pooling is worth taking over."""
        return self.objective in ("contrastive", "order")

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"name": self.name, "options": asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pretrain:
        """Build from `to_json` data."""
        return build(cls, data["options"], "[task]")
