"""From a log to whole histories: order, ties, parts on disk, and vocabularies of the training part alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

import habitus.data.sequence
from habitus.data.events import read_events
from habitus.data.list_columns import combined, flat
from habitus.data.read_histories import bare_histories, encode_histories, fit_encoder, read_rows_of

START = datetime(2024, 1, 1, tzinfo=UTC)


def log(rows):
    """Rows of (entity, minute, item, amount)."""
    frame = pl.DataFrame(rows, schema=["user_id", "minute", "item", "amount"], orient="row")
    frame = frame.with_columns(timestamp=pl.lit(START) + pl.duration(minutes=pl.col("minute"))).drop("minute")
    return read_events(
        frame, fields={"item": {"kind": "category", "min_count": 1}, "amount": {"kind": "number", "log": False}}
    )


def random_log(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return log(
        [(f"u{rng.integers(9)}", int(rng.integers(12)), f"i{rng.integers(7)}", float(rng.normal())) for _ in range(n)]
    )


def test_histories_are_in_time_order_and_ties_in_the_order_of_the_log():
    rows = read_rows_of(
        log(
            [
                ("b", 2, "late", 1.0),
                ("a", 5, "x", 2.0),
                ("b", 1, "tie 1", 3.0),
                ("b", 1, "tie 2", 4.0),
                ("b", 1, "tie 3", 5.0),
            ]
        )
    )
    assert rows.entities.to_list() == ["b", "a"]  # by first appearance
    encoder = fit_encoder(rows, np.array([4, 1]))
    histories = encode_histories(encoder, rows)
    items = encoder.fields["item"].decode(histories.ids["item"])
    assert items == ["tie 1", "tie 2", "tie 3", "late", "x"] and histories.offsets.tolist() == [0, 4, 5]
    minutes = (histories.time_us - int(START.timestamp()) * 10**6) // 60_000_000
    assert minutes.tolist() == [1, 1, 1, 2, 5]
    np.testing.assert_allclose(
        encoder.fields["amount"].decode(histories.numbers["amount"][:, 0]), [3, 4, 5, 1, 2], rtol=1e-6
    )


def test_vocabulary_and_scaler_are_of_the_first_events_only():
    rows = read_rows_of(
        log(
            [
                ("a", 0, "x", 1.0),
                ("a", 1, "y", 3.0),
                ("a", 2, "later", 1e6),
                ("b", 0, "x", 2.0),
                ("b", 3, "later", 1e6),
                ("c", 9, "later", 1e6),
            ]
        )
    )
    encoder = fit_encoder(rows, np.array([2, 1, 0]))
    assert encoder.fields["item"].values == ["x", "y"] and encoder.fields["item"].counts == [2, 1]
    assert encoder.fields["amount"].center == 2.0
    assert encode_histories(encoder, rows).ids["item"].tolist() == [3, 4, 1, 3, 1, 1]  # unknown, not dropped


def test_parts_on_disk_give_the_same_histories(monkeypatch):
    whole = random_log()
    rows = read_rows_of(whole)
    n_train = np.maximum(bare_histories(rows).lengths - 2, 0)
    expected = encode_histories(fit_encoder(rows, n_train), rows)
    monkeypatch.setattr(habitus.data.sequence, "_EVENTS_PER_PART", 7)
    parted = read_rows_of(whole)
    assert len(parted.sequences.parts) > 3 and parted.entities.to_list() == rows.entities.to_list()
    assert fit_encoder(parted, n_train).to_json() == fit_encoder(rows, n_train).to_json()
    found = encode_histories(fit_encoder(parted, n_train), parted)
    assert (found.offsets == expected.offsets).all() and (found.time_us == expected.time_us).all()
    assert (found.ids["item"] == expected.ids["item"]).all()
    assert (found.numbers["amount"] == expected.numbers["amount"]).all()


def test_bare_histories_have_times_alone():
    rows = read_rows_of(random_log())
    bare, whole = bare_histories(rows), encode_histories(fit_encoder(rows, bare_histories(rows).lengths), rows)
    assert (
        bare.ids == {} == bare.numbers
        and (bare.offsets == whole.offsets).all()
        and (bare.time_us == whole.time_us).all()
    )
    assert all(
        (np.diff(bare.time_us[a:b]) >= 0).all() for a, b in zip(bare.offsets[:-1], bare.offsets[1:], strict=True)
    )
    assert len(bare.time_us) == 60


def test_a_log_of_rows_out_of_order_gives_the_same_histories():
    rows = [(f"u{i % 4}", int(i * 7 % 40), f"i{i % 5}", float(i)) for i in range(40)]  # no ties within a user
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(40)]
    found = {}
    for name, given in (("given", rows), ("shuffled", shuffled)):
        read = read_rows_of(log(given))
        encoder = fit_encoder(read, bare_histories(read).lengths)
        histories = encode_histories(encoder, read)
        items = encoder.fields["item"].decode(histories.ids["item"])
        found[name] = {
            who: items[histories.offsets[i] : histories.offsets[i + 1]] for i, who in enumerate(read.entities)
        }
    assert found["given"] == found["shuffled"]


def test_a_sliced_list_column_is_only_its_slice():
    table = pa.table({"item": [["a"], ["b", "c"], [], None, ["d"]]})
    for piece, expected in (
        (table.slice(0, 2), ["a", "b", "c"]),
        (table.slice(1, 3), ["b", "c"]),
        (table.slice(4), ["d"]),
    ):
        column = combined(piece, "item")
        assert column.offsets[0].as_py() == 0 and column.values.to_pylist() == expected
        assert flat(piece, "item").to_list() == expected and len(column) == piece.num_rows
    assert combined(table.slice(0, 0), "item").offsets.to_pylist() in ([], [0])


def test_histories_end_with_the_log_and_no_event_is_lost():
    read = read_rows_of(log([("a", 0, "x", 1.0), ("a", 0, "y", 1.0), ("b", 10**6, "z", 1.0)]))
    assert bare_histories(read).lengths.tolist() == [2, 1]
    assert bare_histories(read).time_us[-1] == int((START + timedelta(minutes=10**6)).timestamp()) * 10**6
