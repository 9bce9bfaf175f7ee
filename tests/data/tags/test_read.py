"""A log with labels becomes rows: what is learned of it, what is not, and the order of the answers."""

import numpy as np
import polars as pl
import pytest

from habitus.data.options import Data
from habitus.data.tags.read import TagEncoder, in_log_order, read_to_answer, read_to_learn
from habitus.data.tags.split import TagSplit
from habitus.errors import DataError
from habitus.fields import Category

DATA = Data(fields={"skill": Category(min_count=1)})
SPLIT = TagSplit("part")


def log(**changes):
    frame = pl.DataFrame(
        {
            "user_id": ["a", "b", "a", "c", "b", "c"],
            "timestamp": [f"2024-01-0{day}T00:00Z" for day in (2, 1, 1, 1, 2, 2)],
            "skill": ["x", "y", "y", "z", "x", "x"],
            "right": [1, 0, 0, 1, None, 1],
            "part": ["train", "dev", "train", "test", "dev", "test"],
        }
    )
    return frame.with_columns(**changes)


def test_labels_and_parts_are_no_fields():
    found = read_to_learn(log(), "right", DATA, SPLIT)
    assert "by the column 'part'" in found.split
    assert list(found.encoder.events.fields) == ["skill"] and found.encoder.labels == ("0", "1")
    assert found.entities.to_list() == ["a", "b", "c"] and found.part.tolist() == ["train", "validation", "test"]
    assert found.rows.labels.tolist() == [0, 1, 0, -1, 1, 1]  # in time order
    assert any("1 of 6 events have no label" in note for note in found.notes)


def test_only_training_entities_teach_values_and_labels():
    found = read_to_learn(log(), "right", DATA, SPLIT)
    assert set(found.encoder.events.fields["skill"].values) == {"x", "y"}
    assert found.rows.histories.ids["skill"][4] == 1  # z: unknown
    other = log(right=pl.Series(["no", "yes", "yes", "perhaps", "yes", "no"]))
    found = read_to_learn(other, "right", DATA, SPLIT)
    assert found.encoder.labels == ("no", "yes") and found.rows.names[2] == "perhaps" and found.rows.labels[4] == 2
    assert any("never saw (perhaps)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 9, 9, 10, None, 9], ("9", "10")),
        ([True, False, False] * 2, ("false", "true")),
        ([1.0, 2.0, 2.0] * 2, ("1", "2")),
    ],
)
def test_labels_of_every_type_have_an_order(values, expected):
    assert read_to_learn(log(right=pl.Series(values)), "right", DATA, SPLIT).encoder.labels == expected


def test_labels_keep_the_order_that_is_asked_for():
    assert read_to_learn(log(), "right", DATA, SPLIT, labels=("1", "0")).encoder.labels == ("1", "0")
    with pytest.raises(DataError, match="leaves out '0'"):
        read_to_learn(log(), "right", DATA, SPLIT, labels=("1", "2"))


def test_a_fitted_model_reads_a_log_without_labels():
    encoder = read_to_learn(log(), "right", DATA, SPLIT).encoder
    again = TagEncoder.from_json(encoder.to_json())
    found = read_to_answer(again, log().drop("right"), DATA)
    assert (found.rows.labels == -1).all() and found.rows.n_labelled == 0
    with_labels = read_to_answer(again, log(), DATA)
    assert with_labels.rows.labels.tolist() == [0, 1, 0, -1, 1, 1]
    assert (found.rows.histories.ids["skill"] == with_labels.rows.histories.ids["skill"]).all()


def test_answers_stand_in_the_order_of_the_log():
    found = read_to_learn(log(), "right", DATA, SPLIT)
    frame = in_log_order(found, [pl.Series("label", found.rows.labels)])
    assert frame["label"].to_list() == [1, 0, 0, 1, -1, 1] and frame["user_id"].to_list() == log()["user_id"].to_list()


@pytest.mark.parametrize(
    ("changes", "target", "said"),
    [
        ({}, "wrong", "no column 'wrong'"),
        ({"right": pl.lit(None, pl.Int64)}, "right", "holds no label"),
        ({"right": pl.lit(1)}, "right", "1 labels in 'right'"),
        (
            {"part": pl.Series(["train", "dev", "dev", "test", "dev", "test"])},
            "right",
            "several parts of the entity 'a'",
        ),
    ],
)
def test_what_cannot_be_learned_is_said(changes, target, said):
    with pytest.raises(DataError, match=said):
        read_to_learn(log(**changes), target, DATA, SPLIT)


def test_a_column_of_amounts_is_no_label():
    n = 1500
    table = pl.DataFrame(
        {"user_id": [f"u{i % 9}" for i in range(n)], "timestamp": ["2024-01-01T00:00Z"] * n, "amount": np.arange(n) / 7}
    )
    with pytest.raises(DataError, match="too many to be labels"):
        read_to_learn(table, "amount", Data(), TagSplit())
