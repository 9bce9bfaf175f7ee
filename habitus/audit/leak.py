"""A `Leak`: one finding of the leak check, as a sentence with the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["warning", "note"]


@dataclass(frozen=True)
class Leak:
    """Something about the data that may make a score look better than it is.

    Args:
        severity: "warning" asks to be settled before any score is believed; "note" is worth knowing.
        kind: short stable name, e.g. "value-after-cutoff".
        sentence: what was found, for a person.
        numbers: the figures in it, by name.

    >>> Leak("note", "at-cutoff", "3 events lie exactly at a cutoff.", {"n_events": 3}).to_json()["kind"]
    'at-cutoff'
    """

    severity: Severity
    kind: str
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for data.json and `habitus check --json`."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "sentence": self.sentence,
            "numbers": dict(self.numbers),
        }


def shown(value: Any) -> str:
    """Return a value from the data for a sentence, quoted and cut at 60 characters.

    >>> shown("x" * 100)[-5:]
    "xxx…'"
    """
    text = str(value)
    return repr(text if len(text) <= 60 else text[:60] + "…")


def counted(n: float, one: str, many: str | None = None) -> str:
    """Return a count with its noun.

    >>> counted(1, "event"), counted(1200, "entity", "entities")
    ('1 event', '1,200 entities')
    """
    return f"{int(n):,} {one if n == 1 else many or one + 's'}"
