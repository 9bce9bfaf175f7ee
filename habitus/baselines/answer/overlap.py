"""What the rivals share that look for the words of a question in its passage; when they say that there is no answer.

A word weighs log(1 + 1 / how often it stands in the passage) (Richardson, Burges and Renshaw 2013, MCTest,
https://aclanthology.org/D13-1020, algorithm 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.answer.rows import AnswerRows


def weights_of(question: Sequence[str], passage: Sequence[str]) -> np.ndarray:
    """Return the weight of each word of a passage that stands in the question, 0 of the others, (P,).

    >>> weights_of(["who", "won"], ["ann", "won", "won"]).round(3).tolist()
    [0.0, 0.405, 0.405]
    """
    asked, counts = set(question), Counter(passage)
    return np.array([np.log1p(1 / counts[word]) if word in asked else 0.0 for word in passage], dtype=np.float64)


class Overlap(Rival):
    """A rival that finds an answer by shared words, and how sure it is; below `least_` it says that there is none."""

    least_: float

    @abstractmethod
    def find(self, question: str, passage: str) -> tuple[str, float]:
        """Return the best answer, and how much of the question stands about it."""

    def fit(self, train_rows: AnswerRows, validation_rows: AnswerRows) -> Self:
        """Choose how much must be shared, on the validation part, where some questions have no answer."""
        self.least_ = -np.inf
        has_answer = np.array([bool(gold) for gold in validation_rows.golds])
        if not has_answer.all():
            found = [self.find(*pair) for pair in zip(validation_rows.questions, validation_rows.contexts, strict=True)]
            self.least_ = _least(np.array([share for _, share in found]), has_answer)
        return self

    def answer(self, rows: AnswerRows) -> list[str]:
        """Return the answers."""
        found = [self.find(*pair) for pair in zip(rows.questions, rows.contexts, strict=True)]
        return [text if share >= self.least_ else "" for text, share in found]

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what was chosen."""
        return {"least": np.array([self.least_])}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls()
        rival.least_ = float(arrays["least"][0])
        return rival


def _least(share: np.ndarray, has_answer: np.ndarray) -> float:
    """Return the share at which it is right most often whether there is an answer.

    >>> _least(np.array([0.1, 0.5, 0.9]), np.array([False, True, True]))
    0.5
    """
    order = np.argsort(share, kind="stable")
    values = share[order]
    right_below = np.concatenate([[0], np.cumsum(~has_answer[order])])
    right_above = has_answer.sum() - np.concatenate([[0], np.cumsum(has_answer[order])])
    right = (right_below + right_above)[:-1]
    is_first = np.concatenate([[True], values[1:] > values[:-1]])
    return float(values[int(np.argmax(np.where(is_first, right, -1)))])
