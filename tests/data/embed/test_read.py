"""What a table says, how it is divided, and what is refused."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.embed.events import history_rows
from habitus.data.embed.read import halves, read_to_judge, read_to_learn
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.errors import ConfigError, DataError

WORDS = [f"w{number}" for number in range(40)]


def table(n=40, **columns):
    return pl.DataFrame(
        {"a": [f"{WORDS[i % 40]} one" for i in range(n)], "b": [f"{WORDS[i % 40]} two" for i in range(n)]}
    ).with_columns(**columns)


@pytest.mark.parametrize(
    "text, target, values, kind",
    [
        ("a,b", "", None, "pairs"),
        ("a,b", "y", [0, 1] * 20, "pairs"),
        ("a,b", "y", [True, False] * 20, "pairs"),
        ("a,b", "y", ["1", "0"] * 20, "pairs"),
        ("a,b", "y", [0.5, 3.0] * 20, "scores"),
        ("a", "y", [1, 7] * 20, "classes"),
        ("a", "", None, "texts"),
    ],
)
def test_columns_and_target_say_what_is_learned(text, target, values, kind):
    found = read_to_learn(table(**({"y": pl.Series(values)} if values else {})), target, Data(text=text), Split())
    assert found.rows.kind == found.encoder.kind == kind and len(found.rows) == 40
    assert (found.rows.right is found.rows.left) == (kind == "classes")
    assert (found.rows.whole is not None) == (kind == "texts")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=40, max_size=60, unique=True),
    st.integers(0, 9),
)
def test_no_text_stands_on_two_sides_of_the_split_unless_it_is_said(drawn, seed):
    frame = pl.DataFrame({"a": [f"q {one}" for one, _ in drawn], "b": [f"r {two}" for _, two in drawn]})
    try:
        found = read_to_learn(frame, "", Data(text="a,b"), Split(validation=0.2, test=0.2, seed=seed))
    except DataError as error:  # a part would be empty
        assert "leaves no example" in str(error)
        return
    columns = ("a",) if any("hang together" in note for note in found.notes) else ("a", "b")
    for column in columns:
        sides = frame.with_columns(part=found.part).group_by(column).agg(pl.col("part").n_unique())
        assert (sides["part"] == 1).all()


def test_tokens_and_the_range_of_scores_come_from_training_alone():
    frame = table(y=pl.Series([float(i) for i in range(40)]))
    found = read_to_learn(frame, "y", Data(text="a,b"), Split())
    train = frame.filter(pl.Series(found.part == "train"))
    assert (found.encoder.low, found.encoder.high) == (train["y"].min(), train["y"].max())
    known = {token for text in train["a"].to_list() + train["b"].to_list() for token in text.split()}
    assert set(found.encoder.inner.fields["text"].values) <= known


def test_classes_that_training_never_saw_stay_apart():
    found = read_to_learn(table(y=pl.Series(["k", "l"] * 20)), "y", Data(text="a"), Split())
    again = read_to_judge(
        found.encoder, pl.DataFrame({"a": ["x", "y", "z"], "y": ["l", "new", "newer"]}), "y", Data(text="a")
    )
    assert again.rows.target.tolist() == [1, 2, 3]


def test_halves_hold_the_whole():
    first, second = halves(pl.Series(["one two three", "word", "", "春天来了"]))
    assert first.to_list() == ["one two", "wo", "", "春天"] and second.to_list() == ["three", "rd", "", "来了"]


def test_mistakes_are_sentences():
    frame = table(y=pl.Series(["good", "bad"] * 20))
    with pytest.raises(DataError, match=r"such as 'good'\. For two texts it is a number"):
        read_to_learn(frame, "y", Data(text="a,b"), Split())
    with pytest.raises(ConfigError, match="one column of texts, or two different ones"):
        read_to_learn(frame, "", Data(text="a,a"), Split())
    found = read_to_learn(frame, "y", Data(text="a"), Split())
    with pytest.raises(DataError, match="holds texts, and this model was fitted on classes"):
        read_to_judge(found.encoder, frame, "", Data(text="a"))


def test_the_halves_of_a_history_are_looked_at_when_they_end():
    import numpy as np

    from habitus.data.encode import EncodedSequences

    days, offsets = np.array([9, 7, 4, 5, 2, 2], np.float32), np.array([0, 3, 4, 4, 6])
    zero = np.zeros(6, np.int8)
    encoded = EncodedSequences(
        offsets, {"item": np.arange(3, 9, dtype=np.int32)}, {}, days, np.array([0, 2, 3, 0, 0, 0], np.float32), zero,
        zero, {}, {}, np.array([3, 1, 0, 2]), np.arange(4),
    )  # fmt: skip
    rows = history_rows(encoded)
    assert rows.left.lengths.tolist() == [1, 1, 0, 1] and rows.right.lengths.tolist() == [2, 1, 0, 1]
    assert rows.left.age_days.tolist() == [0, 0, 0] and rows.right.age_days.tolist() == [3, 0, 0, 0]
    assert rows.right.ids["item"].tolist() == [4, 5, 6, 8] and rows.right.gap_days.tolist() == [0, 3, 0, 0]
