"""What a task leaves out of a long history no row could show; counts stay exact; no history is held whole."""

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.events import EventLog
from habitus.data.examples import Examples
from habitus.data.sequence import DROPPED, EXAMPLE, build_sequences, plain_table
from habitus.fields.category import Category
from habitus.fields.schema import Schema
from habitus.spark import cut
from habitus.spark.cut import KIND, CutHeavy, SliceRows, latest_between

SCHEMA = Schema(fields={"item": Category()}, target="risk")
TIME = pl.Datetime("us", "UTC")
# many ties, cutoffs equal to event times, entities without events and without examples
LOG = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=60)
WHO = st.lists(st.tuples(st.sampled_from("abce"), st.integers(0, 11)), min_size=1, max_size=10)


def frames(log, who):
    events = pl.DataFrame(
        {
            "user_id": pl.Series([entity for entity, _ in log], dtype=pl.String),
            "timestamp": pl.Series([time for _, time in log], dtype=pl.Int64).cast(TIME),
            "item": pl.Series([f"event {row}" for row in range(len(log))], dtype=pl.String),
        }
    ).with_columns(pl.int_range(pl.len()).alias("_row"))
    examples = pl.DataFrame(
        {
            "user_id": [entity for entity, _ in who],
            "cutoff": pl.Series([time for _, time in who]).cast(TIME),
            "risk": list(range(len(who))),
        }
    )
    return events, examples


def expected_rows(events, examples, max_length, history):
    log = EventLog(events.lazy(), SCHEMA)
    return build_sequences(log, Examples(examples, SCHEMA, "risk"), max_length=max_length, history=history).to_table()


def as_partition(events, examples, batch_rows):
    """Return the sorted batches that Spark would hand to a task."""
    marked = examples.with_columns(
        pl.lit(None, TIME).alias("timestamp"),
        pl.lit(None, pl.String).alias("item"),
        pl.int_range(pl.len()).alias("_row"),
        pl.int_range(pl.len()).alias(EXAMPLE),
        pl.lit(0, pl.Int8).alias(KIND),
        pl.lit(0, pl.Int64).alias(DROPPED),
    )
    events = events if DROPPED in events.columns else events.with_columns(pl.lit(0, pl.Int64).alias(DROPPED))
    both = pl.concat([marked, events.with_columns(pl.lit(1, pl.Int8).alias(KIND))], how="diagonal")
    both = both.sort("user_id", KIND, "timestamp", "_row", nulls_last=False)
    return plain_table(both).combine_chunks().to_batches(max_chunksize=batch_rows)


def sliced(events, examples, max_length, history, chunk_rows, batch_rows=3):
    expected = expected_rows(events, examples, max_length, history)
    scalars = ("user_id", "cutoff", "risk")
    kernel = SliceRows(SCHEMA, max_length, history, scalars, expected.schema, chunk_rows)
    found = pa.Table.from_batches(kernel(as_partition(events, examples, batch_rows)), schema=expected.schema)
    return found.sort_by([(EXAMPLE, "ascending"), ("_window", "ascending")]), expected


@settings(max_examples=150, deadline=None)
@given(LOG, WHO, st.integers(1, 4), st.sampled_from(["latest", "windows"]), st.integers(1, 80))
def test_a_partition_in_chunks_gives_the_rows_of_one_machine(log, who, max_length, history, chunk_rows):
    found, expected = sliced(*frames(log, who), max_length, history, chunk_rows)
    assert found.equals(expected)


@settings(max_examples=150, deadline=None)
@given(LOG, WHO, st.integers(1, 4), st.integers(1, 30), st.sets(st.sampled_from("abcd"), min_size=1))
def test_heavy_entities_are_cut_before_the_shuffle_without_a_trace(log, who, max_length, chunk_rows, heavy):
    events, examples = frames(log, who)
    moments = {
        name: np.unique(examples.filter(pl.col("user_id") == name)["cutoff"].to_physical().to_numpy()) for name in heavy
    }
    cutter = CutHeavy(moments, "user_id", "timestamp", max_length, chunk_rows)
    raw = plain_table(events.with_columns(pl.lit(0, pl.Int64).alias(DROPPED)))
    batches = list(cutter(raw.combine_chunks().to_batches(max_chunksize=4)))
    left = pl.from_arrow(pa.Table.from_batches(batches, schema=raw.schema))
    found, _ = sliced(left, examples, max_length, "latest", 10)
    assert found.equals(expected_rows(events, examples, max_length, "latest"))
    assert left.height <= events.height


def test_a_cut_that_forgets_what_it_left_out_is_found(monkeypatch):
    events, examples = frames([("a", time % 10) for time in range(50)], [("a", 5), ("a", 11)])

    def forgetful(events, *rest):
        return latest_between(events, *rest).with_columns(pl.lit(0, pl.Int64).alias(DROPPED))

    found, expected = sliced(events, examples, 2, "latest", 5)
    assert found.equals(expected) and expected["n_events"].to_pylist() == [25, 50]
    monkeypatch.setattr(cut, "latest_between", forgetful)
    found, _ = sliced(events, examples, 2, "latest", 5)
    assert not found.equals(expected)


def test_a_crawler_is_never_held_whole(monkeypatch):
    n, most = 40_000, []
    events, examples = frames([("a", row // 7) for row in range(n)], [("a", n), ("a", 9), ("b", 1)])
    slicing = cut.slice_rows
    monkeypatch.setattr(cut, "slice_rows", lambda events, *rest: most.append(events.height) or slicing(events, *rest))
    found, expected = sliced(events, examples, 5, "latest", 300, batch_rows=200)
    assert found.equals(expected) and found["n_events"].to_pylist() == [n, 63, 0]
    assert max(most) <= 2 * 300
