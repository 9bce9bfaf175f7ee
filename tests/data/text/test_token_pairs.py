from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.text.token_pairs import TokenPairs
from habitus.data.text.tokens import TextVocabulary
from habitus.fields.text import Text

TEXTS = st.lists(st.lists(st.sampled_from(["not", "good", "bad", "very"]), max_size=6), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_pairs_are_those_of_a_plain_loop(words):
    texts = pl.Series([" ".join(one) for one in words], dtype=pl.String)
    tokens = TextVocabulary.fit(Text(min_count=1), texts)
    ids = tokens.encode_texts(texts)
    found = TokenPairs.learn(tokens, ids, 5, least=2)
    counted = Counter(f"{a} {b}" for one in words for a, b in pairwise(one))
    often = sorted((n for n in counted.values() if n >= 2), reverse=True)[:5]
    assert found.counts == often and all(counted[name] == n for name, n in zip(found.values, found.counts, strict=True))
    again = TokenPairs.from_json(found.to_json())
    read = again.pairs_of(ids)
    place = 0
    for one in words:
        for at in range(len(one)):
            name = f"{one[at - 1]} {one[at]}" if at else None
            expected = 2 if name is None else found.values.index(name) + 3 if name in found.values else 1
            assert read[place] == expected
            place += 1
    assert read.dtype == np.int32 and len(read) == place


def test_a_pair_never_reaches_over_the_end_of_a_text():
    texts = pl.Series(["a b", "a b", "b a"])
    tokens = TextVocabulary.fit(Text(min_count=1), texts)
    found = TokenPairs.learn(tokens, tokens.encode_texts(texts), 9, least=1)
    assert set(found.values) == {"a b", "b a"} and sum(found.counts) == 3
