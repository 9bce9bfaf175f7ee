"""Pairs: what is refused and why, what is cut, which side of the split a source is on, and batches without padding."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.pairs.batch import PairTensors, pair_batches, pair_waste
from habitus.data.pairs.encoder import PairEncoder
from habitus.data.pairs.split import PairSplit
from habitus.data.pairs.subwords import END, PAD
from habitus.data.pairs.table import PairData, keys_of, read_pairs
from habitus.errors import ConfigError, DataError


def test_bad_rows_are_refused_with_their_reason():
    table = pl.DataFrame({"id": [1, 2, 3, 4, 5], "en": ["a", None, " ", "d", "e"], "ja": ["x", "y", "z", None, ""]})
    found = read_pairs(table, "en", "ja")
    assert found.sources.to_list() == ["a"] and found.frame["id"].to_list() == [1]
    assert found.rejects.counts == {"'en' is missing": 1, "'en' is empty": 1, "'ja' is missing": 1, "'ja' is empty": 1}
    assert found.rejects.samples[0].row == 2


def test_without_a_target_only_sources_are_looked_at():
    found = read_pairs(pl.DataFrame({"en": ["a", "b"]}), "en", None)
    assert found.targets is None and len(found.sources) == 2


def test_lists_with_a_gap_are_refused():
    table = pl.DataFrame({"past": [["a"], [], ["a", None], None], "next": [["b"]] * 4})
    found = read_pairs(table, "past", "next")
    assert found.sources.to_list() == [["a"]]
    assert set(found.rejects.counts) == {"'past' is empty", "'past' holds a missing token", "'past' is missing"}


def test_lists_of_whole_numbers_become_text():
    found = read_pairs(pl.DataFrame({"past": [[1, 2]], "next": [[3]]}), "past", "next")
    assert found.sources.to_list() == [["1", "2"]]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"en": ["a"]}, "has no column 'ja'"),
        ({"en": ["a"], "ja": [1.5]}, "holds Float64"),
        ({"en": [[1.5]], "ja": ["a"]}, "holds lists of Float64"),
        ({"en": [None], "ja": ["a"]}, "no pair that can be used"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table, words):
    table = pl.DataFrame(table, schema_overrides={"en": pl.String} if table["en"] == [None] else None)
    with pytest.raises(DataError, match=words):
        read_pairs(table, "en", "ja")


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.csv", "pairs.parquet"])
def test_files_read_alike(tmp_path, name):
    table, path = pl.DataFrame({"en": ["a b", "c, d"], "ja": ["あ", "い"]}), tmp_path / name
    if name.endswith("parquet"):
        table.write_parquet(path)
    else:
        table.write_csv(path, separator="\t" if name.endswith("tsv") else ",")
    found = read_pairs(path, "en", "ja")
    assert (found.sources.to_list(), found.targets.to_list()) == (["a b", "c, d"], ["あ", "い"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=30, max_size=80), st.integers(0, 5))
def test_a_source_is_on_one_side_only(keys, seed):
    parts = PairSplit(validation=0.2, test=0.2, seed=seed).assign(pl.Series(keys))
    assert all(len({part for key, part in zip(keys, parts, strict=True) if key == one}) == 1 for one in set(keys))


def test_files_of_a_split_take_the_place_of_shares():
    split = PairSplit(validation_pairs="dev.tsv", test_pairs="test.tsv")
    assert set(split.assign(pl.Series(list("abcdefghij")))) == {"train"}
    assert split.sentence() == "by files: 'dev.tsv' choose the best epoch, 'test.tsv' judge"


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match="nothing to train on"):
        PairSplit(validation=0.5, test=0.5)


def lists(*rows):
    return pl.Series([list(row) for row in rows])


def test_long_sides_are_cut_and_it_is_said():
    data = PairData(max_length=2, max_target_length=3)
    encoder = PairEncoder.learn(lists("abc", "a"), lists("xyz", "x"), data)
    rows, notes = encoder.encode(lists("abc", "a"), lists("xyz", "x"))
    assert encoder.source.pieces(rows.source_ids.lists()[0]) == ["b", "c"]  # a history keeps its latest tokens
    assert encoder.target.pieces(rows.target_ids.lists()[0]) == ["x", "y", "z"]  # no end mark: it goes on
    assert rows.target_ids.lists()[1][-1] == END
    assert [note.split(" are ")[0] for note in notes] == ["1 of 2 sources", "1 of 2 targets"]


def test_unknown_tokens_are_said():
    encoder = PairEncoder.learn(lists("ab"), lists("x"), PairData())
    assert encoder.encode(lists("abcd"), lists("x"))[1] == [
        "50.00 % of the source tokens are unknown to the vocabulary."
    ]


def test_a_joint_vocabulary_is_one_and_survives_json():
    encoder = PairEncoder.learn(lists("ab"), lists("bc"), PairData(joint=True))
    again = PairEncoder.from_json(encoder.to_json())
    assert encoder.joint and again.joint and again.longest == encoder.longest == 3
    assert again.source.encode(lists("abc")).values.tolist() == encoder.target.encode(lists("abc")).values.tolist()


def test_text_for_a_model_of_lists_is_refused():
    encoder = PairEncoder.learn(lists("ab"), lists("x"), PairData())
    with pytest.raises(DataError, match="trained on lists"):
        encoder.encode(pl.Series(["a b"]), None)


def test_keys_of_lists_keep_their_borders():
    assert keys_of(lists(["ab"], ["a", "b"])).n_unique() == 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=60), st.integers(0, 3))
def test_every_pair_is_in_one_batch(lengths, seed):
    source, target = (np.array(side) for side in zip(*lengths, strict=True))
    rng = np.random.default_rng(seed) if seed else None
    batches = pair_batches(source, target, batch_tokens=30, batch_rows=7, rng=rng)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(
        len(rows) <= 7 and (len(rows) == 1 or len(rows) * max(source[rows].max(), target[rows].max()) <= 30)
        for rows in batches
    )


def test_batches_of_many_pairs_hold_hardly_any_padding():
    rng = np.random.default_rng(0)
    target = rng.integers(2, 25, 8000)
    source = np.maximum(target + rng.integers(-6, 7, 8000), 1)
    batches = pair_batches(source, target, batch_tokens=4096, batch_rows=64, rng=rng)
    assert pair_waste(source, target, batches) < 0.03


def test_a_batch_is_padded_on_the_right():
    encoder = PairEncoder.learn(lists("ab", "b"), lists("x", "xx"), PairData())
    rows, _ = encoder.encode(lists("ab", "b"), lists("x", "xx"))
    batch = PairTensors(rows).gather(np.array([1, 0]))
    assert batch.source_BT[0].tolist()[1:] == [PAD] and batch.lengths.tolist() == [1, 2]
    assert batch.target_BQ[1].tolist()[1:] == [END, PAD] and batch.target_lengths.tolist() == [3, 2]
