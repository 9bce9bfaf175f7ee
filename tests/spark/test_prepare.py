"""Prepared rows, rejects, notes, parts, vocabularies and scalers equal those of one machine, bit for bit."""

from collections import Counter

import polars as pl
import pyarrow as pa
import pytest

from habitus.data.encode import Encoder
from habitus.data.events import read_events
from habitus.data.examples import derive_examples, read_examples
from habitus.data.options import Data
from habitus.data.sequence import build_sequences, read_sequences
from habitus.data.split import Split
from habitus.errors import ConfigError, DataError
from habitus.spark.folder import read_manifest, write_rows
from habitus.spark.prepare import sequence_rows
from tests.spark.logs import odd_log

KEYS = ["_example", "_window"]


def on_one_machine(events, examples, data, target, split=None):
    """Return the rows (with `_part`), notes and rejects of both tables."""
    options = {"entity": data.entity, "time": data.time, "time_zone": data.time_zone, "time_unit": data.time_unit}
    log = read_events(events, **options, fields=data.fields, drop=data.drop)
    if examples is None:
        table = derive_examples(log)
    else:
        table, _ = read_examples(examples, log, target=target, cutoff=data.cutoff, drop=data.drop, fields=data.fields)
    sequences = build_sequences(log, table, max_length=data.max_length, history=data.history)
    rows = sequences.to_table()
    if split is not None:
        part = split.assign(table.frame, sequences.schema.entity, sequences.schema.cutoff)
        rows = rows.append_column("_part", pa.array(part[rows["_example"].to_numpy()], pa.string()))
    return sequences, rows, [*log.notes, *table.notes], (log.rejects, table.rejects)


def assert_same(spark, events, examples, *, data=None, target="risk", split=None, given=None, **options):
    data = data or Data(max_length=8)
    target = target if examples is not None else None
    sequences, expected, notes, rejects = on_one_machine(events, examples, data, target, split)
    events, examples = given or (events, examples)
    found = sequence_rows(spark, events, examples, target=target, data=data, split=split, **options)
    rows = found.frame.toArrow().sort_by([(key, "ascending") for key in KEYS])
    assert rows.column_names == expected.column_names
    for name in expected.column_names:
        assert rows[name].combine_chunks().cast(expected[name].type).equals(expected[name].combine_chunks()), name
    assert found.schema == sequences.schema
    assert found.log.known.rejects.counts == rejects[0].counts
    assert found.log.known.rejects.n_rows == rejects[0].n_rows
    assert found.examples.rejects.counts == rejects[1].counts
    return found, notes, rejects


@pytest.fixture(scope="module")
def log():
    return odd_log(120, 3000)


@pytest.fixture(scope="module")
def files(log, tmp_path_factory):
    """The log as three Parquet files whose names sort otherwise than they were written, and the examples as CSV."""
    folder = tmp_path_factory.mktemp("log") / "é v+%20 ents"
    folder.mkdir()
    events, examples = log
    for number, name in enumerate(["b 2.parquet", "a+1.parquet", "c%3.parquet"]):
        events[1000 * number : 1000 * (number + 1)].drop("order_of_row").write_parquet(
            folder / name, row_group_size=100
        )
    table = folder.parent / "examples.csv"
    examples.write_csv(table)
    return str(folder), str(table)


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_rows_of_files_equal_those_of_one_machine(spark, files, partitions):
    found, notes, rejects = assert_same(spark, *files, partitions=partitions, heavy=200, split=Split(by="time"))
    assert found.notes == list(dict.fromkeys(notes))
    assert found.log.known.rejects.samples == rejects[0].samples
    assert sum(rejects[0].counts.values()) == 4


def test_a_log_without_examples_judges_everyone_at_the_end(spark, files):
    assert_same(spark, files[0], None, data=Data(max_length=5, drop=("code",)))


def test_windows_cover_every_event(spark, files):
    assert_same(spark, *files, data=Data(max_length=5, history="windows", fields={"code": "number"}))


