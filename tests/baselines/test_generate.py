"""Rivals without a network for written sequences: what they answer, by hand and against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from habitus.baselines.generate import GENERATE_BASELINES, CopySource, TranslationMemory
from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.table import PairRows

TEXTS = ["i like cats .", "where is the station ?", "he likes dogs .", "it is raining ."]


def rows(sources, targets):
    empty = Ragged(np.zeros(0, np.int32), np.zeros(len(sources) + 1, np.int64))
    return PairRows(empty, empty, pl.Series(sources), None if targets is None else pl.Series(targets))


def fitted(kind, sources, targets):
    return kind().fit(rows(sources, targets), rows(sources[:1], targets[:1]))


def test_a_copy_is_the_source():
    assert fitted(CopySource, TEXTS, TEXTS).answer(rows(["x y"], None)) == ["x y"]


def test_a_copy_of_text_as_a_list_is_its_words_and_the_other_way_round():
    assert fitted(CopySource, ["a b"], [["c"]]).answer(rows(["x y"], None)) == [["x", "y"]]
    assert fitted(CopySource, [["a"]], ["c"]).answer(rows([["x", "y"]], None)) == ["x y"]


def test_the_memory_answers_with_the_target_of_the_nearest_source():
    memory = fitted(TranslationMemory, TEXTS, ["1", "2", "3", "4"])
    asked = ["he liked a dog .", "is it raining ?", "the stations"]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 4)).fit(TEXTS)
    nearest = cosine_similarity(vectorizer.transform(asked), vectorizer.transform(TEXTS)).argmax(axis=1)
    assert memory.answer(rows(asked, None)) == [str(one + 1) for one in nearest] == ["3", "4", "2"]


def test_the_memory_of_token_lists_reads_tokens_and_their_neighbours():
    memory = fitted(TranslationMemory, [["a", "b", "c"], ["c", "b", "a"]], [["x"], ["y"]])
    assert memory.answer(rows([["b", "a"], ["a", "b"]], None)) == [["y"], ["x"]]


@pytest.mark.parametrize("name", GENERATE_BASELINES)
def test_a_rival_survives_its_state(name):
    rival = fitted(GENERATE_BASELINES[name], TEXTS, ["イ", "ロ", "ハ", "ニ"])
    again = GENERATE_BASELINES[name].from_state(*rival.to_state())
    asked = rows(["cats", "dogs and rain"], None)
    assert again.answer(asked) == rival.answer(asked)
