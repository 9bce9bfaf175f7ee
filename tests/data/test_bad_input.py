"""Every kind of bad input is read by a named rule or refused with file, row and field (docs/data.md, same order)."""

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from habitus.data.events import read_events
from habitus.data.rejects import MAX_SAMPLES, Rejects
from habitus.errors import ConfigError, DataError
from habitus.fields.category import Category
from habitus.fields.number import Number
from habitus.fields.schema import Schema

TIME = datetime(2024, 1, 31, 10, tzinfo=UTC)
SCHEMA = Schema(fields={"item": Category(), "amount": Number()})


def table(**columns):
    """Four good rows, with the given columns in place of the good ones."""
    good = {"user_id": ["a", "b", "c", "d"], "timestamp": [TIME] * 4, "item": ["tea"] * 4, "amount": [1.0] * 4}
    return pl.DataFrame({**good, **columns})


def read(column, values, dtype=None, schema=SCHEMA, **options):
    """Return (values that were kept, counts of rejects) of one column, the bad values among four good rows."""
    frame = table(**{column: pl.Series(values, dtype=dtype, strict=False)})
    log = read_events(frame, schema, **options)
    return log.frame.sort("_row").collect(engine="streaming")[column].to_list(), dict(log.rejects.counts)


# --- numbers ---


def test_nan_and_null_numbers_are_missing():
    assert read("amount", [float("nan"), None, 2.0, 3.0]) == ([None, None, 2.0, 3.0], {})


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), "1e400", "-Infinity"])
def test_infinite_numbers_are_missing_and_counted_in_a_note(value):
    log = read_events(
        table(amount=pl.Series([value, value, *(["1"] * 2 if isinstance(value, str) else [1.0] * 2)])), SCHEMA
    )
    assert log.frame.collect()["amount"].to_list() == [None, None, 1.0, 1.0]
    assert "2 infinite numbers in 'amount' are read as missing." in log.notes
    assert not log.rejects


def test_1e400_in_a_csv_file_is_missing(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,timestamp,amount\n" + "a,2024-01-01T00:00:00Z,25.5\n" * 30 + "b,2024-01-01T00:00:00Z,1e400\n"
    )
    log = read_events(tmp_path / "log.csv", fields={"amount": "number"})
    assert log.frame.collect()["amount"].null_count() == 1
    assert any("1 infinite" in note for note in log.notes)


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32, pl.String])
def test_minus_zero_is_zero(dtype):
    kept, _ = read("amount", ["-0.0"] * 4 if dtype == pl.String else [-0.0] * 4, dtype)
    assert np.signbit(kept).tolist() == [False] * 4


def test_negative_and_huge_amounts_are_amounts():
    assert read("amount", [-5, 10**18, -(10**18), 0], pl.Int64) == ([-5, 10**18, -(10**18), 0], {})
    assert read("amount", [-1e300, 1e18, 5e-324, 0.5]) == ([-1e300, 1e18, 5e-324, 0.5], {})
    assert read("amount", [10**30, 1, 2, 3], pl.Int128)[0][0] == 1e30


def test_text_where_a_number_is_expected_rejects_the_row():
    kept, counts = read("amount", ["1.5", "abc", "1,5", " 7 "])
    assert (kept, counts) == ([1.5, 7.0], {"'amount' is not a number": 2})


@pytest.mark.parametrize("token", ["", " ", "NA", "n/a", "NaN", "null", "None"])
def test_words_for_missing_are_missing_numbers(token):
    assert read("amount", [token, "1", "2", "3"]) == ([None, 1.0, 2.0, 3.0], {})


def test_a_number_of_5000_digits_is_infinite():
    assert read("amount", ["9" * 5000, "1", "2", "3"])[0] == [None, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([True, False, True, None], pl.Boolean), ([TIME] * 4, None), ([[1.0]] * 4, None), ([date(2024, 1, 1)] * 4, None)],
)
def test_booleans_times_and_lists_are_not_numbers(values, dtype):
    with pytest.raises(DataError, match=r"'amount'.*where numbers are expected"):
        read("amount", values, dtype)


def test_decimals_are_numbers():
    assert read("amount", [Decimal("1.50"), None, Decimal("-2"), Decimal("0")])[0] == [1.5, None, -2.0, 0.0]


# --- categories ---


