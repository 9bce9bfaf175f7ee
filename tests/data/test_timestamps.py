"""Times: every way of writing a moment is read by a named rule, or its row rejected with the reason."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.events import read_events
from habitus.data.time_text import parse_times
from habitus.errors import DataError

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def log_of(times, dtype=None, **options):
    values = pl.Series(times, dtype=dtype) if not isinstance(times, pl.Series) else times
    return read_events(pl.DataFrame({"user_id": [1] * len(values), "timestamp": values}), **options)


def read(times, dtype=None, **options):
    log = log_of(times, dtype, **options)
    return log.frame.sort("_row").collect(engine="streaming")["timestamp"].to_list(), dict(log.rejects.counts)


def reasons(counts):
    return [reason.removeprefix("'timestamp' ") for reason in counts]


# --- epoch numbers ---


@pytest.mark.parametrize("unit", PER_SECOND)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.UInt64, pl.Int128, pl.String])
def test_epoch_numbers_are_read_in_the_unit_of_their_median(unit, dtype):
    log = log_of(pl.Series([SECONDS * PER_SECOND[unit]] * 3).cast(dtype))
    assert log.schema.time_unit == unit
    assert log.frame.collect()["timestamp"].to_list() == [NOON] * 3
    assert any("by their median" in note for note in log.notes)


def test_epoch_numbers_of_32_bits_do_not_overflow():
    assert read([SECONDS] * 2, pl.Int32)[0] == [NOON] * 2


def test_fractions_of_a_second_are_kept_to_the_microsecond():
    assert read([SECONDS + 0.25, float("nan")])[0] == [NOON + timedelta(milliseconds=250)]


def test_milliseconds_among_seconds_reject_the_row_and_say_so():
    kept, counts = read([SECONDS, SECONDS, SECONDS * 1000])
    assert kept == [NOON] * 2
    assert reasons(counts) == ["looks like milliseconds, in a column of seconds"]


def test_seconds_among_milliseconds_reject_the_row_and_say_so():
    kept, counts = read([SECONDS * 1000, SECONDS * 1000, SECONDS])
    assert kept == [NOON] * 2
    assert reasons(counts) == ["looks like seconds, in a column of milliseconds"]


def test_zeros_for_no_time_do_not_sway_the_unit():
    kept, counts = read([0, 0, 0, SECONDS * 1000])
    assert (kept, sum(counts.values())) == ([NOON], 3)


def test_a_unit_that_is_given_is_not_inferred():
    with pytest.raises(DataError, match="looks like seconds, in a column of milliseconds"):
        read([SECONDS], time_unit="ms")


def test_dates_written_as_numbers_are_not_taken_for_seconds():
    with pytest.raises(DataError, match="YYYYMMDD"):
        read([20240131, 20240201])


@pytest.mark.parametrize("bad", [0, -1, -(10**18), 10**18, 2**63 - 1, 86_399])
def test_an_epoch_outside_the_valid_range_rejects_the_row(bad):
    kept, counts = read([SECONDS, SECONDS, bad])
    assert (kept, sum(counts.values())) == ([NOON] * 2, 1)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), 1e300])
def test_an_infinite_epoch_rejects_the_row(bad):
    assert reasons(read([float(SECONDS), bad])[1]) == ["is outside 1970-01-02 to 2099-12-31"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6))
def test_any_integers_are_read_or_rejected_but_never_crash(numbers):
    kept, counts = read([SECONDS] * 7 + numbers)
    assert len(kept) + sum(counts.values()) == 7 + len(numbers)
    assert all(1970 <= time.year < 2100 for time in kept)


# --- times with types ---


def test_times_in_other_zones_become_utc():
    assert read([NOON.astimezone(ZoneInfo("Asia/Tokyo"))], pl.Datetime("us", "Asia/Tokyo"))[0] == [NOON]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_every_precision_are_read_in_microseconds(unit):
    assert read([NOON], pl.Datetime(unit, "UTC"))[0] == [NOON]


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_1970_and_year_9999_reject_the_row(unit):
    edge = [datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    kept, counts = read(edge, pl.Datetime(unit, "UTC"))
    assert kept == [datetime(1970, 1, 2, tzinfo=UTC)]
    assert counts == {"'timestamp' is outside 1970-01-02 to 2099-12-31": 2}


@pytest.mark.parametrize("zone", ["UTC", None])
def test_times_at_the_ends_of_64_bits_reject_the_row(zone):
    values = pl.Series([2**63 - 1, -(2**63) + 1, SECONDS * 1000]).cast(pl.Datetime("ms", zone))
    assert read(values, time_zone="UTC")[0] == [NOON]


def test_future_events_are_events():
    later = datetime(2099, 12, 31, tzinfo=UTC)
    assert read([later], pl.Datetime("us", "UTC"))[0] == [later]


def test_dates_are_midnight_utc_with_a_note():
    log = log_of([date(2024, 1, 31), None, date(9999, 12, 31)])
    assert log.frame.collect()["timestamp"].to_list() == [datetime(2024, 1, 31, tzinfo=UTC)]
    assert log.rejects.total == 2
    assert any("midnight UTC" in note for note in log.notes)


@pytest.mark.parametrize("values", [[True], [timedelta(1)], [[NOON]]])
def test_things_that_are_no_times_are_refused(values):
    with pytest.raises(DataError, match="is not a time"):
        read(values)


def test_missing_times_reject_the_row():
    assert read([NOON, None], pl.Datetime("us", "UTC"))[1] == {"'timestamp' is missing": 1}
    frame = pd.DataFrame({"user_id": [1, 2], "timestamp": [pd.Timestamp(NOON), pd.NaT]})
    assert read_events(frame).rejects.counts == {"'timestamp' is missing": 1}


# --- naive times ---

NAIVE = datetime(2024, 1, 31, 12)


@pytest.mark.parametrize("times", [[NAIVE], ["2024-01-31 12:00:00"], pd.Series([NAIVE])])
def test_naive_times_are_refused_with_the_way_out(times):
    with pytest.raises(DataError, match=r'time_zone="UTC".*--time-zone UTC'):
        read_events(pd.DataFrame({"user_id": [1], "timestamp": times}))


@pytest.mark.parametrize("times", [[NAIVE], ["2024-01-31 12:00:00"], ["2024-01-31T12:00"]])
def test_naive_times_are_read_in_the_zone_that_is_given(times):
    assert read(times, time_zone="UTC")[0] == [NOON]
    assert read(times, time_zone="Asia/Shanghai")[0] == [NOON - timedelta(hours=8)]


@pytest.mark.parametrize("text", [True, False])
def test_an_hour_that_daylight_saving_skips_rejects_the_row(text):
    times = [datetime(2024, 3, 31, 2, 30), datetime(2024, 3, 31, 3, 30)]
    times = [time.isoformat() for time in times] if text else times
    kept, counts = read(times, time_zone="Europe/Berlin")
    assert kept == [datetime(2024, 3, 31, 1, 30, tzinfo=UTC)]
    assert reasons(counts) == ["is a local hour that daylight saving skips"]


@pytest.mark.parametrize("text", [True, False])
def test_an_hour_that_daylight_saving_repeats_is_the_earlier(text):
    time = datetime(2024, 10, 27, 2, 30)
    kept, _ = read([time.isoformat() if text else time], time_zone="Europe/Berlin")
    assert kept == [datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]


def test_a_few_naive_texts_among_zoned_ones_reject_their_rows():
    kept, counts = read(["2024-01-31T12:00:00Z"] * 3 + ["2024-01-31T12:00:00"])
    assert (kept, reasons(counts)) == ([NOON] * 3, ["has no time zone"])


# --- text ---


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31T12:00:00z",
        "2024-01-31 12:00:00Z",
        "2024-01-31T12:00Z",
        "2024-01-31T12:00:00.000Z",
        "2024-01-31T12:00:00.000000000Z",
        "2024-01-31T14:00:00+02:00",
        "2024-01-31T14:00:00+0200",
        "2024-01-31T14:00:00+02",
        "2024-01-31 14:00:00 +0200",
        "2024-01-31 12:00:00 UTC",
        "2024-01-31 04:00-08:00",
        "20240131T120000Z",
        " 2024-01-31T12:00:00Z ",
    ],
)
def test_iso_8601_is_read(text):
    assert read([text])[0] == [NOON]


def test_ways_of_writing_may_be_mixed_in_one_column():
    times = ["2024-01-31T12:00:00Z", "2024-01-31", "2024-01-31 13:00:00+01:00", "soon", "", None]
    kept, counts = read(times)
    assert kept == [NOON, datetime(2024, 1, 31, tzinfo=UTC), NOON]
    assert counts == {"'timestamp' is missing": 2, "'timestamp' is not a time": 1}


@pytest.mark.parametrize(
    "text",
    ["soon", "31/01/2024", "2024-13-01T00:00:00Z", "2024-02-30", "2024-01-31T25:00:00Z", "Jan 31 2024", "\0", "٣"],
)
def test_text_that_is_no_time_rejects_the_row(text):
    assert read(["2024-01-31T12:00:00Z", text]) == ([NOON], {"'timestamp' is not a time": 1})


def test_a_minus_before_the_hour_is_no_offset_of_a_date():
    assert read(["2024-01-05"])[0] == [datetime(2024, 1, 5, tzinfo=UTC)]


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_any_zoned_time_survives_being_written_as_iso_8601(naive, minutes):
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    expected = naive.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert parse_times(pl.Series([naive.isoformat() + offset])).to_list() == [expected]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_is_a_time_or_not_but_never_crashes(texts):
    assert len(parse_times(pl.Series(texts, dtype=pl.String), "Europe/Berlin")) == len(texts)


PARTS = st.tuples(
    st.sampled_from(["1969", "1970", "2024", "2023", "9999", "0001"]),
    st.sampled_from(["01", "02", "12", "13", "00"]),
    st.sampled_from(["01", "29", "30", "31", "00"]),
    st.sampled_from(["T", " "]),
    st.sampled_from(["00", "23", "24"]),
    st.sampled_from(["00", "59", "60"]),
    st.sampled_from(["", ":00", ":59", ":60", ":00.5", ":00.123456", ":00.1234567"]),
    st.sampled_from(["", "Z", "+00", "-0530", "+14:00", "+23:59", "+24:00", "-99:99", "+00:60"]),
)


@settings(max_examples=300, deadline=None)
@given(PARTS)
def test_a_time_is_read_the_same_alone_and_among_times_written_otherwise(parts):
    year, month, day, between, hour, minute, second, offset = parts
    text = f"{year}-{month}-{day}{between}{hour}:{minute}{second}{offset}"
    alone = parse_times(pl.Series([text]), "Europe/Berlin")
    among = parse_times(pl.Series([text, " 2024-01-31T12:00:00 UTC", "soon"]), "Europe/Berlin")
    assert alone.dtype == among.dtype
    assert alone.to_physical()[0] == among.to_physical()[0]
