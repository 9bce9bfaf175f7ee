"""Reading logs: every source gives the same events, and columns mean what their names and types say."""

import gzip
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from habitus.data.events import entity_dtype, read_events
from habitus.errors import ConfigError, DataError
from habitus.fields.category import Category
from habitus.fields.number import Number
from habitus.fields.schema import Schema

TABLE = pl.DataFrame(
    {
        "user_id": ["u1", "u2", "u1"],
        "timestamp": [datetime(2024, 1, day, tzinfo=UTC) for day in (2, 1, 1)],
        "item_id": ["tea", "milk", "tea"],
        "amount": [1.5, 2.0, -3.0],
    }
)


def events_of(log):
    return log.frame.sort("_row").collect(engine="streaming")


def write(table, path):
    kind = path.name.partition(".")[2]
    if kind == "parquet":
        table.write_parquet(path)
    elif kind == "csv":
        table.write_csv(path)
    elif kind == "tsv":
        table.write_csv(path, separator="\t")
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(table.write_csv().encode()))
    elif kind == "feather":
        feather.write_feather(table.to_arrow(), path)
    else:
        table.write_ipc(path)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.tsv", "a.csv.gz", "a.arrow", "a.feather"])
def test_every_file_format_gives_the_same_events(tmp_path, name):
    log = read_events(write(TABLE, tmp_path / name))
    assert events_of(log).drop("_row").equals(TABLE)
    assert log.schema.fields == {"item_id": Category(), "amount": Number()}


@pytest.mark.parametrize(
    "convert", [pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas, pl.DataFrame.clone]
)
def test_every_table_in_memory_gives_the_same_events(convert):
    assert events_of(read_events(convert(TABLE))).drop("_row").equals(TABLE)


def test_a_pandas_index_with_a_name_is_a_column():
    frame = TABLE.to_pandas().set_index("user_id")
    assert events_of(read_events(frame)).select(TABLE.columns).equals(TABLE)


