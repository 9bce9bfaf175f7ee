"""Encoding: what is learned comes from training rows only, and times become what a hand calculation gives."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.data.encode import EncodedSequences, Encoder
from habitus.data.events import EventLog
from habitus.data.examples import Examples
from habitus.data.sequence import build_sequences
from habitus.fields.category import MISSING, UNKNOWN, Category
from habitus.fields.number import Number
from habitus.fields.schema import Schema

TIME = pl.Datetime("us", "UTC")
START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = Schema(
    fields={"item": Category(min_count=1), "amount": Number(log=False), "level": Number(bins=3)},
    profile={"region": Category(min_count=1), "income": Number(log=False)},
)


def sequences_of(rows, examples, **options):
    """Rows of (entity, time, item, amount), examples of (entity, cutoff, region, income)."""
    who, when, item, amount = zip(*rows, strict=True)
    log = pl.DataFrame(
        {"user_id": who, "timestamp": when, "item": item, "amount": amount, "level": amount},
        schema_overrides={"timestamp": TIME, "amount": pl.Float64, "level": pl.Float64},
    ).with_row_index("_row")
    whose, cutoff, region, income = zip(*examples, strict=True)
    table = pl.DataFrame(
        {"user_id": whose, "cutoff": cutoff, "region": region, "income": income},
        schema_overrides={"cutoff": TIME, "income": pl.Float64},
    )
    return build_sequences(EventLog(log.lazy(), SCHEMA), Examples(table, SCHEMA), **options)


def random_sequences(n=9, canary=None, **options):
    rng = np.random.default_rng(0)
    rows = [
        (
            int(rng.integers(n)),
            START + timedelta(hours=int(rng.integers(500))),
            str(rng.choice(["a", "b", "c"])),
            row / 3,
        )
        for row in range(60)
    ]
    examples = [(who, START + timedelta(days=30), "north" if who % 2 else "south", float(who)) for who in range(n)]
    if canary is not None:
        rows += [(canary, START, "canary", 1e9)] * 50
        examples[canary] = (canary, examples[canary][1], "canary", -1e9)
    return sequences_of(rows, examples, **options)


def assert_same(first: EncodedSequences, second: EncodedSequences):
    for item in fields(EncodedSequences):
        one, two = getattr(first, item.name), getattr(second, item.name)
        for name in one if isinstance(one, dict) else [None]:
            left, right = (one, two) if name is None else (one[name], two[name])
            assert left is right is None or left.dtype == right.dtype, item.name
            np.testing.assert_array_equal(left, right, err_msg=f"{item.name} {name}")


def test_a_canary_in_test_rows_changes_nothing_that_is_learned():
    is_train = np.arange(9) != 4
    clean = Encoder.fit(random_sequences(), is_train)
    assert Encoder.fit(random_sequences(canary=4), is_train) == clean


def test_the_same_canary_in_a_training_row_is_noticed():
    is_train = np.ones(9, dtype=bool)
    clean, seen = Encoder.fit(random_sequences(), is_train), Encoder.fit(random_sequences(canary=4), is_train)
    for name in SCHEMA.fields:
        assert seen.fields[name] != clean.fields[name]
    for name in SCHEMA.profile:
        assert seen.profile[name] != clean.profile[name]


def test_what_was_never_trained_on_is_unknown():
    sequences = random_sequences(canary=4)
    encoder = Encoder.fit(sequences, np.arange(9) != 4)
    encoded = encoder.encode(sequences)
    assert (encoded.take(np.array([4])).ids["item"] == UNKNOWN).sum() == 50
    assert encoded.profile_ids["region"][4] == UNKNOWN
    assert np.abs(encoded.numbers["amount"]).max() <= 10  # 1e9 is clipped


def test_times_are_what_a_calendar_gives():
    rows = [
        (0, datetime(1969, 12, 31, 23, 59, tzinfo=UTC), "a", 1.0),  # a Wednesday, before the epoch
        (0, datetime(1970, 1, 2, 11, 59, tzinfo=UTC), "a", 1.0),  # a Friday, 1.5 days later
        (1, datetime(2024, 2, 29, 6, 0, 0, 1, tzinfo=UTC), "a", 1.0),  # a Thursday
        (1, datetime(2024, 3, 3, 18, 30, tzinfo=UTC), "a", 1.0),  # a Sunday
    ]
    examples = [(0, datetime(1970, 1, 3, tzinfo=UTC), "x", 1.0), (1, datetime(2024, 3, 4, tzinfo=UTC), "x", 1.0)]
    sequences = sequences_of(rows, examples)
    encoded = Encoder.fit(sequences, np.ones(2, dtype=bool)).encode(sequences)
    moments, cutoffs = [row[1] for row in rows], [examples[row[0]][1] for row in rows]
    assert encoded.hour.tolist() == [moment.hour for moment in moments] == [23, 11, 6, 18]
    assert encoded.weekday.tolist() == [moment.weekday() for moment in moments] == [2, 4, 3, 6]
    ages = [(cutoff - moment) / timedelta(days=1) for cutoff, moment in zip(cutoffs, moments, strict=True)]
    np.testing.assert_allclose(encoded.age_days, ages, rtol=1e-6)
    gaps = [0, 1.5, 0, (moments[3] - moments[2]) / timedelta(days=1)]
    np.testing.assert_allclose(encoded.gap_days, gaps, rtol=1e-6)


def test_the_first_event_of_every_row_has_no_gap_though_its_history_was_cut():
    sequences = random_sequences(max_length=2, history="windows")
    encoded = Encoder.fit(sequences, np.ones(9, dtype=bool)).encode(sequences)
    first = encoded.offsets[:-1][encoded.lengths > 0]
    assert (encoded.gap_days[first] == 0).all() and (encoded.gap_days >= 0).all()
    assert encoded.gap_days.any()


def test_values_are_looked_up_row_by_row():
    sequences = random_sequences()
    encoder = Encoder.fit(sequences, np.ones(9, dtype=bool))
    encoded, table = encoder.encode(sequences), sequences.to_table()
    for row in range(9):
        one = encoded.take(np.array([row]))
        assert encoder.fields["item"].decode(one.ids["item"]) == table["item"][row].as_py()
        scaler, amounts = encoder.fields["amount"], table["amount"][row].as_py()
        np.testing.assert_allclose(
            one.numbers["amount"][:, 0], (np.array(amounts) - scaler.center) / scaler.scale, rtol=1e-5
        )
        assert len(one.ids["level"]) == len(amounts)


def test_a_missing_value_is_a_value_of_its_own():
    rows = [(0, START, None, None), (0, START, "a", 2.0)]
    sequences = sequences_of(rows, [(0, START + timedelta(days=1), None, None)])
    encoded = Encoder.fit(sequences, np.ones(1, dtype=bool)).encode(sequences)
    assert encoded.ids["item"].tolist() == [MISSING, 3] and encoded.ids["level"][0] == MISSING
    assert encoded.numbers["amount"][0].tolist() == [0, 1]
    assert encoded.profile_ids["region"].tolist() == [MISSING] and encoded.profile_numbers["income"].tolist() == [
        [0, 1]
    ]


@pytest.mark.parametrize("rows", [[3], [8, 0, 0, 5], [], [True, False, False, True, False, False, False, True, True]])
def test_take_equals_a_loop_over_rows(rows):
    sequences = random_sequences()
    encoded = Encoder.fit(sequences, np.ones(9, dtype=bool)).encode(sequences).with_target(np.arange(9))
    taken = encoded.take(np.array(rows, dtype=bool if True in rows else np.int64))
    rows = np.flatnonzero(rows) if True in rows else rows
    slices = [slice(encoded.offsets[row], encoded.offsets[row + 1]) for row in rows]
    assert len(taken) == len(rows)
    for name in ("age_days", "gap_days", "hour", "weekday"):
        expected = [getattr(encoded, name)[part] for part in slices]
        np.testing.assert_array_equal(getattr(taken, name), np.concatenate([*expected, np.zeros(0)]))
    for name, ids in encoded.ids.items():
        np.testing.assert_array_equal(taken.ids[name], np.concatenate([*(ids[part] for part in slices), np.zeros(0)]))
    assert taken.target.tolist() == taken.example.tolist() == list(rows)
    assert taken.profile_ids["region"].tolist() == [encoded.profile_ids["region"][row] for row in rows]


@pytest.mark.parametrize("history", ["latest", "windows"])
def test_parts_in_any_order_give_the_same_rows(monkeypatch, history):
    whole = random_sequences(max_length=4, history=history)
    encoder = Encoder.fit(whole, np.ones(9, dtype=bool))
    monkeypatch.setattr("habitus.data.sequence._EVENTS_PER_PART", 13)
    parts = random_sequences(max_length=4, history=history)
    assert len(parts.parts) > 2
    for order in (parts.parts, parts.parts[::-1]):
        shuffled = replace(parts, parts=order)
        assert Encoder.fit(shuffled, np.ones(9, dtype=bool)) == encoder
        assert_same(encoder.encode(shuffled), encoder.encode(whole))


@pytest.mark.parametrize(("start", "length"), [(0, 4), (3, 4), (5, 4), (2, 0)])
def test_a_slice_of_a_table_is_encoded_as_its_rows(start, length):
    sequences = random_sequences()
    encoder = Encoder.fit(sequences, np.ones(9, dtype=bool))
    chosen = encoder.encode(sequences).take(np.arange(start, start + length))
    assert_same(encoder.encode_table(sequences.to_table().slice(start, length)), chosen)


def test_a_target_is_spread_over_the_windows_of_its_example():
    sequences = random_sequences(max_length=3, history="windows")
    encoded = Encoder.fit(sequences, np.ones(9, dtype=bool)).encode(sequences)
    target = np.arange(9) * 10
    assert encoded.with_target(target).target.tolist() == [10 * example for example in encoded.example]
    assert len(encoded) > 9 and encoded.with_target(None).target is None


def test_a_profile_counts_once_though_its_example_has_many_windows():
    one, many = random_sequences(max_length=100), random_sequences(max_length=1, history="windows")
    is_train = np.ones(9, dtype=bool)
    assert Encoder.fit(many, is_train).profile == Encoder.fit(one, is_train).profile


def test_an_encoder_survives_the_bundle():
    sequences = random_sequences()
    encoder = Encoder.fit(sequences, np.ones(9, dtype=bool))
    again = Encoder.from_json(encoder.to_json())
    assert again == encoder
    assert_same(again.encode(sequences), encoder.encode(sequences))
