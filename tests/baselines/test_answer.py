"""Rivals of answers: what they find, when they give up, and that they are the same after saving."""

import numpy as np
import polars as pl
import pytest

from habitus.baselines.answer import ANSWER_BASELINES, CommonestAnswer, SharedWords, SlidingWindow
from habitus.baselines.answer.overlap import weights_of
from habitus.baselines.answer.window import _best_windows
from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import AnswerEncoder
from habitus.data.answer.table import read_questions
from habitus.fields.text import Text
from tests.squad import questions


def rows_of(table):
    found = read_questions(table, AnswerData(), "answer")
    encoder = AnswerEncoder.learn(
        Text(min_count=1, clean=False), pl.concat([found.questions, found.contexts.alias("q")])
    )
    return encoder.encode(found.questions, found.contexts, found.golds)


@pytest.fixture(scope="module")
def parts():
    return rows_of(questions(150)), rows_of(questions(60, seed=1)), rows_of(questions(60, seed=2))


@pytest.mark.parametrize("kind", ANSWER_BASELINES.values(), ids=lambda kind: kind.__name__)
def test_a_restored_rival_answers_the_same(kind, parts):
    train, validation, test = parts
    rival = kind().fit(train, validation)
    again = kind.from_state(*rival.to_state())
    assert again.answer(test) == rival.answer(test) and len(rival.answer(test)) == 60
    assert again.answer(test.take(np.zeros(0, int))) == []


@pytest.mark.parametrize("kind", [SharedWords, SlidingWindow])
def test_answers_stand_in_their_passage_and_some_are_held_back(kind, parts):
    train, validation, test = parts
    rival = kind().fit(train, validation)
    answers = rival.answer(test)
    assert all(one in passage for one, passage in zip(answers, test.contexts, strict=True))
    right = [bool(one) == bool(gold) for one, gold in zip(answers, test.golds, strict=True)]
    assert np.mean(right) > 0.8 > np.mean([bool(gold) for gold in test.golds])  # more than by always answering
    all_answered = kind().fit(train, rows_of(questions(30, unanswerable=0)))
    assert all_answered.least_ == -np.inf


def test_the_commonest_answer_must_stand_in_the_passage():
    table = pl.DataFrame({"question": ["q"] * 4, "context": ["a b c"] * 3 + ["b c"], "answer": ["a", "a", "c", "b"]})
    rows = rows_of(table)
    assert CommonestAnswer().fit(rows, rows).answer(rows) == ["a", "a", "a", "c"]


def test_words_weigh_as_richardson_says():
    found = weights_of(["who", "won", "it"], ["it", "was", "won", "it"])
    assert found == pytest.approx([np.log(1.5), 0, np.log(2), np.log(1.5)])


def test_windows_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    weights, length, n_asked = rng.random(9), 2, 3
    sums, begins = _best_windows(weights, length, n_asked)
    for at in range(len(weights) - length + 1):
        possible = {
            begin: sum(weights[k] for k in range(begin, begin + length + n_asked) if 0 <= k < 9)
            for begin in range(at - n_asked, at + 1)
        }
        assert sums[at] == pytest.approx(max(possible.values()))
        assert possible[int(begins[at])] == pytest.approx(sums[at])


def test_the_window_prefers_what_answers_look_like(parts):
    train, validation, test = parts
    answers = SlidingWindow().fit(train, validation).answer(test)
    known = {text for gold in test.golds for text, _ in gold}
    given = [one for one in answers if one]
    assert np.mean([one in known for one in given]) > 0.9
