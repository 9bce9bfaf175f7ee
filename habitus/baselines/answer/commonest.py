"""The commonest answer: what a model must beat that never reads the question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.answer.rows import AnswerRows

_MOST = 20_000  # answers that are kept


class CommonestAnswer(Rival):
    """Answer with the commonest training answer that stands in the passage; "" where none does, or if most had none.

    >>> CommonestAnswer().name
    'commonest answer in the passage'
    """

    name: ClassVar[str] = "commonest answer in the passage"
    answers_: list[str]

    def fit(self, train_rows: AnswerRows, validation_rows: AnswerRows) -> Self:
        """Count the answers of the training part."""
        counted = Counter(gold[0][0] if gold else "" for gold in train_rows.golds)
        self.answers_ = [answer for answer, _ in counted.most_common(_MOST)]
        return self

    def answer(self, rows: AnswerRows) -> list[str]:
        """Return the answers; "" stands in every passage."""
        return [next((one for one in self.answers_ if one in passage), "") for passage in rows.contexts]

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the answers, the commonest first."""
        return {}, {"answers": self.answers_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls()
        rival.answers_ = list(document["answers"])
        return rival
