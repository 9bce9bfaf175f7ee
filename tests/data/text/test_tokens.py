import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from habitus.data.text.clean import cleaned
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import ConfigError
from habitus.fields.text import TOKENIZERS, Text

TEXTS = ["A fine film, a FINE cast.", "not good<br /><br />not bad", "it&#39;s fine &amp; dandy", "", "fine"]
HARD = ["", " ", "\0", "😀 👩‍👩‍👧", "\u200b", "<b>", "a" * 5000, "&", "&#xD800;", "中文字很好", "e\u0301", "1 2.5"]


def words(text):
    text = re.sub(r"</?[a-zA-Z][^<>]*>", " ", text).replace("&#39;", "'").replace("&amp;", "&").lower()
    return re.findall(r"\w+(?:['’][^\W\d_]+)*|[^\s\w]", text)


def test_words_are_those_of_a_plain_expression_in_order_of_frequency():
    found = TextVocabulary.fit(Text(min_count=1), pl.Series(TEXTS))
    counted = Counter(word for text in TEXTS for word in words(text))
    assert found.values == [word for word, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    assert found.counts == sorted(counted.values(), reverse=True)
    ids = found.encode_texts(pl.Series(TEXTS))
    assert [[found.values[i - 3] for i in row] for row in ids.lists()] == [words(text) for text in TEXTS]


def test_counts_agree_with_those_of_scikit_learn():
    texts = ["one two two", "two three three three"]
    theirs = CountVectorizer().fit(texts)
    ours = TextVocabulary.fit(Text(min_count=1), pl.Series(texts))
    table = theirs.transform(texts).toarray()
    for row, ids in enumerate(ours.encode_texts(pl.Series(texts)).lists()):
        counted = Counter(ours.values[i - 3] for i in ids)
        assert {name: table[row, at] for name, at in theirs.vocabulary_.items() if table[row, at]} == counted


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_restored_vocabulary_reads_the_same(tokenizer):
    found = TextVocabulary.fit(
        Text(tokenizer, vocabulary_size=600, min_count=1), pl.Series(TEXTS * 3 + ["我喜欢这个酒店"])
    )
    again = TextVocabulary.from_json(found.to_json())
    both = [one.encode_texts(pl.Series(TEXTS + HARD)).lists() for one in (found, again)]
    assert both[0] == both[1] and len(both[0]) == len(TEXTS + HARD)
    assert 3 <= max(max(row, default=0) for row in both[0]) < found.size
    assert sum(found.counts) > 0 and len(found.counts) == len(found.values)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_cut_keeps_the_head_and_says_how_long_the_text_was(tokenizer):
    found = TextVocabulary.fit(Text(tokenizer, vocabulary_size=600, min_count=1), pl.Series(TEXTS))
    whole, n_whole = found.encode_counted(pl.Series(TEXTS))
    head, n_before = found.encode_counted(pl.Series(TEXTS), 3)
    assert head.lists() == [row[:3] for row in whole.lists()]
    assert (n_before == n_whole).all() and (n_whole == whole.lengths).all()


def test_scripts_without_spaces_are_read_by_character_and_by_word():
    text = pl.Series(["我喜欢这个酒店, ok"])
    assert TextVocabulary.fit(Text(min_count=1), text).tokens(text[0])[:2] == ["我", "喜"]
    assert "酒店" in TextVocabulary.fit(Text("chinese", min_count=1), text).tokens(text[0])


def test_case_and_markup_are_kept_where_it_is_asked():
    spec = Text(lower=False, clean=False, min_count=1)
    assert TextVocabulary.fit(spec, pl.Series(["A <b>"])).tokens("A <b>") == ["A", "<", "b", ">"]


def test_words_that_training_never_saw_are_unknown():
    assert TextVocabulary.fit(Text(min_count=2), pl.Series(["a a b"])).encode_texts(
        pl.Series(["b a c"])
    ).values.tolist() == [1, 3, 1]


def test_a_tokenizer_that_is_none_names_what_there_is():
    with pytest.raises(ConfigError, match="no pretrained encoder 'wrds'"):
        TextVocabulary.fit(Text("wrds"), pl.Series(["a"]))
    with pytest.raises(ConfigError, match="vocabulary_size=0"):
        Text(vocabulary_size=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30) | st.none(), min_size=1, max_size=6))
def test_any_text_becomes_ids_alone_as_in_company(texts):
    vocabulary = TextVocabulary.fit(Text(min_count=1), pl.Series(TEXTS))
    series = pl.Series(texts, dtype=pl.String)
    ids = vocabulary.encode_texts(series)
    assert len(ids) == len(texts) and ids.values.dtype == np.int32
    assert [vocabulary.encode_texts(series[i : i + 1]).lists()[0] for i in range(len(texts))] == ids.lists()


def test_tags_go_and_what_only_looks_like_them_stays():
    given_texts = ["a<br/>b", "1 < 2 and 3 > 2", "I <3 you", "<!-- x -->y", "&lt;b&gt;", "R&D"]
    assert cleaned(pl.Series(given_texts), lower=False).to_list() == [
        "a b", "1 < 2 and 3 > 2", "I <3 you", " y", "<b>", "R&D",
    ]  # fmt: skip
