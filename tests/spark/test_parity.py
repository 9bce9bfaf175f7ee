"""The same users through Python and through Spark: identical ids, equal rows, |dp| <= 1e-5, whatever the partitions."""

import polars as pl
import pyarrow as pa
import pytest

import habitus as hb
from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sequence import build_sequences
from habitus.model import Options
from habitus.spark import SequenceModelTransformer, predict_to_folder, sequence_rows
from habitus.training import Training
from tests.spark.logs import odd_log


def fitted(folder, history, n_users, n_events):
    """Write a log and a model of it, and return the model."""
    events, examples = odd_log(n_users, n_events)
    events.drop("order_of_row").write_parquet(folder / "events.parquet", row_group_size=5_000)
    examples.write_parquet(folder / "who.parquet")
    model = hb.SequenceModel(
        hb.Classify("risk"),
        backbone=hb.GRU(hidden_size=8),
        data=hb.Data(max_length=8, history=history),
        training=Training(epochs=1, threads=1),
        options=Options(baselines=()),
    )
    model.fit(events.drop("order_of_row")[:20_000], examples[:1_500])
    model.save(folder / "model")
    return model


def assert_same_scores(found, expected):
    assert found.columns == expected.columns
    keys = ["user_id", "cutoff", "probability"]
    found, expected = found.sort(keys), expected.sort(keys)
    assert found["user_id"].to_list() == expected["user_id"].to_list()
    assert found["cutoff"].equals(expected["cutoff"])
    assert (found["probability"] - expected["probability"]).abs().max() <= 1e-5


@pytest.mark.parametrize("history", ["latest", "windows"])
def test_two_thousand_users(spark, tmp_path, history):
    model = fitted(tmp_path, history, 2_000, 20_000)
    events, who = str(tmp_path / "events.parquet"), str(tmp_path / "who.parquet")
    scored = predict_to_folder(spark, tmp_path / "model", events, who, tmp_path / "out", partitions=7)
    expected = model.predict(events, who)
    assert (scored.n, scored.n_rejected, scored.rejects.total) == (expected.height, 0, 4)
    assert_same_scores(pl.read_parquet(tmp_path / "out"), expected)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    model = fitted(folder, "latest", 10_000, 200_000)
    events, who = str(folder / "events.parquet"), str(folder / "who.parquet")
    log = read_events(events, model.encoder_.schema)
    examples, _ = read_examples(who, log, target="risk", schema=model.encoder_.schema)
    rows = build_sequences(log, examples, max_length=model.data.max_length).to_table()
    return model, folder, rows, model.predict(events, who)


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 7, 200])
def test_ten_thousand_users(spark, many, partitions):
    model, folder, expected, scores = many
    events, who = str(folder / "events.parquet"), str(folder / "who.parquet")
    options = {"target": "risk", "data": model.data, "schema": model.encoder_.schema, "heavy": 1_000}
    found = sequence_rows(spark, events, who, partitions=partitions, **options).frame
    rows = found.toArrow().sort_by("_example")
    for name in expected.column_names:
        assert rows[name].combine_chunks().cast(expected[name].type).equals(expected[name].combine_chunks()), name
    stage = SequenceModelTransformer(bundle=str(folder / "model"))
    answers = stage.transform(found.drop("risk")).select(*scores.columns)
    assert_same_scores(pl.from_arrow(pa.Table.from_batches(answers.toArrow().to_batches())), scores)


def test_raw_events_and_examples_in_tables_of_spark(spark, tmp_path):
    model = fitted(tmp_path, "latest", 300, 3_000)
    events, who = odd_log(300, 3_000)
    log = spark.createDataFrame(events.rename({"user_id": "uid", "timestamp": "when"}).to_arrow())
    stage = SequenceModelTransformer(
        bundle=str(tmp_path / "model"), entityCol="uid", timeCol="when", orderCol="order_of_row"
    )
    stage.setExamples(spark.createDataFrame(who.to_arrow()))
    found = pl.from_arrow(stage.transform(log).drop("rejected").toArrow())
    assert_same_scores(found, model.predict(str(tmp_path / "events.parquet"), who))
    everyone = stage.setExamples(None).transform(log).drop("rejected").toArrow()
    assert_same_scores(pl.from_arrow(everyone), model.predict(str(tmp_path / "events.parquet")))
