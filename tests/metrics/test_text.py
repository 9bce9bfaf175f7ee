"""BLEU and chrF against sacrebleu itself, on the data and on resamples of it."""

import sys

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError, MissingExtraError
from habitus.metrics import text
from habitus.metrics.text import (
    bleu_of,
    choose_tokenizer,
    chrf_of,
    signature,
    text_differences,
    text_metrics,
    text_sums,
)

TRUTH = ["the cat sat on the mat .", "a dog , running", "two men are walking down the street", "yes", "it is late now"]
ANSWER = ["the cat sat on a mat .", "a dog is running", "two men walk down the street", "no", "it is late now"]
words = st.lists(st.sampled_from(["a", "b", "c", "d,", "e."]), max_size=7).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_bleu_and_chrf_equal_sacrebleu(pairs):
    truth, answer = (list(side) for side in zip(*pairs, strict=True))
    sums = text_sums(truth, answer, "13a")
    bleu = sacrebleu.corpus_bleu(answer, [truth], tokenize="13a", force=True).score
    chrf = sacrebleu.corpus_chrf(answer, [truth]).score
    assert bleu_of(sums.bleu.sum(axis=0)[None])[0] == pytest.approx(bleu, abs=1e-9)
    assert chrf_of(sums.chrf.sum(axis=0)[None])[0] == pytest.approx(chrf, abs=1e-9)


@pytest.mark.parametrize("tokenizer", ["13a", "char", "none", "intl"])
def test_a_resample_costs_no_reading_and_equals_sacrebleu(tokenizer):
    sums = text_sums(TRUTH, ANSWER, tokenizer)
    rows = [0, 0, 2, 4, 1, 0]
    weights = np.bincount(rows, minlength=5)[None].astype(float)
    expected = sacrebleu.corpus_bleu(
        [ANSWER[i] for i in rows], [[TRUTH[i] for i in rows]], tokenize=tokenizer, force=True
    )
    assert bleu_of(weights @ sums.bleu)[0] == pytest.approx(expected.score, abs=1e-9)


def test_the_interval_is_about_that_of_sacrebleu():
    truth, answer = TRUTH * 40, ANSWER * 40
    rng = np.random.default_rng(0)
    order = rng.permutation(len(truth))
    truth, answer = [truth[i] for i in order], [answer[i] for i in order]
    ours = text_metrics(text_sums(truth, answer, "13a"))["bleu"]
    theirs = sacrebleu.metrics.BLEU(force=True).corpus_score(answer, [truth], n_bootstrap=1000)
    assert ours.value == pytest.approx(theirs.score)
    assert (ours.high - ours.low) / 2 == pytest.approx(theirs._ci, rel=0.2)


def test_exact_match_and_places_by_hand():
    found = text_metrics(text_sums(["a b c", "d"], ["a x c e", "d"], "13a"))
    assert found["exact"].value == 0.5
    assert found["token_accuracy"].value == 3 / 5  # a and c of four places, d of one


def test_places_of_japanese_are_characters():
    assert text_metrics(text_sums(["猫 です"], ["犬です"], "char"))["token_accuracy"].value == 2 / 3


def test_token_lists_have_a_bleu_of_their_tokens_and_no_chrf():
    truth, answer = [["open app", "buy", "pay", "leave", "x"]], [["open app", "buy", "pay", "leave", "y"]]
    found = text_metrics(text_sums(truth, answer, "none"))
    expected = sacrebleu.corpus_bleu(["0 1 2 3 5"], [["0 1 2 3 4"]], tokenize="none", force=True).score
    assert "chrf" not in found and found["bleu"].value == pytest.approx(expected)


def test_a_paired_difference_is_narrower_than_two_intervals():
    truth = [f"{text} {number}" for number, text in enumerate(TRUTH * 30)]
    answer = [f"{text} {number}" for number, text in enumerate(ANSWER * 30)]
    other = [text.replace("the", "this", 1) if number % 7 == 0 else text for number, text in enumerate(answer)]
    one, two = text_sums(truth, answer, "13a"), text_sums(truth, other, "13a")
    apart, alone = text_differences(one, two)["bleu"], text_metrics(one)["bleu"]
    assert apart.value == pytest.approx(alone.value - text_metrics(two)["bleu"].value)
    assert apart.low > 0 and apart.high - apart.low < (alone.high - alone.low) / 2


def test_the_same_answers_differ_by_nothing():
    sums = text_sums(TRUTH, ANSWER, "13a")
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in text_differences(sums, sums).values())


def test_the_tokenizer_fits_the_language_unless_one_is_asked_for():
    assert choose_tokenizer(["ich ging nach Hause ."]) == "13a"
    assert choose_tokenizer(["私は家に帰った。"]) == "char"
    assert choose_tokenizer(["私は家に帰った。"], "none") == "none"
    with pytest.raises(ConfigError, match="did you mean 'char'"):
        choose_tokenizer(["a"], "chars")


def test_the_signature_names_the_tokenizer():
    assert "tok:char" in signature("char") and "tok:13a" in signature("13a")


def test_without_sacrebleu_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    text._bleu.cache_clear()
    with pytest.raises(MissingExtraError, match=r"habitus\[text\]"):
        text_sums(["a"], ["a"], "13a")


def test_nothing_to_judge_is_undefined():
    assert not text_metrics(text_sums([], [], "13a"))["bleu"].is_defined
