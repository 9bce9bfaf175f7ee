"""What a task must be whose data carries its own answers: options, metrics, and paired differences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self

from habitus.config import build
from habitus.metrics import Interval


class JudgedTask(ABC):
    """What is predicted, and how answers are judged; a leaf is a frozen dataclass of its options.

    Truth and answers are whatever the task likes (arrays, lists of texts), as long as the units are.
    """

    name: ClassVar[str]
    monitor: ClassVar[str]  # the metric that says who is best
    lower_is_better: ClassVar[bool] = False  # of the monitor
    unit: ClassVar[str] = "sequences"  # what `n` counts
    target: str  # what titles of tables print

    @abstractmethod
    def metrics(self, truth: Any, answer: Any) -> Mapping[str, Interval]:
        """Return all metrics with 95 % intervals, by a bootstrap over units."""

    @abstractmethod
    def differences(self, truth: Any, answer: Any, other: Any) -> Mapping[str, Interval]:
        """Return paired differences, answer minus other, with 95 % intervals; the monitor is among them."""

    def protocol(self) -> Mapping[str, Any]:
        """Return what a reader must know to compare the figures; empty where nothing is special."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"name": self.name, "options": asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from `to_json` data."""
        return build(cls, data["options"], "[task]")
