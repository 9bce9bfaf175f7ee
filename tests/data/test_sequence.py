"""Sequence rows are what a slow loop over the log gives: strictly before the cutoff, in time order, ties as logged."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data import sequence
from habitus.data.events import EventLog, read_events
from habitus.data.examples import Examples, derive_examples, read_examples
from habitus.data.options import Data
from habitus.data.sequence import build_sequences, read_sequences, write_sequences
from habitus.errors import ConfigError, DataError
from habitus.fields.category import Category
from habitus.fields.number import Number
from habitus.fields.schema import Schema

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = Schema(fields={"item": Category(), "amount": Number()}, profile={"region": Category()}, target="risk")
# many ties, cutoffs equal to event times, entity 4 has no event
LOG = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)
WHO = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=12)


def moment(minute):
    return START + timedelta(minutes=minute)


def frames(log, who, kind=int):
    """Return the log [(entity, minute)] and the examples [(entity, minute)] in canonical columns; items are unique."""
    name = kind if kind is int else "user é{}".format
    dtype = pl.Int64 if kind is int else pl.String
    time = pl.Datetime("us", "UTC")
    events = pl.DataFrame(
        {
            "user_id": pl.Series([name(entity) for entity, _ in log], dtype=dtype),
            "timestamp": pl.Series([moment(minute) for _, minute in log], dtype=time),
            "item": [f"event {row}" for row in range(len(log))],
            "amount": [None if row % 5 == 0 else row / 2 for row in range(len(log))],
        },
        schema_overrides={"amount": pl.Float64},
    ).with_row_index("_row")
    examples = pl.DataFrame(
        {
            "user_id": pl.Series([name(entity) for entity, _ in who], dtype=dtype),
            "cutoff": pl.Series([moment(minute) for _, minute in who], dtype=time),
            "risk": [row % 2 for row in range(len(who))],
            "region": [f"region {row}" for row in range(len(who))],
        }
    )
    return EventLog(events.lazy(), SCHEMA), Examples(examples, SCHEMA, target="risk")


def strictly_before(minute, cutoff):
    return minute < cutoff


def slow_rows(log, who, max_length, history, seen=strictly_before, tie=lambda row: row, latest=True):
    """The five-line loop: (example, window, items, amounts, times, n_events) of each row."""
    rows = []
    for example, (entity, cutoff) in enumerate(who):
        past = sorted(((m, tie(row), row) for row, (e, m) in enumerate(log) if e == entity and seen(m, cutoff)))
        stops = list(range(len(past), 0, -max_length))[::-1] or [0]
        windows = [past[max(0, stop - max_length) : stop] for stop in stops]
        kept = windows if history == "windows" else [past[-max_length:] if latest else past[:max_length]]
        rows += [(example, number, [f"event {r}" for *_, r in w], len(past)) for number, w in enumerate(kept)]
    return rows


def built_rows(sequences):
    table = sequences.to_table()
    return list(zip(*(table[name].to_pylist() for name in ("_example", "_window", "item", "n_events")), strict=True))


@settings(max_examples=40, deadline=None)
@given(LOG, WHO, st.integers(1, 7), st.sampled_from(["latest", "windows"]), st.sampled_from([int, str]))
def test_rows_equal_a_slow_loop(log, who, max_length, history, kind):
    sequences = build_sequences(*frames(log, who, kind), max_length=max_length, history=history)
    assert built_rows(sequences) == slow_rows(log, who, max_length, history)


@settings(max_examples=20, deadline=None)
@given(LOG, WHO, st.integers(1, 7))
def test_every_list_column_tells_of_the_same_events(log, who, max_length):
    table = build_sequences(*frames(log, who), max_length=max_length).to_table()
    number = [[int(item.removeprefix("event ")) for item in row] for row in table["item"].to_pylist()]
    assert table["timestamp"].to_pylist() == [[moment(log[n][1]) for n in row] for row in number]
    assert table["amount"].to_pylist() == [[None if n % 5 == 0 else n / 2 for n in row] for row in number]


@pytest.mark.parametrize(
    "broken",
    [
        {"seen": lambda minute, cutoff: minute <= cutoff},  # sees the event at the cutoff
        {"seen": lambda minute, cutoff: True},  # sees the future
        {"tie": lambda row: -row},  # turns ties round
        {"latest": False},  # keeps the oldest
    ],
    ids=["cutoff inclusive", "future", "ties reversed", "oldest"],
)
def test_the_slow_loop_notices(broken):
    log, who = [(0, 1), (0, 1), (0, 0), (0, 2), (0, 3)], [(0, 2)]
    if "latest" in broken:
        assert built_rows(build_sequences(*frames(log, who), max_length=2)) != slow_rows(
            log, who, 2, "latest", **broken
        )
    assert built_rows(build_sequences(*frames(log, who), max_length=2)) == slow_rows(log, who, 2, "latest")
    if "latest" not in broken:
        assert built_rows(build_sequences(*frames(log, who))) != slow_rows(log, who, 512, "latest", **broken)


@settings(max_examples=20, deadline=None)
@given(LOG, WHO)
def test_no_event_at_or_after_the_cutoff_appears(log, who):
    table = build_sequences(*frames(log, who)).to_table()
    for cutoff, times in zip(table["cutoff"].to_pylist(), table["timestamp"].to_pylist(), strict=True):
        assert all(time < cutoff for time in times)


def test_equal_timestamps_keep_the_order_of_the_log():
    sequences = build_sequences(*frames([(0, 3), (0, 1), (0, 3), (0, 3), (0, 1)], [(0, 4)]))
    assert built_rows(sequences)[0][2] == ["event 1", "event 4", "event 0", "event 2", "event 3"]


def test_the_order_of_ties_comes_from_the_log_not_from_the_order_of_its_rows_in_memory():
    log, examples = frames([(0, 1)] * 5, [(0, 4)])
    shuffled = EventLog(log.frame.collect()[[3, 0, 4, 1, 2]].lazy(), SCHEMA)
    assert build_sequences(shuffled, examples).to_table() == build_sequences(log, examples).to_table()


def test_windows_cover_the_history_and_are_cut_from_its_end():
    sequences = build_sequences(*frames([(0, m) for m in range(5)], [(0, 9)]), max_length=2, history="windows")
    assert [len(items) for _, _, items, _ in built_rows(sequences)] == [1, 2, 2]


@pytest.mark.parametrize("history", ["latest", "windows"])
@pytest.mark.parametrize("kind", [int, str])
def test_parts_out_of_core_hold_the_same_rows(monkeypatch, history, kind):
    log = [((7 * row) % 4, (5 * row) % 6) for row in range(37)]
    who = [(row % 5, 1 + row % 6) for row in range(14)]
    whole = build_sequences(*frames(log, who, kind), max_length=3, history=history)
    monkeypatch.setattr(sequence, "_EVENTS_PER_PART", 5)
    parts = build_sequences(*frames(log, who, kind), max_length=3, history=history)
    assert len(whole.parts) == 1 and len(parts.parts) > 3
    assert parts.to_table() == whole.to_table()


def test_no_entity_is_in_two_parts(monkeypatch):
    monkeypatch.setattr(sequence, "_EVENTS_PER_PART", 2)
    sequences = build_sequences(*frames([(row % 4, row) for row in range(9)], [(row % 4, 9) for row in range(8)]))
    owners = [set(table["user_id"].to_pylist()) for table in sequences.tables()]
    assert sum(len(owner) for owner in owners) == len(set().union(*owners)) == 4


@pytest.mark.parametrize("events_per_part", [3, 1000])
def test_written_sequences_are_read_back(monkeypatch, tmp_path, events_per_part):
    monkeypatch.setattr(sequence, "_EVENTS_PER_PART", events_per_part)
    log, examples = frames([(row % 3, row) for row in range(12)], [(row % 4, 5 + row) for row in range(6)])
    written = write_sequences(log, examples, tmp_path / "rows", max_length=2, history="windows")
    again = read_sequences(tmp_path / "rows")
    assert again == written
    assert again.schema == SCHEMA and again.n_examples == 6
    assert again.to_table() == build_sequences(log, examples, max_length=2, history="windows").to_table()


def test_a_failed_write_leaves_the_former_rows(monkeypatch, tmp_path):
    log, examples = frames([(0, 1), (1, 2)], [(0, 5), (1, 5)])
    before = write_sequences(log, examples, tmp_path / "rows").to_table()

    def fails(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(sequence.pq, "write_table", fails)
    with pytest.raises(OSError, match="disk full"):
        write_sequences(log, examples, tmp_path / "rows", max_length=1)
    monkeypatch.undo()
    assert read_sequences(tmp_path / "rows").to_table() == before


def test_a_folder_without_sequences_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no sequences\.json"):
        read_sequences(tmp_path)


def test_a_length_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="max_length=0"):
        build_sequences(*frames([(0, 1)], [(0, 2)]), max_length=0)


def test_columns_have_plain_arrow_types_that_other_readers_know():
    table = build_sequences(*frames([(0, 1)], [(0, 2)], str)).to_table()
    assert table.schema.field("user_id").type == pa.string()
    assert table.schema.field("item").type == pa.list_(pa.string())
    assert table.schema.field("region").type == pa.string()


def test_examples_keep_their_columns_and_their_order():
    who = [(2, 3), (0, 1), (4, 2), (0, 3), (2, 3)]
    table = build_sequences(*frames([(0, 0), (2, 1)], who)).to_table()
    assert table["user_id"].to_pylist() == [entity for entity, _ in who]
    assert table["risk"].to_pylist() == [0, 1, 0, 1, 0]
    assert table["region"].to_pylist() == [f"region {row}" for row in range(5)]
    assert table["n_events"].to_pylist() == [1, 1, 0, 1, 1]


def test_numbers_of_a_log_meet_the_same_numbers_written_as_text():
    log = read_events(pl.DataFrame({"user_id": [7, 8], "timestamp": [moment(0), moment(1)], "item": ["a", "b"]}))
    examples, _ = read_examples(pl.DataFrame({"user_id": ["8", "7"], "cutoff": [moment(5)] * 2}), log)
    assert build_sequences(log, examples).to_table()["item"].to_pylist() == [["b"], ["a"]]


def test_derived_examples_see_the_last_event():
    log, _ = frames([(0, 1), (1, 2), (0, 3)], [(0, 1)])
    rows = build_sequences(log, derive_examples(log)).to_table()
    assert rows["item"].to_pylist() == [["event 0", "event 2"], ["event 1"]]


@pytest.mark.parametrize(
    "make", [lambda: Data(history="window"), lambda: build_sequences(*frames([(0, 1)], [(0, 2)]), history="window")]
)
def test_an_unknown_way_to_cut_histories_is_refused(make):
    with pytest.raises(ConfigError, match="windows"):
        make()
