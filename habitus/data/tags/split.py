"""Which entities train, choose and judge when every event is tagged: drawn at random, or as a column of the log says.

A column keeps the usual division of a public data set; it must say the same for all events of an entity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.data.split import Split
from habitus.errors import DataError

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class TagSplit:
    """Divide entities into train, validation and test.

    Args:
        column: of the log, says "train", "validation" (or "dev") or "test"; None draws entities at random.
        validation: share of entities that chooses the best epoch; with a column that names no validation, the share
            of its training entities.
        test: share of entities that judges; not read with a column.
        seed: of the random draw.

    >>> entities = pl.Series("user_id", ["a", "b", "c"])
    >>> TagSplit("part").assign(entities, ["train", "dev", "test"]).tolist()
    ['train', 'validation', 'test']
    """

    column: str | None = None
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        self._drawn(self.test)

    def assign(self, entities: pl.Series, values: list[str | None] | None = None) -> np.ndarray:
        """Return the part of each entity, (n,) of strings.

        Args:
            entities: (n,), each once.
            values: of the column, (n,), where there is one.

        Raises:
            DataError: if a value names no part, or a part that is needed would be empty.
        """
        frame = pl.DataFrame({"entity": entities})
        if values is None:
            return self._drawn(self.test).assign(frame, "entity", "")
        part = np.array([self._part(value) for value in values], dtype="<U10")
        if not (part == "train").any():
            raise DataError(f"The column '{self.column}' says 'train' of no entity; mark those that are to be learned.")
        if not (part == "validation").any():
            training = np.flatnonzero(part == "train")
            if len(training) < 2:
                raise DataError(f"The column '{self.column}' leaves one entity to train and none to choose the epoch.")
            part[training] = self._drawn(0.0).assign(frame[training], "entity", "")
        return part

    def sentence(self) -> str:
        """Say the rule in words, for reports.

        >>> TagSplit("part").sentence()
        "by the column 'part' (where it names no validation, 15 % of its training entities choose the epoch)"
        """
        if self.column is None:
            return self._drawn(self.test).sentence()
        share = f"{100 * self.validation:g} %"
        return (
            f"by the column '{self.column}' (where it names no validation, {share} of its training entities choose "
            "the epoch)"
        )

    def _drawn(self, test: float) -> Split:
        return Split("entity", validation=self.validation, test=test, seed=self.seed)

    def _part(self, value: str | None) -> str:
        part = _PARTS.get((value or "").strip().lower())
        if part is None:
            raise DataError(
                f"The column '{self.column}' holds {value!r}, which is no part; use train, validation (or dev), test."
            )
        return part
