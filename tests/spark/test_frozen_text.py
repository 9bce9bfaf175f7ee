"""A model that reads texts of events through a frozen encoder answers on Spark as it does on one machine."""

import polars as pl
import pytest

from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sequence import build_sequences
from habitus.spark import SequenceModelTransformer
from tests.backbones.test_frozen import labelled, labels_of, log
from tests.tiny_bert import tiny_bert


@pytest.mark.slow
def test_texts_are_read_alike_by_workers(spark, tmp_path):
    known = log()
    model = labelled(tiny_bert(tmp_path / "bert")).fit(known, labels_of(known))
    model.save(tmp_path / "model")
    new = known.with_columns(
        title=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("very good tea")).otherwise("title")
    )
    schema = model.encoder_.schema
    events = read_events(new, schema)
    examples, _ = read_examples(labels_of(known), events, schema=schema)
    rows = build_sequences(events, examples, max_length=model.data.max_length).to_table()
    scored = SequenceModelTransformer(bundle=str(tmp_path / "model")).transform(
        spark.createDataFrame(rows).repartition(3)
    )
    found = pl.from_arrow(scored.toArrow()).sort("_example")
    expected = model.predict(new, labels_of(known))
    assert (found["probability"] - expected["probability"]).abs().max() <= 1e-5
