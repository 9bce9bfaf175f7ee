"""How a log is read and cut: the options that travel with a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from habitus.config import check_choice
from habitus.data.sequence import History
from habitus.errors import ConfigError


@dataclass(frozen=True)
class Data:
    """Options of reading a log and cutting its histories. What is None is inferred from the log.

    Args:
        entity: column of the entity.
        time: column of the timestamp.
        time_zone: zone of naive timestamps; without it they are refused.
        time_unit: unit of timestamps that are plain numbers.
        cutoff: column of the examples table.
        fields: meaning of columns by name, `"category"`, `"number"`, or with options
            (`{"kind": "number", "log": True}`, `Number(log=True)`); only the named ones differ from what is inferred.
        drop: event or profile columns to leave out.
        max_length: most events in a row.
        history: "latest" keeps the latest `max_length` events of a longer history; "windows" covers all of it with
            several rows, whose answers are averaged.

    >>> Data(max_length=256).history
    'latest'
    """

    entity: str | None = None
    time: str | None = None
    time_zone: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    cutoff: str = "cutoff"
    fields: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    max_length: int = 512
    history: History = "latest"

    def __post_init__(self) -> None:
        check_choice("history", self.history, get_args(History))
        if self.max_length < 1:
            raise ConfigError(f"max_length={self.max_length} keeps no event; use 1 or more.")
