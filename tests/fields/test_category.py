"""Vocabularies: ids by frequency, unknown and missing apart, the same on every chunking and in every encoding."""

import json
import zlib
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError
from habitus.fields.category import MISSING, N_RESERVED, UNKNOWN, Category, Vocabulary, as_category_strings

WORDS = st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=30)


def plain_ids(learned, spec, values):
    """The same in a loop: count, sort by count then by name, look up."""
    counts = Counter(value for value in learned if value is not None)
    kept = sorted((value for value in counts if counts[value] >= spec.min_count), key=lambda v: (-counts[v], v))
    ids = {value: i + N_RESERVED for i, value in enumerate(kept[: spec.max_size])}
    return [MISSING if value is None else ids.get(value, UNKNOWN) for value in values]


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS, st.integers(1, 3), st.integers(1, 5))
def test_ids_agree_with_a_plain_loop(learned, asked, min_count, max_size):
    spec = Category(min_count=min_count, max_size=max_size)
    vocabulary = Vocabulary.fit(spec, pl.Series(learned, dtype=pl.String))
    ids = vocabulary.encode(pl.Series(asked, dtype=pl.String))
    assert ids.dtype == np.int32
    assert ids.tolist() == plain_ids(learned, spec, asked)
    assert all(0 <= i < vocabulary.size for i in ids)


@settings(max_examples=40, deadline=None)
@given(WORDS, st.integers(0, 30))
def test_learning_in_chunks_gives_the_same_vocabulary(words, cut):
    whole = pl.Series(words, dtype=pl.String)
    chunks = Vocabulary.fit(Category(), [whole[:cut], whole[cut:]])
    assert chunks == Vocabulary.fit(Category(), whole)


@settings(max_examples=40, deadline=None)
@given(WORDS, st.integers(2, 50))
def test_hashed_ids_are_crc_32_of_the_bytes(words, buckets):
    vocabulary = Vocabulary.fit(Category(hash_buckets=buckets), pl.Series(words, dtype=pl.String))
    expected = [MISSING if w is None else zlib.crc32(w.encode()) % buckets + N_RESERVED for w in words]
    assert vocabulary.encode(pl.Series(words, dtype=pl.String)).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(WORDS)
def test_known_values_come_back_by_name(words):
    vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(words, dtype=pl.String))
    assert vocabulary.decode(vocabulary.encode(pl.Series(words, dtype=pl.String))) == words


@settings(max_examples=30, deadline=None)
@given(WORDS)
def test_a_vocabulary_survives_json(words):
    vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(words, dtype=pl.String))
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Int8, pl.Float64, pl.Float32, pl.Decimal(10, 2), pl.String])
def test_whole_numbers_are_one_value_in_every_type(dtype):
    vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(["3", "5"]))
    assert vocabulary.encode(pl.Series([3, 5, 3]).cast(dtype)).tolist() == [3, 4, 3]


def test_minus_zero_nan_and_infinity_as_categories():
    assert as_category_strings(pl.Series([-0.0, float("nan"), float("inf")])).to_list() == ["0", None, "inf"]


def test_composed_and_decomposed_names_are_two_values():
    assert len(Vocabulary.fit(Category(min_count=1), pl.Series(["caf\u00e9", "cafe\u0301"])).values) == 2


def test_an_empty_column_and_an_empty_vocabulary_are_read():
    vocabulary = Vocabulary.fit(Category(), pl.Series([], dtype=pl.String))
    assert vocabulary.encode(pl.Series(["a", None])).tolist() == [UNKNOWN, MISSING]
    assert vocabulary.encode(pl.Series([None, None])).tolist() == [MISSING, MISSING]
    assert vocabulary.size == N_RESERVED


def test_a_hundred_thousand_new_values_are_unknown():
    vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(["old"]))
    assert set(vocabulary.encode(pl.Series([f"new{i}" for i in range(100_000)])).tolist()) == {UNKNOWN}


@pytest.mark.parametrize("options", [{"min_count": 0}, {"max_size": 0}, {"hash_buckets": 1}])
def test_options_that_keep_nothing_are_refused(options):
    with pytest.raises(ConfigError):
        Category(**options)
