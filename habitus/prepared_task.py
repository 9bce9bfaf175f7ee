"""What a task's data becomes before it is learned: units with their answers, their parts, and what was learned of them.

Shared by the tasks whose data carries its own answers (tags, pairs of texts, series, transcripts). Vocabularies and
scalers are learned from the training units only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import polars as pl

from habitus.data.rejects import Rejects
from habitus.errors import DataError


class Rows(Protocol):
    """Units (sequences) with their answers, as arrays."""

    def __len__(self) -> int:
        """Return the number of units."""

    def take(self, rows: np.ndarray) -> Self:
        """Return the units of these numbers, in this order."""

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""


@dataclass(frozen=True)
class PreparedTask:
    """Units, which of them train, choose and judge, and the encoder that the training units taught.

    Args:
        source: where the units came from, for people.
        encoder: vocabularies and scalers; has `to_json` and `from_json`.
        rows: all units.
        part: "train", "validation", "test", "left-out" or "given" of each unit, (n,).
        keys: String (n,), says which unit it is, so that an evaluation can leave out units of training.
        facts: plain data for data.json and the report.
        paths: where each source is, so that the model finds it again; the words "a table" for one in memory.
        notes: sentences to say aloud.
        rejects: rows that could not be read.
    """

    source: str
    encoder: Any
    rows: Any
    part: np.ndarray
    keys: pl.Series
    facts: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()
    rejects: Rejects | None = None

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.part) == len(self.keys), "one part and one key for each unit"

    def on(self, sources: Sequence[Any]) -> PreparedTask:
        """Return the same with the paths of its sources."""
        paths = tuple(
            None if one is None else str(one) if isinstance(one, str | Path) else "a table" for one in sources
        )
        return replace(self, paths=paths)

    def of(self, part: str) -> Any:
        """Return the units of one part.

        Raises:
            DataError: if training or validation would be empty.
        """
        chosen = np.flatnonzero(self.part == part)
        if not len(chosen) and part in ("train", "validation"):
            raise DataError(
                f"The split leaves nothing for {part} (of {len(self.part):,} units of {self.source}); give more data "
                "or other shares ([split])."
            )
        return self.rows.take(chosen)

    def counts(self) -> dict[str, int]:
        """Return how many units each part has."""
        names, counts = np.unique(self.part, return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}

    def fingerprint(self) -> str:
        """Return a hash of all units and parts: two runs with the same one saw the same data."""
        digest = hashlib.sha256("\0".join(self.part.tolist()).encode())
        for array in self.rows.arrays():
            digest.update(str((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
