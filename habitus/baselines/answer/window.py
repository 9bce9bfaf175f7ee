"""The sliding window: the words of the passage about which most of the question stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from habitus.baselines.answer.overlap import Overlap, weights_of
from habitus.data.answer.rows import AnswerRows
from habitus.data.answer.words import placed_words

_MOST_WORDS = 8  # of an answer that it considers
_SEEN, _DOUBT = 5, 2.0  # words seen less often are not known; how many sightings the common share counts for
_PRIORS = (0.03, 0.1, 0.3, 1.0)  # how much the form of an answer may count; chosen on validation
_MOST_JUDGED = 500  # questions that choose it


class SlidingWindow(Overlap):
    """Answer with the span about which a window as long as question and span holds most of the question's words, less
    its distance to the nearest of them (Richardson, Burges and Renshaw 2013, https://aclanthology.org/D13-1020,
    algorithms 1 and 2).

    Differs from the paper, whose answers are to be chosen from four: candidates are all spans without a word of the
    question, and count for less where training answers seldom are as long, begin or end with such words.

    >>> rival = SlidingWindow()
    >>> rival.log_length_, rival.prior_, rival.ends_ = np.zeros(8), 0.1, {"": -2.0, "was": -9.0, "rained": -9.0}
    >>> rival.find("Who won the race?", "It rained. The race was won by Ann.")[0]
    'by'
    """

    name: ClassVar[str] = "sliding window"
    log_length_: np.ndarray  # log share of training answers of 1, 2, ... words
    ends_: dict[str, float]  # log share of a word's sightings in which it begins or ends an answer; "": of other words
    prior_: float = _PRIORS[0]

    def fit(self, train_rows: AnswerRows, validation_rows: AnswerRows) -> Self:
        """Count the form of training answers, and choose on validation how much that counts."""
        answers = [placed_words(gold[0][0])[0] for gold in train_rows.golds if gold]
        counts = Counter(min(max(len(words), 1), _MOST_WORDS) for words in answers)
        shares = np.array([counts[length] + 0.5 for length in range(1, _MOST_WORDS + 1)])
        self.log_length_ = np.log(shares / shares.sum())
        self.ends_ = _ends(answers, Counter(word for text in train_rows.contexts for word in placed_words(text)[0]))
        few = validation_rows.take(np.arange(min(len(validation_rows), _MOST_JUDGED)))
        right = {}
        for self.prior_ in _PRIORS:
            found = [self.find(*pair)[0] for pair in zip(few.questions, few.contexts, strict=True)]
            right[self.prior_] = sum(
                any(text == one for text, _ in gold) for one, gold in zip(found, few.golds, strict=True)
            )
        self.prior_ = max(_PRIORS, key=lambda prior: right[prior])
        return super().fit(train_rows, validation_rows)

    def find(self, question: str, passage: str) -> tuple[str, float]:
        """Return the best span, the first of equal ones, and the share of the question's words in its window."""
        asked, (words, places) = placed_words(question)[0], placed_words(passage)
        weights = weights_of(asked, words)
        if not weights.any():
            return "", 0.0
        away = _distances(weights > 0) / max(len(words) - 1, 1)
        form = np.array([self.ends_.get(word, self.ends_[""]) for word in words])
        best, span, window = -np.inf, (0, 0), (0, 0)
        for length in range(1, min(_MOST_WORDS, len(words)) + 1):
            sums, begins = _best_windows(weights, length, len(asked))
            inside = sliding_window_view(weights, length).sum(1) > 0
            near = np.minimum(away[: len(sums)], away[length - 1 :])
            prior = self.log_length_[length - 1] + form[: len(sums)] + form[length - 1 :]
            score = np.where(inside, -np.inf, sums - near + self.prior_ * prior)
            at = int(score.argmax())
            if score[at] > best:
                best, span = float(score[at]), (at, at + length)
                window = (int(begins[at]), int(begins[at]) + length + len(asked))
        if not np.isfinite(best):
            return "", 0.0
        known = set(asked) & set(words[max(window[0], 0) : window[1]])
        return passage[places[span[0]][0] : places[span[1] - 1][1]], len(known) / max(len(set(asked)), 1)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what was counted and chosen."""
        arrays, _ = super().to_state()
        return {**arrays, "log_length": self.log_length_}, {"prior": self.prior_, "ends": self.ends_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = super().from_state(arrays, document)
        rival.log_length_, rival.prior_ = arrays["log_length"], float(document["prior"])
        rival.ends_ = dict(document["ends"])
        return rival


def _ends(answers: list[list[str]], sightings: Counter[str]) -> dict[str, float]:
    """Return the log share of each word's sightings at an end of an answer; "" stands for words that are not known."""
    at_ends = Counter(word for words in answers if words for word in (words[0], words[-1]))
    common = (sum(at_ends.values()) + 1) / (2 * sum(sightings.values()) + 2)
    shares = {word: (at_ends[word] / 2 + _DOUBT * common) / (n + _DOUBT) for word, n in sightings.items() if n >= _SEEN}
    return {word: float(np.log(share)) for word, share in {"": common, **shares}.items()}


def _best_windows(weights: np.ndarray, length: int, n_asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for every span of a length the most that a window about it weighs, and where that window begins.

    >>> [one.tolist() for one in _best_windows(np.array([1.0, 0.0, 0.0, 2.0]), 1, 1)]
    [[1.0, 1.0, 2.0, 2.0], [-1, 0, 2, 2]]
    """
    padded = np.concatenate([np.zeros(n_asked), weights, np.zeros(n_asked)])
    sums = sliding_window_view(padded, length + n_asked).sum(1)  # window k begins at word k - n_asked
    about = sliding_window_view(sums, n_asked + 1)  # the windows that hold span k: those beginning at k-n_asked..k
    chosen = about.argmax(1)
    return about.max(1), np.arange(len(chosen)) + chosen - n_asked


def _distances(is_asked: np.ndarray) -> np.ndarray:
    """Return how many words away the nearest word of the question is, (P,).

    >>> _distances(np.array([False, True, False, False])).tolist()
    [1, 0, 1, 2]
    """
    places = np.flatnonzero(is_asked)
    return np.asarray(np.abs(np.arange(len(is_asked))[:, None] - places).min(1))
