"""Which questions train, choose and judge: by passage, so that a passage is on one side only; or as files say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.data.pairs.split import drawn_parts
from habitus.errors import ConfigError


@dataclass(frozen=True)
class AnswerSplit:
    """Divide questions by their passages.

    Args:
        validation: share of the passages that choose the best epoch and the threshold, where no file gives them.
        test: share of the passages that judge, where no file gives them.
        validation_examples: table of the questions that choose.
        test_examples: table of the questions that judge, such as SQuAD's development file.
        seed: of the division.

    >>> parts = AnswerSplit(validation=0.3, test=0.3).assign(pl.Series(["a", "a", "b", "c"]))
    >>> bool(parts[0] == parts[1]), sorted(set(parts.tolist()))
    (True, ['test', 'train', 'validation'])
    """

    validation: float = 0.1
    test: float = 0.2
    validation_examples: str | None = None
    test_examples: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError(f"validation={self.validation} is a share of the passages: above 0 and below 1.")
        if not 0 <= self.test < 1 or self.validation + self.test >= 1:
            raise ConfigError(f"test={self.test} and validation={self.validation} leave nothing to train on.")

    @property
    def files(self) -> dict[str, str | None]:
        """The table of each part that has one of its own."""
        return {"validation": self.validation_examples, "test": self.test_examples}

    def assign(self, passages: pl.Series) -> np.ndarray:
        """Return "train", "validation" or "test" of each question of the training table, (n,)."""
        validation = 0.0 if self.validation_examples else self.validation
        return drawn_parts(passages, self.seed, validation, 0.0 if self.test_examples else self.test)

    def sentence(self) -> str:
        """Say the rule in words, for reports.

        >>> AnswerSplit().sentence()
        'random by passage (seed 0): 10 % of passages choose the best epoch, 20 % judge'
        """
        chooses = f"'{self.validation_examples}'" if self.validation_examples else f"{100 * self.validation:g} %"
        judges = f"'{self.test_examples}'" if self.test_examples else f"{100 * self.test:g} %"
        how = "by files" if all(self.files.values()) else f"random by passage (seed {self.seed})"
        of = "" if self.validation_examples else " of passages"
        return f"{how}: {chooses}{of} choose the best epoch, {judges} judge"