def test_a_dictionary_encoded_arrow_column_reads_like_a_plain_one():
    plain = table().to_arrow()
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())):
        encoded = plain.set_column(
            plain.column_names.index("item"),
            "item",
            pa.array(["tea"] * 4).cast(pa.string()).dictionary_encode().cast(kind),
        )
        encoded = encoded.set_column(0, "user_id", pa.array(["a", "b", "c", "d"]).dictionary_encode())
        assert read_events(encoded, SCHEMA).frame.collect().equals(read_events(plain, SCHEMA).frame.collect())


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["tea", "milk"])])
def test_categoricals_and_enums_are_text(dtype):
    log = read_events(table(item=pl.Series(["tea", "milk", None, "tea"], dtype=dtype)))
    assert log.schema.fields["item"] == Category()
    assert log.frame.collect()["item"].to_list() == ["tea", "milk", None, "tea"]


def test_categories_of_other_types_are_kept():
    assert read("item", [1, 2, None, 3])[0] == [1, 2, None, 3]
    assert read("item", [True, False, None, True])[0] == [True, False, None, True]
    assert read("item", [date(2024, 1, 31)] * 4)[0] == ["2024-01-31"] * 4


def test_empty_text_is_a_category_of_its_own_and_null_is_missing():
    assert read("item", ["", None, " ", "x"])[0] == ["", None, " ", "x"]


def test_bytes_that_are_no_utf_8_reject_the_row():
    kept, counts = read("item", [b"tea", b"\xff\xfe", None, b"x"])
    assert (kept, counts) == (["tea", None, "x"], {"'item' is not UTF-8 text": 1})


def test_lists_are_not_categories():
    with pytest.raises(DataError, match="'item'"):
        read("item", [["a"], ["b"], ["c"], ["d"]])


def test_a_hundred_thousand_new_categories_are_read():
    n = 100_000
    frame = pl.DataFrame(
        {"user_id": [1] * n, "timestamp": [TIME] * n, "item": [f"new{i}" for i in range(n)], "amount": [1.0] * n}
    )
    assert read_events(frame, SCHEMA).frame.select(pl.col("item").n_unique()).collect().item() == n


# --- entities ---


def test_null_and_empty_entities_reject_the_row():
    kept, counts = read("user_id", ["a", None, "", " "])
    assert (kept, counts) == (["a", " "], {"'user_id' is missing": 1, "'user_id' is empty": 1})


STRANGE = ["x" * 10_240, "😀👩‍👩‍👧", "שלום\u202e", "caf\u00e9", "cafe\u0301", "a\0b", "a\r\nb", " padded ", "Ａ"]


@pytest.mark.parametrize("name", STRANGE)
def test_strange_entities_are_kept_byte_for_byte(name, tmp_path):
    assert read("user_id", [name, "b", "c", "d"])[0][0] == name
    table(user_id=[name, "b", "c", "d"]).write_parquet(tmp_path / "log.parquet")
    assert read_events(tmp_path / "log.parquet").frame.collect()["user_id"][0] == name


def test_composed_and_decomposed_names_are_two_entities():
    kept, _ = read("user_id", ["caf\u00e9", "cafe\u0301", "caf\u00e9", "d"])
    assert len(set(kept)) == 3


def test_a_lone_surrogate_is_refused_with_row_and_column():
    ids = pd.Series(["a", "\ud800b"], dtype=object)  # pandas 3 refuses to make it a column of text
    frame = pd.DataFrame({"user_id": ids, "timestamp": [TIME] * 2})
    with pytest.raises(DataError, match=r"row 2: 'user_id' = '\\ud800b'.*surrogate"):
        read_events(frame)


def test_a_pandas_column_of_mixed_types_is_read_as_text_aloud():
    frame = pd.DataFrame({"user_id": [1, "b", 2.5, None], "timestamp": [TIME] * 4})
    log = read_events(frame)
    assert log.frame.collect()["user_id"].to_list() == ["1", "b", "2.5"]
    assert any("mixes types" in note for note in log.notes)


def test_integers_that_pandas_made_floats_are_integers_again():
    frame = pd.DataFrame({"user_id": [1, None, 3.0], "timestamp": [TIME] * 3})
    log = read_events(frame)
    assert log.frame.collect()["user_id"].to_list() == [1, 3]
    assert log.rejects.counts == {"'user_id' is missing": 1}


def test_entities_that_are_no_whole_number_or_too_large_reject_the_row():
    assert read("user_id", [1.0, 2.5, 1e300, float("inf")])[0] == [1]
    assert read("user_id", [1, 2, 3, 2**63], pl.UInt64) == ([1, 2, 3], {"'user_id' does not fit in 64 bits": 1})


