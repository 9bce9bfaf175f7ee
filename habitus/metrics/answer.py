"""Judge answers that are words of a passage, as SQuAD does; with 95 % intervals.

    exact                  the share of answers that are one of the true ones
    token_f1               the harmonic mean of precision and recall of an answer's words, with the nearest true one
    has_answer_exact, has_answer_f1, no_answer_exact      where some questions have no answer: the two kinds apart

(Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1, and 2018, arXiv:1806.03822; the rules of evaluate-v2.0.py.) Case,
punctuation and the articles a, an, the do not count. "" says that there is no answer, and is right or wrong as a whole.
Differs in that every Chinese or Japanese character is a word of its own, as in CMRC (Cui et al. 2019,
https://aclanthology.org/D19-1600), and in that wide punctuation is left out with the rest.

Intervals are percentiles of a bootstrap over passages: questions about one passage are not independent.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from habitus.metrics.intervals import Floats, Interval, bootstrap_interval, resamples

_N_BOOTSTRAP = 500
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WIDE = re.compile(r"[\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


@dataclass(frozen=True)
class AnswerTruth:
    """The true answers of n questions.

    Args:
        golds: of each, one or more texts; none where there is no answer.
        passage: int64 (n,), a number for each passage.
    """

    golds: Sequence[Sequence[str]]
    passage: np.ndarray

    def __len__(self) -> int:
        return len(self.golds)

    @property
    def has_answer(self) -> np.ndarray:
        """Whether there is an answer, bool (n,)."""
        return np.array([any(gold) for gold in self.golds], dtype=bool)


def words_of(text: str) -> list[str]:
    """Return what is compared of an answer.

    >>> words_of("The  Eiffel-Tower!"), words_of("在1990年。")
    (['eiffeltower'], ['在', '1990', '年'])
    """
    bare = _ARTICLES.sub(" ", _WIDE.sub("", text.lower().translate(_PUNCTUATION)))
    return _UNSPACED.sub(r" \1 ", bare).split()


def answer_scores(truth: AnswerTruth, answers: Sequence[str]) -> tuple[Floats, Floats]:
    """Return whether each answer is exact, and its token F1, (n,) each, the best over its true answers.

    >>> truth = AnswerTruth([["the red cat", "cat"], []], np.arange(2))
    >>> [one.tolist() for one in answer_scores(truth, ["red cat", "dog"])]
    [[1.0, 0.0], [1.0, 0.0]]
    """
    found = [_score(gold, answer) for gold, answer in zip(truth.golds, answers, strict=True)]
    both = np.array(found, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def answer_metrics(truth: AnswerTruth, answers: Sequence[str]) -> dict[str, Interval]:
    """Return the metrics of n answers, 0 to 1; those of the two kinds where some questions have no answer."""
    return _intervals(_terms(truth, answers), truth.passage)


def answer_differences(truth: AnswerTruth, answers: Sequence[str], others: Sequence[str]) -> dict[str, Interval]:
    """Return paired differences of all metrics, answers minus others, on the same resamples."""
    mine, theirs = _terms(truth, answers), _terms(truth, others)
    return _intervals({name: (mine[name][0] - theirs[name][0], mine[name][1]) for name in mine}, truth.passage)


def best_threshold(scores: Floats, has_answer: np.ndarray, margin: Floats) -> tuple[float, float]:
    """Return above which margin "no answer" is the better answer, and the mean score with it.

    Args:
        scores: of the answers, were they given, (n,): their token F1; 0 where there is none.
        has_answer: bool (n,).
        margin: how much more the model says "no answer" than its best answer, (n,).

    Of equally good ones it is the lowest.

    >>> best_threshold(np.array([1.0, 0.0, 0.5]), np.array([True, False, True]), np.array([-2.0, 1.0, 0.0]))
    (0.5, 0.8333333333333334)
    """
    order = np.argsort(margin, kind="stable")
    given = np.where(has_answer, scores, 0.0)[order]
    declined = (~has_answer[order]).astype(np.float64)
    total = np.concatenate([[0.0], np.cumsum(given)]) + np.concatenate([np.cumsum(declined[::-1])[::-1], [0.0]])
    ends = margin[order]
    apart = np.concatenate([[True], ends[1:] > ends[:-1], [True]])  # equal margins are answered or declined together
    best = int(np.argmax(np.where(apart, total, -np.inf)))
    if best == 0:
        cut = float(ends[0]) - 1
    else:
        cut = float(ends[-1]) + 1 if best == len(ends) else float(ends[best - 1] + ends[best]) / 2
    return cut, float(total[best]) / len(ends)


def _score(gold: Sequence[str], answer: str) -> tuple[float, float]:
    given = words_of(answer)
    wanted = [words for words in map(words_of, gold) if words] or [[]]
    return float(any(words == given for words in wanted)), max(_f1(words, given) for words in wanted)


def _f1(wanted: Sequence[str], given: Sequence[str]) -> float:
    if not wanted or not given:
        return float(wanted == given)
    shared = sum((Counter(wanted) & Counter(given)).values())
    return 2 * shared / (len(wanted) + len(given))


Terms = Mapping[str, tuple[Floats, np.ndarray]]  # name -> values (n,), and which of them count, bool (n,)


def _terms(truth: AnswerTruth, answers: Sequence[str]) -> Terms:
    exact, f1 = answer_scores(truth, answers)
    every, has = np.ones(len(truth), dtype=bool), truth.has_answer
    found = {"token_f1": (f1, every), "exact": (exact, every)}
    if has.all():
        return found
    return found | {
        "has_answer_f1": (f1, has),
        "has_answer_exact": (exact, has),
        "no_answer_exact": (exact, ~has),
    }


def _intervals(terms: Terms, passage: np.ndarray) -> dict[str, Interval]:
    groups, place = np.unique(passage, return_inverse=True)
    drawn = list(resamples(len(groups), _N_BOOTSTRAP))
    found = {}
    for name, (values, counts) in terms.items():
        if not counts.any():
            found[name] = Interval.undefined()
            continue
        sums = np.bincount(place, np.where(counts, values, 0.0), minlength=len(groups))
        sizes = np.bincount(place, counts, minlength=len(groups))
        draws = np.concatenate([_ratio(weights @ sums, weights @ sizes) for weights in drawn])
        found[name] = bootstrap_interval(float(values[counts].mean()), draws)
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.where(below > 0, above / np.maximum(below, 1), np.nan)
