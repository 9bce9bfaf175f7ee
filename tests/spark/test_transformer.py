"""The transformer scores sequence rows as one machine does, keeps their columns, and is a stage like any other."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import functions as F

from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sequence import build_sequences
from habitus.errors import BundleError, ConfigError, DataError
from habitus.model.score_rows import RowScorer
from habitus.spark import SequenceModelTransformer
from habitus.spark.failures import in_a_sentence
from habitus.spark.scoring import split_rejected
from tests.spark.models import small_log, small_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "risk"
    small_model().save(path)
    return str(path)


@pytest.fixture(scope="module")
def rows():
    log, model = small_log(), small_model()
    events = read_events(log.events, model.encoder_.schema)
    examples, _ = read_examples(log.labels, events, schema=model.encoder_.schema)
    return build_sequences(events, examples, max_length=model.data.max_length).to_table()


@pytest.fixture(scope="module")
def frame(spark, rows):
    return spark.createDataFrame(rows).cache()


def scored(frame, **options):
    return pl.from_arrow(SequenceModelTransformer(**options).transform(frame).toArrow()).sort("_example")


@pytest.mark.parametrize("partitions", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_scores_and_columns_equal_those_of_one_machine(frame, bundle, partitions):
    log, model = small_log(), small_model()
    found = scored(frame.repartition(partitions), bundle=bundle, outputPrefix="risk_")
    expected = model.predict(log.events, log.labels)
    assert found.columns == [*frame.columns, "risk_prediction", "risk_probability", "risk_rejected"]
    assert found["user_id"].to_list() == expected["user_id"].to_list()
    assert found["risk_prediction"].to_list() == expected["prediction"].to_list()
    assert np.abs(found["risk_probability"] - expected["probability"]).max() <= 1e-5
    assert found["risk_rejected"].null_count() == found.height


def broken(rows):
    """Return five rows: one for each way to be broken, one whole and one without a history."""
    table = rows.to_pylist()[:6]
    table[0]["user_id"] = None
    table[1]["timestamp"] = table[1]["timestamp"][::-1]
    table[2]["item_id"] = table[2]["item_id"][:-1]
    table[3]["cutoff"] = table[3]["timestamp"][-1]
    table[4] |= {name: None for name in ("timestamp", "item_id", "category", "size_mb")}
    return pa.Table.from_pylist(table, schema=rows.schema)


REASONS = [
    "'user_id' is missing",
    "'timestamp' is not in time order",
    "'item_id' and 'timestamp' are lists of different lengths",
    "an event is not before 'cutoff'",
]


def test_rows_that_cannot_be_scored_say_why(spark, rows, bundle):
    frame = spark.createDataFrame(broken(rows))
    found = scored(frame, bundle=bundle)
    assert found["rejected"].to_list() == [*REASONS, None, None]
    assert found["probability"].is_null().to_list() == [True] * 4 + [False] * 2
    good, bad = split_rejected(SequenceModelTransformer(bundle=bundle).transform(frame))
    assert good.columns == [*frame.columns, "prediction", "probability"]
    assert (good.count(), bad.count()) == (2, 4)


def test_no_history_null_or_empty_scores_like_the_empty_history_of_one_machine(rows):
    table = rows.to_pylist()[:3]
    names = ("timestamp", "item_id", "category", "size_mb")
    nulls, empties = dict.fromkeys(names), {name: [] for name in names}
    table = [table[0] | nulls, table[0] | empties, table[0]]
    found = RowScorer(small_model())(pa.Table.from_pylist(table, schema=rows.schema))["probability"].to_pylist()
    later = [{**row, "user_id": "nobody"} for row in table]
    who = pl.DataFrame(later, schema_overrides={"user_id": pl.String}).select("user_id", "cutoff", "region", "age_band")
    expected = small_model().predict(small_log().events, who.cast({"cutoff": pl.Datetime("us", "UTC")}))["probability"]
    assert found[:2] == pytest.approx(expected[:2].to_list(), abs=1e-7)
    assert abs(found[2] - found[0]) > 1e-6


def test_strict_fails_the_job_with_a_sentence(spark, rows, bundle):
    strict = SequenceModelTransformer(bundle=bundle, strict=True).transform(spark.createDataFrame(broken(rows)))
    with (
        pytest.raises(DataError, match=r"The row of user_id = .* cannot be scored: .* Mend it"),
        in_a_sentence("Scoring"),
    ):
        strict.toArrow()


class Hostile:
    """A model whose scoring raises at one row, and answers another with no number."""

    def __init__(self, model, poison, silent):
        self.__dict__ |= {"inner": model, "poison": poison, "silent": silent}

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def answer_rows(self, rows):
        times = rows["cutoff"].to_pylist()
        if self.poison in times:
            raise RuntimeError("boom")
        answers = self.inner.answer_rows(rows)
        bad = pl.Series([time == self.silent for time in times])
        return answers.with_columns(probability=pl.when(bad).then(float("nan")).otherwise("probability"))


def test_a_row_whose_scoring_raises_is_found_and_the_others_are_scored(rows):
    cutoffs = rows["cutoff"].to_pylist()
    once = [number for number, cutoff in enumerate(cutoffs) if cutoffs.count(cutoff) == 1][:2]
    scorer = RowScorer(Hostile(small_model(), cutoffs[once[0]], cutoffs[once[1]]))
    found = scorer(rows)
    expected = ["it cannot be scored (RuntimeError: boom)", "its score is not a finite number"]
    assert [found["rejected"][row].as_py() for row in once] == expected
    assert found["rejected"].null_count == rows.num_rows - 2
    whole = RowScorer(small_model())(rows)["probability"].to_numpy()
    others = np.delete(np.arange(rows.num_rows), once)
    assert np.abs(found["probability"].to_numpy()[others] - whole[others]).max() <= 1e-6


def test_a_pipeline_is_saved_and_loaded_without_the_folder_of_the_model(frame, bundle, tmp_path):
    stage = SequenceModelTransformer(bundle=bundle, outputPrefix="p_", batchRows=50)
    before = PipelineModel([stage]).transform(frame).select("_example", "p_probability").toArrow()
    pipeline = Pipeline(stages=[stage])
    pipeline.write().overwrite().save(str(tmp_path / "unfitted"))
    moved = tmp_path / "moved"
    small_model().save(moved)
    PipelineModel([stage.copy().setBundle(str(moved))]).save(str(tmp_path / "fitted"))
    (moved / "manifest.json").unlink()  # the saved stage carries its own copy
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    (again,) = loaded.stages
    assert (again.uid, again.getOutputPrefix(), again.getBatchRows()) == (stage.uid, "p_", 50)
    after = loaded.transform(frame).select("_example", "p_probability").toArrow()
    assert after.sort_by("_example").equals(before.sort_by("_example"))
    refitted = Pipeline.load(str(tmp_path / "unfitted")).fit(frame)
    assert refitted.stages[0].getBundle() != bundle


def test_params_are_set_read_and_explained(bundle):
    stage = SequenceModelTransformer().setParams(bundle=bundle).setThreads(2).setStrict(True).setTimeZone("UTC")
    assert (stage.getBundle(), stage.getThreads(), stage.getStrict(), stage.getTimeZone()) == (bundle, 2, True, "UTC")
    assert "threads: of torch in a Python worker (default: 1, current: 2)" in stage.explainParams()
    assert stage.copy({stage.threads: 3}).getThreads() == 3
    assert stage.getEntityCol() is None and stage.getOrderCol() is None and stage.getExamples() is None


def test_what_cannot_be_scored_is_said_before_spark_starts(frame, bundle, tmp_path):
    with pytest.raises(ConfigError, match="No model is given"):
        SequenceModelTransformer().transform(frame)
    with pytest.raises(BundleError, match="no saved model"):
        SequenceModelTransformer(bundle=str(tmp_path)).transform(frame)
    with pytest.raises(DataError, match="lack 'item_id'"):
        SequenceModelTransformer(bundle=bundle).transform(frame.drop("item_id"))
    with pytest.raises(ConfigError, match="columns 'rejected' already"):
        SequenceModelTransformer(bundle=bundle).transform(frame.withColumn("rejected", F.lit(1)))
    with pytest.raises(ConfigError, match="batch_rows=0 scores nothing"):
        SequenceModelTransformer(bundle=bundle, batchRows=0).transform(frame)
