"""Spans against a loop over all of them."""

import itertools
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.tasks.answer_decoding import best_spans


def windows_of(n_tokens, room, overlap, rng, unit=0):
    """Return windows over a passage: unit, first token, how many, and the scores of their rows."""
    found, first = [], 0
    while True:
        size = min(room, n_tokens - first)
        found.append((unit, first, size, rng.normal(size=(size + 3, 2)).astype(np.float32)))
        if first + size >= n_tokens:
            return found
        first += room - overlap


def made(passages):
    """Return windows as `best_spans` reads them, the tokens standing from place 2 of each row on."""
    units, first, size, logits = zip(*itertools.chain(*passages), strict=True)
    return SimpleNamespace(
        encoded=SimpleNamespace(example=np.array(units)),
        first=np.array(first),
        n_tokens=np.array(size),
        shift=np.full(len(first), 2),
    ), list(logits)


def by_loop(passage, longest):
    """Return the score of every span (first, last) as a dictionary, and that of none."""
    scores = {}
    for _, first, size, logits in passage:
        for i in range(size):
            for j in range(i, min(size, i + longest)):
                score = float(logits[2 + i, 0]) + float(logits[2 + j, 1])
                span = (first + i, first + j)
                scores[span] = max(scores.get(span, -np.inf), score)
    return scores, min(float(logits[0].sum()) for *_, logits in passage)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 99), st.integers(1, 6))
def test_spans_are_the_best_ones(n_tokens, longest, seed, k):
    rng = np.random.default_rng(seed)
    passages = [windows_of(n_tokens, 7, 3, rng), windows_of(5, 7, 3, rng, unit=1)]
    windows, logits = made(passages)
    found = best_spans(windows, logits, np.array([n_tokens, 5]), longest, k)
    for row, passage in enumerate(passages):
        scores, none = by_loop(passage, longest)
        best = sorted(scores.values(), reverse=True)[:k]
        assert np.allclose(found.score[row, : len(best)], best)
        assert (found.first[row, len(best) :] == -1).all()
        spans = zip(found.first[row, : len(best)].tolist(), found.last[row, : len(best)].tolist(), strict=True)
        assert np.allclose([scores[span] for span in spans], best)
        assert found.none[row] == none
        assert np.isclose(np.exp(found.log_total[row]), sum(np.exp(one) for one in scores.values()))


def test_probabilities_of_all_spans_and_none_sum_to_one():
    rng = np.random.default_rng(0)
    windows, logits = made([windows_of(6, 7, 3, rng)])
    found = best_spans(windows, logits, np.array([6]), 6, 50)
    for with_none in (True, False):
        spans, none = found.probability(with_none=with_none)
        assert np.isclose(spans.sum() + none.sum(), 1) and (none > 0).all() == with_none


def test_none_is_said_above_the_threshold_alone():
    windows, logits = made([windows_of(6, 7, 3, np.random.default_rng(0))])
    found = best_spans(windows, logits, np.array([6]), 6)
    margin = found.margin[0]
    assert [found.declined(cut).tolist() for cut in (margin - 0.1, margin + 0.1, None)] == [[True], [False], [False]]


def test_a_passage_without_tokens_has_no_answer():
    windows, logits = made([[(0, 0, 0, np.zeros((3, 2), np.float32))]])
    found = best_spans(windows, logits, np.array([0]), 5, 2)
    assert found.declined(None).tolist() == [True] and found.first.tolist() == [[-1, -1]]
    spans, none = found.probability(with_none=False)
    assert spans.sum() == none.sum() == 0


def test_tokens_that_may_not_answer_do_not():
    windows, logits = made([windows_of(6, 7, 3, np.random.default_rng(0))])
    logits[0][2:5] = -np.inf
    found = best_spans(windows, logits, np.array([6]), 6, 6)
    assert (found.first[found.first >= 0] >= 3).all()
