"""The parts of a streaming query that need no Spark: waiting, ordering, reading, answering, alerts."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import habitus as hb
from habitus.errors import ConfigError
from habitus.model import NextOptions, SequenceModel
from habitus.spark.stream_alerts import AlertRule
from habitus.spark.stream_answers import answers_of
from habitus.spark.stream_read import read_batches
from habitus.spark.stream_state import Event, Kept
from habitus.tasks import NextEvent
from habitus.training import Training
from tests.spark.models import small_log, small_model

START = datetime(2024, 1, 1, tzinfo=UTC)


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 5))
def test_events_that_arrive_within_the_lateness_leave_in_order_each_once(times, lateness):
    kept, out, latest = Kept(), [], 0
    arrived = []
    for number, time in enumerate(times):
        time = max(time, latest - lateness + 1)  # within the lateness
        latest = max(latest, time)
        kept.hold(Event(time, (number,)))
        arrived.append((time, number))
        out += kept.release(latest - lateness)
        kept = Kept.from_json(kept.to_json())  # as between two batches of Spark
    out += kept.release(10**6)
    assert [(event.time_us, event.values[0]) for event in out] == sorted(arrived)


def test_a_user_is_looked_at_when_an_event_is_due_and_then_when_the_time_limit_is_over():
    kept = Kept()
    kept.hold(Event(1_500, ()))
    assert kept.due_ms(time_limit_us=10_000) == 2  # 1.5 ms rounded up
    kept.fold(kept.release(2_000), n_recent=0)
    assert kept.due_ms(time_limit_us=10_000) == 12 and kept.due_ms(None) is None
    assert kept.is_over(11_500, 10_000) and not kept.is_over(11_499, 10_000) and not kept.is_over(10**9, None)


def test_the_rate_alerts_once_when_it_rises_and_again_after_it_fell():
    rule, memory = AlertRule(rate=0.5, window=4), {}
    hits = [1, 1, 0, 0, 1, 0, 0, 0, 1, 1]
    found = [bool(rule.reasons(memory, None, hit=bool(hit))) for hit in hits]
    assert found == [False] * 3 + [True] + [False] * 5 + [True]
    for wrong in ({"rate": 0.0}, {"rate": 2.0}, {"window": 0}):
        with pytest.raises(ConfigError):
            AlertRule(**wrong)


def test_a_score_that_stays_above_alerts_once():
    rule, memory = AlertRule(above=0.5), {}
    assert [len(rule.reasons(memory, s, hit=False)) for s in (0.6, 0.7, 0.4, 0.5, None)] == [1, 0, 0, 1, 0]


def test_rows_are_read_as_the_log_is_and_bad_ones_keep_their_reason():
    log = small_log().events
    schema = small_model().encoder_.schema
    rows = log.head(6).to_dicts()
    rows[1]["user_id"] = None
    rows[2]["size_mb"] = float("nan")
    batch = pl.DataFrame(rows, schema=log.schema).to_arrow().cast(_plain(log.head(1).to_arrow().schema))
    (read,) = read_batches(iter(batch.combine_chunks().to_batches()), schema)
    found = read.to_pylist()
    assert [row["_entity"] for row in found] == [row["user_id"] for row in rows]
    assert found[1]["_reason"] == "'user_id' is missing" and json.loads(found[1]["_values"])["user_id"] == "missing"
    assert json.loads(found[2]["_values"])[2] is None and found[2]["_reason"] is None
    assert found[0]["_time_us"] == round(rows[0]["timestamp"].timestamp() * 1e6)
    assert [row["_row_number"] for row in found] == list(range(6))


@pytest.mark.parametrize("n_at_once", [1, 7])
def test_a_labelled_model_answers_each_event_as_predict_does_just_after_it(n_at_once):
    model = small_model()
    log = small_log().events.filter(pl.col("user_id") == "u0000003").sort("timestamp", maintain_order=True)
    answers, kept, found = answers_of(model, alert_class=None, hit_at=None), Kept(), []
    events = [Event(round(row[1].timestamp() * 1e6), row[2:]) for row in log.iter_rows()]
    assert len(events) > model.data.max_length  # so that old events are left out
    for first in range(0, len(events), n_at_once):
        new = events[first : first + n_at_once]
        found += answers.fold(kept, None, new)[0]
        kept.fold(new, answers.n_recent)
        kept = Kept.from_json(kept.to_json())
    cutoffs = log.select("user_id", pl.col("timestamp").dt.offset_by("1us").alias("cutoff"))
    expected = model.predict(log, cutoffs.with_columns(region=None, age_band=None))
    ties = log["timestamp"].is_duplicated()  # predict sees all events of a moment
    for answer, row, is_tie in zip(found, expected.iter_rows(named=True), ties, strict=True):
        assert is_tie or answer.score == pytest.approx(row["probability"], abs=1e-6)
    assert answers.columns == {"prediction": "string", "probability": "double"}


def test_a_next_event_model_folds_and_says_how_surprising_an_event_was():
    rows = [("a", START + timedelta(hours=i), f"i{i % 3}") for i in range(40)]
    rows += [("b", START + timedelta(hours=i), f"i{i % 3}") for i in range(30)]
    log = pl.DataFrame(rows, schema=["user_id", "timestamp", "item_id"], orient="row")
    model = SequenceModel(
        NextEvent(when=False),
        hb.GRU(hidden_size=8),
        data=hb.Data(max_length=16),
        options=NextOptions(baselines=()),
        training=Training(epochs=1, tracker=None),
    ).fit(log)
    answers, kept, state, found = answers_of(model, alert_class=None, hit_at=1.0, k=2), Kept(), None, []
    for row in log.filter(user_id="a").iter_rows():
        event = Event(round(row[1].timestamp() * 1e6), row[2:])
        answer, state = answers.fold(kept, state, [event])
        kept.fold([event], answers.n_recent)
        found += answer
    expected = model.recommend(log, k=2).filter(user_id="a")
    assert found[-1].values["items"] == expected["item_id"].to_list()
    assert found[-1].values["scores"] == pytest.approx(expected["score"].to_list(), abs=1e-5)
    assert found[0].values["surprise"] is None and found[5].score == found[5].values["surprise"] > 0
    with pytest.raises(ConfigError, match="cannot follow a stream"):
        answers_of(SequenceModel(hb.Forecast(horizon=2)), alert_class=None, hit_at=None)


def _plain(schema):
    small = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    return pa.schema([pa.field(one.name, small.get(one.type, one.type)) for one in schema])
