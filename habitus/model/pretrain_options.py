"""Options of pretraining beside the task's."""

from __future__ import annotations

from dataclasses import dataclass

from habitus.errors import ConfigError


@dataclass(frozen=True)
class PretrainOptions:
    """What is learned beside the network.

    Args:
        factors: of each category with many values: which of them stand together in histories, for the linear path of
            the model that starts here; 0: none. They help where tastes tell (gender from films), and
            cost where they do not (planted causes of the simulated installs).
    """

    factors: int = 0

    def __post_init__(self) -> None:
        if self.factors < 0:
            raise ConfigError(f"factors={self.factors} must be 0 or more, such as 64.")