def test_a_csv_log_with_local_times_and_numbers_for_ids(spark, tmp_path):
    events, examples = odd_log(40, 600, names=lambda i: str(i))
    local = pl.col("timestamp").dt.convert_time_zone("Asia/Shanghai").dt.replace_time_zone(None)
    events = events.with_columns(local.dt.to_string("%Y-%m-%d %H:%M:%S")).rename({"timestamp": "ts", "user_id": "uid"})
    (tmp_path / "csv").mkdir()
    events[:400].write_csv(tmp_path / "csv" / "2.csv")
    events[400:].write_csv(tmp_path / "csv" / "1.csv")
    with (tmp_path / "csv" / "1.csv").open("a") as file:
        file.write('7,not a time,"item, ""quoted""\nand broken",1e400,3,601\n,2023-11-15 06:00:00,x,y,3,602\n')
    table = examples.with_columns(pl.col("user_id").cast(pl.Int64)).rename({"user_id": "uid"})
    data = Data(entity="uid", time="ts", time_zone="Asia/Shanghai", max_length=6)
    table.write_parquet(tmp_path / "who.parquet")
    found, *_ = assert_same(spark, str(tmp_path / "csv"), str(tmp_path / "who.parquet"), data=data)
    assert {"'ts' is not a time", "'uid' is missing"} <= found.log.known.rejects.counts.keys()


def test_a_table_of_spark_is_ordered_by_a_column(spark, log):
    events, examples = log
    shuffled = spark.createDataFrame(events.sample(fraction=1.0, shuffle=True, seed=1).to_arrow())
    table = spark.createDataFrame(examples.with_row_index("n").cast({"n": pl.Int64}).to_arrow())
    plain = events.drop("order_of_row")
    found, *_ = assert_same(
        spark, plain, examples, given=(shuffled, table), order="order_of_row", examples_order="n", split=Split()
    )
    assert not any("no order" in note for note in found.notes)
    unordered = sequence_rows(spark, shuffled.drop("order_of_row"), table, target="risk")
    assert any("have no order of their own" in note for note in unordered.notes)
    with pytest.raises(DataError, match="no column 'place' to order it by"):
        sequence_rows(spark, shuffled, table, order="place")


def test_a_table_without_cutoffs_and_with_two_targets(spark, log, tmp_path):
    events, examples = log
    events.write_parquet(tmp_path / "log.parquet")
    table = examples.drop("cutoff").with_columns(fraud=pl.col("risk") * 0).unique("user_id", maintain_order=True)
    table.write_parquet(tmp_path / "who.parquet")
    found, *_ = assert_same(
        spark,
        str(tmp_path / "log.parquet"),
        str(tmp_path / "who.parquet"),
        data=Data(max_length=8, drop=("order_of_row",)),
        target=["risk", "fraud"],
        split=Split(by="new-entities", validation=0.2, test=0.3),
    )
    assert found.examples.labels == ("risk", "fraud")


def test_what_is_written_opens_on_one_machine_and_is_the_same_when_repeated(spark, files, tmp_path):
    split, data = Split(seed=3), Data(max_length=8)
    sequences, expected, *_ = on_one_machine(*files, data, "risk", split)
    rows = sequence_rows(spark, *files, target="risk", data=data, split=split, partitions=3)
    prepared = write_rows(rows, tmp_path / "rows")
    opened = read_sequences(tmp_path / "rows")
    table = opened.to_table()
    for name in expected.column_names:
        assert table[name].combine_chunks().cast(expected[name].type).equals(expected[name].combine_chunks()), name
    assert len(opened.parts) == 3 and opened.n_examples == expected.num_rows == prepared.n_rows
    part = expected["_part"].to_numpy(zero_copy_only=False)
    assert prepared.encoder.to_json() == Encoder.fit(sequences, part == "train").to_json()
    assert dict(Counter(part)) == prepared.parts
    assert len((tmp_path / "rows" / "rejects.csv").read_text("utf-8").splitlines()) == 1 + prepared.rejects.total == 5
    before = read_manifest(tmp_path / "rows")
    write_rows(rows, tmp_path / "rows")
    assert read_manifest(tmp_path / "rows")["files"].keys() == before["files"].keys()
    assert read_sequences(tmp_path / "rows").to_table().equals(table)
    (tmp_path / "rows" / "encoder.json").write_text("{}")
    with pytest.raises(DataError, match="is not what was written"):
        read_manifest(tmp_path / "rows")
    (tmp_path / "rows" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis\.txt"):
        write_rows(rows, tmp_path / "rows")
    with pytest.raises(ConfigError, match="is an address"):
        write_rows(rows, "s3a://bucket/rows")
