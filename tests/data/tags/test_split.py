"""Entities are divided whole: at random, or as a column of the log says."""

import numpy as np
import polars as pl
import pytest

from habitus.data.tags.split import TagSplit
from habitus.errors import DataError

ENTITIES = pl.Series("user_id", [f"u{i}" for i in range(100)])


def test_a_column_keeps_the_usual_division():
    values = ["Train", "dev", " TEST ", "training"] * 25
    assert TagSplit("part").assign(ENTITIES, values)[:4].tolist() == ["train", "validation", "test", "train"]


def test_without_validation_in_the_column_a_share_of_training_chooses():
    part = TagSplit("part", validation=0.25).assign(ENTITIES, ["train"] * 80 + ["test"] * 20)
    assert (part[:80] == "validation").sum() == 20 and (part[80:] == "test").all()


def test_the_random_draw_has_its_shares_and_its_seed():
    part = TagSplit(validation=0.1, test=0.2).assign(ENTITIES)
    assert [(part == name).sum() for name in ("train", "validation", "test")] == [70, 10, 20]
    assert (part == TagSplit(validation=0.1, test=0.2).assign(ENTITIES)).all()
    assert (part != TagSplit(validation=0.1, test=0.2, seed=1).assign(ENTITIES)).any()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["later"] * 100, "'later', which is no part"),
        ([None] * 100, "None, which is no part"),
        (["test"] * 100, "train"),
    ],
)
def test_a_column_that_says_no_parts_is_refused(values, said):
    with pytest.raises(DataError, match=said):
        TagSplit("part").assign(ENTITIES, values)


def test_one_training_entity_cannot_choose_as_well():
    with pytest.raises(DataError, match="none to choose"):
        TagSplit("part").assign(ENTITIES[:2], ["train", "test"])


def test_the_parts_are_told_in_words():
    assert "by the column 'part'" in TagSplit("part").sentence() and "20 % judge" in TagSplit().sentence()
    assert np.isin(TagSplit().assign(ENTITIES), ["train", "validation", "test"]).all()
