"""`habitus spark prepare` and `habitus spark predict` write what one machine writes, and say what was left out."""

import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.cli import app, main
from habitus.data.sequence import read_sequences
from tests.spark.models import small_log, small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installs")
    log = small_log()
    log.events.write_parquet(folder / "events.parquet")
    log.labels.write_parquet(folder / "labels.parquet")
    small_model().save(folder / "model")
    return folder


def run(*words):
    return CliRunner().invoke(app, ["spark", *map(str, words)])


def test_prepare_writes_rows_that_open(spark, folder):
    out = folder / "prepared"
    done = run(
        "prepare", "--events", folder / "events.parquet", "--examples", folder / "labels.parquet", "--out", out,
        "--target", "risk", "--master", "local[2]", "--split", "time", "--max-length", 24,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    n = small_log().labels.height
    assert f"{n:,} rows of {n:,} examples in {out}" in done.stdout and "validation" in done.stdout
    assert "building the rows" in done.stderr
    assert read_sequences(out).to_table().num_rows == n


def test_predict_writes_the_scores_of_one_machine(spark, folder):
    out = folder / "scores"
    done = run("predict", folder / "model", "--events", folder / "events.parquet", "--out", out, "--quiet")
    assert done.exit_code == 0, done.output
    expected = small_model().predict(small_log().events)
    found = pl.read_parquet(out)
    assert found.columns == expected.columns
    both = found.join(expected, on=["user_id", "cutoff"], how="full", suffix="_expected")
    assert both.height == expected.height and both.null_count().sum_horizontal().item() == 0
    assert (both["probability"] - both["probability_expected"]).abs().max() <= 1e-5
    assert f"{expected.height:,} scores in {out}: columns user_id, cutoff, prediction, probability." in done.stdout


def test_rows_that_cannot_be_read_stand_beside_the_scores(spark, folder):
    out = folder / "again"
    events = small_log().events
    bad = pl.concat([events, events[:1].with_columns(user_id=pl.lit(""))])
    bad.write_parquet(folder / "bad.parquet")
    words = ["--events", folder / "bad.parquet", "--examples", folder / "labels.parquet", "--out", out]
    for _ in range(2):  # a repeated run replaces what it wrote
        done = run("predict", folder / "model", *words, "--strict")
        assert done.exit_code == 0, done.output
        assert "1 of" in done.stderr and "'user_id' is empty" in done.stderr
        assert pl.read_parquet(out).height == small_log().labels.height
    assert pl.read_csv(f"{out}.rejects.csv")["reason"].to_list() == ["is empty"]


def test_mistakes_are_sentences(spark, folder, capsys):
    words = ["spark", "predict", str(folder / "model"), "--events", str(folder / "none"), "--out", str(folder / "s")]
    assert main(words) == 1
    assert "names no file" in capsys.readouterr().err
    assert main([*words[:2], str(folder / "nothing"), *words[3:]]) == 1
    assert "There is no saved model" in capsys.readouterr().err
    assert main([*words, "--master", "spark://127.0.0.1:1"]) == 2
    assert "A Spark session runs already" in capsys.readouterr().err
    assert main([*words[:-1], str(folder)]) == 2
    assert "give a new folder for the scores" in capsys.readouterr().err