@pytest.mark.parametrize("values", [[True, False, True, True], [TIME] * 4, [["a"]] * 4])
def test_booleans_times_and_lists_cannot_name_an_entity(values):
    with pytest.raises(DataError, match="cannot name an entity"):
        read("user_id", values)


# --- rows ---


def test_duplicate_rows_and_equal_timestamps_keep_the_log_s_order():
    log = read_events(table(user_id=["a"] * 4, item=["x", "y", "x", "x"]), SCHEMA)
    events = log.frame.sort("user_id", "timestamp", "_row").collect()
    assert events["item"].to_list() == ["x", "y", "x", "x"]


def test_unsorted_rows_keep_their_numbers():
    times = [TIME.replace(day=day) for day in (4, 2, 3, 1)]
    log = read_events(table(timestamp=times), SCHEMA)
    assert log.frame.sort("timestamp").collect()["_row"].to_list() == [3, 1, 2, 0]


def test_row_numbers_survive_rejected_rows():
    log = read_events(table(user_id=["a", None, "c", "d"]), SCHEMA)
    assert log.frame.collect().sort("_row")["_row"].to_list() == [0, 2, 3]


def test_a_row_is_read_the_same_alone_and_among_others():
    frame = table(
        user_id=["a", "é", "b\0", "d"], item=["", None, "x", "y"], amount=["1e400", "-0.0", "NA", "7"]
    ).with_columns(
        timestamp=pl.Series(["2024-01-31T10:00Z", "2024-01-31", "2024-01-31 10:00:00.5+02", "20240131T100000Z"])
    )
    together = read_events(frame, SCHEMA).frame.sort("_row").drop("_row").collect()
    alone = [read_events(frame[i], SCHEMA).frame.drop("_row").collect() for i in range(4)]
    assert pl.concat(alone).equals(together)


def test_a_log_with_no_usable_row_is_refused_with_the_reason():
    with pytest.raises(DataError, match=r"No row .* can be used.*'user_id' is missing.*row 1"):
        read_events(table(user_id=pl.Series([None] * 4, dtype=pl.String)))


@pytest.mark.parametrize("empty", [table().clear(), pl.DataFrame({"user_id": [], "timestamp": []})])
def test_an_empty_log_is_refused(empty):
    with pytest.raises(DataError, match="holds no rows"):
        read_events(empty)


# --- rejects ---


def test_a_reject_names_file_row_field_value_and_reason(tmp_path):
    table().write_parquet(tmp_path / "a.parquet")
    table(user_id=["a", "b", None, "d"], amount=[1.0, 2.0, 3.0, 4.0]).write_parquet(tmp_path / "b.parquet")
    rejects = read_events(tmp_path).rejects
    only = rejects.samples[0]
    assert (only.file, only.row, only.field) == (str(tmp_path / "b.parquet"), 3, "user_id")
    assert rejects.summary() == "1 of 8 rows were rejected: 1 because 'user_id' is missing."


def test_a_row_counts_once_under_its_first_bad_field():
    frame = table(user_id=[None, "b", "c", "d"], amount=["x", "x", "1", "1"])
    rejects = read_events(frame, SCHEMA).rejects
    assert rejects.counts == {"'user_id' is missing": 1, "'amount' is not a number": 1}
    assert rejects.total == 2


def test_rejects_are_all_counted_and_a_thousand_sampled(tmp_path):
    n = 3 * MAX_SAMPLES
    frame = pl.DataFrame({"user_id": [None, "a"] * n, "timestamp": [TIME] * 2 * n})
    rejects = read_events(frame).rejects
    assert (rejects.total, len(rejects.samples)) == (n, MAX_SAMPLES)
    with rejects.write_csv(tmp_path / "deep" / "rejects.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["file", "row", "field", "value", "reason"]
    assert len(lines) == 1 + MAX_SAMPLES + 1
    assert lines[-1][-1] == f"and {n - MAX_SAMPLES} more rows"
    assert json.loads(json.dumps(rejects.to_json()))["n_rejected"] == n


def test_no_rejects_is_false_and_says_so():
    assert not Rejects(n_rows=5)
    assert Rejects(n_rows=5).summary() == "None of 5 rows was rejected."


def test_a_long_bad_value_is_cut():
    sample = read_events(table(amount=["x" * 10_000, "1", "2", "3"]), SCHEMA).rejects.samples[0]
    assert len(sample.value) < 250


def test_an_unknown_time_zone_or_unit_is_refused():
    with pytest.raises(ConfigError, match="Mars"):
        read_events(table(), time_zone="Mars/Olympus")
    with pytest.raises(ConfigError, match="one of s, ms, us, ns"):
        read_events(table(), time_unit="days")
