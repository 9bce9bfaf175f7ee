import numpy as np
import polars as pl
import pytest

from habitus.data.options import Data
from habitus.data.split import Split
from habitus.data.text.encode import encode_texts, fit_text_encoder
from habitus.data.text.table import read_texts
from habitus.errors import ConfigError, DataError

TABLE = pl.DataFrame({"review": ["good", "bad", "good", None], "stars": [5, 1, 4, 3], "shop": ["a", "b", "a", "b"]})
DATA = Data(text="review")


def test_equal_texts_are_one_entity_and_so_on_one_side():
    found = read_texts(TABLE, DATA, target="stars")
    ids = found.examples.frame["text_id"].to_list()
    assert ids[0] == ids[2] and len(set(ids)) == 3
    assert ids == read_texts(TABLE, DATA, target="stars").examples.frame["text_id"].to_list()
    table = pl.DataFrame({"review": [f"text {i % 20}" for i in range(60)], "stars": range(60)})
    found = read_texts(table, DATA, target="stars")
    part = Split(validation=0.3, test=0.3).assign(found.examples.frame, "text_id", "cutoff")
    assert all(len(set(part[i::20])) == 1 for i in range(20)) and set(part) == {"train", "validation", "test"}


def test_what_is_noticed_is_said():
    notes = " ".join(read_texts(TABLE, DATA, target="stars").examples.notes)
    assert "1 of 4 texts in 'review' are empty" in notes and "1 texts repeat another one" in notes


def test_the_columns_that_are_there_say_whose_and_when():
    table = TABLE.with_columns(user_id=pl.Series([1, 1, 2, 2]), cutoff=pl.lit("2024-01-01T00:00:00Z"))
    found = read_texts(table, DATA, target="stars")
    assert found.examples.schema.entity == "user_id" and found.keys.columns == ["row", "user_id", "cutoff"]
    assert list(found.examples.schema.profile) == ["shop"]
    assert read_texts(TABLE, DATA, target="stars").keys.columns == ["row"]


def test_rows_without_a_label_are_rejected_and_the_others_keep_their_number():
    table = TABLE.with_columns(stars=pl.Series([5, None, 4, 3]))
    found = read_texts(table, DATA, target="stars")
    assert found.keys["row"].to_list() == [1, 3, 4] and found.examples.rejects.total == 1


def test_only_training_texts_teach_words():
    found = read_texts(pl.DataFrame({"review": ["seen seen", "hidden hidden"], "stars": [1, 2]}), DATA, target="stars")
    encoder = fit_text_encoder(found, np.array([True, False]), DATA.text_spec)
    assert encoder.fields["review"].values == ["seen"]
    encoded, notes = encode_texts(encoder, found, 1)
    assert encoded.ids["review"].tolist() == [3, 1] and encoded.n_events.tolist() == [2, 2]
    assert notes == [
        "2 of 2 texts are longer than max_length=1 tokens; their first 1 are read, which leaves out 50.0 % of all "
        "tokens."
    ]


def test_two_texts_are_read_one_after_the_other():
    table = pl.DataFrame({"title": ["a a", "a"], "body": ["b b b", ""], "stars": [1, 2]})
    data = Data(text="title, body")
    found = read_texts(table, data, target="stars")
    encoder = fit_text_encoder(found, np.array([True, True]), data.text_spec)
    encoded, _ = encode_texts(encoder, found, 4)
    names = encoder.fields["title+body"].values
    assert [names[i - 3] for i in encoded.ids["title+body"]] == ["a", "a", "b", "b", "a"]
    assert encoded.offsets.tolist() == [0, 4, 5]


@pytest.mark.parametrize("column", [[1, 2], [1.5, None], [True, False]])
def test_values_that_are_no_texts_are_read_as_written(column):
    found = read_texts(pl.DataFrame({"review": column, "stars": [1, 2]}), DATA, target="stars")
    assert "are read as they are written" in " ".join(found.examples.notes)


@pytest.mark.parametrize(
    ("table", "data", "said"),
    [
        (TABLE, Data(text="reviw"), "did you mean 'review'"),
        (TABLE, Data(text="stars"), "cannot be the target too"),
        (TABLE.with_columns(review=pl.lit(" ")), DATA, "holds no text in any row"),
        (TABLE.with_columns(review=[["a"]] * 4), DATA, "where texts are expected"),
        (TABLE, Data(text="review", entity="review"), "cannot be the text as well"),
        (TABLE[:0], DATA, "holds no rows"),
    ],
)
def test_a_table_that_cannot_be_read_gets_a_sentence(table, data, said):
    with pytest.raises((ConfigError, DataError), match=said):
        read_texts(table, data, target="stars")


def test_options_that_do_not_fit_get_a_sentence():
    for options, said in (
        ({"text": " , "}, "names no column"),
        ({"text": "a", "history": "windows"}, "history='windows'"),
        ({"text": "a", "words": "b"}, "use one"),
    ):
        with pytest.raises(ConfigError, match=said):
            Data(**options)
    with pytest.raises(ConfigError, match="leave out events"):
        DATA.refuse_sources("log.parquet")
    with pytest.raises(ConfigError, match="Nothing says what is to be read"):
        Data().refuse_sources(None)