def test_the_caller_s_table_is_left_as_it_was():
    frame = TABLE.to_pandas()
    before = frame.copy()
    read_events(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_folder_is_read_in_sorted_path_order_and_rows_are_numbered_through(tmp_path):
    for name, rows in [("b.parquet", TABLE[1:]), ("a.parquet", TABLE[:1]), ("sub/c.parquet", TABLE[:1])]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        rows.write_parquet(tmp_path / name)
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.parquet").write_text("not Parquet")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "d.parquet").write_text("not Parquet")
    events = events_of(read_events(tmp_path))
    assert events["_row"].to_list() == [0, 1, 2, 3]
    assert events["amount"].to_list() == [1.5, 2.0, -3.0, 1.5]


def test_a_glob_reads_the_files_it_names(tmp_path):
    for name in ("a.parquet", "b.parquet", "other.parquet"):
        TABLE.write_parquet(tmp_path / name)
    assert read_events(str(tmp_path / "[ab].parquet")).rejects.n_rows == 6


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow"])
def test_folders_named_key_equals_value_become_a_column(tmp_path, kind):
    above = tmp_path / "run=7" / "log"  # the folder given may itself stand in such a folder
    for place in ("shop=north", "shop=south%20east"):
        (above / place).mkdir(parents=True)
        write(TABLE, above / place / f"part.{kind}")
    log = read_events(above)
    assert list(log.schema.fields) == ["item_id", "amount", "shop"]
    assert events_of(log)["shop"].to_list() == ["north"] * 3 + ["south east"] * 3


def test_files_with_other_columns_and_types_take_the_common_ones_with_a_note(tmp_path):
    TABLE.with_columns(size=pl.lit(1, pl.Int32)).write_parquet(tmp_path / "a.parquet")
    TABLE.with_columns(size=pl.lit(2, pl.Int64), extra=pl.lit("x")).write_parquet(tmp_path / "b.parquet")
    log = read_events(tmp_path, fields={"size": Number()})
    assert events_of(log)["size"].to_list() == [1, 1, 1, 2, 2, 2]
    assert events_of(log)["extra"].to_list() == [None] * 3 + ["x"] * 3
    assert any("columns extra are absent" in note and "columns size differ" in note for note in log.notes)


def test_an_empty_parquet_partition_changes_nothing(tmp_path):
    TABLE.clear().write_parquet(tmp_path / "a.parquet")
    TABLE.write_parquet(tmp_path / "b.parquet")
    assert events_of(read_events(tmp_path)).drop("_row").equals(TABLE)


def test_csv_entities_and_categories_keep_their_leading_zeros(tmp_path):
    path = tmp_path / "log.csv"
    zips = [f"{i:05d}" for i in range(1, 41)]  # more values than a code in a column of integers would have
    path.write_text("user_id,timestamp,zip,n\n" + "".join(f"007,2024-01-01T00:00Z,{zip_},5\n" for zip_ in zips))
    log = read_events(path, fields={"n": "number"})
    assert log.schema.fields == {"zip": Category(), "n": Number()}
    events = events_of(log)
    assert events["user_id"].to_list() == ["007"] * 40
    assert events["zip"].to_list() == zips
    assert events["n"].to_list() == [5.0] * 40


def test_csv_quotes_line_ends_and_empty_values_are_kept_apart(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(
        b'user_id,timestamp,item\r\n"a\r\nb",2024-01-01T00:00:00Z,\r\nc,2024-01-01T00:00:00Z,""\r\nd,2024-01-01T00:00:00Z,x\r\n'
    )
    events = events_of(read_events(path))
    assert events["user_id"].to_list() == ["a\r\nb", "c", "d"]
    assert events["item"].to_list() == [None, "", "x"]


def test_csv_with_a_byte_order_mark_reads_like_one_without(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TABLE.write_csv().encode())
    assert read_events(path).schema.entity == "user_id"


def test_csv_separated_by_semicolons_is_recognised(tmp_path):
    TABLE.write_csv(tmp_path / "log.csv", separator=";")
    assert events_of(read_events(tmp_path / "log.csv")).drop("_row").equals(TABLE)


def test_a_lazy_frame_stays_lazy():
    log = read_events(TABLE.lazy())
    assert isinstance(log.frame, pl.LazyFrame)
    assert "_row" in log.frame.collect_schema()


def test_a_column_called_row_is_numbered_anew_with_a_note():
    log = read_events(TABLE.with_columns(_row=pl.lit(9)))
    assert events_of(log)["_row"].to_list() == [0, 1, 2]
    assert any("'_row'" in note for note in log.notes)


# --- what is refused whole ---


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("log.xlsx", b"x", "unknown ending"),
        ("log.csv", b"", "is empty"),
        ("log.csv", b"user_id,timestamp\n", "holds no rows"),
        ("log.csv", b"a,a\n1,2\n", "2 columns named 'a'"),
        ("log.csv", b"\xff\xfeu\x00", "UTF-16"),
        ("log.csv", b"user_id,timestamp\n1,2024-01-01T00:00Z,extra,extra\n", "cannot be read"),
        ("log.csv", b"user_id,timestamp\n\xff\xfe,2024-01-01T00:00Z\n", "cannot be read"),
        ("log.parquet", b"PAR1 is not enough", "cannot be read"),
        ("log.arrow", b"ARROW1 is not enough", "cannot be read"),
        ("log.csv.gz", b"not gzip", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence_that_names_it(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_events(path)
    assert name in str(caught.value)


def test_a_truncated_gzip_file_is_refused(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(TABLE.write_csv().encode())[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_events(path)


def test_paths_that_name_nothing_and_mixed_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="names no file"):
        read_events(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match="holds no readable file"):
        read_events(tmp_path)
    TABLE.write_csv(tmp_path / "a.csv")
    TABLE.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="mixes csv and parquet"):
        read_events(tmp_path)


@pytest.mark.parametrize("source", [None, 3, {"user_id": [1]}, [TABLE]])
def test_things_that_are_no_tables_are_refused(source):
    with pytest.raises(DataError, match="Cannot read a log from"):
        read_events(source)


def test_repeated_column_names_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["user_id", "user_id"])
    with pytest.raises(DataError, match="2 columns named 'user_id'"):
        read_events(frame)
    with pytest.raises(DataError, match="2 columns named 'a'"):
        read_events(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))


# --- which column is what ---


@pytest.mark.parametrize(("entity", "time"), [("User_ID", "Timestamp"), ("customer_id", "date_time"), ("ID", "TS")])
def test_well_known_names_are_found_whatever_their_case(entity, time):
    log = read_events(TABLE.rename({"user_id": entity, "timestamp": time}))
    assert (log.schema.entity, log.schema.time) == (entity, time)


def test_the_only_column_of_times_is_the_time():
    assert read_events(TABLE.rename({"timestamp": "moment"})).schema.time == "moment"


def test_a_missing_entity_or_time_is_refused_with_the_columns_and_the_option():
    with pytest.raises(DataError, match=r"'who'.*--entity"):
        read_events(TABLE.rename({"user_id": "who"}))
    with pytest.raises(DataError, match=r"'when'.*--time"):
        read_events(TABLE.rename({"timestamp": "when"}).with_columns(pl.col("when").dt.to_string("iso")))


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'user_id'"):
        read_events(TABLE, entity="user_idd")


def test_fields_and_drop_that_name_no_column_are_passed_over_aloud():
    log = read_events(TABLE, fields={"amout": Number()}, drop=["itm_id"])
    assert any("did you mean 'amount'" in note for note in log.notes)
    assert any("did you mean 'item_id'" in note for note in log.notes)


def test_one_column_cannot_mean_two_things():
    with pytest.raises(ConfigError, match="cannot be both"):
        read_events(TABLE, entity="timestamp", time="timestamp")
    with pytest.raises(ConfigError, match="is the entity or the time"):
        read_events(TABLE, fields={"user_id": Category()})


def test_fields_override_what_is_inferred_and_drop_leaves_out():
    log = read_events(
        TABLE.with_columns(code=pl.lit(3)), fields={"code": {"kind": "number", "log": True}}, drop=["amount"]
    )
    assert log.schema.fields == {"item_id": Category(), "code": Number(log=True)}


def test_columns_that_nothing_can_be_made_of_are_ignored_with_a_note():
    table = TABLE.with_columns(
        born=pl.date(1990, 1, 1),
        tags=pl.lit(["a"]),
        empty=pl.lit(None),
        blank=pl.lit(None, pl.String),
        n_events=pl.lit(1),
    )
    log = read_events(table)
    assert list(log.schema.fields) == ["item_id", "amount"]
    for name in ("born", "tags", "empty", "blank", "n_events"):
        assert any(f"'{name}' is ignored" in note for note in log.notes), name


def test_an_identifier_of_rows_is_ignored_unless_it_is_asked_for():
    n = 1200
    table = pl.DataFrame(
        {"user_id": [1] * n, "timestamp": [1_700_000_000] * n, "event_id": [f"e{i}" for i in range(n)]}
    )
    log = read_events(table)
    assert list(log.schema.fields) == []
    assert any("identifies rows" in note for note in log.notes)
    assert list(read_events(table, fields={"event_id": "category"}).schema.fields) == ["event_id"]


def test_csv_columns_are_numbers_when_nearly_all_values_are(tmp_path):
    amounts = [str(i + 0.5) for i in range(199)] + ["oops"]
    table = pl.DataFrame({"user_id": ["a"] * 200, "timestamp": ["2024-01-01T00:00Z"] * 200, "amount": amounts})
    table.write_csv(tmp_path / "log.csv")
    log = read_events(tmp_path / "log.csv")
    assert log.schema.fields == {"amount": Number()}
    assert log.rejects.counts == {"'amount' is not a number": 1}
    table.with_columns(amount=pl.Series(["many", "9"] * 100)).write_csv(tmp_path / "words.csv")
    assert read_events(tmp_path / "words.csv").schema.fields == {"amount": Category()}


# --- scoring with a saved model's schema ---

SCHEMA = Schema(fields={"item_id": Category(), "amount": Number()})


def test_a_schema_ignores_extra_columns_aloud_and_any_order_of_columns():
    log = read_events(TABLE.with_columns(extra=pl.lit(1)).select(sorted([*TABLE.columns, "extra"])), SCHEMA)
    assert events_of(log).columns == ["user_id", "timestamp", "item_id", "amount", "_row"]
    assert any("extra" in note for note in log.notes)


def test_a_schema_refuses_missing_and_renamed_columns_with_the_nearest_name():
    with pytest.raises(DataError, match=r"lacks 'amount'.*did you mean 'amounts'"):
        read_events(TABLE.rename({"amount": "amounts"}), SCHEMA)
    with pytest.raises(DataError, match="lacks 'user_id'"):
        read_events(TABLE.drop("user_id"), SCHEMA)


def test_a_schema_takes_an_all_null_column_as_missing():
    events = events_of(read_events(TABLE.with_columns(amount=pl.lit(None), item_id=pl.lit(None)), SCHEMA))
    assert events["amount"].to_list() == events["item_id"].to_list() == [None] * 3


def test_a_schema_casts_types_and_rejects_the_rows_that_fail():
    log = read_events(TABLE.with_columns(amount=pl.Series(["1.5", "abc", " 2 "])), SCHEMA)
    assert events_of(log)["amount"].to_list() == [1.5, 2.0]
    assert log.rejects.counts == {"'amount' is not a number": 1}
    assert log.rejects.samples[0].row == 2


def test_a_schema_may_find_the_entity_and_time_under_other_names():
    log = read_events(TABLE.rename({"user_id": "who", "timestamp": "when"}), SCHEMA, entity="who", time="when")
    assert events_of(log).drop("_row").equals(TABLE)


def test_a_schema_decides_the_fields_whatever_fields_and_drop_say():
    log = read_events(TABLE, SCHEMA, fields={"amount": "category"}, drop=["amount"])
    assert log.schema.fields == SCHEMA.fields


def test_a_schema_remembers_the_unit_of_epoch_numbers():
    learned = read_events(TABLE.with_columns(timestamp=pl.lit(1_700_000_000)))
    assert learned.schema.time_unit == "s"
    with pytest.raises(DataError, match="looks like milliseconds, in a column of seconds"):
        read_events(TABLE.with_columns(timestamp=pl.lit(1_700_000_000_000)), learned.schema)


def test_reading_with_the_inferred_schema_gives_the_same_events():
    log = read_events(TABLE)
    assert events_of(read_events(TABLE, log.schema)).equals(events_of(log))


# --- entities ---


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (pl.Int64, pl.Int64, pl.Int64),
        (pl.Int64, pl.Int32, pl.Int64),
        (pl.Int64, pl.String, pl.String),
        (pl.String, pl.Int64, pl.String),
        (pl.String, pl.String, pl.String),
    ],
)
def test_entities_are_compared_as_numbers_only_if_both_are(left, right, expected):
    events, examples = pl.LazyFrame(schema={"u": left}), pl.DataFrame(schema={"u": right})
    assert entity_dtype(events, examples, "u") == expected


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.UInt64, pl.Int128, pl.Float64, pl.Decimal(10, 0)])
def test_whole_numbers_of_every_type_are_int64_entities(dtype):
    events = events_of(read_events(TABLE.with_columns(user_id=pl.Series([1, 2, 3], dtype=dtype))))
    assert events["user_id"].dtype == pl.Int64
    assert events["user_id"].to_list() == [1, 2, 3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8))
def test_text_entities_survive_byte_for_byte(names):
    table = pl.DataFrame({"user_id": names, "timestamp": [1_700_000_000] * len(names)})
    assert events_of(read_events(table))["user_id"].to_list() == names


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1, max_size=5
    )
)
def test_text_entities_survive_a_csv_file_byte_for_byte(tmp_path, names):
    table = pl.DataFrame({"user_id": names, "timestamp": ["2024-01-01T00:00:00Z"] * len(names)})
    table.write_csv(tmp_path / "ids.csv", quote_style="always")
    assert events_of(read_events(tmp_path / "ids.csv"))["user_id"].to_list() == names


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8))
def test_integer_entities_survive_whatever_their_size(numbers):
    table = pl.DataFrame({"user_id": numbers, "timestamp": [1_700_000_000] * len(numbers)})
    assert events_of(read_events(table))["user_id"].to_list() == numbers
