"""A cluster of this machine's own: it starts, ends with its block, and survives what is killed while it scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from habitus.data.events import read_events
from habitus.data.examples import derive_examples
from habitus.data.sequence import build_sequences
from habitus.errors import ConfigError, HabitusError
from habitus.spark.cluster import Cluster
from habitus.spark.session import check_java
from tests.spark.models import small_log, small_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def java():
    try:
        check_java()
    except HabitusError as error:
        pytest.skip(str(error))


def test_a_cluster_without_workers_is_refused():
    with pytest.raises(ConfigError, match="needs one or more"):
        Cluster(workers=0)


def test_a_master_that_does_not_come_up_is_told_with_its_log(tmp_path):
    cluster = Cluster(workers=1, folder=tmp_path)
    cluster._environment = lambda home: {**os.environ, "SPARK_HOME": str(home), "JAVA_HOME": str(tmp_path)}
    with pytest.raises(HabitusError, match="The master of the cluster did not start"):
        cluster.start()
    assert not cluster.processes


@pytest.mark.slow
def test_the_script_holds_a_cluster_and_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "habitus.spark.cluster", "--workers", "1", "--folder", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    address = running.stdout.readline().strip()
    assert address.startswith("spark://127.0.0.1:")
    assert "Successfully registered" in (tmp_path / "logs" / "worker-0.log").read_text()
    running.terminate()
    assert running.wait(60) == 0
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(tmp_path) in environment(pid)]


def environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.slow
def test_killed_workers_and_executors_change_no_score(tmp_path):
    small_model().save(tmp_path / "model")
    schema = small_model().encoder_.schema
    log = read_events(small_log().events, schema)
    table = build_sequences(log, derive_examples(log), max_length=small_model().data.max_length).to_table()
    frame = pl.from_arrow(table)
    copies = [frame.with_columns(pl.col("user_id") + f"-{number}") for number in range(60)]
    (tmp_path / "rows").mkdir()
    pq.write_table(pl.concat(copies).to_arrow(compat_level=pl.CompatLevel.oldest()), tmp_path / "rows" / "rows.parquet")
    n_kills = 5
    script = Path(__file__).with_name("kill_scoring.py")
    words = [str(one) for one in (sys.executable, script, tmp_path / "model", tmp_path / "rows", tmp_path, n_kills)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    plain = next(one for one in runs if one["name"] == "undisturbed")
    assert plain["rows"] == plain["ids"] == frame.height * len(copies)
    disturbed = [one for one in runs if one["name"] not in ("warm", "undisturbed")]
    assert sorted(kind for one in disturbed for kind in one["killed"]) == ["executor"] * n_kills + ["python"] * n_kills
    for one in disturbed:
        assert {key: one[key] for key in ("rows", "ids", "checksum")} == {
            key: plain[key] for key in ("rows", "ids", "checksum")
        }
        assert one["success"] and not one["leftovers"]
