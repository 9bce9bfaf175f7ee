"""Splits: which examples train, which choose (validation), which judge (test).

By entity at random (an entity is on one side only), out of time (the latest cutoffs judge), or new entities
(out of time, and only entities that were never trained on). Knows only the example table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from habitus.config import check_choice
from habitus.errors import ConfigError, DataError

PARTS = ("train", "validation", "test", "left-out")


@dataclass(frozen=True)
class Split:
    """Divide examples into train, validation and test.

    Args:
        by: "entity" draws entities at random; "time" takes the latest cutoffs for test and the latest before
            them for validation; "new-entities" is "time" with validation and test examples of entities that
            also train left out.
        validation: share of examples (of entities, when drawn by entity) that chooses the best epoch.
        test: share that judges; 0 trains on everything else.
        seed: of the random draw.

    >>> Split(test=0.0).validation
    0.15
    """

    by: Literal["entity", "time", "new-entities"] = "entity"
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("entity", "time", "new-entities"))
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise ConfigError(
                f"validation={self.validation} and test={self.test} leave nothing to train on; "
                "give shares such as validation=0.15 and test=0.2 (validation above 0, their sum below 1)."
            )

    def assign(self, examples: pl.DataFrame, entity: str, cutoff: str) -> np.ndarray:
        """Return "train", "validation", "test" or "left-out" for each example, (n,) of strings.

        The draw depends on the entity's rank among the sorted entities and on `seed`, not on row order.

        Raises:
            DataError: if a part that is needed would be empty.
        """
        parts = self._by_entity(examples[entity]) if self.by == "entity" else self._by_time(examples[cutoff])
        if self.by == "new-entities":
            trained = set(examples[entity].filter(pl.Series(parts == "train")).to_list())
            known = np.array([name in trained for name in examples[entity].to_list()], dtype=bool)
            parts = np.where(known & (parts != "train"), "left-out", parts)
        self.refuse_empty({part: int((parts == part).sum()) for part in PARTS})
        return parts

    def sentence(self) -> str:
        """Say the rule in words, for reports.

        >>> Split().sentence()
        'random by entity (seed 0): 15 % of entities choose the best epoch, 20 % judge'
        """
        shares = f"{self.validation:.0%} {{}} choose the best epoch, {self.test:.0%} judge".replace("%", " %")
        if self.by == "entity":
            return f"random by entity (seed {self.seed}): " + shares.format("of entities")
        only_new = "; examples of entities that also train are left out" if self.by == "new-entities" else ""
        return "out of time by cutoff: " + shares.format("of examples, the latest,") + only_new

    def _by_entity(self, entities: pl.Series) -> np.ndarray:
        codes = entities.rank("dense").to_numpy().astype(np.int64) - 1
        return self.parts_of_entities(int(codes.max(initial=-1)) + 1)[codes]

    def parts_of_entities(self, n: int) -> np.ndarray:
        """Return the part of each of `n` entities in sorted order, as "entity" draws them."""
        draw = np.random.default_rng(self.seed).permutation(n)
        return _by_position((draw + 0.5) / max(n, 1), self.validation, self.test)

    def _by_time(self, cutoffs: pl.Series) -> np.ndarray:
        # equal cutoffs stay together: the part is decided by the rank of the cutoff's first example
        rank = cutoffs.rank("min").to_numpy().astype(np.float64) - 1
        return self.parts_of_ranks(rank, len(rank))

    def parts_of_ranks(self, rank: np.ndarray, n: int) -> np.ndarray:
        """Return the part of examples before whose cutoff lie those of `rank` others of `n`, as "time" divides them."""
        return _by_position(1 - (rank + 0.5) / max(n, 1), self.validation, self.test)

    def refuse_empty(self, counts: Mapping[str, int]) -> None:
        """Refuse a division that leaves a part without examples.

        Raises:
            DataError: with the part.
        """
        for part in ("train", "validation", *(["test"] if self.test else [])):
            if not counts.get(part):
                raise DataError(
                    f"The split '{self.by}' leaves no example for {part} (of {sum(counts.values())} examples); give "
                    "more examples, other shares (validation, test) or another split (by)."
                )


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation by entity: a drop-in for `Split`.

    Args:
        number: which fold judges, from 0.
        n_folds: into how many the entities are divided.
        validation: share of the other entities that chooses the best epoch.
        seed: of the division, the same for all folds.

    >>> table = pl.DataFrame({"user_id": ["a", "b", "c", "d", "e", "f"]})
    >>> (Fold(0, n_folds=3, validation=0.25).assign(table, "user_id", "cutoff") == "test").sum()
    np.int64(2)
    """

    number: int
    n_folds: int = 5
    validation: float = 0.15
    seed: int = 0
    by: str = "fold"

    def __post_init__(self) -> None:
        if not (0 <= self.number < self.n_folds and self.n_folds > 1):
            raise ConfigError(f"number={self.number} is no fold of n_folds={self.n_folds}; folds count from 0.")

    def assign(self, examples: pl.DataFrame, entity: str, cutoff: str) -> np.ndarray:
        """Return "train", "validation" or "test" for each example."""
        codes = examples[entity].rank("dense").to_numpy().astype(np.int64) - 1
        draw = np.random.default_rng(self.seed).permutation(codes.max() + 1)
        position = (draw[codes] + 0.5) / len(draw)
        fold = np.floor(position * self.n_folds).astype(int)
        within = np.random.default_rng([self.seed, self.number]).random(len(draw))[codes]
        return np.where(fold == self.number, "test", np.where(within < self.validation, "validation", "train"))

    def sentence(self) -> str:
        """Say the rule in words, for reports."""
        return f"fold {self.number + 1} of {self.n_folds} by entity (seed {self.seed}) judges"


def _by_position(position: np.ndarray, validation: float, test: float) -> np.ndarray:
    """Positions in [0, 1): the lowest share judges, the next validates, the rest trains."""
    return np.where(position < test, "test", np.where(position < test + validation, "validation", "train"))


@dataclass(frozen=True)
class PretrainSplit(Split):
    """Divide entities for pretraining: it needs no test part, and few histories choose the best epoch.

    Args:
        validation: share of entities that chooses the best epoch.
        test: share that is left out whole; with the examples and the seed of a later fit, the entities that judge it.

    >>> PretrainSplit().test
    0.0
    """

    validation: float = 0.05
    test: float = 0.0
