"""Exact match and token F1 against SQuAD's own rules, numbers worked by hand, and brute force."""

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.metrics.answer import (
    AnswerTruth,
    answer_differences,
    answer_metrics,
    answer_scores,
    best_threshold,
    words_of,
)


def official(gold, given):
    """Return exact match and F1 of one pair by the rules of SQuAD's evaluate-v2.0.py, in its order of steps."""

    def normal(text):
        text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    one, two = normal(gold).split(), normal(given).split()
    exact = int(normal(gold) == normal(given))
    same = sum((collections.Counter(one) & collections.Counter(two)).values())
    if not one or not two:
        return exact, int(one == two)
    if not same:
        return exact, 0
    precision, recall = same / len(two), same / len(one)
    return exact, 2 * precision * recall / (precision + recall)


def truth(*golds, passage=None):
    return AnswerTruth(golds, np.arange(len(golds)) if passage is None else np.array(passage))


@given(st.lists(st.sampled_from(["the", "A", "cat", "Cat.", "an", "x-ray", "xray", "1,000", "--"]), max_size=5),
       st.lists(st.sampled_from(["the", "a", "cat", "cats", "xray", "1000", "!"]), max_size=5))  # fmt: skip
def test_scores_are_those_of_squad(one, two):
    gold, answer = " ".join(one), " ".join(two)
    exact, f1 = answer_scores(truth([gold]), [answer])
    assert (exact[0], f1[0]) == pytest.approx(official(gold, answer))


def test_worked_by_hand():
    exact, f1 = answer_scores(
        truth(["the red cat"], ["Denver Broncos", "Broncos"], [], [], ["in 1990"]),
        ["a red dog", "the Broncos!", "", "cat", ""],
    )
    assert exact.tolist() == [0, 1, 1, 0, 0]
    assert f1.tolist() == [0.5, 1, 1, 0, 0]  # red: 1 of 2 and 1 of 2


def test_chinese_is_judged_by_character():
    assert words_of("李 白，唐代") == ["李", "白", "唐", "代"]
    exact, f1 = answer_scores(truth(["李白"], ["1990年"]), ["诗人李白", "1990 年。"])
    assert exact.tolist() == [0, 1] and f1.tolist() == pytest.approx([2 * 2 / (2 + 4), 1])


def test_the_best_of_several_true_answers_counts():
    assert answer_scores(truth(["four", "4 of them"]), ["4 of them"])[0][0] == 1


def test_kinds_stand_apart_where_some_have_no_answer():
    judged = truth(["cat"], ["dog"], [], [])
    found = answer_metrics(judged, ["cat", "", "", "bird"])
    values = {name: one.value for name, one in found.items()}
    assert values == {
        "token_f1": 0.5, "exact": 0.5, "has_answer_f1": 0.5, "has_answer_exact": 0.5, "no_answer_exact": 0.5,
    }  # fmt: skip
    assert set(answer_metrics(truth(["cat"]), ["cat"])) == {"token_f1", "exact"}


def test_intervals_are_over_passages():
    rng = np.random.default_rng(0)
    passage = np.repeat(np.arange(40), 10)
    right = rng.random(40)[passage] < 0.5  # a passage's questions are all right or all wrong
    answers = ["cat" if one else "dog" for one in right]
    golds = [["cat"]] * 400
    apart, together = (answer_metrics(AnswerTruth(golds, one), answers)["exact"] for one in (np.arange(400), passage))
    assert apart.value == together.value
    widths = [one.high - one.low for one in (apart, together)]
    assert widths[1] > 2.2 * widths[0]  # sqrt(10) is 3.2
    means = right.reshape(40, 10)[:, 0]
    assert widths[1] / 2 == pytest.approx(1.96 * means.std() / np.sqrt(40), rel=0.15)


def test_a_difference_with_itself_is_nothing():
    judged, answers = truth(["cat"], []), ["a cat", "dog"]
    assert all(one.value == one.low == one.high == 0 for one in answer_differences(judged, answers, answers).values())


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.integers(-3, 3)), min_size=1, max_size=8))
def test_the_threshold_is_the_best_there_is(rows):
    scores, has, margin = (np.array(side) for side in zip(*rows, strict=True))
    scores, margin = np.where(has, scores, 0.0), margin.astype(float)

    def mean(cut):
        return float(np.where(margin > cut, ~has, scores).mean())

    cut, value = best_threshold(scores, has, margin)
    assert value == pytest.approx(mean(cut))
    assert value == pytest.approx(max(mean(one) for one in np.arange(-4.5, 4.5, 0.5)))
