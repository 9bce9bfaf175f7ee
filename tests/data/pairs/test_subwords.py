"""Vocabularies: what comes back is what went in; only training texts are learned from."""

import json
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.subwords import END, N_SPECIAL, START, UNKNOWN, Subwords, Whole, learn_tokens, tokens_from_json
from habitus.errors import ConfigError, DataError, MissingExtraError

TEXTS = ["the cat sat on the mat .", "the dog sat too .", "誰が一番に着くか私には分かりません。", "私は猫です。"] * 5
KINDS = ("bpe", "unigram")
BPE, UNIGRAM = (Subwords.learn(TEXTS, kind, 600) for kind in KINDS)


@pytest.mark.parametrize("tokens", [BPE, UNIGRAM], ids=KINDS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_as_it_was(tokens, text):
    assert tokens.decode(tokens.encode(pl.Series([text]))) == [text]


@pytest.mark.parametrize("tokens", [BPE, UNIGRAM], ids=KINDS)
@pytest.mark.parametrize("text", ["  two  spaces ", "<0x41><pad>", "▁", "\ue000", "\n", "👩‍👩‍👧", ""])
def test_awkward_texts_come_back_too(tokens, text):
    assert tokens.decode(tokens.encode(pl.Series([text]))) == [text]


@pytest.mark.parametrize("tokens", [BPE, UNIGRAM], ids=KINDS)
def test_a_vocabulary_survives_json(tokens):
    again = tokens_from_json(json.loads(json.dumps(tokens.to_json())))
    units = pl.Series(TEXTS)
    assert again.size == tokens.size
    assert again.encode(units).values.tolist() == tokens.encode(units).values.tolist()


@pytest.mark.parametrize("tokens", [BPE, UNIGRAM], ids=KINDS)
def test_subwords_are_never_unknown_and_within_the_size(tokens):
    ids = tokens.encode(pl.Series(["Ünïcödé 漢字 🎉"])).values
    assert ids.min() >= N_SPECIAL and ids.max() < tokens.size <= 600


def test_frequent_words_are_one_subword():
    assert BPE.pieces(BPE.encode(pl.Series(["the cat"])).values.tolist()) == ["▁the", "▁cat"]


def test_without_the_library_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"habitus\[text\]"):
        Subwords.learn(TEXTS, "bpe", 600)


def test_a_damaged_vocabulary_is_refused():
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        tokens_from_json({"kind": "bpe", "tokenizer": {"model": {"type": "none"}}})


def test_a_vocabulary_too_small_for_bytes_is_refused():
    with pytest.raises(ConfigError, match="512"):
        Subwords.learn(TEXTS, "bpe", 300)


def test_the_most_frequent_words_are_kept_and_others_are_unknown():
    words = Whole.learn(pl.Series(["b a a", "a c"]), "words", N_SPECIAL + 2)
    assert words.values == ["a", "b"]
    ids = words.encode(pl.Series(["a c", "  b   a "]))
    assert ids.lists() == [[N_SPECIAL, UNKNOWN], [N_SPECIAL + 1, N_SPECIAL]]
    assert words.decode(ids) == ["a <unknown>", "b a"]


def test_characters_come_back_as_they_were():
    characters = learn_tokens(pl.Series(["猫です", "a b"]), "characters", 100)
    assert characters.decode(characters.encode(pl.Series(["b 猫"]))) == ["b 猫"]


def test_token_lists_are_taken_as_they_are():
    units = pl.Series([["open app", "buy"], ["buy"], []], dtype=pl.List(pl.String))
    tokens = tokens_from_json(learn_tokens(units, "list", 100).to_json())
    ids = tokens.encode(units)
    assert ids.lengths.tolist() == [2, 1, 0]
    assert tokens.decode(ids) == units.to_list()


def test_start_and_end_are_left_out_of_what_is_read():
    tokens = Whole("words", ["a"])
    assert tokens.decode(Ragged.of([[START, N_SPECIAL, END]])) == ["a"]
    assert BPE.decode(Ragged.of([[START, END]])) == [""]
