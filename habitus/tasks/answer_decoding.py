"""From the scores of windows to answers: the best spans of a whole passage, and how likely each is.

A span of tokens i..j scores start[i] + end[j], its best over the windows that hold it; "no answer" scores what [CLS]
does, its least over the windows, because one window with an answer is enough (Devlin et al. 2019, section 4.3 and its
code). Probabilities are one softmax over all spans of the passage, and "no answer" where the model knows it: scores of
different windows and passages compare (the shared normalisation of Clark and Gardner 2018, arXiv:1710.10723, section
3.2). Knows nothing about texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from habitus.data.answer.windows import AnswerWindows
from habitus.metrics.intervals import Floats


@dataclass(frozen=True)
class Spans:
    """The k best spans of each of n passages, the best first.

    Args:
        first, last: int64 (n, k), tokens of the passage; -1 where a passage has fewer spans.
        score: float64 (n, k), in logits; -inf where there is none.
        none: float64 (n,), the score of "no answer".
        log_total: float64 (n,), the logarithm of the sum of exp(score) over all spans.
    """

    first: np.ndarray
    last: np.ndarray
    score: Floats
    none: Floats
    log_total: Floats

    @classmethod
    def together(cls, parts: Sequence[Spans]) -> Spans:
        """Return the spans of some passages after others as one."""
        return cls(*(np.concatenate([getattr(one, item.name) for one in parts]) for item in fields(cls)))

    @property
    def margin(self) -> Floats:
        """How much more "no answer" scores than the best span, (n,)."""
        return self.none - self.score[:, 0]

    def declined(self, threshold: float | None) -> np.ndarray:
        """Say for which passages "no answer" is the answer, bool (n,); without a threshold where there is no span."""
        declined = self.first[:, 0] < 0
        return declined if threshold is None else declined | (self.margin > threshold)

    def probability(self, *, with_none: bool) -> tuple[Floats, Floats]:
        """Return the probabilities of the spans (n, k) and of "no answer" (n,), which is 0 if it is no choice."""
        none = self.none if with_none else np.full_like(self.none, -np.inf)
        total = np.logaddexp(self.log_total, none)
        total = np.where(np.isfinite(total), total, 0.0)
        return np.exp(self.score - total[:, None]), np.exp(none - total)


def best_spans(
    windows: AnswerWindows, logits: Sequence[np.ndarray], n_tokens: np.ndarray, longest: int, k: int = 1
) -> Spans:
    """Return the best spans of every passage.

    Args:
        windows: of n questions.
        logits: start and end scores of each window's row.
        n_tokens: int (n,), of each passage.
        longest: most tokens of a span.
        k: spans to keep.
    """
    n, unit = len(n_tokens), windows.encoded.example
    bounds = np.searchsorted(unit, np.arange(n + 1))
    found = Spans(
        np.full((n, k), -1), np.full((n, k), -1), np.full((n, k), -np.inf), np.full(n, np.inf), np.full(n, -np.inf)
    )
    for row in range(n):
        mine = range(bounds[row], bounds[row + 1])
        found.none[row] = min(float(logits[w][0].sum()) for w in mine)
        if n_tokens[row]:
            _fill(found, row, _scores(windows, logits, mine, int(n_tokens[row]), longest))
    return found


def _scores(windows: AnswerWindows, logits: Sequence[np.ndarray], mine: range, n_tokens: int, longest: int) -> Floats:
    """Return the score of every span of a passage, by its first token and its length less one, (P, L)."""
    longest = min(longest, n_tokens)
    scores = np.full((n_tokens, longest), -np.inf)
    for w in mine:
        first, size, shift = int(windows.first[w]), int(windows.n_tokens[w]), int(windows.shift[w])
        if not size:
            continue
        start, end = logits[w][shift : shift + size].astype(np.float64).T
        ends = np.concatenate([end, np.full(longest - 1, -np.inf)])
        spans = start[:, None] + sliding_window_view(ends, longest)
        np.maximum(scores[first : first + size], spans, out=scores[first : first + size])
    return scores


def _fill(found: Spans, row: int, scores: Floats) -> None:
    flat, longest, k = scores.ravel(), scores.shape[1], found.first.shape[1]
    highest = flat.max()
    found.log_total[row] = highest + np.log(np.exp(flat - highest).sum())
    kept = np.argpartition(-flat, min(k, len(flat)) - 1)[:k]
    kept = kept[np.lexsort((kept, -flat[kept]))]
    kept = kept[np.isfinite(flat[kept])]
    size = len(kept)
    found.first[row, :size] = kept // longest
    found.last[row, :size] = kept // longest + kept % longest
    found.score[row, :size] = flat[kept]
