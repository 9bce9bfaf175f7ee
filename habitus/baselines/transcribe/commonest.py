"""The rival that hears nothing: the transcript that training holds most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.utterances import Utterances


class CommonestTranscript(Rival):
    """Answer every recording with the commonest transcript of training; of equally common ones the first in order.

    >>> CommonestTranscript.name
    'commonest transcript'
    """

    name: ClassVar[str] = "commonest transcript"
    text_: str

    def fit(self, train_rows: Utterances, validation_rows: Utterances) -> Self:
        """Count the transcripts."""
        counts = Counter(train_rows.texts)
        self.text_ = min(counts, key=lambda text: (-counts[text], text))
        return self

    def answer(self, rows: Utterances) -> list[str]:
        """Return the same text for each utterance."""
        return [self.text_] * len(rows)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the text."""
        return {}, {"text": self.text_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = cls()
        rival.text_ = document["text"]
        return rival
