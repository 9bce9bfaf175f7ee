"""The sentence that shares most with the question, as a whole."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from habitus.baselines.answer.overlap import Overlap, weights_of
from habitus.data.answer.words import placed_words, sentences


class SharedWords(Overlap):
    """Answer with the sentence that shares most with the question, each word weighted by how rare it is in the passage.

    It finds where the answer stands and says too much: its F1 is low and its exact match near 0.

    >>> SharedWords().find("Who won?", "It rained. Ann won.")[0]
    'Ann won.'
    """

    name: ClassVar[str] = "sentence with most shared words"

    def find(self, question: str, passage: str) -> tuple[str, float]:
        """Return the best sentence, the first of equal ones, and the share of the question's words in it."""
        asked, (words, places) = placed_words(question)[0], placed_words(passage)
        weights = weights_of(asked, words)
        starts = np.array([start for start, _ in places])
        best, text, share = -1.0, "", 0.0
        for start, stop in sentences(passage):
            inside = np.flatnonzero((starts >= start) & (starts < stop)).tolist()
            kinds = {words[at]: weights[at] for at in inside}
            total = float(sum(kinds.values()))
            if total > best:
                known = sum(word in kinds for word in set(asked))
                best, text, share = total, passage[start:stop], known / max(len(set(asked)), 1)
        return text, share
