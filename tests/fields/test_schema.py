"""Schemas: what names and types most likely mean, and that a schema survives being saved."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.errors import ConfigError
from habitus.fields.category import Category
from habitus.fields.number import Number
from habitus.fields.schema import Schema, field_from_json, field_to_json, infer_field

FIELDS = st.one_of(
    st.builds(Category, min_count=st.integers(1, 9), max_size=st.integers(1, 99)),
    st.builds(Number, log=st.sampled_from([None, True, False]), bins=st.one_of(st.none(), st.integers(2, 9))),
)


@pytest.mark.parametrize(
    ("name", "dtype", "n_unique", "expected"),
    [
        ("item_id", pl.Int64(), 5000, Category()),
        ("zip_code", pl.Int32(), 5000, Category()),
        ("channel", pl.Int8(), 5, Category()),
        ("amount", pl.Int64(), 5000, Number()),
        ("amount", pl.Float32(), 3, Number()),
        ("amount", pl.Decimal(10, 2), 3, Number()),
        ("anything", pl.String(), 5000, Category()),
        ("anything", pl.Boolean(), 2, Category()),
        ("anything", pl.Categorical(), 2, Category()),
        ("anything", pl.Enum(["a"]), 1, Category()),
        ("born", pl.Date(), 5000, None),
        ("seen", pl.Datetime("us"), 5000, None),
        ("tags", pl.List(pl.String()), 5000, None),
        ("bytes", pl.Binary(), 5000, None),
        ("nothing", pl.Null(), 0, None),
    ],
)
def test_names_and_types_say_what_a_column_means(name, dtype, n_unique, expected):
    assert infer_field(name, dtype, n_unique) == expected


@given(st.dictionaries(st.text(), FIELDS, max_size=4), st.dictionaries(st.text(), FIELDS, max_size=4))
def test_a_schema_survives_json_with_its_order(fields, profile):
    schema = Schema("who", "when", fields, profile, "then", "risk", "Asia/Tokyo", "ms")
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again == schema
    assert list(again.fields) == list(fields)


def test_a_schema_saved_without_a_time_unit_is_read():
    saved = {name: value for name, value in Schema().to_json().items() if name != "time_unit"}
    assert Schema.from_json(saved) == Schema()


def test_a_field_may_be_written_short():
    assert field_from_json("number") == Number()
    assert field_from_json({"kind": "category", "min_count": 5}) == Category(min_count=5)
    assert field_from_json(field_to_json(Number(bins=4))) == Number(bins=4)


def test_a_misspelt_field_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'number'"):
        field_from_json("numbr", "amount")
    with pytest.raises(ConfigError, match="did you mean 'min_count'"):
        field_from_json({"kind": "category", "min_cout": 5}, "item")
