"""Streams: out of order, late, stopped or killed, they end with the scores of a batch run, each event once."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from pyspark.sql import Row
from pyspark.sql.streaming.tws_tester import TwsTester

from habitus.cli import main
from habitus.errors import ConfigError, DataError
from habitus.spark.stream import Streaming, _format_of, duration_us, read_stream
from habitus.spark.stream_alerts import AlertRule
from habitus.spark.stream_answers import Answer
from habitus.spark.stream_files import Folder
from habitus.spark.stream_processor import LATE, Follow, Follower
from tests.spark.models import small_log, small_model

LATENESS = timedelta(days=2)


class Counting:
    """Answers with how many events a user has."""

    columns = {"probability": "double"}  # noqa: RUF012
    n_recent = 3

    def fold(self, kept, state, events):
        return [Answer({"probability": (kept.n + i) / 10}, (kept.n + i) / 10, False) for i in range(len(events))], None


def follower(**options):
    follow = Follow(Counting, ("probability",), AlertRule(**options), time_limit_us=60_000_000)
    return TwsTester(Follower(follow), timeMode="EventTime", eventTimeExtractor=lambda row: 2**60)


def event(time_s, number=0):
    return Row(_time_us=time_s * 10**6, _file="f", _row_number=number, _values="[1]", _reason=None)


def test_events_wait_for_the_watermark_ties_keep_their_order_and_late_ones_are_rejected():
    spark = follower(above=0.2)
    assert spark.test("u", [event(30, 0), event(10, 1), event(10, 2)]) == []
    released = spark.setWatermark(20_000)
    assert [(row.kind, row.n, row.time_us) for row in released] == [("score", 1, 10**7), ("score", 2, 10**7)]
    (late,) = spark.test("u", [event(20)])
    assert (late.kind, late.reason, late.row) == ("reject", LATE, "[1]")
    kinds = [(row.kind, row.n, row.since_us) for row in spark.setWatermark(30_000)]
    assert kinds == [("score", 3, 10**7), ("alert", 3, 10**7)]


def test_a_user_is_forgotten_after_the_time_limit_and_begins_anew():
    spark = follower()
    spark.test("u", [event(10)])
    spark.setWatermark(10_000)
    assert spark.peekValueState("kept", "u") is not None
    assert spark.setWatermark(69_999) == [] and spark.peekValueState("kept", "u") is not None
    spark.setWatermark(70_000)
    assert spark.peekValueState("kept", "u") is None
    spark.test("u", [event(80)])
    (row,) = spark.setWatermark(90_000)
    assert (row.n, row.since_us) == (1, 80 * 10**6)


def test_rows_that_cannot_be_read_go_to_the_rejects_with_their_reason():
    (row,) = follower().test(None, [Row(_time_us=0, _file="", _row_number=0, _values="{}", _reason="'x' is missing")])
    assert (row.kind, row.reason, row.row, row.time_us) == ("reject", "'x' is missing", "{}", None)


def test_wrong_options_are_refused():
    assert duration_us("lateness", "90s") == 90_000_000
    with pytest.raises(ConfigError, match="is no duration"):
        Streaming(lateness="soon")
    with pytest.raises(ConfigError, match="state_ttl"):
        Streaming(state_ttl="1 month")


def write_files(events, folder, n_files, seed=0):
    """Write events in the order of a late arrival, and a last file whose time releases them all; return that order."""
    folder.mkdir(parents=True, exist_ok=True)
    delay = np.random.default_rng(seed).uniform(0, LATENESS.total_seconds() * 1e6 - 1, events.height)
    order = np.argsort(events["timestamp"].dt.epoch("us").to_numpy() + delay, kind="stable")
    for number, rows in enumerate(np.array_split(order, n_files)):
        write(events[rows], folder, number)
    clock = events.tail(1).with_columns(pl.lit("~clock").alias("user_id"), pl.col("timestamp").dt.offset_by("9d"))
    write(clock, folder, n_files)
    return events[order]  # ties are in the order of arrival


def write(frame, folder, number):
    path = folder / f"part-{number:04d}.parquet"
    frame.write_parquet(path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
    os.utime(path, ns=(10**18 + number * 10**9,) * 2)  # their order is that of their times


def stream(model, folder, *more):
    given = ["--events", folder / "in", "--out", folder / "out", "--checkpoint", folder / "state", "--once", "--quiet"]
    return ["spark", "stream", model, *map(str, given), "--lateness", "2d", "--alert-above", "0.3", *more]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    small_model().save(folder)
    return str(folder)


def check_scores(spark, out, events):
    """Assert that every event was scored once, and that the last scores are those of a batch run."""
    scores = pl.from_pandas(read_stream(spark, out).toPandas())
    assert scores.height == events.height and scores.select("user_id", "n").is_unique().all()
    numbers = scores.group_by("user_id").agg(pl.col("n").max(), pl.len(), pl.col("since").n_unique())
    assert (numbers["n"] == numbers["len"]).all() and (numbers["since"] == 1).all()
    last = scores.sort("user_id", "n").group_by("user_id").last()
    both = small_model().predict(events).join(last, on="user_id", suffix="_streamed")
    assert both.height == events["user_id"].n_unique()
    assert (both["probability"] - both["probability_streamed"]).abs().max() < 1e-6
    in_order = scores.sort("user_id", "n").select((pl.col("timestamp").diff() >= timedelta(0)).over("user_id"))
    assert in_order.to_series().drop_nulls().all()
    check_alerts(scores, pl.from_pandas(read_stream(spark, out, "alert").toPandas()), 0.3)


def check_alerts(scores, alerts, above):
    """Assert that there is one alert for every rise over the threshold."""
    before = pl.col("probability").shift(fill_value=0.0).over("user_id", order_by="n")
    rises = scores.filter(pl.col("probability") >= above, before < above)
    key = ["user_id", "since", "n"]
    assert alerts.height > 0 and alerts.select(key).is_unique().all()
    assert alerts.select(key).sort(key).equals(rises.select(key).sort(key))


def test_a_stream_out_of_order_with_a_stop_ends_with_the_scores_of_a_batch_run(spark, saved, tmp_path, capsys):
    events = small_log().events.filter(pl.col("user_id") < "u0000012")
    events = write_files(events, tmp_path / "all", 4)
    source = tmp_path / "in"
    source.mkdir()
    files = sorted((tmp_path / "all").iterdir())
    for file in files[:2]:
        os.link(file, source / file.name)
    assert main(stream(saved, tmp_path)) == 0, capsys.readouterr().err
    for file in files[2:]:
        os.link(file, source / file.name)
    assert main(stream(saved, tmp_path)) == 0, capsys.readouterr().err
    late = events.head(3).with_columns(user_id=pl.Series(["u0000000", None, "u0000001"]))
    write(late, source, 9)  # two events far too late, and a row of nobody, after the clock
    assert main(stream(saved, tmp_path)) == 0, capsys.readouterr().err
    check_scores(spark, tmp_path / "out", events)
    rejects = pl.from_pandas(read_stream(spark, tmp_path / "out", "reject").toPandas())
    assert sorted(rejects["reason"]) == ["'user_id' is missing", LATE, LATE]
    assert "rejects in" in capsys.readouterr().out
    # the batches belong to their checkpoint
    other = [str(tmp_path / "other") if one == str(tmp_path / "state") else one for one in stream(saved, tmp_path)]
    assert main(other) == 2 and "would overwrite" in capsys.readouterr().err
    # a batch that is run again takes the place of its own folder; a folder without _SUCCESS does not count
    n_batches = len(Folder(spark, str(tmp_path / "out")).finished())
    (tmp_path / "out" / "batch=0000000000" / "_SUCCESS").unlink()
    assert len(Folder(spark, str(tmp_path / "out")).finished()) == n_batches - 1


def test_a_folder_without_files_is_refused_in_a_sentence(spark, saved, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert main(stream(saved, tmp_path)) == 1 and "holds no file yet" in capsys.readouterr().err
    with pytest.raises(DataError, match="no finished batch"):
        read_stream(spark, tmp_path / "nothing")


def test_the_format_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "a.jsonl").touch()
    assert _format_of(str(tmp_path)) == "json"
    (tmp_path / "b.parquet").touch()
    with pytest.raises(DataError, match=r"holds .jsonl, .parquet"):
        _format_of(str(tmp_path))


@pytest.mark.slow
def test_a_query_that_is_killed_again_and_again_loses_and_doubles_nothing(spark, saved, tmp_path):
    events = small_log().events.filter(pl.col("user_id") < "u0000060")
    events = write_files(events, tmp_path / "in", 12)
    command = [
        sys.executable,
        "-c",
        "import sys; from habitus.cli import main; sys.exit(main(sys.argv[1:]))",
        *stream(saved, tmp_path, "--files-per-batch", "1"),
    ]
    command += ["--master", "local[2]"]
    for n_batches in (2, 5, 9):
        kill_after(command, tmp_path / "out", n_batches)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    check_scores(spark, tmp_path / "out", events)
    assert json.loads((tmp_path / "out" / "stream.json").read_text())["checkpoint"].endswith("/state")


def kill_after(command, out, n_batches):
    """Start the query in a process of its own and kill all of it once so many batches have begun."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len(list(out.glob("batch=*"))) < n_batches and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.05)
        assert running.poll() is None, "the query ended before it could be killed"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
